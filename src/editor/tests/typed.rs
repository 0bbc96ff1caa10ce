//! What keys do to the line.

use super::*;

#[test]
fn each_key_does_what_people_know() {
    for (keys, line) in [
        ("abc", "abc|"),
        ("abc\x01x", "x|abc"),
        ("abc\x02\x02x", "ax|bc"),
        ("abc\x01\x06x", "ax|bc"),
        ("abc\x01\x05x", "abcx|"),
        ("abc\x1b[D\x1b[Dx\x1b[Cy", "axby|c"),
        ("abc\x1bOHx\x1b[4~y", "xabcy|"),
        ("ab cd ef\x1bb\x1bbx", "ab x|cd ef"),
        ("ab cd\x01\x1bfx", "abx| cd"),
        ("ab cd ef\x1b[1;5D\x1b[1;5Dx\x1bOcy", "ab xcdy| ef"),
        ("abc\x7f", "ab|"),
        ("abc\x01\x04", "|bc"),
        ("abc\x01\x1b[3~", "|bc"),
        ("ab /cd/ef\x17", "ab |"),
        ("ab /cd/ef\x1b\x7f", "ab /cd/|"),
        ("ab cd\x01\x1bd", "| cd"),
        ("ab cd\x15", "|"),
        ("ab cd\x02\x15", "|d"),
        ("ab cd\x01\x06\x0b", "a|"),
        ("ab cd\x17\x17\x19\x19", "ab cdab cd|"),
        ("ab cd\x01\x1bd\x1bd\x05x\x19", "xab cd|"),
        ("ab\x14", "ba|"),
        ("abc\x01\x06\x14", "ba|c"),
        ("\x14", "|"),
        ("ab\x15cd\x1f", "|"),
        ("ab\x15cd\x1f\x1f", "ab|"),
        ("ab\x15\x1f\x1f\x1f\x1f", "|"),
        ("\x10", "ls /tmp|"),
        ("\x1b[A\x1b[A", "echo 'a\nb'|"),
        ("x\x10\x0e", "x|"),
        ("\x10\x10\x10", "ec|ho 'a\nb'"),
        ("\x10\x10\x10\x10", "tail -f /var/log/a|"),
        ("\x10\x10\x10\x10\x10\x10\x10", "ls /srv|"),
        ("\x10\x10\x10\x0e\x0e\x0e", "|"),
        ("ls \x1b.", "ls /tmp|"),
        ("ls \x1b.\x1b.", "ls b'|"),
        ("a\u{4f60}e\u{301}\x02", "a\u{4f60}|e\u{301}"),
        ("a\u{4f60}e\u{301}\x7f\x7f", "a|"),
        ("a\x16\x01", "|a"),
        ("a\x1b\rb", "a\nb|"),
        ("a\x1b\rb\x01x\x10y", "ay|\nxb"),
        ("a\x1b\rbc\x1b[A\x1b[Bx", "a\nbx|c"),
        ("a\x1b\rb\x15\x15", "a|"),
        ("a\x1b\rb\x1b<\x0b\x0b", "|b"),
        ("a\x1b[5~\x1b[2~\x1bOP\x1b[I\x1b]0;t\x07b", "ab|"),
        ("a\u{1b}[<0;1;1Mb", "ab|"),
        ("a\x00\x1d\x1bzb", "ab|"),
    ] {
        let mut rig = Rig::new(80, 24);
        rig.types(keys.as_bytes());
        assert_eq!(rig.line(), line, "{}", keys.escape_debug());
        assert_eq!(rig.acts, [], "{}", keys.escape_debug());
        // Terminals agree on no place for marks; the emulator gives them cells.
        if !keys.contains('\u{301}') {
            rig.check();
        }
    }
}

#[test]
fn enter_runs_a_finished_line_and_goes_on_with_another() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"ls\rfoo 'a\rb'\n\r");
    rig.types(b"tail \\\r/a\r");
    let lines = ["ls", "foo 'a\nb'", "", "tail \\\n /a"].map(|line| Act::Line(String::from(line)));
    assert_eq!(rig.acts, lines);
    assert_eq!(rig.text(), "$ ls\n$ foo 'a\n> b'\n$\n$ tail \\\n>  /a\n$");
    assert_eq!(rig.editor.history().lines().nth_back(1), Some("foo 'a\nb'"));
    rig.check();
}

