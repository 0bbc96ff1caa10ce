//! The files of a store, as an attacker may have left them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::book::Book;
use crate::model::SessionId;
use crate::seal::{Head, Item, Kind, ScanEnd, Scanner, SegmentHeader};
use crate::store::StoreRoot;

/// Directories are not followed deeper: `rec/Y/M/D/session/channel/segment`, and tiles.
const DEPTH_MAX: usize = 8;

/// Plain files below a directory, by their paths in it, and what is neither a plain file nor a directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: BTreeSet<String>,
    pub(super) strays: Vec<String>,
}

/// What a directory holds. Links are not followed.
pub(super) fn walk(directory: &Path) -> Found {
    let mut found = Found::default();
    let mut waiting = vec![(String::new(), 0)];
    while let Some((below, depth)) = waiting.pop() {
        let here = directory.join(&below);
        let entries = match std::fs::read_dir(&here) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => continue,
            Err(error) => {
                found.strays.push(format!("`{}` cannot be read: {error}", here.display()));
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries.flatten() {
            let shown = here.join(entry.file_name());
            let Ok(name) = entry.file_name().into_string() else {
                found.strays.push(format!("`{}` does not belong here", shown.display()));
                continue;
            };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_file() => drop(found.files.insert(path)),
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => waiting.push((path, depth.saturating_add(1))),
                Ok(_) | Err(_) => found.strays.push(format!("`{}` does not belong here", shown.display())),
            }
        }
    }
    found
}

/// Opens a plain file. Nobody makes us wait on a pipe, or read another file through a link.
pub(super) fn open(path: &Path) -> Result<File, String> {
    let failed = |error: io::Error| format!("`{}` cannot be read: {error}", path.display());
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("`{}` is no plain file", path.display()));
    }
    Ok(file)
}

/// A whole file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let failed = |error: io::Error| format!("`{}` cannot be read: {error}", path.display());
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(format!("`{}` is longer than what is written there", path.display()));
    }
    Ok(bytes)
}

/// A whole file of text.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String, String> {
    String::from_utf8(read(path, most)?).map_err(|_| format!("`{}` is not text", path.display()))
}

/// What is there of sessions.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) sessions: BTreeMap<SessionId, Session>,
    envelopes: BTreeMap<String, PathBuf>,
}

/// What is there of one.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) directory: PathBuf,
    /// Its files, by their paths in it, and their lengths.
    pub(super) files: BTreeMap<String, u64>,
}

impl Session {
    /// How much there is to read.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }
}

impl Store {
    /// Looks at what is there; what belongs to no session is noted in `strays`.
    pub(super) fn walk(state_directory: &Path, strays: &mut Vec<String>) -> Self {
        let root = StoreRoot::at(state_directory);
        let mut store = Self::default();
        let found = walk(root.directory());
        strays.extend(found.strays);
        for name in found.files {
            let path = root.directory().join(&name);
            let mut parts = name.splitn(5, '/');
            let session = parts.nth(3).and_then(|id| SessionId::parse(id).ok());
            let directory = session.as_ref().and_then(|id| root.session_directory(id));
            match (session, directory, parts.next()) {
                (Some(session), Some(directory), Some(rest)) if path == directory.join(rest) => {
                    let length = std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                    let one = store.sessions.entry(session).or_insert(Session { directory, files: BTreeMap::new() });
                    one.files.insert(rest.to_owned(), length);
                }
                // The recorder's own trial of a disk that failed.
                _ if name == ".probe" || name == ".probe.new" => {}
                _ => strays.push(format!("`{}` does not belong here", path.display())),
            }
        }
        let found = walk(root.envelopes());
        strays.extend(found.strays);
        for name in found.files {
            let path = root.envelopes().join(&name);
            store.envelopes.insert(name, path);
        }
        store
    }

    /// Envelopes of no session that the log or the store knows.
    pub(super) fn envelopes_without(&self, book: &Book) -> Vec<String> {
        let strays = self.envelopes.iter().filter(|(name, _)| {
            let id = name.strip_suffix(".age").or_else(|| name.strip_suffix(".age.new"));
            let id = id.and_then(|id| SessionId::parse(id).ok());
            !id.is_some_and(|id| book.sessions.contains_key(&id) || self.sessions.contains_key(&id))
        });
        strays.map(|(_, path)| format!("`{}` belongs to no session", path.display())).collect()
    }
}

/// A segment, as far as it is good.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) header: SegmentHeader,
    /// Records of data.
    pub(super) records: u64,
    /// Records, the end record included.
    pub(super) all_records: u64,
    pub(super) head: Head,
    pub(super) bytes: u64,
    pub(super) valid_len: u64,
    pub(super) end: ScanEnd,
    /// The head after the record that was asked for; `None` if there are not so many.
    pub(super) asked: Option<Head>,
}

/// Scans a segment, and notes the head after `asked` records. Tells `read` of the bytes read.
pub(super) fn scan(path: &Path, asked: u64, read: &mut dyn FnMut(u64)) -> Result<Scanned, String> {
    let mut file = open(path)?;
    let shown = path.display();
    let mut scanner = Scanner::new();
    let (mut header, mut records, mut bytes, mut found) = (None, 0_u64, 0_u64, None);
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let len = file.read(&mut chunk).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        let mut input = chunk.get(..len).unwrap_or_default();
        if input.is_empty() {
            break;
        }
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(len);
        read(len);
        loop {
            match scanner.read(&mut input) {
                Ok(Some(Item::Header(one))) => {
                    header = Some(one);
                    found = found.or((asked == 0).then(|| scanner.head()));
                }
                Ok(Some(Item::Record(record))) => {
                    if record.kind() == Kind::Data {
                        records = records.saturating_add(1);
                    }
                    if record.index() == asked {
                        found = Some(record.head());
                    }
                }
                Ok(None) => break,
                Err(altered) => return Err(format!("`{shown}`: {altered}")),
            }
        }
    }
    let end = scanner.finish().map_err(|altered| format!("`{shown}`: {altered}"))?;
    let header = header.ok_or_else(|| format!("`{shown}` ends before its header does"))?;
    let (all_records, head, valid_len) = (scanner.records(), scanner.head(), scanner.valid_len());
    Ok(Scanned { header, records, all_records, head, bytes, valid_len, end, asked: found })
}
