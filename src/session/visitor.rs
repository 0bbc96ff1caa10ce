//! Who is on a connection.

use std::sync::OnceLock;

use tokio::sync::oneshot;
use tracing::info;

use super::refusal_log::Kind;
use super::{Attempt, Bastion, Refusal};
use crate::audit::AuditEvent;
use crate::authn::Authenticated;
use crate::grant::{Asker, Denial};
use crate::model::{Destination, Login, Timestamp};

/// Who is on a connection.
pub(super) struct Visitor {
    pub user: Authenticated,
    /// The login name, if it is one.
    pub login: String,
    pub source: String,
    /// When the session began on their connection.
    pub since: OnceLock<Timestamp>,
}

impl Visitor {
    /// Who asks, for more of their session if they have one.
    pub fn asker(&self) -> Asker<'_> {
        Asker { since: self.since.get().copied(), ..self.user.asker() }
    }

    /// Whether they still have their key, and their place among the users.
    pub fn stands(&self, bastion: &Bastion) -> bool {
        let (ledger, user) = (&bastion.ledger, self.user.user());
        let suspended = ledger.user(user).is_none_or(|user| user.is_suspended(bastion.clock.now()));
        !suspended && self.user.stands(ledger).is_ok()
    }

    /// Whether something new may be opened, or said in their name: a new login would be let in as well.
    ///
    /// # Errors
    /// `Denied` if they are suspended, `LoginOver` if what proved them counts no more.
    pub fn standing(&self, bastion: &Bastion) -> Result<(), Refusal> {
        let (ledger, user) = (&bastion.ledger, &self.user);
        // As it is now: whoever was suspended since the login gets no answers either.
        let now = bastion.clock.now();
        let suspended = ledger.user(user.user()).is_none_or(|user| user.is_suspended(now));
        if suspended || user.suspended() {
            return Err(Refusal::Denied(Denial::Suspended));
        }
        user.opens(ledger, now).map_err(Refusal::LoginOver)
    }

    /// The login name, or the user's own.
    pub fn named(&self) -> String {
        if self.login.is_empty() { self.user.user().to_string() } else { self.login.clone() }
    }

    /// The same, as if their login had named a destination.
    pub fn at(&self, destination: &Destination) -> Self {
        let user = Some(self.user.user().clone());
        let login = Login::Destination { user, destination: destination.clone() }.to_string();
        Self { user: self.user.clone(), login, source: self.source.clone(), since: self.since.clone() }
    }

    /// Puts on record why something was not started, without waiting for it; gives what says that it stands there.
    pub fn refused(
        &self,
        bastion: &Bastion,
        kind: Kind,
        refusal: &Refusal,
        asked: Attempt,
    ) -> Option<oneshot::Receiver<()>> {
        let user = self.user.user();
        bastion.denials.note(user, bastion.clock.now(), asked, refusal);
        let (of, login, source) = (user.clone(), self.login.clone(), self.source.clone());
        let event = move |reason| AuditEvent::SessionRefused {
            user: of.clone(),
            login: login.clone(),
            source: source.clone(),
            reason,
        };
        let noted = bastion.refusals.note(user, kind, &refusal.to_string(), event)?;
        info!(user = %user, source = %self.source, login = %self.login, error = %refusal, "Refused");
        Some(noted.written)
    }
}
