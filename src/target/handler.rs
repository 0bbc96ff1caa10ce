//! What a target may do of its own accord: prove its host key, and pass on who connects where it was asked to listen, or
//! to what it is lent.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, ChannelOpenHandle, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelOpenFailure, Names};
use ssh_key::PublicKey;
use tokio::sync::mpsc;

use super::forward::{Gate, INCOMING_MAX, Incoming, Listening};
use super::loan::{Lent, Loans};
use crate::coverage::{Fate, Kind, Peer, row};
use crate::model::{Endpoint, InvalidName};

/// A target that tries to open more channels than this loses the leg.
const OPENS_MAX: u32 = 16;

/// Checks the host key, and refuses every channel that the target opens (RFC 4254 section 5.1) but those for which it
/// was asked to listen, and those to what it is lent.
pub(super) struct TargetHandler {
    pinned: Vec<PublicKey>,
    got: Arc<Mutex<Option<PublicKey>>>,
    refused: mpsc::Sender<String>,
    opens: u32,
    gate: Gate,
    agreed: Arc<Mutex<String>>,
}

/// What the handler has seen.
pub(super) struct Seen {
    /// The key that the target showed.
    pub got: Arc<Mutex<Option<PublicKey>>>,
    /// The channels and requests that were refused, by type.
    pub refused: mpsc::Receiver<String>,
    /// Where the target listens.
    pub listening: Listening,
    /// What it is lent.
    pub loans: Loans,
    /// Who connected there, or to that.
    pub incoming: mpsc::Receiver<Incoming>,
    agreed: Arc<Mutex<String>>,
}

impl Seen {
    /// The algorithms that were agreed on first: key exchange, host key, cipher, MAC.
    pub fn agreed(&self) -> String {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that the target showed, once.
    pub fn take_key(&self) -> Option<PublicKey> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl TargetHandler {
    /// Accepts the keys of `pinned`.
    pub fn new(pinned: Vec<PublicKey>) -> (Self, Seen) {
        let (sender, refused) = mpsc::channel(usize::try_from(OPENS_MAX).unwrap_or(usize::MAX));
        let got = Arc::default();
        let (incoming, coming) = mpsc::channel(INCOMING_MAX);
        let (listening, loans) = (Listening::default(), Loans::default());
        let gate = Gate { listening: listening.clone(), loans: loans.clone(), incoming };
        let agreed: Arc<Mutex<String>> = Arc::default();
        let (shared, agreed) = (Arc::clone(&agreed), agreed);
        let handler = Self { pinned, got: Arc::clone(&got), refused: sender, opens: 0, gate, agreed: shared };
        (handler, Seen { got, refused, listening, loans, incoming: coming, agreed })
    }

    async fn forwarded(
        &mut self,
        kind: &str,
        at: Result<Endpoint, InvalidName>,
        originator: (String, u32),
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Result<(), russh::Error> {
        match self.gate.pass(at.ok(), originator, channel, reply).await {
            None => Ok(()),
            Some(reply) => self.refuse(kind, Some(reply)).await,
        }
    }

    async fn lent(
        &mut self,
        kind: &str,
        lent: Lent,
        originator: (String, u32),
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Result<(), russh::Error> {
        match self.gate.pass_lent(lent, originator, channel, reply).await {
            None => Ok(()),
            Some(reply) => self.refuse(kind, Some(reply)).await,
        }
    }

    async fn refuse(&mut self, what: &str, reply: Option<ChannelOpenHandle>) -> Result<(), russh::Error> {
        if let Some(reply) = reply {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        self.opens = self.opens.saturating_add(1);
        if self.opens > OPENS_MAX {
            return Err(russh::Error::Inconsistent);
        }
        self.note("channel opened", what);
        Ok(())
    }

    /// Has it put on record. What a target floods us with beyond what waits is left out, and harms nobody.
    fn note(&self, what: &str, name: &str) {
        let name: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
        let _ = self.refused.try_send(format!("a {what} by the target: {name}"));
    }
}

impl client::Handler for TargetHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let known = self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data());
        *self.got.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(known)
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &Names,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        if agreed.is_empty() {
            let Names { kex, key, cipher, client_mac, .. } = names;
            // An AEAD has no MAC of its own.
            *agreed = format!("{} {key} {} {}", kex.as_ref(), cipher.as_ref(), client_mac.as_ref());
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let who: String = originator.chars().filter(char::is_ascii_graphic).take(64).collect();
        let at = Endpoint::tcp(address, port);
        self.forwarded("forwarded-tcpip", at, (who, originator_port), channel, reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let at = Endpoint::unix(path);
        self.forwarded("forwarded-streamlocal@openssh.com", at, (String::new(), 0), channel, reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.lent("auth-agent@openssh.com", Lent::Agent, (String::new(), 0), channel, reply).await
    }

    async fn unknown_request(&mut self, what: &str, name: &str) -> Result<(), russh::Error> {
        let kind = if what == "channel request" { Kind::Request } else { Kind::Global };
        if row(Peer::Target, kind, name).is_none_or(|row| row.fate == Fate::Refused) {
            self.note(what, name);
        }
        Ok(())
    }

    async fn should_accept_unknown_server_channel(&mut self, _id: ChannelId, kind: &str) -> bool {
        // Refused by the library; beyond the limit the next known one ends the leg.
        let _ = self.refuse(kind, None).await;
        false
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse("session", Some(reply)).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse("direct-tcpip", Some(reply)).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse("direct-streamlocal@openssh.com", Some(reply)).await
    }

    async fn server_channel_open_x11(
        &mut self,
        channel: Channel<Msg>,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let who: String = originator.chars().filter(char::is_ascii_graphic).take(64).collect();
        self.lent("x11", Lent::X11, (who, originator_port), channel, reply).await
    }
}
