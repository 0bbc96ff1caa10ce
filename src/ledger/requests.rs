//! Access requests, and the steps by which they change.
//!
//! A step is stored before it comes into the log, and takes effect after: a crash in between leaves it stored, and the
//! next start finishes it. So what is in the log and what is stored agree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

use super::{Delivery, Ledger, LedgerError, Message, TEXT_BYTES_MAX, User, at_most, question};
use crate::audit::AuditEvent;
use crate::db::Rev;
use crate::grant::{AccessRequest, Denial, Grant, Outcome, RequestState};
use crate::model::{Destination, RequestId, Timestamp, UserName};
use crate::policy::{Approvers, Decision, GrantNeed, Rule, decide};

/// Requests of one human that are kept once they are decided; the log has the others.
const KEPT_MAX: usize = 200;

/// A change of a request, which is about to come into the log or is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The request as it shall be.
    pub request: AccessRequest,
    /// What has happened.
    pub kind: StepKind,
    /// Who did it, and from where.
    pub by: String,
    /// What it does to grants.
    pub outcome: Outcome,
    /// What people must be told of it; made anew where a step is finished after a crash. Its id and its ways are stored where
    /// somebody has taken it before: they have heard it, and the log says so.
    #[serde(default, skip_serializing_if = "is_untaken", serialize_with = "taken")]
    pub message: Option<Message>,
}

/// Whether nobody has taken it yet.
fn is_untaken(message: &Option<Message>) -> bool {
    message.as_ref().is_none_or(|message| !message.ways.values().any(Delivery::is_over))
}

/// Who has taken it: the rest is made anew, and a request may need the room.
fn taken<S: Serializer>(message: &Option<Message>, to: S) -> Result<S::Ok, S::Error> {
    let slim = |message: &Message| Message {
        to: BTreeSet::new(),
        subject: String::new(),
        text: String::new(),
        ..message.clone()
    };
    message.as_ref().map(slim).serialize(to)
}

/// What has happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// It was asked.
    Asked,
    /// The last of its reviews was added, and may have decided it.
    Reviewed,
    /// Its requester began the grant.
    Begun,
    /// It came to nothing, as its state says.
    Closed,
    /// A grant was taken without an approval.
    Broken,
    /// That was reviewed.
    Judged,
    /// Or was not, in time.
    Overdue,
}

impl Ledger {
    /// All requests, by id.
    pub fn requests(&self) -> Vec<AccessRequest> {
        self.state().requests.values().map(|(_, request)| request.clone()).collect()
    }

    /// Those of which this is true, by id.
    pub fn requests_where(&self, wanted: impl Fn(&AccessRequest) -> bool) -> Vec<AccessRequest> {
        let state = self.state();
        state.requests.values().map(|(_, request)| request).filter(|request| wanted(request)).cloned().collect()
    }

    /// One request.
    pub fn request(&self, id: &RequestId) -> Option<AccessRequest> {
        self.state().requests.get(id).map(|(_, request)| request.clone())
    }

    /// The rules by which this user may ask for a grant there, in the order of the rules; those of them that need no grant
    /// are said apart.
    ///
    /// # Errors
    /// `Denial` if the user or the target does not exist, or no rule is about them.
    pub fn request_rules(&self, user: &UserName, destination: &Destination) -> Result<(Vec<Rule>, Vec<Rule>), Denial> {
        let state = self.state();
        let (stored, target) = state.parties(user, destination)?;
        let asked = question(stored, target, destination, None);
        let policy = state.policy();
        if let Decision::Deny(reason) = decide(&policy, &asked) {
            return Err(Denial::NoRule(reason));
        }
        let here = policy.rules().filter(|rule| rule.covers(&asked)).cloned();
        Ok(here.partition(|rule| rule.grant.need == GrantNeed::Required))
    }

    /// Stores a step that is about to come into the log. Nothing has changed yet.
    ///
    /// # Errors
    /// `Stale` if the request has changed meanwhile, or has a step that is not finished; `TooMuch`; the database fails.
    pub fn prepare(&self, step: &Step) -> Result<(), LedgerError> {
        let tables = self.tables();
        let Step { request, .. } = step;
        at_most("bytes of a reason", request.reason.len(), TEXT_BYTES_MAX)?;
        {
            let state = self.state();
            let known = state.requests.get(&request.id).map_or(0, |(_, known)| known.version);
            if known.saturating_add(1) != request.version || state.steps.contains_key(&request.id) {
                return Err(LedgerError::Stale { request: request.id.clone() });
            }
        }
        // Users bring these about, and can be refused: a write that fails stops the database.
        self.db.check_room()?;
        let rev = tables.steps.put(request.id.as_str(), None, step)?;
        self.change(|state| {
            state.steps.insert(request.id.clone(), rev);
        });
        Ok(())
    }

    /// Forgets a step that could not come into the log.
    ///
    /// # Errors
    /// The database fails.
    pub fn abandon(&self, id: &RequestId) -> Result<(), LedgerError> {
        let tables = self.tables();
        let rev = self.state().steps.get(id).copied();
        let Some(rev) = rev else { return Ok(()) };
        tables.steps.delete(id.as_str(), rev)?;
        self.change(|state| {
            state.steps.remove(id);
        });
        Ok(())
    }

