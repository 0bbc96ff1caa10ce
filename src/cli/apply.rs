//! `doorward apply`, and what it shares with the imports: show the difference, ask, apply.

use std::path::{Path, PathBuf};

use super::desk::{Desk, unexpected};
use super::output::{json, say, show};
use super::user::read_text;
use super::{CliError, prompt};
use crate::admin::api::{Reply, Request};
use crate::admin::import::Import;
use crate::admin::inventory::{Change, Inventory, moved_targets};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The inventory, in TOML. It names users, groups, targets, labels and accounts, and no secrets.
    file: PathBuf,
    #[command(flatten)]
    consent: Consent,
}

/// Whether the difference is applied.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Consent {
    /// Apply without asking.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show the difference.
    #[arg(long)]
    dry_run: bool,
    /// Print the difference as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let file = &arguments.file;
    let shown = file.display().to_string();
    let inventory = Inventory::parse(&shown, &read_text(file)?)
        .map_err(|faults| CliError::of_faults("the inventory is not usable, nothing was changed", &faults))?;
    apply(desk, inventory, arguments.consent, Unnamed::Told)
}

/// Whether it is worth telling what the file does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unnamed {
    /// An inventory means to be whole.
    Told,
    /// An import is a part.
    Untold,
}

/// What becomes of a target that exists and to which a file gives another address or other host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It stays as it is, and that is told.
    Skipped,
    /// It changes.
    Overwritten,
}

/// Shows what of a file is not taken over, then goes on as `apply`.
pub(super) fn import(desk: &Desk, file: &Path, import: Import, moved: Moved, consent: Consent) -> Result<(), CliError> {
    for (line, why) in &import.skipped {
        say(format!("skipped: {}:{line}: {why}", file.display()));
    }
    if import.inventory == Inventory::default() {
        return Err(CliError::failed(format!("`{}` has nothing to take over", file.display())));
    }
    let mut inventory = import.inventory;
    if moved == Moved::Skipped {
        skip_moved(desk, &mut inventory)?;
    }
    apply(desk, inventory, consent, Unnamed::Untold)
}

/// Takes out of `inventory` the targets that exist and would get another address or other host keys.
fn skip_moved(desk: &Desk, inventory: &mut Inventory) -> Result<(), CliError> {
    let (changes, _) = changes(desk.ask(Request::InventoryDiff { inventory: inventory.clone() })?)?;
    for target in moved_targets(&changes) {
        say(format!("skipped: target `{target}` exists, and its address or host keys differ; --overwrite changes it"));
        inventory.targets.remove(&target);
    }
    Ok(())
}

fn apply(desk: &Desk, inventory: Inventory, consent: Consent, tell: Unnamed) -> Result<(), CliError> {
    let (changes, unnamed) = changes(desk.ask(Request::InventoryDiff { inventory: inventory.clone() })?)?;
    if consent.json {
        json(&changes)?;
    } else {
        changes.iter().for_each(|change| show(format!("{change}")));
    }
    if tell == Unnamed::Told && !unnamed.is_empty() {
        say(format!("not named in the file, and left as they are: {}", unnamed.join(", ")));
    }
    if changes.is_empty() {
        say("nothing differs");
        return Ok(());
    }
    if consent.dry_run {
        say("dry run: nothing was changed");
        return Ok(());
    }
    if !consent.yes {
        prompt::confirm("Apply?", "look at the difference, then give --yes")?;
    }
    let applied = self::changes(desk.ask(Request::InventoryApply { inventory, expected: changes })?)?;
    say(format!("applied {} changes", applied.0.len()));
    Ok(())
}

fn changes(reply: Reply) -> Result<(Vec<Change>, Vec<String>), CliError> {
    let Reply::Changes { changes, unnamed } = reply else {
        return Err(unexpected());
    };
    Ok((changes, unnamed))
}
