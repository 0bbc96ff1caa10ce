use proptest::strategy::Strategy;

use super::*;
use crate::gate::shell;
use crate::gate::shell::tree::Command;

mod files_in_words;
mod own_grammars;

#[test]
fn the_table_that_is_shipped_has_no_fault_and_is_the_directory() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/effects");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .map(|name| format!("policies/effects/{name}"))
        .collect();
    names.sort();
    let shipped: Vec<&str> = shipped::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(shipped, names, "list each file in shipped.rs, sorted");
    if let Err(faults) = Table::parse(shipped::FILES) {
        panic!("{}", faults.iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect::<String>());
    }
    assert!(Table::built_in().knows("sudo"));
}

#[test]
fn every_word_of_the_language_is_used_by_the_table_that_is_shipped() {
    let words: std::collections::BTreeSet<&str> = shipped::FILES
        .iter()
        .flat_map(|(_, text)| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')))
        .collect();
    let effects = EffectKind::WORDS.iter().map(|(word, _)| *word);
    let unused: Vec<&str> = effects.filter(|word| !words.contains(word)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// A table of one program.
fn table(entry: &str) -> Table {
    let text = format!("schema = 1\n[[program]]\nnames = [\"p\", \"q#\"]\nmanual = \"p(1)\"\n{entry}");
    Table::parse(&[("t.toml", text)]).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn argv(line: &str) -> Vec<Word> {
    let script = shell::parse(line).unwrap_or_else(|why| panic!("{line}: {why:?}"));
    let Command::Simple(simple) = &script.entries[0].pipeline.commands[0].command else { panic!("{script:?}") };
    simple.words.clone()
}

/// What the table says of a line: effects, then inner commands in brackets.
fn told(table: &Table, line: &str) -> String {
    let told = table.tell(&argv(line)).unwrap_or_else(|| panic!("{line}: no entry"));
    let word = |kind| EffectKind::WORDS.iter().find(|(_, own)| *own == kind).unwrap().0;
    let effects = told.effects.iter().map(|effect| match &effect.on {
        Some(on) => format!("{}({on})", word(effect.kind)),
        None => word(effect.kind).to_owned(),
    });
    let inner = told.inner.iter().map(|inner| match inner {
        Inner::Command(argv) => {
            format!("[{}]", argv.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Inner::Script(word) => format!("<{word}>"),
        Inner::Input => String::from("<>"),
    });
    effects.chain(inner).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(entry: &str, cases: &[(&str, &str)]) {
    let table = table(entry);
    let wrong: Vec<_> = cases.iter().filter(|(line, wanted)| told(&table, line) != *wanted).collect();
    let is: Vec<String> = wrong.iter().map(|(line, _)| told(&table, line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?} is {is:#?}");
}

#[test]
fn gnu_options_stand_anywhere_bundled_and_cut_short() {
    check(
        "syntax = \"gnu\"\nplain = \"-v -x -C= --verbose --color? -i? -# -TT= --[no-]pager\"\n\
         options = { \"-f= --file=\" = \"write\", \"-e --erase\" = \"delete\", \"-w? --write?\" = \"write\" }\noperands = [\"read...\"]",
        &[
            ("p a -vxf b c", "write(b) read(a) read(c)"),
            ("p -fb -f c", "write(b) write(c)"),
            ("p -vf=b", "write(=b)"),
            ("p --file b --file=c --fil=d --f e", "write(b) write(c) write(d) write(e)"),
            ("p -- -f b", "read(-f) read(b)"),
            ("p - -C - a", "read(a)"),
            ("p -e --erase", "delete delete"),
            ("p --erase=x", "unknown(--erase=x)"),
            (
                "p --color a --color=b -i -i.bak -w -wx --write=y --write z",
                "write write(x) write(y) write read(a) read(z)",
            ),
            ("p -20 -v20", ""),
            ("p -2x", "unknown(-2x)"),
            ("p -TT a -TTb", "unknown(-TTb)"),
            ("p --ver --vers --verbos --help --version --pager --no-pager", ""),
            ("p --e --v -y --nope -vz", "delete unknown(-y) unknown(--nope) unknown(-vz)"),
            ("p -f", "write"),
            ("p -f \"$x\" --file=\"$y\" -f$z", "write(${x}) write(${y}) write(${z})"),
            ("p -v$x", "unknown(-v${x})"),
            ("p --fi$x", "unknown(--fi${x})"),
            ("q3.11 a", "read(a)"),
            ("/usr/bin/q2 a", "read(a)"),
        ],
    );
}

#[test]
fn posix_old_single_keys_and_none_are_read_as_they_are() {
    check(
        "syntax = \"posix\"\nplain = \"-v\"\noptions = { \"-f=\" = \"write\" }\noperands = [\"read...\"]",
        &[("p -v a -f b", "read(a) read(-f) read(b)"), ("p -- -v", "read(-v)")],
    );
    check(
        "syntax = \"old\"\nplain = \"-v -x\"\noptions = { \"-f=\" = \"write\", \"-C=\" = \"read\" }\noperands = [\"delete...\"]",
        &[
            ("p xvf a b", "write(a) delete(b)"),
            ("p fC a b c", "write(a) read(b) delete(c)"),
            ("p -xf a v", "write(a) delete(v)"),
            ("p xz", "unknown(xz)"),
            ("p $x", "delete(${x}) unknown(${x})"),
        ],
    );
    check(
        "syntax = \"single\"\nplain = \"( ) -name= -o -#\"\noptions = { \"-in=\" = \"read\", \"-p==\" = [\"write\", \"nothing\"], \
         \"-x;\" = \"command\", \"-run...\" = \"command\" }\nplus = \"load-code\"\noperands = [\"delete...\"]",
        &[
            ("p a '(' -name -in -o -in b -in=c ')' d -9", "read(b) read(c) delete(a) delete(d)"),
            ("p -p a b c", "write(a) delete(c)"),
            ("p -i a -oo", "delete(a) unknown(-i) unknown(-oo)"),
            ("p -x a -o b \\; c", "delete(c) [a -o b]"),
            ("p -x a + '{}' + c", "delete(c) [a + '{}']"),
            ("p -x a", "[a]"),
            ("p c -run a -o b", "delete(c) [a -o b]"),
            ("p +x", "load-code(+x)"),
        ],
    );
    check(
        "syntax = \"keys\"\nplain = \"bs=\"\noptions = { \"if=\" = \"read\" }\noperands = [\"write\"]",
        &[
            ("p if=a bs=1 of=b", "read(a) unknown(of=b)"),
            ("p if=$x c", "read(${x}) write(c)"),
            ("p $x=1", "write(${x}=1) unknown(${x}=1)"),
        ],
    );
    check("syntax = \"none\"\noperands = [\"read...\"]", &[("p -f --x +y --", "read(-f) read(--x) read(+y) read(--)")]);
    check("syntax = \"gnu\"", &[("p a b", "unknown(a) unknown(b)"), ("p", "")]);
}

#[test]
fn operands_have_their_places() {
    let places = |operands: &str| format!("syntax = \"gnu\"\nplain = \"-v\"\nbare = \"net-in\"\noperands = {operands}");
    check(
        &places("[\"nothing\", \"read...\", \"write\"]"),
        &[("p", "net-in"), ("p a", ""), ("p a b", "write(b)"), ("p a b c d", "read(b) read(c) write(d)")],
    );
    check(&places("[\"read delete...\", \"write\"]"), &[("p a b c", "read(a) delete(a) read(b) delete(b) write(c)")]);
    check(&places("[\"read\"]"), &[("p a b", "read(a) unknown(b)")]);
    check(
        &places("[\"read...\", \"write\"]"),
        &[("p a* b", "write(a*) read(a*) write(b)"), ("p \"$x\"", "write(${x}) read(${x}) unknown(${x})")],
    );
    check(
        &places("[\"read\", \"command...\"]"),
        &[
            ("p a -v b -v c", "read(a) [b -v c]"),
            ("p a", "net-in read(a)"),
            ("p -- a -v b", "read(a) [-v b]"),
            ("p $x b", "read(${x}) unknown(${x}) [b]"),
            ("p -- $x b", "read(${x}) unknown(${x}) [b]"),
        ],
    );
    check(
        &places("[\"read\", \"arguments...\"]"),
        &[("p a -v -z b", "read(a)"), ("p -z a", "read(a) unknown(-z)"), ("p", "net-in")],
    );
    check(&places("[\"read\", \"script...\"]"), &[("p a -v b 'c d'", "read(a) <'b c d'>")]);
    check(&places("[\"write\"]"), &[("p -", ""), ("p /dev/null", "")]);
}

#[test]
fn options_change_what_the_rest_means() {
    let entry = "syntax = \"gnu\"\nplain = \"-x -c -n --no-pager --no-pages --quiet --quick\"\noptions = { \"-f=\" = \"read\", \"-i\" = \"nothing\" }\noperands = [\"unknown...\"]\n\
         [[program.when]]\nhas = [\"-x\", \"-n\"]\noperands = [\"nothing...\"]\n\
         [[program.when]]\nhas = \"-x -i\"\ndoes = \"write\"\noperands = [\"delete...\"]\n\
         [[program.when]]\nhas = \"-c\"\noperands = [\"read...\"]\noptions = { \"-f=\" = \"write\" }\n\
         [[program.when]]\nlacks = \"--no-pager -n\"\ndoes = \"interactive-escape\"";
    check(
        entry,
        &[
            ("p a", "interactive-escape unknown(a)"),
            ("p -x a", "write interactive-escape delete(a)"),
            ("p -xn a", "write"),
            ("p -c -f b a --no-pager", "write(b) read(a)"),
            ("p -x -c a -f b --no-pager", "write write(b) delete(a)"),
            ("p -n --qui", ""),
            ("p --no-page", "interactive-escape unknown(--no-page)"),
            ("p --no-pager", ""),
        ],
    );
}

#[test]
fn subcommands_have_grammars_of_their_own() {
    let entry = "syntax = \"gnu\"\nplain = \"-q\"\noptions = { \"-H=\" = \"net-out\" }\nglobal = true\nabbreviates = true\nbare = \"interactive-escape\"\ndoes = \"privilege\"\n\
         [[program.sub]]\nnames = [\"start\", \"stop\"]\noperands = [\"service...\"]\n\
         [[program.sub.when]]\nhas = \"-q\"\ndoes = \"read\"\n\
         [[program.sub]]\nnames = [\"net\"]\nbare = \"net-in\"\n\
         [[program.sub.sub]]\nnames = [\"exec\"]\nsyntax = \"posix\"\noperands = [\"nothing\", \"command...\"]";
    check(
        entry,
        &[
            ("p", "privilege interactive-escape"),
            ("p -q", "privilege interactive-escape"),
            ("p -H a start b -H c d -x", "privilege net-out(a) net-out(c) service(b) service(d) unknown(-x)"),
            ("p -q start b", "privilege read service(b)"),
            ("p sta b", "privilege service(b)"),
            ("p st b", "privilege service(b)"),
            ("p '' b", "privilege unknown('')"),
            ("p strange -H b", "privilege unknown(strange)"),
            ("p \"$x\" b", "privilege unknown(${x})"),
            ("p n exec x y -z", "privilege [y -z]"),
            ("p net", "privilege net-in"),
        ],
    );
    check(
        "syntax = \"gnu\"\noptions = { \"-H=\" = \"net-out\" }\n[[program.sub]]\nnames = [\"a\"]\n[[program.sub]]\nnames = [\"b\"]\nsyntax = \"none\"\noperands = [\"read\"]",
        &[("p a -H b", "unknown(b) unknown(-H)"), ("p b -H", "read(-H)")],
    );
}

#[test]
fn values_of_every_kind_are_looked_into() {
    check(
        "syntax = \"gnu\"\noptions = { \"-u=\" = \"url\", \"-r=\" = \"host-or-read\", \"-w=\" = \"host-or-write\", \"-a=\" = \"at-read\", \
         \"-s=\" = \"setting\", \"-o=\" = \"settings\", \"-W=\" = \"words\", \"-P=\" = \"program\", \"-n=\" = \"name\", \"-E=\" = \"assignment\" }\n\
         settings = { \"Exec run\" = \"script\", \"quiet\" = \"nothing\", \"alias.*\" = \"load-code\", \"on\" = \"shell\" }",
        &[
            ("p -u http://h/x -u FILE:///etc/x -u file:/etc/y", "net-out(http://h/x) read(/etc/x) read(/etc/y)"),
            (
                "p -r h:/x -r ./h:x -w u@h: -w x -r file:///y -r $x -r a$x",
                "net-out(h:/x) read(./h:x) net-out(u@h:) write(x) read(/y) read(${x}) net-out(${x}) read(a${x}) net-out(a${x})",
            ),
            ("p -a @/etc/x -a name=@y -a plain -a \"$x\"", "read(/etc/x) read(${x})"),
            ("p -s exec=id -s EXEC=id -s 'run id' -s 'Run = id'", "<id> <id> <id> <id>"),
            (
                "p -s quiet -s other -s alias.x=y -s \"$x\" -s \"exec=$x\" -s on",
                "unknown(other) load-code(y) unknown(${x}) shell <${x}>",
            ),
            ("p -o quiet,run=id,other=1", "unknown(other=1) <id>"),
            (
                "p -W 'id -u' -W 'id \"x\"' -W \"$x\" -P id -W ''",
                "run-program('id \"x\"') unknown('id \"x\"') [id -u] [${x}] [id ${@}]",
            ),
            (
                "p -n a -n 'a[1]' -n 'a[$(id)]' -n \"$x\" -n PATH",
                "load-code('a[$(id)]') load-code(${x}) run-program(PATH)",
            ),
            (
                "p -E a=b -E LD_PRELOAD=x -E \"$x\" -E PAGER=cat -E PAGER=sh",
                "load-code(LD_PRELOAD=x) load-code(${x}) run-program(PAGER=sh)",
            ),
        ],
    );
}

#[test]
fn what_may_be_an_option_is_unknown() {
    let operands = "operands = [\"read...\"]";
    check(
        &format!("syntax = \"gnu\"\nplain = \"-v\"\n{operands}"),
        &[
            ("p *", "read(*)"),
            ("p \"$x\"", "read(${x}) unknown(${x})"),
            ("p -- \"$x\"", "read(${x})"),
            ("p ~/x ./*", "read(~/x) read(./*)"),
        ],
    );
    check(
        &format!("syntax = \"gnu\"\noptions = {{ \"-e\" = \"shell\" }}\n{operands}"),
        &[
            ("p *", "read(*) unknown(*)"),
            ("p a*", "read(a*)"),
            ("p [-]e", "read([-]e) unknown([-]e)"),
            ("p [n]e", "read([n]e)"),
            ("p [!a]e", "read([!a]e) unknown([!a]e)"),
            ("p -- *", "read(*)"),
        ],
    );
    check(&format!("syntax = \"none\"\n{operands}"), &[("p \"$x\" *", "read(${x}) read(*)")]);
}

#[test]
fn every_fault_is_shown_with_its_line() {
    let text = "schema = 2\nstrange = 1\n\
        [[program]]\nnames = [\"a/b\", \"\", \"c3#\"]\nsyntax = \"gnus\"\nmanual = \"x\"\n\
        [[program]]\nnames = [\"d\"]\nmanual = \" \"\nsyntax = \"gnu\"\nplain = \"x -a -a -b;c\"\noptions = { \"-f\" = \"reads\", \"-g\" = \"awk\", \"-h==\" = \"read\", \"-i=\" = \"\" }\n\
        operands = [\"read...\", \"write...\", \"command\"]\ndoes = \"command\"\nextra = 1\n\
        [[program.when]]\ndoes = \"read\"\n\
        [[program.when]]\nhas = \"-z\"\noptions = { \"-a=\" = \"read\", \"-q\" = \"read\" }\n\
        [[program.sub]]\nnames = [\"s\"]\nmanual = \"no\"\n\
        [[program.sub]]\nnames = [\"s\"]\n\
        [[program]]\nnames = [\"d\"]\nmanual = \"x\"\nsyntax = \"keys\"\nplain = \"if\"\n";
    let faults = Table::parse(&[("t.toml", text)]).unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for wanted in [
        "t.toml:1: schema: out of range",
        "t.toml:2: strange: unknown key",
        "\"a/b\" is not a name",
        "t.toml:4: program.names: is empty",
        "a version cannot follow \"c3\"",
        "t.toml:5: program.syntax: \"gnus\" is not in this version",
        "t.toml:9: program.manual: is empty",
        "\"x\" is not an option's name: options begin with a dash or a plus",
        "the option \"-a\" stands here twice",
        "\"-b;c\" is not an option's name: a mark stands at a name's end only",
        "\"reads\" is not in this version",
        "\"-g\": says what is done with a value, and has none",
        "\"-h==\": needs one string for each of its values",
        "says nothing",
        "only one place can stand for any number of words",
        "stand alone, with their dots",
        "there is none here",
        "program.extra: unknown key",
        "neither `has` nor `lacks` says when",
        "\"-z\" is not an option of this entry",
        "\"-a\" has another mark in the entry itself",
        "\"-q\" is not an option of this entry",
        "manual: unknown key",
        "the subcommand \"s\" stands here twice",
        "the program \"d\" stands at t.toml:7 already",
        "the names of `keys` end in =",
    ] {
        assert!(shown.iter().any(|fault| fault.contains(wanted)), "{wanted}: {shown:#?}");
    }
    assert!(faults.is_sorted_by_key(|fault| fault.line));
}

#[test]
fn files_of_an_operator_replace_entries_by_name_and_change_the_version() {
    let own =
        "schema = 1\n[[program]]\nnames = [\"sudo\", \"own\"]\nmanual = \"x\"\nsyntax = \"none\"\ndoes = \"net-in\"\n";
    let table = Table::built_in().with(&[("own.toml", own)]).unwrap();
    assert_eq!(told(&table, "sudo -i"), "net-in unknown(-i)");
    assert_eq!(told(&table, "own"), "net-in");
    assert_eq!(told(&table, "nice true"), "[true]");
    assert_ne!(table.version(), Table::built_in().version());
    assert_eq!(table.version().len(), 64);
    let none: &[(&str, &str)] = &[];
    assert_eq!(Table::built_in().with(none).unwrap().version(), Table::built_in().version());
    assert!(!table.knows("/tmp/sudo") && table.knows("/usr/bin/sudo") && !table.knows("./sudo"));
}

#[test]
fn paths_are_judged_without_detours() {
    for (line, wanted) in [
        ("p /a/../b//c/./d/", Some("/b/c/d")),
        ("p /../../etc/x", Some("/etc/x")),
        ("p a/../../b", Some("../b")),
        ("p ./a", Some("a")),
        ("p a/..", Some(".")),
        ("p /", Some("/")),
        ("p ../..", Some("../..")),
        ("p ''", None),
        ("p ~/x", None),
        ("p /etc/$x", None),
        ("p /etc/*", None),
    ] {
        assert_eq!(normal_path(&argv(line)[1]).as_deref(), wanted, "{line}");
    }
}

proptest::proptest! {
    /// Whatever words come, reading them ends, and ends in bounds.
    #[test]
    fn no_words_are_too_strange_to_be_read(
        program in proptest::sample::select(Table::built_in().names()),
        words in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(vec![
                    "-", "--", "-e", "-c", "-f", "--file=x", "--fi", "-exec", ";", "{}", "+", "sh", "sudo", "A=b", "=", "-o",
                    "exec=id", "h:/x", "file:///x", "@x", "[", "]", "s/a/b/e", "{print | \"id\"}", "a[$(id)]", "-9", "+9", "'",
                ])
                .prop_map(|text| Word::of(text, 0..0)),
                "\\PC{0,12}".prop_map(|text| Word::of(&text, 0..0)),
                proptest::prelude::Just(text::unseen("x", &(0..0))),
                "[-=/a@{}]{0,3}".prop_map(|text| {
                    let mut word = text::unseen("x", &(0..0));
                    word.parts.insert(0, shell::word::Part::Literal(text));
                    word
                }),
            ],
            0..12,
        ),
    ) {
        let mut argv = vec![Word::of(program.trim_end_matches('#'), 0..0)];
        argv.extend(words);
        let told = Table::built_in().tell(&argv).unwrap();
        proptest::prop_assert!(told.effects.len() <= 64 && told.inner.len() <= 64, "{told:?}");
    }
}