#[test]
fn ends_interrupts_and_suspensions_are_told_and_the_rest_waits() {
    let mut rig = Rig::new(80, 24);
    let fed = rig.editor.feed(b"abc\x03def", &Commands);
    assert_eq!((fed.act, fed.taken), (Some(Act::Interrupt), 4));
    assert_eq!(rig.editor.feed(b"x", &Commands), Fed::default(), "no line is begun");
    rig.shown(&fed.show);
    let begun = rig.editor.begin(Prompt::plain("$ "));
    rig.shown(&begun);
    assert_eq!(rig.text(), "$ abc^C\n$");
    rig.types(b"ab\x1ac\x04");
    assert_eq!((rig.acts.as_slice(), rig.line()), (&[Act::Suspend][..], String::from("abc|")));
    let told = rig.editor.notice("doorward: there are no jobs here\x1b[2J");
    rig.shown(&told);
    assert_eq!(rig.text(), "$ abc^C\ndoorward: there are no jobs here^[[2J\n$ abc");
    rig.check();
    rig.types(b"\x15\x04");
    assert_eq!(rig.acts.last(), Some(&Act::EndOfInput));
}

#[test]
fn reverse_search_finds_repeats_leaves_and_runs() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"x\x12ls");
    assert_eq!(rig.text(), "(search)`ls': ls /tmp");
    rig.check();
    rig.types(b"\x12");
    assert_eq!(rig.text(), "(search)`ls': ls /srv");
    rig.types(b"\x13");
    assert_eq!(rig.text(), "(search)`ls': ls /tmp");
    rig.types(b"q");
    assert_eq!(rig.text(), "(failed search)`lsq': ls /tmp");
    rig.types(b"\x7f\x12\x12");
    assert_eq!(rig.text(), "(search)`ls': ls /srv");
    rig.types(b"\x07");
    assert_eq!((rig.text().as_str(), rig.line().as_str()), ("$ x", "x|"));
    rig.types(b"\x12log\x1b[C");
    assert_eq!(rig.line(), "tail -f /var/l|og/a", "a key as ever takes what was found");
    rig.types(b"\x15\x0b\x12srv\r");
    assert_eq!(rig.acts, [Act::Line(String::from("ls /srv"))]);
    rig.types(b"\x12tmp\x03");
    assert_eq!(rig.acts.last(), Some(&Act::Interrupt));
    rig.types(b"\x12\x12\x07\x12\x1b");
    assert!(rig.editor.waits());
    let settled = rig.editor.settle();
    rig.shown(&settled);
    assert_eq!(rig.line(), "|");
    rig.check();
}

#[test]
fn tab_completes_what_is_common_and_lists_the_rest() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"ta\t");
    assert_eq!(rig.line(), "tail |");
    rig.types(b"\x15sy\t");
    assert_eq!(rig.line(), "system|");
    rig.types(b"\t");
    let listed = "  systemctl        runs systemctl\n  systemd-analyze  runs systemd-analyze\n$ system";
    assert_eq!(rig.text(), listed);
    rig.types(b"\t\t\t");
    assert_eq!(rig.text(), listed, "listed once");
    rig.check();
    rig.types(b"c\t-x\x01\x06\x06\x06\x06\x06\x06\x06\t");
    assert_eq!(rig.line(), "systemctl |tl -x");
    rig.types(b"\x15\x0b@\t\t");
    assert!(rig.text().ends_with("  (a host)\n$ @"), "{}", rig.text());
    rig.types(b"\x15zzz\t\t\t");
    assert_eq!(rig.line(), "zzz|");
}

#[test]
fn a_paste_is_text_and_never_runs() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"x \x1b[200~ls\r\nrm -rf /\x1b[201~");
    assert_eq!((rig.line().as_str(), rig.acts.len()), ("x ls\nrm -rf /|", 0));
    rig.check();
    rig.types(b"\x1b[200~\rq\r\r\x1b[201~\r");
    assert_eq!(rig.acts, [Act::Line(String::from("x ls\nrm -rf /\nq"))]);
    for bad in ["a\x1bb", "a\x04b", "a\x1b[Ab", "\u{9b}"] {
        rig.types(format!("k\x1b[200~{bad}\x1b[201~").as_bytes());
        assert_eq!(rig.line(), "k|", "{}", bad.escape_debug());
        assert!(rig.text().contains("nothing was pasted: it has control characters"), "{}", rig.text());
        rig.types(b"\x15");
    }
    // A Ctrl-C in it ends no paste: what follows it does not run.
    rig.acts.clear();
    rig.types(b"k\x1b[200~a\x03rm -rf /\r\x1b[201~z");
    assert_eq!((rig.acts.as_slice(), rig.line()), (&[Act::Interrupt][..], String::from("z|")));
}

