//! Asking for a grant, and that one lasts longer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{
    AHEAD_MAX, ALL_OPEN_MAX, Actor, HOUR, HOURLY_MAX, OPEN_MAX, REASON_BYTES_MAX, REVIEWERS_MAX, RequestError,
    Requests, TICKET_BYTES_MAX, Wish, new_id,
};
use crate::grant::{
    AccessRequest, Asker, Entered, Grant, GrantState, Outcome, Quorum, RequestState, TicketSaid, matched,
};
use crate::ledger::{Step, StepKind, User};
use crate::model::{ChannelClass, Destination, GrantId, GroupName, Presence, RequestId, Timestamp, UserName};
use crate::policy::{Approvers, RequestRule, Rule, Text};

/// Tickets that are looked up at once: whoever waits for one has a place that others want.
const TICKETS_AT_ONCE: usize = 8;

impl Requests {
    /// Asks for a grant. What rules let nobody ask for is refused in the same words as what does not exist.
    ///
    /// # Errors
    /// `RequestError` says what to do.
    pub fn ask(&self, actor: Actor<'_>, wish: Wish) -> Result<AccessRequest, RequestError> {
        self.ask_as(actor, wish, None)
    }

    /// The same for an operator, who is `by`, in the name of `user`. `own` is the bastion user who the operator is: whoever is
    /// that human does not decide on it, and is told of it: that it is the operator's own name nobody has checked. Nothing is
    /// granted beforehand, and nothing by a rule whose grants are for the key that asked.
    ///
    /// # Errors
    /// `RequestError` says what to do.
    pub fn enter(&self, by: &str, own: &UserName, user: &UserName, wish: Wish) -> Result<AccessRequest, RequestError> {
        let operator = self.standing(own)?;
        // Who asks decides on nothing anyway: such a name would keep nobody out.
        if self.is_same_human(user, &operator) {
            return Err(RequestError::OwnName);
        }
        let entered = Entered { by: by.to_owned(), user: operator.name.clone(), person: operator.human().clone() };
        let asker = Asker {
            user,
            presence: Presence::NONE,
            key: "",
            source: std::net::IpAddr::from([127, 0, 0, 1]),
            mfa: None,
            since: None,
        };
        self.ask_as(Actor { asker, source: "" }, wish, Some(entered))
    }

    fn ask_as(&self, actor: Actor<'_>, wish: Wish, entered: Option<Entered>) -> Result<AccessRequest, RequestError> {
        let ticket_said = self.check_ticket(actor, &wish)?;
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let now = self.clock.now();
        let Wish { destination, span, from, channels, reason, ticket } = wish;
        let (rule, asked) = self.rule_for(&user, &destination, channels)?;
        let Some(wanted) = rule.grant.request.clone() else { return Err(RequestError::NotOffered) };
        let (reason, ticket) = texts(&wanted, reason, ticket)?;
        let span = span.unwrap_or(wanted.max);
        if span > wanted.max || span < Duration::from_secs(1) {
            return Err(RequestError::Span { most: wanted.max });
        }
        if from.is_some_and(|from| from > now.plus(AHEAD_MAX) || from < now.minus(HOUR)) {
            return Err(RequestError::TooFarAhead);
        }
        self.check_rate(&user, now)?;
        if wanted.bound_key && entered.is_some() {
            return Err(RequestError::OnlyByKey);
        }
        // What an operator enters takes the approvers, whatever the time.
        let preapproved = entered.is_none()
            && wanted.preapproved.iter().any(|window| window.covers(from.unwrap_or(now).max(now), span));
        let operator = entered.as_ref().and_then(|entered| self.ledger.user(&entered.user));
        let quorum = match self.quorum(&wanted.approvers, &user, operator.as_ref()) {
            // Nobody needs to be there: that is what it was approved beforehand for.
            Err(RequestError::NoReviewers { .. }) if preapproved => {
                let reviewers = self.ledger.reviewers(&wanted.approvers, &user, now);
                Quorum { approvers: wanted.approvers.clone(), reviewers }
            }
            quorum => quorum?,
        };
        let request = AccessRequest {
            id: new_id("r-", 6, RequestId::parse)?,
            version: 1,
            requester: user.name.clone(),
            person: user.human().clone(),
            destination,
            channels: asked,
            rule: rule.id.clone(),
            policy: self.ledger.policy().hash().clone(),
            extends: None,
            reason,
            ticket,
            ticket_said,
            entered,
            from: from.filter(|from| *from > now),
            seconds: span.as_secs(),
            asked: now,
            pending_until: now.plus(wanted.pending),
            activation_seconds: wanted.activation.map(|span| span.as_secs()),
            sessions: wanted.sessions,
            bound_key: wanted.bound_key.then(|| actor.asker.key.to_owned()),
            preapproved,
            glass: None,
            why: None,
            quorum,
            reviews: Vec::new(),
            stored: RequestState::Pending,
        };
        let (request, outcome) = if preapproved {
            let grant = request.grant(new_id("g-", 8, GrantId::parse)?, now);
            let stored = RequestState::Granted { grant: grant.id.clone() };
            (AccessRequest { stored, ..request }, Outcome::Begins(Box::new(grant)))
        } else {
            (request, Outcome::Waits)
        };
        let by = match &request.entered {
            Some(Entered { by, user: own, .. }) => format!("{by}, who is {own}, for {}", user.name),
            None => actor.shown(),
        };
        self.commit(Step { request, kind: StepKind::Asked, by, outcome, message: None })
    }

