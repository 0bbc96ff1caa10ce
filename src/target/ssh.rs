//! SSH to a target (RFC 4252, RFC 4254).
//!
//! The types keep the order: only a `Checked` connection, whose host key was pinned before, takes a credential,
//! and only a `Leg`, which is logged in, opens channels.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{ChannelMsg, MethodKind, Preferred, Pty, SshId, cipher};
use ssh_key::{Algorithm, HashAlg, PublicKey};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::forward::{Incoming, Listening};
use super::handler::{Seen, TargetHandler};
use super::loan::{Lent, Loan, Loans, Times};
use crate::ledger::{Target, fingerprint};
use crate::model::{AccountName, Program, Terminal};
use crate::secret::Secret;
use crate::vault::{Credential, CredentialKind};
use crate::wire::channel::{ChannelSink, ChannelSource, Extended, split};
use crate::wire::{
    self, CHANNEL_MESSAGES_MAX, Cut, CutStream, Display, IDENTIFICATION, Identification, PACKET_BYTES_MAX,
    WINDOW_BYTES, rekey_limits,
};

/// Times of the target leg.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long TCP and key exchange may take.
    pub connect_timeout: Duration,
    /// How long the login may take.
    pub login_timeout: Duration,
    /// A keepalive after so long without a byte from the target.
    pub keepalive: Duration,
    /// So many unanswered keepalives end the leg.
    pub keepalive_max: usize,
    /// New keys after so many bytes in one direction.
    pub rekey_bytes: usize,
}

/// Why there is no leg to the target.
#[derive(Debug)]
pub enum DialError {
    /// No host key is pinned for the target: nothing is sent to an unknown machine.
    NoPinnedKey,
    /// The address did not answer in time, or refused.
    Unreachable(std::io::Error),
    /// The key exchange failed or took too long.
    Handshake(String),
    /// The target showed another host key than the pinned ones; the credential was not sent.
    HostKeyChanged {
        /// SHA-256 fingerprint of the key that it showed.
        got: String,
        /// Fingerprints of the pinned keys.
        expected: Vec<String>,
    },
    /// The target refused the credential.
    CredentialRefused,
    /// The login did not end in time, or the connection broke during it.
    Login(String),
    /// The target refused a channel, a terminal or the program.
    ChannelRefused(&'static str),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPinnedKey => f.write_str(
                "the target has no pinned host key (certificate, for a desktop); run `doorward target scan` (`--rdp`)",
            ),
            Self::Unreachable(error) => write!(f, "cannot connect to the target: {error}"),
            Self::Handshake(why) => write!(f, "the key exchange with the target failed: {why}"),
            Self::HostKeyChanged { got, expected } => {
                write!(
                    f,
                    "the target's host key or certificate changed: it showed {got}, pinned are {}",
                    expected.join(", ")
                )
            }
            Self::CredentialRefused => f.write_str("the target refused the credential of this account"),
            Self::Login(why) => write!(f, "the login to the target failed: {why}"),
            Self::ChannelRefused(what) => write!(f, "the target refused {what}"),
        }
    }
}

impl std::error::Error for DialError {}

impl DialError {
    /// What the bastion user reads: useful, without details of the target's credential.
    pub fn public_text(&self) -> &'static str {
        match self {
            Self::NoPinnedKey => {
                "the target's identity is not known yet; ask the operator to pin its key or certificate"
            }
            Self::Unreachable(_) => "the target does not answer; try again later or tell the operator",
            Self::Handshake(_) => "no secure connection to the target could be made; tell the operator",
            Self::HostKeyChanged { .. } => {
                "the target's identity has changed; nothing was sent to it. Tell the operator before anything else"
            }
            Self::CredentialRefused => "the target refused the stored credential of this account; tell the operator",
            Self::Login(_) => "the login to the target did not complete; try again or tell the operator",
            Self::ChannelRefused(_) => "the target refused to start this; tell the operator",
        }
    }
}

/// A connection whose target proved a pinned host key.
pub struct Checked {
    handle: client::Handle<TargetHandler>,
    seen: Seen,
    identification: Identification,
    algorithms: Algorithms,
    settings: Settings,
}

/// A connection that is logged in.
pub struct Leg {
    /// How the target calls itself, and what was agreed on with it.
    pub about: String,
    pub(super) handle: client::Handle<TargetHandler>,
    /// Channels of the target's own that were refused.
    refused: tokio::sync::Mutex<mpsc::Receiver<String>>,
    /// Where the target listens for the user, and who connected there.
    pub(super) listening: Listening,
    pub(super) incoming: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    /// What of the user's own the target is lent.
    pub(super) loans: Loans,
    pub(super) settings: Settings,
}

