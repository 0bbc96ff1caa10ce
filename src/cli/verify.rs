//! `doorward verify`: whether the store is what was recorded. Needs no server, no secret and no configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{Form, Table, json, print, say, show};
use super::{CliError, desk, prompt, times};
use crate::auditor::Identity;
use crate::model::{SessionId, Timestamp};
use crate::tlog::{Note, VerifyingKey};
use crate::verify::{self, Report, Settings, Verdict};
use crate::witness::{Client, WitnessAddress, WitnessUrl};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The state directory, or a copy of it [default: that of the configuration].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only this session.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Only sessions since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
    /// The log's public key, as `doorward init` printed it, or a file with it [default: the one in the store, which
    /// proves nothing against who can replace it].
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// A checkpoint that was kept elsewhere, as `doorward audit checkpoint` printed it; may stand several times.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The public key of a witness, or a file with it; may stand several times.
    #[arg(long, value_name = "KEY|FILE")]
    witness_key: Vec<String>,
    /// The address of a witness, to ask it for the newest checkpoint that it has signed; its key is the --witness-key
    /// of the same place. Without asking one, a store that was put back whole cannot be told from the true one.
    #[arg(long, value_name = "URL")]
    witness: Vec<String>,
    /// So many witnesses must have signed the newest checkpoint, else the status is 6.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    require_witness: usize,
    /// Open every record and read every line, too; needs --identity.
    #[arg(long, requires = "identities")]
    deep: bool,
    /// The file with an auditor's age identity.
    #[arg(long = "identity", value_name = "FILE", requires = "deep")]
    identities: Vec<PathBuf>,
    #[command(flatten)]
    form: Form,
}

