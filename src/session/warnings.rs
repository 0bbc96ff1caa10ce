//! What a session's terminals are told of its end before it comes; each records what it shows.

use std::time::Duration;

use super::Visit;
use crate::policy::BoundBy;
use crate::screen::span_said;

impl Visit {
    /// The session's time is nearly over.
    pub(super) fn warn(&self, left: Duration) {
        let user = self.visitor.user.user();
        let live = self.live.as_ref();
        let grant = live.and_then(|live| live.permit.grant());
        let request = grant.and_then(|grant| self.bastion.requests.extendable(grant));
        let longer = match (live.and_then(|live| live.registration.bound_by()), request) {
            (Some(BoundBy::Hours), _) => String::from("The hours that your right is for end then."),
            (Some(BoundBy::Length), _) => String::from("The session has then lasted as long as it may: connect again."),
            (Some(BoundBy::User), _) => {
                String::from("Your time at this bastion ends then: ask an operator if it should not.")
            }
            (Some(BoundBy::Grant) | None, Some(request)) => format!("Extend: ssh {user}@BASTION extend {request}"),
            (Some(BoundBy::Grant) | None, None) => String::from("Ask an operator if you need longer."),
        };
        self.tell_terminals(&format!("{} left. {longer}", span_said(left)));
    }

    /// Nothing has gone through the session for long.
    pub(super) fn warn_of_silence(&self, left: Duration) {
        self.tell_terminals(&format!(
            "nothing is typed or shown here. Without a sign of life the session ends in {}.",
            span_said(left)
        ));
    }
}
