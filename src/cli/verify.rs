//! `doorward verify`: needs no server, no lock and no configuration if it is told where the store is.

use std::path::{Path, PathBuf};

use super::output::{Form, Progress, Table, json, print, say, show};
use super::recording::read_identities;
use super::{CliError, desk, evidence, times};
use crate::clock::Clock;
use crate::model::{SessionId, Timestamp};
use crate::tlog::{NOTE_BYTES_MAX, Note, VerifyingKey};
use crate::verify::{self, BundleReport, Kept, KeyOrigin, Report, Settings, Step, Verdict};
use crate::witness::{Client, WitnessAddress, WitnessUrl};

/// Longest key in text form that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The state directory, or a copy of it [default: the configuration's].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only this session; the log is checked all the same.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Only sessions that began since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
    /// A checkpoint of this log that you kept: the log must go on from it. May stand several times.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The address of a witness, to ask it for the newest checkpoint that it has signed; its key is the --witness-key of
    /// the same place. A store that was put back whole cannot be told from the true one otherwise.
    #[arg(long = "witness", value_name = "URL")]
    witnesses: Vec<String>,
    #[command(flatten)]
    trust: Trust,
    /// Also open each recording and read every line; takes --identity.
    #[arg(long, requires = "identities")]
    deep: bool,
    /// The file with your age identity, for --deep; may stand several times.
    #[arg(long = "identity", value_name = "FILE", requires = "deep")]
    identities: Vec<PathBuf>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check an evidence bundle of `recording export --proof`, on any machine.
    Bundle {
        /// The bundle.
        directory: PathBuf,
        #[command(flatten)]
        trust: Trust,
        /// The file with your age identity: compares the casts with what is sealed. May stand several times.
        #[arg(long = "identity", value_name = "FILE")]
        identities: Vec<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
}

/// By what the log is believed.
#[derive(Debug, clap::Args)]
struct Trust {
    /// The log's public key, or a file with it; without it the one that lies with the log, which proves less.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// A witness's public key, or a file with it. May stand several times.
    #[arg(long = "witness-key", value_name = "KEY|FILE")]
    witness_keys: Vec<String>,
    /// So many of these witnesses must have cosigned the log, else the exit status is 6.
    #[arg(long, value_name = "K", default_value_t = 0)]
    require_witness: usize,
}

impl Trust {
    fn settings(&self) -> Result<Settings, CliError> {
        let witnesses: Vec<VerifyingKey> = self.witness_keys.iter().map(|text| key(text)).collect::<Result<_, _>>()?;
        if self.require_witness > witnesses.len() {
            return Err(CliError::usage("--require-witness asks for more witnesses than there are keys")
                .hint("give each witness's key with --witness-key"));
        }
        Ok(Settings {
            key: self.vkey.as_deref().map(key).transpose()?,
            witnesses,
            require_witnesses: self.require_witness,
            ..Settings::default()
        })
    }
}

/// A public key, or the one in the file of that name.
pub(super) fn key(text: &str) -> Result<VerifyingKey, CliError> {
    if let Ok(key) = VerifyingKey::parse(text.trim()) {
        return Ok(key);
    }
    let bytes = small_file(Path::new(text), KEY_BYTES_MAX).map_err(|error| {
        error.hint("give a key in the form name+id+base64, as it stands in log/key.pub, or a file with one")
    })?;
    let line = String::from_utf8_lossy(&bytes);
    VerifyingKey::parse(line.trim())
        .map_err(|error| CliError::usage(format!("`{text}` is no public key of a log or a witness")).because(&error))
}

fn small_file(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
    let failed = || CliError::usage(format!("cannot read `{}`", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed().because(&error))?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, most), &mut bytes)
        .map_err(|error| failed().because(&error))?;
    Ok(bytes)
}

pub(super) fn run(config: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    if let Some(Command::Bundle { directory, trust, identities, form }) = &arguments.command {
        return bundle(directory, trust, identities, *form);
    }
    let store = match &arguments.store {
        Some(store) => store.clone(),
        None => desk::load(config)?.data,
    };
    check_store(&store)?;
    let mut settings = arguments.trust.settings()?;
    settings.session = arguments.session.clone();
    settings.since = arguments.since;
    settings.now = Some(Clock::system().now());
    for file in &arguments.from {
        let bytes = small_file(file, u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX))?;
        let note = Note::parse(&bytes)
            .map_err(|error| CliError::usage(format!("`{}` is no checkpoint", file.display())).because(&error))?;
        settings.kept.push(Kept { from: file.display().to_string(), note });
    }
    ask_witnesses(&store, &arguments.witnesses, &mut settings)?;
    if arguments.deep {
        settings.identities = Some(read_identities(&arguments.identities)?);
    }
    let mut progress = Progress::new();
    let report = verify::run(&store, &settings, &mut |step| match step {
        Step::Leaves { done, total } => progress.at("leaves", done, total),
        Step::Sessions { done, total } => progress.at("sessions", done, total),
    });
    progress.finish();
    if arguments.form.json {
        json(&Machine { exit: report.exit_code(), report: &report })?;
    } else {
        tell(&report, arguments)?;
    }
    outcome(report.exit_code())
}

