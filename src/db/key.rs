//! The master key and the keys derived from it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use crate::durable;
use crate::secret::Secret;

const KEY_BYTES: usize = 32;
/// Longer than 64 hexadecimal digits with their line end, far shorter than anything else.
const FILE_BYTES_MAX: u64 = 128;

/// The one key that must be kept apart from the state directory: without it, that directory yields no secret.
#[derive(Debug, Clone)]
pub struct MasterKey(Secret<[u8; KEY_BYTES]>);

impl MasterKey {
    /// Makes a random key and writes it to `path`: hexadecimal, mode 0400, never over an existing file.
    ///
    /// # Errors
    /// What the file system says, `AlreadyExists` among it.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::Io { what: "write", path: path.to_owned(), source };
        let key = Self::random().map_err(|error| failed(io::Error::other(error)))?;
        durable::create_new(path, key.text().as_bytes(), 0o400).map_err(failed)?;
        Ok(key)
    }

    /// The content of its file.
    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
        for byte in self.0.expose() {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        text.push('\n');
        text
    }

    /// Tells one master key from another, and nothing else of it: 8 hexadecimal digits.
    ///
    /// # Errors
    /// `CryptoFailed`.
    pub fn name(&self) -> Result<String, CryptoFailed> {
        self.id().map(|id| format!("{id:08x}"))
    }

    /// Reads a key: 64 hexadecimal digits or 32 raw bytes.
    ///
    /// # Errors
    /// `Readable` if others than the owner may read the file, `Form` if it holds no key, `Rotating` if it is being
    /// replaced.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let next = KeyFiles::of(path)?.next;
        match next.symlink_metadata() {
            Ok(_) => Err(MasterKeyError::Rotating { next }),
            Err(_) => Self::read(path),
        }
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::Io { what: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if found.mode() & 0o077 != 0 {
            return Err(MasterKeyError::Readable { path: path.to_owned(), mode: found.mode() & 0o7777 });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let key = if bytes.len() == KEY_BYTES { bytes.as_slice().try_into().ok() } else { from_hex(&bytes) };
        key.map(|key| Self(Secret::new(key))).ok_or_else(|| MasterKeyError::Form { path: path.to_owned() })
    }

    /// A key that lives as long as this process.
    ///
    /// # Errors
    /// `CryptoFailed`.
    pub fn random() -> Result<Self, CryptoFailed> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| CryptoFailed)?;
        let kept = Self(Secret::new(key));
        key.zeroize();
        Ok(kept)
    }

    /// The key for one purpose; knowing it tells nothing of the master key or of other purposes.
    pub(crate) fn sealing_key(&self, purpose: &str) -> Result<SealingKey, CryptoFailed> {
        SealingKey::from_bytes(self.derive(purpose)?.as_slice())
    }

    /// Tells which master key sealed a value, without telling anything else of the key.
    pub(crate) fn id(&self) -> Result<u32, CryptoFailed> {
        let [a, b, c, d, ..] = *self.derive("key id")?;
        Ok(u32::from_be_bytes([a, b, c, d]))
    }

    fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, CryptoFailed> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY_BYTES
            }
        }
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        let info = [b"doorward 1 ".as_slice(), purpose.as_bytes()];
        let root = Salt::new(HKDF_SHA256, b"doorward").extract(self.0.expose());
        root.expand(&info, Length).and_then(|okm| okm.fill(out.as_mut_slice())).map_err(|_| CryptoFailed)?;
        Ok(out)
    }
}

/// The files of a master key that is being replaced.
///
/// ```text
/// master.key             the present one; it is there at every moment
/// master.key.next        the one to come: while it is there, nobody but the rotation opens the state
/// master.key.<name>.old  an earlier one, for backups from its time
/// ```
#[derive(Debug, Clone)]
pub struct KeyFiles {
    present: PathBuf,
    next: PathBuf,
}

impl KeyFiles {
    /// Those of the master key in `path`. A link is followed, so that the files lie beside the key itself.
    ///
    /// # Errors
    /// `Io` if there is no key.
    pub fn of(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::Io { what: "read", path: path.to_owned(), source };
        let present = std::fs::canonicalize(path).map_err(failed)?;
        let next = beside(&present, "next");
        Ok(Self { present, next })
    }

