//! `doorward verify`: needs no server, no lock and no configuration if it is told where the store is.

mod told;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::{Form, Progress, json, say_line, show, show_line};
use super::recording::read_identities;
use super::{CliError, desk, evidence, times};
use crate::clock::Clock;
use crate::model::{SessionId, Timestamp};
use crate::tlog::{Algorithm, NOTE_BYTES_MAX, Note, VerifyingKey};
use crate::verify::{self, Kept, Settings};
use crate::witness::{Client, WitnessAddress, WitnessUrl};
use told::{tell, tell_bundle};

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
        json(&Machine { verdict: report.outcome(), exit: report.exit_code(), report: &report })?;
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
    #[serde(flatten)]
    report: &'a R,
}

fn outcome(code: u8) -> Result<(), CliError> {
    if code == 0 { Ok(()) } else { Err(CliError::verdict(code)) }
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
        json(&Machine { verdict: report.outcome(), exit: report.exit_code(), report: &report })?;
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
