//! Where rules name paths: what is judged, by which path, and what the target gets.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use super::super::gate::{Errand, Resolution};
use super::super::packet::{DENIED, FileKind, OwnAnswer, OwnAsked};
use super::super::paths::{Place, Way};
use super::*;
use crate::inspect::Refused;
use crate::model::{Extent, FileAction, FileAsked, FilePath, Timestamp};

/// Rules by the first directory of a path: `/r` may be read, `/w` written and changed, `/only` written, `/a` anything. In `/later` anything is open with a
/// grant that is not there.
#[derive(Default)]
struct Rules {
    changes: AtomicU64,
    /// In seconds.
    now: AtomicU64,
    gone: Mutex<BTreeSet<&'static str>>,
    refused: Mutex<Vec<String>>,
}

impl Rules {
    fn covers(&self, asked: &FileAsked, later: bool) -> bool {
        use FileAction::{Delete, List, Read, Rename, Setstat, Symlink, Write};
        let parts = asked.path.parts();
        let Some(first) = parts.first().and_then(|part| std::str::from_utf8(part).ok()) else {
            return asked.extent == Extent::Part;
        };
        let of: &[FileAction] = match first {
            "r" => &[Read, List],
            "w" => &[Write, Delete, Rename, Setstat],
            "only" => &[Write],
            "a" | "b" => &[Read, List, Write, Delete, Rename, Setstat, Symlink],
            "later" if later => &FileAction::ALL,
            // Files alone, and not what may be in a directory.
            "flat" if parts.len() == 2 && asked.extent != Extent::Whole => &FileAction::ALL,
            _ => &[],
        };
        let below = parts.len() > 1 || asked.extent == Extent::Part;
        below && of.contains(&asked.action) && !self.gone.lock().unwrap().contains(first)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.now.load(Ordering::SeqCst)).unwrap()
    }
}

impl Oversight for Rules {
    fn permits(&self, asked: &FileAsked) -> Option<Permission> {
        let granted = asked.path.parts().first() == Some(&&b"b"[..]);
        let until = granted.then(|| Timestamp::from_millis(100_000));
        let over = until.is_some_and(|until| Oversight::now(self) >= until);
        (self.covers(asked, false) && !over).then_some(Permission { until })
    }

    fn might(&self, asked: &FileAsked) -> bool {
        self.covers(asked, true)
    }

    fn names_paths(&self) -> bool {
        true
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now() * 1000)
    }

    fn refused(&self, refused: &Refused) {
        self.refused.lock().unwrap().push(refused.what.clone());
    }
}

fn limited() -> (Gate, Arc<Rules>) {
    let rules = Arc::new(Rules::default());
    let oversight: Arc<dyn Oversight> = rules.clone();
    let mut gate = Gate::new(ALL, Some(oversight));
    assert!(matches!(gate.asked(packet(1, &[&[0, 0, 0, 3]])), Ok(Asked::Forward(..))));
    gate.answered(packet(2, &[&[0, 0, 0, 3]])).unwrap();
    (gate, rules)
}

fn at(path: &str) -> Place {
    Place { path: FilePath::parse(path.as_bytes()).unwrap(), kind: Some(FileKind::Other) }
}

fn errand(gate: &mut Gate, asked: Bytes) -> Errand {
    match gate.asked(asked) {
        Ok(Asked::Resolve(errand)) => errand,
        other => panic!("{other:?}"),
    }
}

/// What comes of a request whose paths lead there.
fn asked(gate: &mut Gate, packet: Bytes, places: Vec<Place>) -> Asked {
    let errand = errand(gate, packet);
    gate.resolved(errand, Resolution::At(places)).unwrap()
}

fn denied(asked: &Asked) -> bool {
    matches!(asked, Asked::Answer(answer, _) if answer[9..13] == DENIED.to_be_bytes())
}

const ID: [u8; 4] = [0, 0, 0, 7];

fn open(path: &str, flags: u8) -> Bytes {
    packet(3, &[&ID, &string(path.as_bytes()), &[0, 0, 0, flags], &[0; 4]])
}

fn two(kind: u8, path: &str, to: &str) -> Bytes {
    packet(kind, &[&ID, &string(path.as_bytes()), &string(to.as_bytes())])
}

fn hardlink(path: &str, to: &str) -> Bytes {
    packet(200, &[&ID, &string(b"hardlink@openssh.com"), &string(path.as_bytes()), &string(to.as_bytes())])
}

