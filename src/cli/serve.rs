//! `doorward serve`: the server, in the foreground, until SIGTERM.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::admin::{self, Admin, AdminError, Retired, Synced, socket};
use crate::audit::{Audit, AuditError, AuditEvent, KeptClock, Publishing};
use crate::authn::{LockOut, Logins};
use crate::clock::Clock;
use crate::config::{Config, LoginSettings, load_policy, read_trust};
use crate::db::{Db, DbError, MasterKey, MasterKeyError};
use crate::home::{Home, HomeError};
use crate::ledger::{Ledger, LedgerError};
use crate::listener::{self, Connection, HostKeys, Limits};
use crate::locks::{LockError, Locks};
use crate::model::SessionId;
use crate::notify::{Notifier, ticket_check};
use crate::policy::Fault;
use crate::recorder::{Recorder, RecorderError, RecorderSettings, Reserve};
use crate::requests::{RequestError, Requests};
use crate::seal::Recipients;
use crate::session::{self, Bastion, SessionLog, Sessions};
use crate::sftp::Turns;
use crate::store::{Catalog, Disk, LocalDisk, StoreRoot, recover};
use crate::target;
use crate::vault::{Vault, VaultError};
use crate::verify;
use crate::wire::Cut;

mod desktops;
mod index;
mod nightly;
mod wards;

/// Why the server did not start or stopped.
#[derive(Debug)]
pub enum ServeError {
    /// The state directory.
    Home(HomeError),
    /// The master key.
    Key(MasterKeyError),
    /// The state database.
    Db(DbError),
    /// Users, targets, grants.
    Ledger(LedgerError),
    /// The vault.
    Vault(VaultError),
    /// The recorder.
    Recorder(RecorderError),
    /// The audit log.
    Audit(AuditError),
    /// A webhook's token cannot be read.
    Notify(std::io::Error),
    /// Steps of access requests that were interrupted.
    Requests(RequestError),
    /// A lifting of a lock that was interrupted cannot be finished.
    Locks(LockError),
    /// Removals of recordings that were interrupted.
    Removal(AdminError),
    /// The policy files.
    Policy(Vec<Fault>),
    /// What must be on record first.
    Begin(AdminError),
    /// Nobody could read what is recorded.
    NoAuditor(PathBuf),
    /// A listening address.
    Listen(SocketAddr, std::io::Error),
    /// The administration socket.
    Socket(PathBuf, std::io::Error),
    /// Threads or signals.
    System(std::io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Db(error) => error.fmt(f),
            Self::Ledger(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::Recorder(error) => error.fmt(f),
            Self::Audit(error) => error.fmt(f),
            Self::Begin(error) => error.fmt(f),
            Self::Notify(_) => f.write_str("cannot read the file of a token under [notify]"),
            Self::Requests(error) => error.fmt(f),
            Self::Locks(error) => error.fmt(f),
            Self::Removal(error) => error.fmt(f),
            Self::Policy(faults) => write!(f, "the policy set has {} faults", faults.len()),
            Self::NoAuditor(file) => {
                write!(f, "no auditor is named in [recording] auditors of `{}`", file.display())
            }
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Socket(path, _) => write!(f, "cannot listen on `{}`", path.display()),
            Self::System(_) => f.write_str("the system refuses what a server needs"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Home(error) => error.source(),
            Self::Key(error) => error.source(),
            Self::Db(error) => error.source(),
            Self::Ledger(error) => error.source(),
            Self::Requests(error) => error.source(),
            Self::Locks(error) => error.source(),
            Self::Vault(error) => error.source(),
            Self::Recorder(error) => error.source(),
            Self::Audit(error) => error.source(),
            Self::Begin(error) => error.source(),
            Self::Removal(error) => error.source(),
            Self::Policy(_) | Self::NoAuditor(_) => None,
            Self::Listen(_, error) | Self::Socket(_, error) | Self::System(error) | Self::Notify(error) => Some(error),
        }
    }
}

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// `ServeError` says why it did not start.
pub fn run(config: Config) -> Result<(), ServeError> {
    harden();
    raise_open_files(config.ssh.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::System)?;
    let served = runtime.block_on(serve(config));
    // A webhook that does not answer keeps nobody waiting: what it was not told is told by the next start.
    runtime.shutdown_timeout(Duration::from_secs(2));
    served
}

/// Keeps secrets out of core dumps, other processes' reach, and swap (promise P4).
pub(super) fn harden() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(error = %error, "Core dumps of this process are not prevented");
    }
    // Under a small limit, locking future memory would make allocations fail.
    let unlimited = getrlimit(Resource::Memlock).current.is_none() || rustix::process::geteuid().is_root();
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if !unlimited {
        warn!("Secrets may be swapped out: the memlock limit is small. Set LimitMEMLOCK=infinity, or turn swap off");
    } else if let Err(error) = mlockall(flags) {
        warn!(error = %error, "Secrets may be swapped out: memory cannot be locked");
    }
}

