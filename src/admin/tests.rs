mod end_date;
mod offboard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::api::{AuditFilter, SecretInput, SecretText, SessionFilter, TargetChange};
use super::inventory::Inventory;
use super::*;
use crate::audit::{AuditEvent, AuditRecord, Call};
use crate::config::read_policies;
use crate::db::Db;
use crate::grant::GrantState;
use crate::ledger::{LedgerError, Target};
use crate::locks::Locks;
use crate::model::{
    AccountName, ChannelClass, Destination, GrantId, GroupName, RuleId, SessionId, TargetName, UserName,
};
use crate::requests::Requests;
use crate::secret::Secret;
use crate::session::LiveSession;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice@laptop";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti foo@bar.com";
const RULES: &str = "schema = 1\n[[rule]]\nid = \"dba\"\nwho = { groups = [\"dba\"] }\nwhere = { labels = { env = \"prod\" } }\n\
                     accounts = [\"root\"]\nchannels = [\"shell\", \"exec\"]\ngrant = { required = true }\n";
const STANDING: &str = "schema = 1\n[[rule]]\nid = \"own\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                        accounts = [\"root\"]\nchannels = [\"shell\", \"exec\"]\ngrant = { required = false }\n";

#[test]
fn a_grant_without_a_rule_is_refused() {
    let office = Office::furnished();
    let error = office.refused(grant("alice", "postgres@db1"));
    assert!(matches!(error, AdminError::NoRule { .. }), "{error:?}");
    let error = office.refused(grant("alice", "root@nowhere"));
    assert!(matches!(error, AdminError::Parties(_)), "{error:?}");
    office.policy(STANDING);
    office.ask(Request::PolicyReload {});
    let error = office.refused(grant("alice", "root@db1"));
    assert!(matches!(error, AdminError::Needless { rule: Some(_), .. }), "{error:?}");
    assert!(office.admin.parts.ledger.grants().is_empty());
}

