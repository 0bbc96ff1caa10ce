//! The text of a command set becomes its rules, or all its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::args::{Arg, Flag};
use super::menu::MenuEntry;
use super::paths::{HostPattern, PathPattern, Paths};
use super::test::SetTest;
use super::{CommandRule, CommandSet, Context, Index, base_name};
use crate::approvers::Approvers;
use crate::document::{Document, Fault, Faults, Node, Table, names, read_labels, words};
use crate::gate::effects::EffectKind;
use crate::gate::shell::is_unseen;
use crate::gate::verdict::{AlertLevel, ApprovalNeed, CommandMode, OnMatch, Outcome};
use crate::model::{GroupName, RuleId, Timestamp};
use crate::pattern::Pattern;
use crate::window::Window;

const OUTCOMES: &[(&str, Outcome)] =
    &[("allow", Outcome::Allow), ("approve", Outcome::Approve), ("deny", Outcome::Deny)];
const DEFAULTS: &[(&str, Outcome)] = &[("allow", Outcome::Allow), ("deny", Outcome::Deny)];
/// The modes, as policies name them.
pub(crate) const MODES: &[(&str, CommandMode)] = &[
    ("strict", CommandMode::Strict),
    ("guard", CommandMode::Guard),
    ("observe", CommandMode::Observe),
    ("menu", CommandMode::Menu),
];
const SET_MODES: &[(&str, CommandMode)] =
    &[("strict", CommandMode::Strict), ("guard", CommandMode::Guard), ("menu", CommandMode::Menu)];
const ALERTS: &[(&str, AlertLevel)] =
    &[("low", AlertLevel::Low), ("medium", AlertLevel::Medium), ("high", AlertLevel::High)];
const ON_MATCH: &[(&str, OnMatch)] = &[("pause", OnMatch::Pause), ("end", OnMatch::End)];
/// The grammar of shells by which lines are read.
const SHELLS: &[(&str, ())] = &[("posix", ())];
const WITHIN: Duration = Duration::from_secs(600);
const WITHIN_MIN: Duration = Duration::from_secs(5);
const WITHIN_MAX: Duration = Duration::from_secs(24 * 3600);
const REASON_BYTES_MAX: usize = 512;

impl CommandSet {
    /// Reads a file of `policies/commands/`; `name` is the file's without `.toml`. `None` if it has a fault.
    pub(crate) fn read(name: &str, file: &str, text: &str, faults: &mut Faults) -> Option<Self> {
        let mut own = Faults::default();
        let read = read_set(name, file, text, &mut own);
        let good = own.is_empty();
        own.into_sorted().into_iter().for_each(|fault| faults.push(fault));
        read.filter(|_| good)
    }
}

fn read_set(name: &str, file: &str, text: &str, faults: &mut Faults) -> Option<CommandSet> {
    let document = Document::parse(file, text, faults)?;
    let mut root = document.root();
    match root.take("schema").map(|node| (node.integer(), node)) {
        Some((Ok(1), _)) => {}
        Some((Ok(other), node)) => {
            faults.push(node.fault(format!("schema {other} is not known; this version reads schema 1")));
            return None;
        }
        Some((Err(fault), _)) => faults.push(fault),
        None => faults.push(Fault::in_file(file, "`schema` is missing").hint("begin the file with `schema = 1`")),
    }
    let mode = root.read("mode", None, faults, |node| node.word(SET_MODES).map(Some));
    let default_at = root.take("default");
    let default = default_at.as_ref().and_then(|node| faults.keep(node.word(DEFAULTS)));
    if let Some(node) = root.take("shell") {
        faults.keep(node.word(SHELLS));
    }
    match (mode, default, &default_at) {
        (Some(mode), Some(Outcome::Allow), Some(node)) if mode.is_strict() => faults.push(
            node.fault(format!("is never \"allow\" in {mode}: what no rule names is refused there"))
                .hint("write \"deny\", or make it a set of mode = \"guard\""),
        ),
        (Some(CommandMode::Guard), _, None) => faults.push(
            Fault::in_file(file, "`default` is missing")
                .hint("write default = \"allow\", or \"deny\": in guard it is said in so many words"),
        ),
        (None, _, Some(node)) => faults.push(
            node.fault("is of a set with a mode, and `mode` is missing")
                .hint("write mode = \"strict\" or \"guard\"; a set without both only adds its rules to others"),
        ),
        (_, _, _) => {}
    }
    let rules: Vec<CommandRule> = tables(root.take("rule"), faults)
        .into_iter()
        .filter_map(|table| read_rule(file, mode, table, faults))
        .collect();
    let menus: Vec<MenuEntry> = tables(root.take("menu"), faults)
        .into_iter()
        .filter_map(|table| MenuEntry::read(file, mode, table, faults))
        .collect();
    let tests =
        tables(root.take("test"), faults).into_iter().filter_map(|table| SetTest::read(file, table, faults)).collect();
    root.finish(&[], faults);
    let mut seen: BTreeMap<&RuleId, usize> = BTreeMap::new();
    for rule in &rules {
        if let Some(line) = seen.insert(&rule.id, rule.line) {
            faults.push(fault(
                file,
                rule.line,
                "rule.id",
                format!("`{}` is already the id of the rule at line {line}", rule.id),
            ));
        }
    }
    // What is on record names one or the other.
    for entry in &menus {
        if let Some(line) = seen.insert(&entry.name, entry.line) {
            let message = format!("`{}` is already the name of what stands at line {line}", entry.name);
            faults.push(fault(file, entry.line, "menu.name", message));
        }
    }
    let default = match mode {
        Some(CommandMode::Strict | CommandMode::Menu) => Some(Outcome::Deny),
        Some(CommandMode::Guard | CommandMode::Observe) | None => default,
    };
    let index = Index::of(&rules);
    Some(CommandSet { name: name.to_owned(), file: file.to_owned(), mode, default, rules, menus, tests, index })
}