/// A session has two sockets open, the file of its facts, and one for each channel; most have one channel or two.
const FILES_PER_CONNECTION: u64 = 5;
/// The listeners, the state, the logs, strangers.
const FILES_BESIDE: u64 = 256;

/// Lets the server open as many files as the system allows it, and tells when that is too few: a server without
/// file descriptors takes no connection and records nothing.
fn raise_open_files(connections_max: usize) {
    let found = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum }) {
        warn!(error = %error, "The limit of open files cannot be raised");
    }
    let wanted = files_wanted(connections_max);
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        warn!(
            limit,
            wanted,
            "Too few open files for max_connections: set LimitNOFILE to what is wanted, or lower max_connections"
        );
    }
}

fn files_wanted(connections_max: usize) -> u64 {
    u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_mul(FILES_PER_CONNECTION).saturating_add(FILES_BESIDE)
}

/// Lets no right last longer for a wall clock that was set back, and no lock shorter for one that was set forward. Until that
/// is kept, the clock goes on as before, and it is tried again.
fn clock_stepped(bastion: Arc<Bastion>) -> impl Fn(i64) -> bool + Send {
    move |step_ms| {
        let (clock, step) = (&bastion.clock, Duration::from_millis(step_ms.unsigned_abs()));
        let kept = KeptClock { baseline: clock.baseline(step_ms), ..KeptClock::default() };
        let accept = || clock.accept(step_ms);
        if step_ms < 0 {
            match bastion.requests.set_back(step, &kept, &accept) {
                Ok(count) => info!(count, "The clock was set back: grants and requests end earlier by as much"),
                Err(error) => {
                    error!(error = %error, "The clock was set back, and the bastion goes on by the time before");
                    return false;
                }
            }
            bastion.ledger.set_back_assurances(step, clock.now());
            bastion.sessions.set_back(step);
        } else {
            match bastion.locks.set_forward(step, &kept, &accept) {
                Ok(count) => info!(count, "The clock was set forward: locks end later by as much"),
                Err(error) => {
                    error!(error = %error, "The clock was set forward, and locks end earlier until that can be kept");
                    return false;
                }
            }
        }
        bastion.sessions.rejudge(&bastion.ledger, clock.now());
        true
    }
}

