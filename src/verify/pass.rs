//! One pass over the leaves of a log: what they say of each session is gathered until its end, then judged, so that
//! memory holds the sessions that were live at once, and a line for each other. Judges sit side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::FileType;
use std::path::Path;

use super::files::{self, FileError};
use super::history::History;
use super::judges::{Case, Judged, Judges};
use super::leaf::{Event, Leaf, Sha256};
use super::report::{AnchorReport, Findings, Report, SessionReport, Verdict};
use super::rewrap::{self, Envelope, Envelopes, Later};
use super::session::{Ending, Facts, Listing, Outcome, Start, judge_late, place_of};
use super::{Settings, Step};
use crate::model::{SessionId, Timestamp};
use crate::seal::Head;
use crate::store::StoreRoot;

/// A session that is not on record yet can be so much older than the newest leaf, in milliseconds: it is being
/// opened, or the bastion stopped while it was.
const OPENING_MS: i64 = 60_000;
/// A bastion that goes on for so much longer has written the file that says how a session ended, in milliseconds.
const CLOSING_MS: i64 = 10_000;

/// A leaf that is so much newer than the one before it may be dated by a clock that leapt, in milliseconds: a week.
const LEAP_MS: i64 = 7 * 24 * 3_600_000;
/// What is removed within that time after a leap may be removed because of it, in milliseconds: a day.
const LEAPT_MS: i64 = 24 * 3_600_000;
/// More of what leaves say of one session that count for nothing is not told.
const UNPROVEN_MAX: usize = 8;

/// In the place of a depth: what lies where recordings go that are being removed.
const GONE: usize = usize::MAX;

/// The sessions in a store, and what else lies there.
#[derive(Debug, Default)]
pub(super) struct Found {
    sessions: BTreeSet<SessionId>,
    envelopes: BTreeSet<SessionId>,
    /// Those whose envelopes were made anew.
    rewrapped: BTreeSet<SessionId>,
    /// Those of which something lies where recordings go that are being removed.
    gone: BTreeSet<SessionId>,
    /// What is not as a bastion makes it, so that recordings may not be seen.
    pub(super) altered: Findings,
    pub(super) unexpected: Findings,
}

