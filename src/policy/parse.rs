//! Policy text becomes rules, or all its faults.
//!
//! The language of this version is small, and whatever it does not know it refuses: a key passed over would
//! make a rule wider than its writer meant.

use std::collections::{BTreeMap, BTreeSet};

use super::agent;
use super::audit::{self, AuditQuestion, AuditRight, AuditRule};
use super::commands::{Commands, Kind, Sets};
use super::conditions::{Circumstances, Conditions, read_given};
use super::decide::{Question, among};
use super::denial::{DenyRule, forbids};
use super::desktop;
use super::lint::{Finding, UNTESTED};
use super::{
    Accounts, AgentRule, Capture, Durability, FileRule, ForwardRule, ForwardedSsh, Givers, GlassRule, GrantNeed,
    GrantRule, InputMode, Names, Oversight, Place, PolicyFile, PolicySet, RecordingPolicy, Rule, Who,
};
use crate::approvers::read_key;
use crate::auditor::Recipient;
use crate::document::{Document, Fault, Faults, Node, Table, names, parse_all, read_labels, words};
use crate::gate::shell::is_unseen;
use crate::model::{
    AccountName, Asked, ChannelClass, Endpoint, Extent, FileAction, FileAsked, FilePath, GroupName, InvalidName,
    Matter, Presence, RuleId, TargetName, UserName, join,
};

pub(super) const CHANNELS: &[(&str, ChannelClass)] = &[
    ("shell", ChannelClass::Shell),
    ("exec", ChannelClass::Exec),
    ("sftp-read", ChannelClass::SftpRead),
    ("sftp-write", ChannelClass::SftpWrite),
    ("local-forward", ChannelClass::LocalForward),
    ("local-forward-unix", ChannelClass::LocalForwardUnix),
    ("remote-forward", ChannelClass::RemoteForward),
    ("remote-forward-unix", ChannelClass::RemoteForwardUnix),
    ("agent", ChannelClass::Agent),
    ("x11", ChannelClass::X11),
    ("desktop", ChannelClass::Desktop),
];
const AUDIT_RIGHTS: &[(&str, AuditRight)] = &[
    ("get", AuditRight::Get),
    ("watch", AuditRight::Watch),
    ("freeze", AuditRight::Freeze),
    ("message", AuditRight::Message),
    ("kill", AuditRight::Kill),
    ("lift", AuditRight::Lift),
];
/// What may be on a terminal.
const ON_TERMINAL: [ChannelClass; 2] = [ChannelClass::Shell, ChannelClass::Exec];
const DURABILITIES: &[(&str, Durability)] =
    &[("strict", Durability::Strict), ("bounded", Durability::Bounded), ("best-effort", Durability::BestEffort)];
const INPUT_MODES: &[(&str, InputMode)] =
    &[("off", InputMode::Off), ("echoed", InputMode::Echoed), ("full", InputMode::Full)];
const CAPTURES: &[(&str, Capture)] = &[("full", Capture::Full), ("digest", Capture::Digest)];

// Keys of the whole language that this version does not have; see `Table::finish`.
const LATER_IN_RULE: &[&str] = &["approvers", "deny"];
const LATER_IN_AUDIT: &[&str] = &["when", "from", "mfa", "approvers", "auditors"];
const LATER_IN_GIVEN: &[&str] = &["command", "grant"];

/// The set, and every test of it that fails.
pub(super) fn parse(files: &[PolicyFile]) -> Result<(PolicySet, Vec<Fault>), Vec<Fault>> {
    let (files, sets, read) = read_all(files)?;
    let mut failed = Faults::default();
    read.tests.iter().for_each(|test| test.run(&read, &mut failed));
    sets.run_tests(&mut failed);
    let owned: Vec<PolicyFile> = files.into_iter().cloned().collect();
    let warnings = read.warnings().into_iter().chain(sets.warnings()).collect();
    let Read { rules, denials, audit_rules, .. } = read;
    Ok((PolicySet::of(&owned, (rules, denials, audit_rules), sets, warnings), failed.into_sorted()))
}