#[test]
fn t10_a_request_goes_where_its_path_leads_and_both_are_on_record() {
    let (mut gate, _) = limited();
    let Asked::Forward(sent, Some(note)) = asked(&mut gate, open("../link", 2 | 8 | 16), vec![at("/a/file")]) else {
        panic!("it is allowed there")
    };
    assert_eq!(sent, open("/a/file", 2 | 8 | 16));
    assert_eq!(note.text, "sftp: open /a/file (named ../link) to write, making it, cutting it");
    let file = note.file.unwrap();
    assert_eq!(
        (file.path.as_str(), file.detail.unwrap()),
        ("/a/file", "to write, making it, cutting it; named ../link".into())
    );

    let (mut gate, _) = limited();
    let Asked::Answer(_, Some(note)) = asked(&mut gate, open("/a/link", 1), vec![at("/etc/shadow")]) else {
        panic!("it leads elsewhere")
    };
    assert_eq!(note.text, "sftp: refused: open /etc/shadow (named /a/link) to read");
    let refused = note.refused.unwrap();
    assert_eq!(refused.what, "open /etc/shadow (named /a/link) to read");
    assert_eq!(refused.told, "permission denied: no rule lets you do this there");
    // A link's own text comes first on the wire, and says in full where it leads.
    let sent = asked(&mut gate, two(20, "../b", "/x/link"), vec![at("/a/link"), at("/a/b")]);
    assert!(matches!(sent, Asked::Forward(sent, _) if sent == two(20, "/a/b", "/a/link")));
}

#[test]
fn what_was_not_refused_by_a_rule_is_not_told_so() {
    let (mut gate, _) = limited();
    let busy = errand(&mut gate, open("/a/x", 1));
    let Ok(Asked::Answer(answer, Some(note))) = gate.resolved(busy, Resolution::Busy) else { panic!("it is not sent") };
    assert_eq!((&answer[9..13], note.refused), (&4_u32.to_be_bytes()[..], None));
    let unknown = packet(200, &[&ID, &string(b"x@example.org")]);
    let Ok(Asked::Answer(_, Some(note))) = gate.asked(unknown) else { panic!("it is not carried") };
    assert_eq!(note.refused.unwrap().told, "the bastion does not carry this");
}

#[test]
fn of_two_names_each_end_has_its_own_on_record() {
    for (path, to, told) in [
        ("/x", "/y", Some("path named /x; to named /y")),
        ("/a/x", "/y", Some("to named /y")),
        ("/x", "/a/y", Some("path named /x")),
        ("/a/x", "/a/y", None),
    ] {
        let (mut gate, _) = limited();
        let Asked::Forward(_, Some(note)) = asked(&mut gate, two(18, path, to), vec![at("/a/x"), at("/a/y")]) else {
            panic!("it is allowed there")
        };
        assert_eq!(note.file.unwrap().detail.as_deref(), told);
    }
}

#[test]
fn t10_every_request_that_names_a_path_is_resolved_and_judged() {
    for whole in requests() {
        let (mut gate, _) = limited();
        let Ok(FromUser::Request { request, .. }) = from_user(&whole) else { panic!("{whole:?}") };
        let names = matches!(
            request,
            Request::Open { .. } | Request::OpenDir { .. } | Request::Look { .. } | Request::Change { .. }
        );
        match gate.asked(whole.clone()).unwrap() {
            Asked::Resolve(errand) => {
                assert!(names, "{whole:?}");
                let places = vec![at("/etc/x"); errand.paths.len()];
                assert!(denied(&gate.resolved(errand, Resolution::At(places)).unwrap()), "{whole:?}");
                // Whatever could not be resolved is not sent.
                let again = super::limited::errand(&mut gate, whole.clone());
                assert!(denied(&gate.resolved(again, Resolution::Unclear("x")).unwrap()), "{whole:?}");
                let again = super::limited::errand(&mut gate, whole.clone());
                assert!(denied(&gate.resolved(again, Resolution::At(Vec::new())).unwrap()), "{whole:?}");
                let again = super::limited::errand(&mut gate, whole.clone());
                let nowhere = Resolution::Nowhere { nearest: None, code: 2 };
                assert!(denied(&gate.resolved(again, nowhere).unwrap()), "{whole:?}");
            }
            Asked::Forward(..) | Asked::Answer(..) => assert!(!names, "{whole:?}"),
        }
        assert_eq!(gate.waiting(), usize::from(matches!(request, Request::Limits)), "{whole:?}");
    }
}

