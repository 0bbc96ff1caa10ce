//! `doorward.toml`: text becomes a `Config` with no bad state, or all its faults.
//!
//! Defaults are safe. Relative paths are relative to the configuration file. Nothing secret stands in it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::auditor::Recipient;
use crate::document::{Document, Faults, Node, Table};
use crate::durable::read_regular;
use crate::home::Home;
use crate::listener::EnvPattern;
use crate::notify::NotifySettings;
use crate::policy::{Fault, PolicyFile, read_auditors};
use crate::recorder::FreeMin;
use crate::tlog::VerifyingKey;
use crate::trust::{List, Trust};
use crate::witness::{WitnessAddress, WitnessUrl};
use backup::read_backup;
use desktop::read_rdp;
use notify::{read_notify, read_requests};

mod backup;
mod desktop;
mod notify;
mod signed;
mod starter;
#[cfg(test)]
mod tests;

pub use backup::BackupSettings;
pub use desktop::RdpSettings;
pub use signed::{LoadedPolicy, MANIFEST, SigningSettings, load_policy};
pub use starter::{STARTER_POLICIES, Starter};

/// Files larger than this are not read: they are not written by hand.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a Unix socket's path may have in bytes (`sun_path`, with its closing zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// A shorter retention is a mistake, such as `m` for months.
const RETENTION_DAYS_MIN: u64 = 1;
const RETENTION_DAYS_MAX: u64 = 100 * 366;
/// A banner is shown before login, to anybody.
const BANNER_BYTES_MAX: usize = 4096;
/// A checkpoint has room for so many cosignatures, each a line of a note whose length is bounded.
const WITNESSES_MAX: usize = 16;

