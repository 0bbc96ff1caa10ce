//! Access requests, for operators: to look, to cancel, and to ask in a user's name. Approving is not theirs: an operator gives
//! grants.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::{AccessRequestRow, Reply};
use super::{Admin, AdminError, Caller, done};
use crate::grant::AccessRequest;
use crate::model::{ChannelClass, Destination, RequestId, Timestamp, UserName};
use crate::requests::Wish;
use crate::screen::{line, plural, span_typed};

/// What an operator asks for in a user's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// Who the operator is, as a bastion user.
    pub own: UserName,
    /// For how long; `None`: as long as the rule lets.
    #[serde(rename = "for")]
    pub span: Option<Duration>,
    /// From when on.
    pub from: Option<Timestamp>,
    /// What shall be opened.
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// What it is for.
    pub reason: String,
    /// The ticket.
    pub ticket: Option<String>,
}

impl Admin {
    pub(super) fn request_list(&self, all: bool) -> Reply {
        let now = self.now();
        let owed = |request: &AccessRequest| request.glass.as_ref().is_some_and(|glass| glass.judged.is_none());
        let open = |request: &AccessRequest| all || !request.state(now).is_final() || owed(request);
        let mut requests = self.parts.ledger.requests_where(open);
        requests.sort_by(|a, b| (a.asked, &a.id).cmp(&(b.asked, &b.id)));
        Reply::AccessRequests { requests: requests.into_iter().map(|request| row(request, now)).collect() }
    }

    pub(super) fn request_show(&self, id: &RequestId) -> Result<Reply, AdminError> {
        let unknown = || AdminError::Request(crate::requests::RequestError::Unknown);
        let request = self.parts.ledger.request(id).ok_or_else(unknown)?;
        let told = self.parts.ledger.messages().into_iter().filter(|message| message.request == *id).collect();
        Ok(Reply::AccessRequest { request: Box::new(row(request, self.now())), told })
    }

    pub(super) fn request_add(&self, caller: Caller, new: NewRequest) -> Result<Reply, AdminError> {
        let NewRequest { user, destination, own, span, from, channels, reason, ticket } = new;
        // Else the operator would read what is for the user.
        for name in [&user, &own] {
            if self.known_user(name)?.is_suspended(self.now()) {
                let why = format!("user `{name}` is suspended, or their end date is over");
                return Err(AdminError::Refused { why, hint: "`doorward user list` shows it" });
            }
        }
        let wish = Wish { destination, span, from, channels, reason, ticket };
        let entered = self.parts.requests.enter(&caller.to_string(), &own, &user, wish).map_err(AdminError::Request)?;
        let (span, purpose) = (span_typed(entered.narrowed().0), line(&entered.purpose()));
        let what = format!("{} for {span}: {purpose}", entered.destination);
        for live in self.parts.sessions.list() {
            if entered.quorum.reviewers.contains(&live.user) || live.user == own {
                let text = format!("{user} asks, entered by {own}, for {what}. ssh USER@BASTION show {}", entered.id);
                self.parts.sessions.say(&live.id, text);
            }
        }
        Ok(Reply::AccessRequest { request: Box::new(row(entered, self.now())), told: Vec::new() })
    }

    /// Closes what the rules let nobody grant any more, and tells those who asked; says how many there were.
    pub(super) fn supersede(&self) -> Option<String> {
        let closed = match self.parts.requests.supersede() {
            Ok(closed) => closed,
            Err(failure) => return Some(format!("warning: requests that wait were not all looked at: {failure}")),
        };
        let sessions = self.parts.sessions.list();
        for request in &closed {
            let why = request.why.as_deref().unwrap_or("the rules have changed");
            let text = format!("your request {} to {} is superseded: {why}", request.id, request.destination);
            let own = sessions.iter().filter(|live| live.user == request.requester);
            for live in own {
                self.parts.sessions.say(&live.id, text.clone());
            }
        }
        let count = closed.len();
        (count > 0).then(|| format!("{count} access {} superseded; who asked is told", plural(count, "request")))
    }

    pub(super) fn request_cancel(&self, caller: Caller, id: &RequestId) -> Result<Reply, AdminError> {
        let request = self.parts.requests.cancel_any(&caller.to_string(), id).map_err(AdminError::Request)?;
        let of = format!("of {} to {}", request.requester, request.destination);
        Ok(done(format!("request `{id}` {of} cancelled"), Vec::new()))
    }
}

fn row(request: AccessRequest, now: Timestamp) -> AccessRequestRow {
    AccessRequestRow { state: request.state(now).word().to_owned(), request }
}
