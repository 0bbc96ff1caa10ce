//! Locks, and the users who are being offboarded.

use super::assurances::Assured;
use super::{Ledger, LedgerError, State, TEXT_BYTES_MAX, Target, User, at_most, question};
use crate::audit::AuditEvent;
use crate::grant::{Asker, Denial, Grant, Lifter, Lifting, Lock, Permit, Reached, Scope, permit, strictest};
use crate::model::{AccountName, Asked, Destination, GrantId, LockId, Timestamp, UserName};
use crate::policy::{AuditRight, Question, audits_everywhere};

/// More locks than this are no locks that anybody looks after.
const LOCKS_MAX: usize = 1000;

impl Ledger {
    // Locks.

    /// Whether a user is suspended, or under a lock on users: then they neither ask nor approve, watch nor lift.
    pub fn is_barred(&self, user: &User, now: Timestamp) -> bool {
        self.state().is_barred(user, now)
    }

    /// All locks that hold or have just expired, by id.
    pub fn locks(&self) -> Vec<Lock> {
        self.state().locks.values().map(|(_, lock)| lock.clone()).collect()
    }

    /// One lock.
    pub fn lock(&self, id: &LockId) -> Option<Lock> {
        self.state().locks.get(id).map(|(_, lock)| lock.clone())
    }

    /// The strictest lock on this user there, on this grant if on one, whatever rules and grants say. None where the user or
    /// the target is gone.
    pub fn lock_on(
        &self,
        user: &UserName,
        destination: &Destination,
        grant: Option<&GrantId>,
        now: Timestamp,
    ) -> Option<Lock> {
        let state = self.state();
        let (stored, target) = state.parties(user, destination).ok()?;
        state.lock_on(stored, target, &destination.account, grant, now).cloned()
    }

    /// What `permit_asked` would say, were there no locks: whether a session that stands still could go on.
    ///
    /// # Errors
    /// `Denial` says why not.
    pub fn permit_but_for_locks(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        let assured = self.assurances.of(asker, now);
        self.state().permit_from(asker, &assured, destination, asked, now, |_| true)
    }

    /// Sets a lock. Live sessions must be judged again after it, and the log be given what it is owed.
    ///
    /// # Errors
    /// `Exists`, `TooMuch`, or the database fails.
    pub fn add_lock(&self, lock: Lock, event: &AuditEvent) -> Result<(), LedgerError> {
        let tables = self.tables();
        at_most("bytes of a reason", lock.reason.len(), TEXT_BYTES_MAX)?;
        at_most("locks", self.state().locks.len().saturating_add(1), LOCKS_MAX)?;
        // The log is owed the event from the moment at which it takes effect, whatever happens in between.
        let mut batch = self.db.batch();
        batch.put(&tables.locks, lock.id.as_str(), None, &lock)?;
        batch.put(&tables.owed, lock.id.as_str(), None, event)?;
        let rev = batch.commit()?;
        self.change(|state| drop(state.locks.insert(lock.id.clone(), (rev, lock))));
        Ok(())
    }

    /// Keeps that somebody wants a lock lifted, before that is in the log; it does not count yet.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn prepare_lifting(&self, id: &LockId, lifter: Lifter) -> Result<Lock, LedgerError> {
        self.set_lock(id, |lock| Lock { pending: Some(lifter), ..lock })
    }

    /// Forgets it: it could not come into the log.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn abandon_lifting(&self, id: &LockId) -> Result<(), LedgerError> {
        self.set_lock(id, |lock| Lock { pending: None, ..lock }).map(drop)
    }

    /// Lets it count, now that it is in the log: the lock is lifted, or waits for others. Live sessions must be judged
    /// again after it.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn finish_lifting(&self, id: &LockId, lifting: Lifting) -> Result<(), LedgerError> {
        match lifting {
            Lifting::Lifted => self.drop_lock(id),
            Lifting::Waits(_, said) => self.set_lock(id, |_| *said).map(drop),
        }
    }

    /// Forgets a lock.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn drop_lock(&self, id: &LockId) -> Result<(), LedgerError> {
        let tables = self.tables();
        let rev = self.state().locks.get(id).map(|(rev, _)| *rev);
        let rev = rev.ok_or_else(|| LedgerError::Unknown { kind: "lock", name: id.to_string() })?;
        tables.locks.delete(id.as_str(), rev)?;
        self.change(|state| drop(state.locks.remove(id)));
        Ok(())
    }

    /// Whether this user has this right on every target; a suspended one has none.
    pub fn audits_everywhere(&self, user: &UserName, right: AuditRight, now: Timestamp) -> bool {
        let state = self.state();
        let stored = state.users.get(user).filter(|(_, user)| !state.is_barred(user, now));
        stored.is_some_and(|(_, stored)| audits_everywhere(&state.policy(), user, &stored.groups, right))
    }

    /// Keeps for the log what has taken effect and could not be written there, under a name of its own.
    ///
    /// # Errors
    /// The database fails.
    pub fn owe(&self, name: &str, event: &AuditEvent) -> Result<(), LedgerError> {
        let tables = self.tables();
        let known = tables.owed.get(name)?.map(|(rev, _)| rev);
        tables.owed.put(name, known, event)?;
        Ok(())
    }

    fn set_lock(&self, id: &LockId, change: impl FnOnce(Lock) -> Lock) -> Result<Lock, LedgerError> {
        let tables = self.tables();
        let known = self.state().locks.get(id).cloned();
        let (rev, lock) = known.ok_or_else(|| LedgerError::Unknown { kind: "lock", name: id.to_string() })?;
        let lock = change(lock);
        let rev = tables.locks.put(id.as_str(), Some(rev), &lock)?;
        self.change(|state| drop(state.locks.insert(id.clone(), (rev, lock.clone()))));
        Ok(lock)
    }
}