/// The files by their paths, and what stands in them; every fault of theirs but tests that fail.
fn read_all(files: &[PolicyFile]) -> Result<(Vec<&PolicyFile>, Sets, Read), Vec<Fault>> {
    let mut files: Vec<&PolicyFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut faults = Faults::default();
    files.iter().for_each(|file| refuse_unseen(file, &mut faults));
    let sets = Sets::read(&files, &mut faults);
    let mut read = Read::default();
    for file in files.iter().filter(|file| Kind::of(file) == Kind::Access) {
        read.file(file, &sets, &mut faults);
    }
    read.refuse_twins(&mut faults);
    if faults.is_empty() { Ok((files, sets, read)) } else { Err(faults.into_sorted()) }
}

/// What is reviewed must read as it is: no file has characters that show nothing, or turn the order of others.
fn refuse_unseen(file: &PolicyFile, faults: &mut Faults) {
    for (number, line) in (1_usize..).zip(file.text.lines()) {
        if let Some(found) = line.chars().find(|c| is_unseen(*c)) {
            let message = format!("has {}, which cannot be seen, or is not what it looks like", found.escape_unicode());
            let fault = Fault { line: Some(number), ..Fault::in_file(&file.path, message) };
            faults.push(fault.hint("remove it, so that whoever reviews the file reads what is in it"));
        }
    }
}

/// What stands in the files.
#[derive(Default)]
struct Read {
    /// Every id of a rule, its file and its line, as they are written.
    written: Vec<(String, String, usize)>,
    rules: Vec<Rule>,
    denials: Vec<DenyRule>,
    audit_rules: Vec<AuditRule>,
    tests: Vec<Test>,
}

impl Read {
    fn file(&mut self, file: &PolicyFile, sets: &Sets, faults: &mut Faults) {
        let Some(document) = Document::parse(&file.path, &file.text, faults) else {
            return;
        };
        let mut root = document.root();
        match root.take("schema").map(|node| (node.integer(), node)) {
            Some((Ok(1), _)) => {}
            Some((Ok(other), node)) => {
                // Another schema may give other meanings to the same words, so nothing of the file is read.
                return faults.push(node.fault(format!("schema {other} is not known; this version reads schema 1")));
            }
            Some((Err(fault), _)) => faults.push(fault),
            None => {
                faults.push(Fault::in_file(&file.path, "`schema` is missing").hint("begin the file with `schema = 1`"))
            }
        }
        for table in tables(root.take("rule"), faults) {
            let mut table = table;
            self.note_id(&file.path, &table);
            match forbids(table.take("effect").as_ref(), faults) {
                Some(true) => self.denials.extend(DenyRule::read(&file.path, table, faults)),
                Some(false) | None => self.rules.extend(read_rule(&file.path, table, sets, faults)),
            }
        }
        for table in tables(root.take("audit"), faults) {
            self.note_id(&file.path, &table);
            self.audit_rules.extend(read_audit_rule(&file.path, table, faults));
        }
        for table in tables(root.take("test"), faults) {
            self.tests.extend(read_test(&file.path, table, faults));
        }
        root.finish(&[], faults);
    }

    /// Every rule of either kind: its id, file and line.
    fn ids(&self) -> impl Iterator<Item = (&RuleId, &str, usize)> {
        let rules = self.rules.iter().map(|rule| (&rule.id, rule.file.as_str(), rule.line));
        let denials = self.denials.iter().map(|rule| (&rule.id, rule.file.as_str(), rule.line));
        rules.chain(denials).chain(self.audit_rules.iter().map(|rule| (&rule.id, rule.file.as_str(), rule.line)))
    }

    /// Keeps the id of a rule that may have other faults.
    fn note_id(&mut self, file: &str, table: &Table<'_>) {
        if let Some(id) = table.seen("id") {
            self.written.push((id.to_owned(), file.to_owned(), table.line()));
        }
    }

    fn refuse_twins(&self, faults: &mut Faults) {
        let mut first = BTreeMap::new();
        for (id, file, line) in &self.written {
            if let Some((other, at)) = first.get(id) {
                let message = format!("`{id}` is already the id of the rule at {other}:{at}");
                faults.push(of_line(file, *line, "rule.id", message));
            } else {
                first.insert(id, (file, line));
            }
        }
    }

