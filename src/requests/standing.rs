//! Requests that wait while the rules, the users or the grants change under them: what cannot be granted any more is said at
//! once, not when somebody comes to decide on it.

use super::{AccessRequest, RequestError, RequestState, Requests};

impl Requests {
    /// Closes the requests that cannot be granted any more as things stand now, and tells those who asked. Gives them. To be
    /// called whenever another policy is in force.
    ///
    /// # Errors
    /// `RequestError`; the others are closed, and the next call tries again.
    pub fn supersede(&self) -> Result<Vec<AccessRequest>, RequestError> {
        let _one = self.one_at_a_time();
        self.supersede_now()
    }

    /// The same once for each policy that is in force: looking at every request costs time.
    pub(super) fn supersede_once(&self) -> Result<usize, RequestError> {
        let policy = self.ledger.policy();
        let before = self.looked_at().clone();
        if before.as_ref() == Some(policy.hash()) { Ok(0) } else { self.supersede_now().map(|closed| closed.len()) }
    }

    fn supersede_now(&self) -> Result<Vec<AccessRequest>, RequestError> {
        let (policy, now) = (self.ledger.policy(), self.clock.now());
        let (mut closed, mut failed) = (Vec::new(), None);
        for request in self.ledger.requests_where(|request| !request.state(now).is_final()) {
            let Some(why) = self.overtaken(&request, now) else { continue };
            match self.close(&request, RequestState::Superseded, String::from("the bastion"), why) {
                Ok(request) => closed.push(request),
                Err(failure) => failed = Some(failure),
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        *self.looked_at() = Some(policy.hash().clone());
        Ok(closed)
    }

    fn looked_at(&self) -> std::sync::MutexGuard<'_, Option<crate::policy::PolicyHash>> {
        self.looked_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
