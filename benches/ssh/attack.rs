//! How long an echo takes while somebody attacks, to how long it takes while they load the machine as much elsewhere.

use std::process::Command;

use crate::Scale;
use crate::fixture::Running;
use crate::fixture::own::{Own, block_on, read_until};
use crate::fixture::process::Stdout;
use crate::lanes::{Kept, Lane, Lanes};
use crate::measures::{DOORWARD, echo_once};
use crate::report::{Goal, Report, quantile};

/// Connections that say who they are and nothing more, as fast as one core makes them.
const HALF_OPEN: &str = "import collections, socket, sys\n\
    held = collections.deque()\n\
    while True:\n    \
        try:\n        \
            stream = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\n        \
            stream.sendall(b'SSH-2.0-x\\r\\n')\n        \
            held.append(stream)\n    \
        except OSError:\n        pass\n    \
        if len(held) > 50:\n        held.popleft().close()\n";

/// Echoes in a session while an attacker, on one core, attacks what the lane leads through.
pub fn echo(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    if !crate::fixture::has("taskset") || !crate::fixture::has("python3") {
        return;
    }
    type Attack = fn(&Lanes, Lane) -> Command;
    let attacks: [(&str, Attack, Attack); 2] = [("half-open", half_open, busy), ("flood", flood, flood_elsewhere)];
    for (name, aimed, elsewhere) in attacks {
        let mut at = Vec::new();
        for attack in [aimed, elsewhere] {
            let mut figures: Vec<(Lane, Vec<f64>)> = lanes.names().iter().map(|lane| (*lane, Vec::new())).collect();
            for _ in 0..scale.rounds {
                for (lane, all) in &mut figures {
                    let attacker = Running::start(attack(lanes, *lane), Stdout::Gathered);
                    all.extend(echoes(lanes, *lane, scale.echoes));
                    drop(attacker);
                }
            }
            at.push(figures.iter().map(|(lane, all)| (*lane, quantile(all, 0.99) / 1e3)).collect::<Vec<_>>());
        }
        let (aimed, elsewhere) = (&at[0], &at[1]);
        report.row(format!("echo p99 under attack: {name}"), "ms", aimed, &[], &[]);
        report.row(format!("echo p99, load elsewhere: {name}"), "ms", elsewhere, &[], &[]);
        let times: Vec<(Lane, f64)> =
            aimed.iter().zip(elsewhere).map(|((lane, under), (_, beside))| (*lane, under / beside)).collect();
        report.row(format!("attack to load: {name}"), "times", &times, &DOORWARD, &[Goal::AtMost("=", 2.0)]);
    }
}

/// Echoes in a session that was there before the attack could keep it out, in microseconds.
fn echoes(lanes: &Lanes, lane: Lane, count: usize) -> Vec<f64> {
    block_on(async {
        let client = Own::connect(&lanes.own_route(lane)).await;
        let mut channel = client.exec_on_pty("stty raw -echo; echo ready; exec cat", 80, 24).await;
        read_until(&mut channel, "ready").await;
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(echo_once(&mut channel).await);
        }
        took
    })
}

/// A program that has one core and no other.
fn pinned() -> Command {
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", "0"]);
    taskset
}

fn half_open(lanes: &Lanes, lane: Lane) -> Command {
    let mut attacker = pinned();
    attacker.args(["python3", "-c", HALF_OPEN, &lanes.door(lane).to_string()]);
    attacker
}

fn busy(_lanes: &Lanes, _lane: Lane) -> Command {
    let mut attacker = pinned();
    attacker.args(["python3", "-c", "while True: pass"]);
    attacker
}

/// Output without end, through the lane.
fn flood(lanes: &Lanes, lane: Lane) -> Command {
    let ssh = lanes.route(lane, Kept::Full, &[]).ssh(&["-tt"], "exec yes");
    let mut attacker = pinned();
    attacker.args(["sh", "-c", "exec \"$@\" > /dev/null", "sh"]).arg(ssh.get_program()).args(ssh.get_args());
    attacker
}

/// The same output, past every hop.
fn flood_elsewhere(lanes: &Lanes, _lane: Lane) -> Command {
    flood(lanes, Lane::Direct)
}