impl Found {
    pub(super) fn read(store: &Path, root: &StoreRoot) -> Self {
        let mut found = Self::default();
        let mut folders = vec![(root.directory().to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let listed = if depth == 0 { files::list_through(&folder) } else { files::list(&folder) };
            for (name, kind) in found.names(store, &folder, listed) {
                let path = folder.join(&name);
                let session = SessionId::parse(&name).ok().filter(|_| depth == 3);
                let here = session.filter(|session| root.session_directory(session).as_ref() == Some(&path));
                match here {
                    Some(session) if session.to_bytes().is_some() => drop(found.sessions.insert(session)),
                    _ if depth == 0 && path == root.gone() => folders.push((path, GONE)),
                    _ if depth == GONE => match SessionId::parse(&name) {
                        Ok(session) if session.to_bytes().is_some() => drop(found.gone.insert(session)),
                        Ok(_) | Err(_) => found.unexpected.add(place_of(store, &path), "it is no recording"),
                    },
                    _ if depth < 3 && kind.is_dir() && name.parse::<u32>().is_ok() => folders.push((path, depth + 1)),
                    _ if depth < 3 && name.parse::<u32>().is_ok() => {
                        found
                            .altered
                            .add(place_of(store, &path), "it is no directory: what lay there is not looked at");
                    }
                    _ => found.unexpected.add(place_of(store, &path), "it is no recording in its place"),
                }
            }
        }
        let listed = files::list_through(root.envelopes());
        for (name, kind) in found.names(store, root.envelopes(), listed) {
            if root.rewrapped() == root.envelopes().join(&name) && kind.is_dir() {
                continue;
            }
            let session = name.strip_suffix(".age").and_then(|id| SessionId::parse(id).ok());
            match session.filter(|session| session.to_bytes().is_some()) {
                Some(session) => drop(found.envelopes.insert(session)),
                None => found.unexpected.add(format!("env/{name}"), "it is no envelope of a recording"),
            }
        }
        let folder = root.rewrapped();
        for (name, kind) in found.names(store, &folder, files::list(&folder)) {
            let session = SessionId::parse(&name).ok().filter(|session| session.to_bytes().is_some() && kind.is_dir());
            match session {
                Some(session) => drop(found.rewrapped.insert(session)),
                None => found.unexpected.add(place_of(store, &folder.join(&name)), "it is of no recording"),
            }
        }
        found
    }

    /// Whether that one session is there; nothing else is looked at.
    pub(super) fn one(root: &StoreRoot, session: &SessionId) -> Self {
        let there = root.session_directory(session).is_some_and(|path| path.symlink_metadata().is_ok());
        let sessions = there.then(|| session.clone()).into_iter().collect();
        Self { sessions, ..Self::default() }
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &SessionId> {
        self.sessions.iter()
    }

    pub(super) fn envelopes(&self) -> impl Iterator<Item = &SessionId> {
        self.envelopes.iter()
    }

    pub(super) fn rewrapped(&self) -> impl Iterator<Item = &SessionId> {
        self.rewrapped.iter()
    }

    fn names(
        &mut self,
        store: &Path,
        folder: &Path,
        listed: Result<Vec<(OsString, FileType)>, FileError>,
    ) -> Vec<(String, FileType)> {
        match listed {
            Ok(names) => names.into_iter().map(|(name, kind)| (name.to_string_lossy().into_owned(), kind)).collect(),
            Err(error) => {
                self.altered.add(place_of(store, folder), error.to_string());
                Vec::new()
            }
        }
    }
}

/// A session on its way through the leaves.
#[derive(Debug, Default)]
struct State {
    facts: Facts,
    /// Whether its judge has the facts, or has judged.
    given: bool,
    outcome: Option<Outcome>,
    began: bool,
    /// When its last ending came.
    ended: Option<Timestamp>,
    /// What its envelope must be.
    envelopes: Envelopes,
    /// The leaf that says that it ended, where a later start found it open all the same.
    lost: Option<Lost>,
    /// The leaf that says that the file of its end could not be written.
    unclosed: Option<u64>,
    erased: Option<u64>,
    expired: Option<u64>,
    /// What the leaves say against each other.
    contradictions: Findings,
    /// What was said of it after it was judged.
    late: Facts,
    /// What leaves say that no checkpoint covers, and that counts for nothing.
    unproven: Vec<String>,
    /// Its last leaf's number.
    last: u64,
}

/// A session of which the log says first that it was closed, and later that it was found open.
#[derive(Debug, Clone, Copy)]
struct Lost {
    /// The leaf that says that it ended.
    leaf: u64,
    /// Whether the bastion went on after that leaf, so that `closed.json` was there.
    was_written: bool,
}

/// What a bastion that carries sessions, or stops as it should, wrote last.
#[derive(Debug, Clone, Copy)]
struct AtWork {
    leaf: u64,
    at: Timestamp,
    /// Whether it stopped with that leaf.
    stopped: bool,
}

/// A leaf that is far newer than the one before it.
#[derive(Debug, Clone, Copy)]
struct Leap {
    leaf: u64,
    at: Timestamp,
    /// Whether what came with it tells that a clock was set, or that the bastion had not run: one that runs may have had
    /// nothing to put on record.
    began: bool,
}

/// Whether a checkpoint covers a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Signed,
    /// It stands in the journal alone, which anyone can write who can write files: it can demand, and excuses nothing.
    Unsigned,
}

/// The judges, and whom to tell how far they are.
struct Bench<'b> {
    judges: &'b mut Judges,
    progress: &'b mut dyn FnMut(Step),
}