    fn warnings(&self) -> Vec<Finding> {
        if self.rules.is_empty() {
            let fault = Fault::in_file("policies", "no rule: nobody can open a session");
            return vec![Finding { check: "no-rule", fault }];
        }
        let tested: BTreeSet<&RuleId> = self.tests.iter().filter_map(|test| test.expect.rule()).collect();
        let untested = |id: &RuleId, file: &str, line: usize, opens: String| {
            (!tested.contains(id)).then(|| {
                let fault = of_line(file, line, "rule", format!("no test expects rule `{id}`"))
                    .hint(format!("add a [[test]] for what it opens ({opens}) and one for what it must not"));
                Finding { check: UNTESTED, fault }
            })
        };
        let rules =
            self.rules.iter().filter_map(|rule| untested(&rule.id, &rule.file, rule.line, join(&rule.channels)));
        let audit_rules =
            self.audit_rules.iter().filter_map(|rule| untested(&rule.id, &rule.file, rule.line, join(&rule.rights)));
        let denials = self
            .denials
            .iter()
            .filter_map(|rule| untested(&rule.id, &rule.file, rule.line, String::from("nothing: it forbids")));
        let keyless = self.rules.iter().filter(|rule| rule.glass.as_ref().is_some_and(|glass| glass.without_key));
        let keyless = keyless.map(|rule| {
            let message = format!("rule `{}` lets any login break the glass: insecure_without_key", rule.id);
            Finding { check: "keyless-glass", fault: of_line(&rule.file, rule.line, "rule.break_glass", message) }
        });
        rules.chain(audit_rules).chain(denials).chain(keyless).collect()
    }
}

/// The tables of `[[rule]]` or `[[test]]`.
fn tables<'d>(node: Option<Node<'d>>, faults: &mut Faults) -> Vec<Table<'d>> {
    let list =
        |node: Node<'d>| node.list().map_err(|fault| fault.hint("write its header in double brackets, `[[...]]`"));
    let items = node.and_then(|node| faults.keep(list(node))).unwrap_or_default();
    items.iter().filter_map(|item| faults.keep(item.table())).collect()
}

