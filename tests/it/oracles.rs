//! What the gate understands of a command line, held against other people's parsers of bash: brush, and bash itself.
//!
//! `DOORWARD_CORPORA` may name a folder with `*.jsonl` files, each line of which has a `command`: then those are
//! compared, too.

use std::io::Read;
use std::panic::catch_unwind;
use std::process::{Command, Stdio};

use brush_parser::ast;
use brush_parser::word::{WordPiece, WordPieceWithSource};
use brush_parser::{ParserOptions, parse_tokens, tokenize_str};
use doorward::gate::shell::parse;
use doorward::gate::shell::tree::{self, Script};
use doorward::gate::shell::word::{Dynamic, Part, Word};

use crate::fixture::find;

#[test]
fn what_is_understood_is_what_brush_understands() {
    let mut lines: Vec<String> = OWN.iter().map(|&line| line.to_owned()).collect();
    lines.extend(varied(20_000));
    lines.extend(corpora());
    // Deep recursion of brush's must not end the whole run.
    let big = std::thread::Builder::new().stack_size(256 << 20);
    let faults = big.spawn(move || compare(&lines)).unwrap().join().unwrap();
    assert!(faults.is_empty(), "{} lines\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"));
}

#[test]
fn what_is_understood_bash_accepts() {
    let bash = find("bash").unwrap();
    let mut lines: Vec<String> = OWN.iter().map(|&line| line.to_owned()).collect();
    lines.extend(varied(3_000));
    lines.extend(corpora());
    let mut faults = Vec::new();
    let mut count = 0;
    for line in lines.iter().filter(|line| parse(line).is_ok()) {
        let mut command = Command::new(&bash);
        command.args(["-n", "-c", "--", line]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        count += 1;
        if !output.status.success() {
            faults.push(format!("{line:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(faults.is_empty(), "{} of {count} lines\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"));
    assert!(count > 100, "{count}");
}

/// Lines in which all that the grammar knows occurs.
const OWN: &[&str] = &[
    "ls -l /tmp; cd '/a b' && make -j2 || echo \"it's $HOME\" & wait",
    "find . -name '*.c' -exec grep -l \"a\\\"b\" {} \\; | xargs -0 rm -f -- 2>/dev/null",
    "tar cf - a b | ssh root@db1 'cd /x && tar xf -' > log 2>&1",
    "for f in *.txt a\\ b \"$c\"; do mv \"$f\" \"${f%.txt}.md\"; done",
    "if [ -f a ]; then echo b; elif test -d c; then d; else e; fi",
    "while read -r a b; do echo \"$a-$b\"; done < in > out",
    "case $1 in start|stop) a \"$1\";; (*) b;; esac",
    "{ a; b; } | ( c; d ) && ! e",
    "f() { local a=1; echo \"$((a + 1))\"; }; f",
    "cat <<EOF > x\na $b `c` $(d)\n'e' \"f\"\nEOF\ng",
    "cat <<-'E'\n\ta $b\n\tE\nx",
    "a=1 b=\"$(c d)\" e=(f g 'h i') j k=l",
    "echo `a \\`b\\`` \"`c d`\" $(e $(f \"g\"))",
    "echo a\\ b \\$c \\'d \"\\$e \\f\" 'g\\h' '' \"\"",
    "diff <(sort a) <(sort b)",
    "echo {a,b}c {1..3} {} x{y a@{1}",
    "[[ -n $a && -f b ]] && [[ $c == d* ]]",
    "[[ $a =~ ^[a-z]+$ ]]",
    "time -p a | b; ! c",
    "a 2>&1 >b <c 2>>d <>e >|f >&g &>h",
    "cat <<<\"$a\" <<<b",
    "for ((i=0; i<3; i++)); do a $i; done",
    "until a; do b; done; select c in d; do e; done",
    "function g { h; }",
    "a \\\n  b \\\n  c",
    "a # b 'c\nd",
    "a $'b\\n' ~/c ~d =e --f=~/g",
    "echo ${a:-b c} ${a#*/} ${#a} \"${a[@]}\" ${a[0]} ${a//b/c} ${a:1:2}",
    "awk '{print $1}' a | sort -n | uniq -c | head -5",
    "sudo sh -c \"echo 1 > /proc/x\"; curl -s 'http://a/b?c=d&e=f' | jq .",
    "été 日本 'ü ö'",
];

/// What may be put into a line or taken out of it.
const PIECES: &[&str] = &[
    " ", "\n", "\\", "'", "\"", "#", "$", "`", "(", ")", "{", "}", "[", "]", "~", "=", "!", ",", ";", "&", "|", "<",
    ">", "a", "1", "$(a)", "${a}", "$((1))", "*", "?", " - ", "\\\n", "<<E\n", "\nE\n", "if ", "then ", "fi", "do ",
    "done", "esac", "&&", "||", ";;", "2>", "é", "+", "a=", "[[ ", " ]]",
];

/// Lines of ours with changes, those that are understood.
fn varied(tries: usize) -> Vec<String> {
    // The same ones each time, so that a fault of brush's own does not fail a test now and then: `DOORWARD_SEED` gives others.
    let seed = std::env::var("DOORWARD_SEED").ok().and_then(|text| text.parse().ok());
    let mut state: u64 = seed.unwrap_or(6) | 1;
    let mut below = |limit: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    };
    let mut lines = Vec::new();
    for _ in 0..tries {
        let mut chars: Vec<char> = OWN[below(OWN.len())].chars().collect();
        for _ in 0..=below(4) {
            let at = below(chars.len() + 1);
            match below(3) {
                0 if at < chars.len() => drop(chars.remove(at)),
                1 => {
                    let other: Vec<char> = OWN[below(OWN.len())].chars().collect();
                    let from = below(other.len());
                    chars.splice(at..at, other[from..(from + below(12)).min(other.len())].to_vec());
                }
                _ => drop(chars.splice(at..at, PIECES[below(PIECES.len())].chars())),
            }
        }
        let line: String = chars.into_iter().collect();
        if parse(&line).is_ok() {
            lines.push(line);
        }
    }
    lines
}

/// The commands of the corpora, where there are any.
fn corpora() -> Vec<String> {
    let Some(folder) = std::env::var_os("DOORWARD_CORPORA") else {
        println!("skipped: DOORWARD_CORPORA names no folder with corpora");
        return Vec::new();
    };
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let mut text = String::new();
            std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
            for line in text.lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                lines.push(value["command"].as_str().unwrap().to_owned());
            }
        }
    }
    lines
}

fn compare(lines: &[String]) -> Vec<String> {
    let (mut faults, mut count, mut unread) = (Vec::new(), 0, Vec::new());
    for line in lines.iter().filter(|line| is_safe(line)) {
        let Ok(script) = parse(line) else { continue };
        count += 1;
        match catch_unwind(|| brush(line)) {
            Ok(Some(theirs)) => {
                if let Err(fault) = same(&ours(&script), &theirs) {
                    faults.push(format!("{line:?}\n  {fault}"));
                }
            }
            // It refuses some of what bash takes, or panics.
            Ok(None) | Err(_) => unread.push(line),
        }
    }
    println!("compared {count} lines; brush does not read {}", unread.len());
    assert!(unread.len() * 20 < count, "brush does not read {} of {count} lines, as {:?}", unread.len(), &unread[..20]);
    faults
}

/// What brush takes exponential time or too much stack for is kept from it.
fn is_safe(line: &str) -> bool {
    let digits = line.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > 9);
    let count = |text: &str| line.matches(text).count();
    // It loses a substitution that stands behind a here-document's operator.
    let lost = line.contains("<<") && line.contains("\\\n");
    let lost = lost || line.lines().any(|line| line.find("<<").is_some_and(|at| line[at..].contains(['$', '`'])));
    // It takes a program whose name begins so for the reserved word.
    let test = line.match_indices("[[").any(|(at, _)| !line[at + 2..].starts_with(' '));
    line.len() <= 8 * 1024
        && !lost
        && !test
        && count("(") <= 12
        && count("{") <= 24
        && count("if") + count("while") + count("case") <= 24
        && !digits
}