    /// Asks whether the ticket counts, while nobody else has to wait. No answer is a no.
    fn check_ticket(&self, actor: Actor<'_>, wish: &Wish) -> Result<Option<TicketSaid>, RequestError> {
        if self.tickets.is_none() {
            return Ok(None);
        }
        let user = self.standing(actor.asker.user)?;
        self.check_rate(&user, self.clock.now())?;
        let (rule, _) = self.rule_for(&user, &wish.destination, wish.channels.clone())?;
        let Some(wanted) = &rule.grant.request else { return Err(RequestError::NotOffered) };
        match texts(wanted, wish.reason.clone(), wish.ticket.clone())? {
            (_, Some(ticket)) => self.counts(&ticket, &user.name, &wish.destination),
            (_, None) => Ok(None),
        }
    }

    /// Whether the ticket system, if there is one, says that the ticket counts. A few are asked about at once.
    fn counts(
        &self,
        ticket: &str,
        user: &UserName,
        destination: &Destination,
    ) -> Result<Option<TicketSaid>, RequestError> {
        let Some(check) = &self.tickets else { return Ok(None) };
        // Others would be a path of the ticket system's.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '#' | '.' | ':');
        if !ticket.chars().all(plain) || !ticket.chars().any(|c| c.is_ascii_alphanumeric()) {
            return Err(RequestError::Ticket);
        }
        let asking = self.asking.fetch_add(1, Ordering::SeqCst);
        let said = match asking < TICKETS_AT_ONCE {
            true => check(ticket, user, destination).map(Some).map_err(RequestError::TicketRefused),
            false => Err(RequestError::TooMany("tickets are being looked up: try again in a moment")),
        };
        self.asking.fetch_sub(1, Ordering::SeqCst);
        said
    }

