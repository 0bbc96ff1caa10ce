//! Forwards at the target: what it connects to, where it listens, and what comes in there (RFC 4254 section 7), or for
//! what it is lent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::ChannelOpenFailure;
use russh::client::{ChannelOpenHandle, Msg};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::loan::{Claim, Lent, Loans};
use super::ssh::{DialError, Leg, TargetSink, TargetSource};
use crate::model::{Endpoint, Inbound};
use crate::wire::channel::{Extended, split};

/// What comes in may wait for the session up to so many; more is refused.
pub(super) const INCOMING_MAX: usize = 16;

/// Where the target listens for us, and what it was asked for: a port of 0 becomes another. Where it listened before it
/// has nothing: who connects there at that moment is refused, and that is no fault of the target's.
#[derive(Debug, Clone, Default)]
pub(super) struct Listening(Arc<Mutex<BTreeMap<Endpoint, Option<Endpoint>>>>);

/// Places that are remembered in one session. A target of which more are asked may be taken for a hostile one.
const REMEMBERED_MAX: usize = 256;

impl Listening {
    fn places(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Option<Endpoint>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if the target listens there already.
    fn add(&self, at: Endpoint, asked: Endpoint) -> bool {
        let mut places = self.places();
        if places.get(&at).is_some_and(Option::is_some) {
            return false;
        }
        if places.len() >= REMEMBERED_MAX {
            places.retain(|_, asked| asked.is_some());
        }
        places.insert(at, Some(asked));
        true
    }

    fn remove(&self, at: &Endpoint) {
        if let Some(asked) = self.places().get_mut(at) {
            *asked = None;
        }
    }
}

/// Somebody connected where the target listens for the user, or wants what it is lent.
pub struct Incoming {
    /// Where, or what.
    pub at: Inbound,
    /// Of a place, what the user had asked for, by which rules judge it.
    pub asked: Option<Endpoint>,
    /// Who, as the target tells: an address and a port.
    pub originator: (String, u32),
    channel: russh::Channel<Msg>,
    reply: ChannelOpenHandle,
}

impl Incoming {
    /// Takes it.
    pub async fn accept(self) -> (TargetSource, TargetSink) {
        self.reply.accept().await;
        split(self.channel, Extended::Dropped)
    }

    /// Does not take it.
    pub async fn refuse(self) {
        self.reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
}

/// Judges what a target opens by where it was asked to listen, and what it is lent.
pub(super) struct Gate {
    /// Where.
    pub listening: Listening,
    /// What.
    pub loans: Loans,
    /// To the session.
    pub incoming: mpsc::Sender<Incoming>,
}

impl Gate {
    /// Passes a channel on to the session; gives back the answer to it, which is then no, if nobody ever listened there.
    /// One that comes too late, or while too many wait, is refused, and no fault of the target's.
    pub async fn pass(
        &self,
        at: Option<Endpoint>,
        originator: (String, u32),
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Option<ChannelOpenHandle> {
        let known = at.and_then(|at| Some((self.listening.places().get(&at).cloned()?, at)));
        let Some((asked, at)) = known else { return Some(reply) };
        let Some(asked) = asked else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return None;
        };
        let (at, asked) = (Inbound::Place(at), Some(asked));
        self.send(Incoming { at, asked, originator, channel, reply }).await;
        None
    }

    /// The same for a channel to what may be lent: not to the session if it never was, or is no more.
    pub async fn pass_lent(
        &self,
        lent: Lent,
        originator: (String, u32),
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Option<ChannelOpenHandle> {
        match self.loans.claim(lent) {
            Claim::Void => return Some(reply),
            Claim::Late => reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
            Claim::Holds => {
                let at = match lent {
                    Lent::Agent => Inbound::Agent,
                    Lent::X11 => Inbound::X11,
                };
                self.send(Incoming { at, asked: None, originator, channel, reply }).await;
            }
        }
        None
    }

    async fn send(&self, coming: Incoming) {
        if let Err(full) = self.incoming.try_send(coming) {
            full.into_inner().reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
    }
}

impl Leg {
    /// Has the target connect somewhere; returns once it has. `held` is given back once the target has answered, however
    /// late: what it opens then is closed, and until then it counts as open.
    ///
    /// # Errors
    /// `ChannelRefused` if it cannot, or does not want to.
    pub async fn connect(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        (address, from): (&str, u32),
        held: impl Send + 'static,
    ) -> Result<(TargetSource, TargetSink), DialError> {
        let (leg, endpoint, address) = (Arc::clone(self), endpoint.clone(), address.to_owned());
        let (answer, connected) = oneshot::channel();
        tokio::spawn(async move {
            let opened = match endpoint {
                Endpoint::Tcp { host, port } => {
                    leg.handle.channel_open_direct_tcpip(host, port.into(), address, from).await
                }
                Endpoint::Unix(path) => leg.handle.channel_open_direct_streamlocal(path).await,
            };
            if let Err(Ok(late)) = answer.send(opened) {
                let _ = late.close().await;
            }
            drop(held);
        });
        match timeout(self.settings.connect_timeout, connected).await {
            Ok(Ok(Ok(channel))) => Ok(split(channel, Extended::Dropped)),
            Ok(Ok(Err(_)) | Err(_)) => Err(DialError::ChannelRefused("to connect there")),
            Err(_) => Err(DialError::Login("the target does not answer".into())),
        }
    }

    /// Has the target listen; gives where it does, with its port.
    ///
    /// # Errors
    /// `ChannelRefused` if it does not.
    pub async fn listen(&self, asked: &Endpoint) -> Result<Endpoint, DialError> {
        // Known before it is asked for: what comes in at once is not refused.
        if !self.listening.add(asked.clone(), asked.clone()) {
            return Err(DialError::ChannelRefused("to listen there twice"));
        }
        let listening = async {
            match asked {
                Endpoint::Tcp { host, port } => self.handle.tcpip_forward(host, (*port).into()).await,
                Endpoint::Unix(path) => self.handle.streamlocal_forward(path).await.map(|()| 0),
            }
        };
        let answer = timeout(self.settings.login_timeout, listening).await;
        let at = match (asked, answer) {
            (Endpoint::Tcp { host, port: 0 }, Ok(Ok(got))) => {
                u16::try_from(got).ok().filter(|port| *port > 0).map(|port| Endpoint::Tcp { host: host.clone(), port })
            }
            (_, Ok(Ok(_))) => Some(asked.clone()),
            (_, Ok(Err(_)) | Err(_)) => None,
        };
        if at.as_ref() != Some(asked) {
            self.listening.remove(asked);
        }
        let at = at.ok_or(DialError::ChannelRefused("to listen there"))?;
        if at != *asked && !self.listening.add(at.clone(), asked.clone()) {
            return Err(DialError::ChannelRefused("to listen on another port than it does already"));
        }
        Ok(at)
    }

    /// Has the target listen there no longer. What comes in all the same is refused, whatever the target says.
    pub async fn unlisten(&self, at: &Endpoint) {
        self.listening.remove(at);
        let stopping = async {
            match at {
                Endpoint::Tcp { host, port } => self.handle.cancel_tcpip_forward(host, (*port).into()).await,
                Endpoint::Unix(path) => self.handle.cancel_streamlocal_forward(path).await,
            }
        };
        let _ = timeout(self.settings.login_timeout, stopping).await;
    }

    /// The next that comes in where the target listens, or for what it is lent; `None` once the leg is gone.
    pub async fn incoming(&self) -> Option<Incoming> {
        self.incoming.lock().await.recv().await
    }
}