fn read_rule(file: &str, mut table: Table<'_>, sets: &Sets, faults: &mut Faults) -> Option<Rule> {
    let line = table.line();
    let id = table.need("id", faults).and_then(|node| faults.keep(node.name(RuleId::parse)));
    let who = table.need("who", faults).and_then(|node| read_who(&node, faults));
    let place = table.need("where", faults).and_then(|node| read_place(&node, faults));
    let accounts = table.need("accounts", faults).and_then(|node| read_accounts(&node, faults));
    let channels = table.need("channels", faults).and_then(|node| words(&node, CHANNELS, faults));
    let forward = table.take("forward").map_or(Some(ForwardRule::default()), |node| ForwardRule::read(&node, faults));
    let files = table.take("sftp").map_or(Some(None), |node| FileRule::read(&node, faults).map(Some));
    let agent = table.take("agent").map_or(Some(AgentRule::default()), |node| AgentRule::read(&node, faults));
    let desktop = table.take("desktop").map_or(Some(None), |node| desktop::read(&node, faults).map(Some));
    let terminal = table.read("terminal", true, faults, Node::boolean);
    let grant = table.take("grant").map_or(Some(GrantRule::REQUIRED), |node| GrantRule::read(&node, faults));
    let key = table.take("key").map_or(Some(Presence::NONE), |node| read_key(&node, faults));
    let glass = match table.take("break_glass") {
        None => Some(None),
        Some(node) => key.and_then(|key| GlassRule::read(&node, key, faults)).map(Some),
    };
    let oversight = Oversight::read(table.take("four_eyes"), table.take("watch"), faults);
    let conditions = Conditions::read(&mut table, faults);
    let recording =
        table.take("recording").map_or(Some(RecordingPolicy::default()), |node| read_recording(&node, faults));
    let commands = table.take("commands").map_or(Some(None), |node| Commands::read(&node, sets, faults).map(Some));
    table.finish(LATER_IN_RULE, faults);
    if let (Some(channels), Some(Some(_))) = (&channels, &commands) {
        refuse_odd_commands(channels, &|message| of_line(file, line, "rule.commands", message), faults);
    }
    if let (Some(channels), Some(forward)) = (&channels, &forward) {
        refuse_odd_forwards(channels, forward, &|key, message| of_line(file, line, key, message), faults);
    }
    if let (Some(channels), Some(Some(files))) = (&channels, &files) {
        files.refuse_odd(channels, &|key, message| of_line(file, line, key, message), faults);
    }
    if let (Some(channels), Some(agent)) = (&channels, &agent)
        && *agent != AgentRule::default()
        && !channels.contains(&ChannelClass::Agent)
    {
        let message = String::from("has no effect: `channels` does not have agent");
        faults.push(of_line(file, line, "rule.agent", message).hint("add \"agent\" to channels, or remove it"));
    }
    if let (Some(channels), Some(Some(_))) = (&channels, &desktop) {
        desktop::refuse_odd(channels, &|key, message| of_line(file, line, key, message), faults);
    }
    if let Some(channels) = &channels
        && !terminal
        && ON_TERMINAL.iter().all(|class| !channels.contains(class))
    {
        let message = String::from("has no effect: `channels` has neither shell nor exec");
        faults.push(of_line(file, line, "rule.terminal", message));
    }
    if let (Some(who), Some(channels), Some(grant), Some(recording), Some(Some(_))) =
        (&who, &channels, &grant, &recording, &glass)
    {
        refuse_odd_glass(
            who,
            channels,
            grant,
            recording,
            &|message| of_line(file, line, "rule.break_glass", message),
            faults,
        );
    }
    if let (Some(grant), Some(None)) = (&grant, &glass)
        && (grant.givers, &grant.request) == (Givers::NotOperators, &None)
    {
        let message = String::from("has `operators = false` and no `approvers`: nobody could give one");
        faults.push(of_line(file, line, "rule.grant", message).hint("write approvers = { group = \"leads\" }"));
    }
    if let (Some(who), Some(recording)) = (&who, &recording)
        && recording.durability == Durability::BestEffort
        && who.users == Names::Every
    {
        let message = String::from("`best-effort` lets sessions go on unrecorded, and this rule is for everyone");
        faults.push(
            of_line(file, line, "rule.recording.durability", message)
                .hint("name the users or groups of a break-glass role"),
        );
    }
    Some(Rule {
        id: id?,
        file: file.to_owned(),
        line,
        who: who?,
        place: place?,
        accounts: accounts?,
        channels: channels?,
        forward: forward?,
        files: files?,
        agent: agent?,
        desktop: desktop?.unwrap_or_default(),
        terminal,
        grant: grant?,
        glass: glass?,
        key: key?,
        oversight: oversight?,
        conditions: conditions?,
        recording: recording?,
        commands: commands?,
    })
}

/// What is judged are commands, and the lines of shells.
fn refuse_odd_commands(channels: &BTreeSet<ChannelClass>, fault: &dyn Fn(String) -> Fault, faults: &mut Faults) {
    if !channels.iter().any(|class| matches!(class, ChannelClass::Exec | ChannelClass::Shell)) {
        let message = String::from("has no effect: `channels` has neither exec nor shell");
        faults.push(fault(message).hint("add \"exec\" to channels, or remove it"));
    }
}

/// What nobody approves is for named people, in sight, and on record.
fn refuse_odd_glass(
    who: &Who,
    channels: &BTreeSet<ChannelClass>,
    grant: &GrantRule,
    recording: &RecordingPolicy,
    fault: &dyn Fn(String) -> Fault,
    faults: &mut Faults,
) {
    let seen = [
        ChannelClass::Shell,
        ChannelClass::Exec,
        ChannelClass::SftpRead,
        ChannelClass::SftpWrite,
        ChannelClass::Desktop,
    ];
    let unseen: Vec<&ChannelClass> = channels.iter().filter(|class| !seen.contains(class)).collect();
    if !unseen.is_empty() {
        faults.push(fault(format!("is for shells, commands, files and desktops, not for {}", join(unseen))));
    }
    if who.users == Names::Every {
        faults.push(fault(String::from("is for people whom the rule names, and this one is for everyone")));
    }
    if grant.need == GrantNeed::NotRequired {
        faults.push(fault(String::from("has no effect: the rule needs no grant")));
    }
    if recording.durability == Durability::BestEffort {
        faults
            .push(fault(String::from("is for sessions that are recorded, and `best-effort` lets them go on without")));
    }
}