/// The same for what was found when the log was opened: the clock was set while the server was stopped.
fn clock_was_set(requests: &Requests, locks: &Locks, audit: &Audit) -> Result<(), ServeError> {
    let found = audit.kept_clock();
    let (back, forward) = (Duration::from_millis(found.back_ms), Duration::from_millis(found.forward_ms));
    let record = |step_ms: i64| match audit.append(&AuditEvent::ClockStep { step_ms }) {
        Ok(_) => {}
        // A full disk must not keep the server from starting.
        Err(error) => error!(error = %error, "Cannot write the audit log"),
    };
    if !back.is_zero() {
        let kept = KeptClock { back_ms: 0, ..found.clone() };
        let count = requests.set_back(back, &kept, &|| {}).map_err(ServeError::Requests)?;
        warn!(count, seconds = back.as_secs(), "The clock was set back: grants and requests end earlier by as much");
        record(i64::try_from(found.back_ms).unwrap_or(i64::MAX).saturating_neg());
    }
    if !forward.is_zero() {
        let kept = KeptClock { back_ms: 0, forward_ms: 0, ..found.clone() };
        let count = locks.set_forward(forward, &kept, &|| {}).map_err(ServeError::Locks)?;
        warn!(count, seconds = forward.as_secs(), "The clock was set forward: locks end later by as much");
        record(i64::try_from(found.forward_ms).unwrap_or(i64::MAX));
    }
    Ok(())
}

/// The last checkpoint waits so long for its witnesses.
const COSIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// Live sessions have so long to be told, cut and closed when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that have logged in, or failed to, and wait for their task; never more than a moment.
const CONNECTIONS_MAX: usize = 64;

/// What the server opens before it listens.
struct Opened {
    /// Holds the state's lock for as long as the server runs.
    _home: Arc<Home>,
    bastion: Arc<Bastion>,
    admin: Arc<Admin>,
    keys: HostKeys,
    notifier: Notifier,
}