/// One pass.
pub(super) struct Pass<'a> {
    store: &'a Path,
    root: &'a StoreRoot,
    settings: &'a Settings,
    found: &'a Found,
    only: Option<&'a BTreeSet<SessionId>>,
    states: BTreeMap<SessionId, State>,
    judged: u64,
    newest: Option<Timestamp>,
    /// The last leaf with a time before that of the leaf before it.
    back: Option<u64>,
    /// The last leap of the clock.
    leap: Option<Leap>,
    /// What a bastion that carries sessions wrote last.
    at_work: Option<AtWork>,
    /// Sessions that look wrong and may only have been in the middle of something.
    pub(super) doubtful: BTreeSet<SessionId>,
    /// How many leaves a checkpoint covers.
    signed: u64,
    /// How often leaves that none covers speak of sessions of which there is nothing else.
    strays: u64,
    /// The policy sets that leaves name, each with the first that does.
    pub(super) policies: BTreeMap<Sha256, u64>,
}

impl<'a> Pass<'a> {
    /// Over all sessions that the settings name, or `only` those.
    pub(super) fn new(
        store: &'a Path,
        root: &'a StoreRoot,
        settings: &'a Settings,
        found: &'a Found,
        only: Option<&'a BTreeSet<SessionId>>,
    ) -> Self {
        let states = BTreeMap::new();
        let (doubtful, policies) = (BTreeSet::new(), BTreeMap::new());
        let (newest, back, leap, at_work) = (None, None, None, None);
        let (judged, signed, strays) = (0, 0, 0);
        Self {
            store,
            root,
            settings,
            found,
            only,
            states,
            judged,
            newest,
            back,
            leap,
            at_work,
            doubtful,
            signed,
            strays,
            policies,
        }
    }

    pub(super) fn run(&mut self, history: &History, report: &mut Report, progress: &mut dyn FnMut(Step)) {
        Judges::sit(|judges| self.read(history, report, &mut Bench { judges, progress }));
    }

    fn read(&mut self, history: &History, report: &mut Report, bench: &mut Bench<'_>) {
        self.signed = history.size;
        let signed = history.reader.entries(0..history.size, history.size);
        let unsigned = (history.size..).zip(history.unsigned.iter().cloned()).map(Ok);
        for entry in signed.chain(unsigned) {
            let (index, entry) = match entry {
                Ok(found) => found,
                Err(error) => return report.log.findings.add("log", super::explain(&error)),
            };
            match Leaf::parse(&entry) {
                Ok(leaf) => {
                    let weight = if index < history.size { Weight::Signed } else { Weight::Unsigned };
                    self.leaf(index, leaf, weight, report, bench);
                }
                Err(why) => report.log.findings.add(format!("leaf {index}"), why),
            }
        }
        self.warn_back(report);
        if self.strays > 0 {
            let why = format!(
                "behind the newest checkpoint it speaks {} times of sessions of which there is nothing else: that was \
                 added, or their recordings were taken away",
                self.strays
            );
            report.log.findings.add("log/leaves.wal", why);
        }
        report.log.newest = self.newest;
        self.finish(history.size, report, bench);
    }

    fn warn_back(&mut self, report: &mut Report) {
        if let Some(index) = self.back.take() {
            let why = "its time is before that of the leaf before it, and no leaf says that the clock was set";
            report.log.warnings.add(format!("leaf {index}"), why);
        }
    }

    /// By a clock that is ahead, recordings are old before their time.
    fn warn_leap(&mut self, index: u64, leaf: &Leaf, report: &mut Report) {
        if self.newest.is_some_and(|newest| leaf.ts.as_millis().saturating_sub(newest.as_millis()) > LEAP_MS) {
            self.leap = Some(Leap { leaf: index, at: leaf.ts, began: false });
        }
        let Some(leap) = &mut self.leap else { return };
        leap.began |= leaf.leaps;
        let soon = leaf.ts.as_millis().saturating_sub(leap.at.as_millis()) < LEAPT_MS;
        if leap.began && soon && matches!(leaf.event, Event::Expire { .. }) {
            let place = format!("leaf {}", leap.leaf);
            let why = format!(
                "its time is over a week after that of the leaf before it, and leaf {index} removes recordings by it"
            );
            report.log.warnings.add(place, why);
            self.leap = None;
        }
    }

    fn wanted(&self, session: &SessionId) -> bool {
        self.settings.session.as_ref().is_none_or(|only| only == session)
            && self.only.is_none_or(|only| only.contains(session))
            && self.settings.since.is_none_or(|since| began_at(session).is_none_or(|at| at >= since))
    }