fn fault(file: &str, line: usize, key: &str, message: String) -> Fault {
    Fault { file: file.to_owned(), line: Some(line), key: key.to_owned(), message, hint: None }
}

fn tables<'d>(node: Option<Node<'d>>, faults: &mut Faults) -> Vec<Table<'d>> {
    let list =
        |node: Node<'d>| node.list().map_err(|fault| fault.hint("write its header in double brackets, `[[...]]`"));
    let items = node.and_then(|node| faults.keep(list(node))).unwrap_or_default();
    items.iter().filter_map(|item| faults.keep(item.table())).collect()
}

fn read_rule(file: &str, mode: Option<CommandMode>, mut table: Table<'_>, faults: &mut Faults) -> Option<CommandRule> {
    let line = table.line();
    let id = table.need("id", faults).and_then(|node| faults.keep(node.name(RuleId::parse)));
    let outcome = table.need("effect", faults).and_then(|node| faults.keep(node.word(OUTCOMES)));
    let refuses = outcome == Some(Outcome::Deny);
    let programs = table.take("program").map_or(Some(Vec::new()), |node| read_programs(&node, refuses, faults));
    let args = table.take("args").map_or(Some(None), |node| {
        each(node.list(), faults, |item| {
            let text = item.string()?;
            Arg::parse(text).map_err(|why| item.fault(format!("{text:?} is no argument of a rule")).hint(why))
        })
        .map(Some)
    });
    let args_odd = args.as_ref().and_then(Option::as_ref).and_then(|args| odd_args(args, refuses));
    let flags = table.take("flags").map_or(Some(None), |node| read_flags(&node, programs.as_deref(), faults).map(Some));
    let effects = table.take("effects").map_or(Some(BTreeSet::new()), |node| words(&node, &EffectKind::WORDS, faults));
    let mut paths = Some(BTreeMap::new());
    for (key, kind) in [("reads", EffectKind::Read), ("writes", EffectKind::Write), ("deletes", EffectKind::Delete)] {
        let Some(node) = table.take(key) else { continue };
        let read = each(node.filled_list(), faults, |item| {
            let text = item.string()?;
            PathPattern::parse(text).map_err(|why| item.fault(format!("{text:?} is not a path")).hint(why))
        });
        paths = paths.zip(read).map(|(mut paths, read)| {
            paths.insert(kind, Paths::of(read));
            paths
        });
    }
    let hosts = table.take("hosts").map_or(Some(Vec::new()), |node| {
        each(node.filled_list(), faults, |item| {
            let text = item.string()?;
            HostPattern::parse(text).map_err(|why| item.fault(format!("{text:?} is no host")).hint(why))
        })
    });
    let switches = ["pipe", "globs", "pty"].map(|key| (key, table.take(key)));
    for (key, node) in switches.iter().filter(|_| refuses) {
        if let Some(node) = node {
            faults.push(node.fault(format!("`{key}` is of rules that allow, and this one forbids")));
        }
    }
    let [pipe, globs, pty] =
        switches.map(|(_, node)| node.and_then(|node| faults.keep(node.boolean())).unwrap_or(false));
    let observe = table.read("observe", false, faults, Node::boolean);
    let terms = Terms::read(&mut table, outcome, mode, faults);
    if let Some(why) = args_odd {
        faults.push(table.fault(why));
    }
    if let (Some(programs), Some(effects), Some(paths), Some(hosts)) = (&programs, &effects, &paths, &hosts) {
        let no_effect = effects.is_empty() && paths.is_empty() && hosts.is_empty();
        if programs.is_empty() && (!refuses || no_effect) {
            let message = if refuses { "names neither a program nor an effect" } else { "names no program" };
            faults.push(table.fault(message).hint("write program = \"/usr/bin/systemctl\""));
        }
        for (kind, key) in [(EffectKind::Read, "reads"), (EffectKind::Write, "writes"), (EffectKind::Delete, "deletes")]
        {
            if effects.contains(&kind) && paths.contains_key(&kind) {
                let message = format!("`{key}` has no effect: `effects` names each {}", super::word_of(kind));
                faults.push(table.fault(message).hint("remove one of the two"));
            }
        }
        if effects.contains(&EffectKind::NetOut) && !hosts.is_empty() {
            faults
                .push(table.fault("`hosts` has no effect: `effects` names each net-out").hint("remove one of the two"));
        }
    }
    table.finish(&[], faults);
    let Terms { context, reason, owner, expires, alert, on_match, approval } = terms?;
    Some(CommandRule {
        id: id?,
        file: file.to_owned(),
        line,
        outcome: outcome?,
        programs: programs?,
        args: args?,
        flags: flags?,
        effects: effects?,
        paths: paths?,
        hosts: hosts?,
        pipe,
        pty,
        globs,
        context,
        reason,
        owner,
        expires,
        alert,
        observe,
        on_match,
        approval,
    })
}

