//! The SSH listener (RFC 4252, RFC 4254): accepts, logs in by public key, and turns what a client asks for
//! into `Request`s. What is not in the tables here is refused.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::{Certificate, Signature};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Pty, SshId, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

mod connection;
mod forward;
mod lend;

use super::accept::accept;
use super::attempts::{Attempts, answers, questions};
use super::environment::{EnvPattern, Variables};
use super::jump::{self, HostKeys};
use super::limits::{IDLE_MAX, Limits, Place, Progress, idle};
use crate::authn::{Authenticated, AuthnError, Claim, Logins, Shown};
use crate::coverage::{Fate, Kind, Peer, row};
use crate::ledger::Target;
use crate::model::{
    AccountName, ChannelClass, Destination, Endpoint, InvalidName, Login, Program, TargetName, Terminal, TerminalSize,
    UserName,
};
use crate::wire::channel::{Extended, split, stream};
use crate::wire::{
    CHANNEL_MESSAGES_MAX, Cut, CutStream, Display, IDENTIFICATION, PACKET_BYTES_MAX, WINDOW_BYTES, algorithms,
    rekey_limits,
};

pub use connection::{ChannelStart, Connection, FailedLogin, Opener, Outlets, Request, UserSink, UserSource, Wanted};
use forward::printable;
pub use forward::{ForwardStart, ListenStart, Originator};
pub use lend::LendStart;
use lend::Offered;

/// Limits of the listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a stranger may take to log in.
    pub login_grace: Duration,
    /// A keepalive after so long without a byte from the client.
    pub keepalive: Duration,
    /// So many unanswered keepalives end the connection.
    pub keepalive_max: usize,
    /// Shown before the login; empty for none.
    pub banner: String,
    /// Strangers at once, overall and for one address.
    pub limits: Limits<IpAddr>,
    /// Connections that have logged in, overall and of one user.
    pub users: Limits<UserName>,
    /// Environment variables that may pass.
    pub environment: Vec<EnvPattern>,
    /// New keys after so many bytes in one direction.
    pub rekey_bytes: usize,
    /// Channels that one connection may have open.
    pub channels_max: usize,
}

/// Accepts connections until `stop` is cut, and tells `outlets` what becomes of each.
pub async fn serve(
    listener: TcpListener,
    keys: HostKeys,
    settings: Settings,
    logins: Logins,
    stop: Cut,
    outlets: Outlets,
) {
    let mut config = server_config(&keys, &settings);
    if logins.passwords.is_some() {
        config.methods.push(MethodKind::KeyboardInteractive);
    }
    let config = Arc::new(config);
    let (keys, settings, logins) = (Arc::new(keys), Arc::new(settings), Arc::new(logins));
    while let Some((stream, source, place)) = accept(&listener, &settings.limits, &stop).await {
        let house = House {
            keys: Arc::clone(&keys),
            settings: Arc::clone(&settings),
            logins: Arc::clone(&logins),
            outlets: outlets.clone(),
        };
        let handler = Handler::new(house, Entrance::Front { place: Some(place) }, source, Cut::new());
        tokio::spawn(connection(stream, Arc::clone(&config), handler));
    }
}

const CIPHERS: &[cipher::Name] =
    &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR];

