//! How a target is reached over RDP, and which certificate is its own.

use serde::{Deserialize, Serialize};

use super::{LedgerError, TEXT_BYTES_MAX, Target, address_with, at_most};
use crate::rdp::control::Pin;

/// The port of RDP (MS-RDPBCGR section 2.1).
const PORT: &str = "3389";
/// Certificates that are pinned of one target: its own, and the next.
const PINS_MAX: usize = 4;
/// Bytes of an authority's certificate.
const AUTHORITY_BYTES_MAX: usize = 6 * 1024;

/// How a target is reached over RDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesktopTarget {
    /// `host:port`.
    pub address: String,
    /// Which certificate is the target's; `None`: nobody has said yet, so nobody can connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Whether a target that does not speak NLA may be logged in to. Then whoever is in its place after the TLS handshake
    /// gets the password, and a wrong password shows as a box for another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_tls_only: bool,
    /// The domain of its accounts; empty for those of the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
}

/// What changes of how a target is reached over RDP; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesktopChange {
    /// `host:port`; a target that had none must get one.
    pub address: Option<String>,
    /// Which certificate is its own, from now on.
    pub pin: Option<Pin>,
    /// Whether it may do without NLA.
    pub allow_tls_only: Option<bool>,
    /// The domain of its accounts.
    pub domain: Option<String>,
}

impl DesktopChange {
    /// What there is afterwards.
    ///
    /// # Errors
    /// `NoDesktop` if there is no address, and was none.
    pub fn of(self, old: Option<&DesktopTarget>) -> Result<Option<DesktopTarget>, LedgerError> {
        if self == Self::default() {
            return Ok(old.cloned());
        }
        let Self { address, pin, allow_tls_only, domain } = self;
        let address = address.or_else(|| old.map(|old| old.address.clone())).ok_or(LedgerError::NoDesktop)?;
        Ok(Some(DesktopTarget {
            address,
            // The pin stays: if another machine answers at the new address, nothing is sent to it.
            pin: pin.or_else(|| old.and_then(|old| old.pin.clone())),
            allow_tls_only: allow_tls_only.unwrap_or(old.is_some_and(|old| old.allow_tls_only)),
            domain: domain.unwrap_or_else(|| old.map(|old| old.domain.clone()).unwrap_or_default()),
        }))
    }
}

impl Target {
    /// Whether somebody may get there, as far as it is known: it has a pinned host key, or a pinned certificate.
    pub fn is_ready(&self) -> bool {
        !self.host_keys.is_empty() || self.desktop.as_ref().is_some_and(|desktop| desktop.pin.is_some())
    }
}

impl DesktopTarget {
    /// Checks it, and brings it into the form that is stored.
    pub(super) fn check(&mut self) -> Result<(), LedgerError> {
        self.address = desktop_address(&self.address)?;
        at_most("bytes of a domain", self.domain.len(), TEXT_BYTES_MAX / 2)?;
        if self.domain.chars().any(char::is_control) {
            return Err(LedgerError::BadPin { why: "a domain has no control characters" });
        }
        if let Some(pin) = &mut self.pin {
            check_pin(pin)?;
        }
        Ok(())
    }

    /// Which certificate is the target's, in words.
    pub fn pinned(&self) -> String {
        match &self.pin {
            None => String::from("none pinned"),
            Some(Pin::Fingerprints(all)) => crate::model::join(all.iter().map(|hex| format!("sha256:{hex}"))),
            Some(Pin::Authority { name, .. }) => format!("one that the authority signed for {name}"),
        }
    }
}

/// Checks `host:port`; a host alone gets port 3389.
///
/// # Errors
/// `LedgerError::BadAddress`.
pub fn desktop_address(text: &str) -> Result<String, LedgerError> {
    address_with(text, PORT)
}

