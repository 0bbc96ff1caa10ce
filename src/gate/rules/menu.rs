//! `[[menu]]`: named commands with a few parameters, for those who are shown nothing else.
//!
//! What is run is written word by word in the policy; a parameter fills in a part of one word and never becomes another, an
//! option or, inside of a longer text, anything but a plain word.
//!
//! What this module does **not** guard against: what the program does by itself with the values that it is given.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{Arg, Hole, Takes};
use super::parse::{Terms, read_line};
use super::paths::{PathPattern, plain_path};
use super::{Context, base_name};
use crate::document::{Fault, Faults, Node, Table, words};
use crate::gate::canonical::{self, Argument, CanonicalCommand, CanonicalPipeline, Then, Unsendable};
use crate::gate::effects::EffectKind;
use crate::gate::shell;
use crate::gate::shell::tree::{Command, Joint};
use crate::gate::shell::word::Word;
use crate::gate::verdict::{AlertLevel, ApprovalNeed, CommandMode, OnMatch, Outcome};
use crate::gate::{LINE_BYTES_MAX, shell::text};
use crate::model::{RuleId, Timestamp};
use crate::pattern::Pattern;

/// A longer value is refused unread.
pub const VALUE_BYTES_MAX: usize = 1024;
/// A name is typed, and stands in a list.
const NAME_BYTES_MAX: usize = 32;
/// An entry has at most so many parameters: each is asked for by itself.
const PARAMETERS_MAX: usize = 16;
const OUTCOMES: &[(&str, Outcome)] = &[("allow", Outcome::Allow), ("approve", Outcome::Approve)];

/// One entry of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    /// Its name, as it is typed; on record as the rule that decided.
    pub name: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// What it does, for people.
    pub title: String,
    /// The program's full path.
    pub program: String,
    /// Its arguments, some with something in them that a parameter fills in.
    pub args: Vec<Arg>,
    /// Its parameters, as they stand in `args`.
    pub parameters: Vec<Parameter>,
    /// Whether it runs at once, or takes somebody's yes.
    pub outcome: Outcome,
    /// The ways to other programs that it may be.
    pub effects: BTreeSet<EffectKind>,
    /// Whether it may have a terminal.
    pub pty: bool,
    /// When and for whom it is there.
    pub context: Context,
    /// Why, for the user.
    pub reason: Option<String>,
    /// Whom to ask about it.
    pub owner: Option<String>,
    /// From then on it is not there.
    pub expires: Option<Timestamp>,
    /// How loud its use is told.
    pub alert: Option<AlertLevel>,
    /// What becomes of the session.
    pub on_match: Option<OnMatch>,
    /// Whose yes it takes.
    pub approval: Option<ApprovalNeed>,
}

/// A parameter of a menu's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, as it is typed.
    pub name: String,
    /// The line it stands in.
    pub line: usize,
    /// What it takes, by the placeholder.
    pub takes: Option<Takes>,
    /// What all of it must match.
    pub pattern: Option<Pattern>,
    /// Where a path may lead.
    pub paths: Vec<PathPattern>,
    /// What it is, for people.
    pub help: Option<String>,
    /// What it is if nobody says otherwise.
    pub default: Option<String>,
    /// Whether it begins a word that could be an option.
    pub leads: bool,
    /// Whether it stands in a longer text, of which it must stay one plain word.
    pub inside: bool,
}

/// What somebody wants of a menu: an entry, and values for its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuRequest {
    /// The entry's name.
    pub name: String,
    /// Values, by the parameter's name.
    pub with: BTreeMap<String, String>,
}

/// Why a line asks for no entry of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRequest {
    /// Where, in bytes.
    pub at: usize,
    /// Why.
    pub reason: &'static str,
}

