//! Forwards that a bastion user asks for (RFC 4254 section 7; OpenSSH's PROTOCOL section 2.4).
//!
//! Nothing is decided here: the session judges what is asked for. Until it answers, a connection's other channels go on,
//! but for the answer to a request to listen, which RFC 4254 section 4 wants in order.

use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{Handler, Progress, Request, UserSink, UserSource, advance};
use crate::model::{Asked, ChannelClass, Endpoint, InvalidName};
use crate::wire::channel::{Extended, split};

/// A connection that the target is to make for the user.
pub struct ForwardStart {
    /// Where to.
    pub asked: Asked,
    /// Who connects, as the user's client tells.
    pub originator: Originator,
    /// What the user sends.
    pub source: UserSource,
    /// What the user is sent.
    pub sink: UserSink,
    /// The user's client waits for this.
    pub reply: Reply,
    /// The channel's place among those that one connection may have; given back when dropped.
    pub place: OwnedSemaphorePermit,
}

/// A request to listen on the target, or to stop it.
pub struct ListenStart {
    /// Where.
    pub asked: Asked,
    /// Takes the port that the target listens on (0 for a socket), or nothing if it does not; dropped, it is refused.
    pub listening: oneshot::Sender<u16>,
}

/// Who connects to a forward, as a peer tells; never believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Originator {
    /// An address, printable, cut.
    pub address: String,
    /// A port.
    pub port: u32,
}

impl Originator {
    /// What a peer says, made harmless.
    pub fn new(address: &str, port: u32) -> Self {
        Self { address: printable(address, 64), port }
    }
}

/// The answer to a channel's opening; dropped, it is refused.
pub struct Reply {
    handle: ChannelOpenHandle,
    /// From the first forward that is open, the connection is in use.
    progress: watch::Sender<Progress>,
}

impl Reply {
    /// Says that it is open.
    pub async fn accept(self) {
        self.progress.send_if_modified(|progress| advance(progress, Progress::Started));
        self.handle.accept().await;
    }

    /// Says that it is not allowed.
    pub async fn prohibit(self) {
        self.handle.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    }

    /// Says that nobody answers there.
    pub async fn fail(self) {
        self.handle.reject(ChannelOpenFailure::ConnectFailed).await;
    }
}

/// What a peer sent, with `?` for what may move a cursor or look like something else: left out, it would read as
/// another name.
pub(super) fn printable(text: &str, chars: usize) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(chars).collect()
}

impl Handler {
    /// Hands a forward to the session, unless it is none.
    pub(super) async fn forward(
        &mut self,
        class: ChannelClass,
        (endpoint, said): (Result<Endpoint, InvalidName>, &str),
        originator: Originator,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let (Ok(endpoint), true) = (endpoint, self.login_names_target) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return self.refused(format!("{class} {}", printable(said, 256))).await;
        };
        let Some((place, reply)) = self.channel_place(reply).await else { return };
        let (source, sink) = split(channel, Extended::Dropped);
        let asked = Asked::forward(class, endpoint);
        let reply = Reply { handle: reply, progress: self.progress.clone() };
        let start = ForwardStart { asked, originator, source, sink, reply, place };
        if let Some(requests) = &self.requests {
            let _ = requests.send(Request::Forward(start)).await;
        }
    }

    /// Asks the session to have the target listen, or to stop it; gives the port on which it listens.
    pub(super) async fn listen(
        &mut self,
        class: ChannelClass,
        (endpoint, said): (Result<Endpoint, InvalidName>, &str),
        request: fn(ListenStart) -> Request,
    ) -> Option<u16> {
        let (Ok(endpoint), true) = (endpoint, self.login_names_target) else {
            self.refused(format!("{class} {}", printable(said, 256))).await;
            return None;
        };
        let (listening, answer) = oneshot::channel();
        let start = ListenStart { asked: Asked::forward(class, endpoint), listening };
        self.requests.as_ref()?.send(request(start)).await.ok()?;
        let port = answer.await.ok()?;
        self.progress.send_if_modified(|progress| advance(progress, Progress::Started));
        Some(port)
    }
}
