//! `doorward policy`: rules put in force, and tools that work on a folder of policies without a server.

mod check;
mod diff;
mod explain;
mod learn;
mod manifest;
mod past;
mod replay;
mod sudoers;
mod test;

use std::path::{Path, PathBuf};

use super::desk::{self, Desk};
use super::{CliError, output};
use crate::admin::api::Request;
use crate::config::read_policies;
use crate::policy::{PolicyFile, PolicySet};
use crate::screen::counted;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put the policy files in force and judge live sessions by them; faulty files leave the old rules in force.
    Reload,
    /// Look for faults and doubts in policy files: rules that never hold, have expired, let a shell through, have no test.
    /// Exit status: 0 nothing found, 1 doubts and --strict, 2 faults.
    Check(check::Arguments),
    /// Run the tests in policy files. Exit status: 0 all passed, 1 one failed, 2 faults.
    Test(test::Arguments),
    /// Say what the rules make of an access, or of a command line, and why.
    Explain(Box<explain::Arguments>),
    /// Say in words what one folder of policies makes wider and narrower than another.
    Diff(diff::Arguments),
    /// Write the manifest of the policy files, which signers sign.
    Manifest(manifest::Arguments),
    /// Say what other policies would have decided of the past, and where that differs.
    Replay(replay::Arguments),
    /// Draft a command set from what was run; nothing of it takes effect before you merge it.
    Learn(learn::Arguments),
    /// Draft access rules and command sets from a sudoers file, as `cvtsudoers -e -f json` prints it.
    FromSudoers(sudoers::Arguments),
}

/// Where the policies are.
#[derive(Debug, clap::Args)]
struct Folder {
    /// The folder with access/ and commands/ in it [default: the configuration's].
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
}

impl Folder {
    /// The folder's path.
    fn path(&self, file: Option<&Path>) -> Result<PathBuf, CliError> {
        match &self.policies {
            Some(folder) => Ok(folder.clone()),
            None => Ok(desk::load(file)?.policies),
        }
    }

    fn files(&self, file: Option<&Path>) -> Result<Vec<PolicyFile>, CliError> {
        read(&self.path(file)?)
    }
}

fn read(folder: &Path) -> Result<Vec<PolicyFile>, CliError> {
    read_policies(folder).map_err(|faults| CliError::of_faults("the policies cannot be read", &faults))
}

/// The set of these files, for what only says what it would do: tests that fail are told, and stop nothing.
fn draft(files: &[PolicyFile], of: &Path) -> Result<PolicySet, CliError> {
    let (set, failed) = PolicySet::draft(files)
        .map_err(|faults| CliError::of_faults(format!("the policies in `{}` do not load", of.display()), &faults))?;
    if let Some(first) = failed.first() {
        let count = counted(failed.len(), "test");
        output::say_line(format!(
            "warning: in `{}` {count} would keep the policies from loading: {first}",
            of.display()
        ));
    }
    Ok(set)
}

pub(super) fn run(file: Option<&Path>, command: &Command) -> Result<(), CliError> {
    match command {
        Command::Reload => Desk::open(file)?.tell(Request::PolicyReload {}),
        Command::Check(arguments) => check::run(file, arguments),
        Command::Test(arguments) => test::run(file, arguments),
        Command::Explain(arguments) => explain::run(file, arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Manifest(arguments) => manifest::run(file, arguments),
        Command::Replay(arguments) => replay::run(&Desk::open(file)?, arguments),
        Command::Learn(arguments) => learn::run(&Desk::open(file)?, arguments),
        Command::FromSudoers(arguments) => sudoers::run(arguments),
    }
}

/// Text for XML: JUnit's reports.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write the others.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Writes a report beside the listing.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    crate::durable::replace(path, text.as_bytes(), 0o644)
        .map_err(|error| CliError::failed(format!("cannot write `{}`", path.display())).because(&error))
}

fn json(value: &serde_json::Value) -> Result<(), CliError> {
    output::json(value)
}