impl MenuRequest {
    /// Reads `NAME` or `NAME parameter=value ...`, with the quotes of a shell and nothing else of it.
    ///
    /// # Errors
    /// `NoRequest` for every other line.
    pub fn parse(line: &str) -> Result<Self, NoRequest> {
        let no = |at, reason| Err(NoRequest { at, reason });
        if line.len() > LINE_BYTES_MAX {
            return no(LINE_BYTES_MAX, "a line of more than 32 KiB");
        }
        let script = shell::parse(line).map_err(|error| NoRequest { at: error.at, reason: error.reason })?;
        let [entry] = script.entries.as_slice() else { return no(0, ONLY_ENTRIES) };
        let [piped] = entry.pipeline.commands.as_slice() else { return no(0, ONLY_ENTRIES) };
        let Command::Simple(simple) = &piped.command else { return no(0, ONLY_ENTRIES) };
        // Of what stands around a command nothing is passed over by which anybody could mean something: no `&`, no comment.
        let blank = |part: Option<&str>| part.is_some_and(|part| part.trim_matches([' ', '\t', '\n']).is_empty());
        let alone = blank(line.get(..simple.at.start)) && blank(line.get(simple.at.end..));
        let sequence = entry.then == Joint::Sequence && entry.pipeline.prefix.is_none() && !piped.errors_too;
        if !alone || !sequence || !simple.assignments.is_empty() || !simple.redirections.is_empty() {
            return no(simple.at.end, ONLY_ENTRIES);
        }
        let mut words = simple.words.iter();
        let name = words.next().and_then(Word::literal);
        let Some(name) = name else { return no(simple.at.start, ONLY_ENTRIES) };
        let mut with = BTreeMap::new();
        for word in words {
            let text = word.literal();
            let Some(text) = text else { return no(word.at.start, "a value that only the target knows") };
            let Some((key, value)) = text.split_once('=') else { return no(word.at.start, "a word without `=`") };
            if with.insert(key.to_owned(), value.to_owned()).is_some() {
                return no(word.at.start, "a parameter that is given twice");
            }
        }
        Ok(Self { name: name.into_owned(), with })
    }

    /// As a line that reads back as this request.
    pub fn line(&self) -> String {
        let mut line = self.name.clone();
        for (key, value) in &self.with {
            line.push(' ');
            line.push_str(&canonical::quoted(&format!("{key}={value}")));
        }
        line
    }
}

const ONLY_ENTRIES: &str = "only the entries of a menu run here: NAME, or NAME PARAMETER=VALUE ...";

impl MenuEntry {
    pub(super) fn read(
        file: &str,
        mode: Option<CommandMode>,
        mut table: Table<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let line = table.line();
        let name = table.need("name", faults).and_then(|node| faults.keep(read_name(&node)));
        let title = table.need("title", faults).and_then(|node| faults.keep(read_line(&node)));
        let outcome = table.read("effect", Outcome::Allow, faults, |node| node.word(OUTCOMES));
        let run_at = table.need("run", faults);
        let run = run_at.as_ref().and_then(|node| read_run(node, faults));
        let effects =
            table.take("effects").map_or(Some(BTreeSet::new()), |node| words(&node, &EffectKind::WORDS, faults));
        let pty = table.read("pty", false, faults, Node::boolean);
        let terms = Terms::read(&mut table, Some(outcome), None, faults);
        if terms.as_ref().is_some_and(|terms| !terms.context.modes.is_empty()) {
            faults.push(table.fault("`mode` is of rules: an entry is for menus alone"));
        }
        if mode == Some(CommandMode::Guard) {
            faults.push(table.fault("never runs: the set is for guard, and in guard there is no menu"));
        }
        let mut own = Some(BTreeMap::new());
        for (key, node) in table.rest() {
            let read = read_parameter(key, &node, faults);
            own = own.zip(read).map(|(mut own, parameter)| {
                own.insert(key, (parameter, node.clone()));
                own
            });
        }
        let ((program, args), own, run_at) = (run?, own?, run_at?);
        let parameters = placed(&args, own, &run_at, faults)?;
        let Terms { context, reason, owner, expires, alert, on_match, approval } = terms?;
        Some(Self {
            name: name?,
            file: file.to_owned(),
            line,
            title: title?,
            program,
            args,
            parameters,
            outcome,
            effects: effects?,
            pty,
            context,
            reason,
            owner,
            expires,
            alert,
            on_match,
            approval,
        })
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// A value for each parameter: what is given, else the default.
    ///
    /// # Errors
    /// Why these are no values for its parameters, for people.
    pub fn values<'v>(&'v self, with: &'v BTreeMap<String, String>) -> Result<BTreeMap<&'v str, &'v str>, String> {
        if let Some(other) = with.keys().find(|key| self.parameter(key).is_none()) {
            let known = if self.parameters.is_empty() { String::from("it takes none") } else { self.usage() };
            return Err(format!("there is no parameter {}: {known}", text::shown_word(other)));
        }
        let mut values = BTreeMap::new();
        for parameter in &self.parameters {
            let given = with.get(&parameter.name).or(parameter.default.as_ref());
            let Some(value) = given else {
                return Err(format!("{} is missing: {}", parameter.name, parameter.wanted()));
            };
            parameter.accepts(value).map_err(|why| format!("{}: {why}", parameter.name))?;
            values.insert(parameter.name.as_str(), value.as_str());
        }
        Ok(values)
    }