impl State {
    /// A lock that is over by its time bars until it is forgotten, some seconds later.
    pub(super) fn is_barred(&self, user: &User, now: Timestamp) -> bool {
        let of_users = |lock: &Lock| match &lock.scope {
            Scope::User(locked) => *locked == user.name || locked == user.human(),
            Scope::Group(group) => user.groups.contains(group),
            Scope::Everything
            | Scope::Target(_)
            | Scope::Account(_)
            | Scope::Destination(_)
            | Scope::Grant(_)
            | Scope::Label { .. } => false,
        };
        user.is_suspended(now) || self.locks.values().any(|(_, lock)| of_users(lock))
    }

    pub(super) fn lock_on(
        &self,
        stored: &User,
        target: &Target,
        account: &AccountName,
        grant: Option<&GrantId>,
        now: Timestamp,
    ) -> Option<&Lock> {
        let reached = Reached {
            user: &stored.name,
            person: stored.human(),
            groups: &stored.groups,
            target: &target.name,
            labels: &target.labels,
            account,
            grant,
            by_glass: grant.is_some_and(|grant| self.is_of_glass(grant)),
        };
        strictest(self.locks.values().map(|(_, lock)| lock), &reached, now)
    }

    /// Whether a grant was taken without an approval.
    fn is_of_glass(&self, grant: &GrantId) -> bool {
        let request = self.grants.get(grant).and_then(|(_, grant)| grant.request.as_ref());
        request.and_then(|request| self.requests.get(request)).is_some_and(|(_, request)| request.glass.is_some())
    }

    /// A right that there is, unless it is locked. Who has none is told nothing of locks.
    pub(super) fn permit_asked(
        &self,
        asker: Asker<'_>,
        assured: &Assured,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        let permit = self.permit_from(asker, assured, destination, asked, now, |_| true)?;
        let (stored, target) = self.parties(asker.user, destination)?;
        let lock_on = |grant: Option<&GrantId>| {
            self.lock_on(stored, target, &destination.account, grant, now).map(|lock| lock.id.clone())
        };
        let lock_of = |permit: &Permit| lock_on(permit.grant().map(|grant| &grant.id));
        let Some(lock) = lock_of(&permit) else { return Ok(permit) };
        // It may be on this grant alone, or leave alone who has broken a glass.
        let free = |grant: &Grant| lock_on(Some(&grant.id)).is_none();
        let other = self.permit_from(asker, assured, destination, asked, now, free).ok();
        let other = other.filter(|permit| lock_of(permit).is_none());
        other.ok_or(Denial::Locked { lock })
    }

    /// A right that there is by the grants of which `counts` is true, whatever locks there are.
    fn permit_from(
        &self,
        asker: Asker<'_>,
        assured: &Assured,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
        counts: impl Fn(&Grant) -> bool,
    ) -> Result<Permit, Denial> {
        let (stored, target) = self.parties(asker.user, destination)?;
        if stored.is_suspended(now) {
            return Err(Denial::Suspended);
        }
        let (presence, circumstances) = (asker.presence, assured.circumstances(asker, now));
        let question = Question { presence, circumstances, ..question(stored, target, destination, Some(asked)) };
        let policy = self.policy();
        // Over the years a user has many grants to one place. Those that are over are looked at only to say why not.
        let unended: Vec<Grant> =
            self.unended(asker.user, destination, now).filter(|grant| counts(grant)).cloned().collect();
        let permit = permit(&policy, &question, asker.key, &unended, now).or_else(|denial| {
            let place = (asker.user.clone(), destination.clone());
            let Some(ids) = self.by_place.get(&place).filter(|ids| ids.len() > unended.len()) else {
                return Err(denial);
            };
            let all = ids.iter().filter_map(|id| self.grants.get(id)).map(|(_, grant)| grant);
            let all = all.filter(|grant| counts(grant)).cloned();
            permit(&policy, &question, asker.key, &all.collect::<Vec<_>>(), now)
        })?;
        Ok(permit.of(Asker { mfa: assured.mfa, ..asker }).until_user_ends(stored.until))
    }
}