/// A certificate's SHA-256 in the form that is stored, from `sha256:...`, colons or none between the bytes.
///
/// # Errors
/// `LedgerError::BadPin`.
pub fn certificate_fingerprint(text: &str) -> Result<String, LedgerError> {
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_prefix("sha256:").unwrap_or(&lower);
    let hex: String = bare.chars().filter(|c| *c != ':').collect();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex);
    }
    Err(LedgerError::BadPin { why: "a certificate's fingerprint is sha256: and 64 hexadecimal digits" })
}

fn check_pin(pin: &mut Pin) -> Result<(), LedgerError> {
    match pin {
        Pin::Fingerprints(all) => {
            at_most("certificates of one target", all.len(), PINS_MAX)?;
            if all.is_empty() {
                return Err(LedgerError::BadPin { why: "a pin names at least one certificate" });
            }
            for text in all {
                *text = certificate_fingerprint(text)?;
            }
        }
        Pin::Authority { pem, name } => {
            at_most("bytes of an authority's certificate", pem.len(), AUTHORITY_BYTES_MAX)?;
            let whole = pem.contains("-----BEGIN CERTIFICATE-----") && pem.contains("-----END CERTIFICATE-----");
            if !whole || pem.contains("PRIVATE KEY") {
                return Err(LedgerError::BadPin { why: "an authority is a certificate in PEM, without its key" });
            }
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            if name.is_empty() || name.len() > 253 || !name.chars().all(good) {
                return Err(LedgerError::BadPin { why: "a certificate's name is a host's name or address" });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desktop(pin: Option<Pin>) -> DesktopTarget {
        DesktopTarget { address: "win1.example".to_owned(), pin, allow_tls_only: false, domain: String::new() }
    }

    #[test]
    fn a_fingerprint_is_stored_in_one_form_whoever_wrote_it() {
        let hex = "ab".repeat(32);
        let openssl = format!("SHA256:{}", ["AB"; 32].join(":"));
        for text in [hex.clone(), format!("sha256:{hex}"), openssl] {
            assert_eq!(certificate_fingerprint(&text).unwrap(), hex, "{text}");
        }
        for bad in ["", "sha256:", "sha1:ab", &"ab".repeat(31), &"zz".repeat(32)] {
            assert!(certificate_fingerprint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_stored_has_a_port_and_a_pin_that_can_match() {
        let mut target = desktop(Some(Pin::Fingerprints(vec![format!("SHA256:{}", "AB".repeat(32))])));
        target.check().unwrap();
        assert_eq!(target.address, "win1.example:3389");
        assert_eq!(target.pin, Some(Pin::Fingerprints(vec!["ab".repeat(32)])));
        let authority = |pem: &str, name: &str| Pin::Authority { pem: pem.to_owned(), name: name.to_owned() };
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        desktop(Some(authority(pem, "win1.example"))).check().unwrap();
        for bad in [
            Pin::Fingerprints(Vec::new()),
            Pin::Fingerprints(vec!["ab".repeat(32); 5]),
            authority("no certificate", "win1"),
            authority(&format!("{pem}-----BEGIN PRIVATE KEY-----"), "win1"),
            authority(pem, ""),
            authority(pem, "a b"),
        ] {
            assert!(desktop(Some(bad.clone())).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_new_address_keeps_the_pin_and_nothing_to_change_changes_nothing() {
        let old = desktop(Some(Pin::Fingerprints(vec!["ab".repeat(32)])));
        let moved = DesktopChange { address: Some("10.0.0.9".to_owned()), ..DesktopChange::default() };
        let moved = moved.of(Some(&old)).unwrap().unwrap();
        assert_eq!((moved.address.as_str(), &moved.pin), ("10.0.0.9", &old.pin));
        assert_eq!(DesktopChange::default().of(Some(&old)).unwrap(), Some(old));
        assert_eq!(DesktopChange::default().of(None).unwrap(), None);
        let bare = DesktopChange { allow_tls_only: Some(true), ..DesktopChange::default() };
        assert!(matches!(bare.of(None), Err(LedgerError::NoDesktop)));
    }
}
