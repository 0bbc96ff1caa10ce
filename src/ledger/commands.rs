//! What the rules in force say of commands, to one user at one place and at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Ledger, question};
use crate::gate::directory::Directory;
use crate::gate::offer::{self, Form};
use crate::gate::rules::{MenuEntry, offered};
use crate::gate::verdict::{self, CommandMode, Governed, Judgement};
use crate::grant::{Asker, Denial, Grant, GrantState};
use crate::model::{Asked, Destination, GroupName, RuleId, Timestamp, UserName};
use crate::policy::{self, GrantNeed, Guarded, Integration, OnGap, PolicyHash, PolicySet, Question, Rule};

/// What is judged by: the access rules that open a channel to a user now, and the facts at which their sets look. It is of
/// one policy set: one that is loaded meanwhile is for the next command.
#[derive(Clone)]
pub struct Commands {
    policy: Arc<PolicySet>,
    governed: Vec<Governed>,
    /// What the rules among them say of shells in guard, each of which judges what is typed.
    guarded: Vec<(RuleId, Guarded)>,
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
    /// `Denial` if no rule opens it: then none says how commands are judged, and one that opens it a moment later has not
    /// judged this one.
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
        let about = policy.rules_about(question.user, question.groups);
        let rules: Vec<&Rule> = about
            .filter(|rule| rule.covers(&question) && rule.opens(question.asked))
            .filter(|rule| holds(rule))
            .collect();
        if rules.is_empty() {
            let undecided =
                || Denial::Undecided { cause: String::from("it is open by no rule that is about commands") };
            return Err(state.permit_asked(asker, &assured, destination, asked, now).err().unwrap_or_else(undecided));
        }
        let governed = rules.iter().map(|rule| policy.governs(rule)).collect();
        let guards = |commands: &&policy::Commands| commands.mode == CommandMode::Guard && !commands.unjudged_shell;
        let guarded = |rule: &&Rule| {
            let commands = rule.commands.as_ref().filter(guards)?;
            Some((rule.id.clone(), commands.guarded.clone()))
        };
        let guarded = rules.iter().filter_map(guarded).collect();
        let request = in_use.and_then(|grant| grant.request.as_ref()).and_then(|id| state.requests.get(id));
        Ok(Commands {
            governed,
            guarded,
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

    /// Whether each line of a shell is held until it is judged.
    pub fn guards_shells(&self) -> bool {
        self.mode() == Some(CommandMode::Guard) && !self.guarded.is_empty()
    }

    /// Whether nothing that is typed in a shell runs before it was judged, in one of the target's or of the bastion's own.
    pub fn holds_shells(&self) -> bool {
        self.mode().is_some_and(CommandMode::is_strict) || self.guards_shells()
    }

    /// What becomes of a gap: the hardest that a rule says.
    pub fn on_gap(&self) -> OnGap {
        self.guarded.iter().map(|(_, guarded)| guarded.on_gap).max().unwrap_or_default()
    }

    /// Whether shells are asked to say their lines themselves: where one rule wants that of none, none is.
    pub fn integrates(&self) -> bool {
        self.guarded.iter().all(|(_, guarded)| guarded.integration == Integration::On)
    }

    /// What is judged by at the prompt of another program; `None` if a rule that judges here has no set for it.
    pub fn within(&self, program: &str) -> Option<Self> {
        let inside = |(rule, guarded): &(RuleId, Guarded)| {
            let sets = guarded.nested.get(program)?.clone();
            Some(Governed { rule: rule.clone(), commands: Some((CommandMode::Guard, sets)) })
        };
        let governed = self.guarded.iter().map(inside).collect::<Option<Vec<_>>>()?;
        (!governed.is_empty()).then(|| Self { governed, ..self.clone() })
    }

    /// Judges a command line that starts in the account's home.
    pub fn judge(&self, line: &str) -> Judgement {
        self.judge_in(None, line)
    }

    /// Judges a command line that starts in this directory, or in the account's home.
    pub fn judge_in(&self, directory: Option<&Directory>, line: &str) -> Judgement {
        let asker = self.asker();
        match directory {
            Some(directory) => verdict::judge_in(directory, line, &self.governed, self.policy.effects(), &asker),
            None => verdict::judge(line, &self.governed, self.policy.effects(), &asker),
        }
    }

    /// The entries of menus that are there now.
    pub fn menu(&self) -> Vec<MenuEntry> {
        offered(&self.governed, &self.asker()).into_iter().map(|offered| offered.entry.clone()).collect()
    }

    /// The forms of commands that may be typed now.
    pub fn forms(&self) -> Vec<Form> {
        offer::forms(&self.governed, &self.asker())
    }

    /// What may stand in place of the word before byte `at`.
    pub fn offers(&self, line: &str, at: usize) -> offer::Offers {
        offer::offers(line, at, &self.governed, &self.asker())
    }

    fn asker(&self) -> verdict::Asker<'_> {
        verdict::Asker {
            user: &self.user,
            groups: &self.groups,
            target: &self.destination.target,
            labels: &self.labels,
            account: &self.destination.account,
            ticket: verdict::Ticket::Of(self.ticket.as_deref()),
            at: self.at,
        }
    }

    /// The hash of the policy set by which it is judged.
    pub fn policy(&self) -> &PolicyHash {
        self.policy.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::ledger::Target;
    use crate::ledger::User;
    use crate::model::{ChannelClass, TargetName};
    use crate::policy::PolicyFile;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a";
    const RULES: &str = r#"
schema = 1
[[rule]]
id = "work"
who = { users = ["alice"] }
where = { targets = ["db1"] }
accounts = ["root"]
channels = ["exec"]
grant = { required = false }
commands = { mode = "strict", sets = ["few"] }
[[rule]]
id = "asked-for"
who = { users = ["bob"] }
where = { targets = ["db1"] }
accounts = ["root"]
channels = ["exec"]
"#;
    const FEW: &str = r#"
schema = 1
mode = "strict"
[[rule]]
id = "uptime"
effect = "allow"
program = "/usr/bin/uptime"
reason = "harmless"
[[test]]
expect = "allow uptime"
lines = ["uptime"]
"#;

    fn ledger() -> Ledger {
        let file = |path: &str, text: &str| PolicyFile { path: path.into(), text: text.into() };
        let files = [file("access/a.toml", RULES), file("commands/few.toml", FEW)];
        let ledger = Ledger::open(&Db::in_memory().unwrap(), PolicySet::parse(&files).unwrap()).unwrap();
        for name in ["alice", "bob"] {
            ledger
                .add_user(User {
                    name: UserName::parse(name).unwrap(),
                    groups: BTreeSet::new(),
                    keys: Vec::new(),
                    suspended_at: None,
                    from: BTreeSet::new(),
                    password_since: None,
                    person: None,
                    until: None,
                })
                .unwrap();
        }
        ledger
            .add_target(Target {
                name: TargetName::parse("db1").unwrap(),
                address: "10.0.0.5:22".to_owned(),
                labels: BTreeMap::new(),
                host_keys: vec![KEY.to_owned()],
                accounts: BTreeSet::new(),
                insecure_algorithms: false,
                desktop: None,
            })
            .unwrap();
        ledger
    }

    fn commands(name: &str, class: ChannelClass) -> Result<Commands, Denial> {
        let (user, at) = (UserName::parse(name).unwrap(), Timestamp::from_millis(5));
        let destination = Destination::parse("root@db1").unwrap();
        ledger().commands(Asker::plain(&user, "k"), &destination, &Asked { class, matter: None }, at)
    }

    #[test]
    fn p7_where_no_rule_opens_a_channel_its_commands_are_refused_and_not_left_unjudged() {
        let judged = commands("alice", ChannelClass::Exec).unwrap();
        assert_eq!(judged.mode(), Some(CommandMode::Strict));
        // A rule that goes by a grant, without one; a channel of which no rule speaks; somebody whom no rule names.
        assert!(matches!(commands("bob", ChannelClass::Exec), Err(Denial::NeedsGrant { .. })));
        assert!(commands("alice", ChannelClass::Shell).is_err());
        assert!(commands("carol", ChannelClass::Exec).is_err());
    }
}
