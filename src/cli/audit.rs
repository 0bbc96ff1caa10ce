//! `doorward audit`: the log of what was decided and done, and what others need to check it.

use std::time::Duration;

use serde_json::Value;

use super::desk::{Desk, unexpected};
use super::output::{Form, print, print_on, say};
use super::{CliError, times};
use crate::admin::api::{AuditFilter, Reply, Request};
use crate::audit::AuditRecord;
use crate::model::{SessionId, Timestamp, UserName};
use crate::screen::{json_line, line};

/// How often `follow` asks for what is new.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List events, oldest first.
    List {
        #[command(flatten)]
        filter: FilterArguments,
        #[command(flatten)]
        form: Form,
    },
    /// Print events as they come, until Ctrl-C; with --json one object a line.
    Follow {
        #[command(flatten)]
        filter: FilterArguments,
        #[command(flatten)]
        form: Form,
    },
    /// Print the public key of the log, by which others check what it signs.
    Key,
    /// Print the newest checkpoint: a signed note that says how long the log is and what is in it. A copy kept
    /// elsewhere shows later whether anything before it was changed.
    Checkpoint,
    /// Let sessions begin in spite of what witnesses have seen: another history of this log than the one that is here.
    /// Those witnesses cosign this log no more: begin a new one after it (`doorward state import --new-log`).
    AcceptHistory {
        /// Why; it is on record.
        #[arg(long, value_name = "WHY")]
        reason: String,
    },
    /// Print the proof that an event is in the log, with the event in it, in the form of c2sp.org/tlog-proof.
    Prove {
        /// The event's number, as `audit list` shows it.
        number: u64,
    },
}

/// Which events are meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArguments {
    /// Only those since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
    /// Only of this type, such as `session.start`, or of these, such as `session`.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only about this session.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Only those that name this bastion user.
    #[arg(long)]
    user: Option<UserName>,
}

impl From<FilterArguments> for AuditFilter {
    fn from(arguments: FilterArguments) -> Self {
        let FilterArguments { since, kind, session, user } = arguments;
        Self { since, kind, session, user }
    }
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { filter, form } => list(desk, filter.into(), form),
        Command::Follow { filter, form } => follow(desk, filter.into(), form),
        Command::Key => print(&desk.fetch(Request::AuditKey {})?),
        Command::Checkpoint => print(&desk.fetch(Request::AuditCheckpoint {})?),
        Command::AcceptHistory { reason } => desk.tell(Request::HistoryAccept { reason }),
        Command::Prove { number } => print(&desk.fetch(Request::AuditProve { leaf: number })?),
    }
}

/// A reading of the log, page by page: only one page is in memory.
pub(super) struct Reading<'a> {
    pub(super) ask: &'a dyn Fn(Request) -> Result<Reply, CliError>,
    pub(super) filter: AuditFilter,
    pub(super) next: u64,
    pub(super) pass: Option<String>,
}

/// Events, and whether there are more by now.
pub(super) struct Page {
    pub(super) events: Vec<AuditRecord>,
    pub(super) more: bool,
}

impl Reading<'_> {
    pub(super) fn page(&mut self) -> Result<Page, CliError> {
        let request = Request::AuditRead { filter: self.filter.clone(), from: self.next, pass: self.pass.clone() };
        let Reply::Events { events, next, more, pass, behind } = (self.ask)(request)? else {
            return Err(unexpected());
        };
        if let Some(behind) = behind {
            say(format!("warning: the newest events may be missing: {behind}"));
        }
        self.next = next;
        self.pass = Some(pass);
        Ok(Page { events, more })
    }
}

fn list(desk: &Desk, filter: AuditFilter, form: Form) -> Result<(), CliError> {
    let ask = |request| desk.ask(request);
    let mut reading = Reading { ask: &ask, filter, next: 0, pass: None };
    let mut count = 0_u64;
    loop {
        let page = reading.page()?;
        let mut text = String::new();
        for event in &page.events {
            // One array over all pages.
            match (form.json, count) {
                (true, 0) => text.push_str("[\n"),
                (true, _) => text.push_str(",\n"),
                (false, 0) => text.push_str(&heading()),
                (false, _) => {}
            }
            text.push_str(&if form.json { as_json(event)? } else { as_row(event) });
            count = count.saturating_add(1);
        }
        if !print_on(&text)? {
            return Ok(());
        }
        if !page.more {
            break;
        }
    }
    match (form.json, count) {
        (true, 0) => print("[]\n"),
        (true, _) => print("\n]\n"),
        (false, 0) => {
            say("no events");
            Ok(())
        }
        (false, _) => Ok(()),
    }
}