    /// Asks that the grant of a request lasts longer.
    ///
    /// # Errors
    /// `RequestError` says what to do.
    pub fn extend(
        &self,
        actor: Actor<'_>,
        id: &RequestId,
        span: Option<Duration>,
        reason: Option<String>,
    ) -> Result<AccessRequest, RequestError> {
        let first = self.own(id, actor.asker.user)?;
        let ticket_said = match &first.ticket {
            Some(ticket) => self.counts(ticket, &first.requester, &first.destination)?,
            None => None,
        };
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let now = self.clock.now();
        let first = self.own(id, &user.name)?;
        let RequestState::Granted { grant } = &first.stored else { return Err(RequestError::NotGranted) };
        let grant = self.ledger.grant(grant).ok_or(RequestError::NotGranted)?;
        match grant.state(now) {
            GrantState::Active | GrantState::Scheduled => {}
            GrantState::Ended | GrantState::Revoked => return Err(RequestError::GrantOver),
        }
        let rule = self.rule_now(&first).ok_or(RequestError::NotOffered)?;
        let Some(wanted) = rule.grant.request.clone() else { return Err(RequestError::NotOffered) };
        let waiting = |other: &AccessRequest| other.extends.as_ref() == Some(&grant.id) && !other.state(now).is_final();
        if let Some(other) = self.ledger.requests_where(waiting).into_iter().next() {
            return Err(RequestError::ExtendsAlready(other.id));
        }
        let left = wanted.total.saturating_sub(grant.from.until(grant.until));
        let span = span.unwrap_or_else(|| Duration::from_secs(first.seconds).min(left));
        if left < Duration::from_secs(1) {
            return Err(RequestError::NoMoreTime { total: wanted.total });
        }
        if span > left || span < Duration::from_secs(1) {
            return Err(RequestError::Span { most: left });
        }
        let (reason, ticket) = texts(&wanted, reason.unwrap_or_else(|| first.reason.clone()), first.ticket.clone())?;
        // The rule's quorum as it is now, and never a smaller one than the grant took.
        let count = wanted.approvers.count.max(first.quorum.approvers.count);
        let approvers = Approvers { count, ..wanted.approvers.clone() };
        self.check_rate(&user, now)?;
        let request = AccessRequest {
            id: new_id("r-", 6, RequestId::parse)?,
            version: 1,
            policy: self.ledger.policy().hash().clone(),
            extends: Some(grant.id.clone()),
            reason,
            ticket,
            ticket_said,
            entered: None,
            from: None,
            seconds: span.as_secs(),
            asked: now,
            // Too late once the grant is over.
            pending_until: now.plus(wanted.pending).min(grant.until),
            activation_seconds: None,
            quorum: self.quorum(&approvers, &user, None)?,
            // What the grant opens; an approver of more time changes nothing about that.
            channels: grant.channels.clone().unwrap_or_else(|| first.channels.clone()),
            preapproved: false,
            glass: None,
            reviews: Vec::new(),
            stored: RequestState::Pending,
            ..first
        };
        self.commit(Step { request, kind: StepKind::Asked, by: actor.shown(), outcome: Outcome::Waits, message: None })
    }

    /// The request by which this grant may be asked to last longer, if it may.
    pub fn extendable(&self, grant: &Grant) -> Option<RequestId> {
        let first = grant.request.as_ref().and_then(|id| self.ledger.request(id))?;
        let wanted = self.rule_now(&first)?.grant.request?;
        (grant.from.until(grant.until) < wanted.total).then_some(first.id)
    }

    /// The rule by which a user may ask there, and for what: the first that opens all of it.
    fn rule_for(
        &self,
        user: &User,
        destination: &Destination,
        channels: Option<BTreeSet<ChannelClass>>,
    ) -> Result<(Rule, BTreeSet<ChannelClass>), RequestError> {
        let (needing, standing) =
            self.ledger.request_rules(&user.name, destination).map_err(|_| RequestError::NotOffered)?;
        let open: BTreeSet<ChannelClass> = standing.iter().flat_map(|rule| rule.channels.iter().copied()).collect();
        let offered: Vec<&Rule> = needing.iter().filter(|rule| rule.grant.request.is_some()).collect();
        if offered.is_empty() {
            return Err(if !open.is_empty() && needing.is_empty() {
                RequestError::Needless
            } else {
                RequestError::NotOffered
            });
        }
        let Some(wanted) = channels else {
            let more = |rule: &&&Rule| !rule.channels.is_subset(&open);
            let Some(rule) = offered.iter().find(more) else { return Err(RequestError::Needless) };
            return Ok(((*rule).clone(), rule.channels.clone()));
        };
        if wanted.is_subset(&open) {
            return Err(RequestError::Needless);
        }
        match offered.iter().find(|rule| wanted.is_subset(&rule.channels)) {
            Some(rule) => Ok(((*rule).clone(), wanted)),
            None => {
                let all = offered.iter().flat_map(|rule| rule.channels.iter().copied()).collect();
                Err(RequestError::Channels { offered: all })
            }
        }
    }