#[test]
fn what_only_approvers_open_no_operator_grants() {
    let office = Office::furnished();
    let Reply::Granted { grant: before } = office.ask(grant("alice", "root@db1")) else { panic!("not granted") };
    assert!(office.permit().is_ok());
    // The rule that the operator went by is another one now: what they gave does not open it.
    let asked = "required = true, operators = false, approvers = { group = \"dba\" }";
    office.policy(&RULES.replace("required = true", asked));
    office.ask(Request::PolicyReload {});
    let denial = office.permit().unwrap_err();
    assert!(matches!(&denial, crate::grant::Denial::ByOperator { grant, .. } if *grant == before.grant.id), "{denial}");
    assert!(denial.public_text().contains("request"), "{}", denial.public_text());
    let failure = office.refused(grant("alice", "root@db1")).failure();
    let told = [failure.chain, failure.hints].concat().join("\n");
    for part in ["operators = false", "1 of dba", "ssh alice@BASTION request root@db1"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // A right by another rule is the operator's to give, and the session goes by that one.
    let other = "[[rule]]\nid = \"night\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                 accounts = [\"root\"]\nchannels = [\"shell\"]\n";
    office.policy(&format!("{}{other}", RULES.replace("required = true", asked)));
    office.ask(Request::PolicyReload {});
    office.ask(grant("alice", "root@db1"));
    assert_eq!(office.permit().unwrap().rule().as_str(), "night");
}

#[test]
fn a_grant_needs_a_reason_and_a_time_to_come() {
    let office = Office::furnished();
    let with = |change: fn(&mut Wanted)| {
        let mut wanted = Wanted { span: Duration::from_secs(3600), from: None, reason: "CHG-1".to_owned() };
        change(&mut wanted);
        let (user, destination) = (user("alice"), destination("root@db1"));
        office.call(Request::GrantAdd {
            user,
            destination,
            from: wanted.from,
            span: wanted.span,
            reason: wanted.reason,
        })
    };
    assert!(matches!(with(|wanted| wanted.reason = "  ".to_owned()), Err(AdminError::Invalid { .. })));
    assert!(matches!(with(|wanted| wanted.reason = "a\nb".to_owned()), Err(AdminError::Invalid { .. })));
    assert!(matches!(with(|wanted| wanted.span = Duration::ZERO), Err(AdminError::Invalid { .. })));
    assert!(matches!(with(|wanted| wanted.from = Some(Timestamp::from_millis(0))), Err(AdminError::Invalid { .. })));
    assert!(with(|_| {}).is_ok());
}

struct Wanted {
    span: Duration,
    from: Option<Timestamp>,
    reason: String,
}

#[test]
fn a_grant_opens_until_it_is_revoked() {
    let office = Office::furnished();
    assert!(office.permit().is_err());
    let Reply::Granted { grant: row } = office.ask(grant("alice", "root@db1")) else { panic!("no grant") };
    assert_eq!((row.state, row.remaining_seconds), (GrantState::Active, 3600));
    assert!(office.permit().is_ok());
    office.ask(Request::GrantRevoke { grant: row.grant.id.clone(), reason: None });
    assert!(office.permit().is_err());
    let error = office.refused(Request::GrantRevoke { grant: row.grant.id, reason: None });
    assert!(matches!(error, AdminError::Ledger(LedgerError::Over { .. })), "{error:?}");
    let Reply::Grants { grants } = office.ask(Request::GrantList { all: false }) else { panic!("no list") };
    assert!(grants.is_empty());
    let Reply::Grants { grants } = office.ask(Request::GrantList { all: true }) else { panic!("no list") };
    assert_eq!(grants[0].state, GrantState::Revoked);
}

#[test]
fn what_takes_a_right_away_ends_the_live_session() {
    type Taking = fn(GrantId) -> Request;
    let takings: [(&str, Taking); 6] = [
        ("remove key", |_| Request::UserKeyRemove { user: user("alice"), fingerprint: key_fingerprint() }),
        ("revoke", |grant| Request::GrantRevoke { grant, reason: None }),
        ("suspend", |_| Request::UserSuspend { user: user("alice") }),
        ("remove user", |_| Request::UserRemove { user: user("alice") }),
        ("remove target", |_| Request::TargetRemove { target: target_name() }),
        ("leave group", |_| Request::UserSet {
            user: user("alice"),
            groups: Some(BTreeSet::new()),
            from: None,
            person: None,
            until: None,
        }),
    ];
    for (name, taking) in takings {
        let office = Office::furnished();
        let Reply::Granted { grant: row } = office.ask(grant("alice", "root@db1")) else { panic!("no grant") };
        let live = office.live(&row.grant.id);
        assert!(live.end.borrow().is_none());
        office.ask(taking(row.grant.id));
        assert!(live.end.borrow().is_some(), "`{name}` left the session alive");
    }
}

#[test]
fn nobody_waits_for_the_requests_that_a_new_policy_closes() {
    let office = Office::furnished();
    office.policy(STANDING);
    let (ledger, clock) = (&office.admin.parts.ledger, &office.admin.parts.clock);
    let before = ledger.policy().hash().clone();
    let reply = std::thread::scope(|scope| {
        // As if it took long.
        let closing = office.admin.parts.requests.one_at_a_time();
        let reply = scope.spawn(|| office.ask(Request::PolicyReload {}));
        let begun = clock.instant();
        loop {
            let changing = office.admin.changing.try_lock();
            if changing.is_ok() && *ledger.policy().hash() != before {
                break;
            }
            assert!(clock.instant().saturating_duration_since(begun).as_secs() < 10, "others wait");
            drop(changing);
            std::thread::yield_now();
        }
        assert!(!reply.is_finished());
        drop(closing);
        reply.join().unwrap()
    });
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
}

#[test]
fn a_faulty_policy_leaves_the_old_one_in_force() {
    let office = Office::furnished();
    let before = office.admin.parts.ledger.policy().hash().clone();
    office.policy("schema = 1\n[[rule]]\nid = \"x\"\n[[rule]]\nnonsense = 1\n");
    let error = office.refused(Request::PolicyReload {});
    let AdminError::Policy(faults) = &error else { panic!("{error:?}") };
    assert!(faults.len() > 2, "{faults:?}");
    assert!(error.failure().chain.len() > 2 && error.failure().usage);
    assert_eq!(office.admin.parts.ledger.policy().hash(), &before);
}

#[test]
fn a_removed_and_added_user_comes_into_no_old_grant() {
    let office = Office::furnished();
    office.ask(grant("alice", "root@db1"));
    assert!(office.permit().is_ok());
    office.ask(Request::UserRemove { user: user("alice") });
    office.ask(Request::UserAdd {
        user: user("alice"),
        groups: groups(),
        keys: Vec::new(),
        from: BTreeSet::new(),
        until: None,
    });
    assert!(office.permit().is_err());
}

#[test]
fn a_removed_target_takes_its_secrets_along() {
    let office = Office::furnished();
    office.ask(password("root@db1", "hunter2"));
    office.ask(Request::TargetRemove { target: target_name() });
    let Reply::Secrets { secrets } = office.ask(Request::SecretList {}) else { panic!("no list") };
    assert_eq!(secrets, []);
}

#[test]
fn each_call_is_recorded_with_its_caller_and_without_its_secret() {
    let office = Office::furnished();
    office.ask(password("root@db1", "hunter2-canary"));
    office.refused(grant("nobody", "root@db1"));
    office.ask(Request::UserSuspend { user: user("alice") });
    let calls = office.recorded();
    let of = |verb: &str| calls.iter().filter(|(uid, found, _)| *uid == 4242 && found == verb).count();
    assert_eq!((of("grant add"), of("user suspend")), (2, 1), "{calls:?}");
    let log = office.log();
    let stored = log.iter().find_map(|record| {
        let AuditEvent::SecretSet(change) = record.event()? else { return None };
        Some((change.uid, change.destination, change.detail))
    });
    assert_eq!(stored, Some((4242, destination("root@db1"), "password".to_owned())));
    assert!(!format!("{log:?}").contains("canary"));
    assert!(!format!("{:?}", password("root@db1", "hunter2-canary")).contains("canary"));
}

#[test]
fn what_changes_is_told_from_what_only_shows_and_both_say_whom_it_is_about() {
    let office = Office::furnished();
    let session = SessionId::from_parts(office.admin.now(), 3);
    office.ask(Request::UserList {});
    office.refused(Request::SessionKill { session: session.clone() });
    office.ask(password("root@db1", "hunter2"));
    office.ask(Request::TargetRemove { target: target_name() });
    let log = office.log();
    let kinds: Vec<&str> = log.iter().map(|record| record.kind.as_str()).collect();
    let wanted = ["admin.call", "config.change", "secret.set", "secret.remove", "config.change"];
    assert_eq!(kinds[kinds.len() - 5..], wanted);
    let calls: Vec<Call> = log.iter().filter_map(call_of).collect();
    let of = |verb: &str| calls.iter().find(|call| call.verb == verb).unwrap();
    assert_eq!(of("user key add").user, Some(user("alice")));
    assert_eq!(of("session kill").session, Some(session));
    assert!(of("session kill").detail.contains("failed"), "{calls:?}");
    assert_eq!((&of("user list").user, &of("user list").session), (&None, &None));
}

#[test]
fn the_audit_log_is_read_in_pages_under_one_record() {
    let office = Office::furnished();
    for _ in 0..700 {
        office.ask(Request::UserList {});
    }
    let read = |from, pass, filter: AuditFilter| {
        let reply = office.ask(Request::AuditRead { filter, from, pass });
        let Reply::Events { events, next, more, pass, behind: None } = reply else { panic!("{reply:?}") };
        (events, next, more, pass)
    };
    let all = AuditFilter::default();
    let (first, next, more, pass) = read(0, None, all.clone());
    assert_eq!((first.len(), next, more), (500, 500, true));
    let (second, end, more, pass) = read(next, Some(pass), all.clone());
    assert!(!more && second[0].seq == 500 && end == 500 + u64::try_from(second.len()).unwrap());
    assert_eq!(second.last().unwrap().text("verb"), Some("audit list"));
    // Waiting for what comes puts nothing on record by itself.
    for _ in 0..3 {
        assert_eq!(read(end, Some(pass.clone()), all.clone()).1, end);
    }
    // Another reading is another record, and so is one with a pass that nobody gave.
    let (_, _, _, other) = read(end, None, AuditFilter { user: Some(user("alice")), ..all.clone() });
    let (events, ..) = read(end, Some(other), all);
    assert_eq!(events.iter().map(|event| event.text("verb").unwrap()).collect::<Vec<_>>(), ["audit list"; 2]);
}

#[test]
fn the_audit_log_is_filtered_by_user_type_and_time() {
    let office = Office::furnished();
    office.ask(grant("alice", "root@db1"));
    let read = |filter| {
        let reply = office.ask(Request::AuditRead { filter, from: 0, pass: None });
        let Reply::Events { events, .. } = reply else { panic!("{reply:?}") };
        events
    };
    let of_alice = read(AuditFilter { user: Some(user("alice")), ..AuditFilter::default() });
    let shown: Vec<_> = of_alice.iter().map(|event| event.text("verb").unwrap_or(&event.kind)).collect();
    assert_eq!(shown, ["user add", "user key add", "grant add", "grant.add"]);
    let grants = read(AuditFilter { kind: Some("grant".to_owned()), ..AuditFilter::default() });
    assert_eq!(grants.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["grant.add"]);
    let later = office.admin.now().plus(Duration::from_secs(1));
    assert!(read(AuditFilter { since: Some(later), ..AuditFilter::default() }).is_empty());
}

#[test]
fn key_checkpoint_and_proof_are_what_verifiers_read() {
    use crate::tlog::{Checkpoint, EntryProof, Note, VerifyingKey};
    let office = Office::furnished();
    let text = |request| {
        let reply = office.ask(request);
        let Reply::Text { text } = reply else { panic!("{reply:?}") };
        text
    };
    let key = VerifyingKey::parse(text(Request::AuditKey {}).trim_end()).unwrap();
    assert_eq!(key.name().as_str(), "doorward/0123456789abcdef");
    let note = Note::parse(text(Request::AuditCheckpoint {}).as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.check(&[&key]).unwrap().text()).unwrap();
    let proof = EntryProof::parse(text(Request::AuditProve { leaf: 1 }).as_bytes()).unwrap();
    let leaf = proof.extra.clone().unwrap();
    assert!(proof.verify(&leaf, &key, &[]).unwrap().0.size > checkpoint.size);
    assert!(String::from_utf8(leaf).unwrap().contains("\"seq\":1,"));
    assert!(matches!(office.refused(Request::AuditProve { leaf: 999 }), AdminError::Audit(_)));
}

#[test]
fn a_password_of_several_lines_is_refused() {
    let office = Office::furnished();
    for bad in ["", "a\nb", "a\0"] {
        assert!(matches!(office.refused(password("root@db1", bad)), AdminError::Invalid { .. }));
    }
    let error = office.refused(password("root@elsewhere", "x"));
    assert!(matches!(error, AdminError::Ledger(LedgerError::Unknown { .. })));
}

#[test]
fn an_inventory_is_applied_only_as_it_was_shown() {
    let office = Office::furnished();
    let inventory = Inventory::parse("i.toml", "schema = 1\n[users.bob]\ngroups = [\"web\"]\n").unwrap();
    let Reply::Changes { changes, .. } = office.ask(Request::InventoryDiff { inventory: inventory.clone() }) else {
        panic!("no difference")
    };
    let apply = Request::InventoryApply { inventory, expected: changes };
    office.ask(Request::UserAdd {
        user: user("bob"),
        groups: BTreeSet::new(),
        keys: Vec::new(),
        from: BTreeSet::new(),
        until: None,
    });
    assert!(matches!(office.refused(apply.clone()), AdminError::StateChanged));
    office.ask(Request::UserRemove { user: user("bob") });
    office.ask(apply);
    assert_eq!(office.admin.parts.ledger.user(&user("bob")).unwrap().groups.len(), 1);
}

#[test]
fn a_key_can_move_from_one_user_to_another_by_inventory() {
    let office = Office::furnished();
    let text = format!("schema = 1\n[users.alice]\nkeys = []\n[users.aaron]\nkeys = [\"{KEY}\"]\n");
    let inventory = Inventory::parse("i.toml", &text).unwrap();
    let Reply::Changes { changes, .. } = office.ask(Request::InventoryDiff { inventory: inventory.clone() }) else {
        panic!("no difference")
    };
    office.ask(Request::InventoryApply { inventory, expected: changes });
    let key = crate::ledger::public_key(KEY).unwrap();
    assert_eq!(office.admin.parts.ledger.user_by_key(&key).unwrap().name, user("aaron"));
}

#[test]
fn a_user_is_added_with_all_keys_or_not_at_all() {
    let office = Office::furnished();
    let add = |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        office.call(Request::UserAdd { user: user("bob"), groups: groups(), keys, from: BTreeSet::new(), until: None })
    };
    // Alice has the second key; the third is none.
    for bad in [&[OTHER_KEY, KEY][..], &[OTHER_KEY, "ssh-ed25519 AAAA"]] {
        assert!(matches!(add(bad), Err(AdminError::Ledger(_))), "{bad:?}");
        assert!(office.admin.parts.ledger.user(&user("bob")).is_none(), "{bad:?}");
    }
    add(&[OTHER_KEY, OTHER_KEY]).unwrap();
    assert_eq!(office.admin.parts.ledger.user(&user("bob")).unwrap().keys.len(), 1);
}

