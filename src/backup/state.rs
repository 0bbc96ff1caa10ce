//! The form of an exported state: an age file of JSON lines.
//!
//! ```text
//! {"doorward":"state","version":1,"store":"<id>","rev":<n>,"exported":"<time>"}
//! {"table":"<table>","key":"<key>","value":<value>}      in the order of tables and keys, none twice
//! {"entries":<count>}
//! ```
//!
//! Each line ends in `\n`. Plaintext is in memory only, a line at a time, and wiped.

use std::io::{self, BufRead, BufReader, Read, Write};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::BackupError;
use crate::auditor::Identity;
use crate::db::{Rev, Stored};
use crate::model::Timestamp;
use crate::seal::{AGE_HEADER_BYTES_MAX, Recipients, age_header_ends};
use crate::store::hex;
use crate::vault::{PORTABLE_TABLES, Vault};

/// The form that this version reads and writes.
const VERSION: u32 = 1;
/// The tables of the state. An export that left one out would lose it without a word.
pub(super) const TABLES: [&str; 23] = [
    "audit-keys",
    "audit-log",
    "audit-subjects",
    "auditors",
    "bastion-keys",
    "beginnings",
    "clock",
    "given-grants",
    "grants",
    "holds",
    "locks",
    "messages",
    "offboardings",
    "owed-events",
    "passwords",
    "policy-edition",
    "removals",
    "request-steps",
    "requests",
    "secrets",
    "sign-offs",
    "targets",
    "users",
];
/// Tables of what is derived from the rest: it is made anew where it is missing.
const DERIVED: [&str; 1] = ["command-index"];
/// Longest line: a value has at most 16 KiB, some more without its seals in base64.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Most entries: a session has two, which stay as long as its recording.
const ENTRIES_MAX: u64 = 4_000_000;
/// No database counts so far.
const REV_MAX: u64 = 1 << 53;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    doorward: String,
    version: u32,
    /// The id of the store.
    pub(super) store: String,
    /// The database's last revision.
    pub(super) rev: Rev,
    /// When.
    pub(super) exported: Timestamp,
}

/// Only the parts of the first line that every version understands.
#[derive(Deserialize)]
struct AnyHeader {
    doorward: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    table: &'a str,
    key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    entries: u64,
}

/// An exported state.
#[derive(Debug)]
pub struct SealedState {
    /// The id of the store.
    pub store: String,
    /// The age file.
    pub bytes: Vec<u8>,
    /// Its SHA-256, in hexadecimal.
    pub hash: String,
    /// How many entries it has.
    pub entries: u64,
}

/// Seals the whole state for `recipients`.
///
/// # Errors
/// `Db`, `Vault` if something of it cannot be read: an export with a gap would mislead. `UnknownTable` if the state has
/// what this function does not know.
pub fn export(vault: &Vault, recipients: &Recipients, now: Timestamp) -> Result<SealedState, BackupError> {
    let failed = |why: String| BackupError::Seal { why };
    let keys = recipients.iter().map(|recipient| -> &dyn age::Recipient { recipient.key() });
    let encryptor = age::Encryptor::with_recipients(keys).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let mut sealing = encryptor.wrap_output(&mut bytes).map_err(|error| failed(error.to_string()))?;
    let mut put = |line: &[u8]| sealing.write_all(line).map_err(|error| failed(error.to_string()));
    let db = vault.database();
    let (doorward, store) = ("state".to_owned(), db.store_id().map_err(BackupError::Db)?);
    let snapshot = db.snapshot().map_err(BackupError::Db)?;
    let header = Header { doorward, version: VERSION, store: store.clone(), rev: snapshot.rev, exported: now };
    put(&line_of(&header)?)?;
    let mut entries = 0_u64;
    for stored in snapshot {
        let (table, key, value) = stored.map_err(BackupError::Db)?;
        if DERIVED.contains(&table.as_str()) {
            continue;
        }
        if !TABLES.contains(&table.as_str()) {
            return Err(BackupError::UnknownTable { table });
        }
        let value = if PORTABLE_TABLES.contains(&table.as_str()) {
            vault.portable(&table, &key, &value).map_err(BackupError::Vault)?
        } else {
            value
        };
        let value: &RawValue = serde_json::from_slice(&value).map_err(|error| failed(error.to_string()))?;
        put(&line_of(&Line { table: &table, key: key.into(), value })?)?;
        entries = entries.saturating_add(1);
    }
    put(&line_of(&End { entries })?)?;
    sealing.finish().map_err(|error| failed(error.to_string()))?;
    let hash = crate::store::sha256_hex(&bytes);
    Ok(SealedState { store, bytes, hash, entries })
}

fn line_of(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    // Large enough not to move while it fills: what moves leaves a copy behind.
    let most = usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX);
    let mut line = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    serde_json::to_writer(&mut *line, value).map_err(|error| BackupError::Seal { why: error.to_string() })?;
    line.push(b'\n');
    if line.len() > most {
        return Err(BackupError::Seal { why: "an entry is too long for a line".to_owned() });
    }
    Ok(line)
}

