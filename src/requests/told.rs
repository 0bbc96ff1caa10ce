//! What people are told of a step: the approvers that something waits for them, the requester what became of it.

use std::collections::{BTreeMap, BTreeSet};

use ring::rand::{SecureRandom, SystemRandom};

use super::{RequestError, Step, StepKind};
use crate::grant::{AccessRequest, RequestState, Review, Verdict};
use crate::ledger::{Delivery, Message};
use crate::model::{Timestamp, UserName, join};
use crate::screen::{line, span_typed};

/// The message about a step; none if nobody needs to know, or there is no way.
pub(super) fn message(step: &Step, ways: &[String], now: Timestamp) -> Option<Message> {
    let Step { request, kind, .. } = step;
    let requester = || BTreeSet::from([request.requester.clone()]);
    let reviewers = || request.quorum.reviewers.clone();
    let what = what(request);
    let id = &request.id;
    let (event, to, subject, next) = match (kind, &request.stored) {
        (StepKind::Asked, RequestState::Granted { .. }) => (
            "request.create",
            reviewers(),
            format!("{} has {what} (approved beforehand)", request.requester),
            format!("To end it: `doorward grant revoke`. All of it: ssh USER@BASTION show {id}"),
        ),
        (StepKind::Asked, _) => (
            "request.create",
            // In whose name it was entered should know, too: whom it is for, and who the operator says to be.
            reviewers()
                .into_iter()
                .chain(request.entered.iter().flat_map(|entered| [request.requester.clone(), entered.user.clone()]))
                .collect(),
            match &request.entered {
                None => format!("{} asks for {what}", request.requester),
                Some(entered) => format!("{} asks, entered by {}, for {what}", request.requester, entered.user),
            },
            format!(
                "To decide: ssh USER@BASTION show {id}; approve {id}; deny {id}. It waits until {}.",
                request.pending_until
            ),
        ),
        // Nothing is decided yet: who must still say something was told when it was asked.
        (StepKind::Reviewed, RequestState::Pending) => return None,
        (StepKind::Reviewed | StepKind::Closed, state) => (
            "request.step",
            requester(),
            format!("{id} is {state}{}: {what}", said(request)),
            match &request.why {
                Some(why) => format!("Because {why}. All of it: ssh {}@BASTION show {id}", request.requester),
                None => format!("All of it: ssh {}@BASTION show {id}", request.requester),
            },
        ),
        (StepKind::Begun, _) => return None,
        (StepKind::Broken, _) => (
            "breakglass.open",
            reviewers(),
            format!("ALERT: {} breaks the glass for {what}", request.requester),
            format!(
                "Nobody approved this. To watch and to end it: `doorward session list`, `doorward grant revoke`. To review it, \
                 by {}: ssh USER@BASTION review {id} ok|misuse --note TEXT",
                request.glass.as_ref().map_or(now, |glass| glass.due)
            ),
        ),
        (StepKind::Overdue, _) => (
            "breakglass.overdue",
            reviewers(),
            format!("ALERT: nobody has reviewed {id}: {} broke the glass for {what}", request.requester),
            format!(
                "It was due {}, and this is told each day until somebody does. {} breaks no other before: ssh USER@BASTION \
                 review {id} ok|misuse",
                request.glass.as_ref().map_or(now, |glass| glass.due),
                request.requester
            ),
        ),
        (StepKind::Judged, _) => {
            let judged = request.glass.as_ref().and_then(|glass| glass.judged.as_ref())?;
            ("breakglass.review", requester(), format!("{id} was reviewed: {}", judged.finding), judged.note.clone())
        }
    };
    let alert = matches!(kind, StepKind::Broken | StepKind::Overdue);
    // An alert is for whoever hears a webhook, too, where nobody is left whom it is for.
    if ways.is_empty() || (to.is_empty() && !alert) {
        return None;
    }
    let first = Delivery::Waiting { tries: 0, next: now };
    Some(Message {
        id: id_of(now)?,
        at: now,
        event: event.to_owned(),
        request: id.clone(),
        to,
        text: format!("{subject}\n\n{}\n{next}\n", detail(request)),
        subject,
        alert,
        command: None,
        ways: ways.iter().map(|way| (way.clone(), first.clone())).collect::<BTreeMap<_, _>>(),
    })
}