#[test]
fn live_sessions_are_listed_by_filter() {
    let office = Office::furnished();
    let Reply::Granted { grant: row } = office.ask(grant("alice", "root@db1")) else { panic!("no grant") };
    let _live = office.live(&row.grant.id);
    let count = |filter: SessionFilter| {
        let Reply::Sessions { sessions } = office.ask(Request::SessionList { filter }) else { panic!("no list") };
        sessions.len()
    };
    let now = office.admin.now();
    let all = SessionFilter::default;
    let filters = [
        (all(), 1),
        (SessionFilter { user: Some(user("alice")), target: Some(target_name()), since: Some(now) }, 1),
        (SessionFilter { user: Some(user("bob")), ..all() }, 0),
        (SessionFilter { target: Some(TargetName::parse("db2").unwrap()), ..all() }, 0),
        (SessionFilter { since: Some(now.plus(Duration::from_millis(1))), ..all() }, 0),
    ];
    for (filter, wanted) in filters {
        assert_eq!(count(filter.clone()), wanted, "{filter:?}");
    }
}

#[test]
fn an_unknown_recording_is_answered_with_the_way_to_the_known() {
    let session = SessionId::from_parts(Timestamp::from_millis(0), 1);
    let failure = Office::new().refused(Request::RecordingRead { session, purpose: "replay".to_owned() }).failure();
    assert_eq!(failure.hints, ["`doorward recording list` shows them"]);
}