/// A class of forwards without a place opens nothing, and a place without its class neither: either is a slip.
fn refuse_odd_forwards(
    channels: &BTreeSet<ChannelClass>,
    forward: &ForwardRule,
    fault: &dyn Fn(&str, String) -> Fault,
    faults: &mut Faults,
) {
    if forward.ssh == ForwardedSsh::Ended && !channels.contains(&ChannelClass::LocalForward) {
        let message = format!("has no effect: `channels` does not have {}", ChannelClass::LocalForward);
        faults.push(fault("rule.forward.ssh", message).hint("add \"local-forward\" to channels, or remove it"));
    }
    for class in ChannelClass::ALL {
        match (channels.contains(&class), forward.place_of(class)) {
            (true, Some((key, false))) => faults.push(
                fault("rule.forward", format!("`channels` has {class}, and `forward.{key}` is missing"))
                    .hint(format!("name where these forwards may lead: forward = {{ {key} = [...] }}")),
            ),
            (false, Some((key, true))) => faults.push(
                fault(&format!("rule.forward.{key}"), format!("has no effect: `channels` does not have {class}"))
                    .hint(format!("add \"{class}\" to channels, or remove it")),
            ),
            (_, Some(_) | None) => {}
        }
    }
}

fn read_audit_rule(file: &str, mut table: Table<'_>, faults: &mut Faults) -> Option<AuditRule> {
    let line = table.line();
    let id = table.need("id", faults).and_then(|node| faults.keep(node.name(RuleId::parse)));
    let who = table.need("who", faults).and_then(|node| read_who(&node, faults));
    let place = table.need("where", faults).and_then(|node| read_place(&node, faults));
    let rights = table.need("rights", faults).and_then(|node| words(&node, AUDIT_RIGHTS, faults));
    table.finish(LATER_IN_AUDIT, faults);
    Some(AuditRule { id: id?, file: file.to_owned(), line, who: who?, place: place?, rights: rights? })
}

pub(super) fn read_who(node: &Node<'_>, faults: &mut Faults) -> Option<Who> {
    let mut table = faults.keep(node.table())?;
    let users = table.take("users").map(|node| names_or_every(&node, UserName::parse, faults));
    let groups = table.take("groups").map(|node| names(&node, GroupName::parse, faults));
    table.finish(&[], faults);
    if users.is_none() && groups.is_none() {
        faults.push(node.fault("names nobody").hint("write users, groups or both; everyone is users = [\"*\"]"));
        return None;
    }
    let users = users.unwrap_or(Some(Names::These(BTreeSet::new())))?;
    Some(Who { users, groups: groups.unwrap_or(Some(BTreeSet::new()))? })
}

pub(super) fn read_place(node: &Node<'_>, faults: &mut Faults) -> Option<Place> {
    let mut table = faults.keep(node.table())?;
    let targets = table.take("targets").map(|node| names_or_every(&node, TargetName::parse, faults));
    let labels = table.take("labels").map(|node| {
        let labels = read_labels(&node, faults)?;
        if labels.is_empty() {
            faults.push(node.fault("is empty; no label never means all"));
        }
        (!labels.is_empty()).then_some(labels)
    });
    table.finish(&[], faults);
    if targets.is_none() && labels.is_none() {
        faults.push(
            node.fault("names no target").hint("write targets, labels or both; every target is targets = [\"*\"]"),
        );
        return None;
    }
    let targets = match targets {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Place { targets, labels: labels.unwrap_or(Some(BTreeMap::new()))? })
}

pub(super) fn read_accounts(node: &Node<'_>, faults: &mut Faults) -> Option<Accounts> {
    let items = faults.keep(node.filled_list())?;
    let (own, named): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.as_str() == Some("$user"));
    let named = parse_all(&named, AccountName::parse, "name each account; \"$user\" is the user's own name", faults)?;
    Some(Accounts { own: !own.is_empty(), named })
}

