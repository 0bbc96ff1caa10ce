//! Commands that wait for somebody's yes, among what is asked of requests: the same verbs, with the decision's id.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

use super::super::{Bastion, Visitor};
use super::Form;
use super::ask::Ask;
use super::own::{columns, json};
use crate::audit::CommandStart;
use crate::grant::{Opinion, RequestState, Verdict};
use crate::model::{Destination, RequestId, SessionId, Timestamp, UserName, join};
use crate::requests::{Actor, HeldCommand, RequestError, is_decision};
use crate::screen::{line, padded};

/// Commands in one list.
const LISTED_MAX: usize = 200;
/// So much of a command stands in a list, which a terminal of 80 columns breaks once at most.
const LISTED_CHARS_MAX: usize = 60;
/// So much of a value stands in a line: with its name it fits on a terminal of 80 columns.
const VALUE_CHARS_MAX: usize = 64;
/// Where a value goes on.
const MORE: &str = "+";
/// So many letters of other scripts are told one by one.
const LETTERS_SHOWN: usize = 8;

/// Does what is asked of a command that waits; `None` if it is asked of an access request.
///
/// # Errors
/// Why it is not done.
pub(super) fn settle(
    bastion: &Bastion,
    visitor: &Visitor,
    ask: &Ask,
    form: Form,
) -> Option<Result<String, RequestError>> {
    let requests = &bastion.requests;
    let actor = Actor { asker: visitor.user.asker(), source: &visitor.source };
    let user = visitor.user.user();
    let now = bastion.clock.now();
    let done = match ask {
        Ask::Show(id) if is_decision(id) => match requests.command_seen_by(user, id) {
            Ok(held) if form == Form::Text => return Some(Ok(shown(&held, now))),
            held => held,
        },
        Ask::Review(id, opinion) if is_decision(id) => requests.review_command(actor, id, opinion.clone()),
        Ask::Cancel(id) if is_decision(id) => requests.withdraw_command(actor, id),
        Ask::For(_)
        | Ask::List
        | Ask::Show(_)
        | Ask::Review(..)
        | Ask::Cancel(_)
        | Ask::Extend(..)
        | Ask::Begin(_)
        | Ask::GiveBack(_)
        | Ask::BreakGlass(..)
        | Ask::Judge(..) => return None,
    };
    Some(done.map(|held| match form {
        Form::Json => json(&View::of(&held, now)),
        Form::Text => told(ask, &held, now),
    }))
}

/// One line of what was done.
fn told(ask: &Ask, held: &HeldCommand, now: Timestamp) -> String {
    let request = &held.request;
    let done = match ask {
        Ask::Review(_, Opinion { verdict: Verdict::Approve, .. }) => "approved",
        Ask::Review(_, Opinion { verdict: Verdict::Deny, .. }) => "denied",
        Ask::Cancel(_) => "withdrawn",
        Ask::For(_)
        | Ask::List
        | Ask::Show(_)
        | Ask::Extend(..)
        | Ask::Begin(_)
        | Ask::GiveBack(_)
        | Ask::BreakGlass(..)
        | Ask::Judge(..) => "done",
    };
    let next = match request.state(now) {
        RequestState::Pending => String::from("others must say yes, too"),
        RequestState::Approved { .. } => String::from("it runs now, once"),
        RequestState::Denied
        | RequestState::Cancelled
        | RequestState::Expired
        | RequestState::Granted { .. }
        | RequestState::Superseded => String::from("it does not run"),
    };
    let typed = short(&held.wish.judged.line);
    format!("{done}  {}  {} at {}: {typed}  {next}\n", request.id, request.requester, request.destination)
}

/// What `requests` says of them, before the access requests.
pub(super) fn listed(commands: &[HeldCommand], reader: &UserName, now: Timestamp) -> String {
    let mut text = String::new();
    let (own, others): (Vec<_>, Vec<_>) =
        commands.iter().take(LISTED_MAX).partition(|held| held.request.requester == *reader);
    for (title, all) in [("Commands for you to decide:\n", others), ("Commands of yours that wait:\n", own)] {
        if all.is_empty() {
            continue;
        }
        let row = |held: &&HeldCommand| {
            let request = &held.request;
            [
                format!("  {}", request.id),
                format!("{} at {}", request.requester, request.destination),
                short(&held.wish.judged.line),
                format!("by {}", request.pending_until.clock_time_from(now)),
            ]
        };
        text.push_str(title);
        text.push_str(&columns(all.iter().map(row).collect::<Vec<_>>().iter()));
    }
    text
}

