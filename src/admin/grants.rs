//! Grants.

use std::time::Duration;

use super::api::{GrantRow, Reply};
use super::{Admin, AdminError, Caller, done};
use crate::grant::{Grant, GrantState, Revoked};
use crate::ledger::GrantEffect;
use crate::model::{Destination, GrantId, Timestamp, UserName};
use crate::policy::Decision;
use crate::requests::new_id;

/// A grant is for a piece of work; a longer one is a rule.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What `grant add` asks for.
pub(super) struct Wanted {
    pub(super) user: UserName,
    pub(super) destination: Destination,
    pub(super) from: Option<Timestamp>,
    pub(super) span: Duration,
    pub(super) reason: String,
}

impl Admin {
    pub(super) fn grant_add(&self, caller: Caller, wanted: Wanted) -> Result<Reply, AdminError> {
        let now = self.now();
        let until = wanted.from.unwrap_or(now).plus(wanted.span);
        let invalid = |why: &str, hint| Err(AdminError::Invalid { why: why.to_owned(), hint });
        if wanted.reason.trim().is_empty() || wanted.reason.chars().any(char::is_control) {
            return invalid("a grant needs a reason, in one line", "add --reason \"CHG-123 vacuum is stuck\"");
        }
        if wanted.span < Duration::from_secs(1) || wanted.span > SPAN_MAX {
            return invalid("a grant lasts from one second to 366 days", "write --for 30m, 1h or 2h30m");
        }
        if until <= now {
            return invalid("the grant would be over already", "give a --from that is later");
        }
        let Wanted { user, destination, from, span, reason } = wanted;
        match self.parts.ledger.grant_effect(&user, &destination).map_err(AdminError::Parties)? {
            GrantEffect::Opens(_) => {}
            GrantEffect::NotOperators(rule) => return Err(AdminError::NotByOperators { user, destination, rule }),
            GrantEffect::None => return Err(AdminError::NoRule { user, destination }),
            GrantEffect::Needless(decision) => {
                let rule = match decision {
                    Decision::Allow(allowed) | Decision::NeedsGrant(allowed) => Some(allowed.rule),
                    Decision::Deny(_) => None,
                };
                return Err(AdminError::Needless { user, destination, rule });
            }
        }
        let (id, created_by) =
            (new_id("g-", 8, GrantId::parse).map_err(|_| AdminError::NoRandomness)?, caller.to_string());
        let reason = reason.trim().to_owned();
        let make = |now: Timestamp| Grant {
            id,
            user,
            destination,
            from: from.unwrap_or(now),
            until: from.unwrap_or(now).plus(span),
            reason,
            created_by,
            created: now,
            revoked: None,
            request: None,
            rule: None,
            channels: None,
            sessions: None,
            begun: 0,
            bound_key: None,
        };
        let grant = self.parts.requests.give(make).map_err(AdminError::of_giving)?;
        Ok(Reply::Granted { grant: row(grant, self.now()) })
    }

    pub(super) fn grant_list(&self, all: bool) -> Reply {
        let now = self.now();
        let mut grants: Vec<GrantRow> = self.parts.ledger.grants().into_iter().map(|grant| row(grant, now)).collect();
        grants.retain(|row| all || matches!(row.state, GrantState::Scheduled | GrantState::Active));
        grants.sort_by(|a, b| (a.grant.created, &a.grant.id).cmp(&(b.grant.created, &b.grant.id)));
        Reply::Grants { grants }
    }

    pub(super) fn grant_revoke(
        &self,
        caller: Caller,
        id: &GrantId,
        reason: Option<String>,
    ) -> Result<Reply, AdminError> {
        let reason: Option<String> =
            reason.map(|reason| reason.chars().filter(|c| !c.is_control()).take(500).collect());
        let revoked = Revoked { by: caller.to_string(), at: self.now(), reason };
        let grant = self.parts.ledger.revoke_grant(id, revoked)?;
        let more = self.rejudge();
        self.parts.requests.settle().map_err(AdminError::of_revoke)?;
        Ok(done(format!("grant `{id}` of {} to {} revoked", grant.user, grant.destination), more))
    }
}

fn row(grant: Grant, now: Timestamp) -> GrantRow {
    GrantRow { state: grant.state(now), remaining_seconds: grant.remaining(now).as_secs(), grant }
}
