//! Client Info: what a user typed, and what a target gets in its place (MS-RDPBCGR section 2.2.1.11).

use std::net::IpAddr;

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::rdp::ClientInfoPdu;
use ironrdp_pdu::rdp::client_info::{
    AddressFamily, ClientInfo, ClientInfoFlags, CompressionType, Credentials, ExtendedClientInfo,
    ExtendedClientOptionalInfo,
};
use ironrdp_pdu::rdp::headers::{BasicSecurityHeader, BasicSecurityHeaderFlags};
use zeroize::Zeroize;

use super::control::Credential;
use super::pdu::Malformed;
use crate::secret::Secret;

/// The most characters of a login name and of a password that are looked at.
pub const TYPED_CHARACTERS_MAX: usize = 512;

/// What a user's program said, without what was typed.
#[derive(Debug)]
pub struct Info {
    info: ClientInfo,
}

/// What was typed.
#[derive(Debug)]
pub struct Typed {
    /// The login name.
    pub login: String,
    /// The password; empty if none was sent.
    pub password: Secret<String>,
}

impl Info {
    /// Reads the data of a Client Info PDU, which is wiped.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(mut data: Vec<u8>) -> Result<(Self, Typed), Malformed> {
        let bad = Malformed("Client Info");
        let read = decode::<ClientInfoPdu>(&data).map_err(|_| bad);
        data.zeroize();
        let ClientInfoPdu { security_header, client_info: mut info } = read?;
        let password = Secret::new(std::mem::take(&mut info.credentials.password));
        if !security_header.flags.contains(BasicSecurityHeaderFlags::INFO_PKT) {
            return Err(bad);
        }
        let login = std::mem::take(&mut info.credentials.username);
        if login.chars().count() > TYPED_CHARACTERS_MAX || password.expose().chars().count() > TYPED_CHARACTERS_MAX {
            return Err(bad);
        }
        Ok((Self { info }, Typed { login, password }))
    }

    /// The data of the Client Info PDU for a target: the credential in place of what was typed, no compression, no cookie
    /// by which a connection goes on without a login, no program of the user's choice in place of the desktop, and the
    /// address from which the user came to the bastion.
    ///
    /// # Errors
    /// If the credential does not fit.
    pub fn for_target(&self, credential: &Credential, source: IpAddr) -> Result<Secret<Vec<u8>>, Malformed> {
        let flags = self.info.flags.intersection(FLAGS_ALLOWED)
            | ClientInfoFlags::UNICODE
            | ClientInfoFlags::AUTOLOGON
            | ClientInfoFlags::LOGON_NOTIFY
            | ClientInfoFlags::LOGON_ERRORS
            | ClientInfoFlags::MAXIMIZE_SHELL;
        let mut pdu = ClientInfoPdu {
            security_header: BasicSecurityHeader { flags: BasicSecurityHeaderFlags::INFO_PKT },
            client_info: ClientInfo {
                credentials: Credentials {
                    username: credential.account.clone(),
                    password: credential.password.expose().clone(),
                    domain: Some(credential.domain.clone()).filter(|domain| !domain.is_empty()),
                },
                password_cookie: None,
                code_page: self.info.code_page,
                flags,
                compression_type: CompressionType::K8,
                alternate_shell: String::new(),
                work_dir: String::new(),
                extra_info: self.extra(source),
            },
        };
        let data = encode_vec(&pdu).map(Secret::new).map_err(|_| Malformed("credential for Client Info"));
        pdu.client_info.credentials.password.zeroize();
        data
    }

    fn extra(&self, source: IpAddr) -> ExtendedClientInfo {
        let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET_6 };
        let said = &self.info.extra_info.optional_data;
        let optional_data = match (said.timezone(), said.performance_flags()) {
            (Some(zone), Some(flags)) => ExtendedClientOptionalInfo::builder()
                .timezone(zone.clone())
                .session_id(0)
                .performance_flags(flags)
                .build(),
            (Some(zone), None) => ExtendedClientOptionalInfo::builder().timezone(zone.clone()).build(),
            (None, _) => ExtendedClientOptionalInfo::default(),
        };
        ExtendedClientInfo { address_family: family, address: source.to_string(), dir: String::new(), optional_data }
    }
}