/// Asks each witness for the newest checkpoint of this log that it has signed, and adds it to those that were kept.
///
/// One that does not answer may be kept from answering: a verification that was to hear it has failed then.
fn ask_witnesses(store: &Path, urls: &[String], settings: &mut Settings) -> Result<(), CliError> {
    if urls.len() > settings.witnesses.len() {
        return Err(CliError::usage("a --witness has no --witness-key")
            .hint("`doorward witness init` printed it; give one for each --witness, in their order"));
    }
    if urls.is_empty() {
        return Ok(());
    }
    let log = match &settings.key {
        Some(key) => key.clone(),
        None => key(&store.join("log/key.pub").display().to_string())?,
    };
    for (url, witness) in urls.iter().zip(&settings.witnesses) {
        let wrong = |why: &str| CliError::usage(format!("`{url}` is no address of a witness")).hint(why.to_owned());
        let address = WitnessUrl::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let address = WitnessAddress::new(address, witness.clone()).map_err(|error| wrong(error.why))?;
        let name = witness.name().as_str();
        let newest = Client::new().newest(&address, &log).map_err(|error| {
            CliError::failed(format!("the witness {name} cannot be asked")).because(&error).maybe_hint(error.hint())
        })?;
        match newest {
            Some(newest) => settings.kept.push(Kept { from: format!("witness {name}, asked"), note: newest.note }),
            None => say(format!("warning: the witness {name} has never seen this log")),
        }
    }
    Ok(())
}

