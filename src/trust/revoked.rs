//! Revoked keys and certificates: OpenSSH's binary lists (PROTOCOL.krl), or public keys one a line. Pure.
//!
//! A list that is not understood to its last byte is refused: what stands in the part that was passed over would count.

use std::collections::HashSet;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ssh_key::{Certificate, PublicKey};

/// What begins a binary list: `KRL_MAGIC`.
const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;
const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// What is revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Keys, as they go over the wire.
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    certificates: Vec<Certificates>,
}

/// Revoked certificates of one authority, or of any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Certificates {
    /// The authority's key as it goes over the wire; `None` for any.
    ca: Option<Vec<u8>>,
    serials: HashSet<u64>,
    /// First and last.
    ranges: Vec<(u64, u64)>,
    /// The serial of the lowest bit, and bits, the highest byte first.
    bitmaps: Vec<(u64, Vec<u8>)>,
    key_ids: HashSet<Vec<u8>>,
}

impl Revoked {
    /// Reads a list of either form.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        match bytes.strip_prefix(MAGIC) {
            Some(rest) => Self::binary(rest).map_err(|why| format!("not a key revocation list to trust: {why}")),
            None => {
                let mut revoked = Self::default();
                for (line, key) in super::keys_of(bytes)? {
                    let blob = blob(&key).ok_or_else(|| format!("line {line}: not a public key"))?;
                    revoked.keys.insert(blob);
                }
                Ok(revoked)
            }
        }
    }

    /// Whether the key is revoked as such, whatever certificate it is in.
    pub fn has_key(&self, key: &PublicKey) -> bool {
        let Some(blob) = blob(key) else { return true };
        self.keys.contains(&blob)
            || (!self.sha256.is_empty() && self.sha256.contains(digest(&SHA256, &blob).as_ref()))
            || (!self.sha1.is_empty() && self.sha1.contains(digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref()))
    }

    /// By what a certificate is revoked, apart from its keys.
    pub fn certificate(&self, certificate: &Certificate) -> Option<String> {
        let ca = blob(&PublicKey::from(certificate.signature_key().clone()));
        let of_ca = self.certificates.iter().filter(|section| section.ca.is_none() || section.ca == ca);
        of_ca.into_iter().find_map(|section| section.revokes(certificate))
    }

    fn binary(rest: &[u8]) -> Result<Self, String> {
        let mut reader = Reader(rest);
        let format = reader.u32()?;
        if format != FORMAT {
            return Err(format!("its format is {format}, and {FORMAT} is known"));
        }
        // Its version, its date, flags of which none is defined, and what is reserved.
        let (_, _, flags) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (reserved, _comment) = (reader.string()?, reader.string()?);
        if flags != 0 || !reserved.is_empty() {
            return Err("it has flags or fields that are not known".to_owned());
        }
        let mut revoked = Self::default();
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let mut section = Reader(reader.string()?);
            match kind {
                CERTIFICATES => revoked.certificates.push(Certificates::read(&mut section)?),
                EXPLICIT_KEY => section.strings(|key| revoked.keys.insert(key))?,
                FINGERPRINT_SHA1 => section.hashes(20, &mut revoked.sha1)?,
                FINGERPRINT_SHA256 => section.hashes(32, &mut revoked.sha256)?,
                EXTENSION => section.extension()?,
                SIGNATURE => return Err("it is signed, and who may sign it is not known".to_owned()),
                other => return Err(format!("a section of the unknown kind {other}")),
            }
        }
        Ok(revoked)
    }
}

impl Certificates {
    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        let (ca, reserved) = (reader.string()?, reader.string()?);
        if !reserved.is_empty() {
            return Err("a section has fields that are not known".to_owned());
        }
        let mut found = Self { ca: (!ca.is_empty()).then(|| ca.to_vec()), ..Self::default() };
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let mut section = Reader(reader.string()?);
            match kind {
                SERIAL_LIST => {
                    while !section.is_empty() {
                        found.serials.insert(section.u64()?);
                    }
                }
                SERIAL_RANGE => {
                    let (first, last) = (section.u64()?, section.u64()?);
                    if first > last {
                        return Err("a range of serials ends before it begins".to_owned());
                    }
                    found.ranges.push((first, last));
                }
                SERIAL_BITMAP => {
                    let offset = section.u64()?;
                    let bits = section.string()?;
                    if bits.first().is_some_and(|byte| byte & 0x80 != 0) {
                        return Err("a bitmap of serials is negative".to_owned());
                    }
                    found.bitmaps.push((offset, bits.to_vec()));
                }
                KEY_ID => section.strings(|id| found.key_ids.insert(id))?,
                CERTIFICATE_EXTENSION => section.extension()?,
                other => return Err(format!("a section of the unknown kind {other} among certificates")),
            }
            section.end()?;
        }
        Ok(found)
    }

    fn revokes(&self, certificate: &Certificate) -> Option<String> {
        if self.key_ids.contains(certificate.key_id().as_bytes()) {
            return Some(format!("its key id {:?}", certificate.key_id()));
        }
        let serial = certificate.serial();
        let listed = self.serials.contains(&serial)
            || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&serial))
            || self.bitmaps.iter().any(|(offset, bits)| bit(bits, serial.checked_sub(*offset)));
        // A certificate without a serial has 0, as OpenSSH reads it: such cannot be told apart by it.
        (listed && serial != 0).then(|| format!("its serial {serial}"))
    }
}

/// Whether this bit is set, counted from the last byte's lowest.
fn bit(bits: &[u8], number: Option<u64>) -> bool {
    let Some(number) = number else { return false };
    let Ok(byte) = usize::try_from(number / 8) else { return false };
    bits.iter().rev().nth(byte).is_some_and(|byte| byte & (1 << (number % 8)) != 0)
}

/// The key as it goes over the wire; nothing if it cannot be written, which then counts as revoked.
fn blob(key: &PublicKey) -> Option<Vec<u8>> {
    key.to_bytes().ok()
}

/// Reads what is left of a list (RFC 4251 section 5).
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.take().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'b [u8], String> {
        let length = usize::try_from(self.u32()?).map_err(|_| "it ends too early")?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Every string up to the end.
    fn strings(&mut self, mut keep: impl FnMut(Vec<u8>) -> bool) -> Result<(), String> {
        while !self.is_empty() {
            keep(self.string()?.to_vec());
        }
        Ok(())
    }

    /// Every string up to the end, each of this length.
    fn hashes(&mut self, length: usize, into: &mut HashSet<Vec<u8>>) -> Result<(), String> {
        while !self.is_empty() {
            let hash = self.string()?;
            if hash.len() != length {
                return Err(format!("a fingerprint of {} bytes where {length} are due", hash.len()));
            }
            into.insert(hash.to_vec());
        }
        Ok(())
    }

    /// An extension, which is passed over if its maker says that it may be.
    fn extension(&mut self) -> Result<(), String> {
        let name = String::from_utf8_lossy(self.string()?).into_owned();
        let critical = self.u8()? != 0;
        self.string()?;
        if critical {
            return Err(format!("the critical extension {name:?} is not known"));
        }
        self.end()
    }

    fn end(&self) -> Result<(), String> {
        if self.is_empty() { Ok(()) } else { Err("a section has more in it than is known".to_owned()) }
    }
}
