//! `[[test]]` tables of a command set: lines, and what its writer wants of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cover::no_time;
use super::parse::MODES;
use super::{CommandSet, MenuEntry, MenuRequest, near_misses};
use crate::document::{Fault, Faults, Node, Table, parse_all, read_labels};
use crate::gate::effects;
use crate::gate::verdict::{Asker, By, CommandMode, Governed, Judgement, Outcome, Ticket, judge};
use crate::model::{AccountName, GroupName, RuleId, TargetName, Timestamp, UserName};

/// A `[[test]]` of a command set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTest {
    /// The line it starts at.
    pub line: usize,
    /// What its writer wants.
    pub expect: Expected,
    /// The lines, and where each stands in the file.
    pub lines: Vec<(String, usize)>,
    /// The mode; `None`: that of the set, or guard.
    mode: Option<CommandMode>,
    user: UserName,
    groups: BTreeSet<GroupName>,
    target: TargetName,
    labels: BTreeMap<String, String>,
    account: AccountName,
    ticket: Option<String>,
    at: Timestamp,
}

/// `allow RULE`, `deny default` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The outcome.
    pub outcome: Outcome,
    /// A rule's id, an entry's name, `default` or `not-understood`; empty if it does not matter.
    pub by: String,
}

/// What came of one line of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// The command line.
    pub command: String,
    /// Where it stands in the file.
    pub line: usize,
    /// What was wanted.
    pub expected: String,
    /// What came.
    pub got: String,
    /// The judgement.
    pub judgement: Judgement,
    /// Where a rule was to let it through: the one that comes nearest, and why it does not.
    pub near: Option<String>,
}

impl TestResult {
    /// Whether it is what was wanted.
    pub fn passed(&self) -> bool {
        self.expected == self.got || (self.expected == "deny" && self.got.starts_with("deny "))
    }
}

impl Expected {
    fn read(node: &Node<'_>) -> Result<Self, Fault> {
        let text = node.string()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let (outcome, by) = match words.as_slice() {
            ["allow", by] => (Outcome::Allow, *by),
            ["approve", by] => (Outcome::Approve, *by),
            ["deny", by] => (Outcome::Deny, *by),
            // Whatever refuses it.
            ["deny"] => (Outcome::Deny, ""),
            _ => {
                let hint =
                    "write allow RULE, approve RULE, deny RULE, allow default, deny default or deny not-understood";
                return Err(node.fault(format!("{text:?} is not an outcome")).hint(hint));
            }
        };
        if !["", "default", "not-understood"].contains(&by) {
            RuleId::parse(by).map_err(|invalid| node.fault(invalid.to_string()))?;
        }
        Ok(Self { outcome, by: by.to_owned() })
    }

    /// The rule that it names.
    pub fn rule(&self) -> Option<&str> {
        Some(self.by.as_str()).filter(|by| !["", "default", "not-understood"].contains(by))
    }
}

impl SetTest {
    pub(super) fn read(_file: &str, mut table: Table<'_>, faults: &mut Faults) -> Option<Self> {
        let line = table.line();
        let expect = table.need("expect", faults).and_then(|node| faults.keep(Expected::read(&node)));
        let asked = read_menu(&mut table, faults);
        let of_menu = asked.is_some();
        let lines = match asked {
            Some(asked) => asked.map(|request| vec![(request.line(), line)]),
            None => table.need("lines", faults).and_then(|node| {
                let items = faults.keep(node.filled_list())?;
                let read: Vec<Option<(String, usize)>> = items
                    .iter()
                    .map(|item| faults.keep(item.string()).map(|text| (text.to_owned(), item.line())))
                    .collect();
                read.into_iter().collect::<Option<Vec<_>>>()
            }),
        };
        let mode = match table.take("mode") {
            Some(node) => faults.keep(node.word(MODES)).map(Some),
            None => Some(of_menu.then_some(CommandMode::Menu)),
        };
        let given = table.take("as").map(|node| faults.keep(node.table()));
        table.finish(&[], faults);
        let mut test = Self {
            line,
            expect: expect?,
            lines: lines?,
            mode: mode?,
            user: UserName::parse("somebody").ok()?,
            groups: BTreeSet::new(),
            target: TargetName::parse("some-target").ok()?,
            labels: BTreeMap::new(),
            account: AccountName::parse("somebody").ok()?,
            ticket: None,
            at: no_time(),
        };
        if let Some(given) = given {
            test.read_given(given?, faults)?;
        }
        Some(test)
    }

    fn read_given(&mut self, mut given: Table<'_>, faults: &mut Faults) -> Option<()> {
        let user = given.take("user").map_or(Some(None), |node| faults.keep(node.name(UserName::parse)).map(Some));
        let groups = given.take("groups").map_or(Some(BTreeSet::new()), |node| {
            let items = faults.keep(node.list())?;
            parse_all(&items, GroupName::parse, "name each group", faults)
        });
        let target =
            given.take("target").map_or(Some(None), |node| faults.keep(node.name(TargetName::parse)).map(Some));
        let labels = given.take("labels").map_or(Some(BTreeMap::new()), |node| read_labels(&node, faults));
        let account =
            given.take("account").map_or(Some(None), |node| faults.keep(node.name(AccountName::parse)).map(Some));
        let ticket = given.take("ticket").map_or(Some(None), |node| faults.keep(node.string()).map(Some));
        let at = given.take("at").map_or(Some(None), |node| faults.keep(node.name(Timestamp::parse)).map(Some));
        given.finish(&[], faults);
        self.user = user?.unwrap_or_else(|| self.user.clone());
        self.groups = groups?;
        self.target = target?.unwrap_or_else(|| self.target.clone());
        self.labels = labels?;
        self.account = account?.unwrap_or_else(|| self.account.clone());
        self.ticket = ticket?.map(str::to_owned);
        self.at = at?.unwrap_or(no_time());
        Some(())
    }