/// What `show` says: all that whoever decides must know.
fn shown(held: &HeldCommand, now: Timestamp) -> String {
    let HeldCommand { request, wish } = held;
    let judged = &wish.judged;
    let mut rows = vec![
        [String::from("command"), request.id.to_string()],
        [String::from("state"), request.state(now).to_string()],
        [String::from("who"), request.requester.to_string()],
        [String::from("where"), request.destination.to_string()],
        [String::from("session"), judged.session.to_string()],
    ];
    let mut add = |name: &str, value: String| rows.push([name.to_owned(), value]);
    if !wish.purpose.is_empty() {
        add("for", line(&wish.purpose));
    }
    add("typed", line(&judged.line));
    for CommandStart { words, effects, .. } in &judged.starts {
        let effects = if effects.is_empty() { String::from("no known effect") } else { line(&effects.join(", ")) };
        add("starts", format!("{}  ({effects})", line(words)));
    }
    add("sent", line(judged.sent.as_deref().unwrap_or(&judged.line)));
    if let Some(letters) = strange_letters(&judged.line) {
        add("beware", letters);
    }
    add("not shown", String::from("its standard input: that is not part of what is approved"));
    add("rule", judged.rule.as_ref().map_or_else(|| String::from("none"), ToString::to_string));
    if let Some(reason) = &wish.reason {
        add("because", line(reason));
    }
    add("takes", format!("{} ({})", request.quorum.approvers, join(request.quorum.reviewers.iter())));
    add("waits until", request.pending_until.clock_time_from(now));
    let mut text = folded(&rows);
    for review in &request.reviews {
        let what = match review.verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
        };
        let _ = writeln!(text, "{what} by {} at {}", review.by, review.at.clock_time_from(now));
    }
    text
}

/// Rows of a name and a value, the value over as many lines as it takes, each with its mark. A terminal that breaks them by
/// itself would show the end of a long word where a row begins: whoever asks could write a row of their own.
fn folded(rows: &[[String; 2]]) -> String {
    let width = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for [name, value] in rows {
        let (mut name, mut rest) = (padded(name, width), value.as_str());
        loop {
            let end = rest.char_indices().nth(VALUE_CHARS_MAX).map_or(rest.len(), |(at, _)| at);
            let (now, later) = rest.split_at(end);
            let _ = writeln!(text, "{name}  {now}");
            if later.is_empty() {
                break;
            }
            (name, rest) = (format!("{MORE:>width$}"), later);
        }
    }
    text
}

/// The letters of other scripts, which may look like those that everybody knows: by their numbers.
fn strange_letters(text: &str) -> Option<String> {
    let found: BTreeSet<char> = text.chars().filter(|c| !c.is_ascii()).collect();
    let shown: Vec<String> = found
        .iter()
        .take(LETTERS_SHOWN)
        .map(|c| format!("{} (U+{:04X})", line(&c.to_string()), u32::from(*c)))
        .collect();
    let more = if found.len() > shown.len() { ", ..." } else { "" };
    (!found.is_empty()).then(|| format!("what may look like other letters: {}{more}", shown.join(", ")))
}

/// A command in a list, cut.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(LISTED_CHARS_MAX).collect();
    if text.chars().nth(LISTED_CHARS_MAX).is_some() {
        short.push('…');
    }
    line(&short)
}

/// A command that waits, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    command: &'a RequestId,
    state: &'static str,
    requester: &'a UserName,
    destination: &'a Destination,
    session: &'a SessionId,
    purpose: &'a str,
    line: &'a str,
    sent: &'a str,
    starts: &'a [CommandStart],
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    policy: &'a str,
    expires: Timestamp,
    quorum: String,
    reviewers: Vec<&'a UserName>,
    approved_by: Vec<&'a UserName>,
}

impl<'a> View<'a> {
    pub(super) fn of(held: &'a HeldCommand, now: Timestamp) -> Self {
        let HeldCommand { request, wish } = held;
        let judged = &wish.judged;
        let yes = |review: &&'a crate::grant::Review| review.verdict == Verdict::Approve;
        Self {
            command: &request.id,
            state: request.state(now).word(),
            requester: &request.requester,
            destination: &request.destination,
            session: &judged.session,
            purpose: &wish.purpose,
            line: &judged.line,
            sent: judged.sent.as_deref().unwrap_or(&judged.line),
            starts: &judged.starts,
            rule: judged.rule.as_ref().map(ToString::to_string),
            policy: &judged.policy,
            expires: request.pending_until,
            quorum: request.quorum.approvers.to_string(),
            reviewers: request.quorum.reviewers.iter().collect(),
            approved_by: request.reviews.iter().filter(yes).map(|review| &review.by).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_command_begins_a_row_of_what_an_approver_reads() {
        let spoofed = format!("{}sent         /usr/bin/uptime", " ".repeat(80));
        let text = folded(&[["typed".to_owned(), spoofed], ["waits until".to_owned(), "x".to_owned()]]);
        assert!(text.lines().all(|line| line.chars().count() < 80 && !line.starts_with("sent")), "{text}");
        assert!(text.contains("\n          +  ") && text.ends_with("waits until  x\n"), "{text}");
    }

    #[test]
    fn a_value_of_any_length_can_be_shown() {
        let long = "x".repeat(70_000);
        assert!(folded(&[["typed".to_owned(), long.clone()]]).len() > 70_000);
        assert!(columns([[long, "y".to_owned()]].iter()).contains("x  y"));
    }

    #[test]
    fn letters_that_look_like_others_are_told() {
        assert_eq!(strange_letters("rm /srv/data"), None);
        let told = strange_letters("rm /srv/d\u{430}t\u{430}").unwrap();
        assert!(told.ends_with("\u{430} (U+0430)"), "{told}");
    }
}
