//! `doorward policy explain`: what the rules make of an access or a command line, and why not otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::Folder;
use crate::admin::api::{Reply, Request};
use crate::cli::CliError;
use crate::cli::desk::{Desk, unexpected};
use crate::cli::output::{say, show, show_line};
use crate::cli::times::parse_moment;
use crate::clock::Clock;
use crate::gate::rules::{MenuEntry, NearMiss, near_misses, offered};
use crate::gate::verdict::{Asker, By, Governed, Judgement, Outcome, Ticket, judge};
use crate::model::transfer::{Transfer, Way};
use crate::model::{
    AccountName, Asked, ChannelClass, Endpoint, Extent, FileAction, FileAsked, FilePath, GroupName, Matter, Presence,
    RuleId, TargetName, Timestamp, UserName, join,
};
use crate::policy::{Circumstances, Decision, PolicySet, Question, Rule, decide};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A command line, as it would be given to `ssh`; without it only the access is explained.
    line: Option<String>,
    /// The bastion user.
    #[arg(long = "as", value_name = "USER")]
    user: UserName,
    /// The target.
    #[arg(long = "on", value_name = "TARGET")]
    target: TargetName,
    /// The account there.
    #[arg(long)]
    account: AccountName,
    /// A group of the user [default: those that the state has].
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
    /// A label of the target [default: those that the state has].
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// The channel [default: exec, or what --file or --forward is about].
    #[arg(long, value_parser = channel)]
    channel: Option<ChannelClass>,
    /// What SFTP would do, such as read=/srv/in/a.csv.
    #[arg(long, value_name = "ACTION=PATH", value_parser = pair, conflicts_with_all = ["line", "forward"])]
    file: Option<(String, String)>,
    /// Where a forward would lead: HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "line")]
    forward: Option<String>,
    /// The time [default: now].
    #[arg(long, value_parser = parse_moment)]
    at: Option<Timestamp>,
    /// The address that the user comes from [default: one that will do].
    #[arg(long)]
    from: Option<IpAddr>,
    /// The ticket of the grant.
    #[arg(long)]
    ticket: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it with a `=`, such as env=prod")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn channel(text: &str) -> Result<ChannelClass, String> {
    let found = ChannelClass::ALL.into_iter().find(|class| class.to_string() == text);
    found.ok_or_else(|| format!("`{text}` is no channel: {}", join(ChannelClass::ALL)))
}

/// Who asks, and for what.
#[derive(Clone)]
struct Case {
    user: UserName,
    groups: BTreeSet<GroupName>,
    target: TargetName,
    labels: BTreeMap<String, String>,
    account: AccountName,
    asked: Asked,
    ticket: Option<String>,
    at: Timestamp,
    from: Option<IpAddr>,
}

impl Case {
    fn asker(&self) -> Asker<'_> {
        Asker {
            user: &self.user,
            groups: &self.groups,
            target: &self.target,
            labels: &self.labels,
            account: &self.account,
            ticket: Ticket::Of(self.ticket.as_deref()),
            at: self.at,
        }
    }
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let folder = arguments.folder.path(file)?;
    let set = super::draft(&super::read(&folder)?, &folder)?;
    let transfer = transfer(arguments)?;
    let case = case(file, arguments)?;
    // What moves files takes every class that it needs, and no command set judges it.
    let cases = match &transfer {
        None => vec![case],
        Some(transfer) => {
            let classes = transfer.classes().iter();
            classes.map(|class| Case { asked: Asked::from(*class), ..case.clone() }).collect()
        }
    };
    let told: Vec<(&Case, Access<'_>)> = cases.iter().map(|case| (case, explain_access(&set, case))).collect();
    let denied = told.iter().find(|(_, access)| matches!(access.decision, Decision::Deny(_)));
    // What no rule opens is not judged.
    let line = arguments.line.as_deref().filter(|_| transfer.is_none() && denied.is_none());
    let command = line.zip(told.first()).map(|(line, (case, access))| explain_command(&set, case, access, line));
    // Without a line: what a menu shows.
    let menu = told.first().filter(|_| arguments.line.is_none() && denied.is_none());
    let menu = menu.map(|(case, access)| entries(&set, case, access)).unwrap_or_default();
    if arguments.json {
        let menu: Vec<Value> = menu.iter().map(|(set, entry)| entry_row(set, entry)).collect();
        let command = command.as_ref().map(|(judgement, near)| command_row(judgement, near));
        let access = denied.or(told.first()).map(|(_, access)| access_row(access));
        let transfer = transfer.as_ref().map(transfer_row);
        return super::json(
            &json!({ "access": access, "command": command, "menu": menu, "transfer": transfer, "policy": set.hash().as_str() }),
        );
    }
    if let Some(transfer) = &transfer {
        let (way, paths) = (way(transfer), join(transfer.paths()));
        show_line(format!("moves    files {way}, as {}: {paths}; no command set judges that", transfer.name()));
    }
    told.iter().for_each(|(case, access)| show_access(access, case));
    menu.iter().for_each(|(set, entry)| show_entry(set, entry));
    if let Some((judgement, near)) = &command {
        show_command(judgement, near);
    }
    Ok(())
}