/// A simple command: its words, each as text if it is literal, and the substitutions in it.
#[derive(Debug, Default)]
struct Plain {
    words: Vec<Option<String>>,
    inner: Vec<Vec<Plain>>,
}

/// Each command of ours must be one of theirs, with as many words; what we say is literal they must read so, too.
fn same(ours: &[Plain], theirs: &[Plain]) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} commands, and {}: {ours:?} {theirs:?}", ours.len(), theirs.len()));
    }
    for (our, their) in ours.iter().zip(theirs) {
        if our.words.len() != their.words.len() {
            return Err(format!("{:?}, and {:?}", our.words, their.words));
        }
        for (word, other) in our.words.iter().zip(&their.words) {
            if word.is_some() && word != other {
                return Err(format!("{word:?} is {other:?}"));
            }
        }
        if our.inner.len() != their.inner.len() {
            return Err(format!("{:?}, and {:?}", our.inner, their.inner));
        }
        for (script, other) in our.inner.iter().zip(&their.inner) {
            same(script, other)?;
        }
    }
    Ok(())
}

fn ours(script: &Script) -> Vec<Plain> {
    let mut all = Vec::new();
    our_script(script, &mut all);
    all
}

fn our_script(script: &Script, into: &mut Vec<Plain>) {
    for piped in script.entries.iter().flat_map(|entry| &entry.pipeline.commands) {
        match &piped.command {
            tree::Command::Simple(simple) => {
                let mut plain = Plain::default();
                for word in &simple.words {
                    plain.words.push(word.literal().map(|text| text.into_owned()));
                    our_inner(word, &mut plain);
                }
                into.push(plain);
            }
            // brush does not look into what is counted with.
            tree::Command::Compound(tree::Compound { kind: tree::CompoundKind::Arithmetic(_), scripts, .. }) => {
                scripts.iter().rev().take(1).for_each(|script| our_script(script, into));
            }
            tree::Command::Compound(compound) => compound.scripts.iter().for_each(|script| our_script(script, into)),
        }
    }
}

