//! `doorward policy`: rules put in force, and tools that work on a folder of policies without a server.

mod check;
mod diff;
mod explain;
mod rehearse;

use std::path::{Path, PathBuf};

use super::desk::{self, Desk};
use super::{CliError, output};
use crate::admin::api::Request;
use crate::config::read_policies;
use crate::policy::PolicyFile;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put the policy files in force and judge live sessions by them; faulty files leave the old rules in force.
    Reload,
    /// Look for faults and doubts in policy files: rules that never hold, have expired, let a shell through, have no test.
    /// Exit status: 0 nothing found, 1 doubts and --strict, 2 faults.
    Check(check::Arguments),
    /// Run the tests in policy files. Exit status: 0 all passed, 1 one failed, 2 faults.
    Test(rehearse::Arguments),
    /// Say what the rules make of an access, or of a command line, and why.
    Explain(Box<explain::Arguments>),
    /// Say in words what one folder of policies makes wider and narrower than another.
    Diff(diff::Arguments),
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

pub(super) fn run(file: Option<&Path>, command: &Command) -> Result<(), CliError> {
    match command {
        Command::Reload => Desk::open(file)?.tell(Request::PolicyReload {}),
        Command::Check(arguments) => check::run(file, arguments),
        Command::Test(arguments) => rehearse::run(file, arguments),
        Command::Explain(arguments) => explain::run(file, arguments),
        Command::Diff(arguments) => diff::run(arguments),
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
            c if c.is_control() => out.push('\u{fffd}'),
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
