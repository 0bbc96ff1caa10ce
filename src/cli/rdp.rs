//! `doorward rdp`: a one-time ticket for a desktop, asked for with one's own `ssh`, and its `.rdp` file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::CliError;
use super::fetch::Source;
use super::output::print;
use crate::model::Destination;
use crate::screen::line;
use crate::secret::Secret;

/// A ticket with its file is much shorter.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The account on the target, such as administrator@win1.
    #[arg(value_name = "ACCOUNT@TARGET")]
    destination: Destination,
    /// The bastion; HOST may be an alias of your ssh configuration.
    #[arg(long, value_name = "ssh://[USER@]HOST[:PORT]")]
    from: Source,
    /// Write an .rdp file there, which must not exist. The password is not in it: the program asks for it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What the bastion answers.
#[derive(Debug, Deserialize)]
struct Ticket {
    address: String,
    certificate: String,
    ticket: String,
    #[serde(deserialize_with = "secret")]
    password: Secret<String>,
    until: String,
    file: String,
    command: String,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let Arguments { destination, from, file } = arguments;
    // Nothing is asked for that could not be written.
    let file = match file {
        None => None,
        Some(path) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some((
                path,
                opened
                    .map_err(|error| CliError::failed(format!("cannot write `{}`", path.display())).because(&error))?,
            ))
        }
    };
    let asked = from
        .ask(&["rdp", &destination.to_string(), "--json"], ANSWER_BYTES_MAX)
        .and_then(|answer| read(from, &Zeroizing::new(answer)));
    let ticket = match (asked, &file) {
        (Ok(ticket), _) => ticket,
        (Err(error), None) => return Err(error),
        (Err(error), Some((path, _))) => {
            // It is empty, and was made here.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
    };
    let opens = match file {
        None => line(&ticket.command),
        Some((path, mut file)) => {
            let written = file.write_all(ticket.file.as_bytes());
            written.map_err(|error| CliError::failed(format!("cannot write `{}`", path.display())).because(&error))?;
            format!("mstsc {}    (or any program that opens .rdp files)", path.display())
        }
    };
    print(&told(&ticket, destination, &opens))
}

fn read(from: &Source, answer: &[u8]) -> Result<Ticket, CliError> {
    let ticket: Result<Ticket, _> = serde_json::from_slice(answer);
    let ticket =
        ticket.map_err(|error| CliError::failed(format!("what `{from}` sent is no ticket")).because(&error))?;
    // It goes into a file that a program of this machine opens.
    let plain = |c: char| matches!(c, '\r' | '\n') || !c.is_control();
    match ticket.file.chars().all(plain) {
        true => Ok(ticket),
        false => Err(CliError::failed(format!("what `{from}` sent is no .rdp file"))),
    }
}

fn told(ticket: &Ticket, destination: &Destination, opens: &str) -> String {
    format!(
        "The desktop of {destination}: once, from here, until {}.\n\n  {opens}\n\nUser:      {}\nPassword:  {}\n\
         Server:    {}\nIts certificate: {}\n",
        line(&ticket.until),
        line(&ticket.ticket),
        line(ticket.password.expose()),
        line(&ticket.address),
        line(&ticket.certificate),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(file: &str) -> Vec<u8> {
        serde_json::json!({
            "destination": "administrator@win1", "address": "b:3389", "certificate": "sha256:ab", "ticket": "t-7f3a",
            "password": "s3cret", "until": "12:00", "file": file, "command": "xfreerdp /v:b:3389\u{1b}[2J",
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn a_ticket_is_shown_without_what_would_move_the_cursor() {
        let from = "ssh://alice@bastion".parse().unwrap();
        let ticket = read(&from, &answer("full address:s:b:3389\r\n")).unwrap();
        let destination = Destination::parse("administrator@win1").unwrap();
        let text = told(&ticket, &destination, &line(&ticket.command));
        assert!(text.contains("Password:  s3cret\n") && text.contains("t-7f3a"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_is_no_ticket_is_no_file() {
        let from = "ssh://alice@bastion".parse().unwrap();
        assert!(read(&from, b"{}").is_err());
        assert!(read(&from, &answer("full address:s:b\r\n\u{1b}]0;x\u{7}")).is_err());
    }
}