/// The transfer as which the server takes the line.
fn transfer(arguments: &Arguments) -> Result<Option<Transfer>, CliError> {
    let Some(line) = &arguments.line else { return Ok(None) };
    match arguments.channel {
        Some(ChannelClass::Exec) | None => Ok(Transfer::parse(line.as_bytes())),
        Some(other) => Err(CliError::usage(format!("a command line is for exec, not for {other}"))),
    }
}

fn way(transfer: &Transfer) -> &'static str {
    match transfer.way() {
        Way::FromTarget => "from the target",
        Way::ToTarget => "to the target",
    }
}

fn transfer_row(transfer: &Transfer) -> Value {
    let needs: Vec<String> = transfer.classes().iter().map(ToString::to_string).collect();
    json!({ "tool": transfer.name(), "way": way(transfer), "paths": transfer.paths(), "needs": needs })
}

fn case(file: Option<&Path>, arguments: &Arguments) -> Result<Case, CliError> {
    let mut groups: BTreeSet<GroupName> = arguments.groups.iter().cloned().collect();
    let mut labels: BTreeMap<String, String> = arguments.labels.iter().cloned().collect();
    // What is not given is the state's, if there is one to ask: a folder of rules can be tried without.
    let alone = arguments.folder.policies.is_some() && file.is_none();
    if alone && (groups.is_empty() || labels.is_empty()) {
        let unknown = match (groups.is_empty(), labels.is_empty()) {
            (true, true) => "groups and labels are",
            (true, false) => "groups are",
            (false, true | false) => "labels are",
        };
        say(format!("warning: {unknown} taken for none: give --group and --label, or --config FILE to ask the state"));
    }
    if !alone && (groups.is_empty() || labels.is_empty()) {
        let desk = Desk::open(file)?;
        let Reply::Users { users } = desk.ask(Request::UserList {})? else { return Err(unexpected()) };
        let Reply::Targets { targets } = desk.ask(Request::TargetList {})? else { return Err(unexpected()) };
        let user = users.into_iter().find(|user| user.name == arguments.user);
        let target = targets.into_iter().find(|target| target.name == arguments.target);
        if user.is_none() {
            say(format!("warning: there is no user {} in the state", arguments.user));
        }
        if target.is_none() {
            say(format!("warning: there is no target {} in the state", arguments.target));
        }
        if groups.is_empty() {
            groups = user.map(|user| user.groups).unwrap_or_default();
        }
        if labels.is_empty() {
            labels = target.map(|target| target.labels).unwrap_or_default();
        }
    }
    let matter = matter(arguments)?;
    let about = match &matter {
        Some(Matter::File(asked)) => asked.action.classes().first().copied(),
        Some(Matter::Endpoint(_)) => Some(ChannelClass::LocalForward),
        Some(Matter::Key(_) | Matter::Terminal | Matter::EveryFile) | None => None,
    };
    let asked = Asked { class: arguments.channel.or(about).unwrap_or(ChannelClass::Exec), matter };
    Ok(Case {
        user: arguments.user.clone(),
        groups,
        target: arguments.target.clone(),
        labels,
        account: arguments.account.clone(),
        asked,
        ticket: arguments.ticket.clone(),
        at: arguments.at.unwrap_or_else(|| Clock::system().now()),
        from: arguments.from,
    })
}

fn matter(arguments: &Arguments) -> Result<Option<Matter>, CliError> {
    if let Some((action, path)) = &arguments.file {
        let known = FileAction::ALL.into_iter().find(|known| known.word() == action);
        let action = known.ok_or_else(|| {
            let words = join(FileAction::ALL.map(FileAction::word));
            CliError::usage(format!("`{action}` is nothing that is done to a file: {words}"))
        })?;
        let path = FilePath::parse(path.as_bytes())?;
        return Ok(Some(Matter::File(FileAsked { action, path, extent: Extent::Itself })));
    }
    let Some(forward) = &arguments.forward else { return Ok(None) };
    let (host, port) = forward.rsplit_once(':').unwrap_or((forward, ""));
    let endpoint = Endpoint::tcp(host, port.parse().unwrap_or(u32::MAX))?;
    Ok(Some(Matter::Endpoint(endpoint)))
}

/// What the rules say of the channel.
struct Access<'s> {
    decision: Decision,
    /// The rules that open it.
    opening: Vec<&'s Rule>,
    /// Rules that nearly do, with the one condition that is not met.
    near: Vec<(&'s Rule, String)>,
}