/// The checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from, absolute.
    pub file: PathBuf,
    /// `listen`: addresses and ports to accept SSH on, one or a list. Default `0.0.0.0:2222`. Every address is
    /// one more place to be attacked from.
    pub listen: Vec<SocketAddr>,
    /// `data`: the state directory. Default `data`. Whoever can write in it can delete evidence.
    pub data: PathBuf,
    /// `policies`: the directory with `access/*.toml`, and `commands/*.toml`. Default `policies`. Whoever can write in it can open
    /// every target.
    pub policies: PathBuf,
    /// `master_key`: the file with the key that seals the secrets. Default `master.key`. It must lie outside
    /// `data`, so that a copy of `data` alone reveals no secret; without it the secrets are lost.
    pub master_key: PathBuf,
    /// `policy_signers` and `policy_signatures`: who must sign the policies. Default none: whoever can write the files
    /// decides what they say.
    pub signing: Option<SigningSettings>,
    /// `[ssh]`.
    pub ssh: SshSettings,
    /// `[login]`.
    pub login: LoginSettings,
    /// `[target]`.
    pub target: TargetSettings,
    /// `[recording]`.
    pub recording: RecordingSettings,
    /// `[admin]`.
    pub admin: AdminSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[[witness]]`: who cosigns the audit log's checkpoints, each with `url` and `key`. Default none: then nobody
    /// outside this machine can notice that the log was put back to an earlier state.
    pub witnesses: Vec<WitnessAddress>,
    /// `[notify]`: how people are told of access requests. Default: not at all.
    pub notify: NotifySettings,
    /// `[requests] ticket_check`: the URL at which a ticket system says whether a ticket counts. Default: nobody is asked.
    pub ticket_check: Option<String>,
    /// `[backup]`: the daily backup. Default none: then a backup is made when somebody makes one.
    pub backup: Option<BackupSettings>,
    /// `[rdp]`: the door for desktops. Default none: then nobody gets one.
    pub rdp: Option<RdpSettings>,
}

/// `[ssh]`: the side of the bastion users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    /// `login_grace`: time from accept to login. Default `30s`. A long one lets idle connections hold slots.
    pub login_grace: Duration,
    /// `keepalive`: a silent connection is asked this often whether it lives, on both legs. Default `30s`. A
    /// long one lets network devices forget idle sessions.
    pub keepalive: Duration,
    /// `keepalive_max`: questions without an answer before the connection is given up. Default 3. A high one
    /// keeps the sessions of vanished clients open.
    pub keepalive_max: u32,
    /// `banner`: text shown before login. Default empty: none. Whoever can reach the port reads it.
    pub banner: Option<String>,
    /// `max_unauthenticated`: connections that have not logged in yet, in all. Default 100. A high one costs
    /// memory under attack, a low one lets an attacker keep people out.
    pub max_unauthenticated: usize,
    /// `max_unauthenticated_per_address`: the same from one address. Default 10. Many users behind one address
    /// share it.
    pub max_unauthenticated_per_address: usize,
    /// `max_connections`: connections that have logged in, in all. Default 2000. Each may need five file
    /// descriptors; without them nobody can connect.
    pub max_connections: usize,
    /// `max_connections_per_user`: the same of one user. Default 100. A low one refuses programs that work on many
    /// targets at once, a high one lets one user keep the others out.
    pub max_connections_per_user: usize,
    /// `env`: names of environment variables that users may set on targets. Default `LANG` and `LC_*`. A
    /// variable that changes which program runs (`LD_PRELOAD`, `BASH_ENV`) hands the account over. What passes stands in
    /// the recording; a channel sets at most 16, with 1024 bytes of names and values.
    pub env: Vec<EnvPattern>,
    /// `max_channels`: open channels of one connection. Default 64. Each may hold some megabytes.
    pub max_channels: u32,
    /// `rekey_bytes`: bytes in one direction after which both legs agree on new keys. Default `1GiB` (RFC 4253
    /// section 9). A small one slows large transfers down.
    pub rekey_bytes: u64,
}

/// `[login]`: by what bastion users prove who they are, besides the keys that they have in the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSettings {
    /// `user_cas`: a file of public keys, one a line; the user certificates that they sign log in the users whom they
    /// name as principals. Default none: no certificate does. Whoever has such a key can be every user.
    pub user_cas: Option<PathBuf>,
    /// `revoked_keys`: a file of keys and certificates that log nobody in: a key revocation list as `ssh-keygen -k`
    /// writes it, or public keys, one a line. Default none. While it cannot be read nobody logs in by a key.
    pub revoked_keys: Option<PathBuf>,
    /// `passwords`: users who have a password and one-time codes may log in by both. Default false. It lets strangers
    /// guess, and whoever knows a user's name can lock that user's password out.
    pub passwords: bool,
    /// `password_failures`: after so many in a row the user's password is locked. Default 5. A high one lets strangers
    /// guess more, a low one lets them lock people out with less.
    pub password_failures: u32,
    /// `password_lock`: for so long. Default `15m`.
    pub password_lock: Duration,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            user_cas: None,
            revoked_keys: None,
            passwords: false,
            password_failures: 5,
            password_lock: Duration::from_secs(900),
        }
    }
}

/// `[target]`: the side of the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettings {
    /// `connect_timeout`: for the TCP connection. Default `10s`. A long one lets users wait for dead targets.
    pub connect_timeout: Duration,
    /// `login_timeout`: from the connection to the end of the login. Default `15s`. A short one fails on
    /// targets that ask slow directories.
    pub login_timeout: Duration,
}

/// `[recording]`: what happens when the disk is slow or full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSettings {
    /// `stall_limit`: a session whose records do not reach the disk for so long is ended. Default `10s`. A long
    /// one leaves users before a frozen screen.
    pub stall_limit: Duration,
    /// `bounded_window`: under `durability = "bounded"`, how old a shown but unwritten record may be. Default
    /// `50ms`. So much of a session's end can be lost in a power cut.
    pub bounded_window: Duration,
    /// `reserve`: space set aside to end recordings properly on a full disk. Default `64MiB`. Too little tears
    /// the ends of recordings when many sessions run.
    pub reserve: u64,
    /// `free_min` and `free_min_percent`: with less free space than this, or than so much of the disk, new sessions are
    /// refused. Default `2GiB`, 5. Small ones let running sessions be cut by a full disk.
    pub free_min: FreeMin,
    /// `retention`: recordings that began longer ago are removed, once a day, but those on hold. Default none: they are
    /// kept for ever. At least a day. What a short one removes nobody brings back; a clock that is set ahead removes too
    /// much.
    pub retention: Option<Duration>,
    /// `auditors`: age recipients, `age1...`, for whom sessions are sealed whose rule names none. No default: without
    /// one the server does not start, for nobody could read what it records. Each of them can read everything.
    pub auditors: Vec<Recipient>,
    /// `insecure_identity`: the file of an auditor's identity that was made on this machine. Default none. While the
    /// server can read it, whoever takes the machine over can read every recording.
    pub insecure_identity: Option<PathBuf>,
}

/// `[admin]`: who may administer over the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// `operators`: numeric user ids besides root and the server's own. Default none. An operator can give
    /// rights to anyone.
    pub operators: BTreeSet<u32>,
    /// `socket`: the path of the socket. Default `admin.sock` in `data`. Its directory must be the server's own.
    pub socket: PathBuf,
}

/// `[log]`: what goes to standard error. Evidence goes to the recordings and the audit log whatever stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// `format`: `text` or `json`. Default `text`. A log collector reads `json` without guessing.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`. Default `info`. `trace` is slow.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important log line that is still shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What should wake someone.
    Error,
    /// What is odd but works.
    Warn,
    /// Sessions and grants that change state.
    #[default]
    Info,
    /// One-off details.
    Debug,
    /// Each packet.
    Trace,
}

