//! `doorward state`: the state as one sealed file, and a state made from one.

use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::desk::{Desk, load, unexpected};
use super::output::{Form, Progress, json, say};
use super::recording::read_identities;
use super::{CliError, init, times, verify};
use crate::admin::api::{Reply, Request};
use crate::auditor::Recipient;
use crate::backup::{self, BackupError, Import, Imported, Mode, SealedState, Seen};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{MasterKey, MasterKeyError};
use crate::durable;
use crate::screen::counted;
use crate::tlog::{Checkpoint, VerifyingKey};
use crate::witness::{Client, WitnessAddress};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Seal the whole state for others, every secret in it; for root and the server's user only. The log has the
    /// file's hash, and `state import` takes none that it has not.
    Export {
        #[command(flatten)]
        recipients: Recipients,
        /// Where to write it; an age file. Never over another.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        form: Form,
    },
    /// Make the state of a state directory that has none from an export. The bastion's log must lie there already.
    Import {
        /// The file of `state export`, or `state.age` of a backup.
        export: PathBuf,
        /// The file with the age identity that opens it; repeat it for more.
        #[arg(long = "identity", value_name = "FILE", required = true)]
        identities: Vec<PathBuf>,
        /// The log's public key that you kept, or a file with it: the export must be of that bastion.
        #[arg(long, value_name = "KEY|FILE")]
        vkey: Option<String>,
        /// Take it though the log tells of later changes, which are lost: rights that were taken back are there again.
        #[arg(long, conflicts_with = "new_log")]
        older: bool,
        /// Begin a new log, and with it a new bastion, where the old log is lost or others have signed more of it than
        /// you have. Nothing vouches for the export then.
        #[arg(long, conflicts_with = "vkey")]
        new_log: bool,
        /// Take it though a witness says that it has signed nothing of the log. Then nothing but you says that there was
        /// no more of it.
        #[arg(long, conflicts_with = "new_log")]
        never_witnessed: bool,
        #[command(flatten)]
        form: Form,
    },
}

/// For whom the state is sealed.
#[derive(Debug, clap::Args)]
pub(super) struct Recipients {
    /// Who can open the state: an age recipient, age1..., or a file of them; repeat it for more. Whoever opens it
    /// has every secret.
    #[arg(long = "recipient", value_name = "AGE1|FILE", required = true)]
    given: Vec<String>,
}

/// What was given with `--recipient`.
pub(super) fn recipients(given: &[String]) -> Result<Vec<Recipient>, CliError> {
    let read: Vec<Vec<Recipient>> =
        given.iter().map(|given| init::recipients("--recipient", given)).collect::<Result<_, _>>()?;
    Ok(read.concat())
}

pub(super) fn run(file: Option<&Path>, command: &Command) -> Result<(), CliError> {
    match command {
        Command::Export { recipients, out, form } => export(&Desk::open(file)?, recipients, out, *form),
        Command::Import { export, identities, vkey, older, new_log, never_witnessed, form } => {
            let mode = match (older, new_log) {
                (_, true) => Mode::NewLog,
                (true, false) => Mode::ContinueFromOlder,
                (false, false) => Mode::Continue,
            };
            let silence = if *never_witnessed { Silence::Taken } else { Silence::Refused };
            import(&load(file)?, export, identities, vkey.as_deref(), (mode, silence), *form)
        }
    }
}

/// An export, as the server or this process made it.
pub(super) struct Exported {
    pub(super) state: SealedState,
    /// How many leaves the log had then.
    pub(super) leaves: u64,
    /// The log's journal at that size.
    pub(super) journal: Vec<u8>,
    pub(super) log_key: VerifyingKey,
}

/// Has the state sealed.
pub(super) fn ask(desk: &Desk, recipients: Vec<Recipient>) -> Result<Exported, CliError> {
    let Reply::State { store, file, hash, entries, leaves, journal, log_key } =
        desk.ask(Request::StateExport { recipients })?
    else {
        return Err(unexpected());
    };
    let bytes = STANDARD.decode(file).map_err(|_| unexpected())?;
    let journal = STANDARD.decode(journal).map_err(|_| unexpected())?;
    let log_key = VerifyingKey::parse(&log_key).map_err(|_| unexpected())?;
    Ok(Exported { state: SealedState { store, bytes, hash, entries }, leaves, journal, log_key })
}

#[derive(Serialize)]
struct ExportRow<'a> {
    file: &'a Path,
    hash: &'a str,
    entries: u64,
    bytes: usize,
}

fn export(desk: &Desk, recipients: &Recipients, out: &Path, form: Form) -> Result<(), CliError> {
    let exists = || CliError::failed(format!("`{}` exists already, nothing was exported", out.display()));
    if out.symlink_metadata().is_ok() {
        return Err(exists().hint("an export is never overwritten: give another --out"));
    }
    let Exported { state, .. } = ask(desk, self::recipients(&recipients.given)?)?;
    durable::create_new(out, &state.bytes, 0o600)
        .map_err(|error| CliError::failed(format!("cannot write `{}`", out.display())).because(&error))?;
    let row = ExportRow { file: out, hash: &state.hash, entries: state.entries, bytes: state.bytes.len() };
    if form.json {
        return json(&row);
    }
    say(format!("exported {} to {}", counted(row.entries, "entry"), out.display()));
    say(
        "hint: it is good together with the log only: keep a copy of `log/` that is not older, as `doorward backup` does",
    );
    Ok(())
}