    /// What comes of its lines by this set alone, with this table.
    pub fn results(&self, set: &Arc<CommandSet>, table: &effects::Table) -> Vec<TestResult> {
        RuleId::parse("test").map_or_else(|_| Vec::new(), |rule| self.run(set, &rule, table))
    }

    fn run(&self, set: &Arc<CommandSet>, rule: &RuleId, table: &effects::Table) -> Vec<TestResult> {
        let mode = self.mode.or(set.mode).unwrap_or(CommandMode::Guard);
        let governed = [Governed { rule: rule.clone(), commands: Some((mode, vec![Arc::clone(set)])) }];
        let asker = Asker {
            user: &self.user,
            groups: &self.groups,
            target: &self.target,
            labels: &self.labels,
            account: &self.account,
            ticket: Ticket::Of(self.ticket.as_deref()),
            at: self.at,
        };
        let run = |(command, line): &(String, usize)| {
            let judgement = judge(command, &governed, table, &asker);
            // In observe mode what counts is what would have been said.
            let would = judgement.would.last().filter(|_| mode == CommandMode::Observe);
            let (outcome, by) = would.map_or((judgement.outcome, &judgement.by), |would| (would.outcome, &would.by));
            let by = match by {
                By::NoSets | By::Unjudged(_) => String::from("default"),
                By::Rule(_) | By::Default | By::NotUnderstood { .. } => by.to_string(),
            };
            let expected = format!("{} {}", self.expect.outcome, self.expect.by).trim_end().to_owned();
            let got = format!("{outcome} {by}");
            let missed = expected != got && self.expect.outcome != Outcome::Deny;
            let near = missed.then(|| {
                let misses = near_misses(command, &governed, table, &asker);
                let meant = misses.iter().find(|miss| self.expect.rule() == Some(miss.rule.as_str()));
                meant.or(misses.first()).map(|miss| format!("not by rule `{}`: {}", miss.rule, miss.why))
            });
            TestResult { command: command.clone(), line: *line, expected, got, judgement, near: near.flatten() }
        };
        self.lines.iter().map(run).collect()
    }
}

/// `menu = "cache"` and `with = { site = "a" }`, in the place of lines; `None` if the test has none of them.
fn read_menu(table: &mut Table<'_>, faults: &mut Faults) -> Option<Option<MenuRequest>> {
    let (menu, with) = (table.take("menu"), table.take("with"));
    let Some(menu) = menu else {
        let with = with?;
        faults.push(with.fault("is of tests with `menu`").hint("write menu = \"NAME\", the name of an entry"));
        return Some(None);
    };
    let name = faults.keep(menu.name(RuleId::parse));
    let mut values = Some(BTreeMap::new());
    if let Some(table) = with.and_then(|node| {
        faults.keep(node.table()).or_else(|| {
            values = None;
            None
        })
    }) {
        let mut table = table;
        for (key, node) in table.rest() {
            let value = faults.keep(node.string());
            values = values.zip(value).map(|(mut values, value)| {
                values.insert(key.to_owned(), value.to_owned());
                values
            });
        }
    }
    Some(name.zip(values).map(|(name, with)| MenuRequest { name: name.to_string(), with }))
}

impl CommandSet {
    /// Runs its tests, each against this set alone.
    pub fn run_tests(self: &Arc<Self>, table: &effects::Table) -> Vec<TestResult> {
        self.tests.iter().flat_map(|test| test.results(self, table)).collect()
    }

    /// The rules that no test expects.
    pub fn untested(&self) -> impl Iterator<Item = &super::CommandRule> {
        let tested: BTreeSet<&str> = self.tests.iter().filter_map(|test| test.expect.rule()).collect();
        self.rules.iter().filter(move |rule| !rule.observe && !tested.contains(rule.id.as_str()))
    }

    /// The entries of its menu that no test expects.
    pub fn untested_entries(&self) -> impl Iterator<Item = &MenuEntry> {
        let tested: BTreeSet<&str> = self.tests.iter().filter_map(|test| test.expect.rule()).collect();
        self.menus.iter().filter(move |entry| !tested.contains(entry.name.as_str()))
    }

    /// Tests that failed, or that name a rule that is not there.
    pub(crate) fn refuse_failed(self: &Arc<Self>, table: &effects::Table, faults: &mut Faults) {
        for test in &self.tests {
            let rule = |id: &&str| self.rules.iter().any(|rule| rule.id.as_str() == *id);
            let entry = |id: &&str| self.menus.iter().any(|entry| entry.name.as_str() == *id);
            if let Some(id) = test.expect.rule().filter(|id| !rule(id) && !entry(id)) {
                let message = format!("there is no rule or menu entry `{id}` in this set");
                faults.push(Fault {
                    file: self.file.clone(),
                    line: Some(test.line),
                    key: String::from("test.expect"),
                    message,
                    hint: None,
                });
            }
        }
        if !faults.is_empty() {
            return;
        }
        for failed in self.run_tests(table).into_iter().filter(|result| !result.passed()) {
            let TestResult { command, line, expected, got, judgement, near } = failed;
            let why: String = judgement.reason.iter().chain(&near).map(|why| format!("; {why}")).collect();
            let message = format!("expected `{expected}`, got `{got}` (`{}`{why})", super::cover::harmless(&command));
            faults.push(Fault {
                file: self.file.clone(),
                line: Some(line),
                key: String::from("test"),
                message,
                hint: None,
            });
        }
    }
}