fn read_recording(node: &Node<'_>, faults: &mut Faults) -> Option<RecordingPolicy> {
    let default = RecordingPolicy::default();
    let mut table = faults.keep(node.table())?;
    let recording = RecordingPolicy {
        durability: table.read("durability", default.durability, faults, |node| node.word(DURABILITIES)),
        input: table.read("input", default.input, faults, |node| node.word(INPUT_MODES)),
        stdin: table.read("stdin", default.stdin, faults, |node| node.word(CAPTURES)),
        exec: table.read("exec", default.exec, faults, |node| node.word(CAPTURES)),
        exec_cap: table.read("exec_cap", default.exec_cap, faults, |node| match node.size()? {
            0 => Err(node.fault("is zero").hint("to keep digests only, write exec = \"digest\", stdin = \"digest\"")),
            cap => Ok(cap),
        }),
        auditors: table.read("auditors", default.auditors, faults, |node| read_auditors(node)),
    };
    table.finish(&[], faults);
    Some(recording)
}

/// A list of age recipients.
///
/// # Errors
/// The first that is none, or stands twice; an empty list.
pub(crate) fn read_auditors(node: &Node<'_>) -> Result<Vec<Recipient>, Fault> {
    let mut auditors = Vec::new();
    for item in node.filled_list()? {
        let auditor = Recipient::parse(item.string()?).map_err(|error| {
            item.fault(error.why).hint("`age-keygen` makes an identity and prints its public key, age1...")
        })?;
        if auditors.contains(&auditor) {
            return Err(item.fault(format!("{auditor} stands twice")));
        }
        auditors.push(auditor);
    }
    Ok(auditors)
}

/// A list of names, or `["*"]` for every one.
fn names_or_every<T: Ord>(
    node: &Node<'_>,
    parse: fn(&str) -> Result<T, InvalidName>,
    faults: &mut Faults,
) -> Option<Names<T>> {
    let items = faults.keep(node.filled_list())?;
    match items.as_slice() {
        [only] if only.as_str() == Some("*") => Some(Names::Every),
        items if items.iter().any(|item| item.as_str() == Some("*")) => {
            faults.push(node.fault("\"*\" beside other names").hint("write [\"*\"] alone, or only the names"));
            None
        }
        items => {
            parse_all(items, parse, "patterns are not supported; \"*\" alone means every one", faults).map(Names::These)
        }
    }
}

pub(super) fn of_line(file: &str, line: usize, key: &str, message: String) -> Fault {
    Fault { file: file.to_owned(), line: Some(line), key: key.to_owned(), message, hint: None }
}

/// A `[[test]]`: a question and the decision that its writer wants.
struct Test {
    file: String,
    line: usize,
    user: UserName,
    groups: BTreeSet<GroupName>,
    target: TargetName,
    labels: BTreeMap<String, String>,
    wanted: Wanted,
    expect: Expect,
}

/// What is asked for.
enum Wanted {
    Channel { account: AccountName, asked: Option<Asked>, presence: Presence, circumstances: Circumstances<'static> },
    Right(AuditRight),
}

enum Expect {
    Allow(RuleId),
    NeedsGrant(RuleId),
    /// By this rule, or by none that matters.
    Deny(Option<RuleId>),
}

impl Expect {
    fn parse(node: &Node<'_>) -> Result<Self, Fault> {
        let text = node.string()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let rule = |id: &str| RuleId::parse(id).map_err(|invalid| node.fault(invalid.to_string()));
        match words.as_slice() {
            ["deny"] => Ok(Self::Deny(None)),
            ["deny", id] => Ok(Self::Deny(Some(rule(id)?))),
            ["allow", id] => Ok(Self::Allow(rule(id)?)),
            ["needs-grant", id] => Ok(Self::NeedsGrant(rule(id)?)),
            _ => Err(node
                .fault(format!("{text:?} is not an outcome"))
                .hint("write allow RULE, needs-grant RULE, deny RULE or deny")),
        }
    }

    fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Allow(rule) | Self::NeedsGrant(rule) | Self::Deny(Some(rule)) => Some(rule),
            Self::Deny(None) => None,
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow(rule) => write!(f, "allow {rule}"),
            Self::NeedsGrant(rule) => write!(f, "needs-grant {rule}"),
            Self::Deny(Some(rule)) => write!(f, "deny {rule}"),
            Self::Deny(None) => f.write_str("deny"),
        }
    }
}

