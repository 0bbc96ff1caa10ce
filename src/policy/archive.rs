//! A policy set as one run of bytes, from which it can be read again: what its hash is of.

use std::fmt;

use super::PolicyFile;

/// A set has at most so many bytes.
pub const ARCHIVE_BYTES_MAX: usize = 16 << 20;

/// The bytes are not those of a policy set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedArchive;

impl fmt::Display for MalformedArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these are not the files of a policy set")
    }
}

impl std::error::Error for MalformedArchive {}

/// The files in the order of their paths: of each the path, then the text, behind its length in 8 bytes (big endian),
/// so that no two sets have the same bytes. Texts stay readable in it.
pub fn encode(files: &[PolicyFile]) -> Vec<u8> {
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut bytes = Vec::new();
    for text in sorted.iter().flat_map(|file| [&file.path, &file.text]) {
        bytes.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// Reads what `encode` made.
///
/// # Errors
/// `MalformedArchive` for anything else.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<PolicyFile>, MalformedArchive> {
    let mut files: Vec<PolicyFile> = Vec::new();
    while !bytes.is_empty() {
        let (path, text) = (take(&mut bytes)?, take(&mut bytes)?);
        if files.last().is_some_and(|last| last.path > path) {
            return Err(MalformedArchive);
        }
        files.push(PolicyFile { path, text });
    }
    Ok(files)
}

fn take(bytes: &mut &[u8]) -> Result<String, MalformedArchive> {
    let (len, rest) = bytes.split_first_chunk().ok_or(MalformedArchive)?;
    let len = usize::try_from(u64::from_be_bytes(*len)).map_err(|_| MalformedArchive)?;
    let (text, rest) = rest.split_at_checked(len).ok_or(MalformedArchive)?;
    *bytes = rest;
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| MalformedArchive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> PolicyFile {
        PolicyFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_set_reads_back_equal_whatever_the_order_of_its_files() {
        let (one, two) = (file("a.toml", "schema = 1\n"), file("b.toml", "é"));
        let bytes = encode(&[two.clone(), one.clone()]);
        assert_eq!(decode(&bytes), Ok(vec![one.clone(), two.clone()]));
        assert_eq!(bytes, encode(&[one, two]));
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_no_set_has_for_bytes_is_refused() {
        let bytes = encode(&[file("a.toml", "text"), file("b.toml", "")]);
        let whole = [0, encode(&[file("a.toml", "text")]).len(), bytes.len()];
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]).is_ok(), whole.contains(&at), "cut at {at}");
        }
        let unsorted = [encode(&[file("b", "")]), encode(&[file("a", "")])].concat();
        for bad in [&unsorted[..], &[0xff; 8], &[0xff; 30], &[0, 0, 0, 0, 0, 0, 0, 1, 0xff]] {
            assert_eq!(decode(bad), Err(MalformedArchive));
        }
    }
}
