use proptest::prelude::*;

use super::tree::{Command, CompoundKind, Joint, Prefix, RedirectionKind, Script};
use super::word::{Dynamic, Part, Word};
use super::{goes_on, parse};

/// A line, and its tree as `shape` writes it.
const UNDERSTOOD: &[(&str, &str)] = &[
    ("", ""),
    (" \t\n ", ""),
    ("ls", "[ls]"),
    ("ls -l  /tmp # all", "[ls][-l][/tmp]"),
    ("a#b '#' \\#", "[a#b][#][#]"),
    ("a; b & c && d || e\nf", "[a]; [b]& [c]&& [d]|| [e]; [f]"),
    ("a |\n b |& c", "[a]| [b]|& [c]"),
    ("a &&\n# why\n b", "[a]&& [b]"),
    ("! a | b; time -p c", "!<[a]| [b]>; time<[c]>"),
    ("\\time -f %e a", "[time][-f][%e][a]"),
    // Quotes and backslashes.
    ("'a b' \"c d\" e\\ f g'h'\"i\"", "[a b][c d][e f][ghi]"),
    ("'' \"\" x''", "[][][x]"),
    (r#""\$ \` \" \\ \x" '\'"#, r#"[$ ` " \ \x][\]"#),
    ("\"a\\\nb\" c \\\n d\\\n e", "[ab][c][d][e]"),
    ("\"it's\" '\"'", "[it's][\"]"),
    ("\\if 'if' \"if\"", "[if][if][if]"),
    ("a=b; 'a'=b", "a=<[b]>; [a=b]"),
    ("$'\\x73h' $'a b'", "[dialect:sh][dialect:a b]"),
    ("x $'\\cA' $'\\xff' $'a\\0b'", "[x][dialect?][dialect?][dialect?]"),
    ("x =ls a=ls = ==", "[x][dialect:=ls][a=ls][=][dialect:==]"),
    // Patterns.
    ("x *.c a? [a-z]b [!]a] [[:alpha:]]", "[x][glob:*.c][aglob:?][glob:[a-z]b][glob:[!]a]][glob:[[:alpha:]]]"),
    ("[ a ] ; x [ a[ [$y]", "[[][a][]]; [x][[][aglob:[][glob:[$y]]"),
    ("x '*' \\* \"?\"", "[x][*][*][?]"),
    // What only the target knows.
    ("$a ${b} $1 ${12} $? $$ \"$@\" $#", "[$a][$b][$1][$12][$?][$$][$@][$#]"),
    ("x$a-b\"$c d\"", "[x$a-b$c d]"),
    ("echo $ a$ \"$\" $/x \"a$\" '$x'", "[echo][$][a$][$][$/x][a$][$x]"),
    (
        "x ${a:-b $c} ${a#*/} ${#a} ${!a} ${a[1]} ${a[@]} ${a[$i]}",
        "[x][$a{b $c}][$a{glob:*/}][$#a][$!a][$a[1]{1}][$a[@]{@}][$a[$i]{$i}]",
    ),
    ("x ${a:1:$(b)} \"${a%%.*}\" ${a/b/c} ${a^^} ${a@Q}", "[x][$a{1:([b])}][$a{.*}][$a{b/c}][$a][$a]"),
    ("a $(b c) \"$(d \"e\")\" `f g`", "[a][([b][c])][([d][e])][([f][g])]"),
    ("a `b \\`c\\` \\$d`", "[a][([b][([c])][$d])]"),
    ("a $(b $(c $(d)))", "[a][([b][([c][([d])])])]"),
    ("a $((1 + b[$(c)])) $(( (1) ))", "[a][arithmetic:1 + b[$(c)]([c])][arithmetic: (1) ]"),
    ("a <(b) >(c)", "[a][process([b])][process([c])]"),
    ("x ~ ~b/c a~ a=~/b h:~/c a=b:~/c", "[x][home:~][home:~b/c][a~][a=home:~/b][h:~/c][a=b:home:~/c]"),
    ("x {a,b}c {1..3} {} {a} HEAD@{1} a{b$c,}", "[x][{a,b}c][{1..3}=1..3][{}][{a}][HEAD@{1}][a{b$c,}]"),
    ("{touch,x}", "[{touch,x}]"),
    ("x {$(a)1..3} {\"$(a),b\"}", "[x][{$(a)1..3}=([a])1..3][{\"$(a),b\"}=([a]),b]"),
    // Assignments.
    ("A=1 B+=$c D= e", "A=<[1]> B=<[$c]> D=<> [e]"),
    ("a=(b 'c d' $e\n f) g[1]=h i[$j]=k", "a=<[b][c d][$e][f]> g[1]=<[h]> i[$j]=<[$j][k]>"),
    ("x A=1", "[x][A=1]"),
    // Redirections.
    ("a <b >c 2>>d 3<>e >|f", "[a] <[b] >[c] 2>>[d] 3<>[e] >[f]"),
    (">a b", "[b] >[a]"),
    ("> a", " >[a]"),
    ("a 2>&1 >&- <&3 >&$b >&c &>d", "[a] 2>&[1] 1>&[-] 0>&[3] >[$b] >[c] >[d]"),
    ("a &>>b | c", "[a] >>[b]| [c]"),
    ("a 2 >b c2>d", "[a][2][c2] >[b] >[d]"),
    ("a <<<$b", "[a] <<<[$b]"),
    ("a <<E b\nc $d\n\"e\"\nE\nf", "[a][b] <<[c $d\n\"e\"\n]; [f]"),
    ("a <<'E' <<-F\n$b\nE\n\tc\n\tF\n", "[a] <<[$b\n] <<[c\n]"),
    ("a \"$(b <<E\n)c\nE\n)\" | d", "[a][([b] <<[)c\n])]| [d]"),
    ("(a <<E; b) <<F\n1\nE\n2\nF\n", "subshell<{[a] <<[1\n]; [b]} <<[2\n]>"),
    ("a <<E\n`b`\nE", "[a] <<[([b])\n]"),
    // Compounds.
    ("(a; b) >c", "subshell<{[a]; [b]} >[c]>"),
    ("{ a; b; } | c", "group<{[a]; [b]}>| [c]"),
    ("if a; then b; elif c\nthen d; else e; fi", "if<{[a]}{[b]}{[c]}{[d]}{[e]}>"),
    ("while a; do b; done; until a\ndo b\ndone <c", "while<{[a]}{[b]}>; while<{[a]}{[b]} <[c]>"),
    ("for a in b *.c; do d \"$a\"; done", "for a<{[d][$a]}[b][glob:*.c]>"),
    ("for a; do b; done; for a do b; done; for a\nin b\ndo c; done", "for a<{[b]}>; for a<{[b]}>; for a<{[c]}[b]>"),
    ("select a in b; do c; done", "for a<{[c]}[b]>"),
    ("for ((i=0;i<$(a);i++)); do b; done", "arithmetic i=0;i<$(a);i++<{[a]}{[b]}>"),
    ("case $a in b|c*) d;; (e) ;; *) f\nesac", "case<{[d]}{}{[f]}[$a][b][cglob:*][e][glob:*]>"),
    ("case a in esac; case a in b) c;& d) e;;& esac", "case<[a]>; case<{[c]}{[e]}[a][b][d]>"),
    (
        "f() { a; }; function g { b; }; h() ( c )",
        "function f<{group<{[a]}>}>; function g<{group<{[b]}>}>; function h<{subshell<{[c]}>}>",
    ),
    ("[[ -f $a && -n b ]] || c", "test<[-f][$a][-n][b]>|| [c]"),
    ("[[ $a == b* ]]; [[ $a =~ ^(b|c)$ ]]", "test<[$a][==][bglob:*]>; test<[$a][=~][^(b|c)$]>"),
    ("[[ a ]]\\\n && b", "test<[a]>&& [b]"),
    ("if\\\n a; then\\\n\tb; fi\\\n ; c", "if<{[a]}{[b]}>; [c]"),
    ("a; ! (b)", "[a]; !<subshell<{[b]}>>"),
    ("find . -name '*.c' -exec rm {} \\; -o ! -print", "[find][.][-name][*.c][-exec][rm][{}][;][-o][!][-print]"),
    ("été ${x} 'ü b'", "[été][$x][ü b]"),
];

/// Lines that are refused, with a piece of the reason.
const REFUSED: &[(&str, &str)] = &[
    // Not closed.
    ("'a", "quote"),
    ("\"a", "quote"),
    ("$'a", "quote"),
    ("$'a\\'", "read differently"),
    ("`a", "backquote"),
    ("$(a", "not closed"),
    ("${a", "read differently"),
    ("$((1", "not closed"),
    ("(a", "not closed"),
    ("{ a;", "not closed"),
    ("if a; then b", "not closed"),
    ("a <<E\nb", "not closed"),
    ("a <<E", "here-document"),
    ("a \\", "backslash"),
    ("a=(b", "not closed"),
    // Nothing where something must stand.
    ("a |", "missing"),
    ("a &&", "missing"),
    ("; a", "missing"),
    ("a ;; b", "missing"),
    ("a & ; b", "missing"),
    ("a | | b", "missing"),
    ("()", "missing"),
    ("if ; then a; fi", "missing"),
    ("a >", "redirection"),
    ("a > # b", "redirection"),
    ("a )", "missing"),
    ("(a) b", "belong"),
    ("then", "reserved"),
    ("a=1 if", "reserved"),
    (">x while", "reserved"),
    // What shells read differently.
    ("((a))", "read differently"),
    ("((a) | b)", "read differently"),
    ("$((a) | (b))", "arithmetic or commands"),
    ("x $[1]", "read differently"),
    ("x $\"a\"", "read differently"),
    ("x $'a\\'b'", "read differently"),
    ("x $=a", "read differently"),
    ("x \"$^a\"", "read differently"),
    ("x $é", "read differently"),
    ("a &>b c", "read differently"),
    ("a &! b", "read differently"),
    ("a &| b", "read differently"),
    ("a 10>b", "read differently"),
    ("a 99999999999999999999>b", "read differently"),
    ("a {b}>c", "read differently"),
    ("a >!b", "read differently"),
    ("a <1-9>", "read differently"),
    ("a <->b", "read differently"),
    ("a @(b|c)", "parenthesis"),
    ("a !(b)", "parenthesis"),
    ("a b(c)", "parenthesis"),
    ("a }", "brace"),
    ("{ a b}; }", "brace"),
    ("a \\{b}", "brace"),
    ("time -f %e a", "read differently"),
    ("time", "without a command"),
    ("a <(b)c", "process substitution"),
    ("a <1>b", "number"),
    ("! in a", "reserved"),
    ("do() { a; }", "reserved"),
    ("[[ $a =~ (b ]]", "not closed"),
    ("[[ $a =~ #b ]]", "comment"),
    ("<a b=(c)", "behind a redirection"),
    ("a=(b [ c)", "bracket"),
    ("a=(b)# c=$(d)", "behind a list"),
    ("!(a)", "read differently"),
    ("for ((a; b)); do c; done", "arithmetic"),
    ("{a;}", "brace"),
    ("{} a", "brace"),
    ("a {b,c", "brace"),
    ("a {b, c}", "brace"),
    ("[[ a || reboot ]]", "two commands"),
    ("[[ a < b ]]", "some shells"),
    ("[[ a\nb ]]", "some shells"),
    ("coproc a", "reserved"),
    ("repeat 3 a", "reserved"),
    ("- a", "reserved"),
    ("é=1 reboot", "assignment"),
    ("1=a reboot", "assignment"),
    ("a.b=c reboot", "assignment"),
    ("a[1 2]=c reboot", "index"),
    ("a[1] b", "bracket"),
    ("a\\\nb", "broken"),
    ("a &\\\n& b", "broken"),
    ("a &\\\n> b c", "broken"),
    ("a $\\\nb", "broken"),
    ("\"${a:-'b}'}\"", "quotes"),
    ("\"${a:-\"b\"}\"", "quotes"),
    ("${a:-{b}}", "brace"),
    ("${(e)a}", "read differently"),
    ("${a@P}", "read differently"),
    ("${ a; }", "read differently"),
    ("${a['b']}", "index"),
    ("$((a['$(b)']))", "quotes"),
    ("\"`a \"b\"`\"", "double quotes"),
    ("$(a # b\n)", "comment"),
    ("$(case a in b) c;; esac)", "substitution"),
    ("a # b\\\nc", "comment"),
    ("a <<E\nb\\\nE\nE", "backslash"),
    ("a <<$b\n$b\n", "here-document"),
    ("a <<E 'b\nc'\nE\n", "several lines"),
    ("a() b", "function"),
    ("function a-b { c; }", "function"),
    ("for a b in c; do d; done", "reserved"),
    ("a x<(b)", "process substitution"),
    ("a\u{a0}b", "blank"),
    ("a\u{3000}b", "blank"),
    // Nobody reads it.
    ("a\rb", "carriage return"),
    ("a\0", "NUL"),
    ("a\u{1b}[0m", "control"),
    ("'a\u{202e}b'", "cannot be seen"),
    ("a\u{200b}", "cannot be seen"),
    ("a\u{2028}b", "cannot be seen"),
];

#[test]
fn what_is_kept_in_two_readings_counts_twice() {
    let line = |count: usize| format!("ls {}", "$'a'".repeat(count));
    assert!(parse(&line(1_500)).is_ok());
    assert_eq!(parse(&line(3_500)).map_err(|why| why.reason), Err("more than 6,000 words and parts"));
}

#[test]
fn what_is_understood_is_understood_so() {
    let mut faults = Vec::new();
    for (line, wanted) in UNDERSTOOD {
        let shape = parse(line).map(|script| shape(&script));
        if shape.as_deref() != Ok(*wanted) {
            faults.push(format!("{line}\n  wanted {wanted}\n  is     {shape:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_shells_read_differently_or_nobody_reads_is_refused() {
    let mut faults = Vec::new();
    for (line, wanted) in REFUSED {
        match parse(line) {
            Ok(script) => faults.push(format!("{line}\n  is {}", shape(&script))),
            Err(refusal) if refusal.reason.contains(wanted) => {}
            Err(refusal) => faults.push(format!("{line}\n  {wanted}: {refusal:?}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn bytes_that_are_no_text_and_lines_that_are_too_long_are_refused() {
    assert_eq!(super::parse_bytes(b"ls \xff").unwrap_err().at, 3);
    assert!(parse(&"a".repeat(32 * 1024)).is_ok());
    assert_eq!(parse(&"a".repeat(32 * 1024 + 1)).unwrap_err().at, 32 * 1024);
}

#[test]
fn places_are_those_of_the_line() {
    let line = "a; é 'b c' $(d `e \"f\"`) <g";
    let script = parse(line).unwrap();
    let mut seen = Vec::new();
    script.each_word(&mut |word| seen.push(&line[word.at.clone()]));
    assert_eq!(seen, ["a", "é", "'b c'", "$(d `e \"f\"`)", "d", "`e \"f\"`", "e", "\"f\"", "g"]);
    let Command::Simple(simple) = &script.entries[1].pipeline.commands[0].command else { panic!() };
    assert_eq!(&line[simple.at.clone()], "é 'b c' $(d `e \"f\"`) <g");
    // Inside backquotes with backslashes all have the place of what stands between them.
    let line = "a `b \\$c`";
    let mut seen = Vec::new();
    let script = parse(line).unwrap();
    script.each_word(&mut |word| seen.push(&line[word.at.clone()]));
    assert_eq!(seen, ["a", "`b \\$c`", "b \\$c", "b \\$c"]);
}

#[test]
fn deep_and_huge_lines_have_a_clear_answer_at_once() {
    #[expect(clippy::disallowed_methods, reason = "it measures, and decides nothing")]
    let started = std::time::Instant::now();
    for line in hostile() {
        let _ = parse(&line);
    }
    let took = started.elapsed();
    // Unoptimised, on a busy machine; what grows with the square or faster takes minutes.
    assert!(took.as_secs() < 60, "{took:?}");
    for (line, reason) in [
        ("if ".repeat(2000), "nesting"),
        ("$(".repeat(10_000), "nesting"),
        ("( ".repeat(28), "nesting"),
        ("{ ".repeat(28), "nesting"),
        ("a ~+99999999999999999999 99999999999999999999>f".to_owned(), "descriptor"),
        (format!("echo {}{}", "{a,".repeat(100), "}".repeat(100)), "nesting"),
        ("a ".repeat(10_000), "more than"),
        (format!("{}1{}", "$((".repeat(17), "))".repeat(17)), "nesting"),
        (format!("x ${{a{}b{}", ":-${a".repeat(17), "}".repeat(18)), "nesting"),
    ] {
        let refusal = parse(&line).unwrap_err();
        assert!(refusal.reason.contains(reason), "{}: {refusal:?}", &line[..40.min(line.len())]);
    }
    assert!(parse(&format!("{}a{}", "$(".repeat(16), ")".repeat(16))).is_ok());
}

/// Lines of 32 KiB that parsers choke on.
pub(crate) fn hostile() -> Vec<String> {
    let pieces = [
        "a ",
        "a;",
        "'",
        "\"",
        "\\",
        "`",
        "$(",
        "${",
        "$((",
        "(",
        "{",
        "[",
        "[a",
        "{a,",
        "{a}",
        "<(",
        "<<E ",
        "<<E\n",
        "$a",
        "*",
        "?",
        "~",
        "=~",
        ":~",
        "a=b:~",
        "a=",
        "a=(",
        "if ",
        "if a;then ",
        "case a in ",
        "case a in b) ",
        "for a in ",
        "while a;do ",
        "[[ ",
        "! ",
        "time ",
        "a|",
        "a&&",
        "&",
        ">",
        ">a ",
        "1",
        "1>",
        "#",
        "\n",
        " ",
        "\\\n",
        " \\\n",
        "''",
        "\"\"",
        "\"$(",
        "`\\`",
        "\\`",
        "$'\\x",
        "$'\\x41'",
        "é",
        "\u{3000}",
        "f() ",
        "function f ",
        "${a:-",
        "${a[",
        "$((a[",
        "((",
        "))",
        "]",
        "}",
        "}}",
        ",",
        "..",
        "{1..2}",
        "esac ",
        "[[:",
        "[[:a:]",
        "'a'b",
    ];
    let full = |piece: &str| piece.repeat(crate::gate::LINE_BYTES_MAX / piece.len());
    let mut all: Vec<String> = pieces.iter().map(|piece| full(piece)).collect();
    all.extend(pieces.iter().map(|piece| format!("echo {}", full(piece))).map(cut));
    all.extend(pieces.iter().map(|piece| cut(format!("echo \"{}", full(piece)))));
    for first in ["$(", "{a,"] {
        all.extend(pieces.iter().map(|piece| cut(format!("x {}", format!("{first}{piece}").repeat(8_000)))));
    }
    all
}

fn cut(mut line: String) -> String {
    let mut end = crate::gate::LINE_BYTES_MAX.min(line.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_line_has_an_answer_with_places_in_the_line(line in hostile_line()) {
        match parse(&line) {
            Ok(script) => {
                let mut places = Vec::new();
                script.each_word(&mut |word| places.push(word.at.clone()));
                for place in places {
                    prop_assert!(line.get(place.clone()).is_some(), "{place:?}");
                }
            }
            Err(refusal) => prop_assert!(line.is_char_boundary(refusal.at), "{refusal:?}"),
        }
    }

    #[test]
    fn a_quoted_word_is_what_was_quoted(text in "[^\\p{C}']{0,40}") {
        prop_assume!(text.chars().all(|c| super::text::fault(c).is_none()));
        let script = parse(&format!("x '{text}'")).unwrap();
        let mut seen = Vec::new();
        script.each_word(&mut |word| seen.push(word.literal().map(|text| text.into_owned())));
        prop_assert_eq!(seen, [Some("x".to_owned()), Some(text)]);
    }
}

/// Lines made of what shells know.
fn hostile_line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-c ]{1,3}",
        4 => prop::sample::select(vec![
            "'", "\"", "\\", "`", "$", "$(", "${", "$((", "))", ")", "}", "(", "{", "[", "]", "<(", "<<E", "\nE\n", "*", "~", "=", ",", "..", ";", "&",
            "|", "&&", "||", ">", "<", "&>", ">&", "1", "#", "\n", " ", "\\\n", "if ", "then ", "fi", "for a in ", "do ", "done", "case a in ", "esac",
            "[[ ", " ]]", "! ", "time ", "a=", "a=(", "f() ", "$'", "\\x41", "é", "\u{3000}", ":-", "@", "!",
        ]).prop_map(str::to_owned),
        1 => ".",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// A tree in one line.
fn shape(script: &Script) -> String {
    let mut out = String::new();
    for (index, entry) in script.entries.iter().enumerate() {
        let piped: Vec<String> = entry.pipeline.commands.iter().map(|piped| command_shape(&piped.command)).collect();
        let mut text = String::new();
        for (at, (shape, piped)) in piped.iter().zip(&entry.pipeline.commands).enumerate() {
            text.push_str(shape);
            if at + 1 < entry.pipeline.commands.len() {
                text.push_str(if piped.errors_too { "|& " } else { "| " });
            }
        }
        out.push_str(&match entry.pipeline.prefix {
            None => text,
            Some(Prefix::Not) => format!("!<{text}>"),
            Some(Prefix::Time) => format!("time<{text}>"),
        });
        let last = index + 1 == script.entries.len();
        out.push_str(match entry.then {
            Joint::Sequence if last => "",
            Joint::Sequence => "; ",
            Joint::And => "&& ",
            Joint::Or => "|| ",
            Joint::Background => "& ",
        });
    }
    out
}

fn command_shape(command: &Command) -> String {
    let (mut out, redirections) = match command {
        Command::Simple(simple) => {
            let mut out: Vec<String> = Vec::new();
            for assignment in &simple.assignments {
                out.push(format!("{}=<{}>", assignment.name, words_shape(&assignment.values)));
            }
            if !simple.words.is_empty() {
                out.push(words_shape(&simple.words));
            }
            (out.join(" "), &simple.redirections)
        }
        Command::Compound(compound) => {
            let kind = match &compound.kind {
                CompoundKind::Group => "group".to_owned(),
                CompoundKind::Subshell => "subshell".to_owned(),
                CompoundKind::If => "if".to_owned(),
                CompoundKind::While => "while".to_owned(),
                CompoundKind::For(name) => format!("for {name}"),
                CompoundKind::Case => "case".to_owned(),
                CompoundKind::Function(name) => format!("function {name}"),
                CompoundKind::Test => "test".to_owned(),
                CompoundKind::Arithmetic(text) => format!("arithmetic {text}"),
            };
            let scripts: String = compound.scripts.iter().map(|script| format!("{{{}}}", shape(script))).collect();
            (format!("{kind}<{scripts}{}", words_shape(&compound.words)), &compound.redirections)
        }
    };
    for redirection in redirections {
        let operator = match redirection.kind {
            RedirectionKind::Read => "<",
            RedirectionKind::Write => ">",
            RedirectionKind::Append => ">>",
            RedirectionKind::ReadWrite => "<>",
            RedirectionKind::Duplicate => ">&",
            RedirectionKind::HereDocument => "<<",
            RedirectionKind::HereString => "<<<",
        };
        let descriptor = redirection.descriptor.as_deref().unwrap_or_default();
        out.push_str(&format!(" {descriptor}{operator}[{}]", word_shape(&redirection.word)));
    }
    if matches!(command, Command::Compound(_)) {
        out.push('>');
    }
    out
}

fn words_shape(words: &[Word]) -> String {
    words.iter().map(|word| format!("[{}]", word_shape(word))).collect()
}

fn word_shape(word: &Word) -> String {
    let mut out = String::new();
    for part in &word.parts {
        out.push_str(&match part {
            Part::Literal(text) => text.clone(),
            Part::Glob(text) => format!("glob:{text}"),
            Part::Dynamic(dynamic) => match dynamic {
                Dynamic::Parameter { name, words } if words.is_empty() => format!("${name}"),
                Dynamic::Parameter { name, words } => {
                    format!("${name}{{{}}}", words.iter().map(word_shape).collect::<Vec<_>>().join(","))
                }
                Dynamic::Command(script) => format!("({})", shape(script)),
                Dynamic::Process(script) => format!("process({})", shape(script)),
                Dynamic::Arithmetic { text, scripts } => {
                    let scripts: String = scripts.iter().map(|script| format!("({})", shape(script))).collect();
                    format!("arithmetic:{text}{scripts}")
                }
                Dynamic::Home(text) => format!("home:{text}"),
                Dynamic::Braces { text, alternatives } => {
                    let inner = alternatives.iter().map(word_shape).collect::<Vec<_>>().join(",");
                    if alternatives.len() == 1 { format!("{text}={inner}") } else { format!("{{{inner}}}") }
                }
                Dynamic::Dialect { likely: Some(text), .. } => format!("dialect:{text}"),
                Dynamic::Dialect { likely: None, .. } => "dialect?".to_owned(),
            },
        });
    }
    out
}

#[test]
fn a_line_that_ends_too_early_goes_on() {
    for line in [
        "ls 'a",
        "ls \"a",
        "ls |",
        "ls &&",
        "ls ||",
        "ls \\",
        "(ls",
        "ls $(a",
        "ls `a",
        "if true; then",
        "while a; do b",
        "{ ls",
        "cat <<E",
        "cat <<E\nx",
        "for a in b",
        "ls 'a\nb",
        "case a in",
    ] {
        assert!(goes_on(line), "{line}: {:?}", parse(line));
        assert!(!goes_on(&format!("{line}\r")), "{line}");
    }
    for line in
        ["", "ls", "ls # it's", "ls )", "ls | | a", "&& ls", "ls 'a' }", "ls \\\\", "fi", "( ls | )", "ls \u{7}'"]
    {
        assert!(!goes_on(line), "{line}: {:?}", parse(line));
    }
}
