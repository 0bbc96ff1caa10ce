//! Offboarding: a human who leaves is out, by all their names, in an order that a crash does not harm.
//!
//! The intent is kept first; the user is suspended, which bars all else; then sessions, grants and requests end, and it is
//! waited a moment for the sessions to close. Each
//! step may run again. What a crash interrupted is finished by the next start, or by the same command again.
//!
//! Keys, certificates and passwords need nothing: they prove who somebody is, and this one may do nothing. The accounts
//! that they have used are listed: whoever changes those secrets finds them in the receipt.

use std::collections::BTreeSet;
use std::time::Duration;

use super::api::Reply;
use super::{Admin, AdminError, Caller};
use crate::audit::{AuditEvent, OffboardStep};
use crate::grant::{GrantState, Revoked};
use crate::ledger::{LedgerError, Offboarding, User};
use crate::model::{Destination, UserName, join};
use crate::requests::RequestError;
use crate::store::{Filter, Listed};

/// Accounts that a receipt lists.
const ACCOUNTS_MAX: usize = 64;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 400;
/// Promise P3: no session outlives its right for longer.
const CLOSING_MAX: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(5) };
/// It is looked so often whether they are closed.
const LOOK: Duration = Duration::from_millis(20);
/// Why grants and requests of such a user ended.
pub(super) const WHY: &str = "the user was offboarded";

/// One step of it, which may run again.
type Step = fn(&Admin, &mut Offboarding) -> Result<(), AdminError>;

/// In this order: what is barred first keeps the later steps from missing something new.
pub(super) const STEPS: [Step; 7] = [
    Admin::offboard_intent,
    Admin::offboard_suspend,
    Admin::offboard_cut,
    Admin::offboard_revoke,
    Admin::offboard_accounts,
    Admin::offboard_closed,
    Admin::offboard_done,
];

/// After so many of them nothing is left to end, and it is waited for the sessions to close.
const ENDED: usize = 5;