#[test]
fn each_action_wants_its_own_right() {
    let path = |kind: u8, rest: &[u8]| packet(kind, &[&ID, &string(b"x"), rest]);
    let size = [&[0, 0, 0, 1][..], &[0; 8]].concat();
    let both = [1 | 2, 1 | 8, 4];
    let table: Vec<(Bytes, &[&str])> = vec![
        (open("x", 1), &["r", "a"]),
        (open("x", 2 | 8 | 16), &["w", "a"]),
        (path(11, &[]), &["r", "a"]),
        (path(19, &[]), &["r", "a"]),
        (path(17, &[]), &["r", "w", "a"]),
        (path(7, &[]), &["r", "w", "a"]),
        (path(16, &[]), &["r", "w", "a"]),
        (path(9, &[0; 4]), &["w", "a"]),
        (path(9, &size), &["w", "a"]),
        (path(13, &[]), &["w", "a"]),
        (path(15, &[]), &["w", "a"]),
        (path(14, &[0; 4]), &["w", "a"]),
    ];
    let more = both.map(|flags| (open("x", flags), &["a"][..]));
    for (whole, rights) in table.into_iter().chain(more) {
        for place in ["r", "w", "a", "etc", "later"] {
            let (mut gate, _) = limited();
            let asked = asked(&mut gate, whole.clone(), vec![at(&format!("/{place}/x"))]);
            assert_eq!(matches!(asked, Asked::Forward(..)), rights.contains(&place), "{place}: {whole:?}");
            assert!(rights.contains(&place) || denied(&asked), "{place}: {whole:?}");
        }
    }
}

#[test]
fn t10_nobody_comes_by_a_right_by_giving_a_file_another_name() {
    let rename = |path: &str, to: &str| two(18, path, to);
    for (path, to, may) in [
        ("/a/x", "/a/y", true),
        ("/w/x", "/w/y", true),
        // From where there is as much as where it goes, or more.
        ("/a/x", "/w/y", true),
        // What may be written, and not read, becomes readable.
        ("/w/x", "/a/y", false),
        ("/r/x", "/a/y", false),
        ("/a/x", "/r/y", false),
        ("/etc/x", "/a/y", false),
        ("/a/x", "/etc/y", false),
        ("/flat/x", "/flat/y", true),
        ("/flat/x", "/a/y", true),
        // Whoever gets a grant later must not find there what was moved before.
        ("/w/x", "/later/y", false),
    ] {
        for asked_for in [rename(path, to), hardlink(path, to)] {
            let (mut gate, _) = limited();
            let asked = asked(&mut gate, asked_for.clone(), vec![at(path), at(to)]);
            assert_eq!(matches!(asked, Asked::Forward(..)), may, "{path} to {to}: {asked_for:?}");
        }
    }
    // A directory goes with all that is in it; a link would lead elsewhere.
    for (kind, path, to, may) in [
        (Some(FileKind::Directory), "/a/x", "/a/y", true),
        (Some(FileKind::Directory), "/flat/x", "/flat/y", false),
        (None, "/flat/x", "/flat/y", false),
        (Some(FileKind::Directory), "/flat/x", "/a/y", false),
        (Some(FileKind::Link), "/a/x", "/a/y", false),
    ] {
        let (mut gate, _) = limited();
        let places = vec![Place { kind, ..at(path) }, at(to)];
        let asked = asked(&mut gate, rename(path, to), places);
        assert_eq!(matches!(asked, Asked::Forward(..)), may, "{kind:?} {path} to {to}");
    }
    for (goal, link, may) in [("/a/x", "/a/y", true), ("/etc/x", "/a/y", false), ("/a/x", "/w/y", false)] {
        let (mut gate, _) = limited();
        let asked = asked(&mut gate, two(20, goal, link), vec![at(link), at(goal)]);
        assert_eq!(matches!(asked, Asked::Forward(..)), may, "{link} to {goal}");
    }
}

