//! Many sessions at once: how long an echo takes then, and what each costs while it writes.

use std::time::Duration;

use crate::Scale;
use crate::fixture::LIMIT;
use crate::fixture::own::{Own, block_on, read_until};
use crate::lanes::{Lane, Lanes};
use crate::measures::{Figures, echo_once, pss};
use crate::report::{Goal, Report, median, quantile};

/// As the goal has it.
const SESSIONS: usize = 32;
/// A fast typist, in every session.
const BETWEEN_KEYS: Duration = Duration::from_millis(60);
/// Sessions that write, for what one of them costs: several times what is kept of compressors that nobody uses.
const WRITERS: usize = 100;

/// Keys pressed in 32 sessions until their echoes are there. Lanes take turns, in rounds of a few seconds.
pub fn echo(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let mut figures: Figures = lanes.names().iter().map(|lane| (*lane, Vec::new())).collect();
    const ROUNDS: usize = 2;
    for _ in 0..ROUNDS {
        for (lane, of_lane) in &mut figures {
            of_lane.extend(block_on(crowd(lanes, *lane, scale.keys / ROUNDS)));
        }
    }
    let at = |part: f64| -> Vec<(Lane, f64)> {
        figures.iter().map(|(lane, all)| (*lane, quantile(all, part) / 1e3)).collect()
    };
    report.row(format!("echo p50, {SESSIONS} sessions"), "ms", &at(0.5), &[], &[]);
    let goal = [Goal::AtMost("=", 20.0)];
    report.row(format!("echo p99, {SESSIONS} sessions"), "ms", &at(0.99), &[Lane::Strict, Lane::Bounded], &goal);
}

/// Every echo of a crowd, in microseconds.
async fn crowd(lanes: &Lanes, lane: Lane, keys: usize) -> Vec<f64> {
    let mut people = tokio::task::JoinSet::new();
    for number in 0..SESSIONS {
        let client = Own::connect(&lanes.own_route(lane)).await;
        let mut channel = client.exec_on_pty("stty raw -echo; echo ready; exec cat", 80, 24).await;
        read_until(&mut channel, "ready").await;
        people.spawn(async move {
            let mut took = Vec::new();
            // People do not type in step.
            tokio::time::sleep(BETWEEN_KEYS.mul_f64(number as f64 / SESSIONS as f64)).await;
            let mut next = tokio::time::interval(BETWEEN_KEYS);
            for _ in 0..keys {
                next.tick().await;
                took.push(echo_once(&mut channel).await);
            }
            drop(client);
            took
        });
    }
    people.join_all().await.concat()
}

/// What a session costs the bastion that shows ten lines a second, and whose compressor therefore works. Counted from
/// the server's start: what others left in it would be used again, and not be seen.
pub fn memory_while_writing(lanes: &Lanes, _scale: &Scale, report: &mut Report) {
    let line = "a line of text as programs show it";
    let command = format!("perl -e '$| = 1; while (1) {{ print \"{line}\\n\"; select(undef, undef, undef, 0.1) }}'");
    let mut figures = Vec::new();
    for lane in lanes.doorward() {
        let pid = lanes.bastion().pid();
        let grown = block_on(async {
            let mut held = Vec::new();
            for _ in 0..WRITERS {
                let client = Own::connect(&lanes.own_route(lane)).await;
                let mut channel = client.exec_on_pty(&command, 80, 24).await;
                read_until(&mut channel, "show it").await;
                held.push(tokio::spawn(async move {
                    while channel.wait().await.is_some() {}
                    drop(client);
                }));
            }
            let mut samples = Vec::new();
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                samples.push(pss(lane, pid).saturating_sub(lanes.fresh_pss()) as f64 / WRITERS as f64);
            }
            held.iter().for_each(tokio::task::JoinHandle::abort);
            median(&samples)
        });
        lanes.bastion().empties(LIMIT);
        figures.push((lane, grown));
    }
    let goal = [Goal::AtMost("=", 2048.0)];
    let name = format!("memory a session that writes, of {WRITERS}");
    report.row(name, "KiB", &figures, &[Lane::Strict, Lane::Bounded], &goal);
}
