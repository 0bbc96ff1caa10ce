//! Live oversight of desktops: paused, for four eyes, ended with what they rest on. By stock `ssh` and stock programs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::algorithms::facts;
use crate::fixture::bastion::ALICE;
use crate::fixture::desktops::{desktop_of, prepared, ticket};
use crate::fixture::process::Finished;
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::Colour;
use crate::fixture::{Bastion, LIMIT, Route, Running, holds, key, until};

const VIOLET: Colour = Colour(0x80, 0x30, 0xb0);
const GREY: Colour = Colour(0x70, 0x78, 0x80);

/// P3: "never over 5 s".
const SOON: Duration = Duration::from_secs(5);

const AUDIT: &str = "[[audit]]\nid = \"overseers\"\nwho = { groups = [\"overseers\"] }\nwhere = { targets = [\"*\"] }\n\
                     rights = [\"watch\", \"freeze\", \"message\", \"kill\"]\n";

/// Alice who works on a desktop, and Bob who oversees.
struct House {
    shadow: Shadow,
    bastion: Bastion,
    port: u16,
    bob: PathBuf,
}

impl House {
    fn with(rule: &str) -> Self {
        let shadow = Shadow::start(VIOLET);
        let (mut bastion, port) = prepared(&shadow, &shadow.fingerprint, &format!("{rule}{AUDIT}"));
        let bob = key(bastion.scratch(), "bob", "ed25519", "");
        bastion.add_user("bob", "overseers", &bob);
        bastion.serve();
        Self { shadow, bastion, port, bob }
    }

    fn grant(&self, span: &str) -> String {
        self.bastion.grant(ALICE, &desktop_of(&self.shadow), span, "CHG-1")
    }

    /// Alice's program, which logs in by a ticket.
    fn viewer(&self) -> Viewer {
        let (name, secret) = ticket(&self.bastion, &self.shadow);
        Viewer::xfreerdp(self.port, "nla", &name, &secret, &[])
    }

    fn asks(&self, verb: &str) -> Finished {
        Route::new("bob", self.bastion.port, &self.bob).run(verb)
    }

    #[track_caller]
    fn told(&self, verb: &str) -> String {
        self.asks(verb).ok().out()
    }

    /// Bob's watch, until it is dropped.
    fn watch(&self, session: &str) -> Running {
        Route::new("bob", self.bastion.port, &self.bob).start(&[], &format!("session watch {session}"))
    }

    /// What was told to its process before has reached it: it answers in order.
    fn settled(&self, session: &str) {
        for _ in 0..2 {
            self.told(&format!("session watch {session} --png"));
        }
    }

    /// A line is typed until one has come through: then the pointer is where the keys go.
    fn is_typed_on(&self, viewer: &Viewer) {
        let first = self.shadow.terminal();
        until(LIMIT, "first line", || {
            viewer.screen.type_text("first");
            viewer.screen.press("Return");
            (!first.is_waiting()).then_some(())
        });
    }

    fn row(&self) -> serde_json::Value {
        self.bastion.rows(&["session", "list"]).remove(0)
    }
}

/// Why a desktop was over, as its user's program was told and as it is on record.
#[track_caller]
fn ended(bastion: &Bastion, viewer: Viewer, told: &str, recorded: &str) {
    let (_, said) = viewer.end();
    assert!(said.contains(told), "{said}");
    let row = &bastion.recordings()[0];
    assert!(row["end"].to_string().contains(recorded), "{row}");
}