    /// The present key, whether it is being replaced or not.
    ///
    /// # Errors
    /// As `MasterKey::load`, but `Rotating`.
    pub fn present(&self) -> Result<MasterKey, MasterKeyError> {
        MasterKey::read(&self.present)
    }

    /// The key to come, if a rotation was begun.
    ///
    /// # Errors
    /// As `present`.
    pub fn next(&self) -> Result<Option<MasterKey>, MasterKeyError> {
        match self.next.symlink_metadata() {
            Ok(_) => MasterKey::read(&self.next).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MasterKeyError::Io { what: "read", path: self.next.clone(), source }),
        }
    }

    /// Begins a rotation to `key`. Durable on return: it can be finished from here on, and not be taken back.
    ///
    /// # Errors
    /// What the file system says; there is no rotation then.
    pub fn begin(&self, key: &MasterKey) -> Result<(), MasterKeyError> {
        // Whole or not there: what is sealed under it must never be lost with it.
        durable::replace(&self.next, key.text().as_bytes(), 0o400).map_err(|source| MasterKeyError::Io {
            what: "write",
            path: self.next.clone(),
            source,
        })
    }

    /// Ends a rotation: the key to come is the present one, and that one is kept. Gives the kept file. Durable on return.
    ///
    /// # Errors
    /// What the file system says; to be called again then.
    pub fn finish(&self) -> Result<PathBuf, MasterKeyError> {
        let present = self.present()?;
        let failed = |path: &Path, source| MasterKeyError::Io { what: "write", path: path.to_owned(), source };
        let name = present.name().map_err(|error| failed(&self.present, io::Error::other(error)))?;
        let old = beside(&self.present, &format!("{name}.old"));
        match durable::create_new(&old, present.text().as_bytes(), 0o400) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&old, error)),
            Ok(()) | Err(_) => {}
        }
        std::fs::rename(&self.next, &self.present)
            .and_then(|()| durable::sync_parent(&self.present))
            .map_err(|error| failed(&self.present, error))?;
        Ok(old)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn from_hex(bytes: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let text = bytes.trim_ascii();
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

/// An AES-256-GCM key. A random nonce per value: below 2^32 values a key, two never meet in practice.
///
/// ring does not wipe its key schedule when it is dropped; the README names this copy.
pub(crate) struct SealingKey(LessSafeKey);

impl SealingKey {
    /// Uses `bytes` as the key; there must be 32.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoFailed> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| CryptoFailed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// A new random key, to be used and to be sealed itself.
    pub(crate) fn random() -> Result<(Self, Zeroizing<[u8; KEY_BYTES]>), CryptoFailed> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| CryptoFailed)?;
        Ok((Self::from_bytes(bytes.as_slice())?, bytes))
    }

    /// Appends `nonce | ciphertext | tag` to `out`; wipes `plain`.
    pub(crate) fn seal(
        &self,
        aad: &[u8],
        mut plain: Zeroizing<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoFailed> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CryptoFailed)?;
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), plain.as_mut_slice())
            .map_err(|_| CryptoFailed)?;
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&plain);
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens what `seal` made under the same `aad`; `None` if one bit of either differs.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.0.open_in_place(nonce, Aad::from(aad), buffer.as_mut_slice()).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<key>")
    }
}

/// The system gave no random bytes, or the cryptographic library objects to what it cannot object to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CryptoFailed;

impl fmt::Display for CryptoFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gives no randomness, or cryptography failed")
    }
}

impl std::error::Error for CryptoFailed {}

/// Why there is no master key.
#[derive(Debug)]
pub enum MasterKeyError {
    /// Others than the owner may read it.
    Readable {
        /// The key's file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds something else.
    Form {
        /// The key's file.
        path: PathBuf,
    },
    /// It is being replaced, and that was interrupted.
    Rotating {
        /// The key to come.
        next: PathBuf,
    },
    /// The file system failed.
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The key's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl MasterKeyError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Readable { path, .. } => format!("run: chmod 400 {}", path.display()),
            Self::Rotating { .. } => "`doorward secret rotate-key` goes on where it stopped".into(),
            Self::Form { .. } => "restore it from the backup: without it the vault cannot be opened".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "restore it from the backup, or correct the path in doorward.toml".into()
            }
            Self::Io { .. } => return None,
        })
    }
}

