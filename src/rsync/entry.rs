//! One file of a list (rsync's flist.c: `recv_file_entry()`).

use std::collections::BTreeMap;

use super::order::Kind;
use super::terms::{Pact, Terms};
use super::wire::{Cursor, Stop, lost};

/// A file as whoever sends it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The path below what was asked for; with `-R` the whole.
    pub name: Vec<u8>,
    /// As `stat` has it, the kind included.
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// When it was changed last, in seconds since 1970.
    pub time: i64,
    /// Where a symbolic link leads.
    pub link: Option<Vec<u8>>,
    /// One more name of a file that was listed before.
    pub is_hard_link: bool,
}

/// Bits of an entry's flags (rsync.h).
pub(super) mod flag {
    pub(in super::super) const EXTENDED: i32 = 1 << 2;
    pub(super) const SAME_MODE: i32 = 1 << 1;
    pub(super) const SAME_UID: i32 = 1 << 3;
    pub(super) const SAME_GID: i32 = 1 << 4;
    pub(super) const SAME_NAME: i32 = 1 << 5;
    pub(super) const LONG_NAME: i32 = 1 << 6;
    pub(super) const SAME_TIME: i32 = 1 << 7;
    pub(super) const SAME_RDEV_MAJOR: i32 = 1 << 8;
    pub(super) const HLINKED: i32 = 1 << 9;
    pub(super) const USER_NAME: i32 = 1 << 10;
    pub(super) const GROUP_NAME: i32 = 1 << 11;
    pub(super) const HLINK_FIRST: i32 = 1 << 12;
    pub(in super::super) const ERROR_AT_END: i32 = 1 << 12;
    pub(super) const MOD_NSEC: i32 = 1 << 13;
    pub(super) const SAME_ATIME: i32 = 1 << 14;
    pub(super) const CRTIME_EQ_MTIME: i32 = 1 << 17;
}

/// `MAXPATHLEN`: names and links are shorter.
const NAME_BYTES_END: usize = 4096;

/// What an entry has of the one before it.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) time: i64,
}

/// What later names of a file have of its first one.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) time: i64,
}

/// Where in the list an entry stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'l> {
    /// The number of the first file of this list, and of this one.
    pub(super) start: i32,
    pub(super) own: i32,
    /// By number, the files of this list of which more names may come.
    pub(super) firsts: &'l BTreeMap<i32, First>,
}

/// Reads an entry behind its flags; says also whether more names of it may come.
pub(super) fn entry(
    cursor: &mut Cursor<'_>,
    flags: i32,
    before: &Before,
    at: At<'_>,
    terms: &Terms,
    pact: &Pact,
) -> Result<(Listed, bool), Stop> {
    let has = |bits: i32| flags & bits == bits;
    let name = name(cursor, flags, before)?;
    if has(flag::HLINKED) && !has(flag::HLINK_FIRST) {
        let first = cursor.varint()?;
        if first < 0 || first >= at.own {
            return Err(lost("a link to no file"));
        }
        if first >= at.start {
            let First { mode, size, time } =
                *at.firsts.get(&first).ok_or(lost("a link to what is none, or too many of them"))?;
            return Ok((Listed { name, mode, size, time, link: None, is_hard_link: true }, false));
        }
    }
    let size = u64::try_from(cursor.varlong(3)?).map_err(|_| lost("a size below zero"))?;
    let time = if has(flag::SAME_TIME) { before.time } else { cursor.varlong(4)? };
    if has(flag::MOD_NSEC) {
        cursor.varint()?;
    }
    if terms.birth_times && !has(flag::CRTIME_EQ_MTIME) {
        cursor.varlong(4)?;
    }
    let mode = if has(flag::SAME_MODE) { before.mode } else { u32::from_le_bytes(cursor.int()?.to_le_bytes()) };
    let form = mode & FORMAT;
    if terms.read_times && form != FOLDER && !has(flag::SAME_ATIME) {
        cursor.varlong(4)?;
    }
    owner(cursor, terms.owners && !has(flag::SAME_UID), has(flag::USER_NAME))?;
    owner(cursor, terms.groups && !has(flag::SAME_GID), has(flag::GROUP_NAME))?;
    let is_device = matches!(form, CHARACTERS | BLOCKS);
    let is_special = matches!(form, PIPE | SOCKET);
    if (terms.devices && is_device) || (terms.specials && is_special && pact.protocol < 31) {
        if !has(flag::SAME_RDEV_MAJOR) {
            cursor.varint()?;
        }
        cursor.varint()?;
    }
    let link = if terms.links && form == LINK {
        let bytes = usize::try_from(cursor.varint()?).ok().filter(|bytes| *bytes < NAME_BYTES_END);
        Some(cursor.take(bytes.ok_or(lost("a link that is too long"))?)?.to_vec())
    } else {
        None
    };
    if terms.sums && form == REGULAR {
        cursor.take(pact.listed_sum_bytes)?;
    }
    let more_names = has(flag::HLINKED | flag::HLINK_FIRST);
    Ok((Listed { name, mode, size, time, link, is_hard_link: has(flag::HLINKED) && !more_names }, more_names))
}

/// A name, of which the beginning may be that of the name before.
fn name(cursor: &mut Cursor<'_>, flags: i32, before: &Before) -> Result<Vec<u8>, Stop> {
    let same = if flags & flag::SAME_NAME != 0 { usize::from(cursor.byte()?) } else { 0 };
    let own = if flags & flag::LONG_NAME != 0 {
        usize::try_from(cursor.varint()?).unwrap_or(usize::MAX)
    } else {
        usize::from(cursor.byte()?)
    };
    if same.saturating_add(own) >= NAME_BYTES_END {
        return Err(lost("a name that is too long"));
    }
    let own = cursor.take(own)?;
    let same = before.name.get(..same).ok_or(lost("a name that begins as none"))?;
    let name = [same, own].concat();
    // C takes the first zero byte for the end: the name would be another one to rsync.
    if name.is_empty() || name.contains(&0) {
        return Err(lost("a name that is none"));
    }
    Ok(name)
}

/// An owner or a group, and what it is called.
fn owner(cursor: &mut Cursor<'_>, comes: bool, named: bool) -> Result<(), Stop> {
    if comes {
        cursor.varint()?;
        if named {
            let bytes = cursor.byte()?;
            cursor.take(bytes.into())?;
        }
    }
    Ok(())
}

const FORMAT: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const CHARACTERS: u32 = 0o020_000;
const BLOCKS: u32 = 0o060_000;
const PIPE: u32 = 0o010_000;
const SOCKET: u32 = 0o140_000;

impl Listed {
    /// What it is, in a word.
    pub fn what(&self) -> &'static str {
        match self.mode & FORMAT {
            REGULAR => "file",
            FOLDER => "directory",
            LINK => "link",
            CHARACTERS | BLOCKS => "device",
            PIPE => "pipe",
            SOCKET => "socket",
            // What was named and is not there (`--delete-missing-args`).
            0 => "nothing",
            _ => "something",
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.mode & FORMAT {
            FOLDER => Kind::Folder,
            REGULAR => Kind::Regular,
            _ => Kind::Other,
        }
    }
}