async fn serve(config: Config) -> Result<(), ServeError> {
    let Opened { _home, bastion, admin, keys, notifier } = open(&config)?;
    let stop = Cut::new();
    let logins = logins(&config.login, &bastion, &admin);
    let (connected, connections) = mpsc::channel(CONNECTIONS_MAX);
    let (failed, strangers) = mpsc::channel(CONNECTIONS_MAX);
    let outlets = listener::Outlets { connections: connected, failed };
    let witnesses = wards::ask_witnesses(&config, &bastion.audit).await?;
    wards::look(&witnesses, &bastion.audit, &bastion.recorder);
    admin.tell_witnesses(Arc::clone(&witnesses));
    let not_in = outlets.failed.clone();
    let bound = listen(&config, &logins, &keys, &stop, outlets).await?;
    let doors = desktops::listen(&config, &logins, &bastion, &stop, not_in).await?;
    let admin_socket =
        socket::bind(&config.admin.socket).map_err(|error| ServeError::Socket(config.admin.socket.clone(), error))?;
    let admin_stop = tokio_util::sync::CancellationToken::new();
    let (retired, backed_up) = (Arc::clone(&admin), Arc::clone(&admin));
    let serving_admin = tokio::spawn(socket::serve(admin_socket, admin, admin_stop.clone()));
    let synced = Synced::look(Path::new("/"), bastion.clock.now());
    tell_synced(&synced);
    bastion.ledger.set_synced(!synced.is_odd());
    let (version, clock) = (env!("CARGO_PKG_VERSION").into(), Some(synced.word().into()));
    let started = AuditEvent::NodeStart { version, clock };
    bastion.audit.append(&started).map_err(ServeError::Audit)?;
    // Behind the leaf of the start, which tells a verifier why time may have leapt.
    let witnessed = config.recording.retention.is_some() && !config.witnesses.is_empty();
    let retiring = tokio::spawn(retire(retired, witnessed));
    let asked = Arc::clone(&witnesses);
    let stepped = clock_stepped(Arc::clone(&bastion));
    let publishing = Publishing::start(Arc::clone(&bastion.audit), move |_| asked.published(), stepped);
    let publishing = publishing.map_err(ServeError::System)?;
    for address in &bound {
        info!(address = %address, "Listening");
    }
    for address in &doors {
        info!(address = %address, "Listening for desktops");
    }
    if let Some(file) = config.recording.insecure_identity.as_ref().filter(|file| File::open(file).is_ok()) {
        warn!(file = %file.display(), "An auditor's identity lies on this machine: take it away, it opens every recording");
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;
    tokio::spawn(session::note_strangers(strangers, Arc::clone(&bastion)));
    let carrying = tokio::spawn(carry(connections, Arc::clone(&bastion)));
    let watching = tokio::spawn(watch_trust(config.login.clone(), Arc::clone(&bastion)));
    let (ours, history) = (bastion.recorder.clone(), Arc::clone(&bastion.audit));
    let guarding = tokio::spawn(wards::watch_history(Arc::clone(&witnesses), history, ours));
    let (recorder, node) = (bastion.recorder.clone(), bastion.audit.key().name().to_string());
    let telling = wards::tell_outages(recorder, notifier.alerts().clone(), node, bastion.clock.clone());
    let telling = tokio::spawn(telling);
    let (alerts, node) = (notifier.alerts().clone(), bastion.audit.key().name().to_string());
    let indexing = tokio::spawn(index::follow(Arc::clone(&backed_up)));
    let backing_up =
        tokio::spawn(nightly::back_up(backed_up, config.backup.clone(), alerts, node, bastion.clock.clone()));
    let tidying = tokio::spawn(tidy_requests(Arc::clone(&bastion)));
    let notifying = tokio::spawn(notifier.run(admin_stop.clone()));
    let unlocking = tokio::spawn(tidy_locks(Arc::clone(&bastion)));
    let keeping = tokio::spawn(watch_synced(synced, Arc::clone(&bastion)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cut();
    end_sessions(&bastion.sessions).await;
    carrying.abort();
    watching.abort();
    tidying.abort();
    unlocking.abort();
    keeping.abort();
    retiring.abort();
    backing_up.abort();
    indexing.abort();
    guarding.abort();
    telling.abort();
    admin_stop.cancel();
    let _ = tokio::time::timeout(NOTIFY_TIMEOUT, notifying).await;
    let _ = serving_admin.await;
    bastion.refusals.settle().await;
    drop(publishing);
    bastion.audit.append(&AuditEvent::NodeStop).map_err(ServeError::Audit)?;
    // A session that did not end in time writes nothing behind this, where another server may write already.
    bastion.audit.close().map_err(ServeError::Audit)?;
    // Whoever verifies the store while no server runs finds its last checkpoint cosigned.
    witnesses.published();
    let size = bastion.audit.size();
    let _ = tokio::task::spawn_blocking(move || witnesses.wait(size, COSIGN_TIMEOUT)).await;
    info!("Stopped");
    Ok(())
}

/// Opens the state, under its lock, and closes what a crash left open.
fn open(config: &Config) -> Result<Opened, ServeError> {
    let clock = Clock::system();
    let auditors = Recipients::of(config.recording.auditors.iter().cloned())
        .ok_or_else(|| ServeError::NoAuditor(config.file.clone()))?;
    let home = Home::open(&config.data).map_err(ServeError::Home)?;
    let master = MasterKey::load(&config.master_key).map_err(ServeError::Key)?;
    let db = Db::open(&home.state(), home.id(), master).map_err(ServeError::Db)?;
    let policy = load_policy(config).map_err(ServeError::Policy)?;
    let ledger = Arc::new(Ledger::open(&db, policy.set.clone()).map_err(ServeError::Ledger)?);
    ledger.admit_policy(&policy.set, policy.signed.as_ref()).map_err(ServeError::Policy)?;
    trust(&ledger, &config.login);
    let vault = Arc::new(Vault::open(&db).map_err(ServeError::Vault)?);
    let log_key = vault.log_key(home.id()).map_err(ServeError::Vault)?;
    let audit = Arc::new(Audit::open(&home.log(), log_key, &db, clock.clone()).map_err(ServeError::Audit)?);
    let (own, ca) = (vault.host_key().map_err(ServeError::Vault)?, vault.host_ca().map_err(ServeError::Vault)?);
    let own_keys = vec![own.public_key().clone(), ca.public_key().clone()];
    let keys = HostKeys::new(own, ca, clock.clone());
    let home = Arc::new(home);
    // A full disk must not keep the server from starting: it refuses sessions then, and says why.
    if let Err(error) = home.make_reserve(config.recording.reserve) {
        warn!(error = %error, "Cannot set disk space aside for completing recordings");
    }
    let store = StoreRoot::at(home.directory());
    let removing = finish_removals(&ledger, &audit, &store)?;
    close_interrupted(&store, &audit, &clock, &removing)?;
    let settings = recorder_settings(config, &home);
    let log = Arc::new(SessionLog::new(Arc::clone(&audit)));
    let recorder =
        Recorder::start(store.clone(), settings, auditors, log, clock.clone()).map_err(ServeError::Recorder)?;
    let sessions = Sessions::new();
    let requests = Requests::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone(), config.notify.ways());
    let tickets = config.ticket_check.clone().map(ticket_check);
    let requests = requests.map_err(ServeError::Requests)?.checked_by(tickets);
    let notifier = Notifier::new(config.notify.clone(), Arc::clone(&ledger), Arc::clone(&audit), clock.clone());
    let notifier = notifier.map_err(ServeError::Notify)?;
    let requests = requests.alarmed_by(notifier.alarm()).alerting(config.notify.ways_of_alerts());
    let requests = Arc::new(requests);
    let locks = Locks::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone());
    let locks = Arc::new(locks.map_err(ServeError::Locks)?);
    clock_was_set(&requests, &locks, &audit)?;
    let (mine, about) = (Arc::clone(&vault), (Arc::clone(&ledger), Arc::clone(&audit), Arc::clone(&requests)));
    let (of, own) = (Arc::clone(&locks), sessions.clone());
    let admin = Admin::new(config, clock.clone(), about.0, mine, about.1, own, about.2, of, store.clone());
    let desktops = desktops::of(config, &vault)?;
    let admin = admin.with_screens(desktops.screens.clone());
    let admin = Arc::new(admin.with_recorder(recorder.clone()).with_alerts(notifier.alerts().clone()));
    let bastion = Arc::new(Bastion {
        clock: clock.clone(),
        ledger: Arc::clone(&ledger),
        vault: Arc::clone(&vault),
        recorder,
        audit: Arc::clone(&audit),
        sessions: sessions.clone(),
        target: target_settings(config),
        store: home.directory().to_owned(),
        catalog: Catalog::new(store.clone()),
        limits: session::VerbLimits::default(),
        own_keys,
        forwards: session::ForwardLimits::default(),
        refusals: session::RefusalLog::start(Arc::clone(&audit), clock.clone()),
        requests: Arc::clone(&requests),
        locks: Arc::clone(&locks),
        denials: session::Denials::default(),
        // The same as the administration's: what it sets, forgives or takes away counts at once.
        codes: (admin.passwords().clone(), lock_out(&config.login)),
        turns: Turns::default(),
        desktops,
    });
    for (session, failure) in admin.begin().map_err(ServeError::Begin)? {
        warn!(session = %session, error = %failure, "A change of an envelope that was interrupted cannot be finished");
    }
    Ok(Opened { _home: home, bastion, admin, keys, notifier })
}

/// Puts the lists of authorities and revoked keys in force, and says what is wrong with them.
fn trust(ledger: &Ledger, login: &LoginSettings) {
    let trust = read_trust(login);
    for fault in trust.faults() {
        error!(error = fault, "Nobody whom this list must judge can log in");
    }
    ledger.set_trust(trust);
}

/// The lists of authorities and revoked keys are looked at so often.
const TRUST_PERIOD: Duration = Duration::from_secs(1);

/// A file, as far as it can be told apart from another in its place without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    mode: u32,
    length: u64,
    changed: (i64, i64),
}

