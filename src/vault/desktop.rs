//! The certificate by which programs that speak RDP know the bastion, and its key: made once, and sealed as its other keys.

use zeroize::Zeroizing;

use super::{Place, Vault, VaultError};
use crate::secret::Secret;

pub(super) const DESKTOP_KEY: &str = "desktop-key";

/// The bastion's certificate for RDP, and its key.
#[derive(Debug, Clone)]
pub struct DesktopIdentity {
    /// The certificate, in DER. It is nobody's secret.
    pub certificate: Vec<u8>,
    /// The key, PKCS#8 in DER.
    pub key: Secret<Vec<u8>>,
}

impl DesktopIdentity {
    /// The SHA-256 of the certificate, in lower-case hex: what people compare.
    pub fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `length u32, certificate, key`, little endian.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let length = u32::try_from(self.certificate.len()).unwrap_or(u32::MAX).to_le_bytes();
        let whole = length.len().saturating_add(self.certificate.len()).saturating_add(self.key.expose().len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(whole));
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&self.certificate);
        bytes.extend_from_slice(self.key.expose());
        bytes
    }

    /// The other way round; none if it is no certificate with a key.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (certificate, key) = rest.split_at_checked(length)?;
        let is_der = |bytes: &[u8]| bytes.first() == Some(&0x30);
        (is_der(certificate) && is_der(key))
            .then(|| Self { certificate: certificate.to_vec(), key: Secret::new(key.to_vec()) })
    }
}

impl Vault {
    /// The bastion's certificate for RDP; made and stored when it is first asked for.
    ///
    /// # Errors
    /// `Altered`, or `Db` if the database or the cryptographic library fails.
    pub fn desktop_identity(&self) -> Result<DesktopIdentity, VaultError> {
        let altered = || VaultError::Altered(DESKTOP_KEY.to_owned());
        match self.bastion_secret(DESKTOP_KEY) {
            Ok(bytes) => DesktopIdentity::from_bytes(&bytes).ok_or_else(altered),
            Err(VaultError::NoBastionKey(_)) => {
                // Nobody looks a name up in it: people pin it, or compare its fingerprint.
                let made = rcgen::generate_simple_self_signed(vec![String::from("doorward")]);
                let made = made.map_err(|_| altered())?;
                let key = Secret::new(made.signing_key.serialize_der());
                let identity = DesktopIdentity { certificate: made.cert.der().to_vec(), key };
                let sealed = self.seal(&Place::bastion(DESKTOP_KEY), identity.to_bytes())?;
                self.bastion_keys.put(DESKTOP_KEY, None, &sealed).map_err(VaultError::Db)?;
                Ok(identity)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_with_a_key_is_not_taken() {
        let good = DesktopIdentity { certificate: vec![0x30, 1], key: Secret::new(vec![0x30, 2]) }.to_bytes();
        assert_eq!(DesktopIdentity::from_bytes(&good).unwrap().certificate, [0x30, 1]);
        for bad in [&good[..3], &good[..5], &[9, 0, 0, 0, 0x30], &[0, 0, 0, 0, 0x30, 1], &[]] {
            assert!(DesktopIdentity::from_bytes(bad).is_none(), "{bad:?}");
        }
    }
}