fn explain_access<'s>(set: &'s PolicySet, case: &Case) -> Access<'s> {
    let circumstances = Circumstances { now: Some(case.at), source: case.from, ..Circumstances::BEST };
    let question = Question {
        user: &case.user,
        groups: &case.groups,
        target: &case.target,
        labels: &case.labels,
        account: &case.account,
        asked: Some(&case.asked),
        presence: Presence::FULL,
        circumstances,
    };
    let decision = decide(set, &question);
    let opening: BTreeSet<&RuleId> = match &decision {
        Decision::Allow(allowed) | Decision::NeedsGrant(allowed) => allowed.rules.iter().map(|(id, _)| id).collect(),
        Decision::Deny(_) => BTreeSet::new(),
    };
    let near = set.rules().filter(|rule| !opening.contains(&rule.id)).filter_map(|rule| {
        let mut unmet = unmet(rule, case, &circumstances);
        // What is for others, elsewhere, is no near miss.
        (unmet.len() == 1).then(|| unmet.pop().map(|why| (rule, why))).flatten()
    });
    let near = near.collect();
    let opening = set.rules().filter(|rule| opening.contains(&rule.id)).collect();
    Access { decision, opening, near }
}

/// The conditions of a rule that this case does not meet.
fn unmet(rule: &Rule, case: &Case, circumstances: &Circumstances<'_>) -> Vec<String> {
    let mut unmet = Vec::new();
    if !rule.is_for(&case.user, &case.groups) {
        unmet.push(format!("it is not for {} (groups: {})", case.user, join(&case.groups)));
    }
    if !rule.is_at(&case.target, &case.labels) {
        let labels = case.labels.iter().map(|(key, value)| format!("{key}={value}"));
        unmet.push(format!("it is not for {} (labels: {})", case.target, join(labels)));
    }
    if !rule.accounts_of(&case.user).contains(&case.account) {
        unmet.push(format!("it does not open the account {}", case.account));
    }
    let class = case.asked.class;
    if !rule.channels.iter().copied().any(|opened| opened == class) {
        let judged = rule.channels.contains(&class);
        unmet.push(if judged {
            format!("it opens no {class}: what is typed there is not judged in this version (`commands`)")
        } else {
            format!("it does not open {class}")
        });
    }
    if let Err(why) = rule.conditions.holds(circumstances) {
        unmet.push(format!("it {why}"));
    }
    unmet
}

fn explain_command(set: &PolicySet, case: &Case, access: &Access<'_>, line: &str) -> (Judgement, Vec<NearMiss>) {
    let governed: Vec<Governed> = access.opening.iter().map(|rule| set.governs(rule)).collect();
    let asker = case.asker();
    let judgement = judge(line, &governed, set.effects(), &asker);
    let near = near_misses(line, &governed, set.effects(), &asker);
    (judgement, near)
}

/// The entries of a menu that are there for this case; none where the mode is another.
fn entries<'s>(set: &'s PolicySet, case: &Case, access: &Access<'s>) -> Vec<(String, &'s MenuEntry)> {
    let governed: Vec<Governed> = access.opening.iter().map(|rule| set.governs(rule)).collect();
    let names: BTreeSet<RuleId> =
        offered(&governed, &case.asker()).iter().map(|offered| offered.entry.name.clone()).collect();
    let sets = access.opening.iter().filter_map(|rule| rule.commands.as_ref()).flat_map(|commands| &commands.sets);
    let all = sets.flat_map(|set| set.menus.iter().map(move |entry| (set.name.clone(), entry)));
    let mut all: Vec<(String, &MenuEntry)> = all.filter(|(_, entry)| names.contains(&entry.name)).collect();
    all.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    all.dedup_by(|a, b| a.1.name == b.1.name);
    all
}

fn show_entry(set: &str, entry: &MenuEntry) {
    let yes = entry.approval.as_ref().map(|need| format!(", with a yes of {}", need.approvers)).unwrap_or_default();
    show_line(format!("menu     {}: {} (set `{set}`, {}:{}){yes}", entry.usage(), entry.title, entry.file, entry.line));
    for parameter in &entry.parameters {
        show_line(format!("            {}: {}", parameter.name, parameter.wanted()));
    }
}

fn entry_row(set: &str, entry: &MenuEntry) -> Value {
    let parameters: Vec<Value> = entry
        .parameters
        .iter()
        .map(|one| json!({ "name": one.name, "takes": one.wanted(), "help": one.help, "default": one.default }))
        .collect();
    json!({
        "name": entry.name.as_str(), "title": entry.title, "set": set, "file": entry.file, "line": entry.line,
        "outcome": entry.outcome, "parameters": parameters,
    })
}