impl Look {
    fn at(file: &Path) -> Option<Self> {
        let found = std::fs::metadata(file).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Self { inode: found.ino(), mode: found.mode(), length: found.len(), changed })
    }
}

/// Reads the lists again when they change, and ends the sessions that rest on what they no longer have (promise P3).
async fn watch_trust(login: LoginSettings, bastion: Arc<Bastion>) {
    let files: Vec<PathBuf> = login.user_cas.iter().chain(&login.revoked_keys).cloned().collect();
    if files.is_empty() {
        return;
    }
    let mut seen = Vec::new();
    loop {
        tokio::time::sleep(TRUST_PERIOD).await;
        let (files, login, bastion, before) = (files.clone(), login.clone(), Arc::clone(&bastion), seen);
        let looked = tokio::task::spawn_blocking(move || {
            let found: Vec<Option<Look>> = files.iter().map(|file| Look::at(file)).collect();
            if found != before {
                trust(&bastion.ledger, &login);
                let ended = bastion.sessions.rejudge(&bastion.ledger, bastion.clock.now());
                info!(authorities = bastion.ledger.trust().cas(), ended, "Lists of authorities and revoked keys read");
            }
            found
        });
        // After a panic, which has shown itself, they are read again.
        seen = looked.await.unwrap_or_default();
    }
}