#[test]
fn changing_a_target_leaves_what_is_not_named() {
    let office = Office::furnished();
    let change = TargetChange { address: Some("db1.example.org".to_owned()), ..TargetChange::default() };
    office.ask(Request::TargetSet { target: target_name(), change });
    let target = office.admin.parts.ledger.target(&target_name()).unwrap();
    assert_eq!((target.address.as_str(), target.labels.len()), ("db1.example.org:22", 1));
}

#[test]
fn requests_read_back_equal_from_the_socket() {
    let sent =
        [grant("alice", "root@db1"), password("root@db1", "x"), Request::UserList {}, Request::Doctor { syncs: 3 }];
    for request in sent {
        let text = serde_json::to_string(&request).unwrap();
        let read: Request = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
    assert!(serde_json::from_str::<Request>(r#"{"verb":"user-list","more":1}"#).is_err());
    assert!(serde_json::from_str::<Request>(r#"{"verb":"user-add","user":"A b","groups":[],"keys":[]}"#).is_err());
}

#[test]
fn the_doctor_looks_at_everything() {
    let office = Office::furnished();
    let Reply::Doctor { findings } = office.ask(Request::Doctor { syncs: 3 }) else { panic!("no findings") };
    let looked: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
    let expected = "server, state, targets, policy, clock, clock sync, audit log, auditors, witness, disk, disk sync";
    assert_eq!(looked.join(", "), expected);
    assert!(
        !std::fs::read_dir(office.dir.path().join("data"))
            .unwrap()
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().starts_with("doctor") })
    );
}

#[test]
fn the_socket_answers_and_survives_nonsense() {
    let office = Office::furnished();
    let path = office.dir.path().join("admin.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let listener = runtime.block_on(async { socket::bind(&path) }).unwrap();
    let serving = runtime.spawn(socket::serve(listener, Arc::new(office.admin), shutdown.clone()));
    let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
    // Too long, not JSON, cut off, and not a request: each is the end of its own connection only.
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x01x", b"\0\0\x01\0{", b"\0\0\0\x02{}"] {
        std::io::Write::write_all(&mut connect(), nonsense).unwrap();
    }
    let Ok(Reply::Users { users }) = socket::ask(&mut connect(), &Request::UserList {}).unwrap() else {
        panic!("no list")
    };
    assert_eq!(users.len(), 1);
    let failure = socket::ask(&mut connect(), &grant("nobody", "root@db1")).unwrap().unwrap_err();
    assert_eq!(failure.chain, ["no such user"]);
    shutdown.cancel();
    runtime.block_on(serving).unwrap();
}

#[test]
fn recordings_go_by_themselves_once_their_time_is_over_and_those_on_hold_stay() {
    let mut office = Office::furnished();
    let begun = office.admin.now();
    let [old, held] = [1, 2].map(|n| office.keep_recording(SessionId::from_parts(begun, n)));
    office.ask(Request::RecordingHold { session: held.clone(), on: true, reason: "CASE-7".to_owned() });
    let at = |office: &Office, days: u64, ms: u64| {
        let moment = begun.plus(Duration::from_secs(days * 86_400)).plus(Duration::from_millis(ms));
        office.admin.parts.clock.set(moment);
    };
    let left = |office: &Office| -> Vec<SessionId> {
        let listed = office.admin.parts.catalog.list(&crate::store::Filter::default());
        let sessions = listed.into_iter().map(|listed| match listed {
            crate::store::Listed::Recording(summary) => summary.session,
            crate::store::Listed::Erased(session) => panic!("{session} was erased"),
            crate::store::Listed::Damaged { path, why } => panic!("{}: {why}", path.display()),
        });
        sessions.collect()
    };
    at(&office, 9000, 0);
    assert_eq!(
        office.admin.retire().unwrap(),
        Retired::Removed { removed: 0, left: 0 },
        "nothing is removed unless it is configured"
    );
    office.admin.parts.config.recording.retention = Some(Duration::from_secs(400 * 86_400));
    at(&office, 400, 0);
    let before = office.log().len();
    assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 0, left: 0 });
    assert_eq!((left(&office).len(), office.log().len()), (2, before), "a day without removals is no event");
    at(&office, 400, 1);
    assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 1, left: 0 });
    assert_eq!(left(&office), [held]);
    let removal = |event| matches!(event, Some(AuditEvent::Gc { sessions, by, .. }) if sessions == [old.clone()] && by == "the bastion");
    assert!(office.log().iter().any(|record| removal(record.event())));
    assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 0, left: 0 });
}

