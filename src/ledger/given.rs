//! Grants that operators give. Each is kept before it comes into the log and takes effect after, as a step of a request does.

use super::{Expect, Ledger, LedgerError, State, TEXT_BYTES_MAX, User, at_most};
use crate::audit::AuditEvent;
use crate::grant::{Grant, Revoked};
use crate::model::GrantId;

impl Ledger {
    /// Keeps a grant that is about to come into the log. It opens nothing yet.
    ///
    /// # Errors
    /// `Unknown` user or target, `Exists`, `TooMuch`, or the database fails.
    pub fn prepare_grant(&self, grant: &Grant) -> Result<(), LedgerError> {
        let tables = self.tables();
        self.state().may_be_given(grant)?;
        tables.given.put(grant.id.as_str(), None, grant)?;
        Ok(())
    }

    /// Forgets a grant that could not come into the log.
    ///
    /// # Errors
    /// The database fails.
    pub fn abandon_grant(&self, id: &GrantId) -> Result<(), LedgerError> {
        let tables = self.tables();
        if let Some((rev, _)) = tables.given.get(id.as_str())? {
            tables.given.delete(id.as_str(), rev)?;
        }
        Ok(())
    }

    /// Lets a grant that was prepared take effect. Of users and targets that were removed meanwhile it is revoked at once,
    /// and the log is owed that.
    ///
    /// # Errors
    /// The database fails; the next start tries again.
    pub fn finish_grant(&self, grant: &Grant) -> Result<(), LedgerError> {
        let tables = self.tables();
        let Some((rev, _)) = tables.given.get(grant.id.as_str())? else { return Ok(()) };
        let mut grant = grant.clone();
        let owed = self.state().revoke_if_gone(&mut grant);
        let mut batch = self.db.batch();
        if let Some(event) = &owed {
            batch.put(&tables.owed, grant.id.as_str(), None, event)?;
        }
        batch.put(&tables.grants, grant.id.as_str(), None, &grant)?;
        batch.delete(&tables.given, grant.id.as_str(), rev);
        let rev = batch.commit()?;
        self.change(|state| state.set_grant(rev, grant));
        Ok(())
    }

    /// The grants that are kept, and may be in the log or not.
    ///
    /// # Errors
    /// The database fails.
    pub fn unfinished_grants(&self) -> Result<Vec<Grant>, LedgerError> {
        let stored = self.tables().given.list("")?;
        Ok(stored.into_iter().map(|(_, _, grant)| grant).collect())
    }
}

impl State {
    /// Whether a new grant is of somebody and something that exist.
    pub(super) fn may_be_given(&self, grant: &Grant) -> Result<(), LedgerError> {
        at_most("bytes of a reason", grant.reason.len(), TEXT_BYTES_MAX)?;
        let target = &grant.destination.target;
        let unknown = |kind, name: &str| LedgerError::Unknown { kind, name: name.to_owned() };
        self.users.get(&grant.user).ok_or_else(|| unknown("user", grant.user.as_str()))?;
        self.targets.get(target).ok_or_else(|| unknown("target", target.as_str()))?;
        Expect::New.check("grant", grant.id.as_str(), self.grants.get(&grant.id).map(|(rev, _)| *rev))
    }

    /// Revokes a grant that is about to take effect and whose user or target was removed since it was decided, or whose user
    /// was suspended: neither they get it, nor whoever has their name later. What the log is owed then.
    pub(super) fn revoke_if_gone(&self, grant: &mut Grant) -> Option<AuditEvent> {
        let stood = |user: &User| user.suspended_at.is_none_or(|at| at < grant.created);
        let user = self.users.get(&grant.user).filter(|(_, user)| stood(user));
        if grant.revoked.is_some() || (user.is_some() && self.targets.contains_key(&grant.destination.target)) {
            return None;
        }
        let reason = Some(String::from("the user was removed or suspended meanwhile, or the target removed"));
        let revoked = Revoked { by: String::from("the bastion"), at: grant.created, reason };
        let (by, reason) = (revoked.by.clone(), revoked.reason.clone());
        grant.revoked = Some(revoked);
        Some(AuditEvent::GrantRevoke { grant: grant.id.clone(), by, reason })
    }
}