    /// Lets a step that was prepared take effect: all of it, or none.
    ///
    /// # Errors
    /// The database fails; the next start tries again.
    pub fn finish(&self, step: &Step) -> Result<(), LedgerError> {
        let tables = self.tables();
        let (known, rev, grant) = {
            let state = self.state();
            let grant = match &step.outcome {
                Outcome::Waits => None,
                Outcome::Begins(grant) => Some((None, (**grant).clone())),
                Outcome::Lengthens { grant, by } => state.grants.get(grant).map(|(rev, known)| {
                    // A grant that was revoked meanwhile stays so, whatever its time.
                    (Some(*rev), Grant { until: known.until.plus(*by), ..known.clone() })
                }),
            };
            let id = &step.request.id;
            (state.requests.get(id).map(|(rev, _)| *rev), state.steps.get(id).copied(), grant)
        };
        let Some(rev) = rev else { return Ok(()) };
        let mut owed = None;
        let grant = grant.map(|(known, mut grant)| {
            owed = match (&known, &grant.revoked) {
                // It never opened anything; the log has its beginning, and is owed its end.
                (None, Some(revoked)) => Some(AuditEvent::GrantRevoke {
                    grant: grant.id.clone(),
                    by: revoked.by.clone(),
                    reason: revoked.reason.clone(),
                }),
                (None | Some(_), _) => self.state().revoke_if_gone(&mut grant),
            };
            (known, grant)
        });
        let mut batch = self.db.batch();
        if let (Some(event), Some((_, grant))) = (&owed, &grant) {
            batch.put(&tables.owed, grant.id.as_str(), None, event)?;
        }
        batch.put(&tables.requests, step.request.id.as_str(), known, &step.request)?;
        if let Some((known, grant)) = &grant {
            batch.put(&tables.grants, grant.id.as_str(), *known, grant)?;
        }
        let message = step.message.as_ref().filter(|message| !self.state().messages.contains_key(&message.id));
        if let Some(message) = message {
            batch.put(&tables.messages, &message.id, None, message)?;
        }
        batch.delete(&tables.steps, step.request.id.as_str(), rev);
        let rev = batch.commit()?;
        self.change(|state| {
            state.steps.remove(&step.request.id);
            state.requests.insert(step.request.id.clone(), (rev, step.request.clone()));
            if let Some(message) = message {
                state.set_message(rev, message.clone());
            }
            if let Some((_, grant)) = grant {
                state.set_grant(rev, grant);
            }
        });
        Ok(())
    }

    /// The steps that are not finished.
    ///
    /// # Errors
    /// The database fails.
    pub fn unfinished(&self) -> Result<Vec<Step>, LedgerError> {
        let stored = self.tables().steps.list("")?;
        Ok(stored.into_iter().map(|(_, _, step)| step).collect())
    }

    /// What has taken effect and is not on record yet, each under its name.
    ///
    /// # Errors
    /// The database fails.
    pub fn owed(&self) -> Result<Vec<(String, AuditEvent)>, LedgerError> {
        let stored = self.tables().owed.list("")?;
        Ok(stored.into_iter().map(|(name, _, event)| (name, event)).collect())
    }

    /// Notes that what stands under this name is on record.
    ///
    /// # Errors
    /// The database fails.
    pub fn paid(&self, name: &str) -> Result<(), LedgerError> {
        let tables = self.tables();
        if let Some((rev, _)) = tables.owed.get(name)? {
            tables.owed.delete(name, rev)?;
        }
        Ok(())
    }

    /// Forgets requests that were asked before this time and are decided; they stay in the log. Says how many.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_requests(&self, before: Timestamp) -> Result<usize, LedgerError> {
        let tables = self.tables();
        let old: Vec<_> = {
            let state = self.state();
            let reviewed = |request: &AccessRequest| request.glass.as_ref().is_none_or(|glass| glass.judged.is_some());
            let over = |request: &AccessRequest| {
                request.state(before).is_final() && request.asked < before && reviewed(request)
            };
            let live = |request: &AccessRequest| match &request.stored {
                RequestState::Granted { grant } => {
                    state.grants.get(grant).is_some_and(|(_, grant)| grant.until > before && grant.revoked.is_none())
                }
                RequestState::Pending
                | RequestState::Approved { .. }
                | RequestState::Denied
                | RequestState::Cancelled
                | RequestState::Expired
                | RequestState::Superseded => false,
            };
            let done = |request: &AccessRequest| request.stored.is_final() && reviewed(request) && !live(request);
            let mut newest: Vec<&(Rev, AccessRequest)> = state.requests.values().collect();
            newest.sort_by_key(|(_, request)| std::cmp::Reverse(request.asked));
            let mut kept: BTreeMap<&UserName, usize> = BTreeMap::new();
            let mut old = Vec::new();
            for (rev, request) in newest {
                let many = kept.entry(&request.person).or_default();
                *many = many.saturating_add(1);
                if (over(request) && !live(request)) || (*many > KEPT_MAX && done(request)) {
                    old.push((request.id.clone(), *rev));
                }
            }
            old
        };
        for (id, rev) in &old {
            tables.requests.delete(id.as_str(), *rev)?;
            self.change(|state| drop(state.requests.remove(id)));
        }
        Ok(old.len())
    }

    /// The users who approve by this rule, but the one who asks and the same human by other names.
    pub fn reviewers(&self, approvers: &Approvers, asker: &User, now: Timestamp) -> BTreeSet<UserName> {
        let state = self.state();
        let users = state.users.values().map(|(_, user)| user);
        users
            .filter(|user| !user.is_suspended(now) && user.human() != asker.human() && user.name != asker.name)
            .filter(|user| approvers.include(&user.name, &user.groups))
            .map(|user| user.name.clone())
            .collect()
    }
}
