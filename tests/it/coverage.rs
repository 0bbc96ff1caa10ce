//! The coverage table against a running bastion: every channel type and request there is, with and without its switch.

use std::net::TcpListener;
use std::process::Command;

use doorward::coverage::{Fate, Kind, Peer, Row, TABLE};
use serde_json::json;

use crate::fixture::bastion::{Bastion, OPEN, id};
use crate::fixture::process::run;
use crate::fixture::{LIMIT, Route, Seen, Sshd, free_port};
use crate::hostile::hostile_target;
use crate::require;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/every_request.py");

/// Rules with every switch that there is, for forwards everywhere.
pub const EVERYTHING: &str = r#"
schema = 1
[[rule]]
id        = "everything"
who       = { groups = ["dba"] }
where     = { labels = { env = "test" } }
accounts  = ["@me"]
channels  = ["shell", "exec", "sftp-read", "sftp-write", "local-forward", "local-forward-unix", "remote-forward",
             "remote-forward-unix", "agent", "x11"]
forward   = { to = ["*:*"], sockets = ["/tmp/*/*"], listen = ["*:*"], listen_sockets = ["/tmp/*/*"] }
grant     = { required = false }
"#;

fn string(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn number(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// What a peer sends with it.
fn payload(row: &Row, port: u16, socket: &str) -> Vec<u8> {
    let place = |port: u32| [string("127.0.0.1"), number(port)].concat();
    match (row.kind, row.name) {
        (Kind::Channel, "direct-tcpip" | "forwarded-tcpip") => [place(port.into()), place(1)].concat(),
        (Kind::Channel, "direct-streamlocal@openssh.com") => [string(socket), string(""), number(0)].concat(),
        (Kind::Channel, "forwarded-streamlocal@openssh.com") => [string(socket), string("")].concat(),
        (Kind::Channel, "x11") => place(1),
        (Kind::Request, "pty-req") => {
            [string("xterm"), number(80), number(24), number(0), number(0), string("\0")].concat()
        }
        (Kind::Request, "env") => [string("LC_ALL"), string("C")].concat(),
        (Kind::Request, "exec") => string("true"),
        (Kind::Request, "subsystem") => string("sftp"),
        (Kind::Request, "window-change") => number(9).repeat(4),
        (Kind::Request, "signal") => string("TERM"),
        (Kind::Request, "break") => number(100),
        (Kind::Request, "x11-req") => [vec![0], string("MIT-MAGIC-COOKIE-1"), string("00"), number(0)].concat(),
        (Kind::Global, "tcpip-forward" | "cancel-tcpip-forward") => place(free_port().into()),
        (Kind::Global, "streamlocal-forward@openssh.com" | "cancel-streamlocal-forward@openssh.com") => string(socket),
        (Kind::Channel | Kind::Request | Kind::Global | Kind::Data, _) => Vec::new(),
    }
}

/// What stands in no table, of each kind.
const UNHEARD_OF: &[Row] = {
    const fn row(kind: Kind) -> Row {
        let name = "unheard-of@example.com";
        Row { from: Peer::User, kind, name, fate: Fate::Refused, switch: None, note: "", source: "" }
    }
    &[row(Kind::Channel), row(Kind::Request), row(Kind::Global)]
};

/// What the log says was refused, in its words.
fn refusals(bastion: &Bastion) -> Vec<String> {
    let rows = bastion.rows(&["audit", "list", "--type", "channel.refused"]);
    rows.iter().map(|row| row["what"].as_str().unwrap().to_owned()).collect()
}

/// Asks a bastion with this policy for all that users ask for; gives each row with whether it was taken, and what
/// the log says was refused: in sessions, and of sessions.
fn asked(policy: &str) -> (Vec<(&'static Row, bool)>, Vec<String>, Vec<String>) {
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(policy);
    bastion.serve();
    let route = bastion.to(&sshd);
    let socket = sshd.folder().join("listened-on.sock");
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    // The connection's session exists before anything is asked for that wants one; data has tests of its own.
    let all = TABLE.iter().chain(UNHEARD_OF);
    let rows: Vec<&Row> = all.filter(|row| row.from == Peer::User && row.kind != Kind::Data).collect();
    let line = |row: &&Row| {
        let payload: String =
            payload(row, port, socket.to_str().unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}\n", json!([row.kind, row.name, payload]))
    };
    let lines: String = rows.iter().map(line).collect();
    let mut client = Command::new("/usr/bin/python3");
    client.args([CLIENT, &route.port.to_string(), &route.login, route.key.to_str().unwrap()]);
    let told = run(client, lines.as_bytes(), LIMIT).ok().out();
    let outcomes: Vec<bool> = told.lines().map(|line| line.ends_with(" yes")).collect();
    assert_eq!(outcomes.len(), rows.len(), "{told}");
    bastion.empties(LIMIT);
    let place = |what: String| match what.replace(socket.to_str().unwrap(), "PLACE").split_once("127.0.0.1:") {
        Some((before, rest)) => format!("{before}PLACE{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => what.replace(socket.to_str().unwrap(), "PLACE"),
    };
    let log = sorted(refusals(&bastion).into_iter().map(place).collect());
    let starts = bastion.rows(&["audit", "list", "--type", "session.refused"]);
    let starts = starts.iter().map(|row| row["reason"].to_string()).collect();
    (rows.into_iter().zip(outcomes).collect(), log, starts)
}

/// Requests that have no answer, or no good one before a program runs.
fn is_mute(row: &Row) -> bool {
    row.kind == Kind::Request && matches!(row.name, "window-change" | "signal" | "eow@openssh.com" | "break")
}

/// What the log says of this when it is refused, and of nothing else.
fn refusal(row: &Row) -> String {
    let Row { kind, name, switch, .. } = row;
    match (row.fate, *name, *switch) {
        (Fate::Refused, "forwarded-tcpip" | "x11", _) => format!("the channel type {name}"),
        (Fate::Refused, _, _) => format!("the unknown {} {name}", word(*kind)),
        (_, "cancel-tcpip-forward" | "cancel-streamlocal-forward@openssh.com", Some(switch)) => {
            format!("the end of {switch} PLACE: nothing listens there")
        }
        (_, "x11-req" | "auth-agent-req@openssh.com", Some(switch)) => {
            format!("{switch}: no rule opens {switch} for this user at this destination")
        }
        (_, _, Some(switch)) => format!("{switch} PLACE: no rule opens {switch} for this user at this destination"),
        (_, _, None) => panic!("{row:?} needs no switch"),
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn t06_without_its_switch_everything_is_refused_and_on_record() {
    require!("sshd", "ssh", "python3-paramiko");
    let (rows, log, starts) = asked(OPEN);
    let mut wanted = Vec::new();
    for (row, taken) in rows {
        let open = row.switch.is_none_or(|switch| switch == "shell" || switch == "exec");
        match (row.fate, open) {
            (Fate::Recorded | Fate::Metadata, true) => assert!(taken || is_mute(row), "{row:?} was refused"),
            // A refused subsystem starts, to say why.
            (Fate::Recorded, false) if row.name == "subsystem" => {
                assert!(starts.iter().any(|why| why.contains("no rule opens sftp-read for this user")), "{starts:?}");
            }
            (Fate::Refused, _) | (Fate::Recorded | Fate::Metadata, false) => {
                assert!(!taken, "{row:?} was taken");
                wanted.push(refusal(row));
            }
            (Fate::Empty, _) => {}
        }
    }
    assert_eq!(log, sorted(wanted));
}

#[test]
fn with_its_switch_everything_goes_where_the_table_says() {
    require!("sshd", "ssh", "python3-paramiko");
    let (rows, log, _) = asked(EVERYTHING);
    let mut wanted = Vec::new();
    for (row, taken) in rows {
        let cancels_what_is_not = row.name == "cancel-tcpip-forward";
        // What listens on no socket takes no connection: the table's order has it asked for before it is listened on.
        let nobody_there = row.name == "direct-streamlocal@openssh.com";
        match row.fate {
            Fate::Recorded | Fate::Metadata if nobody_there => assert!(!taken, "{row:?}"),
            Fate::Refused | Fate::Metadata if cancels_what_is_not || row.fate == Fate::Refused => {
                assert!(!taken, "{row:?} was taken");
                wanted.push(refusal(row));
            }
            Fate::Recorded | Fate::Metadata => assert!(taken || is_mute(row), "{row:?} was refused: {log:#?}"),
            Fate::Refused | Fate::Empty => {}
        }
    }
    assert_eq!(log, sorted(wanted));
}

#[test]
fn the_table_is_printed_for_people_and_machines() {
    let bastion = Bastion::init();
    let text = bastion.doorward(&["coverage"]).ok().out();
    assert!(text.contains("direct-tcpip") && text.contains("Anything else is refused"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
    assert_eq!(bastion.rows(&["coverage"]).len(), TABLE.len() + doorward::rdp::coverage::TABLE.len());
}

/// What a target asks for; `exec` takes it as JSON.
fn ask(route: &Route, wanted: &[&Row]) -> Seen {
    let one = |row: &&Row| {
        let payload = match row.name {
            "xon-xoff" => vec![1],
            "exit-status" => number(7),
            "exit-signal" => [string("TERM"), vec![0], string(""), string("")].concat(),
            _ => payload(row, 1, "/tmp/x.sock"),
        };
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        json!([row.kind, row.name, is_answered(row), hex])
    };
    let all: Vec<_> = wanted.iter().map(one).collect();
    route.run(&format!("ask {}", json!(all)))
}

/// Whether a peer wants to know: RFC 4254 sections 6.8 and 6.10, OpenSSH's PROTOCOL sections 2.1 and 2.5.
fn is_answered(row: &Row) -> bool {
    !row.name.starts_with("exit-") && !matches!(row.name, "xon-xoff" | "eow@openssh.com" | "hostkeys-00@openssh.com")
}

#[test]
fn t06_what_a_target_asks_for_is_answered_by_the_table_and_what_it_refuses_is_on_record() {
    require!("sshd", "ssh", "python3-paramiko");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (_target, route) = hostile_target(&bastion, &sshd);
    let mut known = Vec::new();
    for kind in [Kind::Request, Kind::Global] {
        let unheard = UNHEARD_OF.iter().filter(|row| row.kind == kind);
        let of_target = |row: &&Row| row.from == Peer::Target && row.kind == kind && !row.name.starts_with("exit-");
        let rows: Vec<&Row> = TABLE.iter().filter(of_target).chain(unheard).collect();
        let seen = ask(&route, &rows);
        let answers: Vec<&str> =
            seen.stdout.trim_ascii().split(|b| *b == b' ').map(|a| str::from_utf8(a).unwrap()).collect();
        assert_eq!(answers.len(), rows.len(), "{seen:?}");
        for (row, answer) in rows.iter().zip(answers) {
            let wanted = match (is_answered(row), row.fate) {
                (false, _) => "mute",
                (true, Fate::Refused) => "refused",
                (true, Fate::Empty | Fate::Recorded | Fate::Metadata) => "taken",
            };
            assert_eq!(answer, wanted, "{row:?}");
        }
        let refused = rows.iter().filter(|row| row.fate == Fate::Refused);
        known.extend(refused.map(|row| format!("a {} by the target: {}", word(row.kind), row.name)));
        bastion.empties(LIMIT);
        let mut log = refusals(&bastion);
        log.sort();
        known.sort();
        assert_eq!(log, known);
    }
    // Those that end the program.
    let row = |name| TABLE.iter().find(|row| row.from == Peer::Target && row.name == name).unwrap();
    assert_eq!(ask(&route, &[row("exit-status")]).code, Some(7));
    assert_eq!(ask(&route, &[row("exit-signal")]).code, Some(255));
    // A recording names what was refused, too.
    let first = bastion.recordings().iter().map(id).min().unwrap();
    assert!(crate::algorithms::facts(&bastion, &first).contains("a channel request by the target: break"));
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Channel => "channel type",
        Kind::Request => "channel request",
        Kind::Global => "global request",
        Kind::Data => "data",
    }
}