/// What a rule and an entry of a menu say besides what is run.
pub(super) struct Terms {
    pub(super) context: Context,
    pub(super) reason: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) alert: Option<AlertLevel>,
    pub(super) on_match: Option<OnMatch>,
    pub(super) approval: Option<ApprovalNeed>,
}

impl Terms {
    pub(super) fn read(
        table: &mut Table<'_>,
        outcome: Option<Outcome>,
        mode: Option<CommandMode>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let context = read_context(table, mode, faults);
        let reason = table.take("reason").map_or(Some(None), |node| faults.keep(read_line(&node)).map(Some));
        let owner = table.take("owner").map_or(Some(None), |node| faults.keep(read_line(&node)).map(Some));
        let expires = table.take("expires").map_or(Some(None), |node| faults.keep(read_moment(&node)).map(Some));
        let alert = table.take("alert").map_or(Some(None), |node| faults.keep(node.word(ALERTS)).map(Some));
        let on_match = table.take("on_match").map_or(Some(None), |node| faults.keep(node.word(ON_MATCH)).map(Some));
        let approval = match (outcome, table.take("approvers")) {
            (Some(Outcome::Approve), Some(node)) => read_approval(&node, faults).map(Some),
            (Some(Outcome::Approve), None) => {
                faults.push(table.fault("`approvers` is missing").hint("write approvers = { group = \"leads\" }"));
                None
            }
            (_, Some(node)) => {
                faults.push(node.fault("is of rules with effect = \"approve\""));
                None
            }
            (_, None) => Some(None),
        };
        if reason == Some(None) && outcome.is_some_and(|outcome| outcome != Outcome::Allow) {
            let hint = "say in a line why, for the user who reads it: reason = \"...\"";
            faults.push(table.fault("`reason` is missing").hint(hint));
        }
        Some(Self {
            context: context?,
            reason: reason?,
            owner: owner?,
            expires: expires?,
            alert: alert?,
            on_match: on_match?,
            approval: approval?,
        })
    }
}

/// Reads every item, so that a first bad one does not hide the second.
fn each<'d, T>(
    items: Result<Vec<Node<'d>>, Fault>,
    faults: &mut Faults,
    read: impl Fn(&Node<'d>) -> Result<T, Fault>,
) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = faults.keep(items)?.iter().map(|item| faults.keep(read(item))).collect();
    read.into_iter().collect()
}

fn odd_args(args: &[Arg], refuses: bool) -> Option<&'static str> {
    if args.is_empty() && refuses {
        return Some("`args` is empty; leave it out to forbid the program whatever its arguments are");
    }
    let early = args.iter().position(|arg| *arg == Arg::Rest).is_some_and(|at| at.saturating_add(1) < args.len());
    early.then_some("`...` is the last of `args`, or left out")
}

/// One program or a list of them: a full path; where a rule forbids, a bare name, too.
fn read_programs(node: &Node<'_>, refuses: bool, faults: &mut Faults) -> Option<Vec<String>> {
    let items = if node.as_str().is_some() { Ok(vec![node.clone()]) } else { node.filled_list() };
    each(items, faults, |item| {
        let text = item.filled_string()?;
        let plain = text.chars().all(|c| c.is_ascii_graphic() && !"*?[]{}$`'\"\\|&;<>()!~#".contains(c));
        let path = PathPattern::parse(text).is_ok() && text != "/";
        match (plain && path, plain && !text.contains('/'), refuses) {
            (true, _, _) | (_, true, true) => Ok(text.to_owned()),
            (_, true, false) => Err(item.fault(format!("{text:?} is not a full path")).hint(format!(
                "write such as /usr/bin/{text}: what a bare name starts is the target's to say, and a rule is exact"
            ))),
            (_, false, _) => {
                Err(item.fault(format!("{text:?} is no program")).hint("write a full path, without patterns"))
            }
        }
    })
}