fn follow(desk: &Desk, filter: AuditFilter, form: Form) -> Result<(), CliError> {
    // Never under the state's lock: a reader who waits must not keep a server from starting.
    let ask = |request| desk.ask_server(&request);
    // Beyond the end: only what comes from now on.
    let mut reading = Reading { ask: &ask, filter, next: u64::MAX, pass: None };
    reading.page().map_err(|error| error.hint("`doorward audit list` shows what is on record"))?;
    if !form.json && !print_on(&heading())? {
        return Ok(());
    }
    loop {
        let page = reading.page()?;
        let mut text = String::new();
        for event in &page.events {
            text.push_str(&if form.json { as_json(event)? + "\n" } else { as_row(event) });
        }
        if !print_on(&text)? {
            return Ok(());
        }
        if !page.more {
            std::thread::sleep(FOLLOW_PERIOD);
        }
    }
}

fn as_json(event: &AuditRecord) -> Result<String, CliError> {
    let text = serde_json::to_string(event).map_err(|error| CliError::of(&error))?;
    Ok(json_line(&text).into_owned())
}

fn heading() -> String {
    format!("{:>8}  {:19}  {:18}  WHAT\n", "NUMBER", "TIME", "TYPE")
}

/// What people look for first.
const FIRST: [&str; 9] = ["user", "by", "uid", "verb", "destination", "target", "session", "reason", "detail"];
/// Digits of a hash that a row shows; `--json` has all of them.
const HASH_DIGITS: usize = 8;

/// Of fixed widths but for the last column, so that rows can be printed before the next are known.
fn as_row(event: &AuditRecord) -> String {
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut fields: Vec<(&String, &Value)> = event.fields.iter().filter(|(_, value)| !says_nothing(value)).collect();
    fields.sort_by_key(|(name, _)| rank(name));
    let what: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    let what = if what.is_empty() { "-".to_owned() } else { line(&what.join(" ")) };
    format!("{:>8}  {:19}  {:18}  {what}\n", event.seq, times::shown_to_the_second(event.at), line(&event.kind))
}

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// A value as people read it; texts of several words in quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if is_hash(text) => text.chars().take(HASH_DIGITS).chain(['…']).collect(),
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}={}", plain(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Whether a text is a SHA-256 hash.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_come_first_and_what_says_nothing_does_not_come() {
        let fields = serde_json::json!({
            "closed": "ab".repeat(32), "detail": "", "grant": null, "heads": [{ "head": "cd".repeat(32), "records": 3 }],
            "reason": "CHG-1", "session": "S", "user": "alice", "destination": "root@db1",
        });
        let at = Timestamp::from_millis(0);
        let fields = fields.as_object().unwrap().clone();
        let row = as_row(&AuditRecord { seq: 1, at, kind: "x".to_owned(), fields });
        let what = "user=alice destination=root@db1 session=S reason=CHG-1 closed=abababab… heads=[{head=cdcdcdcd… \
                    records=3}]\n";
        assert!(row.ends_with(what), "{row}");
    }

    #[test]
    fn an_event_is_one_row_that_cannot_steer_the_terminal() {
        let fields = serde_json::json!({ "user": "alice", "reason": "no rule\n\u{1b}[2J\u{202e}", "bytes": 7 });
        let event = AuditRecord {
            seq: 12,
            at: Timestamp::from_millis(0),
            kind: "session.refused".to_owned(),
            fields: fields.as_object().unwrap().clone(),
        };
        let row = as_row(&event);
        assert_eq!(row.matches('\n').count(), 1);
        assert!(!row.contains(['\u{1b}', '\u{202e}']), "{row:?}");
        assert!(row.contains("user=alice") && row.contains("bytes=7") && row.contains("reason=\"no rule"), "{row:?}");
        assert!(!as_json(&event).unwrap().contains(['\n', '\u{202e}']));
    }
}
