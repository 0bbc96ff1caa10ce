//! The coverage table against a running bastion: every channel type and request there is, with and without its switch.

use std::net::TcpListener;
use std::process::Command;

use doorward::coverage::{Fate, Kind, Peer, Row, TABLE};
use serde_json::json;

use crate::fixture::bastion::{Bastion, OPEN};
use crate::fixture::process::run;
use crate::fixture::{LIMIT, Sshd, free_port};
use crate::require;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/every_request.py");

/// Rules with every switch that there is, for forwards everywhere.
const EVERYTHING: &str = r#"
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

/// Asks a bastion with this policy for all that users ask for; gives each row with whether it was taken, and the log.
fn asked(policy: &str) -> (Vec<(&'static Row, bool)>, String) {
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(policy);
    bastion.serve();
    let route = bastion.to(&sshd);
    let socket = sshd.folder().join("listened-on.sock");
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    // The connection's session exists before anything is asked for that wants one; data has tests of its own.
    let rows: Vec<&Row> = TABLE.iter().filter(|row| row.from == Peer::User && row.kind != Kind::Data).collect();
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
    (rows.into_iter().zip(outcomes).collect(), bastion.audit())
}

/// Requests that have no answer, or no good one before a program runs.
fn is_mute(row: &Row) -> bool {
    row.kind == Kind::Request && matches!(row.name, "window-change" | "signal" | "eow@openssh.com" | "break")
}

/// Whether the log says that this was refused.
fn is_on_record(row: &Row, log: &str) -> bool {
    let refusals = log.lines().filter(|line| line.contains("refused"));
    let named = |line: &str| line.contains(row.name) || row.switch.is_some_and(|switch| line.contains(switch));
    refusals.into_iter().any(named)
}

#[test]
fn t06_without_its_switch_everything_is_refused_and_on_record() {
    require!("sshd", "ssh", "python3-paramiko");
    let (rows, log) = asked(OPEN);
    for (row, taken) in rows {
        let open = row.switch.is_none_or(|switch| switch == "shell" || switch == "exec");
        match (row.fate, open) {
            (Fate::Recorded | Fate::Metadata, true) => assert!(taken || is_mute(row), "{row:?} was refused"),
            (Fate::Recorded, false) if row.name == "subsystem" => {
                // A refused subsystem starts, to say why.
                assert!(log.contains("no rule opens sftp-read"), "{log}");
            }
            (Fate::Refused, _) | (Fate::Recorded | Fate::Metadata, false) => {
                assert!(!taken, "{row:?} was taken");
                assert!(is_on_record(row, &log), "{row:?} is not on record: {log}");
            }
            (Fate::Empty, _) => assert!(!is_on_record(row, &log), "{row:?} is on record: {log}"),
        }
    }
}

#[test]
fn with_its_switch_everything_goes_where_the_table_says() {
    require!("sshd", "ssh", "python3-paramiko");
    let (rows, log) = asked(EVERYTHING);
    for (row, taken) in rows {
        let cancels_what_is_not = row.name == "cancel-tcpip-forward";
        // What listens on no socket takes no connection: the table's order has it asked for before it is listened on.
        let nobody_there = row.name == "direct-streamlocal@openssh.com";
        match row.fate {
            Fate::Recorded | Fate::Metadata if cancels_what_is_not || nobody_there => assert!(!taken, "{row:?}"),
            Fate::Recorded | Fate::Metadata => assert!(taken || is_mute(row), "{row:?} was refused: {log}"),
            Fate::Refused => {
                assert!(!taken, "{row:?} was taken");
                assert!(is_on_record(row, &log), "{row:?} is not on record: {log}");
            }
            Fate::Empty => assert!(!is_on_record(row, &log), "{row:?} is on record: {log}"),
        }
    }
}

#[test]
fn the_table_is_printed_for_people_and_machines() {
    let bastion = Bastion::init();
    let text = bastion.doorward(&["coverage"]).ok().out();
    assert!(text.contains("direct-tcpip") && text.contains("Anything else is refused"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
    assert_eq!(bastion.rows(&["coverage"]).len(), TABLE.len());
}
