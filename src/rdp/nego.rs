//! The first two messages: which security is spoken (MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2).
//!
//! Standard RDP security is never spoken, on either leg: its encryption protects nothing.

use std::fmt;

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::nego::{
    ConnectionConfirm, ConnectionRequest, FailureCode, RequestFlags, ResponseFlags, SecurityProtocol,
};
use ironrdp_pdu::x224::X224;

use super::control::Security;
use super::pdu::Malformed;

/// What a user's program asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    protocols: SecurityProtocol,
}

impl Asked {
    /// Reads the first message. Cookie and routing token are not looked at: they come before any proof.
    ///
    /// # Errors
    /// If it is no X.224 Connection Request.
    pub fn read(tpkt: &[u8]) -> Result<Self, Malformed> {
        let X224(request) = decode::<X224<ConnectionRequest>>(tpkt).map_err(|_| Malformed("connection request"))?;
        Ok(Self { protocols: request.protocol })
    }

    /// What it offers to speak, of what a listener can.
    pub fn offers(self) -> Vec<Security> {
        let nla = self.protocols.intersects(SecurityProtocol::HYBRID | SecurityProtocol::HYBRID_EX);
        let tls = self.protocols.contains(SecurityProtocol::SSL);
        [(Security::Nla, nla), (Security::Tls, tls)].into_iter().filter(|(_, on)| *on).map(|(it, _)| it).collect()
    }

    /// The bits, as they were sent: programs compare them with what a server says that it got.
    pub fn bits(self) -> u32 {
        self.protocols.bits()
    }

    /// What is spoken, by what the listener offers; the better first.
    ///
    /// # Errors
    /// The message that says what is wanted, after which the connection ends.
    pub fn choose(self, offered: &[Security]) -> Result<Chosen, Vec<u8>> {
        let asked = self.offers();
        if let Some(security) = offered.iter().copied().find(|security| asked.contains(security)) {
            let early = self.protocols.contains(SecurityProtocol::HYBRID_EX);
            return Ok(match security {
                Security::Nla if early => Chosen(SecurityProtocol::HYBRID_EX),
                Security::Nla => Chosen(SecurityProtocol::HYBRID),
                Security::Tls => Chosen(SecurityProtocol::SSL),
            });
        }
        let code = if offered.contains(&Security::Tls) {
            FailureCode::SSL_REQUIRED_BY_SERVER
        } else {
            FailureCode::HYBRID_REQUIRED_BY_SERVER
        };
        Err(encode_vec(&X224(ConnectionConfirm::Failure { code })).unwrap_or_default())
    }
}

/// The security that one leg speaks; always with TLS beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen(SecurityProtocol);

impl Chosen {
    /// Whether CredSSP follows.
    pub fn is_nla(self) -> bool {
        self.0 != SecurityProtocol::SSL
    }

    /// Whether CredSSP ends with a word on whether the account may log in (section 2.2.10.2).
    pub fn has_early_result(self) -> bool {
        self.0 == SecurityProtocol::HYBRID_EX
    }

    /// As it stands in later messages.
    pub(super) fn protocol(self) -> SecurityProtocol {
        self.0
    }

    /// The answer to a user's program. It has neither graphics pipeline nor modes that log in without a password.
    pub fn confirm(self) -> Vec<u8> {
        let flags = ResponseFlags::EXTENDED_CLIENT_DATA_SUPPORTED;
        encode_vec(&X224(ConnectionConfirm::Response { flags, protocol: self.0 })).unwrap_or_default()
    }
}

/// Whether a target may be spoken to without NLA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPolicy {
    /// NLA it is.
    NlaOnly,
    /// TLS will do; the target's entry says so.
    TlsWillDo,
}

/// Why nothing is spoken with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSecurity {
    /// It does not speak RDP.
    Malformed(Malformed),
    /// It has none of what was asked for, for the reason of this code.
    Refused(u32),
    /// It chose what was not asked for: no NLA, or no TLS at all.
    Weaker,
}

impl fmt::Display for NoSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Refused(code) => write!(f, "the target speaks none of what was asked for (code {code})"),
            Self::Weaker => f.write_str("the target has no NLA, and its entry does not allow TLS alone"),
        }
    }
}

impl std::error::Error for NoSecurity {}