fn server_config(keys: &HostKeys, settings: &Settings) -> server::Config {
    server::Config {
        server_id: SshId::Standard(IDENTIFICATION.into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![keys.own().clone()],
        limits: rekey_limits(settings.rekey_bytes),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        channel_buffer_size: CHANNEL_MESSAGES_MAX,
        preferred: algorithms(CIPHERS),
        max_auth_attempts: 10,
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: settings.keepalive_max,
        nodelay: true,
        ..server::Config::default()
    }
}

/// Carries one connection from its first byte to its last.
async fn connection<S>(stream: S, config: Arc<server::Config>, mut handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (source, grace, cut) = (handler.source, handler.house.settings.login_grace, handler.cut.clone());
    let (logged_in, mut login) = oneshot::channel();
    handler.logged_in = Some(logged_in);
    let progress = handler.progress.subscribe();
    let deadline = sleep(grace);
    tokio::pin!(deadline);
    let starting = server::run_stream(config, CutStream::new(stream, &cut), handler);
    let mut running = tokio::select! {
        started = starting => match started {
            Ok(running) => running,
            Err(error) => {
                debug!(source = %source, error = %error, "Handshake failed");
                return;
            }
        },
        () = &mut deadline => {
            debug!(source = %source, "Handshake took too long");
            return;
        }
    };
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        Ok(()) = &mut login => None,
        () = &mut deadline => {
            info!(source = %source, "Login took too long");
            cut.cut();
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::select! {
            ended = &mut running => ended,
            () = idle(progress, IDLE_MAX) => {
                info!(source = %source, "Connection without a session ended");
                let reason = "nothing was started on this connection";
                let _ = running.handle().disconnect(russh::Disconnect::ByApplication, reason.into(), String::new()).await;
                let ended = timeout(GOODBYE, &mut running).await;
                ended.unwrap_or(Ok(()))
            }
        },
    };
    if let Err(error) = ended {
        debug!(source = %source, error = %error, "Connection ended");
    }
    cut.cut();
}

/// Carries SSH to a target inside a channel of the connection that its user has proven.
async fn jump(channel: Channel<Msg>, config: Arc<server::Config>, handler: Handler, place: OwnedSemaphorePermit) {
    let (source, sink) = split(channel, Extended::Dropped);
    let (stream, carrying) = stream(source, sink);
    tokio::join!(connection(stream, config, handler), carrying);
    drop(place);
}

/// A client that is sent away has so long to hang up.
const GOODBYE: Duration = Duration::from_secs(1);

/// A channel that has not started anything yet.
struct Pending {
    channel: Channel<Msg>,
    terminal: Option<Terminal>,
    environment: Variables,
    offered: Offered,
    place: OwnedSemaphorePermit,
}

/// What every connection uses.
#[derive(Clone)]
struct House {
    keys: Arc<HostKeys>,
    settings: Arc<Settings>,
    logins: Arc<Logins>,
    outlets: Outlets,
}

/// How a connection came in.
enum Entrance {
    /// From the network; `place` is held until login.
    Front { place: Option<Place<IpAddr>> },
    /// In a channel of a connection that has logged in, for a target: by `ssh -J`. Who it is has been proven there.
    Jump { user: Authenticated, target: TargetName },
}

impl Entrance {
    /// What a recording tells of it, behind the client's name.
    fn way(&self) -> &'static str {
        match self {
            Self::Front { .. } => "",
            Self::Jump { .. } => ", inside another connection to the bastion (ssh -J)",
        }
    }
}

struct Handler {
    house: House,
    entrance: Entrance,
    attempts: Attempts,
    source: SocketAddr,
    cut: Cut,
    /// Held from login on.
    inside: Option<Place<UserName>>,
    progress: watch::Sender<Progress>,
    proven: Option<(Authenticated, Result<Login, InvalidName>)>,
    /// Who may jump on from here: whoever came to the bastion itself, not to a target; or to this target, and a rule has
    /// SSH in forwards from there end here.
    jumper: Option<(Authenticated, Option<Destination>)>,
    logged_in: Option<oneshot::Sender<()>>,
    pending: HashMap<ChannelId, Pending>,
    channels: Arc<Semaphore>,
    requests: Option<mpsc::Sender<Request>>,
    /// Whether it was said that extended data is refused.
    extended_refused: bool,
    /// Whether forwards lead anywhere: from the target that the login names.
    login_names_target: bool,
}

impl Drop for Handler {
    fn drop(&mut self) {
        // Once in, the session tells what is refused.
        if self.requests.is_some() {
            return;
        }
        if let Some((login, reason)) = self.attempts.take() {
            let _ = self.house.outlets.failed.try_send(FailedLogin { login, source: self.source, reason });
        }
    }
}

/// Requests of one connection that may wait for the session.
const REQUESTS_MAX: usize = 16;

impl Handler {
    fn new(house: House, entrance: Entrance, source: SocketAddr, cut: Cut) -> Self {
        let channels = Arc::new(Semaphore::new(house.settings.channels_max));
        Self {
            house,
            entrance,
            attempts: Attempts::default(),
            source,
            cut,
            inside: None,
            progress: watch::Sender::new(Progress::Idle),
            proven: None,
            jumper: None,
            logged_in: None,
            pending: HashMap::new(),
            channels,
            requests: None,
            extended_refused: false,
            login_names_target: false,
        }
    }

