//! A program of the operator's that takes a message on its standard input: started without a shell, its arguments are
//! the configuration's alone, and what users wrote comes only to its input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// The program may take so long.
const PROGRAM_MAX: Duration = Duration::from_secs(30);

/// Hands `input` to the program, and waits until it has taken it: until it ends with status 0.
///
/// # Errors
/// What went wrong.
pub(super) fn hand(command: &[String], input: String) -> Result<(), String> {
    hand_within(command, input, PROGRAM_MAX)
}

fn hand_within(command: &[String], input: String, most: Duration) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no program is configured")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: if it hangs, what it has started itself ends with it, and holds no message.
    let mut child = command.process_group(0).spawn().map_err(|error| format!("it does not start: {}", error.kind()))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut pipe = child.stdin.take().ok_or("it has no input")?;
    // On a thread: a program that does not read must not hold up the others' messages.
    std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let (ended, end) = sync_channel(1);
    std::thread::spawn(move || drop(ended.send(child.wait())));
    // If it ended, whoever still holds its input is a child of its own, for which nobody waits: mail may be on its way in it.
    match end.recv_timeout(most) {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ends with {status}")),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(String::from("it does not end in time"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: String, most: Duration) -> Result<(), String> {
        hand_within(&[String::from("/bin/sh"), String::from("-c"), script.to_owned()], input, most)
    }

    /// Whether a process is gone, or only waits for its parent to hear of it.
    fn is_gone(pid: &str) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        status.is_empty() || status.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
    fn a_program_that_hangs_ends_with_all_that_it_has_started_and_holds_no_message() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        // More than a pipe holds: whoever has the other end and does not read would hold the writer for ever.
        let (big, short) = ("x".repeat(1 << 20), Duration::from_secs(3));
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        assert_eq!(sh(&script, big, short), Err(String::from("it does not end in time")));
        let pid = std::fs::read_to_string(&file).unwrap();
        let began = std::time::Instant::now();
        while !is_gone(&pid) {
            assert!(began.elapsed() < Duration::from_secs(20), "{pid} is there still");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_has_its_arguments_and_a_path_and_nothing_else_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        let script = format!("cat > /dev/null; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= > {}", file.display());
        sh(&script, String::from("$(id)"), Duration::from_secs(60)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
    }
}