fn read_test(file: &str, mut table: Table<'_>, faults: &mut Faults) -> Option<Test> {
    let line = table.line();
    let given = table.need("given", faults).and_then(|node| faults.keep(node.table()));
    let expect = table.need("expect", faults).and_then(|node| faults.keep(Expect::parse(&node)));
    table.finish(&[], faults);
    let mut given = given?;
    let user = given.need("user", faults).and_then(|node| faults.keep(node.name(UserName::parse)));
    let groups = given.take("groups").map_or(Some(BTreeSet::new()), |node| {
        let items = faults.keep(node.list())?;
        parse_all(&items, GroupName::parse, "name each group", faults)
    });
    let target = given.need("target", faults).and_then(|node| faults.keep(node.name(TargetName::parse)));
    let labels = given.take("labels").map_or(Some(BTreeMap::new()), |node| read_labels(&node, faults));
    let wanted = match given.take("right") {
        Some(node) => faults.keep(node.word(AUDIT_RIGHTS)).map(Wanted::Right),
        None => read_channel(&mut given, faults),
    };
    given.finish(LATER_IN_GIVEN, faults);
    Some(Test {
        file: file.to_owned(),
        line,
        user: user?,
        groups: groups?,
        target: target?,
        labels: labels?,
        wanted: wanted?,
        expect: expect?,
    })
}

fn read_channel(given: &mut Table<'_>, faults: &mut Faults) -> Option<Wanted> {
    let account = given.need("account", faults).and_then(|node| faults.keep(node.name(AccountName::parse)));
    let class = match given.take("channel") {
        Some(node) => faults.keep(node.word(CHANNELS)).map(Some),
        None => Some(None),
    };
    let endpoint = match given.take("forward") {
        Some(node) => faults.keep(read_endpoint(&node)).map(Some),
        None => Some(None),
    };
    let file = match given.take("file") {
        Some(node) => read_file(&node, faults).map(Some),
        None => Some(None),
    };
    let agent_key = match given.take("agent_key") {
        Some(node) => faults.keep(agent::read_fingerprint(&node)).map(Some),
        None => Some(None),
    };
    let terminal = given.read("terminal", false, faults, Node::boolean);
    let (class, endpoint, file, agent_key) = (class?, endpoint?, file?, agent_key?);
    if terminal && class.is_none_or(|class| !ON_TERMINAL.contains(&class)) {
        faults.push(given.fault("`terminal` is of shells and commands, and `channel` is neither shell nor exec"));
        return None;
    }
    if agent_key.is_some() && class != Some(ChannelClass::Agent) {
        faults.push(given.fault("`agent_key` is one key of an agent, and `channel` is not agent"));
        return None;
    }
    if endpoint.is_some() && class.is_none_or(|class| ForwardRule::default().place_of(class).is_none()) {
        faults.push(given.fault("`forward` says where a forward leads, and `channel` is none"));
        return None;
    }
    if let Some(file) = &file
        && class.is_none_or(|class| !file.action.classes().contains(&class))
    {
        let (action, classes) = (file.action, join(file.action.classes()));
        faults.push(given.fault(format!("`file` asks to {action} a file, and `channel` is not {classes}")));
        return None;
    }
    let matter = endpoint.map(Matter::Endpoint).or(file.map(Matter::File)).or(agent_key.map(Matter::Key));
    let matter = matter.or(terminal.then_some(Matter::Terminal));
    let presence = given.take("key").map_or(Some(Presence::NONE), |node| read_key(&node, faults));
    let circumstances = read_given(given, faults);
    let asked = class.map(|class| Asked { class, matter });
    Some(Wanted::Channel { account: account?, asked, presence: presence?, circumstances: circumstances? })
}

/// `{ write = "/etc/shadow" }`: what would be done, and to which file.
fn read_file(node: &Node<'_>, faults: &mut Faults) -> Option<FileAsked> {
    let mut table = faults.keep(node.table())?;
    let named = FileAction::ALL.map(|action| (action, table.take(action.word())));
    table.finish(&[], faults);
    let mut named = named.into_iter().filter_map(|(action, node)| Some((action, node?)));
    let (Some((action, path)), None) = (named.next(), named.next()) else {
        faults.push(node.fault("asks for one action and its path").hint("write file = { read = \"/srv/a\" }"));
        return None;
    };
    let text = faults.keep(path.string())?;
    let parsed = FilePath::parse(text.as_bytes());
    let parsed = parsed.map_err(|invalid| path.fault(format!("{text:?} is no file's path")).hint(invalid.why));
    Some(FileAsked { action, path: faults.keep(parsed)?, extent: Extent::Itself })
}