    fn leaf(&mut self, index: u64, leaf: Leaf, weight: Weight, report: &mut Report, bench: &mut Bench<'_>) {
        if leaf.seq != index {
            report.log.findings.add(format!("leaf {index}"), format!("it says that it is leaf {}", leaf.seq));
        }
        if leaf.event == Event::ClockStep {
            // Leaves may come between the step and the moment when it is noticed.
            self.back = None;
        } else if self.newest.is_some_and(|newest| leaf.ts < newest) {
            self.warn_back(report);
            self.back = Some(index);
        }
        self.warn_leap(index, &leaf, report);
        self.newest = Some(leaf.ts);
        if leaf.event.is_of_work() {
            self.at_work = Some(AtWork { leaf: index, at: leaf.ts, stopped: leaf.event == Event::NodeStop });
        }
        self.event(index, leaf.event, weight, bench);
    }

    fn event(&mut self, index: u64, event: Event, weight: Weight, bench: &mut Bench<'_>) {
        match event {
            Event::Start { session, opened, envelope, recipients, policy } => {
                if !self.is_stray(&session, index) {
                    self.policies.entry(policy).or_insert(index);
                }
                if let Some(state) = self.state(&session, index) {
                    if state.began {
                        state.contradictions.add(format!("leaf {index}"), "the session begins a second time");
                    }
                    state.began = true;
                    state.facts.start = Some(Start { opened, recipients, policy });
                    state.envelopes.first = Some(envelope);
                }
            }
            Event::Seal { session, channel, segment, seal } => {
                if let Some(state) = self.state(&session, index)
                    && let Err(why) = state.facts().sealed(channel, segment, seal)
                {
                    state.contradictions.add(format!("leaf {index}"), why);
                }
            }
            Event::Suspect { session, channel, segment, good } => {
                if let Some(state) = self.suspected(&session, index, weight)
                    && let Err(why) = state.facts().given_up(channel, segment, good)
                {
                    state.contradictions.add(format!("leaf {index}"), why);
                }
            }
            Event::Heads(heads) => self.heads(index, heads),
            Event::End { session, closed } => {
                self.end(&session, index, Ending::Closed(index, closed), weight, bench);
            }
            Event::Unclosed { session } => {
                if let Some(state) = self.proven(&session, index, weight, "that it could not be closed") {
                    state.unclosed = Some(index);
                    state.facts().unclosed = Some(index);
                }
            }
            Event::Recovered { session, recovered } => {
                self.end(&session, index, Ending::Recovered(index, recovered), weight, bench);
            }
            Event::Envelope { session, envelope, recipients, record } => {
                if let Some(state) = self.proven(&session, index, weight, "that it has another envelope") {
                    state.envelopes.add(Later { leaf: index, envelope, recipients, record });
                }
            }
            Event::Erase { session } => {
                if let Some(state) = self.excused(&session, index, weight, "that its key was destroyed") {
                    state.erased = Some(index);
                }
            }
            Event::Expire { sessions } => {
                for session in sessions {
                    if let Some(state) = self.excused(&session, index, weight, "that it was removed") {
                        state.expired = Some(index);
                    }
                }
            }
            Event::Policy(hash) => {
                self.policies.entry(hash).or_insert(index);
            }
            Event::ClockStep | Event::NodeStop | Event::Other => {}
        }
    }

    fn heads(&mut self, index: u64, heads: Vec<(SessionId, u32, u32, u64, Head)>) {
        for (session, channel, segment, records, head) in heads {
            if let Some(state) = self.state(&session, index) {
                state.facts().segment(channel, segment).heads.push((records, head));
            }
        }
    }

    /// A session of which a leaf says something that counts only if it is signed.
    fn proven(&mut self, session: &SessionId, index: u64, weight: Weight, said: &str) -> Option<&mut State> {
        if weight == Weight::Unsigned {
            if self.wanted(session) && !self.counted_stray(session, index) {
                let state = self.states.entry(session.clone()).or_default();
                if state.unproven.len() < UNPROVEN_MAX {
                    let words = "no checkpoint covers it, so that counts for nothing";
                    state.unproven.push(format!("leaf {index} says {said}: {words}"));
                }
            }
            return None;
        }
        self.state(session, index)
    }