#[test]
fn how_each_path_is_resolved() {
    let (mut gate, _) = limited();
    let one = |kind: u8, path: &str, rest: &[u8]| packet(kind, &[&ID, &string(path.as_bytes()), rest]);
    let extended = |name: &[u8], rest: &[u8]| packet(200, &[&ID, &string(name), &string(b"/x"), rest]);
    for (whole, ways) in [
        (open("/x", 1), vec![Way::Whole]),
        (open("/x", 2 | 8), vec![Way::Making]),
        (one(11, "/x", &[]), vec![Way::Whole]),
        (one(17, "/x", &[]), vec![Way::Whole]),
        (one(7, "/x", &[]), vec![Way::Name]),
        (one(16, "/x", &[]), vec![Way::Whole]),
        (one(19, "/x", &[]), vec![Way::Name]),
        (one(9, "/x", &[0; 4]), vec![Way::Whole]),
        (one(13, "/x", &[]), vec![Way::Entry]),
        (one(15, "/x", &[]), vec![Way::Entry]),
        (one(14, "/x", &[0; 4]), vec![Way::Entry]),
        (two(18, "/x", "/y"), vec![Way::Moved, Way::Entry]),
        (two(20, "/y", "/x"), vec![Way::Entry, Way::Goal]),
        (hardlink("/x", "/y"), vec![Way::NoLink, Way::Entry]),
        (extended(b"lsetstat@openssh.com", &[0; 4]), vec![Way::Entry]),
        (extended(b"statvfs@openssh.com", &[]), vec![Way::Whole]),
        (extended(b"expand-path@openssh.com", &[]), vec![Way::Expanding]),
        (extended(b"posix-rename@openssh.com", &string(b"/y")), vec![Way::Moved, Way::Entry]),
    ] {
        let errand = errand(&mut gate, whole);
        assert_eq!(errand.paths.iter().map(|(_, way)| *way).collect::<Vec<_>>(), ways, "{errand:?}");
        assert_eq!(errand.paths[0].0, b"/x");
    }
    // Where a client is at home it may always ask.
    for (number, home) in [b"".as_slice(), b"."].into_iter().enumerate() {
        let id = u32::try_from(number + 100).unwrap().to_be_bytes();
        assert!(matches!(gate.asked(packet(16, &[&id, &string(home)])), Ok(Asked::Forward(..))));
    }
    let home = packet(200, &[&ID, &string(b"expand-path@openssh.com"), &string(b"~")]);
    assert!(matches!(gate.asked(home), Ok(Asked::Forward(..))));
    let other = packet(200, &[&[0; 4], &string(b"expand-path@openssh.com"), &string(b"~root")]);
    assert!(matches!(gate.asked(other), Ok(Asked::Resolve(..))));
}

#[test]
fn t10_what_is_made_with_more_than_plain_permissions_wants_the_right_to_set_them() {
    let mode = |mode: u32| [&[0, 0, 0, 4][..], &mode.to_be_bytes()].concat();
    let plain = [
        vec![0; 4],
        mode(0o777),
        mode(0o100_644),
        mode(0o040_755),
        [&[0, 0, 0, 1][..], &[0; 8]].concat(),
        [&[0, 0, 0, 8][..], &[0; 8]].concat(),
    ];
    let more = [
        mode(0o4755),
        mode(0o2755),
        mode(0o1777),
        mode(0o200_644),
        [&[0, 0, 0, 1][..], &[0; 7], &[1]].concat(),
        [&[0, 0, 0, 2][..], &[0; 8]].concat(),
        [&[0x80, 0, 0, 0][..], &[0; 4]].concat(),
    ];
    for (set, special) in plain.map(|set| (set, false)).into_iter().chain(more.map(|set| (set, true))) {
        for (place, may) in [("/w/x", true), ("/only/x", !special)] {
            for request in [
                packet(3, &[&ID, &string(b"x"), &[0, 0, 0, 2 | 8 | 16], &set]),
                packet(14, &[&ID, &string(b"x"), &set]),
            ] {
                let (mut gate, _) = limited();
                let asked = asked(&mut gate, request, vec![at(place)]);
                assert_eq!(matches!(asked, Asked::Forward(..)), may, "{place}: {set:?}");
            }
        }
    }
}

fn opened_at(gate: &mut Gate, path: &str, flags: u8) {
    assert!(matches!(asked(gate, open(path, flags), vec![at(path)]), Asked::Forward(..)));
    gate.answered(packet(102, &[&ID, &string(b"h")])).unwrap();
}

