mod clocks;

use std::collections::BTreeSet;

use serde_json::json;

use super::command::tests::judged;
use super::*;
use crate::grant::TicketSaid;
use crate::model::{Destination, GrantId, LockId, RuleId, SessionId, TargetName, Timestamp, UserName};
use crate::secret::Secret;
use crate::tlog::Algorithm;

#[test]
fn events_are_numbered_over_restarts_and_read_back_equal() {
    let place = Place::new();
    assert_eq!(place.open().append(&refused("one")).unwrap(), 0);
    let audit = place.open();
    assert_eq!(audit.append(&refused("two")).unwrap(), 1);
    audit.append(&session_start()).unwrap();
    audit.append(&AuditEvent::NodeStop).unwrap();
    audit.publish().unwrap();
    let records = read(&audit);
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let events: Vec<_> = records.iter().map(|record| record.event().unwrap()).collect();
    assert_eq!(events, [refused("one"), refused("two"), session_start(), AuditEvent::NodeStop]);
    assert_eq!(records[2].at, Timestamp::from_millis(1_000));
}

#[test]
fn nothing_that_tells_of_people_stands_in_a_leaf_in_clear() {
    let place = Place::new();
    let audit = place.open();
    audit.append(&session_start()).unwrap();
    audit.append(&refused("no rule")).unwrap();
    audit.publish().unwrap();
    let leaf: serde_json::Value = serde_json::from_slice(&audit.reader.entry(0, 2).unwrap()).unwrap();
    let keys: Vec<&String> = leaf.as_object().unwrap().keys().collect();
    let wanted = [
        "body",
        "body_hash",
        "envelope",
        "grant",
        "node",
        "opened",
        "policy",
        "recipients",
        "seq",
        "session",
        "subject",
        "ts",
        "type",
        "v",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(leaf["node"], "0123456789abcdef");
    for file in files(place.dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        for canary in ["alice", "root@db1", "192.0.2.7", "SHA256:abc", "no rule", "dba-rule"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} is in {}", file.display());
        }
    }
}

