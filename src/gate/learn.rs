//! A draft of a command set from what was run: rules that allow just that, with numbers, and files of one directory,
//! generalised.
//!
//! A draft is text for a person to read, name and merge; nothing puts it in force. What opens a way to other programs is
//! never learnt: who wants that allowed writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::effects::{EffectKind, Table, normal_path};
use super::invocation::{self, Construct, Invocation};
use super::rules::GRAVE;
use super::shell::tree::RedirectionKind;
use super::shell::{self, word::Word};

/// Files of one directory become all of that directory from so many on.
const ALIKE_MIN: usize = 3;
/// Words that differ stand as alternatives, up to so many.
const CHOICES_MAX: usize = 32;
/// So many of the lines behind a rule become its test.
const TESTS_MAX: usize = 8;

/// A set to start from, and what is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learnt {
    /// The text of a command set's file.
    pub text: String,
    /// How many rules are in it.
    pub rules: usize,
    /// The lines that it does not allow, each with the reason; a line once.
    pub left_out: Vec<(String, String)>,
}

/// Makes a draft from command lines that were run.
pub fn learn<'l>(lines: impl Iterator<Item = &'l str>, table: &Table) -> Learnt {
    let mut shapes: BTreeMap<Shape, Seen> = BTreeMap::new();
    let mut learnt = Learnt::default();
    for line in lines.collect::<BTreeSet<_>>() {
        match read(line, table) {
            Ok(commands) => {
                let alone = commands.len() == 1;
                for (shape, command) in commands {
                    let seen = shapes.entry(shape).or_default();
                    seen.take(&command);
                    if alone && seen.lines.len() < TESTS_MAX {
                        seen.lines.push(line.to_owned());
                    }
                }
            }
            Err(why) => learnt.left_out.push((line.to_owned(), why)),
        }
    }
    learnt.text.push_str(HEAD);
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (shape, seen) in &shapes {
        let name = id_of(shape.program.rsplit('/').next().unwrap_or_default());
        let number = numbers.entry(name.clone()).or_default();
        *number = number.saturating_add(1);
        match seen.rule(shape, &format!("draft-{name}-{number}")) {
            Ok(rule) => {
                learnt.rules = learnt.rules.saturating_add(1);
                learnt.text.push_str(&rule);
            }
            Err(why) => learnt.left_out.extend(seen.lines.iter().map(|line| (line.clone(), String::from(why)))),
        }
    }
    learnt
}

const HEAD: &str = "\
# A DRAFT, made from what was run. Read each rule, give it an id and a reason that say what it is for, and merge what
# should be allowed. Where a program was typed by its name alone its path here is a guess: `command -v NAME` on the target.
schema  = 1
mode    = \"strict\"
default = \"deny\"
";

/// What commands have in common that become one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    program: String,
    piped: bool,
    words: Vec<Kind>,
}

/// A word, as far as it is the same in all commands of a shape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Option(String),
    Number,
    Path,
    Word,
}

/// One command that may be learnt.
struct Learnable {
    words: Vec<String>,
    /// What it does to which paths; `None` where it does something else, too.
    paths: Option<BTreeMap<EffectKind, BTreeSet<String>>>,
    redirected: BTreeMap<EffectKind, BTreeSet<String>>,
}

/// The commands of a line, or why it is left out.
fn read(line: &str, table: &Table) -> Result<Vec<(Shape, Learnable)>, String> {
    let script = shell::parse(line).map_err(|error| format!("it is not understood: {}", error.reason))?;
    let reading = invocation::read(&script, table);
    if let Some((construct, _)) = reading.constructs.iter().find(|(construct, _)| **construct != Construct::Redirection)
    {
        return Err(format!("strict has no {}", word_of(*construct)));
    }
    if reading.invocations.is_empty() {
        return Err(String::from("it starts nothing"));
    }
    reading.invocations.iter().map(learnable).collect()
}

