//! Forwards: a connection that the target makes for the user, or that somebody makes to a port where it listens for them.
//!
//! Of a forward the recording holds where it led, who asked, when, and how many bytes went each way; not the bytes.
//! Where it leads is judged by the name that was asked for, or by the one address that the bastion found for it, which
//! is then the only one that the target is given: nobody looks the name up again.
//!
//! What this does **not** guard against: what goes through a forward is not seen. SSH in it is ended by its first line, a
//! tripwire; TLS around it passes.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::agent::{self, Asking};
use super::lend::lent;
use super::registry::OpenChannel;
use super::timekeeper::wait_end;
use super::{Bastion, EndCause, Live, Refusal, Visit, Visitor};
use crate::audit::AuditEvent;
use crate::cast::Entry;
use crate::grant::{Denial, Permit};
use crate::listener::{ForwardStart, Limits, ListenStart, Opener, Originator, Place};
use crate::model::{
    Asked, ChannelClass, ChannelEvent, ChannelNumber, Destination, Endpoint, Inbound, SessionId, UserName,
};
use crate::policy::DenyReason;
use crate::recorder::{ChannelFacts, RecorderError, Track};
use crate::relay::{self, End, Facts, Pause};
use crate::target::{Incoming, Leg};
use crate::wire::channel::{Credit, Sink, Source};

/// A name server has so long to answer.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// So many forwards one session may open, and places it may have its target listen on, in a minute. Each has files of its
/// own, and whoever reaches a port where the target listens makes one.
pub const PER_MINUTE_MAX: u32 = 600;

/// How much of forwards there may be at once. Each holds a file, and up to two windows of memory.
pub struct ForwardLimits {
    open: Limits<UserName>,
    lookups: Limits<UserName>,
}

impl Default for ForwardLimits {
    /// 2048 forwards, 128 of one user; 16 names that are being looked up, 4 of one user.
    fn default() -> Self {
        Self { open: Limits::new(2048, 128), lookups: Limits::new(16, 4) }
    }
}
/// The user's client has so long to take what came in where the target listens.
const TAKE_MAX: Duration = Duration::from_secs(30);

/// A forward that may be opened, or a name that must be looked up first.
enum Judged {
    /// As it was asked for.
    May(Box<Permit>),
    /// Only if its host has an address that a rule names.
    ByAddress(String, u16),
}

/// Whether the user may, by the place as it was asked for.
fn judge(bastion: &Bastion, visitor: &Visitor, destination: &Destination, asked: &Asked) -> Result<Judged, Refusal> {
    let (user, now) = (visitor.user.user(), bastion.clock.now());
    let denial = match bastion.ledger.permit_asked(visitor.asker(), destination, asked, now) {
        Ok(permit) => return Ok(Judged::May(Box::new(permit))),
        Err(denial) => denial,
    };
    if let (Denial::NoRule(DenyReason::NoRuleForPlace(class)), Some(endpoint @ Endpoint::Tcp { host, port })) =
        (&denial, asked.endpoint())
        && endpoint.address().is_none()
        && bastion.ledger.looks_up(user, destination, *port)
    {
        // Not for those who may open none now, for want of a grant.
        let _ = bastion.ledger.permit(visitor.asker(), destination, *class, now).map_err(Refusal::Denied)?;
        return Ok(Judged::ByAddress(host.clone(), *port));
    }
    Err(Refusal::Denied(denial))
}

/// Looks a name up, once; none if there was no answer. A name server that hangs holds one of a few threads, and the place
/// of whoever asked until it has answered.
async fn look_up(host: String, port: u16, place: Place<UserName>) -> Option<Vec<IpAddr>> {
    let looking = tokio::task::spawn_blocking(move || {
        let _place = place;
        (host.as_str(), port).to_socket_addrs().map(|found| found.map(|found| found.ip().to_canonical()).collect())
    });
    timeout(LOOKUP_MAX, looking).await.ok()?.ok()?.ok()
}

/// A name that was looked up for a forward, its port, and the addresses that were found.
pub type LookedUp = (ForwardStart, u16, Option<Vec<IpAddr>>);

/// Where the target listens for the user, and its place among the session's channels.
pub type Listening = BTreeMap<Endpoint, OpenChannel>;