#[test]
fn each_type_has_its_fields_where_they_belong() {
    let session = session();
    let hex = || "00ff".to_owned();
    let before = Timestamp::from_millis(1);
    let end = || {
        let (session, prev_head, head) = (session.clone(), hex(), hex());
        SegmentEnd { session, channel: 1, segment: 2, bytes: 3, records: 4, prev_head, head }
    };
    let cases = [
        (session_start(), "envelope grant opened policy recipients session", "destination key rule source user"),
        (AuditEvent::SessionEnd { session: session.clone(), closed: hex(), cause: hex() }, "closed session", "cause"),
        (AuditEvent::SessionRecovered { session: session.clone(), recovered: "ff03".into() }, "recovered session", ""),
        (refused("x"), "", "login reason source user"),
        (AuditEvent::AuthFailed { login: hex(), source: hex(), reason: hex() }, "", "login reason source"),
        (AuditEvent::SegmentSeal(end()), "bytes channel head prev_head records segment session", ""),
        (
            AuditEvent::SegmentSuspect { good: end(), reason: hex() },
            "bytes channel head prev_head records segment session",
            "reason",
        ),
        (
            AuditEvent::File {
                session: session.clone(),
                channel: 1,
                what: hex(),
                path: hex(),
                to: Some(hex()),
                detail: Some(hex()),
            },
            "channel session",
            "detail path to what",
        ),
        (
            AuditEvent::FileRefused { session: session.clone(), channel: 1, user: user("alice"), what: hex() },
            "channel session",
            "user what",
        ),
        (
            AuditEvent::Forward {
                session: session.clone(),
                channel: 1,
                user: user("alice"),
                class: hex(),
                place: hex(),
            },
            "channel session",
            "class place user",
        ),
        (
            AuditEvent::AgentSign {
                session: session.clone(),
                channel: 1,
                user: user("alice"),
                key: hex(),
                account: hex(),
                host: Some(hex()),
            },
            "channel session",
            "account host key user",
        ),
        (AuditEvent::SessionHeads { heads: Vec::new() }, "heads", ""),
        (AuditEvent::SessionGap { session: session.clone(), reason: hex() }, "session", "reason"),
        (AuditEvent::SessionUnclosed { session: session.clone(), reason: hex() }, "session", "reason"),
        (AuditEvent::SessionResumed { session: session.clone(), channel: 1, gap_ms: 2 }, "channel gap_ms session", ""),
        (
            AuditEvent::EnvelopeCreate {
                session: session.clone(),
                envelope: hex(),
                recipients: hex(),
                rewrap: hex(),
                by: hex(),
            },
            "envelope recipients rewrap session",
            "by",
        ),
        (AuditEvent::EnvelopeDrop { session: session.clone(), envelope: hex(), by: hex() }, "envelope session", "by"),
        (
            AuditEvent::Erase { session: session.clone(), by: hex(), approver: hex(), reason: hex() },
            "session",
            "approver by reason",
        ),
        (AuditEvent::Gc { sessions: vec![session.clone()], by: hex(), before }, "sessions", "before by"),
        (AuditEvent::Hold { session: session.clone(), on: true, by: hex(), reason: hex() }, "on session", "by reason"),
        (AuditEvent::ReplayView { session: session.clone(), by: hex(), purpose: hex() }, "session", "by purpose"),
        (AuditEvent::AdminCall(Call { session: Some(session), ..Call::default() }), "session", "detail uid verb"),
        (
            AuditEvent::AccessReview(ReviewedLine {
                line: hex(),
                verdict: hex(),
                user: user("alice"),
                rule: RuleId::parse("dba").unwrap(),
                account: hex(),
                place: hex(),
                channels: Vec::new(),
                how: hex(),
                note: hex(),
                by: hex(),
            }),
            "",
            "account by channels how line note place rule user verdict",
        ),
        (
            AuditEvent::ConfigChange(Call { user: Some(user("alice")), grant: Some(grant()), ..Call::default() }),
            "grant",
            "detail uid user verb",
        ),
        (AuditEvent::SecretSet(vault_change()), "", "destination detail uid"),
        (AuditEvent::SecretRemove(vault_change()), "", "destination detail uid"),
        (AuditEvent::PolicyLoad { hash: hex(), result: hex() }, "hash", "result"),
        (AuditEvent::NodeStart { version: hex(), clock: Some(hex()) }, "version", "clock"),
        (AuditEvent::ClockSync { state: hex(), detail: hex() }, "", "detail state"),
        (AuditEvent::NodeStop, "", ""),
        (AuditEvent::TargetKeyChanged { target: TargetName::parse("db1").unwrap(), got: hex() }, "", "got target"),
        (
            AuditEvent::RecorderFailed { since: Timestamp::from_millis(1), lasted_ms: Some(2), reason: hex() },
            "",
            "lasted_ms reason since",
        ),
        (AuditEvent::LogTorn { bytes: 1 }, "bytes", ""),
        (AuditEvent::KeyRotate { rotated: hex(), public: hex(), previous: Some(hex()) }, "previous public rotated", ""),
        (AuditEvent::KeyRotate { rotated: hex(), public: hex(), previous: None }, "public rotated", ""),
        (AuditEvent::ClockStep { step_ms: -6000 }, "step_ms", ""),
        (AuditEvent::ClockDoubt { known: Some(Timestamp::from_millis(1)), why: "far ahead".into() }, "known", "why"),
        (AuditEvent::StateExport { hash: hex(), recipients: hex(), by: hex() }, "hash recipients", "by"),
        (AuditEvent::StateImport { hash: hex(), by: hex(), detail: hex() }, "hash", "by detail"),
        (AuditEvent::GrantRevoke { grant: grant(), by: hex(), reason: None }, "grant", "by"),
        (AuditEvent::GrantRevoke { grant: grant(), by: hex(), reason: Some(hex()) }, "grant", "by reason"),
        (
            AuditEvent::GrantAdd {
                grant: grant(),
                user: user("alice"),
                destination: Destination::parse("root@db1").unwrap(),
                from: Timestamp::from_millis(1),
                until: Timestamp::from_millis(2),
                reason: hex(),
                by: hex(),
                request: None,
                rule: None,
                channels: None,
            },
            "grant",
            "by destination from reason until user",
        ),
        (
            AuditEvent::RequestCreate {
                request: request(),
                step: 1,
                user: user("alice"),
                destination: Destination::parse("root@db1").unwrap(),
                channels: vec![hex()],
                rule: RuleId::parse("dba").unwrap(),
                policy: hex(),
                extends: Some(grant()),
                seconds: 1,
                from: Some(Timestamp::from_millis(1)),
                reason: hex(),
                ticket: Some(hex()),
                expires: Timestamp::from_millis(2),
                quorum: hex(),
                preapproved: true,
                ticket_said: Some(TicketSaid { host: hex(), status: 200, at: Timestamp::from_millis(3) }),
                by: hex(),
            },
            "policy request step",
            "by channels destination expires extends from preapproved quorum reason rule seconds ticket ticket_said user",
        ),
        (
            AuditEvent::RequestStep {
                request: request(),
                step: 2,
                outcome: hex(),
                user: user("alice"),
                destination: Destination::parse("root@db1").unwrap(),
                verb: hex(),
                seconds: Some(1),
                channels: Some(vec![hex()]),
                mfa_seconds: None,
                note: hex(),
                by: hex(),
            },
            "outcome request step",
            "by channels destination note seconds user verb",
        ),
        (
            AuditEvent::BreakglassOpen(BrokenGlass {
                request: request(),
                user: user("alice"),
                due: Timestamp::from_millis(2),
                ways: vec![hex()],
                delivered: vec![hex()],
                told: vec![hex()],
            }),
            "request",
            "delivered due told user ways",
        ),
        (
            AuditEvent::BreakglassReview {
                request: request(),
                step: 2,
                outcome: hex(),
                user: user("alice"),
                finding: hex(),
                note: hex(),
                by: hex(),
            },
            "outcome request step",
            "by finding note user",
        ),
        (
            AuditEvent::BreakglassOverdue { request: request(), step: 2, outcome: hex(), user: user("alice") },
            "outcome request step",
            "user",
        ),
        (
            AuditEvent::Notified { request: Some(request()), about: hex(), way: hex(), result: hex() },
            "request",
            "about result way",
        ),
        (
            AuditEvent::LockStep(LockStep {
                lock: LockId::parse("k-1").unwrap(),
                outcome: hex(),
                scope: hex(),
                effect: hex(),
                keeps_glass: false,
                lifters: 2,
                until: Some(Timestamp::from_millis(1)),
                reason: hex(),
                by: hex(),
            }),
            "outcome",
            "by effect keeps_glass lifters lock reason scope until",
        ),
        (
            AuditEvent::OffboardStep(OffboardStep {
                user: user("alice"),
                outcome: hex(),
                detail: hex(),
                reason: hex(),
                by: hex(),
            }),
            "outcome",
            "by detail reason user",
        ),
        (
            AuditEvent::SessionControl(SessionControl {
                session: self::session(),
                verb: hex(),
                detail: hex(),
                by: hex(),
            }),
            "session",
            "by detail verb",
        ),
        (AuditEvent::GrantExtend { grant: grant(), request: request(), seconds: 1 }, "grant request", "seconds"),
        (
            AuditEvent::AuthConfirmed(Confirmed { user: user("alice"), source: hex(), key: hex() }),
            "",
            "key source user",
        ),
        (
            AuditEvent::ConsentGiven(Consent {
                user: user("alice"),
                rule: RuleId::parse("dba").unwrap(),
                policy: hex(),
                text: hex(),
                source: hex(),
                key: hex(),
            }),
            "policy",
            "key rule source text user",
        ),
        (
            AuditEvent::DesktopTicket(DesktopTicket {
                user: user("alice"),
                destination: Destination::parse("root@win1").unwrap(),
                ticket: hex(),
                step: TicketStep::Issued,
                source: hex(),
                key: hex(),
            }),
            "step",
            "destination key source ticket user",
        ),
        (
            AuditEvent::CommandAllowed(Box::new(judged("id"))),
            "policy session",
            "alert because decision destination line mode sent starts user verdict",
        ),
        (
            AuditEvent::CommandRefused(Box::new(judged("id"))),
            "policy session",
            "alert because decision destination line mode sent starts user verdict",
        ),
        (
            AuditEvent::CommandObserved(Box::new(judged("id"))),
            "policy session",
            "alert because decision destination line mode sent starts user verdict",
        ),
        (
            AuditEvent::CommandWaits(Box::new(CommandWaits {
                judged: CommandJudged { starts: Vec::new(), sent: None, ..judged("id") },
                quorum: hex(),
                expires: before,
                bound: hex(),
            })),
            "policy session",
            "alert because bound decision destination expires line mode quorum user verdict",
        ),
        (
            AuditEvent::CommandStep(CommandStep {
                decision: request(),
                session: self::session(),
                user: user("alice"),
                result: hex(),
                note: hex(),
                by: hex(),
            }),
            "session",
            "by decision note result user",
        ),
        (
            AuditEvent::CommandGap(Box::new(CommandGap {
                session: self::session(),
                channel: 1,
                user: user("alice"),
                destination: Destination::parse("root@db1").unwrap(),
                gap: hex(),
                done: hex(),
                note: hex(),
            })),
            "channel session",
            "destination done gap note user",
        ),
        (
            AuditEvent::CommandReading(Box::new(CommandReading {
                session: self::session(),
                channel: 1,
                user: user("alice"),
                destination: Destination::parse("root@db1").unwrap(),
                reads: hex(),
                note: hex(),
            })),
            "channel session",
            "destination note reads user",
        ),
        (channel_refused(None), "", "source user what"),
        (channel_refused(Some(self::session())), "session", "source user what"),
    ];
    let kinds: BTreeSet<String> = cases.iter().map(|(event, ..)| event.parts().unwrap().kind).collect();
    assert_eq!(kinds, known_kinds(), "every type of event is among the cases");
    for (event, clear, hidden) in cases {
        let parts = event.parts().unwrap();
        let names = |fields: &serde_json::Map<String, serde_json::Value>| {
            let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!((names(&parts.clear).as_str(), names(&parts.hidden).as_str()), (clear, hidden), "{}", parts.kind);
        // And back.
        let mut fields = parts.clear;
        fields.extend(parts.hidden);
        let record = AuditRecord { seq: 0, at: Timestamp::from_millis(0), kind: parts.kind, fields };
        assert_eq!(record.event(), Some(event));
    }
}

#[test]
fn what_is_forgotten_reads_as_erased_and_every_proof_stays() {
    let place = Place::new();
    let audit = place.open();
    audit.append(&session_start()).unwrap();
    audit.append(&refused("no rule")).unwrap();
    audit
        .append(&AuditEvent::SessionEnd { session: session(), closed: "ff04".into(), cause: "the user left".into() })
        .unwrap();
    audit.publish().unwrap();
    assert!(audit.forget(&Subject::Session(session())).unwrap());
    let records = read(&audit);
    for (seq, erased) in [(0, true), (1, false), (2, true)] {
        assert_eq!(records[seq].text("body") == Some("<erased>"), erased, "leaf {seq}");
        assert_eq!(records[seq].event().is_none(), erased, "leaf {seq}");
        let proof = audit.prove(u64::try_from(seq).unwrap()).unwrap();
        let leaf = proof.extra.clone().unwrap();
        assert_eq!(proof.verify(&leaf, audit.key(), &[]).unwrap().0.size, 3);
    }
    assert_eq!(records[0].text("session"), Some(session().as_str()));
    let json = serde_json::to_value(&records[2]).unwrap();
    let wanted = json!({ "seq": 2, "at": "1970-01-01T00:00:01.000Z", "type": "session.end",
        "session": session(), "closed": "ff04", "body": "<erased>" });
    assert_eq!(json, wanted);
}

#[test]
fn who_destroyed_or_watched_a_recording_is_not_forgotten_with_it() {
    let place = Place::new();
    let audit = place.open();
    let (by, session) = (|| "uid 7".to_owned(), session());
    let before = Timestamp::from_millis(1);
    let call = Call { uid: 7, session: Some(session.clone()), detail: "CASE".to_owned(), ..Call::default() };
    let acts = [
        AuditEvent::Erase { session: session.clone(), by: by(), approver: by(), reason: "asked".to_owned() },
        AuditEvent::Hold { session: session.clone(), on: true, by: by(), reason: "CASE".to_owned() },
        AuditEvent::ReplayView { session: session.clone(), by: by(), purpose: "export".to_owned() },
        AuditEvent::Gc { sessions: vec![session.clone()], by: by(), before },
        AuditEvent::ConfigChange(call.clone()),
        AuditEvent::AdminCall(call),
    ];
    audit.append(&session_start()).unwrap();
    acts.iter().for_each(|act| assert!(audit.append(act).is_ok()));
    audit.publish().unwrap();
    assert!(audit.forget(&Subject::Session(session)).unwrap());
    let records = read(&audit);
    assert_eq!(records[0].text("body"), Some("<erased>"));
    let kept: Vec<AuditEvent> = records.iter().skip(1).map(|record| record.event().unwrap()).collect();
    assert_eq!(kept, acts);
}

#[test]
fn a_peers_text_is_bounded_and_cannot_steer_a_terminal() {
    let place = Place::new();
    let audit = place.open();
    audit.append(&refused(&format!("\n{{\"seq\":2}}\x1b[2J\u{9b}31m\u{202e}{}", "é".repeat(5_000)))).unwrap();
    audit.append(&refused(&"x".repeat(256))).unwrap();
    audit.publish().unwrap();
    let records = read(&audit);
    let reason = records[0].text("reason").unwrap();
    assert!(!reason.contains(['\u{9b}', '\u{202e}']));
    assert_eq!((reason.chars().count(), reason.chars().last()), (256, Some('…')));
    assert_eq!(records[1].text("reason").unwrap(), "x".repeat(256));
}

#[test]
fn the_longest_events_fit_a_leaf() {
    let place = Place::new();
    let audit = place.open();
    // What JSON makes longest of a character.
    let long = "\u{1}".repeat(10_000);
    let call = Call { detail: long.clone(), ..Call::default() };
    audit.append(&AuditEvent::ConfigChange(call)).unwrap();
    audit
        .append(&AuditEvent::Erase { session: session(), by: long.clone(), approver: long.clone(), reason: long })
        .unwrap();
    let head = SessionHead {
        session: session(),
        channel: u32::MAX,
        segment: u32::MAX,
        records: u64::MAX,
        head: "f".repeat(64),
    };
    audit.append(&AuditEvent::SessionHeads { heads: vec![head; SESSION_HEADS_MAX] }).unwrap();
    let before = Timestamp::from_millis(1);
    audit.append(&AuditEvent::Gc { sessions: vec![session(); 1000], by: "\u{1}".repeat(10_000), before }).unwrap();
}

#[test]
fn a_log_that_was_put_back_or_removed_is_refused_and_says_so() {
    let place = Place::new();
    let old = tempfile::tempdir().unwrap();
    place.open().append(&refused("one")).unwrap();
    copy(place.dir.path(), old.path());
    place.open().append(&refused("two")).unwrap();
    let tell = |dir: &Path| {
        let error = Audit::open(dir, key(), &place.db, clock()).unwrap_err();
        assert!(error.hint().unwrap().contains("`state/`"));
        (error.to_string(), matches!(error, AuditError::PutBack(_)))
    };
    for (dir, what) in [(old.path().to_owned(), "yesterday's"), (old.path().join("empty"), "an empty log")] {
        let (text, put_back) = tell(&dir);
        assert!(put_back && text.contains("put back"), "{what}: {text}");
    }
    // Another log under the same name.
    let other = tempfile::tempdir().unwrap();
    let db = Db::in_memory().unwrap();
    let audit = Audit::create(other.path(), key(), &db, clock()).unwrap();
    (0..3).for_each(|n| assert!(audit.append(&refused(&n.to_string())).is_ok()));
    drop(audit);
    assert!(tell(other.path()).1);
    assert!(Audit::open(place.dir.path(), key(), &place.db, clock()).is_ok());
}

#[test]
fn a_database_that_knows_nothing_of_the_log_is_refused() {
    let place = Place::new();
    place.open().append(&refused("one")).unwrap();
    let blank = Db::in_memory().unwrap();
    let error = Audit::open(place.dir.path(), key(), &blank, clock()).unwrap_err();
    assert!(matches!(error, AuditError::NoFloor { .. }), "{error}");
    assert!(error.to_string().contains("put back"));
    // Without leaves as well: otherwise removing both would begin a new history.
    let nothing = tempfile::tempdir().unwrap();
    assert!(matches!(Audit::open(nothing.path(), key(), &blank, clock()), Err(AuditError::NoFloor { .. })));
    assert!(Audit::create(place.dir.path(), key(), &place.db, clock()).is_err());
}

#[test]
fn the_newest_checkpoint_is_in_the_database_and_the_key_beside_the_log() {
    let place = Place::new();
    let audit = place.open();
    audit.append(&refused("one")).unwrap();
    let note = audit.publish().unwrap().unwrap();
    assert!(audit.publish().unwrap().is_none());
    let (_, floor) = floors(&place.db).get(FLOOR).unwrap().unwrap();
    assert_eq!(Some(floor.checkpoint().unwrap()), audit.log.published());
    assert_eq!(audit.checkpoint().unwrap(), Some(note));
    let line = std::fs::read_to_string(place.dir.path().join("key.pub")).unwrap();
    assert_eq!(&VerifyingKey::parse(line.trim_end()).unwrap(), audit.key());
}

#[test]
fn a_change_of_auditors_is_on_record_once_with_what_was_before() {
    let place = Place::new();
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, digest)| ((*name).into(), (*digest).into())).collect();
    let told = |audit: &Audit, from: usize| -> Vec<(String, String, Option<String>)> {
        let events = read(audit).into_iter().skip(from).map(|record| record.event().unwrap());
        let parts = events.map(|event| {
            let AuditEvent::KeyRotate { rotated, public, previous } = event else { panic!("{event:?}") };
            (rotated, public, previous)
        });
        parts.collect()
    };
    let audit = place.open();
    audit.note_auditors(&of(&[("auditors", "aa")])).unwrap();
    assert_eq!(told(&audit, 0), [("auditors".into(), "aa".into(), None)]);
    drop(audit);
    let audit = place.open();
    audit.note_auditors(&of(&[("auditors", "aa")])).unwrap();
    assert_eq!(told(&audit, 1), []);
    audit.note_auditors(&of(&[("auditors", "bb"), ("auditors of rule x", "cc")])).unwrap();
    let changed = ("auditors".into(), "bb".into(), Some("aa".into()));
    assert_eq!(told(&audit, 1), [changed, ("auditors of rule x".into(), "cc".into(), None)]);
    audit.note_auditors(&of(&[("auditors", "bb")])).unwrap();
    audit.note_auditors(&of(&[("auditors", "bb")])).unwrap();
    assert_eq!(told(&audit, 3), [("auditors of rule x".into(), "none".into(), Some("cc".into()))]);
}