impl TargetPolicy {
    fn protocols(self) -> SecurityProtocol {
        let nla = SecurityProtocol::HYBRID | SecurityProtocol::HYBRID_EX;
        match self {
            Self::NlaOnly => nla,
            Self::TlsWillDo => nla | SecurityProtocol::SSL,
        }
    }

    /// The first message to a target. It names no account: that is said once the certificate is checked.
    pub fn request(self) -> Vec<u8> {
        let request = ConnectionRequest {
            nego_data: None,
            flags: RequestFlags::empty(),
            protocol: self.protocols(),
            correlation_info: None,
        };
        encode_vec(&X224(request)).unwrap_or_default()
    }

    /// What a target chose.
    ///
    /// # Errors
    /// If that is not what was asked for.
    pub fn chosen(self, tpkt: &[u8]) -> Result<Chosen, NoSecurity> {
        let bad = |_| NoSecurity::Malformed(Malformed("connection confirm"));
        let X224(confirm) = decode::<X224<ConnectionConfirm>>(tpkt).map_err(bad)?;
        let protocol = match confirm {
            ConnectionConfirm::Response { protocol, .. } => protocol,
            ConnectionConfirm::Failure { code } => return Err(NoSecurity::Refused(code.into())),
        };
        let one = [SecurityProtocol::HYBRID_EX, SecurityProtocol::HYBRID, SecurityProtocol::SSL];
        let asked = one.into_iter().find(|one| *one == protocol && self.protocols().contains(*one));
        asked.map(Chosen).ok_or(NoSecurity::Weaker)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(protocol: SecurityProtocol) -> Asked {
        let request =
            ConnectionRequest { nego_data: None, flags: RequestFlags::empty(), protocol, correlation_info: None };
        Asked::read(&encode_vec(&X224(request)).unwrap()).unwrap()
    }

    fn failure(bytes: &[u8]) -> FailureCode {
        let X224(ConnectionConfirm::Failure { code }) = decode(bytes).unwrap() else { panic!() };
        code
    }

    #[test]
    fn the_better_of_what_both_speak_is_chosen_and_rc4_never() {
        let (all, tls) = (SecurityProtocol::all(), SecurityProtocol::SSL);
        let both = [Security::Nla, Security::Tls];
        assert_eq!(asked(all).choose(&both), Ok(Chosen(SecurityProtocol::HYBRID_EX)));
        assert_eq!(asked(SecurityProtocol::HYBRID | tls).choose(&both), Ok(Chosen(SecurityProtocol::HYBRID)));
        assert_eq!(asked(tls).choose(&both), Ok(Chosen(tls)));
        assert_eq!(failure(&asked(tls).choose(&[Security::Nla]).unwrap_err()), FailureCode::HYBRID_REQUIRED_BY_SERVER);
        let none = SecurityProtocol::empty();
        assert_eq!(failure(&asked(none).choose(&both).unwrap_err()), FailureCode::SSL_REQUIRED_BY_SERVER);
        let other = SecurityProtocol::RDSTLS | SecurityProtocol::RDSAAD;
        assert_eq!(failure(&asked(other).choose(&both).unwrap_err()), FailureCode::SSL_REQUIRED_BY_SERVER);
    }

    #[test]
    fn a_target_that_chooses_less_than_was_asked_for_is_refused() {
        let says = |protocol| {
            let flags = ResponseFlags::empty();
            encode_vec(&X224(ConnectionConfirm::Response { flags, protocol })).unwrap()
        };
        let nla = TargetPolicy::NlaOnly;
        assert_eq!(nla.chosen(&says(SecurityProtocol::HYBRID)), Ok(Chosen(SecurityProtocol::HYBRID)));
        for weaker in [SecurityProtocol::empty(), SecurityProtocol::SSL, SecurityProtocol::RDSTLS] {
            assert_eq!(nla.chosen(&says(weaker)), Err(NoSecurity::Weaker), "{weaker}");
        }
        assert!(TargetPolicy::TlsWillDo.chosen(&says(SecurityProtocol::SSL)).is_ok());
        assert_eq!(TargetPolicy::TlsWillDo.chosen(&says(SecurityProtocol::empty())), Err(NoSecurity::Weaker));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Asked::read(&bytes);
            let _ = TargetPolicy::TlsWillDo.chosen(&bytes);
        }
    }
}
