//! `doorward backup`: a copy of the whole store, made or brought up to date.

use std::path::{Path, PathBuf};

use super::CliError;
use super::desk::Desk;
use super::output::{Form, Progress, json, say, show_line};
use super::state::{self, Exported};
use crate::backup::{BackupFacts, CopySettings, check_place, copy_store};
use crate::clock::Clock;
use crate::screen::counted;

/// A recording that is erased or removed while it is copied is missing; the next try knows it.
const ATTEMPTS: u32 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directory of the backup, on another disk: empty, not there, or an earlier backup of this bastion [default: the
    /// one of `[backup]` in the configuration].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Who can open the state in it: an age recipient, age1..., or a file of them; repeat it for more [default: those of
    /// `[backup]`]. Whoever opens it has every secret.
    #[arg(long = "recipient", value_name = "AGE1|FILE")]
    recipients: Vec<String>,
    /// Compare only the lengths of what was copied before, not every byte.
    #[arg(long)]
    quick: bool,
    /// Remove from the backup what the log says was erased, or removed when its time was over.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let settings = desk.config().backup.as_ref();
    let missing = |what: &str| {
        CliError::usage(format!("it is not said {what}")).hint("give it here, or in [backup] of doorward.toml")
    };
    let to =
        arguments.to.as_ref().or(settings.map(|settings| &settings.to)).ok_or_else(|| missing("where: --to DIR"))?;
    let recipients = match settings {
        _ if !arguments.recipients.is_empty() => state::recipients(&arguments.recipients)?,
        Some(settings) => settings.recipients.clone(),
        None => return Err(missing("for whom: --recipient age1...")),
    };
    let config = desk.config().files();
    let config =
        config.map_err(|faults| CliError::of_faults("the policies cannot be read, and belong to a backup", &faults))?;
    // An export is on record: it is not made for a place that cannot have it.
    check_place(desk.store(), to).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let mut attempt = 0;
    let facts = loop {
        attempt += 1;
        let Exported { state, leaves, journal, log_key } = state::ask(desk, recipients.clone())?;
        let settings = CopySettings {
            data: desk.store(),
            key: log_key,
            size: leaves,
            journal,
            state,
            config: config.clone(),
            quick: arguments.quick,
            prune: arguments.prune,
            keep: None,
            now: Clock::system().now(),
        };
        let mut progress = Progress::new();
        let copied = copy_store(&settings, to, &mut |step| progress.step(step));
        progress.finish();
        let facts = copied.map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        if facts.missing.is_empty() || attempt >= ATTEMPTS {
            break facts;
        }
    };
    if arguments.form.json {
        json(&facts)?;
    } else {
        tell(&facts, to);
    }
    outcome(&facts)
}

fn tell(facts: &BackupFacts, to: &Path) {
    let BackupFacts { leaves, sessions, copied, destroyed_kept, destroyed_pruned, .. } = facts;
    let to = to.display();
    say(format!(
        "backed up to {to}: {}, {}, the state; {} with {} KiB written, {} as before",
        counted(*sessions, "session"),
        counted(*leaves, "leaf"),
        counted(copied.files, "file"),
        copied.bytes.div_ceil(1024),
        copied.same
    ));
    if *destroyed_kept > 0 {
        say(format!(
            "still in the backup: {} that was erased or removed; --prune removes such there too",
            counted(*destroyed_kept, "recording")
        ));
    }
    if *destroyed_pruned > 0 {
        let recordings = counted(*destroyed_pruned, "recording");
        say(format!("removed from the backup too: {recordings} that the log says is erased or removed"));
    }
    for one in &facts.missing {
        show_line(format!("MISSING: {one}"));
    }
    for one in &facts.differing {
        show_line(format!("DIFFERS: {one}"));
    }
}

fn outcome(facts: &BackupFacts) -> Result<(), CliError> {
    if facts.missing.is_empty() && facts.differing.is_empty() {
        return Ok(());
    }
    Err(CliError::failed("the backup is made, and is not whole: some files are missing or differ")
        .hint("nothing that differs was overwritten; `doorward verify`, and `doorward verify --store` on the backup, say which is right"))
}