/// Substitutions of the form `$(...)` that stand in the word itself, and `<(...)`.
fn our_inner(word: &Word, plain: &mut Plain) {
    for part in &word.parts {
        match part {
            Part::Dynamic(Dynamic::Command(script) | Dynamic::Process(script)) => plain.inner.push(ours(script)),
            Part::Dynamic(Dynamic::Braces { alternatives, .. }) => {
                alternatives.iter().for_each(|word| our_inner(word, plain));
            }
            Part::Literal(_) | Part::Glob(_) | Part::Dynamic(_) => {}
        }
    }
}

fn brush(line: &str) -> Option<Vec<Plain>> {
    let options = ParserOptions::default();
    let program = parse_tokens(&tokenize_str(line).ok()?, &options).ok()?;
    let mut all = Vec::new();
    for command in &program.complete_commands {
        their_list(command, &mut all)?;
    }
    Some(all)
}

fn their_list(list: &ast::CompoundList, into: &mut Vec<Plain>) -> Option<()> {
    for item in &list.0 {
        let more = item.0.additional.iter().map(|next| match next {
            ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline) => pipeline,
        });
        for command in std::iter::once(&item.0.first).chain(more).flat_map(|pipeline| &pipeline.seq) {
            match command {
                ast::Command::Simple(simple) => into.push(their_simple(simple)?),
                ast::Command::Compound(compound, _) => their_compound(compound, into)?,
                ast::Command::Function(function) => their_compound(&function.body.0, into)?,
                ast::Command::ExtendedTest(..) => {}
            }
        }
    }
    Some(())
}

fn their_compound(compound: &ast::CompoundCommand, into: &mut Vec<Plain>) -> Option<()> {
    use ast::CompoundCommand as C;
    match compound {
        C::Arithmetic(_) => {}
        C::ArithmeticForClause(each) => their_list(&each.body.list, into)?,
        C::BraceGroup(group) => their_list(&group.list, into)?,
        C::Subshell(subshell) => their_list(&subshell.list, into)?,
        C::ForClause(each) => their_list(&each.body.list, into)?,
        C::CaseClause(case) => {
            for list in case.cases.iter().filter_map(|item| item.cmd.as_ref()) {
                their_list(list, into)?;
            }
        }
        C::IfClause(clause) => {
            their_list(&clause.condition, into)?;
            their_list(&clause.then, into)?;
            for branch in clause.elses.iter().flatten() {
                for list in branch.condition.iter().chain([&branch.body]) {
                    their_list(list, into)?;
                }
            }
        }
        C::WhileClause(clause) | C::UntilClause(clause) => {
            their_list(&clause.0, into)?;
            their_list(&clause.1.list, into)?;
        }
        C::Coprocess(_) => return None,
    }
    Some(())
}

fn their_simple(simple: &ast::SimpleCommand) -> Option<Plain> {
    use ast::CommandPrefixOrSuffixItem as Item;
    let mut plain = Plain::default();
    if let Some(word) = &simple.word_or_name {
        their_word(word, &mut plain)?;
    }
    for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            Item::IoRedirect(_) => {}
            Item::Word(word) | Item::AssignmentWord(_, word) => their_word(word, &mut plain)?,
            Item::ProcessSubstitution(_, subshell) => {
                plain.words.push(None);
                let mut inner = Vec::new();
                their_list(&subshell.list, &mut inner)?;
                plain.inner.push(inner);
            }
        }
    }
    Some(plain)
}

fn their_word(word: &ast::Word, plain: &mut Plain) -> Option<()> {
    let mut text = Some(String::new());
    their_pieces(&brush_parser::word::parse(&word.value, &ParserOptions::default()).ok()?, false, &mut text, plain)?;
    plain.words.push(text);
    Some(())
}

fn their_pieces(
    pieces: &[WordPieceWithSource],
    quoted: bool,
    text: &mut Option<String>,
    plain: &mut Plain,
) -> Option<()> {
    for piece in pieces {
        match &piece.piece {
            WordPiece::Text(more) | WordPiece::SingleQuotedText(more) => {
                text.iter_mut().for_each(|text| text.push_str(more))
            }
            WordPiece::DoubleQuotedSequence(inner) => their_pieces(inner, true, text, plain)?,
            WordPiece::EscapeSequence(escape) => {
                let after = &escape[1..];
                let kept = match (quoted, after) {
                    (_, "\n") => "",
                    (true, "$" | "`" | "\"" | "\\") | (false, _) => after,
                    (true, _) => escape,
                };
                text.iter_mut().for_each(|text| text.push_str(kept));
            }
            WordPiece::CommandSubstitution(script) | WordPiece::BackquotedCommandSubstitution(script) => {
                plain.inner.push(brush(script)?);
                *text = None;
            }
            WordPiece::AnsiCQuotedText(_)
            | WordPiece::GettextDoubleQuotedSequence(_)
            | WordPiece::TildeExpansion(_)
            | WordPiece::ParameterExpansion(_)
            | WordPiece::ArithmeticExpression(_) => *text = None,
        }
    }
    Some(())
}