    /// The program and its arguments with these values.
    pub fn argv(&self, values: &BTreeMap<&str, &str>) -> Vec<String> {
        let mut argv = vec![self.program.clone()];
        argv.extend(self.args.iter().map(|arg| match arg {
            Arg::Rest => String::new(),
            Arg::One { head, hole: None, .. } => head.clone(),
            Arg::One { head, hole: Some(hole), tail } => {
                format!("{head}{}{tail}", values.get(hole.name.as_str()).copied().unwrap_or_default())
            }
        }));
        argv
    }

    /// The text that the target gets for this argv.
    ///
    /// # Errors
    /// `Unsendable` if there is none that every shell reads alike.
    pub fn text(argv: &[String]) -> Result<String, Unsendable> {
        let (program, arguments) = argv.split_first().ok_or(Unsendable::RelativeProgram)?;
        let arguments: Result<Vec<Argument>, Unsendable> =
            arguments.iter().map(|argument| Argument::text(argument)).collect();
        let command = CanonicalCommand::new(program, arguments?)?;
        Ok(canonical::write(&[CanonicalPipeline::new(command, Vec::new(), Then::Sequence)?]))
    }

    /// How it is typed: its name and its parameters, those that may be left out in brackets.
    pub fn usage(&self) -> String {
        let mut usage = self.name.to_string();
        for parameter in &self.parameters {
            let name = &parameter.name;
            usage.push_str(&match parameter.default {
                Some(_) => format!(" [{name}=...]"),
                None => format!(" {name}=..."),
            });
        }
        usage
    }

    /// Whether something of what it runs is written as this text, and so not by whoever uses it.
    pub(super) fn writes(&self, program: &str) -> bool {
        let name = base_name(program);
        self.args.iter().any(|arg| match arg {
            Arg::Rest => false,
            Arg::One { head, tail, .. } => head.contains(name) || tail.contains(name),
        })
    }
}

