//! `doorward review --diff`: what to change so that the rights that are signed `remove` are gone. On standard output stands a
//! diff of the policy files as they lie on disk, as far as a name can be left out exactly; in words, on standard error, what
//! is for a person to decide. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use super::CliError;
use super::answers::ask;
use super::desk::{Desk, unexpected};
use super::output::{print, say};
use crate::admin::answers::{Inquiry, ROWS_MAX, Report, ReviewLine};
use crate::admin::api::{Reply, Request};
use crate::admin::fault_lines;
use crate::config::read_policies;
use crate::ledger::{SignOffVerdict, User};
use crate::model::{AccountName, GroupName, RuleId, TargetName, UserName, join};
use crate::policy::edit::{NotExact, unified, without_user};
use crate::policy::{Names, PolicyFile, PolicySet, Rule};

pub(super) fn run(desk: &Desk, group: Option<GroupName>, target: Option<TargetName>) -> Result<(), CliError> {
    let Report::Review { lines, .. } = ask(desk, Inquiry::Review { group, target, most: ROWS_MAX })? else {
        return Err(unexpected());
    };
    let Reply::Users { users } = desk.ask(Request::UserList {})? else { return Err(unexpected()) };
    let files = read_policies(&desk.config().policies)
        .map_err(|faults| CliError::of_faults("the policies cannot be read", &faults))?;
    let Proposal { after, words } = proposal(&lines, &users, &files);
    if words.is_empty() && after == files {
        say("no line is signed `remove`, or none of those rights is left");
        return Ok(());
    }
    words.iter().for_each(|line| say(format!("- {line}")));
    let diffs = files.iter().zip(&after).map(|(before, after)| unified(&before.path, &before.text, &after.text));
    print(&diffs.collect::<String>())?;
    if let Err(faults) = PolicySet::parse(&after) {
        say(
            "with this diff the policies do not load, most likely since their tests expect the right; change these, too:",
        );
        faults.iter().take(8).flat_map(fault_lines).for_each(say);
    }
    Ok(())
}

/// What to change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proposal {
    /// The policy files after it.
    after: Vec<PolicyFile>,
    /// What no diff says.
    words: Vec<String>,
}

/// What a rule opens to one user.
#[derive(Default)]
struct Right {
    removed: BTreeSet<AccountName>,
    stays: BTreeSet<AccountName>,
}

fn proposal(lines: &[ReviewLine], users: &[User], files: &[PolicyFile]) -> Proposal {
    let mut rights: BTreeMap<(&RuleId, &UserName), Right> = BTreeMap::new();
    for line in lines {
        let right = rights.entry((&line.rule, &line.user)).or_default();
        let is_removed = line.signed.as_ref().is_some_and(|signed| signed.verdict == SignOffVerdict::Remove);
        if is_removed { &mut right.removed } else { &mut right.stays }.insert(line.account.clone());
    }
    let rules: BTreeMap<RuleId, Rule> = match PolicySet::parse(files) {
        Ok(set) => set.rules().map(|rule| (rule.id.clone(), rule.clone())).collect(),
        Err(_) => BTreeMap::new(),
    };
    let mut proposal = Proposal { after: files.to_vec(), words: Vec::new() };
    for ((id, user), right) in rights.into_iter().filter(|(_, right)| !right.removed.is_empty()) {
        let Some(rule) = rules.get(id) else {
            proposal
                .words
                .push(format!("rule `{id}` of {user} is not in the files, or these do not load: look at them"));
            continue;
        };
        if !right.stays.is_empty() {
            let (removed, stays) = (join(&right.removed), join(&right.stays));
            proposal.words.push(format!(
                "{}:{}: rule `{id}` opens {stays} to {user} as well, which is not signed `remove`: take {removed} out of a \
                 rule of its own",
                rule.file, rule.line
            ));
            continue;
        }
        take_out(&mut proposal, rule, user, users);
    }
    proposal
}