/// Places on which one session may have its target listen.
const LISTEN_MAX: usize = 16;

impl Visit {
    /// Opens a forward, or has its name looked up first, or says no.
    pub(super) async fn forward(&mut self, start: ForwardStart) {
        let judged = self.destination().and_then(|destination| {
            judge(&self.bastion, &self.visitor, &destination, &start.asked).map(|judged| (destination, judged))
        });
        let outcome = match judged {
            Ok((destination, Judged::May(permit))) => {
                return match self.count_channel(&destination, std::slice::from_ref(&start.asked)).await {
                    Ok(()) => self.open_forward(start, destination, permit).await,
                    Err(refusal) => self.refuse_forward(start, &refusal).await,
                };
            }
            Ok((destination, Judged::ByAddress(host, port))) => {
                self.prepare_lookup(&destination, &start, host, port).await
            }
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(looking) => drop(self.lookups.spawn(async move {
                let (port, found) = looking.await;
                (start, port, found)
            })),
            Err(refusal) => self.refuse_forward(start, &refusal).await,
        }
    }

    /// Puts on record that a name will be looked up: the question alone may carry something out.
    async fn prepare_lookup(
        &mut self,
        destination: &Destination,
        start: &ForwardStart,
        host: String,
        port: u16,
    ) -> Result<impl Future<Output = (u16, Option<Vec<IpAddr>>)> + use<>, Refusal> {
        let user = self.visitor.user.user();
        let place = self.bastion.forwards.lookups.take(user).ok_or(Refusal::TooMany("names that are looked up"))?;
        let asked = start.asked.class.into();
        let live = self.live(destination, &asked).await?;
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        tokio::select! {
            () = live.recording.note(format!("{}: its name is looked up", start.asked)) => {}
            cause = wait_end(&mut end) => return Err(Refusal::Ended(cause)),
            failure = failed => return Err(Refusal::Recorder(failure)),
        }
        Ok(async move { (port, look_up(host, port, place).await) })
    }

    /// The session, opened where there is none; counts one more thing of which it may have so many in a minute.
    async fn live(&mut self, destination: &Destination, asked: &Asked) -> Result<&mut Live, Refusal> {
        if self.live.is_none() {
            self.live = Some(self.open(destination, asked).await?);
        }
        let now = self.bastion.clock.instant();
        if let Some(live) = &self.live {
            self.must_be_watched(live, destination, std::slice::from_ref(asked));
        }
        let Some(live) = &mut self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        if live.registration.pause().is_on() {
            return Err(Refusal::Paused);
        }
        live.forwards.take(now).map(|_| live).ok_or(Refusal::TooMany("forwards in one minute"))
    }

    /// Goes on with a forward whose name has been looked up: to the first address that a rule names.
    pub(super) async fn looked_up(&mut self, (mut start, port, found): LookedUp) {
        let destination = match (self.destination(), &found) {
            (Ok(destination), Some(_)) => destination,
            (Ok(_), None) => return self.refuse_forward(start, &Refusal::NotFound).await,
            (Err(refusal), _) => return self.refuse_forward(start, &refusal).await,
        };
        for address in found.into_iter().flatten() {
            let host = address.to_string();
            let asked = Asked::forward(start.asked.class, Endpoint::Tcp { host, port });
            if let Ok(Judged::May(permit)) = judge(&self.bastion, &self.visitor, &destination, &asked) {
                self.mark(format!("{} is at {address}", start.asked));
                start.asked = asked;
                return self.open_forward(start, destination, permit).await;
            }
        }
        let refusal = Refusal::Denied(Denial::NoRule(DenyReason::NoRuleForPlace(start.asked.class)));
        self.refuse_forward(start, &refusal).await;
    }

    async fn refuse_forward(&mut self, start: ForwardStart, refusal: &Refusal) {
        self.note_forward_refused(&start.asked, refusal);
        start.reply.prohibit().await;
    }

    async fn open_forward(&mut self, start: ForwardStart, destination: Destination, permit: Box<Permit>) {
        match self.record_forward(&destination, &permit, &start.asked, &start.originator).await {
            Ok((recorded, carrying)) => drop(self.channels.spawn(carry(start, recorded, carrying))),
            Err(refusal) => self.refuse_forward(start, &refusal).await,
        }
    }

