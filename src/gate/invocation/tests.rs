use super::*;
use crate::gate::effects::EffectKind;
use crate::gate::shell;

/// The table that is shipped, and above it the examples of its README, which say more of fewer programs.
fn table() -> Table {
    let readme = include_str!("../../../policies/effects/README.md");
    let blocks = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let files: Vec<(String, String)> = blocks
        .enumerate()
        .map(|(index, text)| {
            let schema = if text.starts_with("schema") { "" } else { "schema = 1\n" };
            (format!("README.md block {index}"), format!("{schema}{text}"))
        })
        .collect();
    assert!(files.len() >= 4, "no examples found");
    Table::built_in().with(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn read_line(line: &str) -> Reading {
    read(&shell::parse(line).unwrap_or_else(|why| panic!("{line}: {why:?}")), &table())
}

fn word(kind: EffectKind) -> &'static str {
    EffectKind::WORDS.iter().find(|(_, own)| *own == kind).unwrap().0
}

/// Each invocation as `argv: effects`.
fn told(line: &str) -> Vec<String> {
    read_line(line).invocations.iter().map(show).collect()
}

fn show(invocation: &Invocation) -> String {
    let argv: Vec<String> = invocation.argv.iter().map(ToString::to_string).collect();
    let effects: Vec<String> = invocation
        .effects
        .iter()
        .map(|effect| match &effect.on {
            Some(on) => format!("{}({on})", word(effect.kind)),
            None => word(effect.kind).to_owned(),
        })
        .collect();
    format!("{}: {}", argv.join(" "), effects.join(" "))
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    let mut wrong = String::new();
    for (line, wanted) in cases {
        let told = told(line);
        if told != *wanted {
            wrong.push_str(&format!("{line}\n  is  {told:#?}\n  not {wanted:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_wrapper_is_read_with_what_it_starts() {
    check(&[
        (
            "sudo systemctl restart nginx",
            &["sudo systemctl restart nginx: privilege", "systemctl restart nginx: service(nginx)"],
        ),
        (
            "sudo -u bob -- dd if=/etc/x of=y",
            &["sudo -u bob -- dd if=/etc/x of=y: privilege", "dd if=/etc/x of=y: read(/etc/x) write(y)"],
        ),
        ("sudo -i", &["sudo -i: privilege shell"]),
        ("sudo -e /etc/x", &["sudo -e /etc/x: privilege interactive-escape read(/etc/x) write(/etc/x)"]),
        (
            "env -i A=1 PATH=/x LC_ALL=C grep a b",
            &["env -i A=1 PATH=/x LC_ALL=C grep a b: run-program(PATH=/x)", "grep a b: read(b)"],
        ),
        ("env -S 'dd if=x'", &["env -S 'dd if=x': ", "dd if=x: read(x)"]),
        ("env -S 'dd \"if=x\"'", &["env -S 'dd \"if=x\"': run-program('dd \"if=x\"') unknown('dd \"if=x\"')"]),
        (
            "nice -n 5 timeout -k 1 5 nohup dd of=z",
            &[
                "nice -n 5 timeout -k 1 5 nohup dd of=z: ",
                "timeout -k 1 5 nohup dd of=z: ",
                "nohup dd of=z: ",
                "dd of=z: write(z)",
            ],
        ),
        ("nice -10 unheard-of x", &["nice -10 unheard-of x: ", "unheard-of x: unknown(unheard-of)"]),
        ("su - bob -c 'dd of=z'", &["su - bob -c 'dd of=z': privilege shell", "dd of=z: write(z)"]),
        ("taskset -p 1 2", &["taskset -p 1 2: "]),
        ("watch -n 1 dd of=z", &["watch -n 1 dd of=z: ", "dd of=z: write(z)"]),
        ("chroot /srv", &["chroot /srv: privilege shell"]),
        ("flock /l -c 'dd of=z'", &["flock /l -c 'dd of=z': write(/l)", "dd of=z: write(z)"]),
        ("flock -n /l dd of=z", &["flock -n /l dd of=z: write(/l)", "dd of=z: write(z)"]),
        ("script -c 'dd of=z' /l", &["script -c 'dd of=z' /l: write(/l)", "dd of=z: write(z)"]),
        ("script", &["script: shell"]),
        ("busybox sh -c 'dd of=z'", &["busybox sh -c 'dd of=z': ", "sh -c 'dd of=z': shell", "dd of=z: write(z)"]),
        ("exec dd of=z", &["exec dd of=z: ", "dd of=z: write(z)"]),
        ("command -v dd", &["command -v dd: "]),
        ("command dd of=z", &["command dd of=z: ", "dd of=z: write(z)"]),
        (
            "/usr/bin/nice /tmp/dd of=z",
            &[
                "/usr/bin/nice /tmp/dd of=z: run-program(/tmp/dd)",
                "/tmp/dd of=z: unknown(/tmp/dd) run-program(/tmp/dd)",
            ],
        ),
    ]);
}

#[test]
fn a_variable_among_the_words_of_a_wrapper_leaves_the_rest_readable() {
    check(&[
        ("env -S \"dd if=$x of=z\"", &["env -S 'dd if='${x}' of=z': ", "dd if=${x} of=z: read(${x}) write(z)"]),
        ("env -S \"$x -l\"", &["env -S ${x}' -l': run-program(${x})", "${x} -l: run-program(${x}) unknown(${x})"]),
        (
            "env -S \"dd '$x'\"",
            &["env -S \"dd '\"${x}\"'\": run-program(\"dd '\"${x}\"'\") unknown(\"dd '\"${x}\"'\")"],
        ),
        (
            "rsync -e 'ssh -p 22' a h:b",
            &["rsync -e 'ssh -p 22' a h:b: read(a) net-out(h:b)", "ssh -p 22 ${@}: net-out(${@}) unknown(${@})"],
        ),
        (
            "xargs sed 's/a/b/e'",
            &["xargs sed s/a/b/e: ", "sed s/a/b/e ${@}: shell(s/a/b/e) unknown(s/a/b/e) read(${@}) unknown(${@})"],
        ),
    ]);
}

#[test]
fn words_that_a_wrapper_adds_or_fills_in_are_dynamic() {
    check(&[
        (
            "find /x -name a -exec grep b {} \\; -print",
            &["find /x -name a -exec grep b '{}' ';' -print: read(/x)", "grep b ${{}}: read(${{}})"],
        ),
        (
            "find . -exec dd if={} of=z + -delete",
            &[
                "find . -exec dd 'if={}' of=z + -delete: read(.)",
                "dd if=${{}} of=z + -delete: read(${{}}) write(z) unknown(+) unknown(-delete)",
            ],
        ),
        (
            "find . -exec nice sh -c 'id {}' \\;",
            &[
                "find . -exec nice sh -c 'id {}' ';': read(.)",
                "nice sh -c 'id '${{}}: ",
                "sh -c 'id '${{}}: shell shell('id '${{}}) unknown('id '${{}})",
            ],
        ),
        ("xargs -n 1 grep x", &["xargs -n 1 grep x: ", "grep x ${@}: read(${@}) unknown(${@})"]),
        (
            "xargs -I ls ls /etc",
            &[
                "xargs -I ls ls /etc: run-program(${@})",
                "${@} /etc ${@}: run-program(${@}) unknown(${@}) read(/etc) write(/etc)",
            ],
        ),
        ("xargs -i grep x {}", &["xargs -i grep x '{}': ", "grep x ${@} ${@}: read(${@}) read(${@}) unknown(${@})"]),
    ]);
}

#[test]
fn scripts_for_shells_are_read() {
    check(&[
        (
            "sh -c 'dd of=z; dd of=y' a b",
            &["sh -c 'dd of=z; dd of=y' a b: shell", "dd of=z: write(z)", "dd of=y: write(y)"],
        ),
        ("bash -ec 'dd of=z'", &["bash -ec 'dd of=z': shell", "dd of=z: write(z)"]),
        ("bash -c -e 'dd of=z'", &["bash -c -e 'dd of=z': shell", "dd of=z: write(z)"]),
        ("sh -c \"dd of=$x\"", &["sh -c 'dd of='${x}: shell shell('dd of='${x}) unknown('dd of='${x})"]),
        ("sh -c 'dd of='", &["sh -c 'dd of=': shell", "dd of=: write('')"]),
        ("sh -c 'if'", &["sh -c if: shell shell(if) unknown(if)"]),
        ("sh x.sh -c y", &["sh x.sh -c y: shell shell(x.sh)"]),
        ("eval dd 'of=z; dd' of=y", &["eval dd 'of=z; dd' of=y: ", "dd of=z: write(z)", "dd of=y: write(y)"]),
        ("eval eval dd of=z", &["eval eval dd of=z: ", "eval dd of=z: ", "dd of=z: write(z)"]),
        ("trap 'dd of=z' EXIT", &["trap 'dd of=z' EXIT: ", "dd of=z: write(z)"]),
        ("alias a=b b='dd of=z'", &["alias a=b 'b=dd of=z': ", "b: unknown(b)", "dd of=z: write(z)"]),
        ("ssh -p 22 h -t dd of=z", &["ssh -p 22 h -t dd of=z: net-out(h)", "dd of=z: write(z)"]),
        ("ssh h 'dd of=z | sh'", &["ssh h 'dd of=z | sh': net-out(h)", "dd of=z: write(z)", "sh: shell unknown"]),
        ("ssh -oProxyCommand='dd of=z' h", &["ssh '-oProxyCommand=dd of=z' h: shell net-out(h)", "dd of=z: write(z)"]),
        (
            "ssh -o 'proxycommand dd of=z' h x=1",
            &["ssh -o 'proxycommand dd of=z' h x=1: net-out(h)", "dd of=z: write(z)", ": "],
        ),
        ("ssh -o Strange=1 h x=1", &["ssh -o Strange=1 h x=1: unknown(Strange=1) net-out(h)", ": "]),
        ("mapfile -C 'dd of=z' a", &["mapfile -C 'dd of=z' a: ", "dd of=z: write(z)"]),
    ]);
}

#[test]
fn what_goes_into_a_shell_is_read_or_is_a_shell_nobody_can_read() {
    check(&[
        ("echo id | sh", &["echo id: ", "sh: shell unknown"]),
        ("sh <<'E'\ndd of=z\nE\n", &["sh: shell", "dd of=z: write(z)"]),
        ("sh <<E\ndd of=$x\nE\n", &["sh: shell shell('dd of='${x}$'\\n') unknown('dd of='${x}$'\\n')"]),
        (
            "sudo bash -s a <<< 'dd of=z'",
            &["sudo bash -s a: privilege", "bash -s a: shell shell(a)", "dd of=z: write(z)"],
        ),
        ("sh < x", &["sh: read(x) shell shell(x) unknown(x)"]),
        ("{ sh; } < x", &[": read(x)", "sh: shell shell(x) unknown(x)"]),
        ("dd of=z | tee >(sh)", &["dd of=z: write(z)", "tee <(...): write(<(...))", "sh: shell unknown"]),
        ("sh", &["sh: shell"]),
    ]);
}

#[test]
fn redirections_and_substitutions_do_what_they_do() {
    check(&[
        ("echo x > /etc/cron.d/x", &["echo x: write(/etc/cron.d/x)"]),
        ("echo x >> a 2> /dev/null 2>&1 < b <> c", &["echo x: write(a) read(b) read(c) write(c)"]),
        ("> a", &[": write(a)"]),
        ("cat < /dev/tcp/h/80", &["cat: net-out(/dev/tcp/h/80)"]),
        ("exec 3<>/dev/../dev/tcp/h/80", &["exec: net-out(/dev/../dev/tcp/h/80)"]),
        ("echo $(dd of=z) \"`dd of=y`\"", &["echo $(...) $(...): ", "dd of=z: write(z)", "dd of=y: write(y)"]),
        ("echo ${x:-$(dd of=z)}", &["echo ${x...}: ", "dd of=z: write(z)"]),
        ("echo $((1 + $(dd of=z)))", &["echo $((1 + $(dd of=z))): ", "dd of=z: write(z)"]),
        (". <(dd of=z)", &[". <(...): shell(<(...))", "dd of=z: write(z)"]),
        ("if dd of=a; then dd of=b; fi", &["dd of=a: write(a)", "dd of=b: write(b)"]),
        ("for i in $(dd of=a); do dd of=b; done > c", &[": write(c)", "dd of=b: write(b)", "dd of=a: write(a)"]),
        ("f() { dd of=a; }", &["dd of=a: write(a)"]),
        ("case $(dd of=a) in x) dd of=b;; esac", &["dd of=b: write(b)", "dd of=a: write(a)"]),
    ]);
}

#[test]
fn words_that_are_code_in_disguise_are_load_code() {
    for line in [
        "test -v 'a[$(id)]'",
        "[ 'a[`id`]' -eq 0 ]",
        "[[ 'a[$(id)]' -eq 0 ]]",
        "printf -v 'a[$(id)]' x",
        "read 'a[$(id)]'",
        "unset 'a[$(id)]'",
        "declare 'a[$(id)]=1'",
        "let 'a[$(id)]'",
        "let \"$x\"",
        "x='a[$(id)]'",
        "bind -x '\"a\": id'",
        "enable -f ./x.so x",
        "export LD_PRELOAD=/x",
        "LD_PRELOAD=/x true",
        "BASH_ENV=x sh -c true",
        "IFS=x",
        "compgen -W '$(id)'",
        "for IFS in x; do true; done",
        "GIT_SSH_COMMAND=id true",
        "env BASH_FUNC_x%%='() { id; }' true",
        "export \"$x\"",
        "env LD_PRELOAD=x true",
        "PS4='$(id)' true",
        "declare -n PATH",
        "local 'x=a[$(id)]'",
    ] {
        let reading = read_line(line);
        let found = |kind| reading.invocations.iter().flat_map(|one| &one.effects).any(|effect| effect.kind == kind);
        assert!(
            found(EffectKind::LoadCode) || (line.contains("PATH") && found(EffectKind::RunProgram)),
            "{line}: {reading:#?}"
        );
    }
    for line in ["PATH=.:$PATH true", "export PAGER=sh", "hash -p /x ls", "PROMPT_COMMAND=id", "fc", "EDITOR=vi true"] {
        let told = told(line);
        assert!(told.concat().contains("run-program"), "{line}: {told:?}");
    }
    for line in [
        "PAGER=cat true",
        "SYSTEMD_PAGER= true",
        "LC_ALL=C true",
        "[ \"$x\" -eq 0 ]",
        "[ a[b] = x ]",
        "printf '%s[$(x)]'",
        "x=1",
        "GIT_AUTHOR_NAME=x true",
        "read -r a b",
        "export A=b C",
        "unset a",
        "[[ $x == 'a[b]' ]]",
        "IFS=: read -r a b",
        "IFS=$'\\n'",
        "IFS= read a",
        "mapfile -t a",
    ] {
        let told = told(line);
        assert!(!told.concat().contains("load-code") && !told.concat().contains("run-program"), "{line}: {told:?}");
    }
}

#[test]
fn a_variable_in_a_program_text_is_unknown_and_what_stands_around_it_is_read() {
    check(&[
        ("sed \"s/a/$b/\"", &["sed s/a/${b}/: unknown(s/a/${b}/)"]),
        ("sed -n -e \"${n}p\"", &["sed -n -e ${n}p: unknown(${n}p)"]),
        ("sed -e \"$x\"", &["sed -e ${x}: load-code(${x})"]),
        ("sed \"s/a/$b/e\"", &["sed s/a/${b}/e: shell(s/a/${b}/e) unknown(s/a/${b}/e) unknown(s/a/${b}/e)"]),
        ("sed \"w $x\"", &["sed 'w '${x}: write('w '${x}) unknown('w '${x})"]),
        ("awk '{print $'$n'}'", &["awk '{print $'${n}'}': unknown('{print $'${n}'}')"]),
        (
            "awk \"BEGIN {system(\\\"id $x\\\")}\"",
            &[
                "awk 'BEGIN {system(\"id '${x}'\")}': shell('BEGIN {system(\"id '${x}'\")}') unknown('BEGIN {system(\"id '${x}'\")}')",
            ],
        ),
    ]);
}

#[test]
fn a_program_that_only_the_target_knows_is_unknown_and_runs() {
    check(&[
        ("$x -l", &["${x} -l: run-program(${x}) unknown(${x})"]),
        ("/bin/s?", &["/bin/s?: run-program(/bin/s?) unknown(/bin/s?)"]),
        ("nice $x", &["nice ${x}: unknown(${x}) run-program(${x})", "${x}: run-program(${x}) unknown(${x})"]),
        ("unheard-of x", &["unheard-of x: unknown(unheard-of)"]),
        ("./dd of=z", &["./dd of=z: unknown(./dd)"]),
    ]);
}

#[test]
fn what_bash_makes_of_a_disguise_is_told_too() {
    check(&[
        (
            "$'\\x73h' -c 'dd of=z'",
            &["$'\\x73h' -c 'dd of=z': run-program($'\\x73h') unknown($'\\x73h') shell", "dd of=z: write(z)"],
        ),
        ("{dd,of=z}", &["{dd,of=z}: run-program({dd,of=z}) unknown({dd,of=z}) write(z)"]),
        ("s''h -c 'dd of=z'", &["sh -c 'dd of=z': shell", "dd of=z: write(z)"]),
        ("sh -c $'dd\\x20of=z'", &["sh -c $'dd\\x20of=z': shell", "dd of=z: write(z)"]),
    ]);
}

#[test]
fn wrappers_say_who_started_what_and_where() {
    let reading = read_line("echo a | sudo sh -c 'true; nice dd of=z' && true");
    let by: Vec<_> = reading.invocations.iter().map(|one| (one.by, one.piped, one.at.clone())).collect();
    assert_eq!(
        by,
        [
            (None, true, 0..6),
            (None, true, 9..40),
            (Some(1), true, 14..40),
            (Some(2), true, 20..40),
            (Some(2), true, 20..40),
            (Some(4), true, 20..40),
            (None, false, 44..48),
        ]
    );
}

#[test]
fn every_construct_is_on_the_list_with_its_place() {
    for (line, wanted) in [
        ("true & true", vec![(Construct::Background, 0)]),
        ("true; { true; }", vec![(Construct::Compound, 6)]),
        ("f() { true; }", vec![(Construct::Compound, 4), (Construct::Function, 0)]),
        ("true $((1))", vec![(Construct::Arithmetic, 5)]),
        ("[[ a ]]", vec![(Construct::Arithmetic, 0)]),
        ("true $(true)", vec![(Construct::Substitution, 5)]),
        ("true <(true)", vec![(Construct::Substitution, 5)]),
        ("a=b; c=d true", vec![(Construct::Assignment, 0)]),
        ("! true", vec![(Construct::Prefix, 2)]),
        ("true > a", vec![(Construct::Redirection, 7)]),
        ("true | true && true || true; true", vec![]),
        ("sudo sh -c 'a=b'", vec![(Construct::Assignment, 11)]),
    ] {
        let found: Vec<_> = read_line(line).constructs.into_iter().collect();
        assert_eq!(found, wanted, "{line}");
    }
}

#[test]
fn bombs_are_read_fast_and_end_unknown() {
    let nested = |open: &str, times: usize, inner: &str| format!("{}{inner}", open.repeat(times));
    let mut quoted = String::from("id");
    while quoted.len() < 12_000 {
        quoted = format!("sh -c '{}'", quoted.replace('\'', "'\\''"));
    }
    let table = table();
    for line in [
        nested("sudo ", 1_000, "id"),
        nested("eval ", 1_000, "id"),
        nested("find -exec ", 500, "id"),
        nested("nice ", 40, "id"),
        "id;".repeat(1_100),
        nested("env -S 'env' ", 900, "id"),
        nested("xargs ", 1_000, "id"),
        nested("xargs -I{} ", 500, "{}"),
    ] {
        let script = shell::parse(&line).unwrap();
        let start = std::time::Duration::from_secs(2);
        let (sender, receiver) = std::sync::mpsc::channel();
        let table = table.clone();
        std::thread::spawn(move || sender.send(read(&script, &table)));
        let reading = receiver.recv_timeout(start).unwrap();
        let last = reading.invocations.last().unwrap();
        assert!(reading.invocations.len() <= 513, "{}", reading.invocations.len());
        assert!(last.effects.iter().any(|effect| effect.kind == EffectKind::Unknown), "{}", &line[..40]);
    }
    let reading = read(&shell::parse(&quoted).unwrap(), &table);
    assert!(reading.invocations.len() > 3);
    let many = |words: usize| {
        show(&read_line(&nested("env -u ", words, "id")).invocations[0]).ends_with(": run-program unknown")
    };
    assert!(many(600) && !many(500));
}

#[test]
fn a_file_that_a_line_writes_and_then_runs_is_code() {
    check(&[
        (
            "echo id > /tmp/x; chmod +x /tmp/x && /tmp/./x",
            &[
                "echo id: write(/tmp/x)",
                "chmod +x /tmp/x: write(/tmp/x)",
                "/tmp/./x: unknown(/tmp/./x) run-program(/tmp/./x) load-code(/tmp/./x)",
            ],
        ),
        (
            "echo a >y; frobnicate --with=/y ./y",
            &[
                "echo a: write(y)",
                "frobnicate --with=/y ./y: unknown(frobnicate) read(/y) write(/y) read(./y) write(./y) load-code(./y)",
            ],
        ),
        ("echo a >y; dd of=y", &["echo a: write(y)", "dd of=y: write(y)"]),
    ]);
}