#[test]
fn operators_may_not_export_the_state_and_the_log_has_what_was_exported() {
    let office = Office::furnished();
    let recipient = crate::auditor::Identity::generate().recipient();
    let export =
        |uid, recipients| office.admin.call(Caller { uid, via: Via::Socket }, Request::StateExport { recipients });
    let refused = export(4242, vec![recipient.clone()]).unwrap_err();
    assert!(matches!(refused, AdminError::NotOwner { uid: 4242 }), "{refused:?}");
    assert!(office.recorded().iter().any(|(uid, verb, _)| *uid == 4242 && verb == "state export"));
    assert!(matches!(export(0, Vec::new()), Err(AdminError::Invalid { .. })));
    let Reply::State { hash, leaves, .. } = export(0, vec![recipient]).unwrap() else { panic!("no state") };
    let log = office.log();
    assert_eq!(u64::try_from(log.len()).unwrap(), leaves);
    assert!(log.last().is_some_and(|record| record.kind == "state.export" && record.text("hash") == Some(&hash)));
}

/// An administration on a state of its own.
pub(super) struct Office {
    pub(super) admin: Admin,
    dir: tempfile::TempDir,
}

impl Office {
    /// Alice of the group `dba`, and `db1` with the label that its rule asks for.
    pub(super) fn furnished() -> Self {
        let office = Self::new();
        office.ask(Request::UserAdd {
            user: user("alice"),
            groups: groups(),
            keys: Vec::new(),
            from: BTreeSet::new(),
            until: None,
        });
        office.ask(Request::UserKeyAdd { user: user("alice"), key: KEY.to_owned() });
        office.ask(Request::TargetAdd {
            target: Target {
                name: target_name(),
                address: "10.0.0.5".to_owned(),
                labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
                host_keys: Vec::new(),
                accounts: BTreeSet::from([AccountName::parse("root").unwrap()]),
                insecure_algorithms: false,
                desktop: None,
            },
        });
        office
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["data/log", "policies/access"] {
            std::fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        write_policy(dir.path(), RULES);
        let config = Config::parse(&dir.path().join("doorward.toml"), "").unwrap();
        let clock = Clock::fixed(Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        let policy = PolicySet::parse(&read_policies(&config.policies).unwrap()).unwrap();
        let db = Db::in_memory().unwrap();
        let vault = Vault::open(&db).unwrap();
        vault.create_bastion_keys().unwrap();
        let key = vault.log_key("0123456789abcdef0123456789abcdef").unwrap();
        let audit = Audit::create(&dir.path().join("data/log"), key, &db, clock.clone()).unwrap();
        let (ledger, audit) = (Arc::new(Ledger::open(&db, policy).unwrap()), Arc::new(audit));
        let requests = Requests::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone(), Vec::new()).unwrap();
        let locks = Locks::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone()).unwrap();
        let admin = Admin::new(
            &config,
            clock,
            ledger,
            Arc::new(vault),
            audit,
            Sessions::new(),
            Arc::new(requests),
            Arc::new(locks),
            StoreRoot::at(&dir.path().join("data")),
        );
        Self { admin, dir }
    }