    /// The rule of a request, as it is now; `None` if it is not about the requester and the place any more.
    pub(super) fn rule_now(&self, request: &AccessRequest) -> Option<Rule> {
        let (needing, _) = self.ledger.request_rules(&request.requester, &request.destination).ok()?;
        needing.into_iter().find(|rule| rule.id == request.rule)
    }

    /// Who decides: neither the one who asks, nor the operator who has entered it.
    pub(super) fn quorum(
        &self,
        approvers: &Approvers,
        asker: &User,
        operator: Option<&User>,
    ) -> Result<Quorum, RequestError> {
        let mut reviewers = self.ledger.reviewers(approvers, asker, self.clock.now());
        reviewers.retain(|name| operator.is_none_or(|operator| !self.is_same_human(name, operator)));
        if reviewers.len() > REVIEWERS_MAX {
            return Err(RequestError::TooManyReviewers);
        }
        let people: BTreeSet<UserName> =
            reviewers.iter().filter_map(|name| self.ledger.user(name)).map(|user| user.human().clone()).collect();
        let represented: Vec<BTreeSet<GroupName>> = reviewers
            .iter()
            .filter_map(|name| self.ledger.user(name))
            .map(|user| user.groups.intersection(&approvers.groups).cloned().collect())
            .collect();
        let enough = if approvers.distinct_groups { matched(&represented) } else { people.len() };
        if enough < usize::from(approvers.count) {
            return Err(RequestError::NoReviewers { approvers: approvers.to_string() });
        }
        Ok(Quorum { approvers: approvers.clone(), reviewers })
    }

    fn check_rate(&self, user: &User, now: Timestamp) -> Result<(), RequestError> {
        let open = self.ledger.requests_where(|request| !request.state(now).is_final());
        let lately = |request: &AccessRequest| request.person == *user.human() && request.asked.until(now) < HOUR;
        if open.iter().filter(|request| request.person == *user.human()).count() >= OPEN_MAX {
            Err(RequestError::TooMany("requests of yours wait already: cancel one, or wait"))
        } else if self.ledger.requests_where(lately).len() >= HOURLY_MAX {
            Err(RequestError::TooMany("requests of yours in one hour: wait"))
        } else if open.len() >= ALL_OPEN_MAX {
            Err(RequestError::TooMany("requests wait: tell an operator"))
        } else {
            Ok(())
        }
    }
}

/// The reason and the ticket, as the rule wants them.
fn texts(
    wanted: &RequestRule,
    reason: String,
    ticket: Option<String>,
) -> Result<(String, Option<String>), RequestError> {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
    let (reason, ticket) = (clean(&reason), ticket.map(|ticket| clean(&ticket)).filter(|ticket| !ticket.is_empty()));
    if reason.len() > REASON_BYTES_MAX {
        return Err(RequestError::TooLong { what: "the reason", most: REASON_BYTES_MAX });
    }
    if ticket.as_ref().is_some_and(|ticket| ticket.len() > TICKET_BYTES_MAX) {
        return Err(RequestError::TooLong { what: "the ticket", most: TICKET_BYTES_MAX });
    }
    if !wanted.reason.accepts(Some(&reason)) {
        return Err(RequestError::Reason);
    }
    // A ticket is often the first word of the reason.
    let first = reason.split_whitespace().next().map(str::to_owned);
    let ticket = match ticket {
        Some(ticket) => Some(ticket),
        None => first.filter(|word| matches!(wanted.ticket, Text::Matching(_)) && wanted.ticket.accepts(Some(word))),
    };
    if !wanted.ticket.accepts(ticket.as_deref()) {
        return Err(RequestError::Ticket);
    }
    Ok((reason, ticket))
}
