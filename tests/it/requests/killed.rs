//! The server is killed, as by a power cut, while people ask, decide, lengthen and take back; again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{ALICE, House};
use crate::fixture::process::Finished;
use crate::fixture::{LIMIT, key, until};
use crate::require;

/// So long it goes on, and at most so often.
const SPAN: Duration = Duration::from_secs(24);
const ROUNDS: usize = 12;
/// Who asks, in turn: nobody may ask for ever.
const ASKERS: [&str; 3] = [ALICE, "dora", "erik"];

/// What somebody was told is done.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Asked(String),
    Approved(String, &'static str),
    Cancelled(String),
    Revoked(String),
}

/// How many bytes the log and the state have by now: it grows with each write.
fn written(folder: &Path) -> u64 {
    let (mut bytes, mut folders) = (0, vec![folder.join("log"), folder.join("state")]);
    while let Some(folder) = folders.pop() {
        // Files come and go meanwhile.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => bytes += about.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

fn random() -> u64 {
    u64::from_str_radix(&crate::fixture::nonce(), 16).unwrap()
}

impl House {
    /// One round: everybody at work until the server is killed, at a write that nobody chose. What they were told.
    fn round(&self, asker: &str, said: &Mutex<BTreeSet<Said>>) {
        let ids = Mutex::new(Vec::<String>::new());
        let over = AtomicBool::new(false);
        let (ids, over) = (&ids, &over);
        let goes_on = || !over.load(Ordering::SeqCst);
        let tell = |what: Said| {
            said.lock().unwrap().insert(what);
        };
        let newest = |back: usize| ids.lock().unwrap().iter().rev().nth(back).cloned();
        let done = |told: &Finished| told.code == Some(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0_usize.. {
                    if !goes_on() {
                        break;
                    }
                    let first = ids.lock().unwrap().first().cloned();
                    let verb = match (turn % 4, first) {
                        (2, Some(first)) => format!("extend {first} --for 10m --json"),
                        (3, Some(_)) if newest(0).is_some() => format!("cancel {}", newest(0).unwrap()),
                        _ => format!("request {} --for 30m --reason CHG-7 vacuum is stuck --json", self.place()),
                    };
                    let told = self.ask(asker, &verb);
                    if done(&told) && verb.starts_with("cancel") {
                        tell(Said::Cancelled(verb.split(' ').nth(1).unwrap().to_owned()));
                    } else if done(&told) {
                        let row: Value = serde_json::from_str(&told.out()).unwrap();
                        let id = row["request"].as_str().unwrap().to_owned();
                        tell(Said::Asked(id.clone()));
                        ids.lock().unwrap().push(id);
                    }
                }
            });
            for name in ["bob", "carol"] {
                scope.spawn(move || {
                    while goes_on() {
                        let known = ids.lock().unwrap().clone();
                        let Some(id) = known.get(usize::try_from(random()).unwrap() % known.len().max(1)) else {
                            std::thread::yield_now();
                            continue;
                        };
                        if done(&self.ask(name, &format!("approve {id}"))) {
                            tell(Said::Approved(id.clone(), name));
                        }
                    }
                });
            }
            scope.spawn(|| {
                while goes_on() {
                    // Without a server the command does it by itself; that is another test.
                    let told = self.bastion.doorward(&["grant", "list", "--json"]);
                    let rows: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap_or_default();
                    let Some(id) =
                        rows.first().and_then(|row| row["id"].as_str()).filter(|_| random().is_multiple_of(2))
                    else {
                        continue;
                    };
                    if goes_on() && done(&self.bastion.doorward(&["grant", "revoke", id])) {
                        tell(Said::Revoked(id.to_owned()));
                    }
                }
            });
            // So many writes, and it is gone in the middle of the next.
            let (data, mut left) = (self.bastion.data(), 2 + random() % 30);
            let (mut before, start) = (written(&data), Instant::now());
            while left > 0 && start.elapsed() < Duration::from_secs(4) {
                let now = written(&data);
                left -= u64::from(now != before);
                before = now;
            }
            let pid = Pid::from_raw(i32::try_from(self.bastion.pid()).unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            over.store(true, Ordering::SeqCst);
        });
    }

    /// What is stored is what the log tells, and what people were told is in both.
    #[track_caller]
    fn agrees(&self, said: &BTreeSet<Said>, revoked: &mut BTreeSet<String>) {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let (mut states, mut grants) = (BTreeMap::new(), BTreeMap::<String, (i64, bool)>::new());
        let mut approved = BTreeMap::<String, BTreeSet<String>>::new();
        let mut seen = BTreeSet::new();
        let at = |text: &str| doorward::model::Timestamp::parse(text).unwrap().as_millis();
        for row in self.bastion.rows(&["audit", "list"]) {
            let (kind, request, grant) = (text(&row, "type"), text(&row, "request"), text(&row, "grant"));
            // What was interrupted may be there twice, and says the same.
            if kind.starts_with("request.") && !seen.insert((kind.clone(), request.clone(), row["step"].to_string())) {
                continue;
            }
            match kind.as_str() {
                "request.create" => drop(states.insert(request, String::from("pending"))),
                "request.step" => {
                    if row["verb"] == "approve" {
                        let by = text(&row, "by").split(' ').next().unwrap().to_owned();
                        assert!(approved.entry(request.clone()).or_default().insert(by), "twice: {row}");
                    }
                    states.insert(request, text(&row, "outcome"));
                }
                "grant.add" => {
                    // Both have said yes before, and are on record.
                    assert_eq!(approved.get(&request).map(BTreeSet::len), Some(2), "{row}");
                    grants.entry(grant).or_insert((at(&text(&row, "until")), false));
                }
                "grant.extend" if seen.insert((kind.clone(), request.clone(), grant.clone())) => {
                    assert_eq!(approved.get(&request).map(BTreeSet::len), Some(2), "{row}");
                    grants.get_mut(&grant).unwrap().0 += row["seconds"].as_i64().unwrap() * 1000;
                }
                "grant.revoke" => grants.get_mut(&grant).unwrap().1 = true,
                _ => {}
            }
        }
        let stored = self.bastion.rows(&["request", "list", "--all"]);
        let stored: BTreeMap<_, _> = stored.iter().map(|row| (text(row, "id"), text(row, "state"))).collect();
        assert_eq!(stored, states);
        let kept = self.bastion.rows(&["grant", "list", "--all"]);
        let kept: BTreeMap<_, _> =
            kept.iter().map(|row| (text(row, "id"), (at(&text(row, "until")), !row["revoked"].is_null()))).collect();
        assert_eq!(kept, grants);
        for what in said {
            let there = match what {
                Said::Asked(id) => states.contains_key(id),
                Said::Approved(id, by) => approved.get(id).is_some_and(|people| people.contains(*by)),
                Said::Cancelled(id) => states.get(id).is_some_and(|state| state == "cancelled"),
                Said::Revoked(id) => grants.get(id).is_some_and(|(_, revoked)| *revoked),
            };
            assert!(there, "{what:?} was said, and is lost");
        }
        let now: BTreeSet<String> = grants.into_iter().filter(|(_, (_, gone))| *gone).map(|(id, _)| id).collect();
        assert!(revoked.is_subset(&now), "what was revoked came back: {revoked:?}, {now:?}");
        *revoked = now;
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_no_decision_and_makes_none() {
    require!("ssh", "sshd");
    let mut house = House::prepared(", count = 2 }", |bastion| {
        for name in &ASKERS[1..] {
            let key = key(bastion.scratch(), name, "ed25519", "");
            bastion.add_user(name, "dba", &key);
        }
    });
    let (said, mut revoked, start) = (Mutex::new(BTreeSet::new()), BTreeSet::new(), Instant::now());
    let mut rounds = 0;
    while rounds < ROUNDS && start.elapsed() < SPAN {
        house.round(ASKERS[rounds % ASKERS.len()], &said);
        let ended = house.bastion.take_server().wait(LIMIT);
        assert_eq!(ended.signal, Some(9), "{ended:?}");
        house.bastion.serve();
        house.agrees(&said.lock().unwrap(), &mut revoked);
        rounds += 1;
    }
    // It was worth something: people were told things, and grants were given.
    let said = said.into_inner().unwrap();
    let asked = said.iter().filter(|what| matches!(what, Said::Asked(_))).count();
    println!("{rounds} rounds, {asked} requests, {} said, {} revoked", said.len(), revoked.len());
    assert!(rounds >= 3 && asked >= rounds, "{rounds} rounds: {said:?}");
    // All that was published is what is there.
    let verdict =
        until(LIMIT, "verdict", || Some(house.bastion.doorward(&["verify"])).filter(|told| told.code == Some(0)));
    assert!(verdict.text().to_lowercase().contains("ok"), "{verdict:?}");
    // And who has a grant gets in, who has none does not.
    let live =
        house.bastion.rows(&["grant", "list"]).iter().any(|row| row["user"] == ALICE && row["state"] == "active");
    assert_eq!(house.alice().run("echo in").code == Some(0), live);
}