    /// A recording that is over.
    fn keep_recording(&self, session: SessionId) -> SessionId {
        crate::store::tests::shelve(self.admin.parts.catalog.root(), &session);
        session
    }

    fn policy(&self, text: &str) {
        write_policy(self.dir.path(), text);
    }

    pub(super) fn call(&self, request: Request) -> Result<Reply, AdminError> {
        self.admin.call(Caller { uid: 4242, via: Via::Direct }, request)
    }

    #[track_caller]
    pub(super) fn ask(&self, request: Request) -> Reply {
        self.call(request).unwrap()
    }

    #[track_caller]
    fn refused(&self, request: Request) -> AdminError {
        self.call(request).unwrap_err()
    }

    fn permit(&self) -> Result<crate::grant::Permit, crate::grant::Denial> {
        let now = self.admin.now();
        let alice = user("alice");
        let asker = crate::grant::Asker::plain(&alice, "k");
        self.admin.parts.ledger.permit(asker, &destination("root@db1"), ChannelClass::Shell, now)
    }

    fn live(&self, grant: &GrantId) -> crate::session::Registration {
        let facts = LiveSession {
            id: SessionId::from_parts(self.admin.now(), 1),
            user: user("alice"),
            destination: destination("root@db1"),
            rule: RuleId::parse("dba").unwrap(),
            grant: Some(grant.clone()),
            until: None,
            reason: None,
            key: key_fingerprint(),
            source: "127.0.0.1:1".to_owned(),
            started: self.admin.now(),
            channels: 0,
            paused: None,
            watchers: Vec::new(),
        };
        let key = crate::ledger::public_key(KEY).unwrap();
        let login = crate::authn::Authenticated::by_key(&user("alice"), &key);
        self.admin.parts.sessions.register(facts, ChannelClass::Shell, &login)
    }

