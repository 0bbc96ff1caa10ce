//! What whoever sends files sends: filters, lists, and between those the files (rsync's flist.c, sender.c, receiver.c).

use std::collections::{BTreeMap, VecDeque};

use super::entry::{At, Before, First, Listed, entry, flag};
use super::order::{Kind, Place};
use super::terms::{Pact, Terms};
use super::wire::{Cursor, Indexes, Lost, Stop, lost};
use crate::model::transfer::Way;

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file stands in the list.
    Listed(Listed),
    /// The content of a file comes now; without its name where that is not known.
    Sent(Option<Vec<u8>>),
    /// The target has removed it.
    Removed {
        /// Its path, below what was written to.
        name: Vec<u8>,
        /// Whether it was a directory.
        is_directory: bool,
    },
    /// The list cannot be read from here on.
    Lost(Lost),
    /// What is removed cannot be read from here on.
    RemovalsLost(Lost),
}

/// The data of whoever sends.
#[derive(Debug)]
pub(super) struct Content {
    terms: Terms,
    pact: Pact,
    /// What is not all there yet. INVARIANT: shorter than the longest thing that is read at once, some 9 KiB.
    held: Vec<u8>,
    /// So much of what comes is passed over.
    skip: usize,
    state: State,
    before: Before,
    indexes: Indexes,
    lists: Lists,
    /// How often an end was told behind which no list was left.
    ends: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Filters.
    Rules,
    /// A list's entries.
    List,
    /// The names of owners, and of groups, behind a list that is the only one.
    Owners,
    Groups,
    /// A file's number, or a list's.
    Index,
    /// A file's content.
    Tokens,
    /// Nothing more is read.
    Over,
}