    /// Opens the session where there is none, and a forward's record in it.
    async fn record_forward(
        &mut self,
        destination: &Destination,
        permit: &Permit,
        asked: &Asked,
        originator: &Originator,
    ) -> Result<(Recorded, Carrying), Refusal> {
        let place = self.bastion.forwards.open.take(self.visitor.user.user()).ok_or(Refusal::TooMany("forwards"))?;
        self.live(destination, asked).await?;
        let number = ChannelNumber(self.next);
        self.next = self.next.saturating_add(1);
        let Some(live) = &mut self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        self.bastion.recorder.healthy_for(permit.recording().durability).map_err(Refusal::Recorder)?;
        let held = Held { _open: live.registration.channel(asked.clone()), _place: place };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        let recorded = tokio::select! {
            recorded = record(live, permit, number, asked, originator) => recorded,
            cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
            failure = failed => Err(Refusal::Recorder(failure)),
        }?;
        live.registration.judge(&self.bastion.ledger, self.bastion.clock.now());
        let (visitor, bastion) = (Arc::clone(&self.visitor), Arc::clone(&self.bastion));
        let (leg, over) = (Arc::clone(&live.leg), self.over.child_token());
        let carrying = Carrying { visitor, bastion, leg, over, held: Arc::new(held) };
        Ok((recorded, carrying))
    }

    /// Has the target listen, or says no.
    pub(super) async fn listen(&mut self, start: ListenStart) {
        let ListenStart { asked, listening } = start;
        match self.listen_at(&asked).await {
            Ok(at) => {
                self.mark(format!("{} {at}: the target listens", asked.class));
                let _ = listening.send(port_of(&at));
            }
            // Without an answer it is refused.
            Err(refusal) => self.note_forward_refused(&asked, &refusal),
        }
    }

    async fn listen_at(&mut self, asked: &Asked) -> Result<Endpoint, Refusal> {
        let destination = self.destination()?;
        let Some(endpoint) = asked.endpoint() else { return Err(Refusal::NotFound) };
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        self.bastion.ledger.permit_asked(asker, &destination, asked, now).map_err(Refusal::Denied)?;
        if self.listening.len() >= LISTEN_MAX {
            return Err(Refusal::TooMany("places where the target listens"));
        }
        let bastion = Arc::clone(&self.bastion);
        let user = self.visitor.user.user().clone();
        let live = self.live(&destination, asked).await?;
        let open = live.registration.channel(asked.clone());
        let event = AuditEvent::Forward {
            session: live.id.clone(),
            channel: 0,
            user,
            class: asked.class.to_string(),
            place: endpoint.to_string(),
        };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        let listening = async {
            bastion.record(event).await.map_err(Refusal::Audit)?;
            live.leg.listen(endpoint).await.map_err(Refusal::Dial)
        };
        let at = tokio::select! {
            at = listening => at?,
            cause = wait_end(&mut end) => return Err(Refusal::Ended(cause)),
            failure = failed => return Err(Refusal::Recorder(failure)),
        };
        live.registration.judge(&bastion.ledger, bastion.clock.now());
        self.listening.insert(at.clone(), open);
        Ok(at)
    }

    /// Has the target listen no longer.
    pub(super) async fn unlisten(&mut self, start: ListenStart) {
        let ListenStart { asked, listening } = start;
        // By the port that it got.
        if asked.endpoint().and_then(|at| self.listening.remove(at)).is_none() {
            return self.note_refused(&format!("the end of {asked}: nothing listens there"));
        }
        let (Some(at), Some(live)) = (asked.endpoint(), &self.live) else { return };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        tokio::select! {
            () = live.leg.unlisten(at) => {}
            _ = wait_end(&mut end) => return,
            _ = failed => return,
        }
        self.mark(format!("{asked}: the target listens no longer"));
        let _ = listening.send(port_of(at));
    }

