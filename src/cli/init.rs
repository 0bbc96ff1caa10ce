//! `doorward init`: a new bastion. It never overwrites.

use std::path::{Path, PathBuf};

use super::output::say;
use super::{CliError, prompt};
use crate::audit::Audit;
use crate::auditor::{Identity, MalformedAuditorKey, Recipient};
use crate::clock::Clock;
use crate::config::{Config, STARTER_POLICIES, Starter};
use crate::db::{Db, MasterKey};
use crate::durable;
use crate::home::Home;
use crate::screen::counted;
use crate::vault::Vault;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to put configuration, policies and state; made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to put the master key, outside the state [default: DIR/master.key].
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// The address and port to accept SSH on.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:2222")]
    listen: String,
    /// Who can read the recordings: an age recipient, age1..., or a file of them; repeat it for more. Auditors
    /// make their identity on their own machine, with `age-keygen`.
    #[arg(long = "auditor", value_name = "AGE1|FILE")]
    auditors: Vec<String>,
    /// Make an auditor's identity here, to try things out: whoever takes this machine over can then read everything.
    #[arg(long, value_name = "FILE")]
    make_auditor: Option<PathBuf>,
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| CliError::failed("cannot tell where we are").because(&error))
    };
    let dir = absolute(&arguments.dir)?;
    let file = absolute(file.unwrap_or(&dir.join("doorward.toml")))?;
    let mut auditors = Vec::new();
    for given in &arguments.auditors {
        auditors.extend(recipients("--auditor", given)?);
    }
    let made = match &arguments.make_auditor {
        Some(file) => Some((absolute(file)?, Identity::generate())),
        None => None,
    };
    auditors.extend(made.iter().map(|(_, identity)| identity.recipient()));
    let text = starter(&dir, &file, arguments, &auditors, made.as_ref().map(|(file, _)| file.as_path()))?;
    // The text is checked as any configuration is, so that nothing is made which `serve` would refuse.
    let config = Config::parse(&file, &text)
        .map_err(|faults| CliError::of_faults("these places cannot be used, nothing was made", &faults))?;
    let places = [&config.file, &config.master_key, &config.data, &config.policies];
    for place in places.into_iter().chain(config.recording.insecure_identity.as_ref()) {
        if place.symlink_metadata().is_ok() {
            return Err(CliError::failed(format!("`{}` exists already, nothing was made", place.display()))
                .hint("`doorward init` never overwrites: give another --dir, or move what is there away"));
        }
    }
    let log_key = make(&config, &text, made.as_ref().map(|(_, identity)| identity))?;
    tell(&config, &log_key);
    Ok(())
}

/// The recipients that an option's value gives or names a file of.
pub(super) fn recipients(option: &str, given: &str) -> Result<Vec<Recipient>, CliError> {
    let wrong = |error: MalformedAuditorKey| {
        CliError::usage(format!("{option} takes an age recipient, or a file with one on each line"))
            .because(&error)
            .hint("`age-keygen -o FILE`, on the machine of who is to read it, prints it: age1...")
    };
    if !Path::new(given).is_file() {
        return Ok(vec![Recipient::parse(given).map_err(wrong)?]);
    }
    let text = prompt::from_file(Path::new(given))?;
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Recipient::parse(line).map_err(wrong)).collect()
}

/// The configuration's text. Paths beside the file are relative, so that the whole directory can be moved.
fn starter(
    dir: &Path,
    file: &Path,
    arguments: &Arguments,
    auditors: &[Recipient],
    made: Option<&Path>,
) -> Result<String, CliError> {
    let beside = file.parent() == Some(dir);
    let place = |name: &str| if beside { name.to_owned() } else { dir.join(name).display().to_string() };
    let key = match &arguments.master_key {
        Some(key) => std::path::absolute(key)
            .map_err(|error| CliError::failed("cannot tell where we are").because(&error))?
            .display()
            .to_string(),
        None => place("master.key"),
    };
    let (data, policies) = (place("data"), place("policies"));
    let auditors: Vec<String> = auditors.iter().map(Recipient::to_string).collect();
    let made = made.map(|made| made.display().to_string());
    let starter = Starter {
        listen: &arguments.listen,
        data: &data,
        policies: &policies,
        master_key: &key,
        auditors: &auditors,
        insecure_identity: made.as_deref(),
    };
    Ok(Config::starter_text(&starter))
}