/// Counts and hashes what goes through.
struct Hashing<R> {
    from: R,
    hash: Context,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Reads a state that `export` made, and gives each entry to `take` as soon as it is read.
///
/// `begin` gets the header, and makes what `take` works on. Returns what they made, the file's hash, and how many
/// entries there were. What `take` was given counts only if this returns `Ok`: the end of the file vouches for the rest.
///
/// # Errors
/// `NotForYou` and the faults of the file, each with its line, and what `begin` and `take` say.
pub(super) fn read<T>(
    mut file: impl Read,
    identities: &[Identity],
    begin: impl FnOnce(Header) -> Result<T, BackupError>,
    mut take: impl FnMut(&mut T, Stored) -> Result<(), BackupError>,
) -> Result<(T, String, u64), BackupError> {
    let damaged = |why: String| BackupError::File { line: None, why };
    let mut beginning = Vec::new();
    let most = u64::try_from(AGE_HEADER_BYTES_MAX).unwrap_or(u64::MAX);
    (&mut file).take(most).read_to_end(&mut beginning).map_err(BackupError::Read)?;
    if !age_header_ends(&beginning) {
        return Err(damaged("it has no header of an age file, or one that is too long".to_owned()));
    }
    let from = io::Cursor::new(beginning).chain(BufReader::new(file));
    let mut hashing = Hashing { from, hash: Context::new(&SHA256) };
    let decryptor = age::Decryptor::new(&mut hashing).map_err(|error| damaged(error.to_string()))?;
    let keys = identities.iter().map(|identity| -> &dyn age::Identity { identity.key() });
    let opened = match decryptor.decrypt(keys) {
        Ok(opened) => opened,
        Err(age::DecryptError::NoMatchingKeys) => return Err(BackupError::NotForYou),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let mut lines = Lines { from: BufReader::new(opened), line: Zeroizing::new(Vec::new()), number: 0 };
    let header = header(&mut lines)?;
    let mut made = begin(header)?;
    let mut entries = 0_u64;
    let mut last: Option<(String, String)> = None;
    let counted = loop {
        let number = lines.next_line()?;
        let fault = |why: String| BackupError::File { line: Some(number), why };
        if let Ok(End { entries }) = serde_json::from_slice(&lines.line) {
            break entries;
        }
        // What serde says of a line may repeat it, and it may hold a secret.
        let Line { table, key, value } = serde_json::from_slice(&lines.line)
            .map_err(|error| fault(format!("no entry of a state (column {})", error.column())))?;
        if !TABLES.contains(&table) {
            return Err(fault(format!("there is no table `{}`", table.escape_debug())));
        }
        let place = (table.to_owned(), key.into_owned());
        if last.as_ref().is_some_and(|last| *last >= place) {
            return Err(fault(format!("`{}/{}` comes twice, or not in its place", place.0, place.1.escape_debug())));
        }
        entries = entries.saturating_add(1);
        if entries > ENTRIES_MAX {
            return Err(fault(format!("there are more than {ENTRIES_MAX} entries")));
        }
        last = Some(place.clone());
        let value = Zeroizing::new(value.get().as_bytes().to_vec());
        take(&mut made, (place.0, place.1, value))
            .map_err(|error| BackupError::Entry { line: number, source: Box::new(error) })?;
    };
    if counted != entries {
        let why = format!("it says that it has {counted} entries, and it has {entries}");
        return Err(BackupError::File { line: Some(lines.number), why });
    }
    lines.nothing_more()?;
    drop(lines);
    // What stands behind the age file is no part of it, and of no export.
    let mut rest = [0; 1];
    if hashing.read(&mut rest).map_err(BackupError::Read)? != 0 {
        return Err(damaged("something follows its end".to_owned()));
    }
    Ok((made, hex(hashing.hash.finish().as_ref()), entries))
}

fn header<R: BufRead>(lines: &mut Lines<R>) -> Result<Header, BackupError> {
    let number = lines.next_line()?;
    let fault = |why: String| BackupError::File { line: Some(number), why };
    let any: AnyHeader = serde_json::from_slice(&lines.line)
        .map_err(|_| fault("it is no exported state: its first line is another".to_owned()))?;
    if any.doorward != "state" {
        return Err(fault("it is no exported state: its first line is another".to_owned()));
    }
    if any.version != VERSION {
        return Err(BackupError::Version { version: any.version });
    }
    let header: Header = serde_json::from_slice(&lines.line).map_err(|error| fault(error.to_string()))?;
    let good = header.store.len() == 32 && header.store.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !good || header.rev.number() > REV_MAX {
        return Err(fault("its first line is not what `state export` writes".to_owned()));
    }
    Ok(header)
}

/// Lines of a bounded length, in a buffer that is wiped.
struct Lines<R> {
    from: R,
    /// Without its end.
    line: Zeroizing<Vec<u8>>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line, and gives its number, from 1.
    fn next_line(&mut self) -> Result<u64, BackupError> {
        self.number = self.number.saturating_add(1);
        let line = Some(self.number);
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LINE_BYTES_MAX).unwrap_or(0)));
        let read = (&mut self.from).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        // A part of an age file that was cut or changed does not open.
        read.map_err(|error| BackupError::File { line, why: format!("it was cut or changed: {error}") })?;
        match bytes.pop() {
            Some(b'\n') => {}
            None => return Err(BackupError::File { line, why: "it ends before its last line".to_owned() }),
            Some(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) >= LINE_BYTES_MAX - 1 => {
                return Err(BackupError::File { line, why: format!("the line is longer than {LINE_BYTES_MAX} bytes") });
            }
            Some(_) => return Err(BackupError::File { line, why: "it ends within a line".to_owned() }),
        }
        self.line = bytes;
        Ok(self.number)
    }

    fn nothing_more(&mut self) -> Result<(), BackupError> {
        let line = Some(self.number.saturating_add(1));
        match self.from.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(BackupError::File { line, why: "something follows its last line".to_owned() }),
            Err(error) => Err(BackupError::File { line, why: format!("it was cut or changed: {error}") }),
        }
    }
}
