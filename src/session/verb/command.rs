//! Commands that wait for somebody's yes, among what is asked of requests: the same verbs, with the decision's id.

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
use crate::screen::line;

/// Commands in one list.
const LISTED_MAX: usize = 200;

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
    let typed = line(&held.wish.judged.line);
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
                line(&held.wish.judged.line),
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
    add("not shown", String::from("what it reads from its standard input: that is not part of what is approved"));
    add("rule", judged.rule.as_ref().map_or_else(|| String::from("none"), ToString::to_string));
    if let Some(reason) = &wish.reason {
        add("because", line(reason));
    }
    add("takes", format!("{} ({})", request.quorum.approvers, join(request.quorum.reviewers.iter())));
    add("waits until", request.pending_until.clock_time_from(now));
    let mut text = columns(rows.iter());
    for review in &request.reviews {
        let what = match review.verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
        };
        let _ = writeln!(text, "{what} by {} at {}", review.by, review.at.clock_time_from(now));
    }
    text
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
