//! The program whose power is cut: it writes recordings, the log and the state, and says what is durable.
//!
//! It is this test binary, started again by the tests with one of these as its only test. Each line that it says
//! begins with `ack`; it is said when the call that promises durability has returned.

use std::io::Write;
use std::path::{Path, PathBuf};

use doorward::db::{Db, MasterKey};
use doorward::log::Log;
use serde_json::json;

use super::program::{AUDITOR, MASTER_KEY, STORE_ID, WORK, WRITER, identity};
use crate::fixture::hex;
use crate::verify::store::{Bastion, Store, leaf, noise};

#[test]
#[ignore = "the tests of power cuts start it in a process of its own"]
fn writes_until_it_is_stopped() {
    let Some(folder) = told() else { return };
    let work = std::env::var(WORK).unwrap();
    let count = |part: &str| work.split(' ').filter(|word| *word == part).count();
    let store = Store::at(&folder.join("disk"), identity(&folder.join(AUDITOR)));
    let master = MasterKey::load(&folder.join(MASTER_KEY)).unwrap();
    let db = Db::open(&store.path().join("state"), STORE_ID, master).unwrap();
    let bastion = store.bastion();
    std::thread::scope(|scope| {
        for _ in 0..count("state") {
            scope.spawn(|| write_state(&db));
        }
        for _ in 0..count("log") {
            scope.spawn(|| write_log(&bastion.log));
        }
        for number in 0..count("session") {
            let bastion = &bastion;
            scope.spawn(move || record(bastion, number));
        }
    });
}

fn write_state(db: &Db) {
    let table = db.table::<(u64, String)>("powercut");
    let first = table.list("").unwrap().iter().map(|(_, _, (n, _))| n + 1).max().unwrap_or_default();
    // So much that the database grows, not only its content.
    let padding = "x".repeat(3000);
    for n in first.. {
        let key = format!("{:02}", n % 20);
        let before = table.get(&key).unwrap().map(|(rev, _)| rev);
        table.put(&key, before, &(n, padding.clone())).unwrap();
        ack(&format!("state {key} {n}"));
    }
}

fn write_log(log: &Log) {
    for n in 0_u64.. {
        let index = log.append(leaf("node.start", json!({ "n": n }))).unwrap();
        ack(&format!("leaf {index} {n}"));
        if n % 8 == 0
            && let Some(note) = log.publish().unwrap()
        {
            ack(&format!("checkpoint {}", hex(note.to_string().as_bytes())));
        }
    }
}

/// Session after session: short ones, long ones, and some that fill more than one segment.
fn record(bastion: &Bastion, number: usize) {
    for round in 0.. {
        let live = bastion.open(&[]);
        let id = live.id.clone();
        ack(&format!("session {id}"));
        let lines = [7, 40, 400][(number + round) % 3];
        for n in 0..lines {
            let much = if lines == 7 { noise(n) } else { String::new() };
            bastion.show(&live, 1, &[&format!("{much}<{id}/{n}>\r\n")]);
            ack(&format!("record {id} {n}"));
        }
        bastion.close(live);
        ack(&format!("closed {id}"));
    }
}

#[test]
#[ignore = "the tests of power cuts start it in a process of its own"]
fn writes_to_sled_alone() {
    let Some(folder) = told() else { return };
    let db = sled::open(folder.join("disk/sled")).unwrap();
    for n in 0_u64.. {
        db.insert(format!("{n}"), &n.to_be_bytes()).unwrap();
        db.flush().unwrap();
        ack(&format!("sled {n} {n}"));
    }
}

/// The folder to write in, if a test has started this.
fn told() -> Option<PathBuf> {
    let folder = std::env::var_os(WRITER)?;
    // The test's name stands on the line already.
    ack("begin");
    Some(Path::new(&folder).to_owned())
}

/// One whole line in one write.
fn ack(what: &str) {
    let line = format!("\nack {what}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}