#[test]
fn a_paste_of_a_megabyte_is_refused_and_nothing_is_lost() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"tail -f \x1b[200~");
    for _ in 0..1024 {
        rig.types(&[b'a'; 1024]);
        assert!(rig.editor.pasted_bytes() <= LINE_BYTES_MAX);
    }
    rig.types(b"\x1b[201~x");
    assert_eq!(rig.line(), "tail -f x|");
    assert!(rig.text().contains("nothing was pasted: its 1024 KiB do not fit into a line of 32 KiB"), "{}", rig.text());
    rig.check();
}

#[test]
fn a_line_that_is_too_long_does_not_run_until_somebody_has_looked() {
    let mut rig = Rig::new(80, 24);
    rig.types(&[b'a'; LINE_BYTES_MAX + 5]);
    assert_eq!(rig.editor.text().len(), LINE_BYTES_MAX);
    rig.types(b"\r\r");
    assert_eq!(rig.acts, []);
    assert!(rig.text().contains("its end is missing"), "{}", rig.text());
    rig.check();
    rig.types(b"\x7f\r");
    assert_eq!(rig.acts.len(), 1);
    rig.types(&[b'b'; LINE_BYTES_MAX + 5]).types(b"\x03c");
    assert_eq!(rig.line(), "c|");
}

#[test]
fn the_history_is_bounded_and_has_no_line_twice_in_a_row() {
    let mut history = History::of(["a", "a", " ", "b", "a"].map(String::from));
    assert_eq!(history.lines().collect::<Vec<_>>(), ["a", "b", "a"]);
    for line in 0..2000 {
        history.push(&line.to_string());
    }
    assert_eq!((history.len(), history.get(999)), (1000, Some("1999")));
    for line in 0..50 {
        history.push(&format!("{line}{}", "x".repeat(LINE_BYTES_MAX - 2)));
    }
    assert!(history.lines().map(str::len).sum::<usize>() <= 256 * 1024);
}

#[test]
fn a_terminal_that_moves_no_cursor_gets_only_text() {
    let mut rig = Rig::of(Terminal::Dumb, 80, 24);
    rig.types(b"lsx").types(b"\x7f").types(b" /tm\x01p\r\x10\x0e'a\rb\x1b[D'\r\x12srv\r\x03\t\t");
    let sent = rig.sent();
    assert!(!sent.contains('\x1b'), "{sent:?}");
    let lines = ["ls /tmp", "'a\nb'", "ls /srv"].map(|line| Act::Line(String::from(line)));
    assert_eq!(rig.acts[..3], lines);
    assert!(sent.starts_with("$ lsx\x08 \x08 /tmp\r\n$ "), "{sent:?}");
}

#[test]
fn without_a_terminal_lines_are_as_they_are() {
    let mut rig = Rig::of(Terminal::None, 80, 24);
    let mut long = vec![b'a'; 100_000];
    long.push(b'\n');
    rig.types(b"ls \x03\tx\r\n\n").types(&long).types(b"\xff\nrest");
    assert_eq!(
        rig.acts,
        [
            Act::Line(String::from("ls \x03\tx")),
            Act::Line(String::new()),
            Act::Unfit(vec![b'a'; LINE_BYTES_MAX + 1]),
            Act::Unfit(b"\xff".to_vec()),
        ]
    );
    assert_eq!(rig.editor.end().act, Some(Act::Line(String::from("rest"))));
    let begun = rig.editor.begin(Prompt::plain("$ "));
    assert_eq!((begun, rig.editor.end().act), (Vec::new(), Some(Act::EndOfInput)));
    assert_eq!(rig.sent(), "");
    assert_eq!(rig.editor.notice("a"), b"a\n");
}