/// What a channel is to lend the target of the user's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The agent.
    pub agent: bool,
    /// The display.
    pub display: Option<&'a Display>,
}

/// A channel on which a program has started.
pub struct Started {
    /// What the target sends.
    pub source: TargetSource,
    /// What the target is sent.
    pub sink: TargetSink,
    /// What the target is lent for as long as the channel is open, and what it did not want.
    pub loans: Vec<Loan>,
    /// In words, such as `agent`.
    pub not_lent: Vec<&'static str>,
}

/// By what a user's agent can tell the leg: the target's host key signed the session identifier (OpenSSH's PROTOCOL.agent
/// section 1).
pub struct Binding<'a> {
    /// The host key.
    pub host_key: &'a [u8],
    /// The session identifier.
    pub session: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// A channel's reading half towards the target.
pub type TargetSource = ChannelSource<client::Msg>;
/// A channel's writing half towards the target.
pub type TargetSink = ChannelSink<client::Msg>;

/// AES-GCM first: with AES instructions it costs the relay half of what ChaCha20 does.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];

/// Which algorithms a leg may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithms {
    /// None that is broken or weak.
    Sound,
    /// Those too, for targets that an operator has marked so.
    Insecure,
}

impl From<&Target> for Algorithms {
    fn from(target: &Target) -> Self {
        if target.insecure_algorithms { Self::Insecure } else { Self::Sound }
    }
}

fn client_config(keys: Vec<Algorithm>, algorithms: Algorithms, settings: &Settings) -> client::Config {
    let preferred = match algorithms {
        Algorithms::Sound => wire::algorithms(CIPHERS),
        Algorithms::Insecure => wire::insecure_algorithms(CIPHERS),
    };
    client::Config {
        client_id: SshId::Standard(IDENTIFICATION.into()),
        limits: rekey_limits(settings.rekey_bytes),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        channel_buffer_size: CHANNEL_MESSAGES_MAX,
        preferred: Preferred { key: keys.into(), ..preferred },
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: settings.keepalive_max,
        ..client::Config::default()
    }
}

/// Signature algorithms with which the owner of one of `pinned` can prove itself.
fn host_key_algorithms(pinned: &[PublicKey], allowed: Algorithms) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for key in pinned {
        let algorithm = key.algorithm();
        let of_key = if algorithm.clone().is_rsa() {
            let mut hashes = vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)];
            if allowed == Algorithms::Insecure {
                hashes.push(None); // SHA-1
            }
            hashes.into_iter().map(|hash| Algorithm::Rsa { hash }).collect()
        } else {
            vec![algorithm]
        };
        for algorithm in of_key {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
    }
    algorithms
}

/// Connects to `address` (`host:port`) and checks its host key against `pinned`. No credential is involved.
///
/// # Errors
/// See `DialError`; a changed host key is its own case.
pub async fn connect(
    address: &str,
    pinned: Vec<PublicKey>,
    cut: &Cut,
    algorithms: Algorithms,
    settings: &Settings,
) -> Result<Checked, DialError> {
    if pinned.is_empty() {
        return Err(DialError::NoPinnedKey);
    }
    let expected: Vec<String> = pinned.iter().map(fingerprint).collect();
    let config = Arc::new(client_config(host_key_algorithms(&pinned, algorithms), algorithms, settings));
    let (check, seen) = TargetHandler::new(pinned);
    let dialing = async {
        let stream = TcpStream::connect(address).await.map_err(DialError::Unreachable)?;
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        let (stream, identification) = CutStream::identifying(stream, cut);
        let connected = client::connect_stream(config, stream, check).await;
        let handle = connected.map_err(|error| handshake_error(error, seen.take_key(), expected))?;
        Ok((handle, identification))
    };
    let (handle, identification) = timeout(settings.connect_timeout, dialing)
        .await
        .map_err(|_| DialError::Unreachable(std::io::ErrorKind::TimedOut.into()))??;
    Ok(Checked { handle, seen, identification, algorithms, settings: settings.clone() })
}

fn handshake_error(error: russh::Error, got: Option<PublicKey>, expected: Vec<String>) -> DialError {
    match (&error, got) {
        (russh::Error::UnknownKey, Some(key)) => DialError::HostKeyChanged { got: fingerprint(&key), expected },
        // A target that holds no key of the pinned kinds any more cannot even agree on an algorithm.
        (russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. }, _) => {
            DialError::HostKeyChanged { got: "a key of another kind".into(), expected }
        }
        _ => DialError::Handshake(error.to_string()),
    }
}