#[test]
fn a_closed_log_takes_nothing_and_is_published() {
    let place = Place::new();
    let audit = place.open();
    audit.append(&refused("one")).unwrap();
    audit.close().unwrap();
    assert_eq!(audit.size(), 1);
    assert!(matches!(audit.append(&refused("two")), Err(AuditError::Log(LogError::Stopped))));
}

#[test]
fn a_thread_publishes_what_comes() {
    let place = Place::new();
    let audit = std::sync::Arc::new(place.open());
    let (told, notes) = std::sync::mpsc::sync_channel(8);
    let publishing = Publishing::start(
        std::sync::Arc::clone(&audit),
        move |note: &Note| {
            told.send(note.clone()).unwrap();
        },
        |_| true,
    );
    audit.append(&refused("one")).unwrap();
    let note = notes.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(Checkpoint::parse(note.unchecked_text()).unwrap().size, 1);
    audit.append(&refused("two")).unwrap();
    drop(publishing);
    assert_eq!(audit.size(), 2);
}

#[test]
fn events_from_many_threads_keep_one_order() {
    let place = Place::new();
    let audit = place.open();
    std::thread::scope(|scope| {
        for name in ["ana", "bob", "cid", "dan"] {
            let audit = &audit;
            scope.spawn(move || {
                for _ in 0..10 {
                    let event = AuditEvent::SessionRefused {
                        user: user(name),
                        login: String::new(),
                        source: String::new(),
                        reason: String::new(),
                    };
                    audit.append(&event).unwrap();
                }
            });
        }
    });
    audit.publish().unwrap();
    assert_eq!(read(&audit).iter().map(|record| record.seq).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
}

/// A log's directory and its state database.
pub(super) struct Place {
    dir: tempfile::TempDir,
    db: Db,
}

impl Place {
    pub(super) fn new() -> Self {
        let (dir, db) = (tempfile::tempdir().unwrap(), Db::in_memory().unwrap());
        drop(Audit::create(dir.path(), key(), &db, clock()).unwrap());
        Self { dir, db }
    }

    pub(super) fn open(&self) -> Audit {
        Audit::open(self.dir.path(), key(), &self.db, clock()).unwrap()
    }
}

fn key() -> SigningKey {
    let name = KeyName::parse("doorward/0123456789abcdef").unwrap();
    SigningKey::from_seed(name, Algorithm::Note, Secret::new([7; 32])).unwrap()
}

fn clock() -> Clock {
    Clock::fixed(Timestamp::from_millis(1_000))
}

fn read(audit: &Audit) -> Vec<AuditRecord> {
    audit.records(0).collect::<Result<_, _>>().unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&file, place).unwrap();
    }
}