/// What a target may know of a user's program.
const FLAGS_ALLOWED: ClientInfoFlags = ClientInfoFlags::MOUSE
    .union(ClientInfoFlags::DISABLE_CTRL_ALT_DEL)
    .union(ClientInfoFlags::ENABLE_WINDOWS_KEY)
    .union(ClientInfoFlags::REMOTE_CONSOLE_AUDIO)
    .union(ClientInfoFlags::MOUSE_HAS_WHEEL)
    .union(ClientInfoFlags::NO_AUDIO_PLAYBACK)
    .union(ClientInfoFlags::VIDEO_DISABLE);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(flags: ClientInfoFlags, cookie: bool) -> Vec<u8> {
        let zone = ironrdp_pdu::rdp::client_info::TimezoneInfo::default();
        let builder = ExtendedClientOptionalInfo::builder().timezone(zone).session_id(7);
        let builder = builder.performance_flags(ironrdp_pdu::rdp::client_info::PerformanceFlags::default());
        let optional_data = if cookie { builder.reconnect_cookie([9; 28]).build() } else { builder.build() };
        let credentials = Credentials { username: "alice+a@win1".into(), password: "typed".into(), domain: None };
        let pdu = ClientInfoPdu {
            security_header: BasicSecurityHeader { flags: BasicSecurityHeaderFlags::INFO_PKT },
            client_info: ClientInfo {
                credentials,
                password_cookie: None,
                code_page: 0x409,
                flags,
                compression_type: CompressionType::Rdp61,
                alternate_shell: "cmd.exe".into(),
                work_dir: "c:\\".into(),
                extra_info: ExtendedClientInfo {
                    address_family: AddressFamily::INET,
                    address: "6.6.6.6".into(),
                    dir: "d".into(),
                    optional_data,
                },
            },
        };
        encode_vec(&pdu).unwrap()
    }

    #[test]
    fn a_target_gets_the_credential_and_nothing_that_weakens_the_recording() {
        let flags = ClientInfoFlags::all();
        let (info, typed) = Info::read(said(flags, true)).unwrap();
        assert_eq!((typed.login.as_str(), typed.password.expose().as_str()), ("alice+a@win1", "typed"));
        let credential = Credential {
            account: "administrator".into(),
            domain: "CORP".into(),
            password: Secret::new("vault".into()),
        };
        let data = info.for_target(&credential, "192.0.2.7".parse().unwrap()).unwrap();
        let read: ClientInfoPdu = decode(data.expose()).unwrap();
        let read = read.client_info;
        assert_eq!(
            (read.credentials.username.as_str(), read.credentials.password.as_str()),
            ("administrator", "vault")
        );
        assert_eq!(read.credentials.domain.as_deref(), Some("CORP"));
        let off = [
            ClientInfoFlags::COMPRESSION,
            ClientInfoFlags::RAIL,
            ClientInfoFlags::HIDEF_RAIL_SUPPORTED,
            ClientInfoFlags::AUDIO_CAPTURE,
            ClientInfoFlags::PASSWORD_IS_SC_PIN,
            ClientInfoFlags::USING_SAVED_CREDS,
        ];
        assert!(off.into_iter().all(|flag| !read.flags.contains(flag)), "{:?}", read.flags);
        assert!(read.flags.contains(ClientInfoFlags::AUTOLOGON | ClientInfoFlags::UNICODE));
        assert_eq!((read.alternate_shell.as_str(), read.work_dir.as_str()), ("", ""));
        assert_eq!(read.extra_info.address, "192.0.2.7");
        let optional = read.extra_info.optional_data;
        assert!(optional.timezone().is_some() && optional.reconnect_cookie().is_none());
        assert_eq!(optional.session_id(), Some(0));
    }

    #[test]
    fn a_name_that_is_longer_than_any_is_refused() {
        let mut pdu: ClientInfoPdu = decode(&said(ClientInfoFlags::UNICODE, false)).unwrap();
        pdu.client_info.credentials.username = "a".repeat(TYPED_CHARACTERS_MAX + 1);
        assert!(Info::read(encode_vec(&pdu).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Info::read(bytes);
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(at in 0usize..400, to: u8) {
            let mut bytes = said(ClientInfoFlags::UNICODE, true);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            let _ = Info::read(bytes);
        }
    }
}