/// `host:port`, or the path of a socket.
fn read_endpoint(node: &Node<'_>) -> Result<Endpoint, Fault> {
    let text = node.string()?;
    let invalid = |invalid: InvalidName| node.fault(format!("{text:?} is no place for a forward")).hint(invalid.why);
    if text.starts_with('/') {
        return Endpoint::unix(text).map_err(invalid);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Endpoint::tcp(bare, port.parse().unwrap_or(u32::MAX)).map_err(invalid)
}

/// What came of a `[[test]]`, or of one line of a command set's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// What was asked.
    pub about: String,
    /// What its writer wants.
    pub expected: String,
    /// What came; empty where the test names a rule that is not there.
    pub got: String,
    /// The rule that comes nearest, and why it is none for that line.
    pub near: Option<String>,
    /// Whether that will do.
    pub passed: bool,
}

/// Runs every test of the files, whether or not one fails; and says which rules no test expects.
///
/// # Errors
/// Every fault of the files but tests that fail.
pub fn run_tests(files: &[PolicyFile]) -> Result<(Vec<TestOutcome>, Vec<Fault>), Vec<Fault>> {
    let (_, sets, read) = read_all(files)?;
    let access = read.tests.iter().map(|test| test.outcome(&read));
    let commands = sets.sets.values().flat_map(|set| {
        set.run_tests(&sets.table).into_iter().map(|result| TestOutcome {
            file: set.file.clone(),
            line: result.line,
            passed: result.passed(),
            about: result.command,
            expected: result.expected,
            near: result.near,
            got: result.got,
        })
    });
    let warnings = read.warnings().into_iter().chain(sets.warnings()).filter(|found| found.check == UNTESTED);
    let warnings = warnings.map(|found| found.fault).collect();
    Ok((access.chain(commands).collect(), warnings))
}

impl Test {
    fn run(&self, read: &Read, faults: &mut Faults) {
        let TestOutcome { expected, got, about, passed, .. } = self.outcome(read);
        if let Some(id) = self.expect.rule().filter(|_| got.is_empty()) {
            return faults.push(of_line(&self.file, self.line, "test.expect", format!("there is no rule `{id}`")));
        }
        if !passed {
            let message = format!("expected `{expected}`, got `{got}` ({about})");
            faults.push(of_line(&self.file, self.line, "test", message));
        }
    }

    fn outcome(&self, read: &Read) -> TestOutcome {
        let known = self.expect.rule().is_none_or(|id| read.ids().any(|(known, ..)| known == id));
        let (got, about) = self.answer(read);
        let expected = self.expect.to_string();
        // A test that names no rule takes any refusal.
        let refused = matches!(self.expect, Expect::Deny(None)) && got.starts_with("deny ");
        let passed = known && (expected == got || refused);
        let got = if known { got } else { String::new() };
        TestOutcome { file: self.file.clone(), line: self.line, about, expected, got, near: None, passed }
    }

    fn answer(&self, read: &Read) -> (String, String) {
        let Self { user, groups, target, labels, .. } = self;
        match &self.wanted {
            Wanted::Channel { account, asked, presence, circumstances } => {
                let (asked, presence, circumstances) = (asked.as_ref(), *presence, *circumstances);
                let question = Question { user, groups, target, labels, account, asked, presence, circumstances };
                let what = asked.map_or("any channel".to_owned(), Asked::to_string);
                let got = among(read.rules.iter(), &read.denials, &question).to_string();
                (got, format!("{user} to {account}@{target}, {what}"))
            }
            Wanted::Right(right) => {
                let question = AuditQuestion { user, groups, target, labels, right: *right };
                let rule = audit::among(read.audit_rules.iter(), &question);
                let got = rule.map_or(String::from("deny"), |rule| format!("allow {}", rule.id));
                (got, format!("{user}, {right} of {target}"))
            }
        }
    }
}
