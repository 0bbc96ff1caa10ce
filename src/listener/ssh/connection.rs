//! What the listener gives to the session: a connection that has logged in, and what its user asks for.

use std::net::SocketAddr;
use std::sync::Arc;

use russh::server::{self, Msg};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{ForwardStart, LendStart, ListenStart, Originator};
use crate::authn::Authenticated;
use crate::model::{Endpoint, Inbound, InvalidName, Login, Program, Terminal};
use crate::wire::channel::{ChannelSink, ChannelSource, Extended, split};
use crate::wire::{Cut, Display};

/// A channel's reading half towards the bastion user.
pub type UserSource = ChannelSource<Msg>;
/// A channel's writing half towards the bastion user.
pub type UserSink = ChannelSink<Msg>;

/// A bastion user who has logged in.
pub struct Connection {
    /// Who.
    pub user: Authenticated,
    /// The login name as it was parsed; a wrong one is refused on the channel, where the user can read why.
    pub login: Result<Login, InvalidName>,
    /// Where from.
    pub source: SocketAddr,
    /// What they ask for; ends with the connection.
    pub requests: mpsc::Receiver<Request>,
    /// How the user's client calls itself, in printable ASCII, and whether it came by a jump.
    pub client: String,
    /// Cuts the connection's socket.
    pub cut: Cut,
    /// Places for its channels.
    pub(super) channels: Arc<Semaphore>,
    pub(super) handle: server::Handle,
}

impl Connection {
    /// A place for one more channel, if there is one.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.channels).try_acquire_owned().ok()
    }

    /// What opens channels to the user's client, for what comes in where the target listens or for what it is lent.
    pub fn opener(&self) -> Opener {
        Opener(self.handle.clone())
    }

    /// Says goodbye in the protocol, with a reason that the client prints.
    pub async fn disconnect(&self, reason: &str) {
        let _ = self.handle.disconnect(russh::Disconnect::ByApplication, reason.into(), String::new()).await;
    }
}

/// Opens channels to a user's client.
pub struct Opener(server::Handle);

impl Opener {
    /// Opens one for what came in; `None` if the client does not want it. `held` is given back once the
    /// client has answered, however late: what it opens then is closed, and until then it counts as open.
    pub async fn open(
        self,
        at: Inbound,
        originator: Originator,
        held: impl Send + 'static,
    ) -> Option<(UserSource, UserSink)> {
        let (answer, opened) = oneshot::channel();
        tokio::spawn(async move {
            let Originator { address, port: from } = originator;
            let opened = match at {
                Inbound::Place(Endpoint::Tcp { host, port }) => {
                    self.0.channel_open_forwarded_tcpip(host, port.into(), address, from).await
                }
                Inbound::Place(Endpoint::Unix(path)) => self.0.channel_open_forwarded_streamlocal(path).await,
                Inbound::Agent => self.0.channel_open_agent().await,
                Inbound::X11 => self.0.channel_open_x11(address, from).await,
            };
            if let Err(Ok(late)) = answer.send(opened) {
                let _ = late.close().await;
            }
            drop(held);
        });
        Some(split(opened.await.ok()?.ok()?, Extended::Dropped))
    }
}

/// A connection that ended without a login, after at least one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLogin {
    /// The login name as it came last.
    pub login: String,
    /// Where from.
    pub source: SocketAddr,
    /// How often it was tried, and why it was not accepted.
    pub reason: String,
}

/// What a client asks for after login.
pub enum Request {
    /// To run something on a channel.
    Start(ChannelStart),
    /// To connect somewhere from the target.
    Forward(ForwardStart),
    /// To listen on the target.
    Listen(ListenStart),
    /// To listen there no longer.
    Unlisten(ListenStart),
    /// To lend the target something of the user's own.
    Lend(LendStart),
    /// Something that no rule can allow yet; it was refused, and this is for the record.
    Refused {
        /// Such as `the channel type x11`.
        what: String,
    },
}

/// What a channel asks to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A shell or a command.
    Program(Program),
    /// A subsystem by name, such as `sftp`.
    Subsystem(String),
}

/// A channel on which the client waits for something to start.
pub struct ChannelStart {
    /// What.
    pub wanted: Wanted,
    /// Its terminal, if it asked for one.
    pub terminal: Option<Terminal>,
    /// Environment variables that passed the allow-list.
    pub environment: Vec<(String, String)>,
    /// The names of some that did not.
    pub dropped: Vec<String>,
    /// Whether the user lends their agent.
    pub agent: bool,
    /// The display that they lend.
    pub display: Option<Display>,
    /// What the user sends.
    pub source: UserSource,
    /// What the user sees.
    pub sink: UserSink,
    /// Tells the client that it has started; dropped, the client is told that it failed.
    pub started: oneshot::Sender<()>,
    /// The channel's place among those that one connection may have; given back when dropped.
    pub place: OwnedSemaphorePermit,
}

/// Where the listener tells what became of a connection.
#[derive(Clone)]
pub struct Outlets {
    /// Who logged in.
    pub connections: mpsc::Sender<Connection>,
    /// Who did not. When it is full, what comes is left out: strangers must not make work without end.
    pub failed: mpsc::Sender<FailedLogin>,
}