    /// A session of which a leaf says that something of it may be gone. It must have ended by then: else whoever has the
    /// log's key could excuse beforehand what is yet to happen.
    fn excused(&mut self, session: &SessionId, index: u64, weight: Weight, said: &str) -> Option<&mut State> {
        let state = self.proven(session, index, weight, said)?;
        if state.ended.is_none() {
            let why = format!("it says {said}, and no leaf before it says that it ended");
            state.contradictions.add(format!("leaf {index}"), why);
            return None;
        }
        Some(state)
    }

    /// A session of which a leaf says that a segment was given up. While it runs that must only be on record; of one that
    /// has ended it would excuse what was cut off since.
    fn suspected(&mut self, session: &SessionId, index: u64, weight: Weight) -> Option<&mut State> {
        if self.states.get(session).is_none_or(|state| state.ended.is_none()) {
            return self.state(session, index);
        }
        let state = self.proven(session, index, weight, "that a segment was given up")?;
        let why = "it gives a segment up, and a leaf before it says that the session ended";
        state.contradictions.add(format!("leaf {index}"), why);
        None
    }

    fn state(&mut self, session: &SessionId, index: u64) -> Option<&mut State> {
        if !self.wanted(session) || self.counted_stray(session, index) {
            return None;
        }
        let state = self.states.entry(session.clone()).or_default();
        state.last = index;
        Some(state)
    }

    /// Whether a leaf that no checkpoint covers speaks of a session of which there is nothing else. Anyone who can write
    /// files can write as many of them as there is room for: they are counted, and nothing is kept of them. A bastion
    /// makes a session's directory before it puts the session on record.
    fn is_stray(&self, session: &SessionId, index: u64) -> bool {
        let there = || {
            let directory = self.root.session_directory(session);
            directory.is_some_and(|path| path.symlink_metadata().is_ok())
        };
        index >= self.signed && !self.states.contains_key(session) && !self.found.sessions.contains(session) && !there()
    }

    fn counted_stray(&mut self, session: &SessionId, index: u64) -> bool {
        let stray = self.is_stray(session, index);
        self.strays = self.strays.saturating_add(u64::from(stray));
        stray
    }

    fn end(&mut self, session: &SessionId, index: u64, ending: Ending, weight: Weight, bench: &mut Bench<'_>) {
        let Some(directory) = self.root.session_directory(session) else { return };
        let (newest, at_work) = (self.newest, self.at_work);
        if weight == Weight::Unsigned && self.states.get(session).is_some_and(|state| state.ended.is_some()) {
            self.proven(session, index, weight, "that it ended another way");
            return;
        }
        let Some(state) = self.state(session, index) else { return };
        if state.given {
            return state.contradictions.add(format!("leaf {index}"), "the session ends a second time");
        }
        match (state.facts.ending, ending) {
            (Some(Ending::Closed(leaf, _)), Ending::Recovered(..)) => {
                let later = |at: Timestamp| {
                    state.ended.is_none_or(|ended| at.as_millis() > ended.as_millis().saturating_add(CLOSING_MS))
                };
                let was_written = at_work.is_some_and(|last| later(last.at) || last.stopped && last.leaf > leaf);
                state.lost = Some(Lost { leaf, was_written });
            }
            (Some(_), Ending::Closed(..)) => {
                state.contradictions.add(format!("leaf {index}"), "the session ends a second time");
            }
            (None, _) | (Some(Ending::Recovered(..)), Ending::Recovered(..)) => {}
        }
        state.facts.ending = Some(ending);
        state.ended = newest;
        // A bastion that stops between this leaf and the file writes another leaf and file when it is started.
        let file = match ending {
            Ending::Closed(..) => "closed.json",
            Ending::Recovered(..) => "recovered.json",
        };
        if state.began && files::open(&directory.join(file)).is_ok() {
            self.judge(session, bench);
        }
    }