    /// Somebody connected where the target listens, or wants what it is lent.
    pub(super) async fn incoming(&mut self, incoming: Incoming) {
        let lent = lent(&incoming.at).map(|(class, _)| class);
        let asked = match (&incoming.at, &incoming.asked, lent) {
            (_, _, Some(class)) => Some(Asked::from(class)),
            (Inbound::Place(at), Some(asked), None) => {
                self.listening.get(at).map(|open| Asked::forward(open.class(), asked.clone()))
            }
            (Inbound::Place(_) | Inbound::Agent | Inbound::X11, _, None) => None,
        };
        let Some(asked) = asked else { return incoming.refuse().await };
        let Some(place) = self.connection.place() else {
            self.note_forward_refused(&asked, &Refusal::TooMany("channels of one connection"));
            return incoming.refuse().await;
        };
        let destination = match lent {
            Some(_) => self.live_destination(),
            None => self.destination(),
        };
        match self.take_in(&incoming, &asked, destination).await {
            Ok((recorded, carrying, asking)) => {
                let opener = self.connection.opener();
                self.channels.spawn(carry_back(incoming, opener, recorded, place, carrying, asking));
            }
            Err(refusal) => {
                self.note_forward_refused(&asked, &refusal);
                incoming.refuse().await;
            }
        }
    }

    /// Judges it, and opens its record.
    async fn take_in(
        &mut self,
        incoming: &Incoming,
        asked: &Asked,
        destination: Result<Destination, Refusal>,
    ) -> Result<(Recorded, Carrying, Option<Asking>), Refusal> {
        let destination = destination?;
        let agency = self.live.as_ref().filter(|_| asked.class == ChannelClass::Agent).map(|live| &live.agency);
        let asking = match agency {
            Some(agency) => Some(Asking::new(agency, destination.clone())?),
            None => None,
        };
        let (address, port) = &incoming.originator;
        let originator = Originator::new(address, *port);
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        let permit = self.bastion.ledger.permit_asked(asker, &destination, asked, now).map_err(Refusal::Denied)?;
        let (recorded, carrying) = self.record_forward(&destination, &permit, asked, &originator).await?;
        Ok((recorded, carrying, asking))
    }
}

fn port_of(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tcp { port, .. } => *port,
        Endpoint::Unix(_) => 0,
    }
}

/// Opens the record of a forward; its header is on disk on return.
///
/// # Errors
/// `Recorder` if it cannot be recorded.
async fn record(
    live: &Live,
    permit: &Permit,
    number: ChannelNumber,
    asked: &Asked,
    originator: &Originator,
) -> Result<Recorded, Refusal> {
    let facts = ChannelFacts {
        number,
        class: asked.class,
        terminal: None,
        command: None,
        forward: asked.endpoint().map(Endpoint::to_string),
        environment: Vec::new(),
        pixels: None,
    };
    let track = Arc::new(live.recording.channel(permit, facts).await.map_err(Refusal::Recorder)?);
    let Originator { address, port } = originator;
    let text = match asked.endpoint() {
        // A socket has nobody who could be named.
        Some(Endpoint::Unix(_)) => asked.to_string(),
        None if address.is_empty() => asked.to_string(),
        Some(Endpoint::Tcp { .. }) | None => format!("{asked}, asked for by {address} port {port}"),
    };
    let _ = track.append(Entry::Marker(text)).await.map_err(Refusal::Recorder)?;
    Ok(Recorded {
        track,
        facts: Facts {
            class: asked.class,
            pty: false,
            policy: permit.recording().clone(),
            digested: false,
            pause: live.registration.pause(),
            activity: live.activity.clone(),
        },
        session: live.id.clone(),
        number,
        asked: asked.clone(),
    })
}

/// A forward whose record is open.
pub(super) struct Recorded {
    pub track: Arc<Track>,
    facts: Facts,
    pub session: SessionId,
    pub number: ChannelNumber,
    asked: Asked,
}

/// What a forward's task uses.
pub(super) struct Carrying {
    /// Who.
    pub visitor: Arc<Visitor>,
    /// The bastion.
    pub bastion: Arc<Bastion>,
    /// The target.
    pub leg: Arc<Leg>,
    /// Ends it.
    pub over: CancellationToken,
    /// Given back when it is over, and its peers have answered.
    held: Arc<Held>,
}

/// What a forward holds.
struct Held {
    /// Its place among the session's channels, by which it is judged again.
    _open: OpenChannel,
    /// And among the user's forwards.
    _place: Place<UserName>,
}