/// Makes everything; the configuration last, so that a bastion that has one is whole. Gives the log's public key.
fn make(config: &Config, text: &str, auditor: Option<&Identity>) -> Result<String, CliError> {
    let create = |path: &Path, text: &str, mode| {
        path.parent()
            .map_or(Ok(()), durable::create_directories)
            .and_then(|()| durable::create_new(path, text.as_bytes(), mode))
            .map_err(|error| CliError::failed(format!("cannot write `{}`", path.display())).because(&error))
    };
    let clock = Clock::system();
    for (name, text) in STARTER_POLICIES {
        create(&config.policies.join(name), text, 0o644)?;
    }
    if let (Some(file), Some(auditor)) = (&config.recording.insecure_identity, auditor) {
        create(file, auditor.to_file().expose(), 0o400)?;
    }
    if let Some(parent) = config.master_key.parent() {
        durable::create_directories(parent)
            .map_err(|error| CliError::failed(format!("cannot make `{}`", parent.display())).because(&error))?;
    }
    let master =
        MasterKey::create(&config.master_key).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let home = Home::create(&config.data, clock.now()).map_err(|error| CliError::of_home(&error))?;
    let db =
        Db::create(&home.state(), home.id(), master).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let vault = Vault::open(&db).map_err(|error| CliError::of(&error))?;
    vault.create_bastion_keys().map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let key = vault.log_key(home.id()).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let audit =
        Audit::create(&home.log(), key, &db, clock).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
    let log_key = audit.key().to_string();
    drop(audit);
    create(&config.file, text, 0o644)?;
    Ok(log_key)
}

fn tell(config: &Config, log_key: &str) {
    let (file, data, key) = (config.file.display(), config.data.display(), config.master_key.display());
    say(format!(
        "Made a bastion:
  configuration  {file}
  policies       {policies}
  state          {data}
  master key     {key}

Back up these two, on different media:
  {key}  (the master key)
  {data}/  (state, recordings, audit log: `doorward backup --to DIR --recipient age1...`, which needs no master key)
Whoever has key and `state` has every secret; either alone reveals none.
{auditors}

The log's public key. Verifiers need it; keep it elsewhere, where nobody on this machine can change it:
  {log_key}

Next:
  doorward --config {file} serve                # in the foreground; go on in another terminal
  doorward --config {file} user add alice --group admins --key alice.pub
  doorward --config {file} target add db1 --address 10.0.0.5:22 --label env=prod
  doorward --config {file} target scan db1
  doorward --config {file} secret set root@db1 --private-key root_db1_key
  doorward --config {file} grant add alice root@db1 --for 1h --reason \"CHG-123 vacuum is stuck\"
  doorward --config {file} client-config alice  # what alice puts into her ~/.ssh/config",
        policies = config.policies.display(),
        auditors = told_auditors(config),
    ));
}

fn told_auditors(config: &Config) -> String {
    let recording = &config.recording;
    match (&recording.insecure_identity, recording.auditors.len()) {
        (Some(file), _) => format!(
            "
Recordings are sealed for an identity that was made here:
  {}  (0400; take it to the auditor's machine, and away from here)",
            file.display()
        ),
        (None, 0) => format!(
            "
Nobody can read what is recorded yet, so `serve` refuses to start. Put the auditors' age recipients into
  {}  ([recording] auditors; `age-keygen -o auditor.key`, on the auditor's machine, prints one)",
            config.file.display()
        ),
        (None, auditors) => {
            format!("\nRecordings are sealed for {}; this machine cannot read them.", counted(auditors, "auditor"))
        }
    }
}
