//! One certificate against the lists (OpenSSH's PROTOCOL.certkeys). Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use ssh_key::certificate::CertType;
use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey};

use super::{Distrust, For, Revoked};
use crate::model::Timestamp;

/// Under which circumstances a certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// What the answer is for.
    pub purpose: For,
    /// Where the user comes from.
    pub source: IpAddr,
    /// When.
    pub now: Timestamp,
}

pub(super) fn check(
    certificate: &Certificate,
    cas: &[PublicKey],
    revoked: &Revoked,
    circumstances: &Circumstances,
) -> Result<(), Distrust> {
    let ca = PublicKey::from(certificate.signature_key().clone());
    let ca_fingerprint = ca.fingerprint(HashAlg::Sha256);
    // First, for it is cheap: whoever makes their own authority does not get our time for checking signatures. The
    // key is compared, not a fingerprint, under which a certificate would pass for the key in it.
    if !cas.iter().any(|known| known.key_data() == ca.key_data()) {
        return Err(Distrust::UnknownCa { ca: ca_fingerprint.to_string() });
    }
    let key = PublicKey::from(certificate.public_key().clone());
    for key in [&ca, &key] {
        if revoked.has_key(key) {
            return Err(Distrust::KeyRevoked { fingerprint: key.fingerprint(HashAlg::Sha256).to_string() });
        }
    }
    if let Some(by) = revoked.certificate(certificate) {
        return Err(Distrust::CertificateRevoked { by });
    }
    match circumstances.purpose {
        For::Live => return Ok(()),
        For::Opening => {}
    }
    if certificate.cert_type() != CertType::User {
        return Err(Distrust::NotForUsers);
    }
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err(Distrust::BadSignature);
    }
    let now = u64::try_from(circumstances.now.as_millis() / 1000).unwrap_or(0);
    if now < certificate.valid_after() {
        return Err(Distrust::NotYet { from: timestamp(certificate.valid_after()) });
    }
    if now >= certificate.valid_before() {
        return Err(Distrust::Expired { until: timestamp(certificate.valid_before()) });
    }
    certificate.validate_at(now, [&ca_fingerprint]).map_err(|_| Distrust::BadSignature)?;
    options(certificate, circumstances.source)
}

/// Seconds since 1970; what is beyond all dates is the last of them.
fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

fn options(certificate: &Certificate, source: IpAddr) -> Result<(), Distrust> {
    for (name, value) in certificate.critical_options().iter() {
        match name.as_str() {
            "source-address" => {
                if !within(value, source) {
                    let allowed = value.chars().filter(char::is_ascii_graphic).take(200).collect();
                    return Err(Distrust::SourceAddress { allowed });
                }
            }
            // What the security key must have signed is looked at where its signature is.
            "verify-required" if value.is_empty() => {}
            other => {
                let name = other.chars().filter(char::is_ascii_graphic).take(64).collect();
                return Err(Distrust::CriticalOption { name });
            }
        }
    }
    Ok(())
}

/// Whether the address is in one of the networks; a list with anything else in it has none.
fn within(list: &str, source: IpAddr) -> bool {
    let network = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let networks: Option<Vec<IpNet>> = list.split(',').map(network).collect();
    networks.is_some_and(|networks| networks.iter().any(|network| network.contains(&source.to_canonical())))
}
