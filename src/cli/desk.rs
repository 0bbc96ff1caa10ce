//! Where an operator's requests go: to the server's socket, or, if nobody answers there, to the same
//! administration in this process, under the state's lock.

use std::cell::OnceCell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::CliError;
use super::output::say;
use crate::admin::api::{Reply, Request};
use crate::admin::{Admin, Caller, Via, socket};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, load_policy};
use crate::db::{Db, MasterKey};
use crate::home::{Home, HomeError};
use crate::ledger::Ledger;
use crate::locks::Locks;
use crate::notify::ticket_check;
use crate::policy::PolicySet;
use crate::requests::Requests;
use crate::session::Sessions;
use crate::store::{Catalog, StoreRoot};
use crate::vault::Vault;

/// Where the configuration is looked for. Not in the working directory: somebody else's file there would name
/// somebody else's socket, and a secret would go to it.
const PLACE: &str = "/etc/doorward/doorward.toml";
/// A server that starts, or another command, holds the lock before it answers.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// A scan or a listing of a large store takes its time; a server that hangs does not keep an operator for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Loads the configuration: `file`, or the one in the usual place.
pub(super) fn load(file: Option<&Path>) -> Result<Config, CliError> {
    let found = place(file)?;
    Config::load(&found).map_err(|faults| CliError::of_faults("the configuration is not usable", &faults))
}

/// The configuration file: `file`, or the one in the usual place.
pub(super) fn place(file: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(file) = file {
        return Ok(file.to_owned());
    }
    let usual = PathBuf::from(PLACE);
    if usual.exists() {
        return Ok(usual);
    }
    Err(CliError::usage(format!("there is no configuration `{PLACE}`"))
        .hint("give --config FILE, or make a bastion with `doorward init --dir DIR`"))
}

/// Takes an operator's requests.
pub(super) struct Desk {
    config: Config,
    direct: OnceCell<Direct>,
}

/// The administration in this process.
struct Direct {
    admin: Admin,
    /// Holds the state's lock while the administration is in use.
    _home: Home,
}

impl Desk {
    pub(super) fn open(file: Option<&Path>) -> Result<Self, CliError> {
        Ok(Self { config: load(file)?, direct: OnceCell::new() })
    }

    /// The state directory, to be read by this process itself.
    pub(super) fn store(&self) -> &Path {
        &self.config.data
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// How old recordings may become, if the configuration says so.
    pub(super) fn retention(&self) -> Option<Duration> {
        self.config.recording.retention
    }

    /// The recordings, to be read by this process itself.
    pub(super) fn catalog(&self) -> Catalog {
        Catalog::new(StoreRoot::at(&self.config.data))
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, request: Request) -> Result<Reply, CliError> {
        let clock = Clock::system();
        let begun = clock.instant();
        loop {
            if let Some(direct) = self.direct.get() {
                let caller = Caller { uid: rustix::process::getuid().as_raw(), via: Via::Direct };
                return direct.admin.call(caller, request).map_err(|error| error.failure().into());
            }
            if let Some(mut stream) = self.connect()? {
                let answer = socket::ask(&mut stream, &request).map_err(|error| self.broken(&error))?;
                return answer.map_err(CliError::from);
            }
            match Home::open(&self.config.data) {
                Ok(home) => drop(self.direct.set(self.direct(home, clock.clone())?)),
                Err(HomeError::Locked { .. }) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_RETRY),
                Err(error) => return Err(CliError::of_home(&error)),
            }
        }
    }

    /// Asks the server; where none runs, nobody is asked, and nobody is kept from starting one.
    pub(super) fn ask_server(&self, request: &Request) -> Result<Reply, CliError> {
        let Some(mut stream) = self.connect()? else {
            return Err(CliError::failed("no server runs"));
        };
        let answer = socket::ask(&mut stream, request).map_err(|error| self.broken(&error))?;
        answer.map_err(CliError::from)
    }