#[test]
fn what_is_open_ends_when_its_path_is_taken_away_and_that_is_told_once() {
    let read = |id: u8| packet(5, &[&[0, 0, 0, id], &string(b"h"), &[0; 8], &[0; 4]]);
    let (mut gate, rules) = limited();
    opened_at(&mut gate, "/r/x", 1);
    assert!(matches!(gate.asked(read(1)), Ok(Asked::Forward(..))));
    rules.gone.lock().unwrap().insert("r");
    // Until something has changed it is not asked again.
    assert!(matches!(gate.asked(read(2)), Ok(Asked::Forward(..))));
    rules.changes.fetch_add(1, Ordering::SeqCst);
    let Ok(Asked::Answer(_, Some(note))) = gate.asked(read(3)) else { panic!("the path was taken away") };
    assert_eq!(note.refused.unwrap().what, "to go on with /r/x");
    for request in [read(4), packet(8, &[&[0, 0, 0, 5], &string(b"h")]), packet(12, &[&[0, 0, 0, 6], &string(b"h")])] {
        assert!(matches!(gate.asked(request), Ok(Asked::Answer(_, None))), "it is told once");
    }
    assert!(matches!(gate.asked(packet(4, &[&ID, &string(b"h")])), Ok(Asked::Forward(..))), "it is closed");

    // A grant ends by itself.
    let (mut gate, rules) = limited();
    opened_at(&mut gate, "/b/x", 1);
    rules.now.store(99, Ordering::SeqCst);
    assert!(matches!(gate.asked(read(1)), Ok(Asked::Forward(..))));
    rules.now.store(100, Ordering::SeqCst);
    assert!(matches!(gate.asked(read(2)), Ok(Asked::Answer(_, Some(_)))));
}

#[test]
fn t10_attributes_of_an_open_file_are_set_where_that_is_allowed() {
    let set = |flags: u8, rest: &[u8]| packet(10, &[&[0, 0, 0, 9], &string(b"h"), &[0, 0, 0, flags], rest]);
    let (mut gate, _) = limited();
    opened_at(&mut gate, "/r/x", 1);
    assert!(matches!(gate.asked(set(4, &[0; 4])), Ok(Asked::Answer(_, Some(_)))), "mode");
    let (mut gate, _) = limited();
    opened_at(&mut gate, "/w/x", 2);
    assert!(matches!(gate.asked(set(4, &[0; 4])), Ok(Asked::Forward(..))), "mode");
    // What may be read and its attributes set is not cut by that.
    let (mut gate, rules) = limited();
    opened_at(&mut gate, "/a/x", 1);
    rules.gone.lock().unwrap().insert("a");
    rules.changes.fetch_add(1, Ordering::SeqCst);
    assert!(matches!(gate.asked(set(1, &[0; 8])), Ok(Asked::Answer(..))), "size");
}

#[test]
fn what_is_not_there_is_told_to_those_who_may_know() {
    let (mut gate, _) = limited();
    for (nearest, code) in [("/a/x", 2), ("/a", 2), ("/", 2), ("/etc", DENIED)] {
        let errand = errand(&mut gate, open("x/y/z", 1));
        let nearest = Some(FilePath::parse(nearest.as_bytes()).unwrap());
        let Ok(Asked::Answer(answer, Some(_))) = gate.resolved(errand, Resolution::Nowhere { nearest, code: 2 }) else {
            panic!("it leads nowhere")
        };
        assert_eq!(answer[9..13], code.to_be_bytes());
    }
}

#[test]
fn the_bastions_own_requests_have_numbers_that_no_user_holds_and_go_to_no_user() {
    let (mut gate, _) = limited();
    let home = packet(16, &[&u32::MAX.to_be_bytes(), &string(b".")]);
    assert!(matches!(gate.asked(home), Ok(Asked::Forward(..))));
    let own = gate.own(OwnAsked::RealPath(b"/x"));
    assert_eq!(own[5..9], (u32::MAX - 1).to_be_bytes());
    assert_eq!(gate.own_answer(), None);
    let name = packet(104, &[&own[5..9], &[0, 0, 0, 1], &string(b"/y"), &string(b"long"), &[0; 4]]);
    assert_eq!(gate.answered(name), Ok(Answered::Own));
    assert_eq!(gate.own_answer(), Some(OwnAnswer::Path(b"/y".to_vec())));
    for (flags, mode, kind) in [
        (4, 0o040_755_u32, Some(FileKind::Directory)),
        (4, 0o120_777, Some(FileKind::Link)),
        (4, 0o100_644, Some(FileKind::Other)),
        (4, 0o644, None),
        (0, 0, None),
    ] {
        let own = gate.own(OwnAsked::LStat(b"/x"));
        let attributes = packet(105, &[&own[5..9], &[0, 0, 0, flags], &mode.to_be_bytes()]);
        assert_eq!(gate.answered(attributes), Ok(Answered::Own));
        assert_eq!(gate.own_answer(), Some(OwnAnswer::Kind(kind)));
    }
    // Two names, or a handle, are no answer.
    for (kind, rest) in [(104, [&[0, 0, 0, 2][..], &string(b"/y")].concat()), (102, string(b"h"))] {
        let own = gate.own(OwnAsked::RealPath(b"/x"));
        assert!(gate.answered(packet(kind, &[&own[5..9], &rest])).is_err());
    }
}