impl Admin {
    pub(super) fn user_offboard(&self, caller: Caller, name: &UserName, reason: String) -> Result<Reply, AdminError> {
        let reason = reason.trim().to_owned();
        let count = reason.chars().count();
        if count == 0 || count > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
            let why = format!("an offboarding needs a reason, in one line of at most {REASON_CHARS_MAX} characters");
            return Err(AdminError::Invalid { why, hint: "add --reason \"left the company\"" });
        }
        let user = self.parts.ledger.user(name);
        let unknown = || LedgerError::Unknown { kind: "user", name: name.to_string() };
        let person = user.ok_or_else(unknown)?.human().clone();
        let known = self.parts.ledger.offboarding(&person)?;
        let mut offboarding = match known {
            Some(known) if known.done.is_none() => known,
            Some(known) if self.is_out(&known) => return Ok(Reply::Offboarded { receipt: known }),
            Some(_) | None => self.new_offboarding(caller, person, reason)?,
        };
        STEPS.iter().take(ENDED).try_for_each(|step| step(self, &mut offboarding))?;
        Ok(Reply::Offboarded { receipt: offboarding })
    }

    /// What is left of an offboarding once its sessions have had their time to close.
    pub(super) fn offboard_rest(&self, user: &UserName) -> Result<Reply, AdminError> {
        let Some(mut offboarding) = self.parts.ledger.offboarding(user)? else {
            let why = format!("user `{user}` was let in again meanwhile");
            return Err(AdminError::Refused { why, hint: "what has ended stays so; offboard them again to bar them" });
        };
        STEPS.iter().skip(ENDED).try_for_each(|step| step(self, &mut offboarding))?;
        self.offboard_checkpoint(&mut offboarding)?;
        Ok(Reply::Offboarded { receipt: offboarding })
    }

    pub(super) fn new_offboarding(
        &self,
        caller: Caller,
        user: UserName,
        reason: String,
    ) -> Result<Offboarding, AdminError> {
        let offboarding = Offboarding {
            names: self.names_of(&user),
            user,
            by: caller.to_string(),
            reason,
            begun: self.now(),
            sessions: 0,
            closed: 0,
            grants: 0,
            requests: 0,
            accounts: BTreeSet::new(),
            accounts_more: 0,
            done: None,
            leaf: None,
            checkpoint: None,
        };
        // The log is owed the intent from here on, and it is finished whatever happens.
        self.parts.ledger.begin_offboarding(&offboarding, &event(&offboarding, "begun"))?;
        Ok(offboarding)
    }

    /// All names of a human.
    fn names_of(&self, person: &UserName) -> BTreeSet<UserName> {
        let users = self.parts.ledger.users().into_iter();
        users.filter(|user| user.human() == person).map(|user| user.name).collect()
    }

    /// Whether nothing is left to end.
    fn is_out(&self, known: &Offboarding) -> bool {
        let (parts, now) = (&self.parts, self.now());
        let names = self.names_of(&known.user);
        let suspended = |name: &UserName| parts.ledger.user(name).is_none_or(|user| user.suspended_at.is_some());
        let holds = |state| matches!(state, GrantState::Active | GrantState::Scheduled);
        names.iter().all(suspended)
            && parts.ledger.grants().iter().all(|grant| !names.contains(&grant.user) || !holds(grant.state(now)))
            && parts
                .ledger
                .requests_where(|one| names.contains(&one.requester) && !one.state(now).is_final())
                .is_empty()
    }

    fn offboard(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        STEPS.iter().try_for_each(|step| step(self, offboarding))?;
        self.offboard_checkpoint(offboarding)
    }

    /// Finishes what a crash interrupted; gives what cannot be finished.
    pub(super) fn finish_offboardings(&self) -> Result<Vec<(UserName, AdminError)>, AdminError> {
        let unfinished = self.parts.ledger.unfinished_offboardings()?.into_iter();
        let failed = |mut one: Offboarding| self.offboard(&mut one).err().map(|error| (one.user, error));
        Ok(unfinished.filter_map(failed).collect())
    }

    /// The intent goes into the log, if it can be written: a full disk must not keep anybody in.
    fn offboard_intent(&self, _: &mut Offboarding) -> Result<(), AdminError> {
        match self.parts.requests.settle() {
            Ok(()) | Err(RequestError::DoneNotRecorded(_)) => Ok(()),
            Err(failure) => Err(AdminError::Request(failure)),
        }
    }

    fn offboard_suspend(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        // A name that was given to the human since is one of theirs, too.
        offboarding.names.extend(self.names_of(&offboarding.user));
        for user in offboarding.names.iter().filter_map(|name| self.parts.ledger.user(name)) {
            if user.suspended_at.is_none() {
                self.parts.ledger.set_user(User { suspended_at: Some(self.now()), ..user })?;
            }
        }
        Ok(())
    }

    fn offboard_cut(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        let live = self.parts.sessions.list();
        let own = live.iter().filter(|session| offboarding.names.contains(&session.user));
        let used: BTreeSet<Destination> = own.clone().map(|session| session.destination.clone()).collect();
        let count = u64::try_from(own.count()).unwrap_or(u64::MAX);
        self.parts.sessions.rejudge(&self.parts.ledger, self.now());
        offboarding.sessions = offboarding.sessions.saturating_add(count);
        note_accounts(offboarding, used);
        Ok(self.parts.ledger.set_offboarding(offboarding)?)
    }

    fn offboard_revoke(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        let by = Revoked { by: offboarding.by.clone(), at: self.now(), reason: Some(WHY.to_owned()) };
        for name in &offboarding.names {
            self.parts.ledger.revoke_all_of(name, &by)?;
            let cancelled = self.parts.requests.cancel_all_of(name, &offboarding.by, WHY);
            let cancelled = u64::try_from(cancelled.map_err(AdminError::Request)?).unwrap_or(u64::MAX);
            offboarding.requests = offboarding.requests.saturating_add(cancelled);
        }
        // Counted by what is stored: a crash between a revoke and the count loses none.
        let ours = |revoked: &Revoked| revoked.at >= offboarding.begun && revoked.reason.as_deref() == Some(WHY);
        let grants = self
            .parts
            .ledger
            .grants()
            .into_iter()
            .filter(|grant| offboarding.names.contains(&grant.user) && grant.revoked.as_ref().is_some_and(ours));
        offboarding.grants = u64::try_from(grants.count()).unwrap_or(u64::MAX);
        self.parts.ledger.set_offboarding(offboarding)?;
        self.offboard_intent(offboarding)
    }

    fn offboard_accounts(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        let mut used = BTreeSet::new();
        for name in &offboarding.names {
            let filter = Filter { user: Some(name.clone()), ..Filter::default() };
            used.extend(self.parts.catalog.list(&filter).into_iter().filter_map(|listed| match listed {
                Listed::Recording(summary) => Some(summary.destination),
                // Whose they were cannot be told.
                Listed::Erased(_) | Listed::Damaged { .. } => None,
            }));
        }
        offboarding.accounts_more = 0;
        note_accounts(offboarding, used);
        Ok(self.parts.ledger.set_offboarding(offboarding)?)
    }

    /// Waits a moment for the sessions to close.
    pub(super) fn await_closed(&self, offboarding: &Offboarding) {
        let begun = self.parts.clock.instant();
        while self.open(offboarding) > 0 && self.parts.clock.instant().saturating_duration_since(begun) < CLOSING_MAX {
            std::thread::sleep(LOOK);
        }
    }

    fn open(&self, offboarding: &Offboarding) -> usize {
        self.parts.sessions.list().iter().filter(|live| offboarding.names.contains(&live.user)).count()
    }

    /// The receipt tells what was seen, not what was asked for.
    fn offboard_closed(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        let open = u64::try_from(self.open(offboarding)).unwrap_or(u64::MAX);
        offboarding.closed = offboarding.sessions.saturating_sub(open);
        Ok(self.parts.ledger.set_offboarding(offboarding)?)
    }

    /// Adds the signed checkpoint to the receipt. All is done and on record by then: without it the receipt says less.
    fn offboard_checkpoint(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        let noted = self.parts.audit.publish().and_then(|_| self.parts.audit.checkpoint());
        if let Ok(Some(note)) = noted {
            offboarding.checkpoint = Some(note.to_string());
            self.parts.ledger.set_offboarding(offboarding)?;
        }
        Ok(())
    }

    fn offboard_done(&self, offboarding: &mut Offboarding) -> Result<(), AdminError> {
        // What is still owed comes before it, and its failure is this step's.
        self.parts.requests.settle().map_err(AdminError::of_revoke)?;
        let leaf = self.parts.audit.append(&event(offboarding, "done")).map_err(AdminError::DoneNotRecorded)?;
        (offboarding.done, offboarding.leaf) = (Some(self.now()), Some(leaf));
        Ok(self.parts.ledger.set_offboarding(offboarding)?)
    }
}

/// Adds accounts to the list, as many as it bears.
fn note_accounts(offboarding: &mut Offboarding, used: BTreeSet<Destination>) {
    for account in used {
        if offboarding.accounts.len() < ACCOUNTS_MAX || offboarding.accounts.contains(&account) {
            offboarding.accounts.insert(account);
        } else {
            offboarding.accounts_more = offboarding.accounts_more.saturating_add(1);
        }
    }
}

fn event(offboarding: &Offboarding, outcome: &str) -> AuditEvent {
    let Offboarding { user, names, by, reason, sessions, closed, grants, requests, accounts, accounts_more, .. } =
        offboarding;
    let more = if *accounts_more > 0 { format!(" and {accounts_more} more") } else { String::new() };
    let ended = format!(
        "; {sessions} sessions ended, {closed} of them closed by then, {grants} grants revoked, {requests} requests cancelled; accounts used: {}{more}",
        join(accounts)
    );
    let ended = if outcome == "done" { ended } else { String::new() };
    AuditEvent::OffboardStep(OffboardStep {
        user: user.clone(),
        outcome: outcome.to_owned(),
        detail: format!("by all names: {}{ended}", join(names)),
        reason: reason.clone(),
        by: by.clone(),
    })
}
