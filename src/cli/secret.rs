//! `doorward secret`: secrets come from a prompt, a file or standard input, never from an argument.

use std::path::{Path, PathBuf};

use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing};
use super::{CliError, prompt, times};
use crate::admin::api::{Reply, Request, SecretInput, SecretText};
use crate::ledger::public_key;
use crate::model::Destination;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Store the password or private key of an account; asks for the password at the terminal. Desktops need a password.
    Set(SetArguments),
    /// List which secrets there are; none is shown.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Remove the secret of an account.
    Remove {
        /// ACCOUNT@TARGET, such as root@db1.
        destination: Destination,
    },
    /// Replace the master key, and seal every stored value under the new one. The server must not run; if this is
    /// interrupted, run it again. The key before is kept beside, for backups from its time.
    RotateKey,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetArguments {
    /// ACCOUNT@TARGET, such as root@db1.
    destination: Destination,
    /// Read the password from a file.
    #[arg(long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,
    /// Read the password from standard input.
    #[arg(long, group = "source")]
    stdin: bool,
    /// Store a private key in OpenSSH form; asks for its passphrase if it has one.
    #[arg(long, value_name = "FILE", group = "source")]
    private_key: Option<PathBuf>,
    /// Read the private key's passphrase from a file.
    #[arg(long, value_name = "FILE", requires = "private_key")]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::Set(arguments) => {
            let secret = match &arguments.private_key {
                Some(file) => private_key(file, arguments.passphrase_file.as_deref())?,
                None => SecretInput::Password(SecretText(match &arguments.file {
                    Some(file) => prompt::from_file(file)?,
                    None if arguments.stdin => prompt::from_stdin()?,
                    None => prompt::secret(&format!("Password of {}", arguments.destination))?,
                })),
            };
            desk.tell(Request::SecretSet { destination: arguments.destination, secret })
        }
        Command::List { form } => list(desk, form),
        Command::Remove { destination } => desk.tell(Request::SecretRemove { destination }),
        // It works on the state itself, and never through a server: `cli::rotation`.
        Command::RotateKey => Ok(()),
    }
}

fn private_key(file: &Path, passphrase_file: Option<&Path>) -> Result<SecretInput, CliError> {
    let openssh = prompt::from_file(file)?;
    let shown = file.display();
    if public_key(openssh.expose()).is_ok() {
        return Err(CliError::usage(format!("`{shown}` is the public half of a key"))
            .hint("give the private key, the file beside it without .pub"));
    }
    let key = ssh_key::PrivateKey::from_openssh(openssh.expose().as_bytes()).map_err(|error| {
        CliError::usage(format!("`{shown}` is not a private key in OpenSSH form"))
            .because(&error)
            .hint(format!("`ssh-keygen -p -f {shown}` rewrites an older form"))
    })?;
    let passphrase = match (key.is_encrypted(), passphrase_file) {
        (false, None) => None,
        (false, Some(_)) => return Err(CliError::usage(format!("`{shown}` has no passphrase"))),
        (true, Some(file)) => Some(prompt::from_file(file)?),
        (true, None) => Some(prompt::hidden(&format!("Passphrase of {shown}"))?),
    };
    if let Some(passphrase) = &passphrase {
        key.decrypt(passphrase.expose())
            .map_err(|_| CliError::failed(format!("the passphrase does not open `{shown}`")))?;
    }
    Ok(SecretInput::PrivateKey { openssh: SecretText(openssh), passphrase: passphrase.map(SecretText) })
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let Reply::Secrets { secrets } = desk.ask(Request::SecretList {})? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&["DESTINATION", "KIND", "VERSION", "CREATED"]);
    for row in &secrets {
        table.row([row.destination.to_string(), row.kind.clone(), row.version.to_string(), times::shown(row.created)]);
    }
    listing(form, &secrets, &table, "no secrets; `doorward secret set ACCOUNT@TARGET` stores one")
}
