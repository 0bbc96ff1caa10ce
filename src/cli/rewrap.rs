//! `doorward recording rewrap`: the auditor's side. Envelopes are opened in this process, and in no other.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::desk::{Desk, unexpected};
use super::init::recipients;
use super::output::{Form, Progress, Table, listing, say};
use super::recording::read_identities;
use super::{CliError, prompt};
use crate::admin::api::{Reply, Request};
use crate::auditor::{Identity, Recipient};
use crate::model::{SessionId, join};
use crate::screen::counted;
use crate::seal::Recipients;
use crate::store::{Catalog, End, Filter, Listed, Rewrap, RewrapError, StoreRoot};

/// A line of a file of new envelopes is at most so long.
const LINE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The sessions' ids, as `recording list` shows them.
    #[arg(required_unless_present_any = ["all", "apply"])]
    sessions: Vec<SessionId>,
    /// Every recording that has ended, that these identities open, and that is not sealed for exactly these already.
    #[arg(long, conflicts_with = "sessions")]
    all: bool,
    /// The file with your age identity; repeat it for more.
    #[arg(long = "identity", value_name = "FILE", required_unless_present = "apply")]
    identities: Vec<PathBuf>,
    /// Who can read them from now on: an age recipient, or a file of them; repeat it for more. Nobody else can,
    /// so name those who stay too.
    #[arg(long = "to", value_name = "AGE1|FILE", required_unless_present_any = ["apply", "drop_earlier"])]
    to: Vec<String>,
    /// Read a copy of a state directory; takes --out.
    #[arg(long, value_name = "DIR", requires = "out")]
    store: Option<PathBuf>,
    /// Write the new envelopes to a file, for `--apply` on the bastion, and change nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "drop_earlier")]
    out: Option<PathBuf>,
    /// Put the envelopes of such a file in place. Takes no identity.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sessions", "all", "identities", "to", "store", "out"])]
    apply: Option<PathBuf>,
    /// Destroy the envelopes that were replaced, after these identities have opened the present ones.
    #[arg(long, conflicts_with_all = ["to", "store", "apply"])]
    drop_earlier: bool,
    /// Do it without asking.
    #[arg(long, requires = "drop_earlier")]
    yes: bool,
    #[command(flatten)]
    form: Form,
}

/// What came of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It is sealed for others now.
    Rewrapped,
    /// Its new envelope is in the file.
    Written,
    /// The envelopes that were replaced are gone.
    Dropped,
    /// There was nothing to do.
    Unchanged,
    /// These identities do not open it.
    SealedForOthers,
    /// It is as it was.
    Failed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Rewrapped => "rewrapped",
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Unchanged => "unchanged",
            Self::SealedForOthers => "sealed-for-others",
            Self::Failed => "failed",
        }
    }
}

/// A row of the outcome.
#[derive(Debug, Serialize)]
struct Row {
    session: SessionId,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    if let Some(apply_file) = &arguments.apply {
        return apply(&Desk::open(file)?, apply_file, arguments.form);
    }
    let identities = read_identities(&arguments.identities)?;
    if arguments.drop_earlier {
        return drop_earlier(&Desk::open(file)?, arguments, &identities);
    }
    let mut all: Vec<Recipient> = Vec::new();
    for given in &arguments.to {
        all.extend(recipients("--to", given)?);
    }
    let to = Recipients::of(all).ok_or_else(|| CliError::of(&RewrapError::NoRecipients))?;
    if !identities.iter().any(|identity| to.iter().any(|one| *one == identity.recipient())) {
        say("warning: you are not among those who can read them from now on, so nobody checks here that they can");
    }
    let rows = match &arguments.out {
        Some(out) => {
            let store = match &arguments.store {
                Some(store) => store.clone(),
                None => Desk::open(file)?.store().to_owned(),
            };
            write(&Catalog::new(StoreRoot::at(&store)), arguments, &identities, &to, out)?
        }
        None => {
            let desk = Desk::open(file)?;
            let catalog = desk.catalog();
            each(chosen(&catalog, arguments), arguments.all, |session| {
                made(&catalog, session, &identities, &to, arguments.all)?.map_or(Ok(Outcome::Unchanged), |rewrap| {
                    tell(&desk, Request::RecordingRewrap { rewrap }, Outcome::Rewrapped)
                })
            })
        }
    };
    report(&rows, arguments.form)
}