fn learnable(command: &Invocation) -> Result<(Shape, Learnable), String> {
    let literal = |word: &Word| word.literal().map(String::from).ok_or(format!("`{word}` is known only on the target"));
    let mut words = command.argv.iter().map(literal);
    let program = words.next().ok_or("it starts nothing")??;
    let program = match program.contains('/') {
        true if program.starts_with('/') => program,
        true => return Err(format!("`{program}` is a path from a directory that nobody knows")),
        false if command.by.is_some() => {
            return Err(format!("`{program}` is started by another, and has no full path"));
        }
        false => format!("/usr/bin/{program}"),
    };
    let words: Vec<String> = words.collect::<Result<_, _>>()?;
    let grave = command.effects.iter().find(|effect| GRAVE.contains(&effect.kind));
    if let Some(effect) = grave {
        let word = EffectKind::WORDS.iter().find(|(_, kind)| *kind == effect.kind).map_or("unknown", |(word, _)| word);
        return Err(format!("`{program}` has the effect {word}, which is never learnt"));
    }
    if let Some(word) =
        words.iter().chain([&program]).find(|word| word.contains(['{', '}', '*', '|', '\n']) || word.is_empty())
    {
        return Err(format!("`{}` has characters that patterns of rules use", word.escape_default()));
    }
    let redirected = redirected(command)?;
    let kinds = words.iter().map(|word| match word {
        word if word.starts_with('-') => Kind::Option(word.clone()),
        word if word.bytes().all(|byte| byte.is_ascii_digit()) => Kind::Number,
        word if word.starts_with('/') => Kind::Path,
        _ => Kind::Word,
    });
    let shape = Shape { program, piped: command.piped, words: kinds.collect() };
    Ok((shape, Learnable { words, paths: paths(command), redirected }))
}

fn redirected(command: &Invocation) -> Result<BTreeMap<EffectKind, BTreeSet<String>>, String> {
    let mut all: BTreeMap<EffectKind, BTreeSet<String>> = BTreeMap::new();
    for redirection in &command.redirections {
        let kind = match redirection.kind {
            RedirectionKind::Read => EffectKind::Read,
            RedirectionKind::Write | RedirectionKind::Append => EffectKind::Write,
            RedirectionKind::Duplicate => continue,
            RedirectionKind::ReadWrite | RedirectionKind::HereDocument | RedirectionKind::HereString => {
                return Err(String::from("strict has no such redirection"));
            }
        };
        let path = normal_path(&redirection.word).filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| format!("`{}` is no full path", redirection.word))?;
        if path != "/dev/null" {
            all.entry(kind).or_default().insert(path);
        }
    }
    Ok(all)
}

/// What it does to which files, if that is all it does.
fn paths(command: &Invocation) -> Option<BTreeMap<EffectKind, BTreeSet<String>>> {
    let mut all: BTreeMap<EffectKind, BTreeSet<String>> = BTreeMap::new();
    for effect in &command.effects {
        if !matches!(effect.kind, EffectKind::Read | EffectKind::Write | EffectKind::Delete) {
            return None;
        }
        let path = normal_path(effect.on.as_ref()?).filter(|path| path.starts_with('/'))?;
        all.entry(effect.kind).or_default().insert(path);
    }
    Some(all)
}

/// What was seen of one shape.
#[derive(Default)]
struct Seen {
    words: Vec<BTreeSet<String>>,
    /// `None` once a command did more than to read and write files.
    paths: Option<BTreeMap<EffectKind, BTreeSet<String>>>,
    more: bool,
    redirected: BTreeMap<EffectKind, BTreeSet<String>>,
    lines: Vec<String>,
}

impl Seen {
    fn take(&mut self, command: &Learnable) {
        self.words.resize(command.words.len(), BTreeSet::new());
        self.words.iter_mut().zip(&command.words).for_each(|(seen, word)| seen.extend([word.clone()]));
        match &command.paths {
            Some(paths) => join(self.paths.get_or_insert_default(), paths),
            None => self.more = true,
        }
        join(&mut self.redirected, &command.redirected);
    }