/// What is being told when the server stops has so long.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests that have expired are put on record so often; they count as expired before.
const TIDY_PERIOD: Duration = Duration::from_secs(30);

async fn tidy_requests(bastion: Arc<Bastion>) {
    loop {
        tokio::time::sleep(TIDY_PERIOD).await;
        let bastion = Arc::clone(&bastion);
        match tokio::task::spawn_blocking(move || bastion.requests.tidy()).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(requests)) => info!(requests, "Access requests expired"),
            Ok(Err(error)) => warn!(error = %error, "Expired access requests are not on record yet"),
        }
    }
}

/// How often locks are looked at whose time is over.
const UNLOCK_PERIOD: Duration = Duration::from_secs(1);
/// In so many looks one after the other a lock must be over before it is forgotten, and sessions that it paused go on:
/// should the clock have been set forward, that is found meanwhile, and the lock holds on.
const UNLOCK_LOOKS: u32 = 4;

async fn tidy_locks(bastion: Arc<Bastion>) {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(UNLOCK_PERIOD).await;
        looks = if bastion.locks.any_over() { looks.saturating_add(1) } else { 0 };
        if looks < UNLOCK_LOOKS {
            continue;
        }
        looks = 0;
        let bastion = Arc::clone(&bastion);
        let tidied = tokio::task::spawn_blocking(move || {
            let tidied = bastion.locks.tidy();
            bastion.sessions.rejudge(&bastion.ledger, bastion.clock.now());
            tidied
        });
        match tidied.await {
            Ok(Ok(locks)) => info!(locks, "Locks are over by their time"),
            Ok(Err(error)) => warn!(error = %error, "Locks that are over by their time are not on record yet"),
            Err(_) => {}
        }
    }
}

/// So often it is looked at whether a program still keeps the clock.
const SYNCED_PERIOD: Duration = Duration::from_secs(60);

async fn watch_synced(mut before: Synced, bastion: Arc<Bastion>) {
    loop {
        tokio::time::sleep(SYNCED_PERIOD).await;
        let (bastion, known) = (Arc::clone(&bastion), before.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let found = Synced::look(Path::new("/"), bastion.clock.now());
            bastion.ledger.set_synced(!found.is_odd());
            let changed = found.since(&known);
            if let Some(event) = &changed {
                tell_synced(&found);
                bastion.audit.append(event)?;
            }
            Ok::<_, AuditError>(found)
        });
        match looked.await {
            Ok(Ok(found)) => before = found,
            // It is tried again.
            Ok(Err(error)) => warn!(error = %error, "How the clock is kept has changed, and is not on record yet"),
            Err(_) => {}
        }
    }
}

fn tell_synced(synced: &Synced) {
    match synced.is_odd() {
        true => warn!(state = synced.word(), found = %synced, "The clock is not known to be kept right"),
        false => info!(state = synced.word(), found = %synced, "The clock is kept"),
    }
}

