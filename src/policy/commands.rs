//! A rule's `commands`, and the files that it names: `policies/commands/*.toml`, `policies/effects/*.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lint::{Finding, UNTESTED};
use super::{PolicyFile, PolicySet, Rule};
use crate::document::{Fault, Faults, Node};
use crate::gate::effects::Table;
use crate::gate::rules::{CommandSet, MODES};
use crate::gate::verdict::{CommandMode, Governed, Outcome};

const SHELLS: &[(&str, ())] = &[("unjudged", ())];
const ON_GAP: &[(&str, OnGap)] = &[("alert", OnGap::Alert), ("approve", OnGap::Approve), ("end", OnGap::End)];

/// What becomes of a shell in guard in which something may have run that nobody has read, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum OnGap {
    /// Security people are told.
    #[default]
    Alert,
    /// The session stands still until somebody who watches over it lets it go on.
    Approve,
    /// The session ends.
    End,
}

const INTEGRATION: &[(&str, Integration)] = &[("on", Integration::On), ("off", Integration::Off)];

/// Whether shells in guard are asked to say their lines themselves, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Integration {
    /// Those that can.
    #[default]
    On,
    /// None: each starts as its target starts it, and its lines are read from the screen.
    Off,
}

/// What a rule says of shells in guard, beside the sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guarded {
    /// What becomes of gaps.
    pub on_gap: OnGap,
    /// The sets for lines at the prompt of a program that a shell starts, by its name. Others are not let run.
    pub nested: BTreeMap<String, Vec<Arc<CommandSet>>>,
    /// Whether shells say their lines themselves.
    pub integration: Integration,
}

/// A rule's `commands`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// How far the gate goes.
    pub mode: CommandMode,
    /// The sets, in the order of the rule.
    pub sets: Vec<Arc<CommandSet>>,
    /// Whether shells are opened in which nothing is judged.
    pub unjudged_shell: bool,
    /// What is said of shells in guard.
    pub guarded: Guarded,
}

/// Which directory of the policies a file stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `access/`, and wherever a file stood before there were others.
    Access,
    /// `commands/`.
    Commands,
    /// `effects/`.
    Effects,
}

impl Kind {
    pub(super) fn of(file: &PolicyFile) -> Self {
        let directory = file.path.rsplit('/').nth(1);
        match directory {
            Some("commands") => Self::Commands,
            Some("effects") => Self::Effects,
            Some(_) | None => Self::Access,
        }
    }
}

/// The command sets by name, and the effects table.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) sets: BTreeMap<String, Arc<CommandSet>>,
    pub(super) table: Table,
    /// Sets that have faults: to name them is none more.
    broken: BTreeSet<String>,
}

impl Sets {
    pub(super) fn read(files: &[&PolicyFile], faults: &mut Faults) -> Self {
        let of = |kind: Kind| files.iter().filter(move |file| Kind::of(file) == kind);
        let effects: Vec<(&str, &str)> =
            of(Kind::Effects).map(|file| (file.path.as_str(), file.text.as_str())).collect();
        let table = match Table::built_in().with(&effects) {
            Ok(table) => table,
            Err(found) => {
                found.into_iter().for_each(|fault| faults.push(fault));
                Table::built_in().clone()
            }
        };
        let (mut sets, mut broken) = (BTreeMap::new(), BTreeSet::new());
        for file in of(Kind::Commands) {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let name = name.strip_suffix(".toml").unwrap_or(name);
            match CommandSet::read(name, &file.path, &file.text, faults) {
                Some(set) => drop(sets.insert(name.to_owned(), Arc::new(set))),
                None => drop(broken.insert(name.to_owned())),
            }
        }
        Self { sets, table, broken }
    }

    /// Runs the tests of every set.
    pub(super) fn run_tests(&self, faults: &mut Faults) {
        for set in self.sets.values() {
            let mut own = Faults::default();
            set.refuse_failed(&self.table, &mut own);
            own.into_sorted().into_iter().for_each(|fault| faults.push(fault));
        }
    }

    pub(super) fn warnings(&self) -> impl Iterator<Item = Finding> {
        self.sets.values().flat_map(|set| {
            let rules = set.untested().map(|rule| {
                let hint = "add a [[test]] with lines that it is for, and one with lines that it must not be for";
                ("rule", &rule.id, rule.line, hint)
            });
            let entries = set.untested_entries().map(|entry| {
                let hint =
                    "add a [[test]] with menu = \"...\" and values that it takes, and one with values that it does not";
                ("menu", &entry.name, entry.line, hint)
            });
            rules.chain(entries).map(|(key, id, line, hint)| {
                let what = if key == "menu" { "menu entry" } else { key };
                let message = format!("no test expects {what} `{id}` of the command set `{}`", set.name);
                let (file, key) = (set.file.clone(), String::from(key));
                let fault = Fault { file, line: Some(line), key, message, hint: None };
                Finding { check: UNTESTED, fault: fault.hint(hint) }
            })
        })
    }
}