    /// A rule for all of it.
    fn rule(&self, shape: &Shape, id: &str) -> Result<String, &'static str> {
        let mut args = Vec::new();
        let mut named = self.redirected.clone();
        for (number, (kind, seen)) in (1_usize..).zip(shape.words.iter().zip(&self.words)) {
            let only = seen.first().filter(|_| seen.len() == 1);
            args.push(match (kind, only) {
                (Kind::Option(option), _) => option.clone(),
                (_, Some(word)) => word.clone(),
                (Kind::Number, None) => format!("{{number{number}:number}}"),
                (Kind::Path, None) if self.alike(seen) => {
                    join(&mut named, self.paths.as_ref().unwrap_or(&BTreeMap::new()));
                    format!("{{file{number}:path}}")
                }
                (Kind::Path | Kind::Word, None) if seen.len() > CHOICES_MAX => return Err("too many different words"),
                (Kind::Path | Kind::Word, None) => {
                    format!("{{word{number}:{}}}", seen.iter().map(String::as_str).collect::<Vec<_>>().join("|"))
                }
            });
        }
        Ok(self.text(shape, id, &args, &named))
    }

    /// Whether these are so many files of one directory that any file of it is meant, and nothing else is done to them.
    fn alike(&self, seen: &BTreeSet<String>) -> bool {
        let directories: BTreeSet<&str> = seen.iter().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
        let plain = |path: &String| !path.split('/').any(|part| matches!(part, "." | "..")) && !path.contains("//");
        seen.len() >= ALIKE_MIN
            && directories.len() == 1
            && !directories.contains("")
            && !self.more
            && seen.iter().all(plain)
    }

    fn text(&self, shape: &Shape, id: &str, args: &[String], named: &BTreeMap<EffectKind, BTreeSet<String>>) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = |all: Vec<String>| all.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "\n[[rule]]\nid      = \"{id}\"\neffect  = \"allow\"\nprogram = {}\nargs    = [{}]\n",
            quoted(&shape.program),
            list(args.to_vec())
        );
        for (kind, word) in
            [(EffectKind::Read, "reads"), (EffectKind::Write, "writes"), (EffectKind::Delete, "deletes")]
        {
            if let Some(paths) = named.get(&kind) {
                let _ = writeln!(text, "{word:<8}= [{}]", list(folded(paths)));
            }
        }
        if shape.piped {
            text.push_str("pipe    = true\n");
        }
        text.push_str("reason  = \"a draft: say why\"\n");
        if !self.lines.is_empty() {
            let _ = write!(text, "\n[[test]]\nexpect = \"allow {id}\"\nlines  = [{}]\n", list(self.lines.clone()));
        }
        text
    }
}

/// Files of one directory, if there are enough, as all of that directory.
fn folded(paths: &BTreeSet<String>) -> Vec<String> {
    let mut by_directory: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for path in paths {
        by_directory.entry(path.rsplit_once('/').map_or("", |(directory, _)| directory)).or_default().push(path);
    }
    let fold = |(directory, files): (&str, Vec<&String>)| match files.len() >= ALIKE_MIN && !directory.is_empty() {
        true => vec![format!("{directory}/*")],
        false => files.into_iter().cloned().collect(),
    };
    by_directory.into_iter().flat_map(fold).collect()
}

fn join(all: &mut BTreeMap<EffectKind, BTreeSet<String>>, more: &BTreeMap<EffectKind, BTreeSet<String>>) {
    for (kind, paths) in more {
        all.entry(*kind).or_default().extend(paths.iter().cloned());
    }
}

fn id_of(program: &str) -> String {
    program
        .to_ascii_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .take(40)
        .collect()
}

fn word_of(construct: Construct) -> &'static str {
    match construct {
        Construct::Background => "jobs in the background",
        Construct::Compound => "loops, conditions and groups",
        Construct::Function => "functions",
        Construct::Arithmetic => "arithmetic",
        Construct::Substitution => "substitutions",
        Construct::Assignment => "variables",
        Construct::Prefix => "`!` or `time`",
        Construct::Redirection => "such redirections",
    }
}

#[cfg(test)]
mod tests;