fn import(
    config: &Config,
    export: &Path,
    identities: &[PathBuf],
    vkey: Option<&str>,
    (mode, silence): (Mode, Silence),
    form: Form,
) -> Result<(), CliError> {
    let identities = read_identities(identities)?;
    let key = vkey.map(verify::log_key).transpose()?;
    let file = File::open(export)
        .map_err(|error| CliError::usage(format!("cannot read `{}`", export.display())).because(&error))?;
    let master = master_key(config)?;
    let witnesses = |log: &VerifyingKey| seen(&config.witnesses, log, silence);
    let by = format!("uid {}", rustix::process::getuid().as_raw());
    let data = config.data.as_path();
    let (clock, identities) = (Clock::system(), identities.as_slice());
    let mut bar = Progress::new();
    let progress = &mut |step| bar.step(step);
    let wanted = Import { data, master, identities, mode, key, witnesses: &witnesses, progress, by, clock };
    let imported = backup::import(file, wanted);
    bar.finish();
    let imported = imported.map_err(|error| {
        if let BackupError::Home(home) = &error {
            return CliError::of_home(home);
        }
        CliError::of(&error).maybe_hint(error.hint())
    })?;
    if form.json {
        return json(&imported);
    }
    tell(config, &imported, mode);
    Ok(())
}

/// The key to seal the state with: the one of the configuration, made if there is none.
fn master_key(config: &Config) -> Result<MasterKey, CliError> {
    let of = |error: &MasterKeyError| CliError::of(error).maybe_hint(error.hint());
    if config.master_key.symlink_metadata().is_ok() {
        return MasterKey::load(&config.master_key).map_err(|error| of(&error));
    }
    if let Some(parent) = config.master_key.parent() {
        durable::create_directories(parent)
            .map_err(|error| CliError::failed(format!("cannot make `{}`", parent.display())).because(&error))?;
    }
    let made = MasterKey::create(&config.master_key).map_err(|error| of(&error))?;
    say(format!("made a master key: {}", config.master_key.display()));
    Ok(made)
}

/// What it means that a witness says that it has signed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Whoever answers may be another, or have lost what it knew.
    Refused,
    /// The operator says that it is so.
    Taken,
}

/// What the witnesses have signed of this log.
fn seen(witnesses: &[WitnessAddress], log: &VerifyingKey, silence: Silence) -> Result<Vec<Seen>, BackupError> {
    let mut all = Vec::new();
    for address in witnesses {
        let witness = address.key().name().to_string();
        let failed = |why: String| BackupError::NotAsked { witness: witness.clone(), why };
        let newest = Client::new().newest(address, log).map_err(|error| failed(error.to_string()))?;
        let Some(newest) = newest else {
            match silence {
                Silence::Refused => return Err(BackupError::Unseen { witness }),
                Silence::Taken => continue,
            }
        };
        let checkpoint =
            Checkpoint::parse(newest.note.unchecked_text()).map_err(|error| failed(error.why.to_owned()))?;
        all.push(Seen { witness, checkpoint });
    }
    Ok(all)
}

fn tell(config: &Config, imported: &Imported, mode: Mode) {
    let Imported { exported, entries, leaves, lost_changes, unreadable, destroyed, held, log_key, .. } = imported;
    say(format!(
        "imported {} of {}; the log has {}",
        counted(*entries, "entry"),
        times::shown_to_the_second(*exported),
        counted(*leaves, "leaf")
    ));
    if *lost_changes > 0 {
        say(format!(
            "warning: lost is what the log tells later: {}; look at `doorward audit list`",
            counted(*lost_changes, "change")
        ));
    }
    if *unreadable > 0 {
        let leaves = counted(*unreadable, "later leaf");
        say(format!("warning: nobody can read the names and reasons of {leaves}: `<key lost>`"));
    }
    if *destroyed > 0 {
        let recordings = counted(*destroyed, "recording");
        say(format!("of {recordings} something was there that the log says is destroyed; it is gone now"));
    }
    if *held > 0 {
        let recordings = counted(*held, "recording");
        say(format!("of {recordings} it stays, being on hold; `recording hold --release` lets it go"));
    }
    if mode == Mode::NewLog {
        say(format!("The log is a new one. Verifiers and witnesses need its public key:\n  {log_key}"));
    }
    let (file, key) = (config.file.display(), config.master_key.display());
    say(format!(
        "Back up the master key {key} elsewhere. Next:\n  doorward --config {file} verify\n  doorward --config {file} serve"
    ));
    if mode != Mode::NewLog {
        say(
            "hint: if a checkpoint of this log is kept elsewhere, give it to `verify --from`: only that shows whether this \
             is the newest backup",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::secret::Secret;
    use crate::tlog::{Algorithm, KeyName, SigningKey};
    use crate::witness::WitnessUrl;

    #[test]
    fn a_witness_that_says_that_it_has_signed_nothing_forbids_an_import_unless_the_operator_says_so_too() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = WitnessUrl::parse(&format!("http://{}", server.local_addr().unwrap())).unwrap();
        // What any web server says of what it does not know.
        let answering = std::thread::spawn(move || {
            for _ in 0..2 {
                let mut stream = server.accept().unwrap().0;
                let mut asked = [0; 4096];
                assert!(stream.read(&mut asked).unwrap() > 0);
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            }
        });
        let key = |name: &str, algorithm| {
            let key = SigningKey::from_seed(KeyName::parse(name).unwrap(), algorithm, Secret::new([7; 32])).unwrap();
            key.public().clone()
        };
        let witness = WitnessAddress::new(url, key("example.org/w", Algorithm::Cosignature)).unwrap();
        let log = key("example.org/bastion", Algorithm::Note);
        let refused = seen(std::slice::from_ref(&witness), &log, Silence::Refused).unwrap_err();
        assert!(matches!(&refused, BackupError::Unseen { witness } if witness == "example.org/w"), "{refused:?}");
        assert!(refused.hint().unwrap().contains("--never-witnessed"));
        assert!(seen(&[witness], &log, Silence::Taken).unwrap().is_empty());
        answering.join().unwrap();
    }
}
