//! What a session is about to rest on: a request that was approved and begins with it, a grant for so many sessions.

use std::sync::Arc;

use tracing::warn;

use super::{Bastion, EndCause, Refusal, Registration, Visit, Visitor};
use crate::grant::{Denial, Permit};
use crate::ledger::{Ledger, LedgerError};
use crate::listener::ChannelStart;
use crate::model::{Asked, ChannelClass, Destination, GrantId, SessionId};
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

/// Where nothing else lets a session begin, begins a request of the user's that was approved and waits for that.
///
/// # Errors
/// `Denied` if the user must first do what nobody can be asked for here.
pub(super) async fn begin_approved(
    bastion: &Arc<Bastion>,
    visitor: &Arc<Visitor>,
    destination: &Destination,
    all: &[Asked],
) -> Result<(), Refusal> {
    let (asker, now, ledger) = (visitor.asker(), bastion.clock.now(), &bastion.ledger);
    let may = |asked: &Asked| ledger.permit_asked(asker, destination, asked, now).is_ok();
    let locked = || ledger.lock_on(asker.user, destination, None, now).is_some();
    if locked() || all.iter().any(may) || !bastion.requests.waits_at(asker.user, destination) {
        return Ok(());
    }
    // Its time is not spent on a session that would be refused all the same.
    if !all.iter().any(|asked| ledger.might_now(asker, destination, asked, now)) {
        let lacks = |asked: &Asked| ledger.unassured(asker, destination, asked, now);
        return all.iter().find_map(lacks).map_or(Ok(()), |denial| Err(Refusal::Denied(denial)));
    }
    let begun = {
        let (bastion, visitor, destination) = (Arc::clone(bastion), Arc::clone(visitor), destination.clone());
        let classes: Vec<ChannelClass> = all.iter().map(|asked| asked.class).collect();
        tokio::task::spawn_blocking(move || {
            let actor = Actor { asker: visitor.asker(), source: &visitor.source };
            let begin = |class: ChannelClass| bastion.requests.begin_at(actor, &destination, class).transpose();
            classes.into_iter().find_map(begin).transpose()
        })
    };
    // What is not begun is refused in a moment, with the reason that the rules give.
    if let Ok(Err(failure)) = begun.await {
        warn!(user = %visitor.user.user(), error = %failure, "An approved request cannot begin");
    }
    Ok(())
}

/// Counts the session among those that its user has by the rule, unless there are as many as may be.
pub(super) fn has_room(permit: &Permit, registration: &Registration) -> Result<(), Refusal> {
    match permit.limits().sessions {
        most if registration.counts_by(permit.rule(), most) => Ok(()),
        Some(most) => Err(Refusal::Denied(Denial::TooManySessions { rule: permit.rule().clone(), most })),
        None => Err(Refusal::Ended(EndCause::Fault)),
    }
}

/// The grant of a permit, if it is for so many sessions.
fn limited(permit: &Permit) -> Option<GrantId> {
    permit.grant().filter(|grant| grant.sessions.is_some()).map(|grant| grant.id.clone())
}

/// Counts the session where its grant is for so many, before anything is opened.
pub(super) async fn count_session(bastion: &Bastion, permit: &Permit, session: &SessionId) -> Result<(), Refusal> {
    let Some(grant) = limited(permit) else { return Ok(()) };
    let (id, session) = (grant.clone(), session.clone());
    // Nothing of it is in the log yet, so its leaf comes behind all that is published.
    let from = bastion.audit.size();
    count(bastion, grant, move |ledger| ledger.begin_on(&id, &session, from)).await
}

/// Counts a live session where it goes on by a grant that is for so many.
async fn count_joining(bastion: &Bastion, permit: &Permit) -> Result<(), Refusal> {
    let Some(grant) = limited(permit) else { return Ok(()) };
    let id = grant.clone();
    count(bastion, grant, move |ledger| ledger.joins(&id)).await
}

async fn count(
    bastion: &Bastion,
    grant: GrantId,
    count: impl FnOnce(&Ledger) -> Result<(), LedgerError> + Send + 'static,
) -> Result<(), Refusal> {
    let ledger = Arc::clone(&bastion.ledger);
    match tokio::task::spawn_blocking(move || count(&ledger)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(LedgerError::Spent { .. })) => Err(Refusal::Denied(Denial::GrantSpent { grant })),
        Ok(Err(failure)) => Err(Refusal::Denied(Denial::Undecided { cause: failure.to_string() })),
        Err(failure) => Err(Refusal::Denied(Denial::Undecided { cause: failure.to_string() })),
    }
}

/// A session that did not begin does not count.
pub(super) async fn uncount_session(bastion: &Bastion, permit: &Permit, session: &SessionId) {
    let Some(grant) = limited(permit) else { return };
    let (ledger, session) = (Arc::clone(&bastion.ledger), session.clone());
    if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || ledger.not_begun_on(&grant, &session)).await {
        warn!(error = %failure, "A session that did not begin counts as one of its grant's");
    }
}

/// A session that has begun counts for good. Nobody waits for that: the log says the same to the next start.
pub(super) fn keep_count(bastion: &Bastion, permit: &Permit, session: &SessionId) {
    if limited(permit).is_none() {
        return;
    }
    let (ledger, session) = (Arc::clone(&bastion.ledger), session.clone());
    drop(tokio::task::spawn_blocking(move || {
        if let Err(failure) = ledger.has_begun(&session) {
            warn!(session = %session, error = %failure, "That a session has begun is in the log only");
        }
    }));
}

impl Visit {
    /// Counts a live session by the rules and grants of a channel that is about to open, as far as it has not been: what is for
    /// so many sessions is for no more of them by their further channels.
    pub(super) async fn count_channel(&mut self, destination: &Destination, asked: &[Asked]) -> Result<(), Refusal> {
        let now = self.bastion.clock.now();
        for asked in asked {
            // What is not permitted is refused in a moment.
            let permit = self.bastion.ledger.permit_asked(self.visitor.asker(), destination, asked, now);
            let Ok(permit) = permit else { continue };
            if let Some(live) = &self.live {
                has_room(&permit, &live.registration)?;
            }
            let Some(grant) = permit.grant().map(|grant| grant.id.clone()) else { continue };
            if self.live.as_ref().is_some_and(|live| !live.counted.contains(&grant)) {
                count_joining(&self.bastion, &permit).await?;
                if let Some(live) = &mut self.live {
                    live.counted.insert(grant.clone());
                }
            }
        }
        Ok(())
    }
}
