//! `doorward policy from-sudoers`: drafts of access rules and command sets.

use std::io::Read;
use std::path::PathBuf;

use super::CliError;
use crate::cli::output::say;
use crate::durable;
use crate::gate::sudoers::draft;
use crate::screen::counted;

/// More is no sudoers file.
const BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Where to write the drafts; made if it is not there. No file that is there is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut json = String::new();
    let read = std::io::stdin().take(BYTES_MAX).read_to_string(&mut json);
    read.map_err(|error| CliError::failed("cannot read standard input").because(&error))?;
    let hint = "`cvtsudoers -e -f json /etc/sudoers | doorward policy from-sudoers --out drafts`; it comes with sudo";
    let draft = draft(&json).map_err(|error| CliError::of(&error).hint(hint))?;
    let files = [(String::from("access/sudoers.toml"), draft.access)].into_iter();
    let sets = draft.sets.into_iter().map(|(name, text)| (format!("commands/{name}.toml"), text));
    for (name, text) in files.chain(sets) {
        let path = arguments.out.join(&name);
        let parent = path.parent().unwrap_or(&arguments.out);
        let made =
            durable::create_directories(parent).and_then(|()| durable::create_new(&path, text.as_bytes(), 0o644));
        made.map_err(|error| CliError::failed(format!("cannot write {}", path.display())).because(&error))?;
        say(format!("{}", path.display()));
    }
    draft.left_out.iter().for_each(|line| say(format!("left out: {line}")));
    say(format!(
        "{} left out; try the drafts with `doorward policy check --policies DIR`",
        counted(draft.left_out.len(), "entry")
    ));
    Ok(())
}