impl Default for SshSettings {
    fn default() -> Self {
        Self {
            login_grace: Duration::from_secs(30),
            keepalive: Duration::from_secs(30),
            keepalive_max: 3,
            banner: None,
            max_unauthenticated: 100,
            max_unauthenticated_per_address: 10,
            max_connections: 2000,
            max_connections_per_user: 100,
            env: ["LANG", "LC_*"].into_iter().filter_map(EnvPattern::parse).collect(),
            max_channels: 64,
            rekey_bytes: 1 << 30,
        }
    }
}

impl Default for TargetSettings {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), login_timeout: Duration::from_secs(15) }
    }
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self {
            stall_limit: Duration::from_secs(10),
            bounded_window: Duration::from_millis(50),
            reserve: 64 << 20,
            free_min: FreeMin::default(),
            retention: None,
            auditors: Vec::new(),
            insecure_identity: None,
        }
    }
}

/// Whoever writes the configuration decides where secrets go.
const OTHERS_WRITE: u32 = 0o022;

impl Config {
    /// Reads and checks a configuration file, which only its owner may be able to change.
    ///
    /// # Errors
    /// Every fault in it, by line; one fault if it cannot be read or is not safe.
    pub fn load(file: &Path) -> Result<Self, Vec<Fault>> {
        let shown = file.display().to_string();
        let text = read_text(file, &shown).map_err(|fault| {
            let hint = match file.metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => "`doorward init` writes a first one",
                Ok(_) | Err(_) => "run as root or as the server's user, or give another file with --config",
            };
            vec![fault.hint(hint)]
        })?;
        let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
        if mode & OTHERS_WRITE != 0 {
            let fault = Fault::in_file(&shown, "others than its owner can write to the file".to_owned());
            return Err(vec![fault.hint("look at what it says now, then `chmod go-w` it")]);
        }
        Self::parse(file, &text)
    }

    /// Checks the text of a configuration file that stands at `file`.
    ///
    /// # Errors
    /// Every fault in it, by line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Fault>> {
        let shown = file.display().to_string();
        let mut faults = Faults::default();
        let config = match std::path::absolute(file) {
            Ok(absolute) => Document::parse(&shown, text, &mut faults)
                .map(|document| read_config(&absolute, document.root(), &mut faults)),
            Err(error) => {
                faults.push(Fault::in_file(&shown, format!("cannot tell where the file is: {error}")));
                None
            }
        };
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(faults.into_sorted()),
        }
    }
}