/// Why a recording was left as it is.
enum Left {
    Rewrap(RewrapError),
    Refused(CliError),
}

/// Does something with each recording. With `--all`, one that is sealed for others is no failure.
fn each(sessions: Vec<SessionId>, all: bool, mut act: impl FnMut(&SessionId) -> Result<Outcome, Left>) -> Vec<Row> {
    let mut progress = Progress::new();
    let total = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
    let mut rows = Vec::with_capacity(sessions.len());
    for (done, session) in (0..).zip(sessions) {
        progress.at("recordings", done, total);
        let (outcome, why) = match act(&session) {
            Ok(outcome) => (outcome, None),
            Err(Left::Rewrap(error)) if all && error.is_sealed_for_others() => (Outcome::SealedForOthers, None),
            Err(Left::Rewrap(error)) => (Outcome::Failed, Some(crate::store::describe(&error))),
            Err(Left::Refused(error)) => (Outcome::Failed, Some(error.line())),
        };
        rows.push(Row { session, outcome, why });
    }
    progress.finish();
    rows
}

/// The recordings that are meant; with `--all` those that have ended and have a key.
fn chosen(catalog: &Catalog, arguments: &Arguments) -> Vec<SessionId> {
    if !arguments.all {
        return arguments.sessions.clone();
    }
    let mut sessions = Vec::new();
    for listed in catalog.list(&Filter::default()) {
        match listed {
            Listed::Recording(summary) => {
                if summary.end != End::Open && catalog.root().envelope(&summary.session).exists() {
                    sessions.push(summary.session);
                }
            }
            Listed::Erased(_) => {}
            Listed::Damaged { path, why } => say(format!("warning: passed over {}: {why}", path.display())),
        }
    }
    sessions
}

/// A new envelope; `None` if the recording is sealed for exactly these already, and all are meant.
fn made(
    catalog: &Catalog,
    session: &SessionId,
    identities: &[Identity],
    to: &Recipients,
    all: bool,
) -> Result<Option<Rewrap>, Left> {
    let root = catalog.root();
    let stored = catalog.open(session).map_err(|error| Left::Rewrap(RewrapError::Store(error)))?;
    let present = root.rewrapped_for(session).unwrap_or(stored.summary.auditors);
    if all && Recipients::of(present).as_ref() == Some(to) {
        return Ok(None);
    }
    Rewrap::make(root, session, identities, to).map(Some).map_err(Left::Rewrap)
}

fn tell(desk: &Desk, request: Request, done: Outcome) -> Result<Outcome, Left> {
    let Reply::Done { .. } = desk.ask(request).map_err(Left::Refused)? else {
        return Err(Left::Refused(unexpected()));
    };
    Ok(done)
}

