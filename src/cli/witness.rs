//! `doorward witness`: cosigning the checkpoints of other bastions' logs. Needs no bastion of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::output::{Form, Table, listing, say, show};
use super::{CliError, serve, times};
use crate::clock::Clock;
use crate::config::{LogFormat, LogLevel};
use crate::model::Timestamp;
use crate::telemetry;
use crate::tlog::{KeyName, VerifyingKey};
use crate::witness::{self, Keeper, KeeperError, Limits, WatchedLog};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a witness with a new key; prints the line by which others know it.
    Init {
        /// Where to keep its key and what it has seen; made if it is not there.
        dir: PathBuf,
        /// Its name: a domain of yours with a path, such as example.com/witness1.
        #[arg(long, value_parser = parse_name)]
        name: KeyName,
    },
    /// Watch a log: checkpoints signed with its key are cosigned from now on, also by a witness that serves already.
    Add {
        /// The witness's directory.
        dir: PathBuf,
        /// The log's public key: NAME+ID+BASE64.
        #[arg(value_parser = parse_key)]
        vkey: VerifyingKey,
    },
    /// List the logs that are watched, and what was cosigned last of each.
    List {
        /// The witness's directory.
        dir: PathBuf,
        #[command(flatten)]
        form: Form,
    },
    /// Serve in the foreground, until SIGTERM; prints where it listens.
    Serve {
        /// The witness's directory.
        dir: PathBuf,
        /// The address and port to accept HTTP on. It has no TLS: put a proxy before it, or use a private network.
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
    },
}

fn parse_name(text: &str) -> Result<KeyName, String> {
    KeyName::parse(text).map_err(|error| error.to_string())
}

fn parse_key(text: &str) -> Result<VerifyingKey, String> {
    VerifyingKey::parse(text).map_err(|error| error.to_string())
}

pub(super) fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Init { dir, name } => init(&dir, name),
        Command::Add { dir, vkey } => add(&dir, &vkey),
        Command::List { dir, form } => list(&dir, form),
        Command::Serve { dir, listen } => serve_on(&dir, listen),
    }
}

fn init(dir: &Path, name: KeyName) -> Result<(), CliError> {
    let key = witness::init(dir, name).map_err(|error| CliError::of_keeper(&error))?;
    show(key.to_string());
    let dir = dir.display();
    say(format!(
        "The line above is the witness's public key: give it to the logs, as `key` of a [[witness]], and to those who
verify. Whoever reads {dir}/key can sign as this witness.
Next:
  doorward witness add {dir} LOGS-PUBLIC-KEY
  doorward witness serve {dir} --listen 127.0.0.1:8520"
    ));
    Ok(())
}

fn add(dir: &Path, key: &VerifyingKey) -> Result<(), CliError> {
    let new = witness::watch(dir, key).map_err(|error| CliError::of_keeper(&error))?;
    say(format!("{} {}", if new { "watches" } else { "watched already:" }, key.name()));
    Ok(())
}

/// A log as `list --json` shows it.
#[derive(Debug, Serialize)]
struct Row {
    origin: String,
    keys: Vec<String>,
    size: Option<u64>,
    root: Option<String>,
    cosigned: Option<Timestamp>,
}

impl Row {
    fn of(log: WatchedLog) -> Self {
        let (newest, time) = log.newest.unzip();
        Self {
            origin: log.origin.to_string(),
            keys: log.keys.iter().map(ToString::to_string).collect(),
            size: newest.as_ref().map(|newest| newest.size),
            root: newest.map(|newest| newest.root.to_string()),
            cosigned: time
                .map(|seconds| Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))),
        }
    }
}

fn list(dir: &Path, form: Form) -> Result<(), CliError> {
    let logs = witness::list(dir).map_err(|error| CliError::of_keeper(&error))?;
    let rows: Vec<Row> = logs.into_iter().map(Row::of).collect();
    let mut table = Table::new(&["LOG", "KEYS", "SIZE", "ROOT", "COSIGNED"]);
    for row in &rows {
        table.row([
            row.origin.clone(),
            row.keys.len().to_string(),
            row.size.map(|size| size.to_string()).unwrap_or_default(),
            row.root.clone().unwrap_or_default(),
            row.cosigned.map(times::shown).unwrap_or_default(),
        ]);
    }
    listing(form, &rows, &table, "no log is watched: `doorward witness add` takes the public key of one")
}

fn serve_on(dir: &Path, listen: SocketAddr) -> Result<(), CliError> {
    telemetry::init(LogFormat::default(), LogLevel::default())
        .map_err(|_| CliError::failed("cannot start the log: it is started already"))?;
    // The key is in memory from here on.
    serve::harden();
    let keeper = Keeper::open(dir, Clock::system()).map_err(|error| CliError::of_keeper(&error))?;
    let system = |error: std::io::Error| CliError::failed("the system refuses what a server needs").because(&error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(system)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let failed = |error: std::io::Error| {
            CliError::failed(format!("cannot listen on {listen}")).because(&error).hint("give another --listen")
        };
        let socket = TcpListener::bind(listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        info!(address = %address, witness = %keeper.public(), "Listening");
        show(format!("http://{address}"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(witness::serve(socket, Arc::new(keeper), Limits::default(), stop.clone()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        let _ = serving.await;
        info!("Stopped");
        Ok(())
    })
}

impl CliError {
    /// A witness cannot do its work.
    fn of_keeper(error: &KeeperError) -> Self {
        match error {
            KeeperError::Home(error) => Self::of_home(error),
            KeeperError::KeyKind { .. } | KeeperError::TooManyKeys { .. } => {
                Self::usage(error.to_string()).maybe_hint(error.hint())
            }
            KeeperError::Absent { .. }
            | KeeperError::NotEmpty { .. }
            | KeeperError::Key { .. }
            | KeeperError::Damaged { .. }
            | KeeperError::Signature { .. }
            | KeeperError::Crypto
            | KeeperError::Io { .. } => Self::of(error).maybe_hint(error.hint()),
        }
    }
}
