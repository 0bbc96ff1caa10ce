//! Checks a private key when it is stored, not when the first session needs it.

use std::fmt;

use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, Error, HashAlg, LineEnding, PrivateKey};

use crate::secret::Secret;

/// Why a private key cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFault {
    /// It is not a private key in OpenSSH's format, but this.
    Format(&'static str),
    /// It is encrypted and no passphrase was given.
    PassphraseNeeded,
    /// The passphrase does not open it.
    WrongPassphrase,
    /// A kind of key that Doorward does not log in with.
    Kind(String),
    /// It cannot be read, or what it signs does not verify.
    Broken(String),
}

/// Reads and opens a key, and signs with it once to see that it works.
pub(super) fn read(openssh: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<PrivateKey, KeyFault> {
    let text = openssh.expose().trim();
    if let Some(found) = other_format(text) {
        return Err(KeyFault::Format(found));
    }
    let read = PrivateKey::from_openssh(text).map_err(|error| fault(&error))?;
    supported(&read.algorithm())?;
    let key = match (read.is_encrypted(), passphrase) {
        (true, None) => return Err(KeyFault::PassphraseNeeded),
        (true, Some(passphrase)) => read.decrypt(passphrase.expose()).map_err(|error| {
            // Under a wrong passphrase the opened bytes are noise, whatever the parser thinks of them.
            let unsupported = matches!(error, Error::AlgorithmUnsupported { .. });
            if unsupported { fault(&error) } else { KeyFault::WrongPassphrase }
        })?,
        (false, _) => read,
    };
    if !matches!(key.key_data(), KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) | KeypairData::Rsa(_)) {
        return Err(KeyFault::Kind(key.algorithm().to_string()));
    }
    let signature = key.sign("doorward", HashAlg::Sha256, b"trial").map_err(|error| fault(&error))?;
    key.public_key()
        .verify("doorward", b"trial", &signature)
        .map_err(|_| KeyFault::Broken("its two halves do not belong together".into()))?;
    Ok(key)
}

/// The lines of a key's file, in OpenSSH's format and without a passphrase, that hold a part of what is secret.
///
/// The lines before them, which hold the kind and the public half, are the same in every copy of the public key.
///
/// Source: OpenSSH's `PROTOCOL.key`; `ssh-keygen` writes 70 characters a line.
pub(super) fn secret_lines(key: &PrivateKey) -> Vec<Secret<String>> {
    // "openssh-key-v1" and a zero; cipher and kdf "none" and no options; one key; the lengths of the two parts.
    const BEFORE_PUBLIC: usize = 15 + 8 + 8 + 4 + 4 + 4;
    const LINE_BYTES: usize = 70;
    let (Ok(text), Ok(public)) = (key.to_openssh(LineEnding::LF), key.public_key().to_bytes()) else {
        return Vec::new();
    };
    let secret_from = BEFORE_PUBLIC.saturating_add(public.len()).saturating_add(4);
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let secret = lines.enumerate().filter(|(number, _)| {
        let end = number.saturating_add(1).saturating_mul(LINE_BYTES).saturating_mul(3).div_ceil(4);
        end > secret_from
    });
    secret.map(|(_, line)| Secret::new(line.to_owned())).collect()
}

fn supported(algorithm: &Algorithm) -> Result<(), KeyFault> {
    let good = matches!(algorithm, Algorithm::Ed25519 | Algorithm::Rsa { .. } | Algorithm::Ecdsa { .. });
    if good { Ok(()) } else { Err(KeyFault::Kind(algorithm.to_string())) }
}

fn fault(error: &Error) -> KeyFault {
    if let Error::AlgorithmUnsupported { algorithm } = error {
        return KeyFault::Kind(algorithm.to_string());
    }
    KeyFault::Broken(error.to_string())
}

/// What a text is that is not a private key in OpenSSH's format.
fn other_format(text: &str) -> Option<&'static str> {
    let first = text.lines().next().unwrap_or_default().trim_end();
    match first {
        "-----BEGIN OPENSSH PRIVATE KEY-----" => None,
        "" => Some("empty"),
        first if first.starts_with("-----BEGIN ") && first.contains("PRIVATE KEY") => Some("a key in PEM format"),
        first if first.starts_with("PuTTY-User-Key-File") => Some("a PuTTY key"),
        first if first.starts_with("ssh-") || first.starts_with("ecdsa-") || first.starts_with("sk-") => {
            Some("a public key")
        }
        _ => Some("something else"),
    }
}

impl KeyFault {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Format("a public key") => "give the file without `.pub`",
            Self::Format("a PuTTY key") => "convert it: puttygen KEY.ppk -O private-openssh-new -o KEY",
            Self::Format(_) => "convert a copy of it: ssh-keygen -p -f COPY",
            Self::PassphraseNeeded => "give the passphrase of the key too",
            Self::Kind(_) => "make one: ssh-keygen -t ed25519",
            Self::WrongPassphrase | Self::Broken(_) => return None,
        })
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(found) => write!(f, "this is not a private key in OpenSSH's format, but {found}"),
            Self::PassphraseNeeded => f.write_str("the private key is encrypted and no passphrase was given"),
            Self::WrongPassphrase => f.write_str("the passphrase does not open the private key"),
            Self::Kind(kind) => {
                write!(
                    f,
                    "a key of kind `{kind}` is not supported: use Ed25519, ECDSA or RSA, not DSA or a hardware key"
                )
            }
            Self::Broken(why) => write!(f, "the private key is broken: {why}"),
        }
    }
}

impl std::error::Error for KeyFault {}