/// Writes new envelopes to a file, one a line.
fn write(
    catalog: &Catalog,
    arguments: &Arguments,
    identities: &[Identity],
    to: &Recipients,
    out: &Path,
) -> Result<Vec<Row>, CliError> {
    let failed = |error: &std::io::Error| CliError::failed(format!("cannot write `{}`", out.display())).because(error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(|error| failed(&error))?;
    let rows = each(chosen(catalog, arguments), arguments.all, |session| {
        let Some(rewrap) = made(catalog, session, identities, to, arguments.all)? else {
            return Ok(Outcome::Unchanged);
        };
        let mut line = serde_json::to_vec(&rewrap).map_err(|error| Left::Refused(CliError::of(&error)))?;
        line.push(b'\n');
        file.write_all(&line).map_err(|error| Left::Refused(failed(&error)))?;
        Ok(Outcome::Written)
    });
    file.sync_all().map_err(|error| failed(&error))?;
    say(format!("hint: on the bastion, `doorward recording rewrap --apply {}`", out.display()));
    Ok(rows)
}

/// Puts the envelopes of a file in place.
fn apply(desk: &Desk, from: &Path, form: Form) -> Result<(), CliError> {
    let unread = |why: String| CliError::usage(format!("cannot read `{}`: {why}", from.display()));
    let file = File::open(from).map_err(|error| unread(error.to_string()))?;
    let total = file.metadata().map_or(0, |found| found.len());
    let (mut reader, mut rows, mut progress) = (BufReader::new(file), Vec::new(), Progress::new());
    let mut read = 0_u64;
    for number in 1_u64.. {
        let mut line = Vec::new();
        (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| unread(error.to_string()))?;
        if line.is_empty() {
            break;
        }
        read = read.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        let rewrap: Rewrap = serde_json::from_slice(&line).map_err(|error| {
            unread(format!("line {number} is no envelope of `--out`: {error}"))
                .hint(format!("the {} before it are in place; the same file can be applied again", number - 1))
        })?;
        progress.at("bytes", read, total);
        let session = rewrap.session.clone();
        // What is in place already, from an earlier run of the same file, is no failure.
        let (outcome, why) = if desk.catalog().root().rewrapped_for(&session).as_ref() == Some(&rewrap.recipients) {
            (Outcome::Unchanged, None)
        } else {
            match tell(desk, Request::RecordingRewrap { rewrap }, Outcome::Rewrapped) {
                Ok(outcome) => (outcome, None),
                Err(Left::Refused(error)) => (Outcome::Failed, Some(error.line())),
                Err(Left::Rewrap(error)) => (Outcome::Failed, Some(crate::store::describe(&error))),
            }
        };
        rows.push(Row { session, outcome, why });
    }
    progress.finish();
    report(&rows, form)
}

/// Destroys earlier envelopes of recordings whose present one these identities open.
fn drop_earlier(desk: &Desk, arguments: &Arguments, identities: &[Identity]) -> Result<(), CliError> {
    let catalog = desk.catalog();
    let with_earlier = |session: &SessionId| !catalog.root().earlier_envelopes(session).is_empty();
    let mut sessions = chosen(&catalog, arguments);
    if arguments.all {
        sessions.retain(with_earlier);
    }
    if !arguments.yes && !sessions.is_empty() {
        let question = format!("Destroy the earlier envelopes of {}?", counted(sessions.len(), "recording"));
        prompt::confirm(&question, "give --yes if you are sure")?;
    }
    let rows = each(sessions, arguments.all, |session| {
        if !with_earlier(session) {
            return Ok(Outcome::Unchanged);
        }
        let (envelope, proof) = catalog.root().prove_opened(session, identities).map_err(Left::Rewrap)?;
        let session = session.clone();
        tell(desk, Request::RecordingDropEarlier { session, envelope, proof }, Outcome::Dropped)
    });
    report(&rows, arguments.form)
}

/// Prints what came of each, and fails if one failed.
fn report(rows: &[Row], form: Form) -> Result<(), CliError> {
    let mut table = Table::new(&["SESSION", "OUTCOME", "WHY"]);
    for row in rows {
        table.row([row.session.to_string(), row.outcome.word().to_owned(), row.why.clone().unwrap_or_default()]);
    }
    listing(form, rows, &table, "no recordings")?;
    let failed: Vec<&SessionId> =
        rows.iter().filter(|row| row.outcome == Outcome::Failed).map(|row| &row.session).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let of = counted(rows.len(), "recording");
    let are = if failed.len() == 1 { "is as it was" } else { "are as they were" };
    Err(CliError::failed(format!("{} of {of} {are}: {}", failed.len(), join(failed)))
        .hint("what was done stays done; the same command goes on with the others"))
}
