//! What a session is about to rest on: a request that was approved and begins with it, a grant for so many sessions.

use std::sync::Arc;

use tracing::warn;

use super::{EndCause, Refusal, Registration, Visit};
use crate::grant::{Denial, Permit};
use crate::ledger::{Ledger, LedgerError};
use crate::listener::ChannelStart;
use crate::model::{Asked, ChannelClass, Destination, GrantId, Program, SessionId};
use crate::requests::Actor;

/// What a program asks of the policy, as it was started: with a terminal, where it has one.
pub(super) fn asked_on(start: &ChannelStart, class: ChannelClass) -> Asked {
    match class {
        ChannelClass::Shell | ChannelClass::Exec if start.terminal.is_some() => Asked::on_terminal(class),
        ChannelClass::Shell
        | ChannelClass::Exec
        | ChannelClass::SftpRead
        | ChannelClass::SftpWrite
        | ChannelClass::LocalForward
        | ChannelClass::LocalForwardUnix
        | ChannelClass::RemoteForward
        | ChannelClass::RemoteForwardUnix
        | ChannelClass::Agent
        | ChannelClass::X11
        | ChannelClass::Desktop => class.into(),
    }
}

impl Visit {
    /// Where nothing else lets a session begin, begins a request of the user's that was approved and waits for that.
    ///
    /// # Errors
    /// `Denied` if the user must first do what nobody can be asked for here.
    pub(super) async fn begin_approved(
        &self,
        start: &ChannelStart,
        destination: &Destination,
        program: &Program,
    ) -> Result<(), Refusal> {
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        let all: Vec<Asked> = program.classes().iter().map(|class| asked_on(start, *class)).collect();
        let may = |asked: &Asked| self.bastion.ledger.permit_asked(asker, destination, asked, now).is_ok();
        let locked = || self.bastion.ledger.lock_on(asker.user, destination, None, now).is_some();
        if self.live.is_some()
            || locked()
            || all.iter().any(may)
            || !self.bastion.requests.waits_at(asker.user, destination)
        {
            return Ok(());
        }
        // Its time is not spent on a session that would be refused all the same.
        let ledger = &self.bastion.ledger;
        let might = |asked: &Asked| ledger.might_now(asker, destination, asked, now);
        if !all.iter().any(might) {
            let lacks = |asked: &Asked| ledger.unassured(asker, destination, asked, now);
            return all.iter().find_map(lacks).map_or(Ok(()), |denial| Err(Refusal::Denied(denial)));
        }
        let (bastion, visitor, destination) =
            (Arc::clone(&self.bastion), Arc::clone(&self.visitor), destination.clone());
        let classes = program.classes().to_vec();
        let begun = tokio::task::spawn_blocking(move || {
            let actor = Actor { asker: visitor.asker(), source: &visitor.source };
            let begin = |class: ChannelClass| bastion.requests.begin_at(actor, &destination, class).transpose();
            classes.into_iter().find_map(begin).transpose()
        });
        // What is not begun is refused in a moment, with the reason that the rules give.
        if let Ok(Err(failure)) = begun.await {
            warn!(user = %self.connection.user.user(), error = %failure, "An approved request cannot begin");
        }
        Ok(())
    }

    /// Counts the session among those that its user has by the rule, unless there are as many as may be.
    pub(super) fn has_room(&self, permit: &Permit, registration: &Registration) -> Result<(), Refusal> {
        match permit.limits().sessions {
            most if registration.counts_by(permit.rule(), most) => Ok(()),
            Some(most) => Err(Refusal::Denied(Denial::TooManySessions { rule: permit.rule().clone(), most })),
            None => Err(Refusal::Ended(EndCause::Fault)),
        }
    }

    /// Counts the session where its grant is for so many, before anything is opened.
    pub(super) async fn count_session(&self, permit: &Permit, session: &SessionId) -> Result<(), Refusal> {
        let Some(grant) = limited(permit) else { return Ok(()) };
        let (id, session) = (grant.clone(), session.clone());
        // Nothing of it is in the log yet, so its leaf comes behind all that is published.
        let from = self.bastion.audit.size();
        self.count(grant, move |ledger| ledger.begin_on(&id, &session, from)).await
    }

    /// Counts a live session where it goes on by a grant that is for so many.
    async fn count_joining(&self, permit: &Permit) -> Result<(), Refusal> {
        let Some(grant) = limited(permit) else { return Ok(()) };
        let id = grant.clone();
        self.count(grant, move |ledger| ledger.joins(&id)).await
    }

    async fn count(
        &self,
        grant: GrantId,
        count: impl FnOnce(&Ledger) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), Refusal> {
        let ledger = Arc::clone(&self.bastion.ledger);
        match tokio::task::spawn_blocking(move || count(&ledger)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(LedgerError::Spent { .. })) => Err(Refusal::Denied(Denial::GrantSpent { grant })),
            Ok(Err(failure)) => Err(Refusal::Denied(Denial::Undecided { cause: failure.to_string() })),
            Err(failure) => Err(Refusal::Denied(Denial::Undecided { cause: failure.to_string() })),
        }
    }

    /// Counts a live session by the rules and grants of a channel that is about to open, as far as it has not been: what is for
    /// so many sessions is for no more of them by their further channels.
    pub(super) async fn count_channel(&mut self, destination: &Destination, asked: &[Asked]) -> Result<(), Refusal> {
        let now = self.bastion.clock.now();
        for asked in asked {
            // What is not permitted is refused in a moment.
            let permit = self.bastion.ledger.permit_asked(self.visitor.asker(), destination, asked, now);
            let Ok(permit) = permit else { continue };
            if let Some(live) = &self.live {
                self.has_room(&permit, &live.registration)?;
            }
            let Some(grant) = permit.grant().map(|grant| grant.id.clone()) else { continue };
            if self.live.as_ref().is_some_and(|live| !live.counted.contains(&grant)) {
                self.count_joining(&permit).await?;
                if let Some(live) = &mut self.live {
                    live.counted.insert(grant.clone());
                }
            }
        }
        Ok(())
    }

    /// A session that did not begin does not count.
    pub(super) async fn uncount_session(&self, permit: &Permit, session: &SessionId) {
        let Some(grant) = limited(permit) else { return };
        let (ledger, session) = (Arc::clone(&self.bastion.ledger), session.clone());
        if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || ledger.not_begun_on(&grant, &session)).await {
            warn!(error = %failure, "A session that did not begin counts as one of its grant's");
        }
    }

    /// A session that has begun counts for good. Nobody waits for that: the log says the same to the next start.
    pub(super) fn keep_count(&self, permit: &Permit, session: &SessionId) {
        if limited(permit).is_none() {
            return;
        }
        let (ledger, session) = (Arc::clone(&self.bastion.ledger), session.clone());
        drop(tokio::task::spawn_blocking(move || {
            if let Err(failure) = ledger.has_begun(&session) {
                warn!(session = %session, error = %failure, "That a session has begun is in the log only");
            }
        }));
    }
}

/// The grant of a permit, if it is for so many sessions.
fn limited(permit: &Permit) -> Option<GrantId> {
    permit.grant().filter(|grant| grant.sessions.is_some()).map(|grant| grant.id.clone())
}