/// Has the target connect, and relays.
///
/// # Errors
/// `RecorderError` ends the whole session.
async fn carry(start: ForwardStart, recorded: Recorded, carrying: Carrying) -> Result<(), RecorderError> {
    let ForwardStart { originator, source, sink, reply, place, .. } = start;
    let held = Arc::new((place, Arc::clone(&carrying.held)));
    let Some(endpoint) = recorded.asked.endpoint() else { return recorded.end("leads nowhere").await };
    if !recorded.announce(&carrying).await {
        reply.fail().await;
        return recorded.end("cannot be put on record").await;
    }
    let connected = tokio::select! {
        connected = carrying.leg.connect(endpoint, (&originator.address, originator.port), Arc::clone(&held)) => connected,
        () = carrying.over.cancelled() => return recorded.end("the session ended first").await,
    };
    match connected {
        Ok((from_target, to_target)) => {
            reply.accept().await;
            let target = End { source: from_target, sink: to_target };
            recorded.relay(End { source, sink }, target, carrying).await
        }
        Err(error) => {
            reply.fail().await;
            recorded.end(&error.to_string()).await
        }
    }
}

/// Takes what came in where the target listens, or wants what it is lent, to the user, and relays.
///
/// # Errors
/// `RecorderError` ends the whole session.
async fn carry_back(
    incoming: Incoming,
    opener: Opener,
    recorded: Recorded,
    place: OwnedSemaphorePermit,
    carrying: Carrying,
    asking: Option<Asking>,
) -> Result<(), RecorderError> {
    let (address, port) = incoming.originator.clone();
    let originator = Originator::new(&address, port);
    if !recorded.announce(&carrying).await {
        incoming.refuse().await;
        return recorded.end("cannot be put on record").await;
    }
    let held = Arc::new((place, Arc::clone(&carrying.held)));
    let opening = timeout(TAKE_MAX, opener.open(incoming.at.clone(), originator, Arc::clone(&held)));
    let opened = tokio::select! {
        opened = opening => opened.ok().flatten(),
        () = carrying.over.cancelled() => return recorded.end("the session ended first").await,
    };
    let Some((source, sink)) = opened else {
        incoming.refuse().await;
        return recorded.end("the user's client does not take it").await;
    };
    let at = incoming.at.clone();
    let (from_target, to_target) = incoming.accept().await;
    let (user, target) = (End { source, sink }, End { source: from_target, sink: to_target });
    let Some((_, lent)) = lent(&at) else { return recorded.relay(user, target, carrying).await };
    if let Some(asking) = asking {
        return agent::converse(user, target, recorded, carrying, asking).await;
    }
    // It ends with what lent it.
    let (leg, over) = (Arc::clone(&carrying.leg), carrying.over.clone());
    let relaying = recorded.relay(user, target, carrying);
    tokio::pin!(relaying);
    tokio::select! {
        ended = &mut relaying => return ended,
        () = leg.returned(lent) => over.cancel(),
    }
    relaying.await
}

impl Recorded {
    /// What it asks before it passes something on.
    pub fn pause(&self) -> &Pause {
        &self.facts.pause
    }

    /// Puts it into the audit log, before the first byte.
    async fn announce(&self, carrying: &Carrying) -> bool {
        let event = AuditEvent::Forward {
            session: self.session.clone(),
            channel: self.number.0,
            user: carrying.visitor.user.user().clone(),
            class: self.asked.class.to_string(),
            place: self.asked.endpoint().map_or_else(|| String::from("the user's own"), Endpoint::to_string),
        };
        carrying.bastion.record(event).await.is_ok()
    }

    /// Ends the record of a forward that was not opened.
    async fn end(self, why: &str) -> Result<(), RecorderError> {
        let _ = self.track.append(Entry::Marker(format!("not opened: {why}"))).await?;
        self.track.finish().await
    }