fn lock_out(settings: &LoginSettings) -> LockOut {
    LockOut { after: settings.password_failures, span: settings.password_lock }
}

fn logins(settings: &LoginSettings, bastion: &Bastion, admin: &Admin) -> Logins {
    // The same as the administration's: what it sets, forgives or takes away counts at once.
    let passwords = settings.passwords.then(|| (admin.passwords().clone(), lock_out(settings)));
    Logins { ledger: Arc::clone(&bastion.ledger), clock: bastion.clock.clone(), passwords }
}

/// Listens on every address of the configuration; returns them as they were bound.
async fn listen(
    config: &Config,
    logins: &Logins,
    keys: &HostKeys,
    stop: &Cut,
    outlets: listener::Outlets,
) -> Result<Vec<SocketAddr>, ServeError> {
    let settings = listener_settings(config);
    let mut bound = Vec::new();
    for address in &config.listen {
        let failed = |error| ServeError::Listen(*address, error);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        bound.push(socket.local_addr().map_err(failed)?);
        tokio::spawn(listener::serve(
            socket,
            keys.clone(),
            settings.clone(),
            logins.clone(),
            stop.clone(),
            outlets.clone(),
        ));
    }
    Ok(bound)
}

/// Ends every live session and waits until they have closed their recordings.
async fn end_sessions(sessions: &Sessions) {
    let live = sessions.shut_down();
    info!(sessions = live, "Stopping");
    if tokio::time::timeout(STOP_TIMEOUT, sessions.all_ended()).await.is_err() {
        warn!("Some sessions did not end in time; the next start closes their recordings");
    }
}

/// Gives each connection a session task of its own.
async fn carry(mut connections: mpsc::Receiver<Connection>, bastion: Arc<Bastion>) {
    while let Some(connection) = connections.recv().await {
        tokio::spawn(session::run(connection, Arc::clone(&bastion)));
    }
}

/// Recordings whose time is over are looked for so often.
const RETIRE_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// And so often while the clock is in doubt.
const DOUBT_PERIOD: Duration = Duration::from_secs(3600);
/// Witnesses have so long to sign what tells of the start, and with that the time.
const WITNESS_PATIENCE: Duration = Duration::from_secs(60);

