//! `doorward verify`: needs no server, no lock and no configuration if it is told where the store is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::{Form, Progress, Table, json, print, say, say_line, show, show_line, span_shown};
use super::recording::read_identities;
use super::{CliError, desk, evidence, times};
use crate::clock::Clock;
use crate::model::{SessionId, Timestamp};
use crate::screen::counted;
use crate::tlog::{Algorithm, NOTE_BYTES_MAX, Note, VerifyingKey};
use crate::verify::{self, BundleReport, Kept, KeyOrigin, LogVerdict, Report, Settings, Verdict};
use crate::witness::{Client, WitnessAddress, WitnessUrl};

/// Longest key in text form that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// What the exit status means; the first that fits counts.
const STATUSES: &str = "Exit status, the first that fits:\n  \
2  usage: an option, a key or a file given is at fault\n  \
1  nothing was verified: a witness cannot be asked, the program failed\n  \
5  TAMPERED: something was altered, or the log contradicts what was kept\n  \
4  MISSING: the log has a session that is gone, or there is none of that id\n  \
6  not vouched for as was demanded: UNSIGNED, UNANCHORED, UNPINNED, CASTS UNCHECKED\n  \
3  INTERRUPTED: a session is live, or did not end as a session ends\n  \
0  all is well: OK, OK-UNANCHORED, SHREDDED, EXPIRED";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = STATUSES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The state directory, or a copy of it [default: the configuration's].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only this session; the log is checked all the same.
    #[arg(long, value_name = "ID", conflicts_with = "since")]
    session: Option<SessionId>,
    /// Only sessions that began since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
    /// A checkpoint of this log that you kept: the log must go on from it. Repeat it for more.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The address of a witness, to ask it for the newest checkpoint that it has signed; its key is the --witness-key of
    /// the same place. A store that was put back whole cannot be told from the true one otherwise.
    #[arg(long = "witness", value_name = "URL")]
    witnesses: Vec<String>,
    /// The newest cosignature may be so old, such as 1h, else the exit status is 6. A bastion on which nothing happens
    /// asks for none.
    #[arg(long, value_name = "SPAN", value_parser = times::parse_span, requires = "witness_keys")]
    max_age: Option<Duration>,
    #[command(flatten)]
    trust: Trust,
    /// Also open each recording and read every line; takes --identity.
    #[arg(long, requires = "identities")]
    deep: bool,
    /// The file with your age identity, for --deep; repeat it for more.
    #[arg(long = "identity", value_name = "FILE", requires = "deep")]
    identities: Vec<PathBuf>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check an evidence bundle of `recording export --proof`, on any machine.
    #[command(after_help = STATUSES)]
    Bundle {
        /// The bundle.
        directory: PathBuf,
        #[command(flatten)]
        trust: Trust,
        /// The file with your age identity: compares the casts with what is sealed. Repeat it for more.
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
    /// A witness's public key, or a file with it. Repeat it for more.
    #[arg(long = "witness-key", value_name = "KEY|FILE")]
    witness_keys: Vec<String>,
    /// So many of these witnesses must have cosigned the log, else the exit status is 6.
    #[arg(long, value_name = "K", default_value_t = 0)]
    require_witness: usize,
}

impl Trust {
    fn settings(&self) -> Result<Settings, CliError> {
        let witnesses: Vec<VerifyingKey> =
            self.witness_keys.iter().map(|text| witness_key(text)).collect::<Result<_, _>>()?;
        if self.require_witness > witnesses.len() {
            return Err(CliError::usage("--require-witness asks for more witnesses than there are keys")
                .hint("give each witness's key with --witness-key"));
        }
        Ok(Settings {
            key: self.vkey.as_deref().map(log_key).transpose()?,
            witnesses,
            require_witnesses: self.require_witness,
            ..Settings::default()
        })
    }
}

/// The public key of a log, or the one in the file of that name.
///
/// # Errors
/// If it is neither.
pub(super) fn log_key(text: &str) -> Result<VerifyingKey, CliError> {
    let key = key(text)?;
    match key.algorithm() {
        Algorithm::Note => Ok(key),
        Algorithm::Cosignature => Err(CliError::usage(format!("`{}` is the key of a witness", key.name()))
            .hint("give the log's key, as `doorward audit key` prints it; a witness's is for --witness-key")),
    }
}

/// The public key of a witness, or the one in the file of that name.
fn witness_key(text: &str) -> Result<VerifyingKey, CliError> {
    let key = key(text)?;
    match key.algorithm() {
        Algorithm::Cosignature => Ok(key),
        Algorithm::Note => Err(CliError::usage(format!("`{}` is the key of a log", key.name()))
            .hint("give the key that `doorward witness init` printed; a log's is for --vkey")),
    }
}

fn key(text: &str) -> Result<VerifyingKey, CliError> {
    let form = "give a key in the form name+id+base64, as it stands in log/key.pub, or a file with one";
    let no_key = |error: &dyn std::error::Error| {
        CliError::usage(format!("`{text}` is no public key of a log or a witness")).because(error).hint(form)
    };
    let why = match VerifyingKey::parse(text.trim()) {
        Ok(key) => return Ok(key),
        Err(why) => why,
    };
    // A key has this sign, and names of files seldom do: what looks like a key is a key with a typing error.
    if text.contains('+') && !Path::new(text).exists() {
        return Err(no_key(&why));
    }
    let bytes = small_file(Path::new(text), KEY_BYTES_MAX).map_err(|error| error.hint(form))?;
    VerifyingKey::parse(String::from_utf8_lossy(&bytes).trim()).map_err(|error| no_key(&error))
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
        None => {
            desk::load(config).map_err(|error| error.hint("--store DIR names a state directory, without one"))?.data
        }
    };
    check_store(&store)?;
    if let Some(session) = arguments.session.as_ref().filter(|session| session.to_bytes().is_none()) {
        return Err(CliError::usage(format!("`{session}` is no session's id"))
            .hint("an id has 26 digits and letters, as `doorward recording list` shows it"));
    }
    let mut settings = arguments.trust.settings()?;
    settings.session = arguments.session.clone();
    settings.since = arguments.since;
    settings.now = Some(Clock::system().now());
    settings.max_age = arguments.max_age;
    for file in &arguments.from {
        let hint = "give a file with a checkpoint that you kept, as `doorward audit checkpoint` printed it";
        let bytes =
            small_file(file, u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX)).map_err(|error| error.hint(hint))?;
        let note = Note::parse(&bytes).map_err(|error| {
            CliError::usage(format!("`{}` is no checkpoint", file.display())).because(&error).hint(hint)
        })?;
        settings.kept.push(Kept { from: file.display().to_string(), note, witness: None });
    }
    ask_witnesses(&store, &arguments.witnesses, &mut settings)?;
    if arguments.deep {
        settings.identities = Some(read_identities(&arguments.identities)?);
    }
    let mut progress = Progress::new();
    let report = verify::run(&store, &settings, &mut |step| progress.step(step));
    progress.finish();
    if arguments.form.json {
        let (exit, verdict) = (report.exit_code(), report.outcome());
        let (log, believed) = (Some(report.log.verdict()), Some(report.is_log_believed()));
        json(&Machine { verdict, exit, log_verdict: log, log_is_believed: believed, report: &report })?;
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
        None => log_key(&store.join("log/key.pub").display().to_string())?,
    };
    for (url, witness) in urls.iter().zip(&settings.witnesses) {
        let wrong = |why: &str| CliError::usage(format!("`{url}` is no address of a witness")).hint(why.to_owned());
        let address = WitnessUrl::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let address = WitnessAddress::new(address, witness.clone()).map_err(|error| wrong(error.why))?;
        let name = witness.name().as_str();
        if is_open_to_others(url) {
            say_line(format!("warning: {url} is plain HTTP: whoever is on the way can hold back what {name} says"));
        }
        let newest = Client::new().newest(&address, &log).map_err(|error| {
            CliError::failed(format!("the witness {name} cannot be asked, so nothing was verified"))
                .because(&error)
                .maybe_hint(error.hint())
                .hint(
                    "without --witness the rest can be checked, but not whether all of it was put back to an older day",
                )
        })?;
        match newest {
            Some(newest) => {
                let (from, witness) = (format!("witness {name}, asked"), Some(witness.clone()));
                settings.kept.push(Kept { from, note: newest.note, witness });
            }
            None => settings.unknown_to.push(witness.clone()),
        }
    }
    Ok(())
}