/// Verifies, and gives the status: 0 good, 3 interrupted sessions, 4 something missing, 5 something tampered with,
/// 6 too few witnesses.
pub(super) fn run(file: Option<&Path>, arguments: Arguments) -> Result<ExitCode, CliError> {
    let store = match arguments.store {
        Some(store) => store,
        None => desk::load(file)?.data,
    };
    if !store.join("log").is_dir() {
        return Err(CliError::usage(format!("`{}` is no state directory: it has no log", store.display()))
            .hint("give the state directory, or a copy of it, with --store"));
    }
    let mut identities = Vec::new();
    for file in &arguments.identities {
        let text = prompt::from_file(file)?;
        identities.extend(Identity::parse_file(&text).map_err(|error| {
            CliError::usage(format!("`{}` is not an identity file", file.display())).because(&error)
        })?);
    }
    let pinned = arguments.vkey.as_deref().map(key).transpose()?;
    let witnesses: Vec<VerifyingKey> =
        arguments.witness_key.iter().map(|given| key(given)).collect::<Result<_, _>>()?;
    let mut kept: Vec<Note> = arguments.from.iter().map(|file| note(file)).collect::<Result<_, _>>()?;
    if arguments.witness.len() > witnesses.len() {
        return Err(CliError::usage("a --witness has no --witness-key")
            .hint("`doorward witness init` printed the key; give one for each --witness, in their order"));
    }
    if !arguments.witness.is_empty() {
        let log = match &pinned {
            Some(key) => key.clone(),
            None => key(&store.join("log/key.pub").display().to_string())?,
        };
        for (url, witness) in arguments.witness.iter().zip(&witnesses) {
            kept.extend(ask(url, witness, &log)?);
        }
    }
    let settings = Settings {
        store,
        key: pinned,
        kept,
        witnesses,
        witnesses_required: arguments.require_witness,
        session: arguments.session,
        since: arguments.since,
        identities,
    };
    let bar = bar();
    let report = verify::run(&settings, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    if arguments.form.json {
        json(&report)?;
    } else {
        tell(&report)?;
    }
    Ok(ExitCode::from(report.exit_status()))
}

/// The newest checkpoint of a log that a witness has signed.
fn ask(url: &str, witness: &VerifyingKey, log: &VerifyingKey) -> Result<Option<Note>, CliError> {
    let wrong = |why: &str| CliError::usage(format!("`{url}` is no witness")).hint(why.to_owned());
    let address = WitnessUrl::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let address = WitnessAddress::new(address, witness.clone()).map_err(|error| wrong(error.why))?;
    // One that does not answer may be kept from answering: a verification that needs it has failed then.
    let newest = Client::new().newest(&address, log).map_err(|error| {
        CliError::failed(format!("the witness {} cannot be asked", witness.name().as_str()))
            .because(&error)
            .maybe_hint(error.hint())
    })?;
    if newest.is_none() {
        say(format!("warning: the witness {} has never seen this log", witness.name().as_str()));
    }
    Ok(newest.map(|newest| newest.note))
}

/// A public key, or the file that has it.
fn key(given: &str) -> Result<VerifyingKey, CliError> {
    let text = if Path::new(given).is_file() { read(Path::new(given))? } else { given.to_owned() };
    VerifyingKey::parse(text.trim()).map_err(|error| {
        CliError::usage("not a public key of a log or a witness")
            .because(&error)
            .hint("it is one line, NAME+ID+KEY; `doorward audit key` prints that of a log")
    })
}

fn note(file: &Path) -> Result<Note, CliError> {
    Note::parse(read(file)?.as_bytes()).map_err(|error| {
        CliError::usage(format!("`{}` is no checkpoint", file.display()))
            .because(&error)
            .hint("`doorward audit checkpoint` prints one")
    })
}

fn read(file: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(file)
        .map_err(|error| CliError::failed(format!("cannot read `{}`", file.display())).because(&error))
}

/// A bar on a terminal's standard error, if the work takes longer than a moment.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn tell(report: &Report) -> Result<(), CliError> {
    let mut table = Table::new(&["SESSION", "VERDICT", "WHY"]);
    let mut rows = 0_usize;
    for session in &report.sessions {
        let mut notes = session.notes.iter();
        if session.verdict > Verdict::OkUnanchored {
            table.row([
                session.session.to_string(),
                session.verdict.to_string(),
                notes.next().cloned().unwrap_or_default(),
            ]);
            rows = rows.saturating_add(1);
        }
        for note in notes {
            table.row([String::new(), String::new(), note.clone()]);
        }
    }
    if rows > 0 {
        print(&table.text())?;
    }
    for fault in &report.log.faults {
        show(format!("LOG TAMPERED: {fault}"));
    }
    for stray in &report.strays {
        show(format!("ADDED: {stray}"));
    }
    let counts = Verdict::ALL.into_iter().filter_map(|verdict| {
        let count = report.sessions.iter().filter(|session| session.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {verdict}"))
    });
    let counts: Vec<String> = counts.collect();
    show(format!("SESSIONS: {}", if counts.is_empty() { String::from("none") } else { counts.join(", ") }));
    let log = &report.log;
    show(format!(
        "LOG: {}, {} entries, {}",
        if log.origin.is_empty() { "unknown" } else { &log.origin },
        log.size,
        if log.faults.is_empty() { "consistent" } else { "NOT CONSISTENT" }
    ));
    if log.not_covered > 0 {
        show(format!("  {} entries after the newest checkpoint are covered by nothing yet", log.not_covered));
    }
    if !log.key_pinned {
        show("  its key is the one in the store: give --vkey with the key that `doorward init` printed");
    }
    show(anchor(report));
    if report.witnesses_missing > 0 {
        say(format!("error: {} more witnesses were to have signed the newest checkpoint", report.witnesses_missing));
    }
    Ok(())
}

fn anchor(report: &Report) -> String {
    let anchor = &report.anchor;
    let mut held: Vec<String> = anchor.kept.iter().map(|size| format!("a kept checkpoint of {size} entries")).collect();
    held.extend(anchor.witnesses.iter().map(|name| format!("witness {name}")));
    if held.is_empty() {
        return String::from(
            "ANCHOR: none. Whoever had root here and the log's key could have written another history; give --from or \
             --witness-key",
        );
    }
    format!("ANCHOR: {}; the first {} entries", held.join(", "), anchor.size)
}
