//! Questions to the person at the terminal, and secrets without echo.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::CliError;
use crate::screen::line;
use crate::secret::Secret;

/// Longer secrets are mistakes, such as a wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Asks a yes-or-no question at the terminal; `no_terminal` is what to do where there is none.
pub(super) fn confirm(question: &str, no_terminal: &str) -> Result<(), CliError> {
    let Some(mut terminal) = terminal() else {
        return Err(CliError::usage("there is no terminal to ask for confirmation").hint(no_terminal));
    };
    let failed = |error: io::Error| CliError::failed("cannot ask at the terminal").because(&error);
    write!(terminal, "{} [y/N] ", line(question)).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(terminal).take(100).read_line(&mut answer).map_err(failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::failed("not confirmed, nothing was changed")),
    }
}

/// The terminal of this process, if a person is there: standard input is one too.
fn terminal() -> Option<File> {
    if !io::stdin().is_terminal() {
        return None;
    }
    OpenOptions::new().read(true).write(true).open("/dev/tty").ok()
}

/// Asks for a secret twice, without echo; where standard input is no terminal, reads it from there.
pub(super) fn secret(what: &str) -> Result<Secret<String>, CliError> {
    if terminal().is_none() {
        return from_stdin();
    }
    let first = hidden(what)?;
    let second = hidden(&format!("{what}, again"))?;
    if first.expose() == second.expose() {
        Ok(first)
    } else {
        Err(CliError::failed("the two entries differ, nothing was stored"))
    }
}

/// Asks for a secret once, without echo.
pub(super) fn hidden(what: &str) -> Result<Secret<String>, CliError> {
    let Some(terminal) = terminal() else {
        return Err(CliError::usage(format!("there is no terminal to ask for: {what}")));
    };
    let failed = |error: io::Error| CliError::failed("cannot ask at the terminal").because(&error);
    let quiet = Quiet::begin(&terminal).map_err(failed)?;
    write!(&terminal, "{}: ", line(what)).map_err(failed)?;
    let line = read_quietly(&mut &terminal).map_err(failed);
    drop(quiet);
    writeln!(&terminal).map_err(failed)?;
    text(line?.ok_or_else(|| CliError::failed("cancelled, nothing was stored"))?)
}

/// The terminal without echo, lines and signals, until dropped: an interrupt comes as a byte, so that the echo is
/// always turned on again.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn begin(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &modes)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // If the terminal is gone, so is its echo.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// One line, edited by backspace and Ctrl-U; `None` on Ctrl-C, or Ctrl-D before anything was typed.
fn read_quietly(terminal: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = [0_u8];
    while terminal.read(&mut byte)? == 1 {
        match byte {
            [b'\r' | b'\n'] => return Ok(Some(line)),
            [0x03] => return Ok(None),
            [0x04] if line.is_empty() => return Ok(None),
            [0x15] => line.clear(),
            [0x08 | 0x7f] => {
                // A whole character goes, not one of its bytes.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            [byte] if line.len() < line.capacity() => line.push(byte),
            [_] => {}
        }
    }
    Ok(if line.is_empty() { None } else { Some(line) })
}

/// Reads a secret from standard input, without the last line's end.
pub(super) fn from_stdin() -> Result<Secret<String>, CliError> {
    secret_of(&mut io::stdin().lock(), "standard input")
}

/// Reads a secret from a file, without the last line's end.
pub(super) fn from_file(path: &Path) -> Result<Secret<String>, CliError> {
    let shown = format!("`{}`", path.display());
    let mut file =
        File::open(path).map_err(|error| CliError::failed(format!("cannot read {shown}")).because(&error))?;
    secret_of(&mut file, &shown)
}

fn secret_of(source: &mut dyn Read, shown: &str) -> Result<Secret<String>, CliError> {
    // Large enough not to move while it fills: what moves leaves a copy behind.
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(SECRET_BYTES_MAX).unwrap_or(0).saturating_add(64)));
    source
        .take(SECRET_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::failed(format!("cannot read {shown}")).because(&error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err(CliError::usage(format!("{shown} is too long for a secret")));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(CliError::usage(format!("{shown} has no secret in it")));
    }
    text(bytes)
}

fn text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret<String>, CliError> {
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(CliError::usage("the secret is not UTF-8 text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_line_can_be_edited_and_cancelled() {
        let typed = |bytes: &[u8]| read_quietly(&mut &*bytes).unwrap().map(|line| line.to_vec());
        assert_eq!(typed(b"abc\x7fd\r").unwrap(), b"abd");
        assert_eq!(typed("aé\x7fb\n".as_bytes()).unwrap(), b"ab");
        assert_eq!(typed(b"wrong\x15right\n").unwrap(), b"right");
        assert_eq!(typed(b"abc\x03"), None);
        assert_eq!(typed(b"\x04"), None);
    }

    #[test]
    fn only_the_last_line_end_is_taken_away() {
        let read = |bytes: &[u8]| secret_of(&mut &*bytes, "x").map(|secret| secret.expose().clone());
        assert_eq!(read(b"pass word \n").unwrap(), "pass word ");
        assert_eq!(read(b"a\n\r\n").unwrap(), "a\n");
        assert!(read(b"\n").is_err() && read(b"").is_err() && read(b"\xff").is_err());
    }
}