/// The message about a step of which people may have been told before it was done. Then it is the same one, and who has
/// taken it is not told again.
pub(super) fn again(step: &Step, ways: &[String], now: Timestamp) -> Option<Message> {
    let fresh = message(step, ways, now);
    let Some(earlier) = &step.message else { return fresh };
    let fresh = fresh.unwrap_or_else(|| Message { ways: BTreeMap::new(), ..earlier.clone() });
    let taken = earlier.ways.iter().filter(|(_, delivery)| delivery.is_over());
    let taken = taken.map(|(way, delivery)| (way.clone(), delivery.clone()));
    Some(Message { id: earlier.id.clone(), ways: fresh.ways.into_iter().chain(taken).collect(), ..fresh })
}

/// That a glass was not broken, for those to whom its alarm was raised.
pub(super) fn all_clear(alarm: &Step, why: &RequestError, now: Timestamp) -> Option<Message> {
    let Step { request, message, .. } = alarm;
    let raised = message.as_ref()?;
    let first = Delivery::Waiting { tries: 0, next: now };
    let subject = format!("NOT BROKEN: {} did not break the glass for {}", request.requester, what(request));
    let next = format!("The alert of {} is over: nothing was opened. {} was told: {why}", raised.at, request.requester);
    Some(Message {
        id: id_of(now)?,
        at: now,
        event: "breakglass.failed".to_owned(),
        text: format!("{subject}\n\n{}\n{next}\n", detail(request)),
        subject,
        ways: raised.ways.keys().map(|way| (way.clone(), first.clone())).collect(),
        ..raised.clone()
    })
}

/// What those who decided a request have said with it, in brackets; nothing if they said nothing.
pub fn said(request: &AccessRequest) -> String {
    let verdict = match request.stored {
        RequestState::Denied => Verdict::Deny,
        RequestState::Approved { .. } | RequestState::Granted { .. } => Verdict::Approve,
        RequestState::Pending | RequestState::Cancelled | RequestState::Expired | RequestState::Superseded => {
            return String::new();
        }
    };
    let counts = |review: &&Review| review.verdict == verdict && !review.note.is_empty();
    let words = request.reviews.iter().filter(counts).map(|review| format!("{}: {}", review.by, line(&review.note)));
    let words: Vec<String> = words.collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

/// In a few words.
fn what(request: &AccessRequest) -> String {
    let span = span_typed(request.narrowed().0);
    match &request.extends {
        Some(grant) => format!("{span} more of {grant} ({}): {}", request.destination, line(&request.purpose())),
        None => {
            let from = request.from.map_or(String::new(), |from| format!(" from {from}"));
            format!("{} for {span}{from}: {}", request.destination, line(&request.purpose()))
        }
    }
}

fn detail(request: &AccessRequest) -> String {
    let all = &request.quorum.reviewers;
    let mut reviewers: Vec<&str> = all.iter().take(8).map(UserName::as_str).collect();
    if all.len() > reviewers.len() {
        reviewers.push("...");
    }
    let mut more = String::new();
    if let Some(entered) = &request.entered {
        more += &format!(
            "To {}: entered in your name by {}. If that was not you, tell the operators.\n\n",
            entered.user, entered.by
        );
    }
    if let Some(from) = request.from {
        more += &format!("from      {from}\n");
    }
    if let Some(most) = request.sessions {
        more += &format!("sessions  at most {most}\n");
    }
    more + &format!(
        "request   {}\nwho       {}\nwhere     {}\nchannels  {}\nreason    {}\nrule      {}\ntakes     {} ({})\n",
        request.id,
        request.requester,
        request.destination,
        join(&request.narrowed().1),
        line(&request.reason),
        request.rule,
        request.quorum.approvers,
        join(reviewers),
    )
}

/// Later ones sort behind.
pub(super) fn id_of(now: Timestamp) -> Option<String> {
    let mut random = [0_u8; 16];
    SystemRandom::new().fill(&mut random).ok()?;
    let ms = u64::try_from(now.as_millis()).unwrap_or(0);
    Some(format!("m-{}", ulid::Ulid::from_parts(ms, u128::from_be_bytes(random) >> 48)))
}