    /// The recorded calls: uid, verb, detail.
    fn recorded(&self) -> Vec<(u32, String, String)> {
        self.log().iter().filter_map(call_of).map(|call| (call.uid, call.verb, call.detail)).collect()
    }

    /// What is on record.
    pub(super) fn log(&self) -> Vec<AuditRecord> {
        self.admin.parts.audit.publish().unwrap();
        self.admin.parts.audit.records(0).map(Result::unwrap).collect()
    }
}

fn call_of(record: &AuditRecord) -> Option<Call> {
    let (AuditEvent::AdminCall(call) | AuditEvent::ConfigChange(call)) = record.event()? else { return None };
    Some(call)
}

fn write_policy(dir: &Path, text: &str) {
    let file = dir.join("policies/access/test.toml");
    let _ = std::fs::remove_file(&file);
    crate::durable::create_new(&file, text.as_bytes(), 0o644).unwrap();
}

fn grant(to: &str, place: &str) -> Request {
    Request::GrantAdd {
        user: user(to),
        destination: destination(place),
        from: None,
        span: Duration::from_secs(3600),
        reason: "CHG-123 vacuum is stuck".to_owned(),
    }
}

fn password(place: &str, text: &str) -> Request {
    let secret = SecretInput::Password(SecretText(Secret::new(text.to_owned())));
    Request::SecretSet { destination: destination(place), secret }
}

pub(super) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(super) fn destination(text: &str) -> Destination {
    Destination::parse(text).unwrap()
}

fn target_name() -> TargetName {
    TargetName::parse("db1").unwrap()
}

fn groups() -> BTreeSet<GroupName> {
    BTreeSet::from([GroupName::parse("dba").unwrap()])
}

fn key_fingerprint() -> String {
    crate::ledger::fingerprint(&crate::ledger::public_key(KEY).unwrap())
}
