//! `doorward policy manifest`: what the signers of policies sign.

use std::path::Path;

use super::{CliError, Folder};
use crate::cli::output::say;
use crate::config::{MANIFEST, read_policies};
use crate::durable;
use crate::policy::PolicySet;
use crate::policy::signed::{Manifest, NAMESPACE};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,
    /// The edition's number: higher than that of any before it. By default one more than the manifest there has.
    #[arg(long, value_name = "NUMBER")]
    serial: Option<u64>,
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let directory = arguments.folder.path(file)?;
    let files = read_policies(&directory);
    let files = files.and_then(|files| PolicySet::parse(&files).map(|_| files));
    let files = files.map_err(|faults| CliError::of_faults("such policies would not load", &faults))?;
    let path = directory.join(MANIFEST);
    let shown = path.display();
    let before = std::fs::read_to_string(&path).ok();
    let before = before.and_then(|text| Manifest::parse(MANIFEST, &text).ok());
    if let Some(before) =
        before.as_ref().filter(|before| arguments.serial.is_none() && before.differences(&files).is_empty())
    {
        say(format!("{shown} is edition {} of these files already; --serial makes another", before.serial));
        return Ok(());
    }
    let serial = arguments.serial.unwrap_or_else(|| before.map_or(1, |before| before.serial.saturating_add(1)));
    let text = Manifest::of(&files, serial).to_string();
    durable::replace(&path, text.as_bytes(), 0o644)
        .map_err(|error| CliError::failed(format!("cannot write {shown}")).because(&error))?;
    say(format!(
        "{shown} is edition {serial}: {} files. Signatures of another edition do not count for it.",
        files.len()
    ));
    say(format!("to sign it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY {shown}; then rename {MANIFEST}.sig to"));
    say(format!("{MANIFEST}.NAME.sig, since each signer makes one"));
    Ok(())
}