/// `flags = { tail = ["-n", "-f"] }`, or a list where the rule has one program.
fn read_flags(
    node: &Node<'_>,
    programs: Option<&[String]>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, Vec<Flag>>> {
    let known: BTreeSet<&str> = programs.unwrap_or_default().iter().map(|program| base_name(program)).collect();
    let list = |node: &Node<'_>, faults: &mut Faults| {
        each(node.list(), faults, |item| {
            let text = item.string()?;
            Flag::parse(text).map_err(|why| item.fault(format!("{text:?} is no option")).hint(why))
        })
    };
    if node.list().is_ok() {
        let flags = list(node, faults)?;
        return match known.into_iter().collect::<Vec<_>>().as_slice() {
            [only] => Some(BTreeMap::from([((*only).to_owned(), flags)])),
            _ => {
                faults.push(
                    node.fault("is a list, and the rule has not one program").hint("write flags = { tail = [\"-n\"] }"),
                );
                None
            }
        };
    }
    let mut read = Some(BTreeMap::new());
    for (name, node) in faults.keep(node.table())?.rest() {
        if programs.is_some() && !known.contains(name) {
            faults.push(node.fault(format!("`{name}` is no program of this rule")));
        }
        let flags = list(&node, faults);
        read = read.zip(flags).map(|(mut read, flags)| {
            read.insert(name.to_owned(), flags);
            read
        });
    }
    read
}

fn read_context(table: &mut Table<'_>, mode: Option<CommandMode>, faults: &mut Faults) -> Option<Context> {
    let groups = table.take("groups").map_or(Some(BTreeSet::new()), |node| names(&node, GroupName::parse, faults));
    let labels = table.take("labels").map_or(Some(BTreeMap::new()), |node| read_labels(&node, faults));
    let when = table.take("when").map_or(Some(None), |node| Window::read(&node, faults).map(Some));
    let ticket = table.take("ticket").map_or(Some(None), |node| {
        let read = node
            .filled_string()
            .and_then(|text| Pattern::parse(text).map_err(|why| node.fault(format!("{text:?} {why}"))));
        faults.keep(read).map(Some)
    });
    let modes = table.take("mode").map_or(Some(BTreeSet::new()), |node| {
        if node.as_str().is_some() {
            return faults.keep(node.word(MODES)).map(|mode| BTreeSet::from([mode]));
        }
        words(&node, MODES, faults)
    });
    let holds_never = |set: CommandMode| {
        modes.as_ref().is_some_and(|modes| !modes.is_empty() && modes.iter().all(|mode| *mode < set))
    };
    if let Some(set) = mode.filter(|mode| mode.is_strict() && holds_never(*mode)) {
        faults.push(table.fault(format!("never holds: the set is for {set}, and the rule's `mode` is not")));
    }
    Some(Context { groups: groups?, labels: labels?, when: when?, ticket: ticket?, modes: modes? })
}

/// A text of one line, that is shown on terminals.
pub(super) fn read_line(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.filled_string()?.trim();
    if text.len() > REASON_BYTES_MAX || text.chars().any(is_unseen) {
        let why = format!("is one line of at most {REASON_BYTES_MAX} bytes, without characters that cannot be seen");
        return Err(node.fault(why));
    }
    Ok(text.to_owned())
}

/// A day, at whose beginning (UTC) it ends, or a moment.
fn read_moment(node: &Node<'_>) -> Result<Timestamp, Fault> {
    let text = node.string()?;
    let whole = if text.len() == "2026-12-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse(&whole)
        .map_err(|_| node.fault(format!("{text:?} is no time")).hint("write 2026-12-31, or 2026-12-31T18:00:00+01:00"))
}

fn read_approval(node: &Node<'_>, faults: &mut Faults) -> Option<ApprovalNeed> {
    let mut table = faults.keep(node.table())?;
    let within = table.read("within", WITHIN, faults, |node| node.duration_in(WITHIN_MIN..=WITHIN_MAX));
    if let Some(node) = table.take("not_self")
        && faults.keep(node.boolean()) == Some(false)
    {
        faults.push(node.fault("is always true: nobody approves their own command"));
    }
    let approvers = Approvers::take(&mut table, faults);
    table.finish(&[], faults);
    Some(ApprovalNeed { approvers: approvers?, within })
}
