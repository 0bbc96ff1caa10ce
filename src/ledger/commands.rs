//! What the rules in force say of commands, to one user at one place and at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Ledger, question};
use crate::gate::verdict::{self, CommandMode, Governed, Judgement};
use crate::grant::{Asker, Denial, Grant, GrantState};
use crate::model::{Asked, Destination, GroupName, Timestamp, UserName};
use crate::policy::{GrantNeed, PolicyHash, PolicySet, Question, Rule};

/// What is judged by: the access rules that open a channel to a user now, and the facts at which their sets look. It is of
/// one policy set: one that is loaded meanwhile is for the next command.
pub struct Commands {
    policy: Arc<PolicySet>,
    governed: Vec<Governed>,
    user: UserName,
    groups: BTreeSet<GroupName>,
    destination: Destination,
    labels: BTreeMap<String, String>,
    ticket: Option<String>,
    at: Timestamp,
}

impl Ledger {
    /// What is judged by, of what this user runs there by this.
    ///
    /// # Errors
    /// `Denial` if the user or the target does not exist.
    pub fn commands(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Commands, Denial> {
        let assured = self.assurances.of(asker, now);
        let state = self.state();
        let (stored, target) = state.parties(asker.user, destination)?;
        let policy = state.policy();
        let (presence, circumstances) = (asker.presence, assured.circumstances(asker, now));
        let question = Question { presence, circumstances, ..question(stored, target, destination, Some(asked)) };
        let held: Vec<&Grant> = state
            .unended(asker.user, destination, now)
            .filter(|grant| grant.state(now) == GrantState::Active && grant.is_for_key(asker.key))
            .collect();
        let mut in_use: Option<&Grant> = None;
        let mut holds = |rule: &Rule| {
            let for_it = |grant: &&&Grant| grant.is_for(&rule.id, rule.grant.givers) && grant.opens(Some(asked.class));
            let grant = held.iter().find(for_it).copied();
            in_use = in_use.or(grant);
            rule.grant.need == GrantNeed::NotRequired || grant.is_some()
        };
        let rules: Vec<&Rule> =
            policy.rules().filter(|rule| rule.covers(&question) && rule.opens(question.asked)).collect();
        let rules: Vec<&Rule> = rules.into_iter().filter(|rule| holds(rule)).collect();
        let governed = rules.iter().map(|rule| policy.governs(rule)).collect();
        let request = in_use.and_then(|grant| grant.request.as_ref()).and_then(|id| state.requests.get(id));
        Ok(Commands {
            governed,
            user: stored.name.clone(),
            groups: stored.groups.clone(),
            destination: destination.clone(),
            labels: target.labels.clone(),
            ticket: request.and_then(|(_, request)| request.ticket.clone()),
            at: now,
            policy: Arc::clone(&policy),
        })
    }
}

impl Commands {
    /// The hardest mode of the sets that are in force; `None` if commands are not judged here.
    pub fn mode(&self) -> Option<CommandMode> {
        self.governed.iter().filter_map(|each| each.commands.as_ref()).map(|(mode, _)| *mode).max()
    }

    /// Judges a command line.
    pub fn judge(&self, line: &str) -> Judgement {
        let asker = verdict::Asker {
            user: &self.user,
            groups: &self.groups,
            target: &self.destination.target,
            labels: &self.labels,
            account: &self.destination.account,
            ticket: verdict::Ticket::Of(self.ticket.as_deref()),
            at: self.at,
        };
        verdict::judge(line, &self.governed, self.policy.effects(), &asker)
    }

    /// The hash of the policy set by which it is judged.
    pub fn policy(&self) -> &PolicyHash {
        self.policy.hash()
    }
}