impl Parameter {
    /// Whether it takes this value.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn accepts(&self, value: &str) -> Result<(), String> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("it is longer than {VALUE_BYTES_MAX} bytes"));
        }
        if value.chars().any(|c| text::fault(c).is_some() || matches!(c, '\n' | '\t')) {
            return Err(String::from("it has a character that cannot be seen"));
        }
        let chosen = matches!(&self.takes, Some(Takes::OneOf(choices)) if choices.iter().any(|choice| choice == value));
        if self.leads && value.starts_with('-') && !chosen {
            return Err(String::from("it begins with a dash, and would be an option"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._@:+=,%/-".contains(c);
        if self.inside && (value.is_empty() || !value.chars().all(plain)) {
            return Err(String::from(
                "it stands in a longer text, and takes letters, digits and . _ @ : + = , % / - only",
            ));
        }
        if let Some(takes) = &self.takes
            && !takes.accepts(value, self.leads)
        {
            return Err(if value.is_empty() { String::from("it is empty") } else { self.takes_only() });
        }
        if !self.paths.is_empty() {
            let word = Word::of(value, 0..0);
            let parts = plain_path(&word, false);
            let parts = parts.map_err(|why| format!("it {why}"))?;
            if !self.paths.iter().any(|path| path.covers(&parts)) {
                return Err(self.takes_only());
            }
        }
        if let Some(pattern) = &self.pattern
            && !pattern.matches(value)
        {
            return Err(self.takes_only());
        }
        Ok(())
    }

    /// The values that there are, if it is one of some.
    pub fn choices(&self) -> Option<&[String]> {
        match &self.takes {
            Some(Takes::OneOf(choices)) if choices.iter().all(|choice| !choice.contains('*')) => Some(choices),
            Some(Takes::OneOf(_) | Takes::Word | Takes::Number | Takes::Host | Takes::Path) | None => None,
        }
    }

    /// What it takes, for people.
    pub fn wanted(&self) -> String {
        let mut wanted = match &self.takes {
            Some(Takes::OneOf(choices)) => format!("one of {}", choices.join(", ")),
            Some(Takes::Number) => String::from("digits"),
            Some(Takes::Host) => String::from("the name or the address of a machine"),
            Some(Takes::Path) => {
                let paths: Vec<&str> = self.paths.iter().map(PathPattern::text).collect();
                format!("a full path of {}", paths.join(", "))
            }
            Some(Takes::Word) if self.pattern.is_none() => String::from("letters, digits and . _ @ : + = , % -"),
            Some(Takes::Word) | None => String::new(),
        };
        if let Some(pattern) = &self.pattern {
            let and = if wanted.is_empty() { "" } else { ", and " };
            wanted.push_str(&format!("{and}what matches {}", pattern.text()));
        }
        wanted
    }

    fn takes_only(&self) -> String {
        format!("it takes {}", self.wanted())
    }

    /// Some value, by which what the entry would do can be looked at.
    pub(super) fn sample(&self) -> String {
        let named = match &self.takes {
            Some(Takes::OneOf(choices)) => choices.first().map(|choice| choice.replace('*', "x")),
            Some(Takes::Path) => self.paths.first().map(|path| path.text().replace('*', "x")),
            Some(Takes::Number) => Some(String::from("1")),
            Some(Takes::Word | Takes::Host) | None => None,
        };
        self.default.clone().or(named).unwrap_or_else(|| String::from("x"))
    }
}

/// The program, and each argument.
fn read_run(node: &Node<'_>, faults: &mut Faults) -> Option<(String, Vec<Arg>)> {
    let items = faults.keep(node.filled_list())?;
    let (first, rest) = items.split_first()?;
    let program = faults.keep(first.string().and_then(|text| {
        let plain = text.chars().all(|c| c.is_ascii_graphic() && !"*?[]{}$`'\"\\|&;<>()!~#".contains(c));
        if plain && PathPattern::parse(text).is_ok() && text != "/" {
            return Ok(text.to_owned());
        }
        Err(first.fault("begins with the full path of a program"))
    }));
    let read: Vec<Option<Arg>> = rest.iter().map(|item| faults.keep(read_arg(item))).collect();
    Some((program?, read.into_iter().collect::<Option<Vec<Arg>>>()?))
}

fn read_arg(item: &Node<'_>) -> Result<Arg, Fault> {
    let text = item.string()?;
    let arg = Arg::parse(text).map_err(|why| item.fault(format!("{text:?} is no argument of an entry")).hint(why))?;
    match &arg {
        Arg::Rest => Err(item.fault("`...` is of rules: an entry says every word")),
        Arg::One { head, hole: Some(hole), .. } => {
            let chosen =
                matches!(&hole.takes, Takes::OneOf(choices) if choices.iter().all(|choice| !choice.contains('*')));
            // `-{x}` would let whoever fills it in choose the option.
            if !chosen && !head.is_empty() && head.chars().all(|c| c == '-') {
                let hint = "write the option out, and the parameter behind it: --site={site}";
                return Err(item.fault(format!("{text:?} would be any option")).hint(hint));
            }
            let dashed = matches!(&hole.takes, Takes::OneOf(choices)
                if choices.iter().any(|choice| choice.starts_with('-') && choice.contains('*')));
            if dashed {
                return Err(item.fault(format!("{text:?} would be any option")).hint("write each option out"));
            }
            Ok(arg)
        }
        Arg::One { hole: None, .. } => Ok(arg),
    }
}

/// What is written of a parameter beside its place.
struct Told {
    pattern: Option<Pattern>,
    paths: Vec<PathPattern>,
    help: Option<String>,
    default: Option<String>,
    line: usize,
}

fn read_parameter(name: &str, node: &Node<'_>, faults: &mut Faults) -> Option<Told> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        faults.push(node.fault("is no name of a parameter").hint("use 1 to 32 of a-z 0-9 - _"));
        return None;
    }
    let mut table = faults.keep(node.table().map_err(|fault| fault.hint("a key here is a parameter's name")))?;
    let line = node.line();
    let pattern = table.take("pattern").map_or(Some(None), |node| {
        let read = node
            .filled_string()
            .and_then(|text| Pattern::parse(text).map_err(|why| node.fault(format!("{text:?} {why}"))));
        faults.keep(read).map(Some)
    });
    let paths = table.take("paths").map_or(Some(Vec::new()), |node| {
        let items = faults.keep(node.filled_list())?;
        let read = items.iter().map(|item| {
            let parsed = item.string().and_then(|text| {
                PathPattern::parse(text).map_err(|why| item.fault(format!("{text:?} is not a path")).hint(why))
            });
            faults.keep(parsed)
        });
        read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    });
    let help = table.take("help").map_or(Some(None), |node| faults.keep(read_line(&node)).map(Some));
    let default =
        table.take("default").map_or(Some(None), |node| faults.keep(node.string()).map(|text| Some(text.to_owned())));
    table.finish(&[], faults);
    Some(Told { pattern: pattern?, paths: paths?, help: help?, default: default?, line })
}

