//! The evidence bundle: what `verify` makes and checks of it, and the casts, which are this module's.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::output::{Progress, say};
use super::recorded::{self, Archive, RecordedError};
use super::{CliError, export};
use crate::auditor::Identity;
use crate::clock::Clock;
use crate::model::SessionId;
use crate::seal::EnvelopeError;
use crate::store::{Catalog, Closed, Opening, StoreError, StoreRoot};
use crate::tlog::VerifyingKey;
use crate::verify::{self, Bundle, BundleError, BundleReport, Settings, Verdict, cast_name};

/// How long it is waited for the checkpoint that covers a session's end.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked for meanwhile.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Writes an evidence bundle of a session into `to`, and verifies what was written.
///
/// # Errors
/// If the session does not verify, is not over, or cannot be opened; or the bundle cannot be written.
pub(super) fn export(store: &Path, identities: Vec<Identity>, session: &SessionId, to: &Path) -> Result<(), CliError> {
    write_bundle(store, identities.clone(), session, to)?;
    check_written(identities, session, to)
}

/// Opens a recording that was fetched and checked: its directory becomes an evidence bundle.
///
/// # Errors
/// If it cannot be opened, or the bundle cannot be written.
pub(super) fn open_fetched(identities: Vec<Identity>, session: &SessionId, to: &Path) -> Result<(), CliError> {
    write_opened(identities.clone(), session, to)?;
    check_written(identities, session, to)
}

fn check_written(identities: Vec<Identity>, session: &SessionId, to: &Path) -> Result<(), CliError> {
    let (report, _) = check_bundle(to, &Settings::default(), Some(identities));
    if let Some(finding) = report.findings.iter().next() {
        return Err(CliError::failed("the bundle that was written does not verify")
            .hint(finding.to_string())
            .hint("`doorward verify` says what is wrong with the recording"));
    }
    if report.casts_unchecked() {
        return Err(CliError::failed("the casts that were written cannot be compared with the recording")
            .hint("give an identity that the session was sealed for"));
    }
    say(format!("wrote the evidence of session {session} to {}", to.display()));
    say("hint: whoever checks it needs the log's key from somewhere else than from the bundle");
    Ok(())
}

/// Checks the proofs of a sealed recording that a bastion sent.
///
/// # Errors
/// If it is another session's, is not what the log has, or holds more than what is sealed: nothing vouches for that.
pub(super) fn check_fetched(directory: &Path, session: &SessionId, key: Option<VerifyingKey>) -> Result<(), CliError> {
    if check_proofs(directory, session, key)?.casts {
        return Err(CliError::failed(format!("what was sent holds more than recording `{session}` as it was sealed"))
            .hint("casts are for those to make who can open it: a bastion hands out none, and these may be forged"));
    }
    Ok(())
}

/// Checks the proofs of a sealed recording; says what is known of it.
fn check_proofs(directory: &Path, session: &SessionId, key: Option<VerifyingKey>) -> Result<BundleReport, CliError> {
    let pinned = key.is_some();
    let (report, _) = verify::verify_bundle(directory, &Settings { key, ..Settings::default() });
    if let Some(finding) = report.findings.iter().next() {
        return Err(CliError::failed(format!(
            "TAMPERED: what was sent is not recording `{session}` as the log has it"
        ))
        .hint(finding.to_string())
        .with_verdict(report.exit_code()));
    }
    if report.session.as_ref() != Some(session) {
        return Err(CliError::failed(format!("what was sent is not recording `{session}` but another one")));
    }
    if !pinned {
        say("warning: UNPINNED: the log's key came with the recording, so the bastion vouches for itself; give --vkey");
    }
    Ok(report)
}