fn take_out(proposal: &mut Proposal, rule: &Rule, user: &UserName, users: &[User]) {
    let (place, id) = (format!("{}:{}", rule.file, rule.line), &rule.id);
    let named = match &rule.who.users {
        Names::Every => {
            let words = "is for every user: name those who need it";
            return proposal.words.push(format!("{place}: rule `{id}` {words}, without {user}"));
        }
        Names::These(names) => names.contains(user),
    };
    if named {
        let file = proposal.after.iter_mut().find(|file| file.path == rule.file);
        let text = file.as_ref().ok_or(NotExact::NoRule).and_then(|file| without_user(&file.text, id, user));
        match (text, file) {
            (Ok(text), Some(file)) => file.text = text,
            (Err(NotExact::Alone), _) if rule.who.groups.is_empty() => {
                proposal.words.push(format!("{place}: rule `{id}` is for {user} alone: take the rule out"));
            }
            (Ok(_) | Err(_), _) => {
                proposal.words.push(format!("{place}: take \"{user}\" out of `who.users` of rule `{id}`"))
            }
        }
    }
    let own = users.iter().find(|one| one.name == *user).map(|one| one.groups.clone()).unwrap_or_default();
    let by: Vec<&GroupName> = rule.who.groups.intersection(&own).collect();
    if !by.is_empty() {
        let rest: String = own.difference(&rule.who.groups).map(|group| format!(" --group {group}")).collect();
        let rest = if rest.is_empty() { String::from(" --no-groups") } else { rest };
        proposal.words.push(format!(
            "rule `{id}` is for {user} as one of {}: `doorward user set {user}{rest}`, which takes other rules for that away, \
             too; groups stand in no policy file",
            join(by)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::ReviewSigned;
    use crate::model::Timestamp;

    const FILE: &str = "schema = 1\n[[rule]]\nid = \"named\"\nwho = { users = [\"alice\", \"bob\"], groups = [\"dba\"] }\n\
                        where = { targets = [\"db1\"] }\naccounts = [\"root\", \"web\"]\nchannels = [\"shell\"]\n\
                        [[rule]]\nid = \"alone\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                        accounts = [\"root\"]\nchannels = [\"shell\"]\n";

    fn line(user: &str, rule: &str, account: &str, verdict: Option<SignOffVerdict>) -> ReviewLine {
        let at = Timestamp::from_millis(0);
        let signed = |verdict| ReviewSigned { verdict, by: "uid 0".into(), at, note: "x".into() };
        ReviewLine {
            line: "x".into(),
            user: UserName::parse(user).unwrap(),
            suspended: false,
            account: AccountName::parse(account).unwrap(),
            place: "db1".into(),
            rule: RuleId::parse(rule).unwrap(),
            file: "policies/access/a.toml".into(),
            file_line: 2,
            channels: BTreeSet::new(),
            how: "open".into(),
            last_use: None,
            unused: true,
            signed: verdict.map(signed),
        }
    }

    fn proposed(lines: &[ReviewLine], groups: &[&str]) -> (String, Vec<String>) {
        let alice = User {
            name: UserName::parse("alice").unwrap(),
            groups: groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
            keys: Vec::new(),
            suspended_at: None,
            from: BTreeSet::new(),
            password_since: None,
            person: None,
            until: None,
        };
        let files = [PolicyFile { path: "policies/access/a.toml".into(), text: FILE.into() }];
        let Proposal { after, words } = proposal(lines, &[alice], &files);
        (unified(&after[0].path, FILE, &after[0].text), words)
    }

    #[test]
    fn who_is_signed_away_is_left_out_where_that_is_exact_and_else_it_is_said() {
        let remove = Some(SignOffVerdict::Remove);
        let both = [line("alice", "named", "root", remove), line("alice", "named", "web", remove)];
        let (diff, words) = proposed(&both, &["web"]);
        assert!(
            diff.contains("\n-who = { users = [\"alice\", \"bob\"]") && diff.contains("\n+who = { users = [\"bob\"]"),
            "{diff}"
        );
        assert!(words.is_empty(), "{words:?}");
        // A member of a group that the rule is for keeps it.
        let (diff, words) = proposed(&both, &["dba", "web"]);
        assert!(!diff.is_empty() && words.len() == 1 && words[0].contains("user set alice --group web"), "{words:?}");
        // What is kept by the same rule would go with it.
        for other in [None, Some(SignOffVerdict::Keep)] {
            let lines = [line("alice", "named", "root", remove), line("alice", "named", "web", other)];
            let (diff, words) = proposed(&lines, &[]);
            assert!(diff.is_empty() && words[0].contains("opens web to alice as well"), "{diff} {words:?}");
        }
        let (diff, words) = proposed(&[line("alice", "alone", "root", remove)], &[]);
        assert!(diff.is_empty() && words[0].contains("for alice alone"), "{diff} {words:?}");
        assert_eq!(proposed(&[line("alice", "alone", "root", None)], &[]), (String::new(), vec![]));
    }
}