impl Commands {
    /// Reads a rule's `commands`.
    pub(super) fn read(node: &Node<'_>, sets: &Sets, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let mode = table.need("mode", faults).and_then(|node| faults.keep(node.word(MODES)));
        let named = table.need("sets", faults).and_then(|node| {
            let items = faults.keep(node.filled_list())?;
            let read: Vec<Option<Option<Arc<CommandSet>>>> =
                items.iter().map(|item| faults.keep(named(item, mode, sets))).collect();
            read.into_iter().collect::<Option<Vec<_>>>()
        });
        let on_gap = table.take("on_gap");
        let nested_at = table.take("nested");
        let integration = table.take("integration");
        let of_guard = on_gap.iter().chain(&nested_at).chain(&integration);
        for node in of_guard.filter(|_| mode.is_some_and(|mode| mode != CommandMode::Guard)) {
            faults.push(node.fault("is for shells in guard"));
        }
        let on_gap = on_gap.as_ref().map_or(Some(OnGap::default()), |node| faults.keep(node.word(ON_GAP)));
        let integration =
            integration.as_ref().map_or(Some(Integration::default()), |node| faults.keep(node.word(INTEGRATION)));
        let nested = nested_at.as_ref().map_or(Some(BTreeMap::new()), |node| nested(node, mode, sets, faults));
        let shell_at = table.take("shell");
        let shell = shell_at.as_ref().map_or(Some(None), |node| faults.keep(node.word(SHELLS)).map(Some));
        table.finish(&[], faults);
        if let (Some(mode), Some(node)) = (mode.filter(|mode| mode.is_strict()), &shell_at) {
            faults.push(node.fault(format!("lets a shell run what nobody judges, and the mode is {mode}")));
        }
        let (mode, named) = (mode?, named?);
        let sets: Vec<Arc<CommandSet>> = named.into_iter().flatten().collect();
        if mode == CommandMode::Guard && !sets.is_empty() && sets.iter().all(|set| set.default.is_none()) {
            let message = "nothing says what becomes of a command that no rule names";
            faults.push(node.fault(message).hint("one of the sets has mode = \"guard\" and a `default`"));
        }
        if mode == CommandMode::Menu {
            for (name, first, second) in twice(&sets) {
                let message =
                    format!("`{first}` and `{second}` both have an entry `{name}`: nobody could tell which runs");
                faults.push(node.fault(message).hint("give one of the two another name"));
            }
        }
        let unjudged_shell = mode == CommandMode::Observe || shell? == Some(());
        let guarded = Guarded { on_gap: on_gap?, nested: nested?, integration: integration? };
        Some(Self { mode, sets, unjudged_shell, guarded })
    }
}

/// Entries of one name in two sets.
fn twice(sets: &[Arc<CommandSet>]) -> Vec<(String, String, String)> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let all = sets.iter().flat_map(|set| set.menus.iter().map(move |entry| (entry.name.as_str(), set.name.as_str())));
    all.filter_map(|(name, set)| {
        seen.insert(name, set).map(|first| (name.to_owned(), first.to_owned(), set.to_owned()))
    })
    .filter(|(_, first, second)| first != second)
    .collect()
}

/// The sets for lines at other programs' prompts.
fn nested(
    node: &Node<'_>,
    mode: Option<CommandMode>,
    sets: &Sets,
    faults: &mut Faults,
) -> Option<BTreeMap<String, Vec<Arc<CommandSet>>>> {
    let mut nested = BTreeMap::new();
    for (program, node) in faults.keep(node.table())?.rest() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        if program.is_empty() || !program.chars().all(plain) || crate::guard::name_of(program) != program {
            let hint = format!("it is known as `{}`", crate::guard::name_of(program));
            faults.push(node.fault("a program is named without its directory and its version").hint(hint));
        }
        let items = faults.keep(node.filled_list())?;
        let read: Vec<Option<Option<Arc<CommandSet>>>> =
            items.iter().map(|item| faults.keep(named(item, mode, sets))).collect();
        let read: Vec<Arc<CommandSet>> = read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        if !read.is_empty() && read.iter().all(|set| set.default.is_none()) {
            let message = "nothing says what becomes of a line that no rule names";
            faults.push(node.fault(message).hint("one of the sets has mode = \"guard\" and a `default`"));
        }
        nested.insert(program.to_owned(), read);
    }
    Some(nested)
}

/// The set by this name; `None` if it has faults of its own.
fn named(node: &Node<'_>, mode: Option<CommandMode>, sets: &Sets) -> Result<Option<Arc<CommandSet>>, Fault> {
    let name = node.filled_string()?;
    let Some(set) = sets.sets.get(name) else {
        if sets.broken.contains(name) {
            return Ok(None);
        }
        let known = crate::model::join(sets.sets.keys());
        let hint =
            if known.is_empty() { String::from("there is no file in commands/") } else { format!("known: {known}") };
        return Err(node.fault(format!("there is no command set `{name}`")).hint(hint));
    };
    match (mode, set.mode) {
        (Some(CommandMode::Guard), Some(CommandMode::Strict)) => Err(node
            .fault(format!("`{name}` is a set for strict: in guard it would not prevent what it says"))
            .hint("write mode = \"strict\", or name a set that is written for guard")),
        (Some(CommandMode::Guard | CommandMode::Strict), Some(CommandMode::Menu)) => Err(node
            .fault(format!("`{name}` is a set for menus: its entries are for nobody elsewhere"))
            .hint("write mode = \"menu\"")),
        (Some(mode), _) if mode.is_strict() && set.default == Some(Outcome::Allow) => Err(node
            .fault(format!("`{name}` lets through what no rule names (`default = \"allow\"`), and the mode is {mode}"))
            .hint("name a set of mode = \"strict\"; one without `mode` and `default` adds its rules to any")),
        (Some(_) | None, _) => Ok(Some(Arc::clone(set))),
    }
}

impl PolicySet {
    /// The command sets by name.
    pub fn command_sets(&self) -> impl Iterator<Item = &Arc<CommandSet>> {
        self.0.sets.sets.values()
    }

    /// What programs do: the table that is built in, with the files of `effects/`.
    pub fn effects(&self) -> &Table {
        &self.0.sets.table
    }

    /// What a rule of this set says of commands.
    pub fn governs(&self, rule: &Rule) -> Governed {
        let commands = rule.commands.as_ref().map(|commands| (commands.mode, commands.sets.clone()));
        Governed { rule: rule.id.clone(), commands }
    }
}
