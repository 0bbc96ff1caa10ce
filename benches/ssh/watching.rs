//! How soon a watcher sees what happens in a live session (C12): with less than a second's lag.

use std::time::Instant;

use crate::Scale;
use crate::fixture::bastion::{DB1, OPEN};
use crate::fixture::own::{Own, block_on, read_until};
use crate::fixture::{Bastion, Sshd, key};
use crate::lanes::{Lane, Lanes};
use crate::report::{Goal, Report, quantile};

const AUDIT: &str =
    "[[audit]]\nid = \"eyes\"\nwho = { users = [\"bob\"] }\nwhere = { targets = [\"*\"] }\nrights = [\"watch\"]\n";

/// Alice types words into `cat`, Bob watches: the time from a word's way out until the frame with it is on his terminal.
pub fn lag(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    if lanes.doorward().next().is_none() {
        return;
    }
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.add_user("bob", "eyes", &key(bastion.scratch(), "bob", "ed25519", ""));
    bastion.policy(&format!("{}{AUDIT}", OPEN.trim_start()));
    bastion.serve();
    let lags = block_on(watched(&bastion, &sshd, scale.keys));
    let at = |part: f64| vec![(Lane::Strict, quantile(&lags, part))];
    report.row("lag of `session watch` p50", "ms", &at(0.5), &[], &[]);
    report.row("lag of `session watch` p90", "ms", &at(0.9), &[], &[]);
    report.row("lag of `session watch` p99", "ms", &at(0.99), &[Lane::Strict], &[Goal::AtMost("=", 1000.0)]);
}

async fn watched(bastion: &Bastion, sshd: &Sshd, words: usize) -> Vec<f64> {
    let alice = Own::connect(&bastion.login(&format!("{}@{DB1}", sshd.account))).await;
    let mut typing = alice.exec_on_pty("stty -echo; echo ready; exec cat", 80, 24).await;
    read_until(&mut typing, "ready").await;
    let session = tokio::task::block_in_place(|| bastion.only_session());
    let bob = Own::connect(&bastion.login("bob").key(&bastion.scratch().join("bob"))).await;
    let mut watching = bob.exec_on_pty(&format!("session watch {session}"), 80, 24).await;
    read_until(&mut watching, "ready").await;
    let mut lags = Vec::new();
    for number in 0..words {
        // No word is a part of another, and none is on the screen already.
        let word = format!("w{number:06}w");
        let start = Instant::now();
        typing.data_bytes(format!("{word}\n").into_bytes()).await.unwrap();
        read_until(&mut watching, &word).await;
        lags.push(start.elapsed().as_secs_f64() * 1e3);
    }
    lags
}