fn read_config(file: &Path, mut root: Table<'_>, faults: &mut Faults) -> Config {
    let base = file.parent().unwrap_or(Path::new("/"));
    let path = |node: &Node<'_>| Ok(base.join(node.filled_string()?));
    let listen = root.read("listen", vec![SocketAddr::from(([0, 0, 0, 0], 2222))], faults, read_listen);
    let data = root.read("data", base.join("data"), faults, path);
    let policies = root.read("policies", base.join("policies"), faults, path);
    let signing = read_signing(&mut root, base, faults);
    let key_node = root.take("master_key");
    let master_key = key_node.as_ref().and_then(|node| faults.keep(path(node))).unwrap_or(base.join("master.key"));
    if resolve(&master_key).starts_with(resolve(&data)) {
        let message = "lies inside `data`: whoever copies the state directory would have its key";
        let fault = match &key_node {
            Some(node) => node.fault(message),
            None => root.fault(format!("`master_key` ({}) {message}", master_key.display())),
        };
        faults.push(fault.hint("move the key file out of `data`, onto other backups than `data` is on"));
    }
    let ssh = section(&mut root, "ssh", faults, read_ssh);
    let login = section(&mut root, "login", faults, |table, faults| read_login(table, base, faults));
    let target = section(&mut root, "target", faults, read_target);
    let recording = section(&mut root, "recording", faults, |table, faults| read_recording(table, base, faults));
    let admin = section(&mut root, "admin", faults, |table, faults| read_admin(table, base, faults));
    let socket = admin.1.unwrap_or_else(|| Home::admin_socket(&data));
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let message = format!("the path `{}` is too long for a socket", socket.display());
        let hint = format!("set [admin] socket to a path of at most {SOCKET_PATH_BYTES_MAX} bytes");
        faults.push(Fault { key: "admin.socket".to_owned(), ..root.fault(message) }.hint(hint));
    }
    if !admin.0.is_empty() && resolve(&socket).starts_with(resolve(&data)) {
        let message = "operators cannot reach a socket inside `data`, which is the server's user's alone".to_owned();
        let hint = "set [admin] socket to a path that they can reach, such as /run/doorward/admin.sock";
        faults.push(Fault { key: "admin.operators".to_owned(), ..root.fault(message) }.hint(hint));
    }
    let admin = AdminSettings { operators: admin.0, socket };
    let log = section(&mut root, "log", faults, read_log);
    let witnesses = read_witnesses(&mut root, faults);
    let notify = section(&mut root, "notify", faults, |table, faults| read_notify(table, base, faults));
    let ticket_check = section(&mut root, "requests", faults, read_requests);
    let backup = read_backup(&mut root, base, &data, faults);
    let rdp = read_rdp(&mut root, login.passwords, faults);
    root.finish(&[], faults);
    Config {
        file: file.to_owned(),
        listen,
        data,
        policies,
        master_key,
        signing,
        ssh,
        login,
        target,
        recording,
        admin,
        log,
        witnesses,
        notify,
        ticket_check,
        backup,
        rdp,
    }
}