/// A directory that cannot be looked at says nothing of what is in it.
fn check_store(store: &Path) -> Result<(), CliError> {
    let unread = |error: &std::io::Error| {
        CliError::usage(format!("cannot read the store `{}`", store.display()))
            .because(error)
            .hint("give the state directory, with rec/, env/ and log/ in it, and run as its owner")
    };
    std::fs::read_dir(store).map_err(|error| unread(&error))?;
    for part in ["rec", "env", "log"] {
        match std::fs::read_dir(store.join(part)) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(unread(&error)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

#[derive(serde::Serialize)]
struct Machine<'a, R: serde::Serialize> {
    exit: u8,
    #[serde(flatten)]
    report: &'a R,
}

fn outcome(code: u8) -> Result<(), CliError> {
    if code == 0 { Ok(()) } else { Err(CliError::verdict(code)) }
}

fn tell(report: &Report, arguments: &Arguments) -> Result<(), CliError> {
    let shown = |verdict: Verdict| !matches!(verdict, Verdict::Ok | Verdict::OkUnanchored);
    let mut table = Table::new(&["SESSION", "VERDICT", "WHERE", "WHAT"]);
    let mut rows = 0;
    for session in &report.sessions {
        let named = arguments.session.is_some();
        if !shown(session.verdict) && session.notes.is_empty() && !named {
            continue;
        }
        rows += 1;
        let id = session.session.to_string();
        let verdict = session.verdict.to_string();
        let mut lines = session.findings.iter().map(|one| (place(one), one.why.clone())).collect::<Vec<_>>();
        lines.extend(session.notes.iter().map(|note| (String::new(), note.clone())));
        if lines.is_empty() {
            lines.push((String::new(), String::new()));
        }
        if session.findings.more() > 0 {
            lines.push((String::new(), format!("and {} more", session.findings.more())));
        }
        for (at, why) in lines {
            table.row([id.clone(), verdict.clone(), at, why]);
        }
    }
    if rows > 0 {
        print(&table.text())?;
    }
    for finding in report.log.findings.iter() {
        show(format!("LOG TAMPERED: {finding}"));
    }
    for warning in report.log.warnings.iter().chain(report.unexpected.iter()) {
        say(format!("warning: {warning}"));
    }
    for (words, more) in [("warnings", report.log.warnings.more()), ("unexpected files", report.unexpected.more())] {
        if more > 0 {
            say(format!("warning: and {more} more {words}"));
        }
    }
    show(counts(report));
    show(log_line(report));
    show(anchor_line(report));
    if let Some(opened) = report.opened {
        show(format!("OPENED: {} read in full, {} sealed for others", opened.read, opened.sealed_for_others));
    }
    if !report.log.findings.is_empty() {
        say("hint: keep log and recordings as evidence; restore the newest copy elsewhere and compare");
    }
    Ok(())
}

fn place(finding: &verify::Finding) -> String {
    match finding.offset {
        Some(offset) => format!("{} at byte {offset}", finding.place),
        None => finding.place.clone(),
    }
}

fn counts(report: &Report) -> String {
    let all = [
        Verdict::Ok,
        Verdict::OkUnanchored,
        Verdict::Interrupted,
        Verdict::Shredded,
        Verdict::Expired,
        Verdict::Missing,
        Verdict::Tampered,
    ];
    let counted = all.into_iter().map(|verdict| (verdict, report.count(verdict))).filter(|(_, count)| *count > 0);
    let words: Vec<String> = counted.map(|(verdict, count)| format!("{count} {verdict}")).collect();
    match (report.sessions.len(), report.log.findings.is_empty()) {
        (0, false) => String::from("SESSIONS: none was judged, for the log cannot be believed"),
        (0, true) => String::from("SESSIONS: none"),
        (number, _) => format!("SESSIONS: {number}: {}", words.join(", ")),
    }
}

fn log_line(report: &Report) -> String {
    let log = &report.log;
    let key = match log.key_from {
        KeyOrigin::Pinned => "key: pinned",
        KeyOrigin::Store => "key: from the store itself, not pinned",
    };
    let origin = log.origin.as_deref().unwrap_or("unknown");
    let newest = log.newest.map_or_else(String::new, |at| format!(", the newest of {}", times::shown(at)));
    let unsigned = if log.unsigned > 0 { format!(", {} more not signed yet", log.unsigned) } else { String::new() };
    let verdict = if log.findings.is_empty() { "OK" } else { "TAMPERED" };
    format!("LOG: {verdict}: {origin}, {} leaves{newest}{unsigned}; {key}", log.size)
}

fn anchor_line(report: &Report) -> String {
    let anchor = &report.anchor;
    if anchor.kept.is_empty() && anchor.witnesses.is_empty() {
        return String::from(
            "ANCHOR: none: that nobody made log and recordings anew, with the log's key, cannot be told from them alone \
             (give --from with a checkpoint that you kept, or --witness-key)",
        );
    }
    let mut words: Vec<String> = anchor.kept.iter().map(|(from, size)| format!("{size} leaves by {from}")).collect();
    words.extend(anchor.witnesses.iter().map(|(name, seconds)| {
        let at = i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        format!("witness {name} at {}", times::shown(Timestamp::from_millis(at)))
    }));
    let lacking = if report.is_anchored_as_required() {
        String::new()
    } else {
        format!("; UNANCHORED: {} witnesses are required", report.required_witnesses)
    };
    format!("ANCHOR: {}{lacking}", words.join(", "))
}

fn bundle(directory: &Path, trust: &Trust, identities: &[PathBuf], form: Form) -> Result<(), CliError> {
    std::fs::read_dir(directory).map_err(|error| {
        CliError::usage(format!("cannot read the bundle `{}`", directory.display())).because(&error)
    })?;
    let settings = trust.settings()?;
    let identities = if identities.is_empty() { None } else { Some(read_identities(identities)?) };
    let (report, bundle) = evidence::check_bundle(directory, &settings, identities);
    if form.json {
        json(&Machine { exit: report.exit_code(), report: &report })?;
        return outcome(report.exit_code());
    }
    if let Some(bundle) = &bundle {
        let opening = &bundle.opening;
        let started = times::shown(opening.started);
        show(format!("session {}: {} as {}, begun {started}", bundle.session, opening.user, opening.destination));
        show(format!("rule {}, policy set {}", opening.rule, opening.policy));
    }
    for finding in report.findings.iter() {
        show(format!("TAMPERED: {finding}"));
    }
    for note in &report.notes {
        say(format!("note: {note}"));
    }
    tell_bundle(&report);
    outcome(report.exit_code())
}

fn tell_bundle(report: &BundleReport) {
    let origin = report.origin.as_deref().unwrap_or("unknown");
    let key = match report.key_from {
        KeyOrigin::Pinned => "key: pinned",
        KeyOrigin::Store => "UNPINNED: the key is from the bundle itself, which proves nothing; give --vkey",
    };
    show(format!("LOG: {origin}, {} leaves; {key}", report.size));
    let witnesses: Vec<&str> = report.witnesses.iter().map(|(name, _)| name.as_str()).collect();
    let anchor = if witnesses.is_empty() { String::from("none") } else { witnesses.join(", ") };
    show(format!("ANCHOR: {anchor}"));
    show(format!("VERDICT: {}", report.verdict));
}