    fn judge(&mut self, session: &SessionId, bench: &mut Bench<'_>) {
        let Some(directory) = self.root.session_directory(session) else { return };
        let place = place_of(self.store, &directory);
        if let Some(state) = self.states.get_mut(session) {
            let facts = std::mem::take(&mut state.facts);
            state.given = true;
            bench.judges.give(Case { session: session.clone(), directory, place, facts });
        }
        while let Some(judged) = bench.judges.ready() {
            self.judged(judged, bench);
        }
    }

    fn judged(&mut self, Judged { session, outcome }: Judged, bench: &mut Bench<'_>) {
        if let Some(state) = self.states.get_mut(&session) {
            state.outcome = Some(outcome);
        }
        self.judged = self.judged.saturating_add(1);
        let total = u64::try_from(self.found.sessions.len()).unwrap_or(u64::MAX).max(self.judged);
        (bench.progress)(Step::Sessions { done: self.judged, total });
    }

    /// Judges what is left, and what is on disk without a leaf.
    fn finish(&mut self, signed: u64, report: &mut Report, bench: &mut Bench<'_>) {
        let found = self.found;
        let on_disk: Vec<&SessionId> = found.sessions.iter().filter(|session| self.wanted(session)).collect();
        for session in on_disk {
            self.states.entry(session.clone()).or_default();
        }
        for session in found.envelopes.iter().filter(|session| self.wanted(session)) {
            if !self.states.contains_key(session) {
                report.unexpected.add(format!("env/{session}.age"), "there is no such session");
            }
        }
        for session in found.rewrapped.iter().filter(|session| self.wanted(session)) {
            if !self.states.contains_key(session) {
                report.unexpected.add(format!("env/rewrapped/{session}"), "there is no such session");
            }
        }
        for session in found.gone.iter().filter(|session| self.wanted(session)) {
            if self.states.get(session).is_none_or(|state| state.expired.is_none()) {
                let place = place_of(self.store, &self.root.gone().join(session.as_str()));
                report.unexpected.add(place, "it lies among what is removed, and no leaf says that it was");
            }
        }
        for session in self.states.keys().cloned().collect::<Vec<_>>() {
            if self.states.get(&session).is_some_and(|state| !state.given && state.began) {
                self.judge(&session, bench);
            }
        }
        while let Some(judged) = bench.judges.next() {
            self.judged(judged, bench);
        }
        self.nowhere(report);
        for (session, state) in std::mem::take(&mut self.states) {
            let moving = self.may_be_moving(&session, &state);
            let half_gone = self.settings.now.is_some() && (state.erased.is_some() || state.expired.is_some());
            let anchored = state.last < report.anchor.size;
            let (erased, removed) = (state.erased, state.expired);
            let (verdict, findings, notes) = self.verdict(&session, state, signed, &report.anchor);
            let in_between = moving && matches!(verdict, Verdict::Missing | Verdict::Tampered)
                || half_gone && verdict == Verdict::Interrupted;
            if in_between {
                self.doubtful.insert(session.clone());
            }
            report.sessions.push(SessionReport { session, verdict, anchored, erased, removed, findings, notes });
        }
    }

    /// That there is nothing of a session that was asked for by its name is no good news.
    fn nowhere(&self, report: &mut Report) {
        let Some(session) = self.settings.session.as_ref().filter(|session| !self.states.contains_key(session)) else {
            return;
        };
        if !self.wanted(session) {
            return;
        }
        let mut findings = Findings::default();
        findings.add(session.to_string(), "neither the log nor the store has such a session");
        let (session, verdict, anchored, notes) = (session.clone(), Verdict::Missing, false, Vec::new());
        let (erased, removed) = (None, None);
        report.sessions.push(SessionReport { session, verdict, anchored, erased, removed, findings, notes });
    }