#[test]
fn a_desktop_that_is_paused_takes_no_keys_and_goes_on_with_the_next() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "xdotool", "xterm");
    let house = House::with("");
    house.grant("1h");
    let viewer = house.viewer();
    viewer.screen.until_painted(VIOLET, 50);
    let session = house.bastion.only_session();
    let row = house.row();
    assert_eq!((&row["user"], &row["destination"]), (&ALICE.into(), &desktop_of(&house.shadow).into()), "{row}");
    house.is_typed_on(&viewer);
    let typed = house.shadow.terminal();
    viewer.screen.type_text("before before ");
    // A key is down, and the target repeats it.
    viewer.screen.hold("z");

    assert!(house.told(&format!("session freeze {session}")).contains("paused by bob"));
    assert!(house.told("session list").contains("paused by bob"));
    house.settled(&session);
    until(LIMIT, "target where no key is down", || {
        let before = house.shadow.screen.picture().pixels;
        holds(Duration::from_millis(700), "pause", || true);
        (house.shadow.screen.picture().pixels == before).then_some(())
    });
    viewer.screen.let_go("z");
    viewer.screen.type_text("lost");
    viewer.screen.press("Return");
    holds(Duration::from_millis(1500), "standstill", || typed.is_waiting());
    // What the target shows is seen all the while.
    house.shadow.screen.paint(GREY);
    viewer.screen.until_painted(GREY, 2);
    // A desktop has no place for lines; whoever says one can read that in the recording.
    house.told(&format!("session message {session} the disk is full"));
    assert!(house.told(&format!("session unfreeze {session}")).contains("goes on"));
    house.settled(&session);
    viewer.screen.type_text("after");
    viewer.screen.press("Return");
    // The window may have come up while the first word was typed.
    let line = typed.line();
    assert!(line.contains("before z") && line.ends_with("zafter") && !line.contains("lost"), "{line}");

    house.told(&format!("session kill {session}"));
    ended(&house.bastion, viewer, "ERRINFO_RPC_INITIATED_DISCONNECT", "killed by bob");
    let log = house.bastion.rows(&["audit", "list", "--type", "session.control"]);
    let verbs: Vec<&str> = log.iter().map(|row| row["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["freeze", "message", "unfreeze", "kill"]);
    let facts = facts(&house.bastion, &session);
    for said in ["paused by bob: no keys", "goes on from here", "no place for: message from bob: the disk is full"] {
        assert!(facts.contains(said), "{said}: {facts}");
    }
    let text = String::from_utf8(house.bastion.export(&session, "txt", &[])).unwrap();
    assert!(text.contains("held       keys, mouse and clipboard") && text.contains("held       no more"), "{text}");
}

#[test]
fn a_desktop_for_four_eyes_is_seen_by_nobody_before_somebody_watches_and_takes_no_keys_after() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "xdotool", "xterm");
    let house = House::with("four_eyes = true\n");
    house.grant("1h");
    let mut viewer = house.viewer();
    let session = house.bastion.only_session();
    assert!(house.told("session list").contains("until somebody watches it"));
    holds(Duration::from_secs(2), "waiting", || {
        !viewer.has_ended()
            && viewer.screen.picture().percent(VIOLET) == 0
            && house.bastion.recordings_at_all().is_empty()
    });
    let watching = house.watch(&session);
    viewer.screen.until_painted(VIOLET, 50);
    assert!(house.row()["paused"].is_null() && house.row()["watchers"][0] == "bob", "{}", house.row());
    house.is_typed_on(&viewer);
    let typed = house.shadow.terminal();
    viewer.screen.type_text("before before ");
    drop(watching);
    until(SOON, "standstill", || house.row()["paused"].is_string().then_some(()));
    house.settled(&session);
    viewer.screen.type_text("lost");
    viewer.screen.press("Return");
    holds(Duration::from_millis(1500), "standstill", || typed.is_waiting());
    let watching = house.watch(&session);
    until(LIMIT, "watcher", || house.row()["paused"].is_null().then_some(()));
    house.settled(&session);
    viewer.screen.type_text("after");
    viewer.screen.press("Return");
    // The window may have come up while the first word was typed.
    let line = typed.line();
    assert!(line.ends_with("before after") && !line.contains("lost"), "{line}");
    house.bastion.doorward(&["session", "kill", &session]).ok();
    ended(&house.bastion, viewer, "ERRINFO_RPC_INITIATED_DISCONNECT", "killed by");
    drop(watching);
    let facts = facts(&house.bastion, &session);
    assert!(facts.contains("paused until somebody watches it: no keys"), "{facts}");
    // Who waits is ended like everybody.
    let viewer = house.viewer();
    let session = house.bastion.only_session();
    house.told(&format!("session kill {session}"));
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_"), "{said}");
    assert_eq!(house.bastion.recordings_at_all().len(), 1);
}

#[test]
fn a_desktop_ends_with_its_last_watcher_where_its_rule_says_so() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let house = House::with("four_eyes = { on_leave = \"end\" }\n");
    house.grant("1h");
    let viewer = house.viewer();
    let session = house.bastion.only_session();
    let watching = house.watch(&session);
    viewer.screen.until_painted(VIOLET, 50);
    drop(watching);
    ended(&house.bastion, viewer, "ERRINFO_RPC_INITIATED_DISCONNECT", "watch");
}

#[test]
fn a_grant_that_is_revoked_or_runs_out_ends_its_desktop_with_the_reason() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let house = House::with("");
    let grant = house.grant("1h");
    let viewer = house.viewer();
    viewer.screen.until_painted(VIOLET, 50);
    house.bastion.doorward(&["grant", "revoke", &grant]).ok();
    let start = Instant::now();
    house.bastion.empties(SOON);
    ended(&house.bastion, viewer, "ERRINFO_RPC_INITIATED_DISCONNECT", "revoked");
    assert!(start.elapsed() < SOON + SOON, "{:?}", start.elapsed());
    let refused = Route::new(ALICE, house.bastion.port, &house.bastion.key)
        .run(&format!("rdp {} --json", desktop_of(&house.shadow)));
    assert_eq!((refused.code, refused.out().as_str()), (Some(126), ""), "{refused:?}");

    house.grant("12s");
    let given = Instant::now();
    let viewer = house.viewer();
    viewer.screen.until_painted(VIOLET, 50);
    let (_, said) = viewer.end();
    assert!(given.elapsed() < Duration::from_secs(12) + SOON, "ended only after {:?}", given.elapsed());
    // The time limit of its own: programs show it as such.
    assert!(said.contains("ERRINFO_LOGON_TIMEOUT"), "{said}");
    let rows = house.bastion.recordings();
    assert!(rows.iter().any(|row| row["end"].to_string().contains("grant ended")), "{rows:?}");
    let listed = house.bastion.doorward(&["recording", "list"]).ok().out();
    assert!(listed.matches(&desktop_of(&house.shadow)).count() == 2, "{listed}");
}