impl fmt::Display for MasterKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable { path, mode } => {
                write!(f, "the master key {} is open to others (mode {mode:04o})", path.display())
            }
            Self::Form { path } => {
                write!(f, "{} holds no master key (64 hexadecimal digits or 32 bytes)", path.display())
            }
            Self::Rotating { next } => {
                write!(f, "the master key is being replaced, and that was interrupted: {} is there", next.display())
            }
            Self::Io { what, path, .. } => write!(f, "cannot {what} the master key {}", path.display()),
        }
    }
}

impl std::error::Error for MasterKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Readable { .. } | Self::Form { .. } | Self::Rotating { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_master_key_reads_back_equal_and_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let made = MasterKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
        assert_eq!(MasterKey::load(&path).unwrap().0.expose(), made.0.expose());
        assert!(matches!(MasterKey::create(&path), Err(MasterKeyError::Io { .. })), "was overwritten");
    }

    #[test]
    fn raw_and_hexadecimal_keys_are_taken_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let hex = "0aF1".repeat(16);
        for good in [vec![7; 32], hex.clone().into_bytes(), format!(" {hex}\r\n").into_bytes()] {
            durable::replace(&path, &good, 0o400).unwrap();
            MasterKey::load(&path).unwrap();
        }
        let signed = format!("+f{}", "00".repeat(31));
        for bad in [Vec::new(), vec![7; 31], vec![7; 64], signed.into_bytes(), hex[1..].into(), hex.repeat(2).into()] {
            durable::replace(&path, &bad, 0o400).unwrap();
            assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Form { .. })), "{bad:?}");
        }
    }

    #[test]
    fn while_a_key_is_replaced_nobody_opens_anything_and_the_old_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let old = MasterKey::create(&path).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let files = KeyFiles::of(&link).unwrap();
        assert!(files.next().unwrap().is_none());
        let new = MasterKey::random().unwrap();
        files.begin(&new).unwrap();
        for name in [&path, &link] {
            assert!(matches!(MasterKey::load(name), Err(MasterKeyError::Rotating { .. })));
        }
        assert_eq!(files.present().unwrap().name(), old.name());
        assert_eq!(files.next().unwrap().unwrap().name(), new.name());
        // As after a crash before the last step.
        durable::create_new(&beside(&path, &format!("{}.old", old.name().unwrap())), old.text().as_bytes(), 0o400)
            .unwrap();
        let kept = files.finish().unwrap();
        assert_eq!(MasterKey::load(&link).unwrap().0.expose(), new.0.expose());
        assert_eq!(MasterKey::load(&kept).unwrap().0.expose(), old.0.expose());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
        assert!(files.next().unwrap().is_none());
    }

    #[test]
    fn a_master_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        MasterKey::create(&path).unwrap();
        for mode in [0o440, 0o604] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::load(&path).unwrap_err();
            assert!(matches!(refused, MasterKeyError::Readable { .. }) && refused.hint().is_some());
        }
    }

    #[test]
    fn keys_for_two_purposes_do_not_open_each_other() {
        let master = MasterKey::random().unwrap();
        let mut sealed = Vec::new();
        master.sealing_key("one").unwrap().seal(b"aad", Zeroizing::new(b"hunter2".to_vec()), &mut sealed).unwrap();
        assert_eq!(master.sealing_key("one").unwrap().open(b"aad", &sealed).unwrap().as_slice(), b"hunter2");
        assert!(master.sealing_key("two").unwrap().open(b"aad", &sealed).is_none());
        assert!(master.sealing_key("one").unwrap().open(b"bad", &sealed).is_none());
        assert!(master.sealing_key("one").unwrap().open(b"aad", b"short").is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let master = MasterKey(Secret::new([0x41; 32]));
        assert_eq!(format!("{master:?} {:?}", master.sealing_key("x").unwrap()), "MasterKey(<secret>) <key>");
    }
}