    /// What is said of a session, all in all.
    fn verdict(
        &mut self,
        session: &SessionId,
        state: State,
        signed: u64,
        anchor: &AnchorReport,
    ) -> (Verdict, Findings, Vec<String>) {
        let (last, unproven) = (state.last, state.unproven.clone());
        let (verdict, findings, mut notes) =
            if state.began { self.begun(session, state) } else { self.never_began(session, state) };
        notes.extend(unproven);
        if last >= anchor.size && anchor.size > 0 && matches!(verdict, Verdict::Expired | Verdict::Shredded) {
            notes.push(format!("only the bastion says so: the anchor covers {} leaves", anchor.size));
        }
        let verdict = match verdict {
            Verdict::Missing | Verdict::Tampered => verdict,
            Verdict::Ok | Verdict::OkUnanchored | Verdict::Expired | Verdict::Shredded | Verdict::Interrupted
                if last >= signed && verdict != Verdict::Interrupted =>
            {
                notes.push(String::from("no checkpoint covers its last leaf yet"));
                Verdict::Interrupted
            }
            Verdict::Ok if last >= anchor.size => Verdict::OkUnanchored,
            Verdict::Ok | Verdict::OkUnanchored | Verdict::Expired | Verdict::Shredded | Verdict::Interrupted => {
                verdict
            }
        };
        (verdict, findings, notes)
    }

