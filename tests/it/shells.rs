//! The words that the gate judges are the words that every shell starts programs with: of what it writes itself, and of
//! the lines that it says to understand.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use doorward::gate::canonical::{Argument, CanonicalCommand, CanonicalPipeline, CanonicalRedirection, Then, write};
use doorward::gate::shell::parse;
use doorward::gate::shell::tree::{Command as ShellCommand, CompoundKind, Joint, RedirectionKind, Script};
use doorward::gate::shell::word::{Dynamic, Part, Word};

use crate::fixture::{find, has, nonce, scratch};

/// The shells that Debian has, with the words that start them. fish is none of POSIX's: it runs what the gate writes only.
const SHELLS: [&[&str]; 8] =
    [&["bash"], &["dash"], &["zsh"], &["mksh"], &["ksh93"], &["busybox", "sh"], &["yash"], &["fish"]];

/// Prints its arguments, each with a NUL behind it.
const PRINTER: &str = "/usr/bin/printf";

#[test]
fn the_argv_that_arrives_is_the_argv_that_was_judged() {
    let mut random = Random::new();
    for shell in present() {
        for _ in 0..8 {
            let words: Vec<String> = (0..500).map(|_| hostile_word(&mut random)).collect();
            let line = write(&[pipeline(printing(&words), Vec::new(), Then::Sequence)]);
            assert_argv(shell, &line, &words);
        }
        let long = ["'".repeat(32 * 1024), "\\".repeat(32 * 1024), "a'\\ ".repeat(8 * 1024)];
        for word in long {
            let words = [word];
            let line = write(&[pipeline(printing(&words), Vec::new(), Then::Sequence)]);
            assert_argv(shell, &line, &words);
        }
    }
}

#[test]
fn commands_that_were_joined_run_as_they_were_judged() {
    let mut random = Random::new();
    for shell in present() {
        let [a, b, c, d, e] = [(); 5].map(|()| vec![hostile_word(&mut random), hostile_word(&mut random)]);
        let fails = CanonicalCommand::new("/bin/false", Vec::new()).unwrap();
        let passes = CanonicalCommand::new("/bin/cat", vec![Argument::text("-").unwrap()]).unwrap();
        let line = write(&[
            pipeline(printing(&a), vec![passes.clone(), passes], Then::And),
            pipeline(printing(&b), Vec::new(), Then::Sequence),
            pipeline(fails.clone(), Vec::new(), Then::And),
            pipeline(printing(&c), Vec::new(), Then::Sequence),
            pipeline(fails, Vec::new(), Then::Or),
            pipeline(printing(&d), Vec::new(), Then::Or),
            pipeline(printing(&e), Vec::new(), Then::Sequence),
        ]);
        assert_argv(shell, &line, &[a, b, d].concat());
    }
}

#[test]
fn streams_are_redirected_as_they_were_judged() {
    for shell in present() {
        let folder = scratch();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let [a, b, c, d, e] = ["it's a", "b", "c \\", "d", "e"].map(path);
        let words = |all: &[&str]| all.iter().map(|word| Argument::text(word).unwrap()).collect::<Vec<_>>();
        // What it complains of is on its standard error.
        let complaint = || CanonicalCommand::new("/bin/cat", words(&["/none"])).unwrap();
        let print = |word: &str| printing(&[word.to_owned()]);
        let cat = || CanonicalCommand::new("/bin/cat", words(&["-"])).unwrap();
        let line = |command: CanonicalCommand, typed: &str| {
            pipeline(command.redirected(redirections(typed)).unwrap(), Vec::new(), Then::Sequence)
        };
        let [qa, qb, qc, qd, qe] = [&a, &b, &c, &d, &e].map(|path| quoted(path));
        let sent = write(&[
            line(print("1"), &format!("> {qa}")),
            line(print("2"), &format!(">>{qa}")),
            line(cat(), &format!("<{qa} >{qb}")),
            line(complaint(), &format!("2>{qc}")),
            line(complaint(), &format!(">{qd} 2>&1")),
            // To where output went before: nothing of it is in the file.
            line(complaint(), &format!("2>&1 >{qe}")),
        ]);
        let output = start(shell, folder.path(), &["-c", &sent]);
        let read = |path: &String| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&a), read(&b)), (String::from("1\u{0}2\u{0}"), String::from("1\u{0}2\u{0}")), "{shell:?}");
        assert!(read(&c).contains("/none") && read(&d).contains("/none") && read(&e).is_empty(), "{shell:?}");
        let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.0.contains("/none") && said.1.is_empty(), "{shell:?} {said:?}");
        let piped = complaint().redirected(redirections("2>&1")).unwrap();
        let sent = write(&[pipeline(piped, vec![cat()], Then::Sequence)]);
        let output = start(shell, folder.path(), &["-c", &sent]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("/none"), "{shell:?}");
    }
}