    /// Asks, where the answer is a file as it is.
    pub(super) fn fetch(&self, request: Request) -> Result<String, CliError> {
        let Reply::Text { text } = self.ask(request)? else {
            return Err(unexpected());
        };
        Ok(text)
    }

    /// Asks, where the answer is only words.
    pub(super) fn tell(&self, request: Request) -> Result<(), CliError> {
        let Reply::Done { lines } = self.ask(request)? else {
            return Err(unexpected());
        };
        lines.iter().for_each(say);
        Ok(())
    }

    /// Connects to the server; `None` if nobody answers.
    fn connect(&self) -> Result<Option<UnixStream>, CliError> {
        let path = &self.config.admin.socket;
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => {
                let error =
                    CliError::failed(format!("cannot reach the server at `{}`", path.display())).because(&error);
                return Err(error.hint("run as root or as the server's user; `operators` under [admin] adds others"));
            }
        };
        self.check_server(&stream)?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
            .map_err(|error| self.broken(&error))?;
        Ok(Some(stream))
    }

    /// Requests carry secrets: whoever answers must be root, this user, or the one whose state directory it is.
    fn check_server(&self, stream: &UnixStream) -> Result<(), CliError> {
        let peer = socket_peercred(stream).map_err(|error| self.broken(&error.into()))?.uid.as_raw();
        let owner = std::fs::metadata(&self.config.data).map(|data| data.uid());
        if peer == 0 || peer == geteuid().as_raw() || owner.is_ok_and(|owner| peer == owner) {
            return Ok(());
        }
        let (path, data) = (self.config.admin.socket.display(), self.config.data.display());
        Err(CliError::failed(format!(
            "uid {peer} answers at `{path}`, who is not the owner of `{data}`: nothing was sent"
        ))
        .hint("find out who that is; the server runs as the user that owns the state directory"))
    }

    fn broken(&self, error: &io::Error) -> CliError {
        let path = self.config.admin.socket.display();
        CliError::failed(format!("the server at `{path}` did not answer"))
            .because(error)
            .hint("look at the server's log; whether the request was done is in `doorward audit list`")
    }

    /// Opens everything that the server would.
    fn direct(&self, home: Home, clock: Clock) -> Result<Direct, CliError> {
        let config = &self.config;
        let master =
            MasterKey::load(&config.master_key).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        let db = Db::open(&home.state(), home.id(), master)
            .map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        let policy = load_policy(config).map(|loaded| loaded.set).unwrap_or_else(|_| {
            // No policy denies everything: what a person may do while it is broken is to mend it.
            say("warning: the policy files are faulty, or not signed, and no rule is in force; see `doorward check`");
            PolicySet::empty()
        });
        let ledger = Ledger::open(&db, policy).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        let vault = Vault::open(&db).map_err(|error| CliError::of(&error))?;
        let key = vault.log_key(home.id()).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        let audit = Audit::open(&home.log(), key, &db, clock.clone())
            .map_err(|error| CliError::of(&error).maybe_hint(error.hint()))?;
        let store = StoreRoot::at(&config.data);
        let (sessions, ledger, audit) = (Sessions::new(), Arc::new(ledger), Arc::new(audit));
        let requests = Requests::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone(), config.notify.ways());
        // Without a server a ticket counts no more than with one.
        let tickets = config.ticket_check.clone().map(ticket_check);
        let requests = Arc::new(requests.map_err(|error| CliError::of(&error))?.checked_by(tickets));
        let locks = Locks::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone());
        let locks = Arc::new(locks.map_err(|error| CliError::of(&error))?);
        let admin = Admin::new(config, clock, ledger, Arc::new(vault), audit, sessions, requests, locks, store);
        if let Some(doubt) = admin.check_clock().filter(|_| self.retention().is_some()) {
            say(format!("warning: {doubt}"));
        }
        Ok(Direct { admin, _home: home })
    }
}

/// The answer is to another question.
pub(super) fn unexpected() -> CliError {
    CliError::failed("the server gave an answer to another question")
        .hint("use the same version of `doorward` as the server")
}