    fn begun(&mut self, session: &SessionId, state: State) -> (Verdict, Findings, Vec<String>) {
        let directory = self.root.session_directory(session).unwrap_or_default();
        let place = place_of(self.store, &directory);
        let outcome = state.outcome.unwrap_or_default();
        let envelopes = rewrap::judge(self.store, self.root, session, &state.envelopes);
        if let Some(leaf) = state.expired {
            return self.removed(session, leaf, state.contradictions, outcome, envelopes);
        }
        let Outcome { mut findings, absent, unreadable, interrupted, mut notes } = outcome;
        let rewrap::Found { present, mut kept, findings: of_envelopes, notes: said } = envelopes;
        findings.append(state.contradictions);
        if absent {
            let verdict = if findings.is_empty() { Verdict::Missing } else { Verdict::Tampered };
            findings.add(place, "it is missing");
            return (verdict, findings, notes);
        }
        findings.append(of_envelopes);
        notes.extend(said);
        findings.append(judge_late(&directory, &place, &state.late.segments));
        let mut missing = unreadable;
        if let Some(Lost { leaf, was_written }) = state.lost {
            if let Some(unclosed) = state.unclosed {
                notes.push(format!("leaf {unclosed} says that `closed.json` could not be written when it ended"));
            } else if was_written {
                let why = format!("it is missing, and was there: leaf {leaf} says that the session ended");
                missing.add(format!("{place}/closed.json"), why);
            } else {
                notes.push(format!(
                    "leaf {leaf} says that it ended; `closed.json` was lost: the bastion stopped in that very moment, \
                     or somebody took it away"
                ));
            }
        }
        let mut verdict = if interrupted.is_empty() { Verdict::Ok } else { Verdict::Interrupted };
        notes.extend(interrupted);
        match (present, state.erased) {
            (Envelope::Good, None) => {}
            (Envelope::Good, Some(_)) => kept.push(format!("env/{session}.age")),
            (Envelope::Absent, Some(leaf)) => {
                notes.push(format!("its key was destroyed: leaf {leaf}"));
                let opened = format!("{place}/opened.json");
                if !findings.remove_absence(&opened) {
                    notes.push(format!("`{opened}` is there still: it tells whose session it was"));
                }
                verdict = Verdict::Shredded;
            }
            (Envelope::Absent, None) => missing.add(format!("env/{session}.age"), "it is missing"),
            (Envelope::Changed(why), _) => findings.add(format!("env/{session}.age"), why),
            (Envelope::Unreadable(why), _) => missing.add(format!("env/{session}.age"), why),
        }
        if let (Some(leaf), false) = (state.erased, kept.is_empty()) {
            let kept = kept.iter().map(|kept| format!("`{kept}`")).collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "KEY NOT DESTROYED: leaf {leaf} says that it was, and {kept} is there: whoever it was sealed for can \
                 read the recording"
            ));
            verdict = Verdict::Interrupted;
        }
        if !findings.is_empty() {
            verdict = Verdict::Tampered;
        } else if !missing.is_empty() {
            verdict = Verdict::Missing;
        }
        findings.append(missing);
        (verdict, findings, notes)
    }

    /// A session that was removed. What is left of a removal that was interrupted may be any part of it: what is there
    /// must be what was recorded.
    fn removed(
        &self,
        session: &SessionId,
        leaf: u64,
        mut altered: Findings,
        outcome: Outcome,
        envelopes: rewrap::Found,
    ) -> (Verdict, Findings, Vec<String>) {
        let Outcome { mut findings, absent, mut notes, .. } = outcome;
        let rewrap::Found { present, mut kept, .. } = envelopes;
        // Of what belongs to an envelope any part may be gone, and nothing else is left to hold the rest against.
        if let Envelope::Changed(why) = &present {
            findings.add(format!("env/{session}.age"), why.clone());
        }
        altered.append(findings.without_absences());
        let mut left = Vec::new();
        let directory = self.root.session_directory(session).unwrap_or_default();
        left.extend((!absent).then(|| place_of(self.store, &directory)));
        left.extend((!matches!(present, Envelope::Absent)).then(|| format!("env/{session}.age")));
        left.append(&mut kept);
        let gone = self.root.gone().join(session.as_str());
        left.extend(self.found.gone.contains(session).then(|| place_of(self.store, &gone)));
        let mut verdict = if altered.is_empty() { Verdict::Expired } else { Verdict::Tampered };
        if !left.is_empty() {
            verdict = verdict.max(Verdict::Interrupted);
            let left = left.iter().map(|left| format!("`{left}`")).collect::<Vec<_>>().join(", ");
            notes.push(format!("its removal is not complete: {left} is still there"));
        }
        notes.push(format!("removed when its time was over: leaf {leaf}"));
        (verdict, altered, notes)
    }

    /// A session without a leaf that says that it began.
    fn never_began(&mut self, session: &SessionId, state: State) -> (Verdict, Findings, Vec<String>) {
        let mut findings = Findings::default();
        let directory = self.root.session_directory(session).unwrap_or_default();
        let place = place_of(self.store, &directory);
        let stub = match Listing::read(&directory) {
            Ok(listing) => listing.never_began(),
            Err(error) => {
                findings.add(place.clone(), error.to_string());
                false
            }
        };
        let young = self.newest.is_none_or(|newest| {
            began_at(session).is_some_and(|at| at.as_millis() >= newest.as_millis().saturating_sub(OPENING_MS))
        });
        let recovered = matches!(state.facts.ending, Some(Ending::Recovered(..)));
        let closed = matches!(state.facts.ending, Some(Ending::Closed(..)));
        let other_leaves = closed || !state.facts.segments.is_empty() || !state.contradictions.is_empty();
        findings.append(state.contradictions);
        if let (Some(leaf), true, true, false) = (state.expired, recovered, stub, other_leaves) {
            let notes = vec![format!("it never began, and what was there was removed: leaf {leaf}")];
            return (Verdict::Expired, findings, notes);
        }
        if stub && findings.is_empty() && !other_leaves && (young || recovered) {
            let why = String::from("it never began: the bastion stopped while it was opened, or is opening it now");
            return (Verdict::Interrupted, findings, vec![why]);
        }
        findings.add(place, "the log has no leaf that says that it began: it was added, or the leaf was taken away");
        (Verdict::Tampered, findings, Vec::new())
    }

    /// Whether what looks wrong in it may be only half done: the bastion may be opening or ending it right now, or
    /// putting another envelope in place.
    fn may_be_moving(&self, session: &SessionId, state: &State) -> bool {
        let recent = |at: Timestamp| {
            self.settings.now.is_some_and(|now| at.as_millis() >= now.as_millis().saturating_sub(OPENING_MS))
        };
        let rewrapped = self.root.rewraps_of(session).is_dir();
        self.settings.now.is_some() && (rewrapped || state.ended.is_none_or(recent))
    }
}

impl State {
    /// What the leaves say of it, or did since it was judged.
    fn facts(&mut self) -> &mut Facts {
        if self.given { &mut self.late } else { &mut self.facts }
    }
}

/// When a session's id was made.
pub(super) fn began_at(session: &SessionId) -> Option<Timestamp> {
    let bytes = session.to_bytes()?;
    // The first 48 bits of a ULID are milliseconds since 1970.
    let [a, b, c, d, e, f, ..] = bytes;
    Some(Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f])))
}