/// Whether a URL leads over the network, and nothing protects what goes over it.
fn is_open_to_others(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let here = host.parse::<std::net::IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
    !here
}

/// A directory that cannot be looked at says nothing of what is in it.
fn check_store(store: &Path) -> Result<(), CliError> {
    let unread = |error: &std::io::Error| {
        CliError::usage(format!("cannot read the store `{}`", store.display()))
            .because(error)
            .hint("give the state directory, with rec/, env/ and log/ in it, and run as its owner")
    };
    std::fs::read_dir(store).map_err(|error| unread(&error))?;
    if !["rec", "env", "log"].iter().any(|part| store.join(part).symlink_metadata().is_ok()) {
        return Err(CliError::usage(format!("is `{}` a state directory?", store.display()))
            .hint("it has none of rec/, env/ and log/; `data` in the configuration says where the bastion's is"));
    }
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
    verdict: &'static str,
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_verdict: Option<LogVerdict>,
    /// Whether the log that the sessions were judged by can be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_is_believed: Option<bool>,
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
        show_line(format!("LOG TAMPERED: {finding}"));
    }
    for finding in report.directories.iter() {
        show_line(format!("STORE TAMPERED: {finding}"));
    }
    for finding in report.policies.findings.iter() {
        show(format!("POLICY TAMPERED: {finding}"));
    }
    for finding in report.policies.missing.iter() {
        show(format!("POLICY MISSING: {finding}"));
    }
    for warning in report.log.warnings.iter().chain(report.unexpected.iter()) {
        say_line(format!("warning: {warning}"));
    }
    for (words, more) in [
        ("findings about the log", report.log.findings.more()),
        ("findings about the store", report.directories.more()),
        ("warnings", report.log.warnings.more()),
        ("unexpected files", report.unexpected.more()),
    ] {
        if more > 0 {
            say(format!("warning: and {more} more {words}"));
        }
    }
    show_line(counts(report));
    show_line(log_line(report));
    anchor_lines(report, arguments).iter().for_each(show_line);
    if let Some(opened) = report.opened {
        show(format!("OPENED: {} read in full, {} sealed for others", opened.read, opened.sealed_for_others));
    }
    show(format!("VERDICT: {}", report.outcome()));
    if !report.is_log_believed() {
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
    match (report.sessions.len(), report.is_log_believed()) {
        (0, false) => String::from("SESSIONS: none was judged, for the log cannot be believed"),
        (0, true) => String::from("SESSIONS: none"),
        (number, false) => {
            format!("SESSIONS: {number}, judged by a log that cannot be believed: {}", words.join(", "))
        }
        (number, true) => format!("SESSIONS: {number}: {}", words.join(", ")),
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
    let verdict = match log.verdict() {
        LogVerdict::Ok => "OK",
        LogVerdict::Tampered => "TAMPERED",
        LogVerdict::Unsigned => {
            return format!("LOG: UNSIGNED: no checkpoint, so nothing vouches for any leaf{unsigned}; {key}");
        }
    };
    format!("LOG: {verdict}: {origin}, {}{newest}{unsigned}; {key}", counted(log.size, "leaf"))
}

/// What vouches for the log, and what should and does not.
fn anchor_lines(report: &Report, arguments: &Arguments) -> Vec<String> {
    let anchor = &report.anchor;
    let given = arguments.from.len().saturating_add(arguments.witnesses.len());
    let mut lines: Vec<String> =
        anchor.contradicted.iter().map(|(from, why)| format!("ANCHOR: contradicted by {from}: {why}")).collect();
    if !anchor.kept.is_empty() || !anchor.witnesses.is_empty() {
        let mut words: Vec<String> =
            anchor.kept.iter().map(|(from, size)| format!("{} by {from}", counted(*size, "leaf"))).collect();
        words.extend(anchor.witnesses.iter().map(|(name, at)| format!("witness {name} at {}", signed_at(*at))));
        lines.push(format!("ANCHOR: {}; {} beyond the anchor", words.join(", "), counted(anchor.beyond, "leaf")));
    } else if !report.is_log_believed() && lines.is_empty() && given > 0 {
        lines.push(String::from("ANCHOR: not compared: the log is not what its own checkpoint signs"));
    } else if lines.is_empty() && arguments.trust.witness_keys.is_empty() {
        lines.push(format!(
            "ANCHOR: none, {} beyond it: that nobody made log and recordings anew, with the log's key, cannot be \
             told from them alone (give --from with a checkpoint that you kept, or --witness-key)",
            counted(anchor.beyond, "leaf")
        ));
    } else if lines.is_empty() {
        lines.push(format!(
            "ANCHOR: none, {} beyond it: no witness whose key was given has cosigned the newest checkpoint",
            counted(anchor.beyond, "leaf")
        ));
    }
    lines.extend(anchor.lacking.iter().map(|words| format!("UNANCHORED: {words}")));
    if report.required_witnesses > 0 {
        let required = report.required_witnesses;
        let beyond = report.sessions.iter().filter(|session| !session.anchored).count();
        if anchor.cosigned == 0 {
            lines.push(format!("UNANCHORED: {required} witnesses are required, and so many have not cosigned"));
        } else if beyond > 0 {
            lines.push(format!(
                "UNANCHORED: {beyond} sessions rest on leaves beyond the {} that {required} witnesses cosigned",
                anchor.cosigned
            ));
        }
    }
    lines
}

/// A time in seconds since 1970, and how long ago that is.
fn signed_at(seconds: u64) -> String {
    let at = Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    let ago = span_shown(at.until(Clock::system().now()));
    format!("{} ({ago} ago)", times::shown(at))
}

fn bundle(directory: &Path, trust: &Trust, identities: &[PathBuf], form: Form) -> Result<(), CliError> {
    std::fs::read_dir(directory).map_err(|error| {
        CliError::usage(format!("cannot read the bundle `{}`", directory.display())).because(&error)
    })?;
    if !["rec", "proofs", "checkpoint"].iter().any(|part| directory.join(part).symlink_metadata().is_ok()) {
        return Err(CliError::usage(format!("is `{}` a bundle?", directory.display()))
            .hint("give the directory that `doorward recording export --proof` or `recording get` wrote"));
    }
    let settings = trust.settings()?;
    let identities = if identities.is_empty() { None } else { Some(read_identities(identities)?) };
    let (report, bundle) = evidence::check_bundle(directory, &settings, identities);
    if form.json {
        let (exit, verdict) = (report.exit_code(), report.outcome());
        json(&Machine { verdict, exit, log_verdict: None, log_is_believed: None, report: &report })?;
        return outcome(report.exit_code());
    }
    if let Some(bundle) = &bundle {
        let opening = &bundle.opening;
        let started = times::shown(opening.started);
        show(format!("session {}: {} as {}, begun {started}", bundle.session, opening.user, opening.destination));
        show(format!("rule {}, policy set {}", opening.rule, opening.policy));
    }
    for finding in report.findings.iter() {
        show_line(format!("TAMPERED: {finding}"));
    }
    for note in &report.notes {
        say_line(format!("note: {note}"));
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
    show_line(format!("LOG: {origin}, {}; {key}", counted(report.size, "leaf")));
    let witnesses: Vec<String> =
        report.witnesses.iter().map(|(name, at)| format!("witness {name} at {}", signed_at(*at))).collect();
    let anchor = if witnesses.is_empty() { String::from("none") } else { witnesses.join(", ") };
    show_line(format!("ANCHOR: {anchor}"));
    if report.witnesses.len() < report.required_witnesses {
        let required = report.required_witnesses;
        show(format!("UNANCHORED: {required} witnesses are required, and so many have not cosigned"));
    }
    show(match (report.casts, report.casts_compared) {
        (false, _) => "CASTS: none",
        (true, true) => "CASTS: they are what the segments hold",
        (true, false) => "CASTS UNCHECKED: they may show anything; give --identity",
    });
    show(format!("VERDICT: {}", report.outcome()));
}