/// Reads a table that may be missing; a missing one is read as an empty one would be.
fn section<T: Default>(
    root: &mut Table<'_>,
    key: &'static str,
    faults: &mut Faults,
    read: impl FnOnce(&mut Table<'_>, &mut Faults) -> T,
) -> T {
    let Some(mut table) = root.take(key).and_then(|node| faults.keep(node.table())) else {
        return T::default();
    };
    let settings = read(&mut table, faults);
    table.finish(&[], faults);
    settings
}

fn read_signing(root: &mut Table<'_>, base: &Path, faults: &mut Faults) -> Option<SigningSettings> {
    let path = |node: &Node<'_>| Ok(Some(base.join(node.filled_string()?)));
    let signers = root.read("policy_signers", None, faults, path);
    let needed = root.take("policy_signatures");
    if let (None, Some(node)) = (&signers, &needed) {
        faults.push(node.fault("`policy_signatures` wants `policy_signers`"));
    }
    let needed = needed.and_then(|node| faults.keep(node.integer_in(1..=16)));
    Some(SigningSettings { signers: signers?, needed: needed.unwrap_or(1) })
}

fn read_listen(node: &Node<'_>) -> Result<Vec<SocketAddr>, Fault> {
    let items = if node.as_str().is_some() { vec![node.clone()] } else { node.filled_list()? };
    let mut addresses = Vec::new();
    for item in items {
        let text = item.string()?;
        let address: SocketAddr = text.parse().map_err(|_| {
            item.fault(format!("{text:?} is not an address and port"))
                .hint("write 0.0.0.0:2222, 127.0.0.1:2222 or [::]:2222; names are not looked up")
        })?;
        if addresses.contains(&address) {
            return Err(item.fault(format!("{address} stands twice")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn read_ssh(table: &mut Table<'_>, faults: &mut Faults) -> SshSettings {
    let default = SshSettings::default();
    let seconds =
        |from, to| move |node: &Node<'_>| node.duration_in(Duration::from_secs(from)..=Duration::from_secs(to));
    let connections = |node: &Node<'_>| node.integer_in(1..=100_000);
    SshSettings {
        login_grace: table.read("login_grace", default.login_grace, faults, seconds(1, 600)),
        keepalive: table.read("keepalive", default.keepalive, faults, seconds(1, 3600)),
        keepalive_max: table.read("keepalive_max", default.keepalive_max, faults, |node| node.integer_in(1..=100)),
        banner: table.read("banner", default.banner, faults, read_banner),
        max_unauthenticated: table
            .read("max_unauthenticated", default.max_unauthenticated, faults, |node| node.integer_in(1..=100_000)),
        max_unauthenticated_per_address: table.read(
            "max_unauthenticated_per_address",
            default.max_unauthenticated_per_address,
            faults,
            |node| node.integer_in(1..=100_000),
        ),
        max_connections: table.read("max_connections", default.max_connections, faults, connections),
        max_connections_per_user: table.read(
            "max_connections_per_user",
            default.max_connections_per_user,
            faults,
            connections,
        ),
        env: table.read("env", default.env, faults, read_env),
        max_channels: table.read("max_channels", default.max_channels, faults, |node| node.integer_in(1..=1024)),
        rekey_bytes: table
            .read("rekey_bytes", default.rekey_bytes, faults, |node| node.size_in((1 << 20)..=(64 << 30))),
    }
}

fn read_banner(node: &Node<'_>) -> Result<Option<String>, Fault> {
    let text = node.string()?;
    if text.len() > BANNER_BYTES_MAX {
        return Err(node.fault(format!("is longer than {BANNER_BYTES_MAX} bytes")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(node.fault("has control characters, which terminals would obey"));
    }
    Ok((!text.trim().is_empty()).then(|| text.to_owned()))
}

fn read_env(node: &Node<'_>) -> Result<Vec<EnvPattern>, Fault> {
    let read = |item: &Node<'_>| {
        let text = item.string()?;
        EnvPattern::parse(text).ok_or_else(|| {
            item.fault(format!("{text:?} is not a variable's name"))
                .hint("write LANG, or LC_* for all that begin so; * alone is refused")
        })
    };
    node.list()?.iter().map(read).collect()
}

fn read_login(table: &mut Table<'_>, base: &Path, faults: &mut Faults) -> LoginSettings {
    let path = |node: &Node<'_>| Ok(Some(base.join(node.filled_string()?)));
    let default = LoginSettings::default();
    LoginSettings {
        user_cas: table.read("user_cas", None, faults, path),
        revoked_keys: table.read("revoked_keys", None, faults, path),
        passwords: table.read("passwords", default.passwords, faults, Node::boolean),
        password_failures: table
            .read("password_failures", default.password_failures, faults, |node| node.integer_in(1..=100)),
        password_lock: table.read("password_lock", default.password_lock, faults, |node| {
            node.duration_in(Duration::from_secs(1)..=Duration::from_secs(7 * 86_400))
        }),
    }
}

/// A list of revoked keys may be longer than what people write, and is read whole.
const REVOKED_BYTES_MAX: u64 = 64 << 20;

/// Reads the files of authorities and of revoked keys. What is wrong with one stands in the `Trust`, which then lets
/// nobody in whom it would have to judge.
pub fn read_trust(login: &LoginSettings) -> Trust {
    let list = |key: &str, file: &PathBuf| {
        let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
        let content = match mode & OTHERS_WRITE {
            0 => read_bytes(file, REVOKED_BYTES_MAX),
            _ => Err("others than its owner can write to the file; `chmod go-w` it".to_owned()),
        };
        List { name: format!("[login] {key}: `{}`", file.display()), content }
    };
    let cas = login.user_cas.as_ref().map(|file| list("user_cas", file));
    Trust::read(cas, login.revoked_keys.as_ref().map(|file| list("revoked_keys", file)))
}

fn read_target(table: &mut Table<'_>, faults: &mut Faults) -> TargetSettings {
    let default = TargetSettings::default();
    let range = || Duration::from_millis(100)..=Duration::from_secs(300);
    TargetSettings {
        connect_timeout: table
            .read("connect_timeout", default.connect_timeout, faults, |node| node.duration_in(range())),
        login_timeout: table.read("login_timeout", default.login_timeout, faults, |node| node.duration_in(range())),
    }
}

fn read_recording(table: &mut Table<'_>, base: &Path, faults: &mut Faults) -> RecordingSettings {
    let default = RecordingSettings::default();
    let stall = Duration::from_millis(100)..=Duration::from_secs(300);
    let window = Duration::from_millis(1)..=Duration::from_secs(5);
    RecordingSettings {
        stall_limit: table.read("stall_limit", default.stall_limit, faults, |node| node.duration_in(stall)),
        bounded_window: table.read("bounded_window", default.bounded_window, faults, |node| node.duration_in(window)),
        reserve: table.read("reserve", default.reserve, faults, |node| node.size_in((1 << 20)..=(1 << 40))),
        free_min: FreeMin {
            bytes: table.read("free_min", default.free_min.bytes, faults, |node| node.size_in(0..=(1 << 50))),
            percent: table.read("free_min_percent", default.free_min.percent, faults, |node| node.integer_in(0..=90)),
        },
        retention: table.read("retention", default.retention, faults, |node| {
            node.days_in(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).map(Some)
        }),
        // A list of none is what a first configuration has before its auditors are known; `serve` asks for one.
        auditors: table.read("auditors", default.auditors, faults, |node| {
            if node.list()?.is_empty() { Ok(Vec::new()) } else { read_auditors(node) }
        }),
        insecure_identity: table
            .read("insecure_identity", None, faults, |node| Ok(Some(base.join(node.filled_string()?)))),
    }
}

fn read_admin(table: &mut Table<'_>, base: &Path, faults: &mut Faults) -> (BTreeSet<u32>, Option<PathBuf>) {
    let uid = |item: &Node<'_>| {
        item.integer_in(0..=u32::MAX - 1)
            .map_err(|fault| fault.hint("write a numeric user id, as `id -u NAME` shows it"))
    };
    let operators = table.read("operators", BTreeSet::new(), faults, |node| node.list()?.iter().map(uid).collect());
    let socket = table.read("socket", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
    (operators, socket)
}

fn read_log(table: &mut Table<'_>, faults: &mut Faults) -> LogSettings {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    LogSettings {
        format: table.read("format", LogFormat::default(), faults, |node| node.word(&formats)),
        level: table.read("level", LogLevel::default(), faults, |node| node.word(&levels)),
    }
}

fn read_witnesses(root: &mut Table<'_>, faults: &mut Faults) -> Vec<WitnessAddress> {
    let Some(nodes) = root.take("witness").and_then(|node| faults.keep(node.list())) else {
        return Vec::new();
    };
    let mut witnesses: Vec<WitnessAddress> = Vec::new();
    for node in &nodes {
        let Some(mut table) = faults.keep(node.table()) else { continue };
        let url = table.need("url", faults).and_then(|node| faults.keep(read_witness_url(&node)));
        let key = table.need("key", faults);
        let parsed = key.as_ref().and_then(|node| faults.keep(read_witness_key(node)));
        table.finish(&[], faults);
        let (Some(url), Some(key), Some(parsed)) = (url, key, parsed) else { continue };
        if witnesses.iter().any(|other| other.key().name() == parsed.name()) {
            faults.push(key.fault(format!("the witness {} stands twice", parsed.name())));
            continue;
        }
        witnesses.extend(faults.keep(WitnessAddress::new(url, parsed).map_err(|error| {
            key.fault(error.why).hint("`doorward witness init` printed the witness's key, whose base64 begins with B")
        })));
    }
    if nodes.len() > WITNESSES_MAX {
        faults.push(Fault { key: "witness".to_owned(), ..root.fault(format!("more than {WITNESSES_MAX} witnesses")) });
    }
    witnesses
}

fn read_witness_url(node: &Node<'_>) -> Result<WitnessUrl, Fault> {
    let text = node.filled_string()?;
    WitnessUrl::parse(text).map_err(|error| {
        node.fault(format!("{text:?} is no address of a witness: {error}"))
            .hint("write what stands before /add-checkpoint, such as https://witness.example/doorward")
    })
}

fn read_witness_key(node: &Node<'_>) -> Result<VerifyingKey, Fault> {
    VerifyingKey::parse(node.filled_string()?).map_err(|error| {
        node.fault(error.why).hint("write the line that `doorward witness init` printed: NAME+ID+BASE64")
    })
}

/// The path without `.`, `..` and links, as far as it exists: the key must not lie in `data` by a detour either.
fn resolve(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(resolved.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                resolved.push(part);
                if let Ok(real) = resolved.canonicalize() {
                    resolved = real;
                }
            }
        }
    }
    resolved
}

/// Reads the policies: `access/*.toml` in `directory`, and where there are any `commands/*.toml` and `effects/*.toml`, sorted
/// by name. Names that begin with `.` are passed over; each path reads from the directory's own name on, so that equal
/// policies have equal hashes everywhere.
///
/// # Errors
/// Every file that cannot be read, or that the directory is missing: no policies and lost policies differ.
pub fn read_policies(directory: &Path) -> Result<Vec<PolicyFile>, Vec<Fault>> {
    let root = directory.file_name().map_or("policies".into(), |name| name.to_string_lossy().into_owned());
    let mut files = Vec::new();
    let mut faults = Vec::new();
    refuse_strays(directory, &mut faults);
    for kind in KINDS {
        let place = directory.join(kind);
        // Only `access` must be there.
        if kind == "access" || place.symlink_metadata().is_ok() {
            read_policies_in(&place, &format!("{root}/{kind}"), &mut files, &mut faults);
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// The directories of policies.
const KINDS: [&str; 3] = ["access", "commands", "effects"];

/// What lies beside the directories and is not known may be meant as policies: a misspelt name, a file in the wrong place.
fn refuse_strays(directory: &Path, faults: &mut Vec<Fault>) {
    // What cannot be listed is told of `access`.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let name = name.to_string_lossy();
        let signature = name.starts_with("manifest.") && name.ends_with(".sig");
        if name.starts_with('.') || KINDS.contains(&&*name) || name == MANIFEST || name == "README.md" || signature {
            continue;
        }
        let what = if path.is_dir() { "a directory" } else { "a file" };
        let message = format!("is {what} in which no policies are looked for");
        let hint = format!("policies lie in {}; what begins with a dot is passed over", KINDS.join("/, ") + "/");
        faults.push(Fault::in_file(path.display().to_string(), message).hint(hint));
    }
}

fn read_policies_in(place: &Path, root: &str, files: &mut Vec<PolicyFile>, faults: &mut Vec<Fault>) {
    let shown = place.display().to_string();
    let listed: Result<Vec<_>, std::io::Error> = std::fs::read_dir(place)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
    let mut names = match listed {
        Ok(names) => names,
        Err(error) => {
            return faults.push(
                Fault::in_file(&shown, format!("cannot read the policies: {error}"))
                    .hint("set `policies` in doorward.toml to the directory that has `access/` in it"),
            );
        }
    };
    names.sort();
    for name in names {
        let path = place.join(&name);
        let shown = path.display().to_string();
        let Some(name) = name.to_str() else {
            faults.push(Fault::in_file(shown, "the name is not UTF-8"));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            let hint = "move its files up, or rename it so that it begins with a dot";
            faults.push(Fault::in_file(shown, "is a directory, and policies are not searched in it").hint(hint));
        } else if name.ends_with(".toml") {
            match read_text(&path, &shown) {
                Ok(text) => files.push(PolicyFile { path: format!("{root}/{name}"), text }),
                Err(fault) => faults.push(fault),
            }
        } else if name != "README.md" {
            let hint = "a file of policies is called *.toml; what begins with a dot is passed over";
            faults.push(Fault::in_file(shown, "is no file of policies by its name").hint(hint));
        }
    }
}

/// Reads a text file of at most `FILE_BYTES_MAX` bytes.
fn read_text(path: &Path, shown: &str) -> Result<String, Fault> {
    let bytes = read_bytes(path, FILE_BYTES_MAX).map_err(|why| Fault::in_file(shown, why))?;
    String::from_utf8(bytes).map_err(|_| Fault::in_file(shown, "is not UTF-8 text"))
}

/// Reads a regular file. A pipe, whoever put it there, would keep the reader waiting for ever.
fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    read_regular(path, bytes_max).map_err(|error| {
        if error.kind() == ErrorKind::FileTooLarge {
            return format!("is longer than {bytes_max} bytes");
        }
        format!("cannot be read: {error}")
    })
}