/// Each parameter as it stands in the arguments, with what is said of it.
fn placed(
    args: &[Arg],
    mut own: BTreeMap<&str, (Told, Node<'_>)>,
    run: &Node<'_>,
    faults: &mut Faults,
) -> Option<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut declared = BTreeSet::new();
    // Behind `--`, and only there, a word that begins with a dash is no option.
    let mut operands = false;
    let mut good = true;
    for arg in args {
        let Arg::One { head, hole, tail } = arg else { continue };
        let Some(Hole { name, takes }) = hole else {
            operands = head == "--";
            continue;
        };
        let leads = head.chars().last().map_or(!operands, |c| !(c.is_ascii_alphanumeric() || "=:,/@.+_%".contains(c)));
        let inside =
            [head, tail].iter().any(|part| part.chars().any(|c| c.is_whitespace() || "'\"\\$`;&|<>()".contains(c)));
        // What a word says by leaving the kind out is said by the parameter, or by its other places.
        let kind = (*takes != Takes::Word).then(|| takes.clone());
        if let Some(known) = parameters.iter_mut().find(|known| known.name == *name) {
            known.leads |= leads;
            known.inside |= inside;
            match (&known.takes, kind) {
                (Some(before), Some(kind)) if *before != kind => {
                    faults.push(run.fault(format!("has {{{name}}} of two kinds")));
                    good = false;
                }
                (None, Some(kind)) => known.takes = Some(kind),
                (Some(_) | None, _) => {}
            }
            continue;
        }
        let told = own.remove(name.as_str()).map(|(told, _)| told);
        declared.extend(told.is_some().then(|| name.clone()));
        let nothing = || Told { pattern: None, paths: Vec::new(), help: None, default: None, line: run.line() };
        let Told { pattern, paths, help, default, line } = told.unwrap_or_else(nothing);
        let name = name.clone();
        parameters.push(Parameter { name, line, takes: kind, pattern, paths, help, default, leads, inside });
    }
    for (name, (_, node)) in &own {
        faults.push(node.fault(format!("`run` has no {{{name}}}")));
        good = false;
    }
    if parameters.len() > PARAMETERS_MAX {
        faults.push(run.fault(format!("has more than {PARAMETERS_MAX} parameters")));
        good = false;
    }
    for parameter in &mut parameters {
        // As in a rule; but a name that stands nowhere else may be a slip.
        if parameter.takes.is_none() && parameter.pattern.is_none() && declared.contains(&parameter.name) {
            parameter.takes = Some(Takes::Word);
        }
        if let Some((message, hint)) = odd(parameter) {
            faults.push(run.fault(message).hint(hint));
            good = false;
        }
    }
    good.then_some(parameters)
}

/// What is wrong with a parameter, and what to write.
fn odd(parameter: &Parameter) -> Option<(String, String)> {
    let name = &parameter.name;
    let is_path = parameter.takes == Some(Takes::Path);
    if parameter.takes.is_none() && parameter.pattern.is_none() {
        return Some((
            format!("has {{{name}}}, and nothing says what that takes"),
            format!("write {name} = {{ pattern = \"[a-z0-9-]{{1,40}}\", help = \"...\" }}, or {{{name}:number}}"),
        ));
    }
    if is_path && parameter.paths.is_empty() {
        return Some((
            format!("has {{{name}:path}}, and nothing says which paths"),
            format!("write {name} = {{ paths = [\"/var/log/**\"] }}"),
        ));
    }
    if !is_path && !parameter.paths.is_empty() {
        return Some((format!("has {{{name}}} with `paths`"), format!("write {{{name}:path}}, or remove `paths`")));
    }
    let default = parameter.default.as_ref()?;
    let why = parameter.accepts(default).err()?;
    Some((format!("has {{{name}}}, which does not take its own default: {why}"), String::from("mend one of the two")))
}

fn read_name(node: &Node<'_>) -> Result<RuleId, Fault> {
    let name = node.name(RuleId::parse)?;
    let bare = MenuRequest { name: name.to_string(), with: BTreeMap::new() };
    if name.as_str().len() > NAME_BYTES_MAX || MenuRequest::parse(&bare.line()).as_ref() != Ok(&bare) {
        let hint = "use 1 to 32 of a-z 0-9 . - _, and no word of the shell's own";
        return Err(node.fault(format!("{:?} is no name that can be typed", name.as_str())).hint(hint));
    }
    Ok(name)
}