/// Refuses to show a recording that is not what the log beside it has, or that no log vouches for.
///
/// Of the store only the log's leaves and this recording are read: of a fetched recording, its proofs.
///
/// # Errors
/// If it is altered or not whole, the log cannot be believed, or there is neither log nor proofs.
pub(super) fn check_shown(store: &Path, session: &SessionId) -> Result<(), CliError> {
    let anyway = "give --even-unverified to see it all the same: what is shown then may be forged";
    let closed_to_us = |part: &str| {
        std::fs::read_dir(store.join(part)).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if closed_to_us("rec") {
        // Then nothing can be shown, and whoever opens it says why.
        return Ok(());
    }
    if closed_to_us("log") {
        return Err(CliError::failed(format!("cannot read the log in `{}`", store.display()))
            .hint("run as the owner of the state directory"));
    }
    if !store.join("log").is_dir() {
        if store.join("proofs").is_dir() {
            return check_proofs(store, session, None).map(drop).map_err(|error| error.hint(anyway));
        }
        return Err(CliError::failed(format!("nothing in `{}` shows that this is a recording", store.display()))
            .hint("a state directory has its log in log/, a fetched recording its proofs in proofs/")
            .hint(anyway));
    }
    let now = Some(Clock::system().now());
    let only = Settings { session: Some(session.clone()), now, quick: true, ..Settings::default() };
    let mut bar = Progress::new();
    let report = verify::run(store, &only, &mut |step| bar.step(step));
    bar.finish();
    let refused = |what: String, findings: &verify::Findings| {
        let error = CliError::failed(what).maybe_hint(findings.iter().next().map(ToString::to_string));
        Err(error.hint("`doorward verify` says more").hint(anyway).with_verdict(report.exit_code()))
    };
    if !report.is_log_believed() {
        return refused(
            String::from("TAMPERED: the log does not verify, so it vouches for no recording"),
            &report.log.findings,
        );
    }
    let Some(found) = report.sessions.first() else { return Ok(()) };
    match found.verdict_for_viewers() {
        Verdict::Ok | Verdict::OkUnanchored | Verdict::Interrupted => Ok(()),
        Verdict::Shredded => Err(CliError::failed(format!("recording `{session}` was erased: nobody can read it"))
            .hint("`doorward audit list --type erase` tells who did it, and why")),
        Verdict::Expired => Err(CliError::failed(format!("recording `{session}` was removed when its time was over"))
            .hint("`doorward audit list --type gc` tells when")),
        verdict @ (Verdict::Missing | Verdict::Tampered) => {
            refused(format!("{verdict}: recording `{session}` is not as the log has it"), &found.findings)
        }
    }
}

/// Says that a sealed recording is there.
pub(super) fn fetched(session: &SessionId, to: &Path) {
    let place = to.display();
    say(format!("wrote the sealed recording of session {session} to {place}"));
    say(format!(
        "hint: `doorward verify bundle {place} --vkey KEY` checks it; `doorward recording replay {session} --store {place} --identity FILE` plays it"
    ));
}

/// Writes a sealed recording with its proofs.
///
/// # Errors
/// If the session does not verify or is not over, or the log does not verify; or it cannot be written.
pub(super) fn write_sealed(store: &Path, session: &SessionId, to: &Path) -> Result<(), CliError> {
    let clock = Clock::system();
    let until = clock.instant() + PUBLISHED_WITHIN;
    let plan = loop {
        match verify::plan(store, session, &Settings { now: Some(clock.now()), ..Settings::default() }) {
            // A server that runs publishes what it has put on record within a second.
            Err(BundleError::NotEnded(_)) if clock.instant() < until => std::thread::sleep(ASKED_AGAIN_AFTER),
            plan => break plan.map_err(|error| bundle_error(&error))?,
        }
    };
    plan.write(store, to).map_err(|error| bundle_error(&error))
}

/// Writes the parts of a bundle.
///
/// # Errors
/// As `export`.
pub fn write_bundle(store: &Path, identities: Vec<Identity>, session: &SessionId, to: &Path) -> Result<(), CliError> {
    write_sealed(store, session, to)?;
    write_opened(identities, session, to)
}

/// Writes what takes an identity beside a sealed recording: its casts, and what they cover.
fn write_opened(identities: Vec<Identity>, session: &SessionId, to: &Path) -> Result<(), CliError> {
    write_casts(to, identities, session)?;
    let root = StoreRoot::at(to);
    let directory = root.session_directory(session).unwrap_or_default();
    let opening: Opening = read_json(&directory.join("opened.json"))?;
    let closed = directory.join("closed.json");
    let closed: Option<Closed> = if closed.exists() { Some(read_json(&closed)?) } else { None };
    let mut casts = Vec::new();
    for entry in std::fs::read_dir(to).map_err(|error| unread(to, &error))? {
        let path = entry.map_err(|error| unread(to, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "cast") {
            casts.push(File::open(&path).map_err(|error| unread(&path, &error))?);
        }
    }
    let coverage = verify::coverage(&opening, closed.as_ref(), casts).map_err(|error| CliError::of(&error))?;
    let path = to.join(verify::COVERAGE);
    crate::durable::create_new(&path, &coverage.to_json(), 0o600).map_err(|error| unwritten(&path, &error))
}

fn write_casts(bundle: &Path, identities: Vec<Identity>, session: &SessionId) -> Result<(), CliError> {
    let archive = Archive { catalog: Catalog::new(StoreRoot::at(bundle)), identities, fetched: None };
    let channels = recorded::channels(&archive, session).map_err(|error| CliError::of(&error))?;
    for one in channels.damage {
        say(format!("warning: {one}"));
    }
    for (number, channel) in channels.opened {
        let path = bundle.join(cast_name(number));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut out = io::BufWriter::new(file.map_err(|error| unwritten(&path, &error))?);
        match export::write(&channel, export::Format::V3, &mut out) {
            Ok(()) => {}
            // The rest is there; `coverage.json` counts what is.
            Err(error @ export::ExportError::Damaged { .. }) => say(format!("warning: channel {number}: {error}")),
            Err(error) => return Err(CliError::of(&error)),
        }
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(|error| unwritten(&path, &error))?;
    }
    Ok(())
}

/// Checks a bundle; with identities also whether the casts are what the segments hold.
pub fn check_bundle(
    directory: &Path,
    settings: &Settings,
    identities: Option<Vec<Identity>>,
) -> (BundleReport, Option<Bundle>) {
    let (mut report, bundle) = verify::verify_bundle(directory, settings);
    // Segments that are not what was recorded need no opening.
    let opened = directory.join(verify::COVERAGE).exists();
    let mut why = "give --identity with an age identity that the session was sealed for";
    if let (Some(identities), Some(bundle), true, true) = (identities, &bundle, report.findings.is_empty(), opened) {
        match compare_casts(directory, identities, bundle, &mut report) {
            Ok(()) => report.casts_compared = true,
            // Who cannot open it knows nothing against it.
            Err(RecordedError::Store(StoreError::Envelope { source: EnvelopeError::NotForYou, .. })) => {
                why = "the session was not sealed for the identity that was given";
            }
            Err(error) => report.found("casts", format!("they cannot be compared: {error}")),
        }
    }
    if report.casts_unchecked() {
        report.notes.push(format!("the casts were not compared with what the segments hold: {why}"));
    }
    (report, bundle)
}

fn compare_casts(
    directory: &Path,
    identities: Vec<Identity>,
    bundle: &Bundle,
    report: &mut BundleReport,
) -> Result<(), RecordedError> {
    let archive = Archive { catalog: Catalog::new(StoreRoot::at(directory)), identities, fetched: None };
    let channels = recorded::channels(&archive, &bundle.session)?.opened;
    let casts = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for name in casts.filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.ends_with(".cast") && !channels.iter().any(|(number, _)| cast_name(*number) == name) {
            report.found(name, "the recording has no such channel");
        }
    }
    for (number, channel) in channels {
        let name = cast_name(number);
        let Ok(file) = File::open(directory.join(&name)) else {
            report.found(name, "it is missing");
            continue;
        };
        let mut comparing = Comparing { file: BufReader::new(file), at: 0, differs: None };
        let written = export::write(&channel, export::Format::V3, &mut comparing);
        if let Err(error) = written
            && !matches!(error, export::ExportError::Damaged { .. })
        {
            report.found(name, format!("it cannot be compared: {error}"));
            continue;
        }
        if let Some(at) = comparing.end() {
            report.found(name, format!("from byte {at} on it is not what the segments hold"));
        }
    }
    Ok(())
}

/// Takes what a file should hold, and remembers where it does not.
struct Comparing<R> {
    file: R,
    at: u64,
    differs: Option<u64>,
}

impl<R: Read> Comparing<R> {
    fn end(mut self) -> Option<u64> {
        let more = self.file.read(&mut [0]).map_or(true, |len| len > 0);
        self.differs.or(more.then_some(self.at))
    }
}

impl<R: Read> Write for Comparing<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut found = vec![0; bytes.len()];
        if self.differs.is_none() && (self.file.read_exact(&mut found).is_err() || found != bytes) {
            let same = found.iter().zip(bytes).take_while(|(one, other)| one == other).count();
            self.differs = Some(self.at.saturating_add(u64::try_from(same).unwrap_or(u64::MAX)));
        }
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bundle_error(error: &BundleError) -> CliError {
    let hint = match error {
        BundleError::Log(_) => Some("`doorward verify` says what is wrong"),
        BundleError::Refused { .. } => Some("`doorward verify --session` with its id says why"),
        BundleError::NotEnded(_) => Some("a session has proofs once it has ended and the log is published: try again"),
        BundleError::NotEmpty(_) => Some("name a directory that does not exist"),
        BundleError::Read(_) | BundleError::Recording { .. } | BundleError::Write { .. } => None,
    };
    CliError::of(error).maybe_hint(hint)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let bytes = std::fs::read(path).map_err(|error| unread(path, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::failed(format!("cannot read `{}`", path.display())).because(&error))
}

fn unread(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("cannot read `{}`", path.display())).because(error)
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("cannot write `{}`", path.display())).because(error)
}
