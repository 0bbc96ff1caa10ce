//! A program of the operator's that takes a message on its standard input: started without a shell, its arguments are
//! the configuration's alone, and what users wrote comes only to its input.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clock::Clock;

/// The program may take so long.
const PROGRAM_MAX: Duration = Duration::from_secs(30);

/// Hands `input` to the program, and waits until it has taken it: until it ends with status 0.
///
/// # Errors
/// What went wrong.
pub(super) fn hand(command: &[String], input: String) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no program is configured")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("it does not start: {}", error.kind()))?;
    let mut pipe = child.stdin.take().ok_or("it has no input")?;
    // On a thread: a program that does not read must not hold up the others' messages.
    let writer = std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let started = Clock::system().instant();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if started.elapsed() > PROGRAM_MAX => {
                let _ = child.kill();
                let _ = child.wait();
                break Err(String::from("it does not end in time"));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => break Err(error.kind().to_string()),
        }
    };
    let status = status?;
    // It ended: who still holds its input is a child of its own, for which nobody waits.
    drop(writer);
    if status.success() { Ok(()) } else { Err(format!("it ends with {status}")) }
}