impl Content {
    pub(super) fn new(terms: Terms, pact: Pact) -> Self {
        let state = match terms.way {
            Way::ToTarget if terms.rules => State::Rules,
            Way::ToTarget | Way::FromTarget => State::List,
        };
        let lists = Lists::new(if pact.incremental { 1 } else { 0 });
        Self {
            terms,
            pact,
            held: Vec::new(),
            skip: 0,
            state,
            before: Before::default(),
            indexes: Indexes::new(),
            lists,
            ends: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let Lists { live, firsts, places_left, bytes_left, .. } = &self.lists;
        let kept = PLACES_MAX - places_left + PLACE_BYTES_MAX - bytes_left;
        self.held.capacity() + self.before.name.capacity() + live.len() + firsts.len() + kept
    }

    /// Whether all lists have come to their end.
    pub(super) fn is_whole(&self) -> bool {
        match self.state {
            State::Rules | State::List => false,
            State::Owners | State::Groups | State::Index | State::Tokens | State::Over => {
                !self.pact.incremental || self.lists.all_came
            }
        }
    }

    /// Takes what comes next.
    pub(super) fn take(&mut self, bytes: &[u8], found: &mut Vec<Found>) -> Result<(), Lost> {
        if self.held.is_empty() {
            let read = self.read(bytes, found)?;
            self.held.extend_from_slice(bytes.get(read..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let read = self.read(&held, found)?;
            held.drain(..read.min(held.len()));
            self.held = held;
        }
        Ok(())
    }

    /// Reads what is all there; says how much it was.
    fn read(&mut self, bytes: &[u8], found: &mut Vec<Found>) -> Result<usize, Lost> {
        let mut cursor = Cursor::new(bytes);
        loop {
            let skipped = self.skip.min(cursor.rest().len());
            cursor = Cursor::new(cursor.rest().get(skipped..).unwrap_or_default());
            self.skip = self.skip.saturating_sub(skipped);
            if cursor.rest().is_empty() {
                return Ok(bytes.len());
            }
            let mut ahead = cursor;
            match self.step(&mut ahead, found) {
                Ok(()) => cursor = ahead,
                Err(Stop::More) => return Ok(bytes.len().saturating_sub(cursor.rest().len())),
                Err(Stop::Lost(lost)) => return Err(lost),
            }
        }
    }

    /// Reads one thing. What it reads of it counts only if it is all there.
    fn step(&mut self, cursor: &mut Cursor<'_>, found: &mut Vec<Found>) -> Result<(), Stop> {
        match self.state {
            State::Rules => self.rule(cursor),
            State::List => self.listed(cursor, found),
            State::Owners => self.names(cursor, self.terms.owners, State::Groups),
            State::Groups => self.names(cursor, self.terms.groups, State::Index),
            State::Index => self.index(cursor, found),
            State::Tokens if self.pact.compressed => self.compressed_token(cursor),
            State::Tokens => self.token(cursor),
            State::Over => {
                *cursor = Cursor::new(&[]);
                Ok(())
            }
        }
    }

    /// `recv_filter_list()`.
    fn rule(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        const RULE_BYTES_END: usize = 5120;
        match usize::try_from(cursor.int()?) {
            Ok(0) => self.state = State::List,
            Ok(bytes) if bytes < RULE_BYTES_END => self.skip = bytes,
            Ok(_) | Err(_) => return Err(lost("a filter that is too long")),
        }
        Ok(())
    }

    /// An entry of a list, or its end (`recv_file_list()`).
    fn listed(&mut self, cursor: &mut Cursor<'_>, found: &mut Vec<Found>) -> Result<(), Stop> {
        const END_WITH_ERROR: i32 = flag::EXTENDED | flag::ERROR_AT_END;
        let flags = if self.pact.wide_flags {
            cursor.varint()?
        } else {
            let low = i32::from(cursor.byte()?);
            if low & flag::EXTENDED == 0 { low } else { low | i32::from(cursor.byte()?) << 8 }
        };
        let ends = match (flags, self.pact.wide_flags) {
            (0, true) => {
                cursor.varint()?;
                true
            }
            (0, false) => true,
            (END_WITH_ERROR, false) => {
                cursor.varint()?;
                if !self.pact.errors_at_end {
                    return Err(lost("an end of a list that is none"));
                }
                true
            }
            (_, _) => false,
        };
        if ends {
            self.lists.end();
            // They come behind the only list; where there are more, each entry has its own.
            self.state = if self.pact.incremental { State::Index } else { State::Owners };
            return Ok(());
        }
        let at = self.lists.at()?;
        let (listed, more_names) = entry(cursor, flags, &self.before, at, &self.terms, &self.pact)?;
        self.before.name.clone_from(&listed.name);
        (self.before.mode, self.before.time) = (listed.mode, listed.time);
        self.lists.add(&listed, more_names);
        found.push(Found::Listed(listed));
        Ok(())
    }

    /// What an owner or a group is called, or the end of those (`recv_id_list()`).
    fn names(&mut self, cursor: &mut Cursor<'_>, come: bool, next: State) -> Result<(), Stop> {
        if !come || self.terms.numeric {
            self.state = next;
            return Ok(());
        }
        let id = cursor.varint()?;
        if id != 0 || self.pact.names_of_zero {
            let bytes = cursor.byte()?;
            cursor.take(bytes.into())?;
        }
        if id == 0 {
            self.state = next;
        }
        Ok(())
    }

    /// Which file, or list, comes next (`read_ndx_and_attrs()` in rsync.c).
    fn index(&mut self, cursor: &mut Cursor<'_>, found: &mut Vec<Found>) -> Result<(), Stop> {
        const DONE: i32 = -1;
        const LAST_LIST: i32 = -2;
        const REMOVED_COUNTS: i32 = -3;
        /// `NDX_FLIST_OFFSET`.
        const LIST: i32 = -101;
        let mut indexes = self.indexes;
        match indexes.read(cursor)? {
            DONE => self.done(),
            LAST_LIST if self.pact.incremental => self.lists.all_came = true,
            REMOVED_COUNTS => {
                for _ in 0..5 {
                    cursor.varint()?;
                }
            }
            list if list <= LIST => {
                let folder = LIST.saturating_sub(list);
                if !self.pact.incremental || folder >= self.lists.folders {
                    return Err(lost("a list of no folder"));
                }
                self.lists.begin()?;
                self.state = State::List;
            }
            file if file >= 0 => self.file(file, cursor, found)?,
            _ => return Err(lost("an index of nothing")),
        }
        self.indexes = indexes;
        Ok(())
    }

    /// What becomes of a file (`write_ndx_and_attrs()` in sender.c).
    fn file(&mut self, number: i32, cursor: &mut Cursor<'_>, found: &mut Vec<Found>) -> Result<(), Stop> {
        const BASIS_FOLLOWS: u16 = 1 << 11;
        const NAME_FOLLOWS: u16 = 1 << 12;
        const TRANSFER: u16 = 1 << 15;
        const NAME_BYTES_END: usize = 4096;
        /// Four numbers: which blocks of the file there were.
        const SUM_HEAD_BYTES: usize = 16;
        let flags = cursor.short()?;
        if flags & BASIS_FOLLOWS != 0 {
            cursor.byte()?;
        }
        if flags & NAME_FOLLOWS != 0 {
            cursor.vstring(NAME_BYTES_END)?;
        }
        if flags & TRANSFER == 0 || !self.terms.transfers {
            return Ok(());
        }
        cursor.take(SUM_HEAD_BYTES)?;
        found.push(Found::Sent(self.lists.name(number)?));
        self.state = State::Tokens;
        Ok(())
    }

    /// An end: of a list, of a phase, of all (`send_files()` in sender.c).
    fn done(&mut self) {
        if self.pact.incremental && self.lists.drop_first() {
            return;
        }
        self.ends = self.ends.saturating_add(1);
        // Behind the third the target tells the user counts of bytes.
        if self.ends == 3 && self.terms.way == Way::FromTarget {
            self.state = State::Over;
        }
    }

    /// `simple_recv_token()`.
    fn token(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match cursor.int()? {
            0 => self.content_ends(),
            bytes => self.skip = usize::try_from(bytes).unwrap_or(0),
        }
        Ok(())
    }

    /// `recv_deflated_token()`, and those of the other ways of compression.
    fn compressed_token(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let first = cursor.byte()?;
        match first {
            0 => self.content_ends(),
            0x40..=0x7f => self.skip = usize::from(first & 0x3f) << 8 | usize::from(cursor.byte()?),
            // Blocks that are there already: the first by its distance or its number, the second bit for a run of them.
            0x80..=0xbf => {}
            0xc0..=0xff => drop(cursor.short()?),
            _ => {
                cursor.int()?;
                if first & 1 != 0 {
                    cursor.short()?;
                }
            }
        }
        Ok(())
    }

    fn content_ends(&mut self) {
        self.skip = self.pact.sent_sum_bytes;
        self.state = State::Index;
    }
}

/// The lists that have come, as far as files are still told by their numbers in them.
#[derive(Debug)]
struct Lists {
    /// INVARIANT: never empty; the last is the one that comes, or came last.
    live: VecDeque<List>,
    /// Of the last list, the files of which more names may come.
    firsts: BTreeMap<i32, First>,
    /// How many folders were listed.
    folders: i32,
    /// No more will come.
    all_came: bool,
    /// So many more names, and bytes of them, may be kept.
    places_left: usize,
    bytes_left: usize,
}

#[derive(Debug)]
struct List {
    /// The number of its first file, and how many there are.
    start: i32,
    count: i32,
    /// Its files, in the order of their numbers once it is whole; none if there were too many.
    places: Option<Vec<Place>>,
    bytes: usize,
}

/// Of so many files at most it is known by which number they are told.
const PLACES_MAX: usize = 20_000;
/// And of so many bytes of names.
const PLACE_BYTES_MAX: usize = 4 << 20;
/// So many files of a list may have further names.
const FIRSTS_MAX: usize = 65_536;
/// So many lists may be told of that are not over.
const LISTS_MAX: usize = 65_536;

impl List {
    fn new(start: i32) -> Self {
        Self { start, count: 0, places: Some(Vec::new()), bytes: 0 }
    }

    fn end(&self) -> i32 {
        self.start.saturating_add(self.count)
    }
}

impl Lists {
    fn new(start: i32) -> Self {
        Self {
            live: VecDeque::from([List::new(start)]),
            firsts: BTreeMap::new(),
            folders: 0,
            all_came: false,
            places_left: PLACES_MAX,
            bytes_left: PLACE_BYTES_MAX,
        }
    }

    /// Where the next entry stands.
    fn at(&self) -> Result<At<'_>, Stop> {
        let list = self.live.back().ok_or(lost("no list"))?;
        let own = list.start.checked_add(list.count).ok_or(lost("too many files"))?;
        Ok(At { start: list.start, own, firsts: &self.firsts })
    }

    fn add(&mut self, listed: &Listed, more_names: bool) {
        let Some(list) = self.live.back_mut() else { return };
        if more_names && self.firsts.len() < FIRSTS_MAX {
            let first = First { mode: listed.mode, size: listed.size, time: listed.time };
            self.firsts.insert(list.end(), first);
        }
        list.count = list.count.saturating_add(1);
        let kind = listed.kind();
        if kind == Kind::Folder {
            self.folders = self.folders.saturating_add(1);
        }
        let place = Place { name: listed.name.clone(), kind };
        let fits = self.places_left > 0 && self.bytes_left >= place.name.len() && place.is_clean();
        match &mut list.places {
            Some(places) if fits => {
                self.places_left = self.places_left.saturating_sub(1);
                self.bytes_left = self.bytes_left.saturating_sub(place.name.len());
                list.bytes = list.bytes.saturating_add(place.name.len());
                places.push(place);
            }
            // Without all of them it is not known which is which.
            Some(_) => self.give_back(),
            None => {}
        }
    }

    /// Forgets the places of the last list.
    fn give_back(&mut self) {
        let Some(list) = self.live.back_mut() else { return };
        let places = list.places.take().unwrap_or_default();
        self.places_left = self.places_left.saturating_add(places.len());
        self.bytes_left = self.bytes_left.saturating_add(std::mem::take(&mut list.bytes));
    }

    /// The list that came is whole.
    fn end(&mut self) {
        self.firsts = BTreeMap::new();
        if let Some(places) = self.live.back_mut().and_then(|list| list.places.as_mut()) {
            places.sort_by_cached_key(Place::key);
        }
    }

    /// Another list comes. Its files are numbered behind those of the one before, with one number between them.
    fn begin(&mut self) -> Result<(), Stop> {
        let last = self.live.back().ok_or(lost("no list"))?;
        let start = last.start.checked_add(last.count).and_then(|end| end.checked_add(1));
        if self.live.len() >= LISTS_MAX {
            return Err(lost("too many lists"));
        }
        self.live.push_back(List::new(start.ok_or(lost("too many files"))?));
        Ok(())
    }

    /// Forgets the first list; not the last of them, of which this says no.
    fn drop_first(&mut self) -> bool {
        if self.live.len() < 2 {
            return false;
        }
        if let Some(List { places, bytes, .. }) = self.live.pop_front() {
            self.places_left = self.places_left.saturating_add(places.map_or(0, |places| places.len()));
            self.bytes_left = self.bytes_left.saturating_add(bytes);
        }
        true
    }

    /// The name of a file whose content is sent, if it is known.
    fn name(&self, number: i32) -> Result<Option<Vec<u8>>, Stop> {
        let list = self.live.partition_point(|list| list.start <= number).checked_sub(1);
        let list = list.and_then(|at| self.live.get(at)).filter(|list| number < list.end());
        let list = list.ok_or(lost("the content of what is not listed"))?;
        let Some(places) = &list.places else { return Ok(None) };
        let at = usize::try_from(number.saturating_sub(list.start)).ok();
        match at.and_then(|at| places.get(at)) {
            Some(Place { name, kind: Kind::Regular }) => Ok(Some(name.clone())),
            // Only files have content: their order is another one than is known here.
            Some(_) | None => Err(lost("the content of what is no file")),
        }
    }
}