    async fn relay<US, UK, TS, TK>(
        self,
        user: End<US, UK>,
        target: End<TS, TK>,
        carrying: Carrying,
    ) -> Result<(), RecorderError>
    where
        US: Source + 'static,
        UK: Sink + 'static,
        TS: Source + 'static,
        TK: Sink + 'static,
    {
        let tripped = Arc::new(AtomicBool::new(false));
        let user = End { source: Tripwire::new(user.source, &tripped), sink: user.sink };
        let target = End { source: Tripwire::new(target.source, &tripped), sink: target.sink };
        let Self { track, facts, asked, session, .. } = self;
        let Carrying { visitor, bastion, over, held: _held, .. } = carrying;
        // No lines of ours go into a forward.
        let (_, notices) = mpsc::channel(1);
        let carried = relay::run(user, target, facts, Arc::clone(&track), notices, over).await;
        if tripped.load(Ordering::SeqCst) {
            let what = format!("SSH inside {asked}");
            let _ = track.append(Entry::Marker(format!("refused: {what}"))).await?;
            info!(session = %session, user = %visitor.user.user(), what, "Refused");
            bastion
                .note(AuditEvent::ChannelRefused {
                    session: Some(session),
                    user: visitor.user.user().clone(),
                    source: visitor.source.clone(),
                    what,
                })
                .await;
        }
        let finished = track.finish().await;
        carried.and(finished)
    }
}

/// Ends a forward in which one side says that it speaks SSH (RFC 4253 section 4.2): its sessions would be neither judged
/// nor recorded.
struct Tripwire<S> {
    source: S,
    seen: Seen,
    tripped: Arc<AtomicBool>,
}

/// What of the first line is compared.
#[derive(Debug)]
struct Seen {
    bytes: usize,
    /// How many bytes of `SSH-` the line began with; `None` in the middle of another line.
    begun: Option<usize>,
}

const SSH: &[u8] = b"SSH-";
/// A server may send lines before the one that says SSH: so far it is looked for.
const LOOK_BYTES_MAX: usize = 64 * 1024;

impl Seen {
    fn start() -> Self {
        Self { bytes: 0, begun: Some(0) }
    }

    /// Whether a line begins with `SSH-`, however the bytes come.
    fn says_ssh(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes.iter().take(LOOK_BYTES_MAX.saturating_sub(self.bytes)) {
            self.bytes = self.bytes.saturating_add(1);
            self.begun = match self.begun {
                Some(count) if SSH.get(count) == Some(byte) => Some(count.saturating_add(1)),
                _ => (*byte == b'\n').then_some(0),
            };
            if self.begun == Some(SSH.len()) {
                return true;
            }
        }
        false
    }
}

impl<S> Tripwire<S> {
    fn new(source: S, tripped: &Arc<AtomicBool>) -> Self {
        Self { source, seen: Seen::start(), tripped: Arc::clone(tripped) }
    }

    fn says_ssh(&mut self, bytes: &Bytes) -> bool {
        self.seen.bytes < LOOK_BYTES_MAX && self.seen.says_ssh(bytes)
    }
}

impl<S: Source> Source for Tripwire<S> {
    async fn next(&mut self) -> Option<ChannelEvent> {
        let event = self.source.next().await?;
        if let ChannelEvent::Data(bytes) = &event
            && self.says_ssh(bytes)
        {
            self.tripped.store(true, Ordering::SeqCst);
            return Some(ChannelEvent::Close);
        }
        Some(event)
    }

    fn credit(&self) -> impl Credit + 'static {
        self.source.credit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_found_at_the_start_of_a_line_however_the_bytes_come() {
        let says = |text: &[u8], step: usize| {
            let mut seen = Seen::start();
            text.chunks(step).any(|part| seen.says_ssh(part))
        };
        for step in 1..8 {
            for ssh in [&b"SSH-2.0-OpenSSH"[..], b"SSH-", b"hello\r\nSSH-2.0-x", b"\n\n\nSSH-1.5", b"SSSH\nSSH-"] {
                assert!(says(ssh, step), "{ssh:?} {step}");
            }
            for other in [&b"GET / HTTP/1.1\r\nServer: SSH-x\r\n"[..], b"SSH", b" SSH-2.0", b"ssh-2.0", b"xSSH-\nSSH"] {
                assert!(!says(other, step), "{other:?} {step}");
            }
        }
        // Beyond that nothing is looked at.
        let mut late = vec![b'x'; LOOK_BYTES_MAX];
        late.extend_from_slice(b"\nSSH-2.0");
        assert!(!says(&late, 4096));
    }
}
