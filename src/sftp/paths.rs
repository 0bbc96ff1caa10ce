//! Which paths a request names, how each becomes the one that it leads to, and what must be allowed there. Pure.
//!
//! Nobody may come by a right on a file by giving it another name: wherever a file gets one, all that the user may do at
//! the new place they must be allowed to do at the old one.
//!
//! What it does **not** guard against: it compares names. A file with two names (a hard link, a mount) may be reached by the
//! one that a rule has, and what somebody else on the target makes of a path after it was resolved is not seen.

use super::packet::{Change, FileKind, Look, Request, changes, makes, reads};
use crate::inspect::Refused;
use crate::model::{Extent, FileAction, FileAsked, FilePath, Timestamp};

/// Says what a user may do with files now.
pub trait Oversight: Send + Sync {
    /// Whether a rule and, where it wants one, a grant let the user do this now; until when, at most.
    fn permits(&self, asked: &FileAsked) -> Option<Permission>;

    /// Whether any rule would, were there a grant and the best of logins.
    fn might(&self, asked: &FileAsked) -> bool;

    /// Whether any rule that names paths might let the user do anything with files here, were there a grant and the best of
    /// logins: then every path is judged, whatever the user may do now, so that what is moved today is not read tomorrow.
    fn names_paths(&self) -> bool;

    /// Another number after each change of what the others rest on, time apart.
    fn changes(&self) -> u64;

    /// The time, for `Permission::until`.
    fn now(&self) -> Timestamp;

    /// Something was refused.
    fn refused(&self, refused: &Refused);
}

/// What `Oversight` permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The first moment at which it no longer holds; `None` if it rests on no grant.
    pub until: Option<Timestamp>,
}

/// How a path that a request names becomes the one that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To its end: a link there is followed.
    Whole,
    /// The same, and a file may be made there.
    Making,
    /// The same, with `~` and `~user` understood.
    Expanding,
    /// A link there is looked at itself; with `/`, `.` or `..` at the end it is followed, as the target does.
    Name,
    /// A link there is not followed, and a path that ends in `/`, `.` or `..` names nothing.
    Entry,
    /// The same, and it must not be a link: some targets' link(2) follows it.
    NoLink,
    /// The same, and it must be known whether it is a directory or a link.
    Moved,
    /// Where a link at the place before it will lead.
    Goal,
}

/// The paths that a request names, in the order in which `judge` takes them; none if it names none, or the home alone,
/// which clients ask for first.
pub fn named<'p>(request: &Request<'p>) -> Vec<(&'p [u8], Way)> {
    match *request {
        Request::Open { path, flags, .. } => vec![(path, if makes(flags) { Way::Making } else { Way::Whole })],
        Request::OpenDir { path } => vec![(path, Way::Whole)],
        Request::Look { what, path } => match what {
            Look::RealPath if matches!(path, b"" | b".") => Vec::new(),
            Look::ExpandPath if matches!(path, b"~" | b"~/") => Vec::new(),
            Look::Stat | Look::StatVfs | Look::RealPath => vec![(path, Way::Whole)],
            Look::ExpandPath => vec![(path, Way::Expanding)],
            Look::LStat | Look::ReadLink => vec![(path, Way::Name)],
        },
        Request::Change { what, path, to, .. } => match what {
            Change::SetStat => vec![(path, Way::Whole)],
            Change::LSetStat | Change::Remove | Change::RemoveDir | Change::MakeDir => vec![(path, Way::Entry)],
            Change::Rename => both((path, Way::Moved), to, Way::Entry),
            Change::HardLink => both((path, Way::NoLink), to, Way::Entry),
            Change::SymLink => both((path, Way::Entry), to, Way::Goal),
        },
        Request::Close { .. }
        | Request::Read { .. }
        | Request::Write { .. }
        | Request::LookAt { .. }
        | Request::ChangeAt { .. }
        | Request::Copy { .. }
        | Request::Limits
        | Request::Unknown { .. } => Vec::new(),
    }
}

fn both<'p>(first: (&'p [u8], Way), second: Option<&'p [u8]>, way: Way) -> Vec<(&'p [u8], Way)> {
    // A request that lacks its second path names an empty one, which leads nowhere.
    vec![first, (second.unwrap_or_default(), way)]
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Without links in it.
    pub path: FilePath,
    /// What is there, where `Way::Moved` asked for it and the target told.
    pub kind: Option<FileKind>,
}

/// Until when a judgement can be relied on without asking anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    changes: u64,
    until: Option<Timestamp>,
}

impl Standing {
    /// Whether nothing has changed since.
    pub fn holds(&self, oversight: &dyn Oversight) -> bool {
        self.changes == oversight.changes() && self.until.is_none_or(|until| oversight.now() < until)
    }
}

/// What a user needs at once.
struct Needs<'o> {
    oversight: &'o dyn Oversight,
    standing: Standing,
    met: bool,
}

impl<'o> Needs<'o> {
    fn of(oversight: &'o dyn Oversight) -> Self {
        // Read before it is asked: a change in between is seen by the next.
        let standing = Standing { changes: oversight.changes(), until: None };
        Self { oversight, standing, met: true }
    }

    fn need(&mut self, action: FileAction, path: &FilePath, extent: Extent) {
        match self.oversight.permits(&FileAsked { action, path: path.clone(), extent }) {
            Some(Permission { until }) => self.standing.until = self.standing.until.into_iter().chain(until).min(),
            None => self.met = false,
        }
    }