    fn claim<'a>(&self, named: Option<&'a UserName>) -> Claim<'a> {
        Claim { named, source: self.source.ip() }
    }

    /// Who jumps to which target, if that is what a channel to this host and port is for.
    fn jump(&self, host: &str, port: u32) -> Option<(Authenticated, Target)> {
        let ledger = &self.house.logins.ledger;
        let (user, from) = self.jumper.as_ref().filter(|(user, _)| self.opens(user))?;
        let target = match from {
            None => jump::target(ledger, user.user(), host, port)?,
            // Addresses are those that the other target sees, and of it only SSH's place is meant, by its name.
            Some(from) => jump::named(ledger, user.user(), host, port)
                .filter(|_| ledger.ends_ssh(user.asker(), from, self.house.logins.clock.now()))?,
        };
        Some((user.clone(), target))
    }

    /// Whether the login around a jump may carry one more.
    fn opens(&self, user: &Authenticated) -> bool {
        user.opens(&self.house.logins.ledger, self.house.logins.clock.now()).is_ok()
    }

    /// Logs in whom a key or certificate proves, by a signature that has been verified.
    fn prove(&mut self, user: &str, shown: Shown<'_>, signature: &Signature) -> Auth {
        if let Entrance::Jump { .. } = self.entrance {
            return Auth::reject();
        }
        let login = Login::parse(user);
        let named = named_user(&login);
        let proven = self.house.logins.prove(&self.claim(named.as_ref()), shown, signature);
        self.proven(user, login, proven)
    }

    /// Lets in whoever is proven.
    fn proven(
        &mut self,
        user: &str,
        login: Result<Login, InvalidName>,
        proven: Result<Authenticated, AuthnError>,
    ) -> Auth {
        match proven {
            Ok(authenticated) => {
                self.proven = Some((authenticated, login));
                Auth::Accept
            }
            Err(error) => {
                info!(source = %self.source, error = %error, "Login refused");
                self.attempts.failed(user, error);
                Auth::reject()
            }
        }
    }

    /// A place for one more channel; refuses it if there is none.
    async fn channel_place(&mut self, reply: ChannelOpenHandle) -> Option<(OwnedSemaphorePermit, ChannelOpenHandle)> {
        if let Ok(place) = Arc::clone(&self.channels).try_acquire_owned() {
            return Some((place, reply));
        }
        reply.reject(ChannelOpenFailure::ResourceShortage).await;
        self.refused("a channel beyond the limit for one connection".into()).await;
        None
    }

    async fn refused(&mut self, what: String) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(Request::Refused { what }).await;
        }
    }

    /// Sends away a user who has proven who they are and for whom there is no place.
    fn too_many(&self, user: &UserName, session: &mut Session) -> Result<(), russh::Error> {
        warn!(user = %user, source = %self.source, "Connection refused: too many that have logged in");
        let reason = "more connections than the limit allows";
        let _ = self.house.outlets.failed.try_send(FailedLogin {
            login: user.to_string(),
            source: self.source,
            reason: reason.into(),
        });
        let text = "too many connections: close some, or try again later";
        session.disconnect(russh::Disconnect::TooManyConnections, text, "")
    }

    /// Hands a channel to the session and waits until it has started or was refused.
    async fn start(&mut self, id: ChannelId, wanted: Wanted, session: &mut Session) -> Result<(), russh::Error> {
        let (Some(pending), Some(requests)) = (self.pending.remove(&id), &self.requests) else {
            return session.channel_failure(id);
        };
        let Pending { channel, terminal, environment, offered, place } = pending;
        let (source, sink) = split(channel, Extended::Dropped);
        let (started, waiting) = oneshot::channel();
        let (environment, dropped) = environment.into_parts();
        let Offered { agent, display, .. } = offered;
        let start =
            ChannelStart { wanted, terminal, environment, dropped, agent, display, source, sink, started, place };
        self.progress.send_if_modified(|progress| advance(progress, Progress::Starting));
        let sent = requests.send(Request::Start(start)).await.is_ok();
        // The reply is given here, before the next request is read: the library keeps one reply flag for a
        // channel, and a client may send several requests at once.
        let begun = sent && waiting.await.is_ok();
        let reached = if begun { Progress::Started } else { Progress::Idle };
        self.progress.send_if_modified(|progress| advance(progress, reached));
        if begun {
            return session.channel_success(id);
        }
        session.channel_failure(id)?;
        session.close(id)
    }
}

/// What has been started once stays so.
fn advance(progress: &mut Progress, to: Progress) -> bool {
    *progress != Progress::Started && std::mem::replace(progress, to) != to
}