/// Removes recordings whose time is over: now, and then each day.
async fn retire(admin: Arc<Admin>, witnessed: bool) {
    if witnessed {
        tokio::time::sleep(WITNESS_PATIENCE).await;
    }
    loop {
        let admin = Arc::clone(&admin);
        let mut pause = RETIRE_PERIOD;
        match tokio::task::spawn_blocking(move || admin.retire()).await {
            Ok(Ok(Retired::Removed { removed: 0, left: 0 })) => {}
            Ok(Ok(Retired::Removed { removed, left: 0 })) => {
                info!(recordings = removed, "Recordings removed, for their time was over");
            }
            Ok(Ok(Retired::Removed { removed, left })) => {
                let hint = "a run takes what began within a week; `doorward recording gc` takes all";
                warn!(recordings = removed, left, hint, "Recordings removed, for their time was over; others wait");
            }
            Ok(Ok(Retired::Waits(doubt))) => {
                warn!(error = %doubt, "Old recordings are not removed: the clock may be wrong; see `doorward doctor`");
                pause = DOUBT_PERIOD;
            }
            Ok(Err(error)) => warn!(error = %error, "Old recordings cannot be removed; the next try is tomorrow"),
            // A panic has shown itself; the server is about to stop otherwise.
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
    }
}

/// Finishes removals that were interrupted; gives the sessions of which something is left.
fn finish_removals(ledger: &Ledger, audit: &Audit, store: &StoreRoot) -> Result<BTreeSet<SessionId>, ServeError> {
    let left = admin::finish_removals(ledger, audit, store).map_err(ServeError::Removal)?;
    for (session, why) in &left {
        warn!(session = %session, error = %why, "A recording that is on record as removed cannot be removed");
    }
    Ok(left.into_iter().map(|(session, _)| session).collect())
}

/// Closes the recordings that a crash left open, as interrupted, but those that are being removed.
fn close_interrupted(
    store: &StoreRoot,
    audit: &Audit,
    clock: &Clock,
    removing: &BTreeSet<SessionId>,
) -> Result<(), ServeError> {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let (mut unseen, mut refused) = (None, None);
    let seen = |sessions: &BTreeSet<SessionId>| {
        // All that is on record counts, also what no checkpoint covered when the bastion stopped.
        let seen =
            audit.publish().and_then(|_| verify::seen(audit.reader(), audit.size(), sessions).map_err(AuditError::Log));
        seen.map_err(|failure| unseen = Some(failure)).ok()
    };
    let report = recover(store, &disk, clock.now(), seen, |recovery| {
        if removing.contains(recovery.session) {
            return false;
        }
        let event = AuditEvent::SessionRecovered { session: recovery.session.clone(), recovered: recovery.recovered };
        audit.append(&event).map_err(|failure| refused.get_or_insert(failure).hint()).is_ok()
    });
    if let Some(failure) = unseen.or(refused) {
        return Err(ServeError::Audit(failure));
    }
    if !report.interrupted.is_empty() {
        // Whoever reads one now finds that the log knows how it ended.
        audit.publish().map_err(ServeError::Audit)?;
    }
    for session in &report.interrupted {
        warn!(session = %session, "A recording was interrupted; closed as such");
    }
    for session in &report.cut {
        error!(session = %session, "An interrupted recording is shorter than the log had seen it: it was cut, or the disk lost it");
    }
    for (path, failure) in &report.failed {
        warn!(path = %path.display(), error = %failure, "A recording cannot be closed");
    }
    Ok(())
}

/// The state directory's reserve, as the recorder sees it.
#[derive(Debug)]
struct HomeReserve {
    home: Arc<Home>,
    bytes: u64,
}

impl Reserve for HomeReserve {
    fn give_back(&self) {
        if let Err(error) = self.home.free_reserve() {
            warn!(error = %error, "Cannot give the disk reserve back");
        }
    }

    fn set_aside(&self) -> bool {
        self.home.make_reserve(self.bytes).is_ok()
    }
}

fn recorder_settings(config: &Config, home: &Arc<Home>) -> RecorderSettings {
    RecorderSettings {
        stall_limit: config.recording.stall_limit,
        window: config.recording.bounded_window,
        reserve: Some(Arc::new(HomeReserve { home: Arc::clone(home), bytes: config.recording.reserve })),
        free_min: config.recording.free_min,
        ..RecorderSettings::default()
    }
}

fn target_settings(config: &Config) -> target::Settings {
    target::Settings {
        connect_timeout: config.target.connect_timeout,
        login_timeout: config.target.login_timeout,
        keepalive: config.ssh.keepalive,
        keepalive_max: usize::try_from(config.ssh.keepalive_max).unwrap_or(usize::MAX),
        rekey_bytes: rekey_bytes(config),
    }
}

fn listener_settings(config: &Config) -> listener::Settings {
    let ssh = &config.ssh;
    listener::Settings {
        login_grace: ssh.login_grace,
        keepalive: ssh.keepalive,
        keepalive_max: usize::try_from(ssh.keepalive_max).unwrap_or(usize::MAX),
        banner: ssh.banner.clone().unwrap_or_default(),
        limits: Limits::new(ssh.max_unauthenticated, ssh.max_unauthenticated_per_address),
        users: Limits::new(ssh.max_connections, ssh.max_connections_per_user),
        environment: ssh.env.clone(),
        rekey_bytes: rekey_bytes(config),
        channels_max: usize::try_from(ssh.max_channels).unwrap_or(usize::MAX),
    }
}

fn rekey_bytes(config: &Config) -> usize {
    usize::try_from(config.ssh.rekey_bytes).unwrap_or(usize::MAX)
}