#[test]
fn no_shell_reads_a_line_otherwise_than_the_gate() {
    let mut random = Random::new();
    let mut lines: Vec<(String, Vec<u8>)> = Vec::new();
    for words in LITERAL {
        let line = format!("{PRINTER} '%s\\0' {words}");
        let wanted = expected(&line).unwrap_or_else(|| panic!("{line}: {:?}", parse(&line)));
        lines.push((line, wanted));
    }
    let count = std::env::var("DOORWARD_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    while lines.len() < count {
        let mut line = if random.below(2) == 0 { words_line(&mut random) } else { structured(&mut random, 2) };
        for _ in 0..random.below(3) {
            let mut at = random.below(line.len() + 1);
            while !line.is_char_boundary(at) {
                at -= 1;
            }
            line.insert_str(at, PIECES[random.below(PIECES.len())]);
        }
        if let Some(wanted) = expected(&line) {
            lines.push((line, wanted));
        }
    }
    let mut faults = Vec::new();
    for shell in present().into_iter().filter(|shell| shell[0] != "fish") {
        let answers = run_each(shell, lines.iter().map(|(line, _)| line.as_str()));
        let mut refused = 0;
        for ((line, wanted), (output, status)) in lines.iter().zip(&answers) {
            if output == wanted && *status == 0 {
                continue;
            }
            // A shell may refuse what another runs; it then runs nothing else.
            if *status != 0 && wanted.starts_with(output) {
                refused += 1;
                if std::env::var_os("DOORWARD_SHOW_REFUSED").is_some() {
                    println!("{shell:?} refuses {line:?}");
                }
                continue;
            }
            let [output, wanted] = [output, wanted].map(|bytes| String::from_utf8_lossy(bytes).replace('\0', "␀"));
            faults.push(format!("{shell:?} {line:?}\n  judged {wanted:?}\n  runs   {output:?} (status {status})"));
        }
        if refused * 4 > lines.len() {
            faults.push(format!("{shell:?} refuses {refused} of {} lines", lines.len()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_shell_starts_a_program_that_the_gate_did_not_see() {
    let mut random = Random::new();
    let count = std::env::var("DOORWARD_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    let mut lines: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in STARTING {
        lines.push(((*line).to_owned(), started(line).unwrap_or_else(|| panic!("{line}: {:?}", parse(line)))));
    }
    while lines.len() < count {
        let mut line = STARTING[random.below(STARTING.len())].to_owned();
        for _ in 0..=random.below(5) {
            let [at, end] = [(); 2].map(|()| random.below(line.len() + 1)).map(|at| line.floor_char_boundary(at));
            match random.below(4) {
                0 if at < end && end - at < 6 => drop(line.drain(at..end)),
                1 => {
                    let other = STARTING[random.below(STARTING.len())];
                    let from = other.floor_char_boundary(random.below(other.len()));
                    let to = other.floor_char_boundary((from + random.below(12)).min(other.len()));
                    line.insert_str(at, &other[from..to.max(from)]);
                }
                _ => line.insert_str(at, MARKS[random.below(MARKS.len())]),
            }
        }
        if let Some(programs) = started(&line) {
            lines.push((line, programs));
        }
    }
    let mut faults = Vec::new();
    for shell in present().into_iter().filter(|shell| shell[0] != "fish") {
        let mut seen = 0;
        for ((line, programs), ran) in lines.iter().zip(run_watched(shell, &lines)) {
            seen += ran.len();
            if !ran.is_subset(programs) {
                faults.push(format!("{shell:?} {line:?}\n  seen {programs:?}\n  ran  {ran:?}"));
            }
        }
        if seen < STARTING.len() {
            faults.push(format!("{shell:?} ran {seen} programs only"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Lines that start programs of the names `a`, `b` and `c`. None loops for ever: those programs fail.
const STARTING: &[&str] = &[
    "a x 'y z' \"$x\" | b; c & wait",
    "a && b || c",
    "x=$(a \"$(b 'y')\" z) c `b y`",
    "echo \"`a y` $(b) ${x:-$(c)} $((1 + $(b)))\" z",
    "echo ${x:-`a`} ${x#*/} ${#x} \"${x%%.*}\" b",
    "if a; then b; elif c; then b; else c; fi",
    "for x in y z; do a $x; done; b",
    "case y in z|w) a;; (*) b;; esac; c",
    "{ a; b; } > y; ( c; a ) 2>&1",
    "f() { a; }; function g { b; }; c",
    "[[ -n x && -f y ]] || a; [[ $x == y* ]] && b",
    "echo <(a) >(b) y",
    "a <<E | b\n$(c) y\nE\nb",
    "a <<'E' <<-F\n$(c) y\nE\n\tb\n\tF\nc",
    "a &> y; b >> y 2>&1 < /dev/null; c >| y",
    "time a; ! b; time -p c",
    "x=(y $(a) z) x[1]=$(b) y+=z; c",
    "echo {y,z} {1..3} '$(a)' \"\\$(b)\" \\`c \\$x '`a`'",
    "echo $'y z' \"it's\" 'b;c' \"a\\\"b;c\" # b; c",
    "a \\\n  y \\\n  z; b",
    "echo y <<< \"$(a)\"; b",
    "select x in y; do a; break; done < /dev/null; for ((i=0; i<2; i++)); do b; done",
];

/// What may stand anywhere in them.
const MARKS: &[&str] = &[
    " ",
    "\n",
    ";",
    "&",
    "|",
    "(",
    ")",
    "{",
    "}",
    "<",
    ">",
    "'",
    "\"",
    "\\",
    "`",
    "$",
    "#",
    "!",
    "~",
    "*",
    "?",
    "[",
    "]",
    "=",
    ",",
    "-",
    "1",
    "é",
    " a",
    "b ",
    ";c",
    "$(",
    "${",
    "$((",
    "))",
    "<(",
    "<<",
    "<<E\n",
    "\nE\n",
    "&&",
    "||",
    "|&",
    "&>",
    ">&",
    "2>",
    "<<<",
    ";;",
    "\\\n",
    " \\\n",
    "if ",
    "; then ",
    "; fi",
    "; do ",
    "; done",
    "esac",
    "{ ",
    "; }",
    "[[ ",
    " ]]",
    "! ",
    "time ",
    "x=",
    "x=(",
    "$'",
    "$\"",
    "@(",
    "!(",
    "=(",
    "{a,b}",
    ":-",
    "}}",
    "in ",
    "f() ",
    "coproc ",
    "repeat 2 ",
    "noglob ",
    "- ",
    "<>",
    ">|",
    ">!",
    "&!",
    "&|",
    "<1-2>",
    "${x:-",
    "${x[",
    "x[",
    "]=",
    "+=",
    "..",
    "\t",
];

/// The programs that a line starts, wherever they stand; none if it is not understood, or if only the target knows one.
fn started(line: &str) -> Option<BTreeSet<String>> {
    let mut programs = BTreeSet::new();
    // Such a line may never end.
    let endless = ["while", "until"].iter().any(|word| line.contains(word));
    (!endless && starts(&parse(line).ok()?, &mut programs)).then_some(programs)
}

fn starts(script: &Script, programs: &mut BTreeSet<String>) -> bool {
    script.entries.iter().flat_map(|entry| &entry.pipeline.commands).all(|piped| match &piped.command {
        ShellCommand::Simple(simple) => {
            let program = simple.words.first().map(|word| word.literal());
            let values = simple.assignments.iter().flat_map(|assignment| &assignment.values);
            let files = simple.redirections.iter().map(|redirection| &redirection.word);
            let inside = values.chain(&simple.words).chain(files).all(|word| starts_inside(word, programs));
            match program {
                Some(None) => false,
                Some(Some(program)) => {
                    programs.insert(program.into_owned());
                    inside
                }
                None => inside,
            }
        }
        ShellCommand::Compound(compound) => {
            let files = compound.redirections.iter().map(|redirection| &redirection.word);
            compound.scripts.iter().all(|script| starts(script, programs))
                && compound.words.iter().chain(files).all(|word| starts_inside(word, programs))
        }
    })
}

fn starts_inside(word: &Word, programs: &mut BTreeSet<String>) -> bool {
    word.parts.iter().all(|part| match part {
        Part::Dynamic(Dynamic::Command(script) | Dynamic::Process(script)) => starts(script, programs),
        Part::Dynamic(Dynamic::Arithmetic { scripts, .. }) => scripts.iter().all(|script| starts(script, programs)),
        Part::Dynamic(Dynamic::Parameter { words, .. } | Dynamic::Braces { alternatives: words, .. }) => {
            words.iter().all(|word| starts_inside(word, programs))
        }
        Part::Literal(_) | Part::Glob(_) | Part::Dynamic(Dynamic::Home(_) | Dynamic::Dialect { .. }) => true,
    })
}

/// Which of the programs `a`, `b` and `c` each line starts in a shell, which gets it as sshd gives it.
fn run_watched(shell: &[&str], lines: &[(String, BTreeSet<String>)]) -> Vec<BTreeSet<String>> {
    let folder = scratch();
    let [programs, work, logs] = ["programs", "work", "logs"].map(|name| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    });
    for name in ["a", "b", "c"] {
        let program = programs.join(name);
        std::fs::write(&program, format!("#!/bin/sh\necho {name} >> \"$LOG\"\nexit 1\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    for (index, (line, _)) in lines.iter().enumerate() {
        let mut command = Command::new("/usr/bin/timeout");
        // What it starts in the background is waited for.
        command.arg("20").arg(find(shell[0]).unwrap()).args(&shell[1..]).args(["-c", &format!("{line}\nwait")]);
        command.env_clear().env("PATH", &programs).env("HOME", &work).env("LANG", "C.UTF-8");
        command.env("LOG", logs.join(index.to_string())).current_dir(&work);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    }
    let ran = |index: usize| std::fs::read_to_string(logs.join(index.to_string())).unwrap_or_default();
    (0..lines.len()).map(|index| ran(index).lines().map(str::to_owned).collect()).collect()
}

/// Words of people, each of which all shells must read alike.
const LITERAL: &[&str] = &[
    "a 'b c' \"d e\" f\\ g",
    "-x --y=z -- - + ++",
    "'' \"\" ''a\"\"",
    "'\\' \"\\\\\" \\\\ '\\n' \"\\n\" '\\\\'",
    "\"\\$\" \"\\`\" \"\\\"\" \"\\x\" \"\\'\" \"\\!\" \\! !a a! !",
    "\"it's\" '\"' \"'\" \\' \\\"",
    "{} {a} a{b}c '{a,b}' \\{a,b\\} {a {a{b",
    "a~ a~b '~' \\~ \"~\" a:~ host:~/x --x:~",
    "= a=b a==b '=a' \\=a",
    "$ a$ $/ $. $, $% $: $] \"$\" \"a$\" \"$ \" \"$'a'\" \"$/\" \"$.\" \"$,\" \"$%\" \"$:\" \"$;\" \"$]\" \"$)\" \"$|\" \"$&\" \"$>\" \"$<\"",
    "a#b a# '#' \\# \"#\"",
    "^ a^b ^a a^ % %1 @ a@b , a,b . .. ./a",
    "[ ] a] '[a]' \\[a\\]",
    "1 12 1a 01 -1",
    "if then fi do done case esac time function select for in while until",
    "a\\\n b \\\n c",
    "\"a\\\nb\" \"a\nb\" 'a\nb' 'a\\\nb'",
    "é 'é' \\é \"é\" 日本 a😀b ß",
    "'a\tb'\t\"\t\"",
    "'*' \\* \"*\" '?' \\? '[a]' ';' \\; '&' \\& '|' \\| '<' \\< '>' \\> '(' \\( ')' \\)",
    "stash@{0} a@{u} a{ b{'c'}",
    "a:b:c http://x/y%20z#q a=b,c=d user@host:/p",
    "a'b'\"c\"\\d",
    "alias export local eval exec",
    "\"{a,b}\" \"~\" \"a=~\" a='~'",
    "a # b c",
];

/// What shells stumble over, put anywhere in a line.
const PIECES: &[&str] = &[
    " ",
    "\t",
    "\n",
    "\\\n",
    " \\\n",
    "\\",
    "'",
    "\"",
    "''",
    "\"\"",
    "#",
    " #",
    "$",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "~",
    "=",
    "==",
    "!",
    "^",
    "%",
    ",",
    ":",
    "..",
    ";",
    "&",
    "&&",
    "|",
    "(",
    ")",
    "a",
    "b",
    "é",
    "1",
    "-",
    "+",
    "@",
    " - ",
    " ! ",
    " { ",
    " }",
    ";}",
    " a=",
    "a= ",
    "+=",
    "$'a'",
    "$\"",
    "\\'",
    "\\\"",
    "`",
    " 2>/dev/null ",
    " 2>&1",
    "<<E",
    "\nE\n",
    "if ",
    "time ",
    "function ",
    "<a",
    "\u{3000}",
    "\\$",
    "/",
    "?",
    "*",
    "{a,b}",
    "=a",
    "~a",
    "in ",
    "do ",
    "\n\n",
];

/// A line of one command with words that our parser says are literal.
fn words_line(random: &mut Random) -> String {
    let mut line = format!("{PRINTER} '%s\\0'");
    let mut count = 0;
    while count < 5 {
        let word: String = (0..random.below(6) + 1).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let with = format!("{line} {word}");
        if expected(&with).is_some() {
            line = with;
            count += 1;
        }
    }
    line
}

/// Commands that print, in what shells know around commands.
fn structured(random: &mut Random, depth: usize) -> String {
    let printing = |random: &mut Random| {
        let words: Vec<&str> =
            (0..random.below(4)).map(|_| LITERAL[random.below(LITERAL.len())].trim_end_matches(" # b c")).collect();
        format!("{PRINTER} '%s\\0' X {}", words.join(" "))
    };
    if depth == 0 {
        return printing(random);
    }
    let [a, b] = [(); 2].map(|()| structured(random, depth - 1));
    match random.below(16) {
        0 => format!("{a}; {b}"),
        1 => format!("{a} && {b}"),
        2 => format!("{a}\n{b}"),
        3 => format!("{a} # {b}").lines().next().unwrap_or_default().to_owned(),
        4 => format!("{{ {a}; }}"),
        5 => format!("({a})"),
        6 => format!("if {a}; then {b}; fi"),
        7 => format!("if {a}\nthen\n{b}\nelse\n:\nfi"),
        8 => format!("for a in b; do {a}; done"),
        9 => format!("case a in (b) ;; a|c) {a} ;; esac"),
        10 => format!("f() {{ {a}\n}}"),
        11 => format!("{a} | /bin/cat"),
        12 => format!("/bin/cat <<E && {b}\na 'b' \"c\" \\\\ \\a # ~ * {{a,b}}\nE\n"),
        13 => format!("/bin/cat <<'E'; {b}\n\t$a `b` \\\\ \\$ '\nE"),
        14 => format!("/bin/cat <<-\\E\n\ta\n\t\tb\\c\n\tE\n{b}"),
        _ => printing(random),
    }
}

/// What a line prints if every shell reads it as we do; none if it is no such line.
fn expected(line: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    printed(&parse(line).ok()?, &mut out)?;
    Some(out)
}

fn printed(script: &Script, out: &mut Vec<u8>) -> Option<()> {
    for entry in &script.entries {
        if entry.pipeline.prefix.is_some() || !matches!(entry.then, Joint::Sequence | Joint::And) {
            return None;
        }
        for (index, piped) in entry.pipeline.commands.iter().enumerate() {
            match &piped.command {
                ShellCommand::Simple(simple) => {
                    let words: Vec<Cow<'_, str>> =
                        simple.words.iter().map(|word| word.literal()).collect::<Option<_>>()?;
                    let mut texts = Vec::new();
                    for redirection in &simple.redirections {
                        match (redirection.kind, redirection.descriptor.as_deref()) {
                            (RedirectionKind::HereDocument, None) => texts.push(redirection.word.literal()?),
                            (RedirectionKind::Write, Some("2")) if redirection.word.literal()? == "/dev/null" => {}
                            (RedirectionKind::Duplicate, Some("2")) if redirection.word.literal()? == "1" => {}
                            _ => return None,
                        }
                    }
                    if !simple.assignments.is_empty() || piped.errors_too {
                        return None;
                    }
                    match (words.iter().map(Cow::as_ref).collect::<Vec<_>>().as_slice(), texts.last()) {
                        ([":"], None) if entry.pipeline.commands.len() == 1 => {}
                        (["/bin/cat"], None) if index > 0 => {}
                        (["/bin/cat"], Some(text)) if index == 0 => out.extend_from_slice(text.as_bytes()),
                        ([PRINTER, "%s\\0", rest @ ..], None) if index == 0 && !rest.is_empty() => {
                            rest.iter().for_each(|word| {
                                out.extend_from_slice(word.as_bytes());
                                out.push(0);
                            });
                        }
                        _ => return None,
                    }
                }
                ShellCommand::Compound(compound) => {
                    if index > 0 || !compound.redirections.is_empty() {
                        return None;
                    }
                    match &compound.kind {
                        CompoundKind::Group | CompoundKind::Subshell => printed(&compound.scripts[0], out)?,
                        CompoundKind::If if compound.scripts.len() < 4 => {
                            printed(&compound.scripts[0], out)?;
                            printed(&compound.scripts[1], out)?;
                        }
                        CompoundKind::For(_) if compound.words.len() == 1 => {
                            compound.words[0].literal()?;
                            printed(&compound.scripts[0], out)?;
                        }
                        // Ours has one branch that is taken, the last.
                        CompoundKind::Case => {
                            let words: Vec<_> =
                                compound.words.iter().map(|word| word.literal()).collect::<Option<_>>()?;
                            if words != ["a", "b", "a", "c"]
                                || compound.scripts.len() != 2
                                || !compound.scripts[0].entries.is_empty()
                            {
                                return None;
                            }
                            printed(&compound.scripts[1], out)?;
                        }
                        // It is not called, but must be one that could be.
                        CompoundKind::Function(name) if name == "f" => printed(&compound.scripts[0], &mut Vec::new())?,
                        _ => return None,
                    }
                }
            }
        }
    }
    Some(())
}

fn pipeline(first: CanonicalCommand, rest: Vec<CanonicalCommand>, then: Then) -> CanonicalPipeline {
    CanonicalPipeline::new(first, rest, then).unwrap()
}

/// What is written of redirections that were typed.
fn redirections(typed: &str) -> Vec<CanonicalRedirection> {
    let script = parse(&format!("x {typed}")).unwrap();
    let ShellCommand::Simple(simple) = &script.entries[0].pipeline.commands[0].command else { panic!("{typed}") };
    simple.redirections.iter().map(|each| CanonicalRedirection::of(each).unwrap()).collect()
}

/// A command that prints these words.
fn printing(words: &[String]) -> CanonicalCommand {
    let arguments =
        ["%s\\0"].into_iter().chain(words.iter().map(String::as_str)).map(|word| Argument::text(word).unwrap());
    CanonicalCommand::new(PRINTER, arguments.collect()).unwrap()
}

fn assert_argv(shell: &[&str], line: &str, words: &[String]) {
    let folder = scratch();
    let output = start(shell, folder.path(), &["-c", line]);
    assert!(output.stderr.is_empty(), "{shell:?} says {}", String::from_utf8_lossy(&output.stderr));
    let arrived: Vec<&[u8]> = output.stdout.strip_suffix(b"\0").unwrap().split(|&byte| byte == 0).collect();
    for (arrived, word) in arrived.iter().zip(words) {
        assert_eq!(*arrived, word.as_bytes(), "{shell:?} {word:?} {:?}", String::from_utf8_lossy(arrived));
    }
    assert_eq!(arrived.len(), words.len(), "{shell:?}");
}

/// What each line prints in a shell, and its status. One process of the shell reads all of them.
fn run_each<'a>(shell: &[&str], lines: impl Iterator<Item = &'a str>) -> Vec<(Vec<u8>, i32)> {
    let (folder, mark) = (scratch(), nonce());
    let mut script = String::new();
    for line in lines {
        let word = quoted(line);
        script.push_str(&format!("( eval {word} ) 2>/dev/null </dev/null\necho '{mark}'$?'{mark}'\n"));
    }
    let file = folder.path().join("lines");
    std::fs::write(&file, script).unwrap();
    let output = start(shell, folder.path(), &[file.to_str().unwrap()]);
    let text = output.stdout;
    let mut pieces = split(&text, mark.as_bytes());
    assert_eq!(pieces.pop(), Some(&b"\n"[..]), "{}", String::from_utf8_lossy(&output.stderr));
    // Before each but the first stands the line end of the mark before it.
    let printed = |(index, text): (usize, &[u8])| if index == 0 { text.to_vec() } else { text[1..].to_vec() };
    let status = |text: &[u8]| std::str::from_utf8(text).unwrap().parse().unwrap();
    pieces.chunks(2).enumerate().map(|(index, pair)| (printed((index, pair[0])), status(pair[1]))).collect()
}

fn split<'a>(mut text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = text.windows(mark.len()).position(|window| window == mark) {
        pieces.push(&text[..at]);
        text = &text[at + mark.len()..];
    }
    pieces.push(text);
    pieces
}

/// A word as the canonical writer writes it.
fn quoted(text: &str) -> String {
    let command = CanonicalCommand::new("/", vec![Argument::text(text).unwrap()]).unwrap();
    write(&[pipeline(command, Vec::new(), Then::And)]).split_off("'/' ".len())
}

/// A shell as sshd starts it, in an empty folder and with nothing in its `PATH`.
fn start(shell: &[&str], folder: &Path, words: &[&str]) -> std::process::Output {
    let mut command = Command::new(find(shell[0]).unwrap());
    command.args(&shell[1..]).args(words).current_dir(folder).stdin(Stdio::null());
    command.env_clear().env("PATH", "/nonexistent").env("HOME", folder).env("LANG", "C.UTF-8");
    command.output().unwrap()
}

/// Shells that are installed.
fn present() -> Vec<&'static [&'static str]> {
    SHELLS.into_iter().filter(|shell| has(shell[0])).collect()
}

/// A word of what shells know, of what people write, and of anything else.
fn hostile_word(random: &mut Random) -> String {
    const WHOLE: [&str; 16] =
        ["", "-n", "--", "~", "~root", "=ls", "!", "!!", "{a,b}", "*", "/*", "$(id)", "`id`", "if", "#a", "%1"];
    const CHARS: &str = "'\"\\$`!~=*?[]{}()<>|&;#%^@,:+-_./ab01 \t\né€😀\u{3000}\u{a0}";
    if random.below(8) == 0 {
        return WHOLE[random.below(WHOLE.len())].to_owned();
    }
    let chars: Vec<char> = CHARS.chars().collect();
    (0..random.below(14)).map(|_| chars[random.below(chars.len())]).collect()
}

/// xorshift64*. The same sequence each time, but for another `DOORWARD_SEED`.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed: Option<u64> = std::env::var("DOORWARD_SEED").ok().and_then(|text| text.parse().ok());
        Self(seed.unwrap_or(6) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}
