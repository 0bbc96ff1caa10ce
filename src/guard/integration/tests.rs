use std::time::Duration;

use super::*;
use crate::guard::{Confidence, Gap, LineRead};

fn secrets() -> Secrets {
    Secrets::new(&std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn report(rest: &str) -> Vec<u8> {
    format!("\x1b]7379;000102030405060708090a0b0c0d0e0f;{rest}\x07").into_bytes()
}

/// The pieces, with what is shown in one.
fn pieces(chunks: &[&[u8]]) -> (Vec<Piece>, Vec<u8>) {
    let mut reports = Reports::new(&secrets());
    let (mut others, mut shown) = (Vec::new(), Vec::new());
    for piece in chunks.iter().flat_map(|chunk| reports.push(chunk)) {
        match piece {
            Piece::Shown(bytes) => shown.extend(bytes),
            other @ (Piece::Report(_) | Piece::Forged) => others.push(other),
        }
    }
    shown.extend(reports.release());
    (others, shown)
}

fn line(text: &str) -> Piece {
    Piece::Report(Report::Line { line: Ok(text.to_owned()), continues: false })
}

#[test]
fn a_report_is_read_and_not_shown_however_it_is_split() {
    let text = [b"a\x1b[1mb\x1b\x1b]0;t\x07".as_slice(), &report("line;echo%0A%25 \u{e9}"), b"c\x1b]7379"].concat();
    let whole = pieces(&[&text]);
    assert_eq!(whole, (vec![line("echo\n% \u{e9}")], b"a\x1b[1mb\x1b\x1b]0;t\x07c\x1b]7379".to_vec()));
    for at in 0..text.len() {
        let (first, second) = text.split_at(at);
        assert_eq!(pieces(&[first, second]), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(pieces(&bytes), whole);
}

#[test]
fn a_report_with_another_secret_says_nothing() {
    for forged in
        ["\x1b]7379;ffff;line;ls\x07", "\x1b]7379;;ready;\x07", "\x1b]7379;000102030405060708090a0b0c0d0e0e;ran;\x07"]
    {
        assert_eq!(pieces(&[forged.as_bytes(), b"x"]), (vec![Piece::Forged], b"x".to_vec()));
    }
    // Nor does it swallow what comes after it.
    let (others, shown) = pieces(&[b"\x1b]7379;", &[b'a'; 1000], b"end"]);
    assert_eq!(others, [Piece::Forged]);
    assert!(shown.ends_with(b"end") && shown.len() > 700, "{}", shown.len());
    let (others, shown) = pieces(&[b"\x1b]7379;abc\x1b[0mx"]);
    assert_eq!((others, shown), (vec![Piece::Forged], b"\x1b[0mx".to_vec()));
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_told_as_that() {
    let long = report(&format!("line;{}", "a".repeat(crate::gate::LINE_BYTES_MAX + 1)));
    let endless = report(&format!("line;{}", "a".repeat(4 * crate::gate::LINE_BYTES_MAX)));
    for (text, why) in [
        (long, Unreadable::TooLong),
        (endless, Unreadable::TooLong),
        (report("line;%ff"), Unreadable::NotText),
        (report("line;%1"), Unreadable::NotText),
    ] {
        let expected = Piece::Report(Report::Line { line: Err(why), continues: false });
        assert_eq!(pieces(&[&text, b"x"]), (vec![expected], b"x".to_vec()));
    }
}

#[test]
fn no_text_that_starts_a_shell_ends_early_and_every_secret_is_in_it() {
    assert_eq!(START.matches('\'').count(), 2, "it is read by shells of all kinds");
    assert!(!START.contains('!') && !START.contains('\n'));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let bytes = answer(Some(shell), &secrets());
        let text = std::str::from_utf8(&bytes).unwrap();
        let (length, rest) = text.split_at(5);
        assert_eq!(length.parse::<usize>().unwrap(), rest.len());
        assert_eq!(rest.matches("@END@").count(), 2);
        assert!(!rest.replace("@END@", "").contains("@REPORT@") && !rest.contains("@VERDICT@"));
        assert!(rest.contains("000102030405060708090a0b0c0d0e0f") && rest.contains("1011121314151617"));
    }
    assert!(!START.contains("00010203"));
}

const T: Duration = Duration::from_secs(1);

/// A talk with a bash that stands at its first prompt.
fn at_prompt() -> Talk {
    let mut talk = Talk::new(secrets(), Duration::ZERO);
    let hello = talk.on_output(b"\x1b]7379;hello;bash\x07", Duration::ZERO);
    assert!(matches!(hello.as_slice(), [Step::Send(_), Step::Enters(Phase::Starting(Shell::Bash))]), "{hello:?}");
    let bytes = [report("ready;"), report("prompt;"), b"$ ".to_vec()].concat();
    let ready = talk.on_output(&bytes, Duration::ZERO);
    assert_eq!(ready, [Step::Enters(Phase::Exact(Shell::Bash)), Step::Prompt, Step::Show(b"$ ".to_vec())]);
    assert!(talk.at_prompt());
    talk
}

fn passed(talk: &mut Talk, bytes: &[u8], at: Duration) -> Vec<u8> {
    talk.on_keys(bytes, at).pass
}

#[test]
fn keys_behind_an_enter_wait_until_the_shell_has_said_what_it_runs() {
    let mut talk = at_prompt();
    assert_eq!(passed(&mut talk, b"ls\rrm x\r", T), b"ls\r");
    let steps = talk.on_output(&report("line;ls"), T);
    let read = LineRead { line: String::from("ls"), confidence: Confidence::Exact, at: T };
    assert_eq!(steps, [Step::Judge(Ok(read))]);
    assert_eq!(passed(&mut talk, b"more", T), b"");
    assert_eq!(talk.answer(Verdict::Run, T), b"1011121314151617r");
    assert_eq!(talk.on_output(&report("ran;"), T), []);
    assert_eq!(talk.on_output(&report("prompt;"), T), [Step::Prompt]);
    assert_eq!(passed(&mut talk, b"", T), b"rm x\r");
    // What is not an Enter to the shell is reported by nothing.
    assert!(talk.on_time(T + HALF).is_empty());
    assert_eq!(passed(&mut talk, b"", T + HALF), b"more");
}

const HALF: Duration = Duration::from_millis(500);

#[test]
fn a_program_that_runs_gets_its_keys_and_a_paste_is_one_piece() {
    let mut talk = at_prompt();
    let paste = b"\x1b[200~a\rb\r\x1b[201~";
    assert_eq!(passed(&mut talk, paste, T), paste);
    assert_eq!(passed(&mut talk, b"\rx\ry", T), b"\r");
    talk.on_output(&report("line;vi"), T);
    talk.answer(Verdict::Run, T);
    talk.on_output(&report("ran;"), T);
    assert_eq!(passed(&mut talk, b"", T), b"", "another prompt may be near");
    talk.on_time(T + HALF);
    assert_eq!(passed(&mut talk, b"z", T + HALF), b"x\ryz");
    assert!(!talk.at_prompt());
}

#[test]
fn what_runs_without_a_verdict_is_a_gap_and_ends_the_trust() {
    let by_ran = |talk: &mut Talk| talk.on_output(&report("ran;"), T);
    let by_prompt = |talk: &mut Talk| {
        talk.on_keys(b"ls\r", T);
        talk.on_output(&report("prompt;"), T)
    };
    for way in [by_ran, by_prompt] {
        let mut talk = at_prompt();
        let steps = way(&mut talk);
        assert_eq!(steps.get(..2), Some([Step::Gap(Gap::Unreported), Step::Enters(Phase::Screen)].as_slice()));
        // The shell's own word does not bring it back.
        talk.on_output(&report("ready;"), T);
        talk.on_output(&report("prompt;"), T);
        assert!(!talk.at_prompt() && talk.phase() == Phase::Screen);
    }
    // A line that was given up is none.
    let mut talk = at_prompt();
    talk.on_keys(b"l\x03", T);
    assert_eq!(talk.on_output(&report("prompt;"), T), [Step::Prompt]);
    // Nor is one that was let run.
    talk.on_keys(b"\r", T);
    talk.on_output(&report("line;ls"), T);
    talk.answer(Verdict::Run, T);
    assert_eq!(talk.on_output(&[report("ran;"), report("prompt;")].concat(), T), [Step::Prompt]);
}

#[test]
fn a_line_that_continues_another_is_judged_with_it() {
    let mut talk = at_prompt();
    talk.on_keys(b"a\r", T);
    talk.on_output(&report("line;for i in 1"), T);
    talk.answer(Verdict::Run, T);
    let steps = talk.on_output(&report("next;do rm x; done"), T);
    let read = LineRead { line: String::from("for i in 1\ndo rm x; done"), confidence: Confidence::Exact, at: T };
    assert_eq!(steps, [Step::Judge(Ok(read))]);
}

#[test]
fn who_says_nothing_or_cannot_is_not_waited_for() {
    let mut talk = Talk::new(secrets(), Duration::ZERO);
    assert_eq!(passed(&mut talk, b"ls\r", T), b"");
    let due = talk.due().unwrap();
    assert_eq!(talk.on_time(due), [Step::Enters(Phase::Failed)]);
    let mut talk = Talk::new(secrets(), Duration::ZERO);
    let steps = talk.on_output(b"\x1b]7379;hello;ksh\x07", T);
    assert!(matches!(steps.as_slice(), [Step::Send(_), Step::Enters(Phase::Screen)]));
    let mut talk = Talk::new(secrets(), Duration::ZERO);
    talk.on_output(b"\x1b]7379;hello;zsh\x07", T);
    let due = talk.due().unwrap();
    assert_eq!(talk.on_time(due), [Step::Enters(Phase::Screen)]);
    assert_eq!(passed(&mut talk, b"y\r", due), b"y\r");
    // Late is better than never.
    assert_eq!(talk.on_output(&report("ready;"), due), [Step::Enters(Phase::Exact(Shell::Zsh))]);
    // A second hello asks for the secret.
    assert_eq!(talk.on_output(b"\x1b]7379;hello;zsh\x07", due), [Step::Forged]);
}

#[test]
fn a_lone_escape_is_not_held_back_for_long() {
    let mut talk = at_prompt();
    assert_eq!(talk.on_output(b"\x1b", T), []);
    let due = talk.due().unwrap();
    assert_eq!(talk.on_time(due), [Step::Show(b"\x1b".to_vec())]);
    assert_eq!(talk.due(), None);
}

#[test]
fn keys_that_wait_are_given_back_only_where_the_shell_does_not_say_what_they_run() {
    let mut talk = at_prompt();
    talk.on_keys(b"sh\rrm x\r", T);
    assert_eq!(talk.give_back(), b"");
    talk.on_output(&report("line;sh"), T);
    talk.answer(Verdict::Run, T);
    assert!(talk.is_starting_line() && talk.give_back().is_empty(), "another prompt may be near");
    let due = talk.due().unwrap();
    talk.on_time(due);
    assert!(!talk.at_prompt());
    assert_eq!(talk.give_back(), b"rm x\r");
}

#[test]
fn a_verdict_that_comes_when_the_shell_waits_no_more_is_not_typed_at_its_prompt() {
    let mut talk = at_prompt();
    talk.on_keys(b"ls\r", T);
    talk.on_output(&report("line;ls"), T);
    assert!(talk.is_asking());
    talk.on_output(&report("prompt;"), T);
    assert!(!talk.is_asking() && talk.answer(Verdict::Run, T).is_empty());
}

#[test]
fn a_key_that_the_shell_would_not_say_goes_nowhere_and_nothing_behind_it_does() {
    let mut talk = at_prompt();
    assert_eq!(passed(&mut talk, b"ls\x18", T), b"ls");
    assert_eq!(passed(&mut talk, b"\x05rm\r", T), b"");
    let unsaid = talk.take_unsaid().unwrap();
    assert_eq!((unsaid.dropped, talk.held(), talk.take_unsaid()), (5, 0, None));
    assert_eq!(passed(&mut talk, b"x\r", T), b"x\r");
    // Behind an Enter it waits, and goes nowhere at the next prompt either.
    passed(&mut talk, b"\x18\x05", T);
    talk.on_output(&report("line;lsx"), T);
    talk.answer(Verdict::Run, T);
    talk.on_output(&[report("ran;"), report("prompt;")].concat(), T);
    assert_eq!(passed(&mut talk, b"", T), b"");
    assert!(talk.take_unsaid().is_some());
    // A program that runs has its keys.
    talk.on_keys(b"vi\r", T);
    talk.on_output(&report("line;vi"), T);
    talk.answer(Verdict::Run, T);
    talk.on_output(&report("ran;"), T);
    talk.on_time(T + HALF);
    assert_eq!(passed(&mut talk, b"\x18\x05", T + HALF), b"\x18\x05");
    assert_eq!(talk.take_unsaid(), None);
}

#[test]
fn a_key_that_may_be_the_first_part_of_another_is_held_for_a_moment() {
    let mut talk = at_prompt();
    assert_eq!(passed(&mut talk, b"a\x1b", T), b"a");
    let due = talk.due().unwrap();
    assert!(due > T && due < T + HALF);
    assert!(talk.on_time(due).is_empty());
    assert_eq!(passed(&mut talk, b"", due), b"\x1b");
    assert_eq!(talk.due(), None);
    // The shell may still wait for the second.
    assert_eq!(passed(&mut talk, b"v", due), b"");
    assert!(talk.take_unsaid().is_some());
    assert_eq!(passed(&mut talk, b"\x18", due), b"");
    let whole = talk.due().unwrap();
    assert_eq!((passed(&mut talk, b"", whole), talk.due()), (Vec::new(), None), "it waits for what comes");
}

#[test]
fn a_shell_that_says_that_it_is_not_fit_is_read_from_the_screen() {
    let mut talk = Talk::new(secrets(), Duration::ZERO);
    talk.on_output(b"\x1b]7379;hello;bash\x07", T);
    assert_eq!(talk.on_output(&report("unfit;"), T), [Step::Enters(Phase::Screen)]);
    talk.on_output(&report("ready;"), T);
    assert_eq!((talk.phase(), talk.due()), (Phase::Screen, None));
    let mut talk = at_prompt();
    assert_eq!(talk.on_output(&report("unfit;"), T), [Step::Enters(Phase::Screen)]);
}
