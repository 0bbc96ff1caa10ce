//! The wall clock is set while the server runs and while it does not: threat T15, by a clock of the server's own.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::fixture::bastion::ALICE;
use crate::fixture::{Bastion, LIMIT, Sshd, until};
use crate::require;

const RULES: &str = "schema = 1\n[[rule]]\nid = \"all\"\nwho = { users = [\"*\"] }\nwhere = { targets = [\"*\"] }\n\
                     accounts = [\"@me\"]\nchannels = [\"exec\"]\nlimits = { length = \"50m\" }\n";

/// A bastion whose server goes by a clock that tests set.
struct House {
    bastion: Bastion,
    sshd: Sshd,
    clock: PathBuf,
}

impl House {
    fn new() -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(RULES);
        let clock = bastion.scratch().join("clock");
        let library = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library = library.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        let set = |name: &str, value: String| (name.to_owned(), value);
        bastion.environment = vec![
            set("LD_PRELOAD", library.expect("faketime has its library").display().to_string()),
            set("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
            set("FAKETIME_NO_CACHE", String::from("1")),
            set("DONT_FAKE_MONOTONIC", String::from("1")),
        ];
        let house = Self { bastion, sshd, clock };
        house.shows(0);
        house
    }

    /// The server's clock shows what ours does and so many seconds more.
    fn shows(&self, seconds: i64) {
        // In one step: the server reads it at any time.
        let new = self.clock.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.clock).unwrap();
    }

    /// How often the log says that the clock was set, and by how many seconds the last time.
    fn steps(&self) -> (usize, i64) {
        let rows = self.bastion.rows(&["audit", "list"]);
        let steps = rows.iter().filter(|row| row["type"] == "clock.step");
        let seconds: Vec<i64> = steps.map(|row| row["step_ms"].as_i64().unwrap() / 1000).collect();
        (seconds.len(), seconds.last().copied().unwrap_or(0))
    }

    /// In how many seconds from now a row's `field` is, by our clock.
    fn left(row: &Value, field: &str) -> i64 {
        let time: Timestamp = row[field].as_str().unwrap().parse().unwrap();
        time.duration_since(Timestamp::now()).as_secs()
    }

    fn grant_left(&self) -> i64 {
        Self::left(&self.bastion.rows(&["grant", "list"])[0], "until")
    }

    /// `None` while none holds.
    fn lock_left(&self) -> Option<i64> {
        self.bastion.rows(&["lock", "list"]).first().map(|row| Self::left(row, "expires"))
    }
}

#[test]
fn t15_a_clock_that_is_set_lengthens_no_grant_and_shortens_no_lock() {
    require!("ssh", "sshd", "faketime");
    let mut house = House::new();
    house.bastion.serve();
    let place = format!("{}@db1", house.sshd.account);
    house.bastion.grant(ALICE, &place, "1h", "because");
    let near = |told: i64, seconds: i64| assert!((seconds - 60..=seconds + 5).contains(&told), "{told}, not {seconds}");
    near(house.grant_left(), 3600);
    let (_live, _output) = house.bastion.to(&house.sshd).start_ready(&[], "sleep 600");
    let session_left = || House::left(&house.bastion.rows(&["session", "list"])[0], "until");
    near(session_left(), 3000);
    // Half an hour back: what was an hour is one still, by that clock.
    house.shows(-1800);
    until(LIMIT, "step of the clock", || (house.steps().0 == 1).then_some(()));
    near(house.steps().1, -1800);
    near(house.grant_left(), 1800);
    near(session_left(), 1200);
    assert_eq!(house.bastion.to(&house.sshd).run("echo in").ok().out(), "in\n");
    // Another hour and a half back while nobody looks: the log tells when it was.
    house.bastion.stop().ok();
    house.shows(-7200);
    house.bastion.serve();
    near(house.steps().1, -5400);
    near(house.grant_left(), -3600);
    assert_eq!(house.bastion.to(&house.sshd).run("echo in").ok().out(), "in\n");
    // Forward by three hours: the grant ends, and a lock for ten minutes stands.
    let lock = ["lock", "add", "--account", "nobody", "--for", "10m", "--reason", "looked into"];
    house.bastion.doorward(&lock).ok();
    near(house.lock_left().unwrap(), -7200 + 600);
    house.shows(3600);
    near(until(LIMIT, "lock that ends later", || house.lock_left().filter(|left| *left > 0)), 3600 + 600);
    let told = house.bastion.to(&house.sshd).run("echo in");
    assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{told:?}");
}