/// A `TERM` value that is safe to pass on and to record.
fn safe_term(term: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    if !term.is_empty() && term.len() <= 64 && term.chars().all(plain) { term.into() } else { "dumb".into() }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    /// Who jumps has been proven by the connection around this one; all that is left to say is the account.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        let Entrance::Jump { user: person, target } = &self.entrance else { return Ok(Auth::reject()) };
        if !self.opens(person) {
            return Ok(Auth::reject());
        }
        let destination = |account| Destination { account, target: target.clone() };
        let login = AccountName::parse(user)
            .map(|account| Login::Destination { user: None, destination: destination(account) });
        self.proven = Some((person.clone(), login));
        Ok(Auth::Accept)
    }

    /// An offered key proves nothing; this only says whether a signature by it is worth making.
    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        if let Entrance::Jump { .. } = self.entrance {
            return Ok(Auth::reject());
        }
        let named = named_user(&Login::parse(user));
        let shown = offer.certificate.map_or(Shown::Key(offer.public_key), Shown::Certificate);
        match self.house.logins.offered(&self.claim(named.as_ref()), shown, offer.algorithm) {
            Ok(()) => Ok(Auth::Accept),
            Err(error) => {
                self.attempts.failed(user, error);
                Ok(Auth::reject())
            }
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.prove(user, Shown::Key(key.public_key), key.signature))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.prove(user, Shown::Certificate(certificate), key.signature))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        if matches!(self.entrance, Entrance::Jump { .. }) || self.house.logins.passwords.is_none() {
            return Ok(Auth::reject());
        }
        // Whoever it is, the same is asked.
        let Some(response) = response else { return Ok(questions()) };
        let Some(typed) = answers(response) else {
            self.attempts.failed(user, AuthnError::Password { user: None, why: "a malformed answer".into() });
            return Ok(Auth::reject());
        };
        let login = Login::parse(user);
        let (named, logins) = (named_user(&login), Arc::clone(&self.house.logins));
        let proven = logins.prove_by_password(&self.claim(named.as_ref()), typed).await;
        Ok(self.proven(user, login, proven))
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        let banner = &self.house.settings.banner;
        // Whoever jumps has read it.
        Ok((!banner.is_empty() && matches!(self.entrance, Entrance::Front { .. }))
            .then(|| format!("{}\n", banner.trim_end())))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let (user, login) = self.proven.take().ok_or(russh::Error::Inconsistent)?;
        if let Entrance::Front { place } = &mut self.entrance {
            *place = None;
            self.jumper = match &login {
                Ok(Login::User(_)) => Some((user.clone(), None)),
                Ok(Login::Destination { destination, .. }) => Some((user.clone(), Some(destination.clone()))),
                Err(_) => None,
            };
        }
        self.login_names_target = matches!(login, Ok(Login::Destination { .. }));
        let Some(inside) = self.house.settings.users.take(user.user()) else {
            return self.too_many(user.user(), session);
        };
        self.inside = Some(inside);
        info!(user = %user.user(), source = %self.source, by = %user.proof(), "Logged in");
        if let Some(logged_in) = self.logged_in.take() {
            let _ = logged_in.send(());
        }
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        self.requests = Some(sender);
        let connection = Connection {
            user,
            login,
            source: self.source,
            requests,
            client: printable(&String::from_utf8_lossy(session.remote_sshid()), 255) + self.entrance.way(),
            cut: self.cut.clone(),
            channels: Arc::clone(&self.channels),
            handle: session.handle(),
        };
        self.house.outlets.connections.send(connection).await.map_err(|_| russh::Error::Disconnect)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some((place, reply)) = self.channel_place(reply).await else { return Ok(()) };
        let (environment, offered) = (Variables::default(), Offered::default());
        self.pending.insert(channel.id(), Pending { channel, terminal: None, environment, offered, place });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        // A channel that has started is answered by its relay.
        match self.pending.remove(&channel) {
            Some(_) => session.close(channel),
            None => Ok(()),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(pending) = self.pending.get_mut(&channel) else { return session.channel_failure(channel) };
        #[expect(clippy::as_conversions, reason = "the opcode is the discriminant (RFC 4254 section 8)")]
        let modes =
            modes.iter().filter(|(code, _)| *code != Pty::TTY_OP_END).map(|(code, value)| (*code as u8, *value));
        pending.terminal =
            Some(Terminal { term: safe_term(term), size: TerminalSize { cols, rows }, modes: modes.collect() });
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(pending) = self.pending.get_mut(&channel) else { return session.channel_failure(channel) };
        if pending.environment.set(&self.house.settings.environment, name, value) {
            session.channel_success(channel)
        } else {
            debug!(source = %self.source, "Environment variable dropped");
            session.channel_failure(channel)
        }
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        cols: u32,
        rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Once started, the relay hears of it from the channel itself.
        if let Some(terminal) = self.pending.get_mut(&channel).and_then(|pending| pending.terminal.as_mut()) {
            terminal.size = TerminalSize { cols, rows };
        }
        Ok(())
    }

    async fn extended_data(
        &mut self,
        _channel: ChannelId,
        _code: u32,
        _data: &[u8],
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        // The channel drops it; a user's program has no second input (RFC 4254 section 5.2).
        if !std::mem::replace(&mut self.extended_refused, true) {
            self.refused("extended data from the user".into()).await;
        }
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(channel, Wanted::Program(Program::Shell), session).await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(channel, Wanted::Program(Program::Exec(command.to_vec())), session).await
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(channel, Wanted::Subsystem(name.chars().take(64).collect()), session).await
    }

    async fn agent_request(&mut self, channel: ChannelId, _session: &mut Session) -> Result<bool, russh::Error> {
        Ok(self.lend_agent(channel).await)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single: bool,
        protocol: &str,
        cookie: &str,
        screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.lend_display(channel, Display::new(single, protocol, cookie, screen)).await {
            return session.channel_success(channel);
        }
        session.channel_failure(channel)
    }

    /// From a connection to the bastion itself to a registered target: SSH to it, which ends here (OpenSSH's ProxyJump).
    /// All else is a forward.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some((user, target)) = self.jump(host, port) else {
            let originator = Originator::new(originator, originator_port);
            let place = (Endpoint::tcp(host, port), &*format!("{host}:{port}"));
            self.forward(ChannelClass::LocalForward, place, originator, channel, reply).await;
            return Ok(());
        };
        let Some((place, reply)) = self.channel_place(reply).await else { return Ok(()) };
        let mut config = server_config(&self.house.keys, &self.house.settings);
        match self.house.keys.certificate(&target) {
            Ok(certificate) => config.certificates = vec![certificate],
            Err(error) => {
                warn!(target = %target.name, error = %error, "Cannot make a host certificate");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
                return Ok(());
            }
        }
        // The answer first: what is written on the channel before it is lost.
        reply.accept().await;
        self.progress.send_if_modified(|progress| advance(progress, Progress::Started));
        let entrance = Entrance::Jump { user, target: target.name };
        let handler = Handler::new(self.house.clone(), entrance, self.source, self.cut.child());
        tokio::spawn(jump(channel, Arc::new(config), handler, place));
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let place = (Endpoint::unix(path), path);
        self.forward(ChannelClass::LocalForwardUnix, place, Originator::new("", 0), channel, reply).await;
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        self.refused("the channel type x11".into()).await;
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        self.refused("the channel type forwarded-tcpip".into()).await;
        Ok(())
    }

    async fn unknown_request(&mut self, what: &str, name: &str) -> Result<(), russh::Error> {
        if name == "no-more-sessions@openssh.com" && self.pending.is_empty() && self.login_names_target {
            // `ssh -N`: forwards may be long in coming.
            self.progress.send_if_modified(|progress| advance(progress, Progress::Started));
        }
        let kind = match what {
            "channel type" => Kind::Channel,
            "channel request" => Kind::Request,
            _ => Kind::Global,
        };
        if row(Peer::User, kind, name).is_none_or(|row| row.fate == Fate::Refused) {
            self.refused(format!("the unknown {what} {}", printable(name, 64))).await;
        }
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let place = (Endpoint::tcp(address, *port), &*format!("{address}:{port}"));
        let listening = self.listen(ChannelClass::RemoteForward, place, Request::Listen).await;
        if let Some(listening) = listening {
            *port = listening.into();
        }
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let place = (Endpoint::tcp(address, port), &*format!("{address}:{port}"));
        Ok(self.listen(ChannelClass::RemoteForward, place, Request::Unlisten).await.is_some())
    }

    async fn streamlocal_forward(&mut self, path: &str, _session: &mut Session) -> Result<bool, russh::Error> {
        let place = (Endpoint::unix(path), path);
        Ok(self.listen(ChannelClass::RemoteForwardUnix, place, Request::Listen).await.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _session: &mut Session) -> Result<bool, russh::Error> {
        let place = (Endpoint::unix(path), path);
        Ok(self.listen(ChannelClass::RemoteForwardUnix, place, Request::Unlisten).await.is_some())
    }
}

/// The person whom a login names; a login that does not parse names nobody.
fn named_user(login: &Result<Login, InvalidName>) -> Option<UserName> {
    login.as_ref().ok().and_then(Login::user).cloned()
}