    /// To have a file open, for what these flags say.
    fn need_open(&mut self, flags: u32, path: &FilePath) {
        if reads(flags) {
            self.need(FileAction::Read, path, Extent::Itself);
        }
        if changes(flags) {
            self.need(FileAction::Write, path, Extent::Itself);
        }
    }

    /// Whatever the user might do there.
    fn need_any_part(&mut self, path: &FilePath) {
        let part = |action| FileAsked { action, path: path.clone(), extent: Extent::Part };
        self.met &= FileAction::ALL.into_iter().any(|action| self.oversight.permits(&part(action)).is_some());
    }

    /// Whatever the user might ever do at `to` they may do at `from` now.
    fn need_all_of(&mut self, to: &FilePath, from: &FilePath, whole: bool) {
        let (part, all) = if whole { (Extent::Part, Extent::Whole) } else { (Extent::Itself, Extent::Itself) };
        for action in FileAction::ALL {
            if self.oversight.might(&FileAsked { action, path: to.clone(), extent: part }) {
                self.need(action, from, all);
            }
        }
    }

    fn met(self) -> Option<Standing> {
        self.met.then_some(self.standing)
    }
}

/// Whether the user may do what is asked, at the places to which the paths of `named` lead.
pub fn judge(request: &Request<'_>, places: &[Place], oversight: &dyn Oversight) -> Option<Standing> {
    use Extent::{Itself, Whole};
    let first = places.first()?;
    let mut needs = Needs::of(oversight);
    match request {
        Request::Open { flags, set, .. } => {
            needs.need_open(*flags, &first.path);
            if set.special {
                needs.need(FileAction::Setstat, &first.path, Itself);
            }
        }
        Request::OpenDir { .. } => return judge_open(None, &first.path, oversight),
        Request::Look { what: Look::ReadLink, .. } => needs.need(FileAction::List, &first.path, Itself),
        Request::Look { .. } => needs.need_any_part(&first.path),
        Request::Change { what, set, .. } => match (what, places.get(1)) {
            (Change::SetStat | Change::LSetStat, _) => return judge_set(set.resizes, &first.path, oversight),
            (Change::Remove | Change::RemoveDir, _) => needs.need(FileAction::Delete, &first.path, Itself),
            (Change::MakeDir, _) => {
                needs.need(FileAction::Write, &first.path, Itself);
                if set.special {
                    needs.need(FileAction::Setstat, &first.path, Itself);
                }
            }
            (Change::Rename, Some(to)) => {
                let whole = match first.kind {
                    // Its text would be of another place.
                    Some(FileKind::Link) => return None,
                    Some(FileKind::Other) => false,
                    // With all that is in it; what nobody knows may be one.
                    Some(FileKind::Directory) | None => true,
                };
                let extent = if whole { Whole } else { Itself };
                needs.need(FileAction::Rename, &first.path, extent);
                needs.need(FileAction::Delete, &first.path, extent);
                // What had the name before is gone.
                for action in [FileAction::Rename, FileAction::Write, FileAction::Delete] {
                    needs.need(action, &to.path, extent);
                }
                needs.need_all_of(&to.path, &first.path, whole);
            }
            (Change::HardLink, Some(to)) => {
                needs.need(FileAction::Rename, &first.path, Itself);
                needs.need(FileAction::Rename, &to.path, Itself);
                needs.need(FileAction::Write, &to.path, Itself);
                needs.need_all_of(&to.path, &first.path, false);
            }
            (Change::SymLink, Some(goal)) => {
                needs.need(FileAction::Symlink, &first.path, Itself);
                needs.need(FileAction::Symlink, &goal.path, Itself);
            }
            (Change::Rename | Change::HardLink | Change::SymLink, None) => return None,
        },
        Request::Close { .. }
        | Request::Read { .. }
        | Request::Write { .. }
        | Request::LookAt { .. }
        | Request::ChangeAt { .. }
        | Request::Copy { .. }
        | Request::Limits
        | Request::Unknown { .. } => return None,
    }
    needs.met()
}

/// Whether the user may have this open, for what these flags say; without flags a directory.
pub fn judge_open(flags: Option<u32>, path: &FilePath, oversight: &dyn Oversight) -> Option<Standing> {
    let mut needs = Needs::of(oversight);
    match flags {
        None => needs.need(FileAction::List, path, Extent::Itself),
        Some(flags) => needs.need_open(flags, path),
    }
    needs.met()
}

/// Whether the user may set attributes there.
pub fn judge_set(resizes: bool, path: &FilePath, oversight: &dyn Oversight) -> Option<Standing> {
    let mut needs = Needs::of(oversight);
    needs.need(FileAction::Setstat, path, Extent::Itself);
    if resizes {
        needs.need(FileAction::Write, path, Extent::Itself);
    }
    needs.met()
}

/// Whether the user may know what is at this place.
pub fn judge_look(path: &FilePath, oversight: &dyn Oversight) -> bool {
    let mut needs = Needs::of(oversight);
    needs.need_any_part(path);
    needs.met
}

/// The directory that a path's last part is in, as the target takes it, and that part.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = path.iter().rposition(|byte| *byte == b'/') else { return (b".", path) };
    let (parent, name) = path.split_at(at);
    (if parent.is_empty() { b"/" } else { parent }, name.strip_prefix(b"/").unwrap_or(name))
}