impl Checked {
    /// Logs in as `account`.
    ///
    /// # Errors
    /// `CredentialRefused` if the target says no, `Login` if it says nothing.
    pub async fn login(mut self, account: &AccountName, credential: Credential) -> Result<Leg, DialError> {
        let limit = self.settings.login_timeout;
        let accepted = timeout(limit, self.authenticate(account, &credential))
            .await
            .map_err(|_| DialError::Login(format!("no answer within {} s", limit.as_secs())))?
            .map_err(|error| DialError::Login(error.to_string()))?;
        if accepted {
            let about = format!("{}, {}", self.identification.text(), self.seen.agreed());
            let refused = tokio::sync::Mutex::new(self.seen.refused);
            let incoming = tokio::sync::Mutex::new(self.seen.incoming);
            Ok(Leg {
                about,
                handle: self.handle,
                refused,
                listening: self.seen.listening,
                incoming,
                loans: self.seen.loans,
                settings: self.settings,
            })
        } else {
            Err(DialError::CredentialRefused)
        }
    }

    async fn authenticate(&mut self, account: &AccountName, credential: &Credential) -> Result<bool, russh::Error> {
        match credential.kind() {
            CredentialKind::Key(key) => {
                let hash = self.handle.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha512));
                let key = Arc::new(key.clone());
                let try_with = |hash| PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
                let tried = self.handle.authenticate_publickey(account.as_str(), try_with(hash)).await?;
                if tried.success() || self.algorithms == Algorithms::Sound || !key.algorithm().is_rsa() {
                    return Ok(tried.success());
                }
                // SHA-1.
                Ok(self.handle.authenticate_publickey(account.as_str(), try_with(None)).await?.success())
            }
            CredentialKind::Password(password) => self.authenticate_password(account, password).await,
        }
    }

    async fn authenticate_password(
        &mut self,
        account: &AccountName,
        password: &Secret<String>,
    ) -> Result<bool, russh::Error> {
        let tried = self.handle.authenticate_password(account.as_str(), password.expose().as_str()).await?;
        let AuthResult::Failure { remaining_methods, .. } = tried else { return Ok(true) };
        if !remaining_methods.contains(&MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let mut answered = false;
        let mut step = self.handle.authenticate_keyboard_interactive_start(account.as_str(), None).await?;
        loop {
            let answers = match step {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.as_slice() {
                    [] => Vec::new(),
                    // The password answers one hidden prompt, once. A second prompt is a one-time code or a
                    // target that collects passwords; neither gets ours.
                    [prompt] if !prompt.echo && !answered => {
                        answered = true;
                        vec![password.expose().clone()]
                    }
                    _ => return Ok(false),
                },
            };
            step = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
        }
    }
}

impl Leg {
    /// The next thing that the target asked for and was refused; `None` once the leg is gone.
    pub async fn refused(&self) -> Option<String> {
        self.refused.lock().await.recv().await
    }

    /// Opens a channel and starts `program` on it; returns once the target has said yes.
    ///
    /// # Errors
    /// `ChannelRefused` says what the target did not want.
    pub async fn open(
        &self,
        program: &Program,
        terminal: Option<&Terminal>,
        environment: &[(String, String)],
        wishes: Wishes<'_>,
    ) -> Result<Started, DialError> {
        timeout(self.settings.login_timeout, self.open_untimed(program, terminal, environment, wishes))
            .await
            .map_err(|_| DialError::Login("the target does not answer".into()))?
    }

    async fn open_untimed(
        &self,
        program: &Program,
        terminal: Option<&Terminal>,
        environment: &[(String, String)],
        wishes: Wishes<'_>,
    ) -> Result<Started, DialError> {
        let broken = |error: russh::Error| DialError::Login(error.to_string());
        let mut channel =
            self.handle.channel_open_session().await.map_err(|_| DialError::ChannelRefused("a channel"))?;
        let (loans, not_lent) = self.lend(&mut channel, wishes).await?;
        if let Some(terminal) = terminal {
            let modes: Vec<(Pty, u32)> =
                terminal.modes.iter().filter_map(|(code, value)| Some((Pty::from_u8(*code)?, *value))).collect();
            let size = &terminal.size;
            channel.request_pty(true, &terminal.term, size.cols, size.rows, 0, 0, &modes).await.map_err(broken)?;
            accepted(&mut channel, "a terminal").await?;
        }
        for (name, value) in environment {
            // A target that does not take a variable ignores it, as with a direct connection.
            channel.set_env(false, name, value).await.map_err(broken)?;
        }
        match program {
            Program::Shell => channel.request_shell(true).await.map_err(broken)?,
            Program::Exec(command) => channel.exec(true, command.clone()).await.map_err(broken)?,
            Program::Sftp => channel.request_subsystem(true, "sftp").await.map_err(broken)?,
            Program::Transfer { transfer, .. } => channel.exec(true, transfer.line()).await.map_err(broken)?,
        }
        accepted(&mut channel, "the program").await?;
        let (source, sink) = split(channel, Extended::Stderr);
        Ok(Started { source, sink, loans, not_lent })
    }

