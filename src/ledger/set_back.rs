//! What becomes of times when the wall clock was set: no right lasts longer for it, and no lock shorter.

use std::time::Duration;

use super::{Ledger, LedgerError, User};
use crate::audit::KeptClock;
use crate::db::DbError;
use crate::grant::{AccessRequest, Grant, Lock};
use crate::model::Timestamp;

/// Others change grants too; so often it is tried.
const TRIES: usize = 8;

impl Ledger {
    /// Lets grants end and requests lapse earlier by `step`, by which the wall clock was set back to `after`; users whose time
    /// was over stay out. Says how many there were; all are changed or none.
    ///
    /// With it is kept what is known of the `clock`; `accept` makes the clock go by that.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_back(
        &self,
        step: Duration,
        after: Timestamp,
        clock: &KeptClock,
        accept: &dyn Fn(),
    ) -> Result<usize, LedgerError> {
        for _ in 1..TRIES {
            match self.set_back_stored(step, after, clock, accept) {
                // Somebody changed a grant meanwhile, such as the count of its sessions.
                Err(LedgerError::Db(DbError::Conflict { .. })) => {}
                done => return done,
            }
        }
        self.set_back_stored(step, after, clock, accept)
    }

    fn set_back_stored(
        &self,
        step: Duration,
        after: Timestamp,
        clock: &KeptClock,
        accept: &dyn Fn(),
    ) -> Result<usize, LedgerError> {
        let tables = self.tables();
        let (grants, requests, users) = {
            let state = self.state();
            let grant = |(rev, grant): &(_, Grant)| grant.set_back(step, after).map(|grant| (*rev, grant));
            let request =
                |(rev, request): &(_, AccessRequest)| request.set_back(step, after).map(|request| (*rev, request));
            let grants: Vec<_> = state.grants.values().filter_map(grant).collect();
            let user = |(rev, user): &(_, User)| {
                let over = user.until.is_some_and(|until| until > after && until <= after.plus(step));
                over.then(|| (*rev, User { until: Some(after), ..user.clone() }))
            };
            let users: Vec<_> = state.users.values().filter_map(user).collect();
            (grants, state.requests.values().filter_map(request).collect::<Vec<_>>(), users)
        };
        let count = grants.len().saturating_add(requests.len()).saturating_add(users.len());
        let mut batch = self.db.batch();
        clock.put_in(&self.db, &mut batch)?;
        for (rev, grant) in &grants {
            batch.put(&tables.grants, grant.id.as_str(), Some(*rev), grant)?;
        }
        for (rev, request) in &requests {
            batch.put(&tables.requests, request.id.as_str(), Some(*rev), request)?;
        }
        for (rev, user) in &users {
            batch.put(&tables.users, user.name.as_str(), Some(*rev), user)?;
        }
        let rev = batch.commit()?;
        self.change(|state| {
            accept();
            users.into_iter().for_each(|(_, user)| state.set_user(rev, user));
            grants.into_iter().for_each(|(_, grant)| state.set_grant(rev, grant));
            for (_, request) in requests {
                state.requests.insert(request.id.clone(), (rev, request));
            }
        });
        Ok(count)
    }

    /// Lets locks end later by `step`, by which the wall clock was set forward from `before`. Says how many.
    ///
    /// With it is kept what is known of the `clock`; `accept` makes the clock go by that.
    ///
    /// # Errors
    /// The database fails; nothing has changed.
    pub fn set_forward(
        &self,
        step: Duration,
        before: Timestamp,
        clock: &KeptClock,
        accept: &dyn Fn(),
    ) -> Result<usize, LedgerError> {
        let tables = self.tables();
        let later = |(rev, lock): &(_, Lock)| {
            let expires = lock.expires.filter(|expires| before < *expires)?;
            Some((*rev, Lock { expires: Some(expires.plus(step)), ..lock.clone() }))
        };
        let locks: Vec<_> = self.state().locks.values().filter_map(later).collect();
        let mut batch = self.db.batch();
        clock.put_in(&self.db, &mut batch)?;
        for (rev, lock) in &locks {
            batch.put(&tables.locks, lock.id.as_str(), Some(*rev), lock)?;
        }
        let (count, rev) = (locks.len(), batch.commit()?);
        self.change(|state| {
            accept();
            for (_, lock) in locks {
                state.locks.insert(lock.id.clone(), (rev, lock));
            }
        });
        Ok(count)
    }
}