fn session() -> SessionId {
    SessionId::from_parts(Timestamp::from_millis(7), 9)
}

fn grant() -> GrantId {
    GrantId::parse("g-7k2mq4x9").unwrap()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn vault_change() -> VaultChange {
    VaultChange { uid: 1, destination: Destination::parse("root@db1").unwrap(), detail: "password".into() }
}

fn channel_refused(session: Option<SessionId>) -> AuditEvent {
    AuditEvent::ChannelRefused { session, user: user("alice"), source: "x".into(), what: "x".into() }
}

/// The names of all types, as serde knows them.
fn request() -> crate::model::RequestId {
    crate::model::RequestId::parse("r-1").unwrap()
}

fn known_kinds() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<AuditEvent>(r#"{"type":"?"}"#).unwrap_err().to_string();
    let (_, listed) = unknown.split_once("expected one of ").unwrap();
    let listed = listed.split(" at ").next().unwrap();
    listed.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

fn session_start() -> AuditEvent {
    AuditEvent::SessionStart {
        session: session(),
        user: user("alice"),
        destination: Destination::parse("root@db1").unwrap(),
        rule: RuleId::parse("dba-rule").unwrap(),
        grant: Some(grant()),
        policy: "00ff".into(),
        source: "192.0.2.7:4022".into(),
        key: "SHA256:abc".into(),
        opened: "ff00".into(),
        envelope: "ff01".into(),
        recipients: "ff02".into(),
    }
}

fn refused(reason: &str) -> AuditEvent {
    AuditEvent::SessionRefused {
        user: user("alice"),
        login: "root@db1".into(),
        source: "192.0.2.7:4022".into(),
        reason: reason.into(),
    }
}
