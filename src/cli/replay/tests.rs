use std::time::Duration;

use super::*;
use crate::cast::Entry;
use crate::cli::recorded::memory::Memory;
use crate::model::{ChannelClass, Exit};
use crate::screen::Size;
use crate::store::End;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn view() -> Size {
    Size::bounded(80, 24)
}

fn shell() -> Memory {
    Memory::new(ChannelClass::Shell, true)
        .out(0, b"$ ")
        .out(1000, b"ls\r\n")
        .out(61_000, b"file\r\n")
        .at(62_000, Entry::Resize { cols: 100, rows: 30 })
        .out(63_000, b"\x1b[2Jend")
        .at(63_500, Entry::Exit(Exit::Status(0)))
}

/// Lets time pass as the loop does, in steps of at most 100 ms.
fn pass(player: &mut Player<'_>, real: Duration) {
    let mut left = real;
    while !left.is_zero() {
        let step = left.min(ms(100));
        player.advance(step);
        left -= step;
        settle(player);
    }
}

fn settle(player: &mut Player<'_>) {
    for _ in 0..10_000 {
        if player.wait() != Some(Duration::ZERO) {
            return;
        }
        player.advance(Duration::ZERO);
    }
    panic!("the player never came to rest");
}

#[test]
fn entries_are_shown_when_they_happened() {
    let channel = shell();
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(500));
    assert_eq!(player.text(), "$");
    pass(&mut player, ms(600));
    assert_eq!(player.text(), "$ ls");
}

#[test]
fn long_idle_time_is_cut_and_the_status_line_says_so() {
    let channel = shell();
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(2900));
    assert_eq!(player.text(), "$ ls");
    pass(&mut player, ms(300));
    assert_eq!(player.text(), "$ ls\nfile");
    assert!(player.status(false).contains("1:01/1:03"), "{}", player.status(false));
    assert!(player.status(false).contains("idle 0:58 cut"), "{}", player.status(false));
    pass(&mut player, ms(3000));
    assert!(player.ended());
    assert!(player.status(false).contains("exit 0"), "{}", player.status(false));
    assert_eq!(player.text().trim(), "end");
}

#[test]
fn without_an_idle_cap_time_passes_as_it_was() {
    let channel = shell();
    let options = ReplayOptions { idle_cap: None, speed: Speed::parse("2").unwrap(), ..ReplayOptions::default() };
    let mut player = Player::new(&channel, &options, view());
    pass(&mut player, ms(30_000));
    assert_eq!(player.text(), "$ ls");
    pass(&mut player, ms(600));
    assert_eq!(player.text(), "$ ls\nfile");
}

#[test]
fn a_pause_stops_time_and_a_step_shows_the_next_entry() {
    let channel = shell();
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(100));
    player.press(Key::Pause);
    pass(&mut player, ms(9000));
    assert_eq!(player.text(), "$");
    assert!(player.status(false).contains("paused"));
    player.press(Key::Step);
    settle(&mut player);
    assert_eq!(player.text(), "$ ls");
    assert!(player.status(false).contains("paused"));
}

#[test]
fn seeking_goes_on_and_back() {
    let channel = shell();
    let options = ReplayOptions { at: Some(ms(61_000)), ..ReplayOptions::default() };
    let mut player = Player::new(&channel, &options, view());
    settle(&mut player);
    assert_eq!(player.text(), "$ ls\nfile");
    player.press(Key::Back);
    settle(&mut player);
    assert_eq!(player.text(), "$ ls");
    assert!(player.status(false).contains("0:56/1:03"), "{}", player.status(false));
    player.press(Key::End);
    settle(&mut player);
    player.advance(Duration::ZERO);
    assert!(player.ended());
    player.press(Key::Start);
    settle(&mut player);
    assert_eq!(player.text(), "$");
    assert!(!player.ended());
}

#[test]
fn after_the_end_one_can_go_back() {
    let channel = shell();
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(20_000));
    assert!(player.ended());
    player.press(Key::Back);
    settle(&mut player);
    assert_eq!(player.text(), "$ ls");
}

#[test]
fn a_program_without_a_terminal_is_shown_as_lines_with_stderr_marked() {
    let channel =
        Memory::new(ChannelClass::Exec, false).out(0, b"one\ntwo\n").err(1, b"\x1b[31mbad\n").out(2, b"three");
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(100));
    assert_eq!(player.text(), "one\ntwo\nstderr: ^[[31mbad\nthree");
}

#[test]
fn of_sftp_the_operations_are_on_the_screen() {
    let done = |what: &str| Entry::Marker(format!("sftp: {what}"));
    let channel = Memory::new(ChannelClass::SftpWrite, false).at(0, done("mkdir /a")).at(1, done("rmdir /a\x1b[2J"));
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    pass(&mut player, ms(100));
    assert_eq!(player.text(), "sftp: mkdir /a\nsftp: rmdir /a\u{fffd}[2J");
}

#[test]
fn a_flood_is_shown_in_pieces_so_that_keys_are_answered() {
    let channel = Memory::new(ChannelClass::Shell, true).out(0, &b"y\r\n".repeat(1_000_000));
    let mut player = Player::new(&channel, &ReplayOptions::default(), view());
    player.advance(ms(1));
    assert_eq!(player.wait(), Some(Duration::ZERO));
    player.press(Key::Pause);
    player.advance(ms(1));
    assert_eq!(player.wait(), None);
}

#[test]
fn positions_speeds_and_caps_are_parsed() {
    assert_eq!(parse_position("83"), Ok(Duration::from_secs(83)));
    assert_eq!(parse_position("12s"), Ok(Duration::from_secs(12)));
    assert_eq!(parse_position("1:23"), Ok(Duration::from_secs(83)));
    assert_eq!(parse_position("1:02:03"), Ok(Duration::from_secs(3723)));
    for bad in [
        "",
        ":",
        "1:2",
        "1:60",
        "-1",
        "+1",
        "1:00:00:00",
        "x",
        "1:-1",
        "99999999999999999999",
        "1.5",
        "s",
        "1:23s",
        "12ss",
    ] {
        assert!(parse_position(bad).is_err(), "{bad} was taken");
    }
    assert_eq!(parse_speed("2").map(|speed| speed.to_string()), Ok(String::from("2x")));
    assert_eq!(parse_speed(".5").map(|speed| speed.to_string()), Ok(String::from("0.5x")));
    for bad in ["", ".", "0", "65", "-1", "1e3", "nan", "inf", "1.2345", "4294967296"] {
        assert!(parse_speed(bad).is_err(), "{bad} was taken");
    }
    assert_eq!(parse_idle_cap("off"), Ok(None));
    assert_eq!(parse_idle_cap("3"), Ok(Some(Duration::from_secs(3))));
}

#[test]
fn the_end_says_how_the_session_ended() {
    let mut channel = Memory::new(ChannelClass::Shell, true).out(0, b"$ ");
    for (end, words) in [
        (End::Interrupted, "recording interrupted"),
        (End::Closed { reason: String::from("revoked") }, "session ended: revoked"),
    ] {
        channel.end = end;
        let mut player = Player::new(&channel, &ReplayOptions::default(), view());
        pass(&mut player, ms(100));
        assert!(player.ended());
        assert!(player.status(false).contains(words), "{}", player.status(false));
    }
}