fn show_access(access: &Access<'_>, case: &Case) {
    let what = format!("{} to {}@{}, {}", case.user, case.account, case.target, case.asked);
    let place = |rule: &Rule| format!("rule `{}` ({}:{})", rule.id, rule.file, rule.line);
    match &access.decision {
        Decision::Allow(_) => show_line(format!("access   allowed: {what}")),
        Decision::NeedsGrant(_) => show_line(format!("access   allowed while a grant holds: {what}")),
        Decision::Deny(why) => show_line(format!("access   denied: {what}: {why}")),
    }
    access.opening.iter().for_each(|rule| show_line(format!("         by {}", place(rule))));
    access.near.iter().for_each(|(rule, why)| show_line(format!("         not by {}: {why}", place(rule))));
}

fn show_command(judgement: &Judgement, near: &[NearMiss]) {
    let by = match (&judgement.by, &judgement.place) {
        (By::Rule(id), Some((file, line))) => format!("by rule `{id}` ({file}:{line})"),
        (By::Rule(id), None) => format!("by rule `{id}`"),
        (By::Default, _) => String::from("by default"),
        (By::NotUnderstood { at, reason }, _) => format!("since it was not understood: {reason} (at byte {at})"),
        (By::NoSets, _) => String::from("since no command set is in force"),
        (By::Unjudged(rule), _) => format!("since access rule `{rule}` has no `commands`, and no other forbids it"),
    };
    let outcome = match judgement.outcome {
        Outcome::Allow => "allowed",
        Outcome::Approve => "needs a yes",
        Outcome::Deny => "denied",
    };
    show_line(format!("command  {outcome} {by}"));
    let set = judgement.set.as_ref().map(|set| format!(", set `{set}`")).unwrap_or_default();
    let rule = judgement.access_rule.as_ref().map(|rule| format!(", access rule `{rule}`")).unwrap_or_default();
    show_line(format!("         mode {}{set}{rule}", judgement.mode));
    if let Some(reason) = &judgement.reason {
        show_line(format!("reason   {reason}"));
    }
    if let Some(need) = &judgement.approval {
        show_line(format!("yes of   {} within {}s", need.approvers, need.within.as_secs()));
    }
    for (at, seen) in judgement.invocations.iter().enumerate() {
        let effects =
            if seen.effects.is_empty() { String::from("nothing of interest") } else { seen.effects.join(", ") };
        let by = seen.by.map(|by| format!(", started by {}", by.saturating_add(1))).unwrap_or_default();
        show_line(format!("starts   {}. {}{by}", at.saturating_add(1), seen.words()));
        show_line(format!("            does {effects}; {} {}", seen.outcome, seen.decided));
        for miss in near.iter().filter(|miss| miss.invocation == at) {
            let (file, line) = &miss.place;
            show_line(format!("            not by rule `{}` ({file}:{line}): {}", miss.rule, miss.why));
        }
    }
    for would in &judgement.would {
        show_line(format!(
            "would be {} {}, were access rule `{}` enforced",
            would.outcome, would.by, would.access_rule
        ));
    }
    match &judgement.send {
        Some(text) => show(format!("sent     {text}")),
        None => show_line("sent     nothing"),
    }
}

fn access_row(access: &Access<'_>) -> Value {
    let row = |rule: &Rule| json!({ "rule": rule.id.as_str(), "file": rule.file, "line": rule.line });
    let (decision, why) = match &access.decision {
        Decision::Allow(_) => ("allow", None),
        Decision::NeedsGrant(_) => ("needs-grant", None),
        Decision::Deny(why) => ("deny", Some(why.to_string())),
    };
    let near: Vec<Value> = access
        .near
        .iter()
        .map(|(rule, why)| json!({ "rule": rule.id.as_str(), "file": rule.file, "line": rule.line, "why": why }))
        .collect();
    let rules: Vec<Value> = access.opening.iter().map(|rule| row(rule)).collect();
    json!({ "decision": decision, "why": why, "rules": rules, "near_misses": near })
}

fn command_row(judgement: &Judgement, near: &[NearMiss]) -> Value {
    let near: Vec<Value> = near
        .iter()
        .map(|miss| {
            let (file, line) = &miss.place;
            json!({ "starts": miss.invocation, "rule": miss.rule.as_str(), "set": miss.set, "file": file, "line": line, "why": miss.why })
        })
        .collect();
    let place = judgement.place.as_ref().map(|(file, line)| json!({ "file": file, "line": line }));
    json!({
        "outcome": judgement.outcome,
        "by": judgement.by,
        "place": place,
        "access_rule": judgement.access_rule.as_ref().map(RuleId::as_str),
        "set": judgement.set,
        "mode": judgement.mode,
        "reason": judgement.reason,
        "sent": judgement.send,
        "starts": judgement.invocations,
        "near_misses": near,
        "would": judgement.would,
        "alert": judgement.alert,
        "on_match": judgement.on_match,
        "approval": judgement.approval,
    })
}
