//! Locks, for operators.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::Reply;
use super::{Admin, AdminError, Caller, done};
use crate::grant::{Lock, LockEffect, Scope};
use crate::locks::{Lifted, Wanted};
use crate::model::LockId;
use crate::screen::plural;

/// A lock as an operator wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWanted {
    /// What it is on.
    pub scope: Scope,
    /// What becomes of live sessions.
    pub effect: LockEffect,
    /// Why.
    pub reason: String,
    /// For how long; until it is lifted, if not said.
    #[serde(rename = "for")]
    pub span: Option<Duration>,
    /// How many people it takes to lift it.
    pub lifters: u8,
    /// Whether it leaves those alone who have broken a glass.
    pub keeps_glass: bool,
}

impl Admin {
    pub(super) fn lock_add(&self, caller: Caller, wanted: LockWanted) -> Result<Reply, AdminError> {
        let LockWanted { scope, effect, reason, span, lifters, keeps_glass } = wanted;
        if !(1..=2).contains(&lifters) {
            let why = String::from("a lock is lifted by one operator, or by two");
            return Err(AdminError::Invalid { why, hint: "leave --two out, or give it" });
        }
        // The human: what they do by another name is locked, too.
        let scope = match scope {
            Scope::User(user) => Scope::User(self.parts.ledger.user(&user).map_or(user, |user| user.human().clone())),
            scope @ (Scope::Everything
            | Scope::Group(_)
            | Scope::Target(_)
            | Scope::Account(_)
            | Scope::Destination(_)
            | Scope::Grant(_)
            | Scope::Label { .. }) => scope,
        };
        let wanted = Wanted { scope, effect, reason, span, lifters, keeps_glass };
        let lock = self.parts.locks.add(caller.to_string(), wanted).map_err(AdminError::Lock)?;
        let mut more = self.rejudge();
        more.extend(self.standing_still());
        more.extend(self.unknown_scope(&lock.scope));
        self.parts.requests.settle().map_err(AdminError::of_revoke)?;
        Ok(done(format!("lock `{}` is on {}", lock.id, shown(&lock)), more))
    }

    /// How many live sessions stand still, if any.
    fn standing_still(&self) -> Option<String> {
        let count = self.parts.sessions.list().into_iter().filter(|session| session.paused.is_some()).count();
        (count > 0).then(|| format!("{count} live {} paused", plural(count, "session")))
    }

    /// A lock is taken in haste, and a name that nobody has locks nothing.
    fn unknown_scope(&self, scope: &Scope) -> Option<String> {
        let ledger = &self.parts.ledger;
        let known = match scope {
            Scope::Everything | Scope::Account(_) => true,
            Scope::User(user) => ledger.user(user).is_some(),
            Scope::Group(group) => ledger.users().iter().any(|user| user.groups.contains(group)),
            Scope::Target(target) => ledger.target(target).is_some(),
            Scope::Destination(destination) => ledger.target(&destination.target).is_some(),
            Scope::Grant(grant) => ledger.grant(grant).is_some(),
            Scope::Label { key, value } => ledger.targets().iter().any(|target| target.labels.get(key) == Some(value)),
        };
        (!known).then(|| format!("warning: nobody and nothing is known as {scope} (yet): is the name right?"))
    }

    pub(super) fn lock_list(&self) -> Reply {
        let now = self.now();
        let mut locks = self.parts.ledger.locks();
        locks.retain(|lock| lock.holds(now));
        locks.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Reply::Locks { locks }
    }

    pub(super) fn lock_lift(&self, caller: Caller, id: &LockId) -> Result<Reply, AdminError> {
        let by = caller.to_string();
        match self.parts.locks.lift(id, by.clone(), by).map_err(AdminError::Lock)? {
            Lifted::Gone(lock) => {
                let mut more = self.rejudge();
                more.extend(self.standing_still());
                Ok(done(format!("lock `{id}` on {} lifted", lock.scope), more))
            }
            Lifted::Waits(lock, missing) => {
                let more = vec![format!(
                    "{missing} more must say so within a day: another operator (uid), or an auditor with the right `lift` by SSH"
                )];
                Ok(done(format!("lock `{id}` on {} is still on", lock.scope), more))
            }
        }
    }
}

fn shown(lock: &Lock) -> String {
    let sessions = match lock.effect {
        LockEffect::End => "its sessions end",
        LockEffect::Freeze => "its sessions are paused",
    };
    let until = lock.expires.map(|expires| format!(" until {expires}")).unwrap_or_default();
    let two = if lock.lifters > 1 { "; lifting it takes two people" } else { "" };
    let spared = if lock.keeps_glass { ", but on a broken glass" } else { "" };
    format!("{}{until}: {sessions}, and none begin{spared}{two}", lock.scope)
}