    /// Lends what the target takes, in the order of OpenSSH's client. A program runs without what it does not take, as with
    /// a direct connection.
    async fn lend(
        &self,
        channel: &mut russh::Channel<client::Msg>,
        wishes: Wishes<'_>,
    ) -> Result<(Vec<Loan>, Vec<&'static str>), DialError> {
        let broken = |error: russh::Error| DialError::Login(error.to_string());
        let (mut loans, mut not_lent) = (Vec::new(), Vec::new());
        if let Some(Display { single, protocol, cookie, screen }) = wishes.display {
            // Lent before it is asked for: a program may be quick.
            let loan = self.loans.lend(Lent::X11, if *single { Times::Once } else { Times::Any });
            let asking = channel.request_x11(true, *single, protocol.clone(), cookie.expose().clone(), *screen);
            asking.await.map_err(broken)?;
            match accepted(channel, "the display").await {
                Ok(()) => loans.push(loan),
                Err(_) => not_lent.push("display"),
            }
        }
        if wishes.agent {
            let loan = self.loans.lend(Lent::Agent, Times::Any);
            channel.agent_forward(true).await.map_err(broken)?;
            match accepted(channel, "the agent").await {
                Ok(()) => loans.push(loan),
                Err(_) => not_lent.push("agent"),
            }
        }
        Ok((loans, not_lent))
    }

    /// By what a user's agent can tell this leg; none of a target that has shown a certificate.
    pub fn binding(&self) -> Option<Binding<'_>> {
        let binding = self.handle.agent_session_binding()?;
        let (host_key, session, signature) = (binding.host_key(), binding.session_id(), binding.signature());
        Some(Binding { host_key, session, signature })
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Ends the connection politely; cutting its socket is the caller's if the target does not listen.
    pub async fn disconnect(&self) {
        let _ = self.handle.disconnect(russh::Disconnect::ByApplication, "", "").await;
    }
}

/// Waits for the target's answer to the last request.
async fn accepted(channel: &mut russh::Channel<client::Msg>, what: &'static str) -> Result<(), DialError> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            Some(ChannelMsg::Failure) | None => return Err(DialError::ChannelRefused(what)),
            // A target that sends data before it answers breaks the protocol; losing it would be worse.
            Some(_) => return Err(DialError::ChannelRefused(what)),
        }
    }
}

/// Fetches the host keys that `address` (`host:port`) shows, one connection for each kind; nothing is sent.
///
/// # Errors
/// Says why no key could be had.
pub async fn scan(address: &str, algorithms: Algorithms, limit: Duration) -> Result<Vec<PublicKey>, String> {
    let settings = Settings {
        connect_timeout: limit,
        login_timeout: limit,
        keepalive: limit,
        keepalive_max: 3,
        rekey_bytes: 1 << 30,
    };
    let mut found: Vec<PublicKey> = Vec::new();
    let mut last = String::from("no answer");
    let rsa = match algorithms {
        Algorithms::Sound => vec![Some(HashAlg::Sha512)],
        Algorithms::Insecure => vec![Some(HashAlg::Sha512), None],
    };
    let of_rsa = rsa.into_iter().map(|hash| Algorithm::Rsa { hash });
    let others = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP521 },
    ];
    for algorithm in others.into_iter().chain(of_rsa) {
        let config = Arc::new(client_config(vec![algorithm], algorithms, &settings));
        // No key is pinned, so the handshake always ends at the key, before any login.
        let (check, seen) = TargetHandler::new(Vec::new());
        let dialing = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            client::connect_stream(config, CutStream::new(stream, &Cut::new()), check)
                .await
                .map_err(|error| error.to_string())
        };
        if let Ok(Err(why)) = timeout(limit, dialing).await {
            last = why;
        }
        if let Some(key) = seen.take_key().filter(|key| !found.contains(key)) {
            found.push(key);
        }
    }
    if found.is_empty() { Err(last) } else { Ok(found) }
}
