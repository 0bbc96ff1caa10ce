//! What passes between the two legs: looked at, on record, and then on its way.
//!
//! One task reads each peer and one writes to it. Everything waits for what is behind it: a slow disk, a slow bastion or
//! a slow peer slows this one desktop down, and nothing is left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{client, server};
use tokio_util::sync::CancellationToken;

use super::link::{Link, ended};
use super::messages::{Broken, Messages};
use super::target::TargetLeg;
use super::user::{UserLeg, farewell};
use super::view::View;
use super::{FAREWELL, Fault, drain};
use crate::clock::Clock;
use crate::rdp::channel::{Channels, Out};
use crate::rdp::connect::Domain;
use crate::rdp::control::{FromProcess, Permitted};
use crate::rdp::fact::{Fact, Side};
use crate::rdp::keys::Down;
use crate::rdp::licence::Licences;
use crate::rdp::pdu::{Framing, IO_CHANNEL, Malformed, Mcs, Way, is_encrypted, mcs, send_data};
use crate::rdp::record::Kind;
use crate::rdp::share::{self, Drawn, Keys};

/// How many messages wait to be written to a peer; each has at most 64 KiB.
const QUEUE_MESSAGES: usize = 32;

/// The channel from which a target's messages come, as user's programs expect it.
const SERVER: u16 = 1002;

/// How often the bastion is told that the user does something.
const ACTIVE: Duration = Duration::from_secs(1);

type UserSocket = server::TlsStream<TcpStream>;
type TargetSocket = client::TlsStream<TcpStream>;

/// A message for the user's program.
#[derive(Debug)]
struct Shown {
    /// How many records must be on disk before it is shown.
    through: u64,
    bytes: Bytes,
}

/// What the tasks of a desktop share.
#[derive(Debug)]
struct Desktop {
    link: Arc<Link>,
    clock: Clock,
    own: Domain,
    target: Domain,
    channels: Mutex<Channels>,
    record_keys: bool,
    /// When the bastion was last told that the user does something.
    active: Mutex<Option<Instant>>,
    /// The keys that are down on the target.
    down: Mutex<Down>,
    licences: Mutex<Licences>,
    /// Whether the login was said, by NLA or by the target itself. A target with TLS alone may never say it: xrdp shows a
    /// login box where the credential is wrong, and what is typed there passes as keys on a desktop do. That is why its
    /// entry must allow it.
    is_logged_in: AtomicBool,
    logged_in: Notify,
    view: View,
    to_user: mpsc::Sender<Shown>,
    to_target: mpsc::Sender<Bytes>,
}

/// Carries a desktop until it is over; says why it is.
pub(super) async fn run(
    user: UserLeg,
    target: TargetLeg,
    channels: Channels,
    permitted: &Permitted,
    link: &Arc<Link>,
    clock: &Clock,
) -> Fault {
    let (to_user, shown) = mpsc::channel(QUEUE_MESSAGES);
    let (to_target, sent) = mpsc::channel(QUEUE_MESSAGES);
    let desktop = Arc::new(Desktop {
        link: Arc::clone(link),
        clock: clock.clone(),
        own: user.domain.clone(),
        target: target.domain,
        channels: Mutex::new(channels),
        record_keys: permitted.record_keys,
        active: Mutex::new(None),
        down: Mutex::default(),
        licences: Mutex::default(),
        is_logged_in: AtomicBool::new(target.is_logged_in),
        logged_in: Notify::new(),
        view: View::new(),
        to_user,
        to_target,
    });
    let (from_user, user_socket) = user.messages.split();
    let (from_target, target_socket) = target.messages.split();
    let (stop, deaf) = (CancellationToken::new(), CancellationToken::new());
    let durable = permitted.wait_for_disk.then(|| link.orders.durable.clone());
    let mut showing = tokio::spawn(show(user_socket, shown, durable, stop.clone()));
    let mut reading = tokio::spawn(read_user(from_user, Arc::clone(&desktop), deaf.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(read_target(from_target, Arc::clone(&desktop)));
    tasks.spawn(send(target_socket, sent));
    tasks.spawn(obey(Arc::clone(&desktop)));
    // A task is asked once for what it gave.
    let (mut has_read, mut has_shown) = (false, false);
    let over = tokio::select! {
        Some(done) = tasks.join_next() => done.unwrap_or(Fault::Internal),
        done = &mut reading => {
            has_read = true;
            done.unwrap_or(Fault::Internal)
        }
        _ = &mut showing => {
            has_shown = true;
            Fault::UserLeft
        }
    };
    let last = Arc::clone(&desktop);
    drop(desktop);
    // The end of the tasks closes the queues: what a target said last is still shown, but not after the bastion's word.
    tasks.shutdown().await;
    deaf.cancel();
    if !matches!(over, Fault::TargetLeft) {
        stop.cancel();
    }
    let _ = tokio::time::timeout(FAREWELL, last.finish(&over)).await;
    let user = last.own.user;
    drop(last);
    part(&over, user, (!has_shown).then_some(showing), (!has_read).then_some(reading), &stop).await;
    over
}

/// Tells the user's program that it is over, and why.
async fn part(
    over: &Fault,
    user: u16,
    showing: Option<JoinHandle<Option<WriteHalf<UserSocket>>>>,
    reading: Option<JoinHandle<Fault>>,
    stop: &CancellationToken,
) {
    let word = farewell(user, over.code());
    let said = async {
        let Some(mut showing) = showing.filter(|_| !matches!(over, Fault::UserLeft)) else { return };
        let socket = match tokio::time::timeout(FAREWELL, &mut showing).await {
            Ok(socket) => socket.ok().flatten(),
            Err(_) => None,
        };
        stop.cancel();
        if let Some(mut socket) = socket {
            let _ = socket.write_all(&word).await;
            let _ = socket.shutdown().await;
        }
        if let Some(reading) = reading {
            let _ = reading.await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL.saturating_mul(2), said).await;
}

/// So much is written to the user's program at once, where it waits: pictures come in bursts.
const BURST_BYTES: usize = 64 * 1024;

/// Writes to the user's program, each message when its record is where it must be. Gives the socket back when it stops
/// between two messages.
async fn show(
    mut socket: WriteHalf<UserSocket>,
    mut queue: mpsc::Receiver<Shown>,
    mut durable: Option<watch::Receiver<u64>>,
    stop: CancellationToken,
) -> Option<WriteHalf<UserSocket>> {
    let mut waiting: Option<Shown> = None;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Some(socket),
            next = async { if waiting.is_some() { waiting.take() } else { queue.recv().await } } => next,
        };
        let Some(Shown { through, bytes }) = next else { return Some(socket) };
        if let Some(durable) = &mut durable {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Some(socket),
                there = durable.wait_for(|known| *known >= through) => { there.ok()?; }
            }
        }
        let mut burst = vec![bytes];
        while burst.iter().map(Bytes::len).sum::<usize>() < BURST_BYTES
            && let Ok(more) = queue.try_recv()
        {
            if durable.as_ref().is_some_and(|known| *known.borrow() < more.through) {
                waiting = Some(more);
                break;
            }
            burst.push(more.bytes);
        }
        let burst = burst.concat();
        let written = async {
            socket.write_all(&burst).await?;
            socket.flush().await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            written = written => written.ok()?,
        }
    }
}

/// Writes to the target.
async fn send(mut socket: WriteHalf<TargetSocket>, mut queue: mpsc::Receiver<Bytes>) -> Fault {
    while let Some(bytes) = queue.recv().await {
        let written = async {
            socket.write_all(&bytes).await?;
            socket.flush().await
        };
        if let Err(error) = written.await {
            return Fault::Target(error.into());
        }
    }
    Fault::TargetLeft
}

/// Does what the bastion tells at any time, and says when a target tells of a login.
async fn obey(desktop: Arc<Desktop>) -> Fault {
    let orders = &desktop.link.orders;
    let (mut end, mut held) = (orders.end.clone(), orders.held.clone());
    loop {
        let done = tokio::select! {
            refused = ended(&mut end) => return Fault::Refused(refused),
            Ok(()) = held.changed() => {
                let on = *held.borrow_and_update();
                let noted = desktop.link.fact(&desktop.clock, &Fact::Held { on }).await;
                match noted {
                    Ok(_) => desktop.let_go().await,
                    Err(fault) => Err(fault),
                }
            }
            () = orders.look.notified() => {
                let picture = desktop.view.picture().await;
                desktop.link.say(FromProcess::Picture(picture)).await
            }
            () = desktop.logged_in.notified() => desktop.link.say(FromProcess::LoggedIn(Ok(()))).await,
        };
        if let Err(fault) = done {
            return fault;
        }
    }
}

/// Reads the user's program; once it is over, what still comes is read and forgotten.
async fn read_user(
    mut messages: Messages<ReadHalf<UserSocket>>,
    desktop: Arc<Desktop>,
    stop: CancellationToken,
) -> Fault {
    let over = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        fault = desktop.listen_to_user(&mut messages) => Some(fault),
    };
    // Its end of the queue must not outlive the desktop.
    drop(desktop);
    match over {
        Some(over) => over,
        None => {
            let _ = tokio::time::timeout(FAREWELL, drain(messages.socket())).await;
            Fault::UserLeft
        }
    }
}

async fn read_target(mut messages: Messages<ReadHalf<TargetSocket>>, desktop: Arc<Desktop>) -> Fault {
    let mut drawn = Drawn::default();
    loop {
        let passed = match messages.next().await {
            Ok((framing, message)) => desktop.judge_target(framing, message, &mut drawn).await,
            Err(Broken::Closed) => Err(Fault::TargetLeft),
            Err(broken) => Err(Fault::Target(broken)),
        };
        if let Err(fault) = passed {
            return fault;
        }
    }
}

impl Desktop {
    async fn listen_to_user(&self, messages: &mut Messages<ReadHalf<UserSocket>>) -> Fault {
        loop {
            let passed = match messages.next().await {
                Ok((framing, message)) => self.judge_user(framing, message).await,
                Err(Broken::Closed) => Err(Fault::UserLeft),
                Err(broken) => Err(Fault::User(broken)),
            };
            if let Err(fault) = passed {
                return fault;
            }
        }
    }

    fn keys(&self) -> Keys {
        if *self.link.orders.held.borrow() { Keys::Held } else { Keys::Pass }
    }

    async fn judge_user(&self, framing: Framing, message: Bytes) -> Result<(), Fault> {
        let bad = |malformed: Malformed| Fault::User(malformed.into());
        if framing == Framing::FastPath {
            return self.press(message).await;
        }
        match mcs(&message, Way::Request).map_err(bad)? {
            Mcs::Disconnect => Err(Fault::UserLeft),
            Mcs::Data { channel: IO_CHANNEL, data } => {
                if self.licences().pass(Side::User, data) {
                    self.note_licence(Side::User, data).await?;
                    let passing = send_data(Way::Request, self.target.user, self.target.io, data);
                    return self.send(passing.map_err(bad)?).await;
                }
                let judged = share::from_user(data, self.target.user, self.keys()).map_err(bad)?;
                if judged.passing.is_empty() {
                    return Ok(());
                }
                let record = send_data(Way::Request, self.own.user, IO_CHANNEL, &judged.passing).map_err(bad)?;
                let record = Bytes::from(record);
                if judged.has_keys {
                    self.note_active().await?;
                    self.down().note(Kind::IoInput, &record);
                }
                if self.record_keys || !judged.has_keys {
                    self.record(Kind::IoInput, &record).await?;
                }
                let passing = send_data(Way::Request, self.target.user, self.target.io, &judged.passing);
                self.send(passing.map_err(bad)?).await?;
                self.let_go().await
            }
            Mcs::Data { channel, data } => match self.own.place(channel) {
                Some(place) => self.channel(place, Side::User, data).await,
                None => Ok(()),
            },
            Mcs::Other(_) => Ok(()),
        }
    }

    async fn press(&self, message: Bytes) -> Result<(), Fault> {
        if is_encrypted(&message) {
            return Err(Fault::User(Malformed("encrypted fast-path message").into()));
        }
        if self.keys() == Keys::Held {
            return Ok(());
        }
        self.note_active().await?;
        self.down().note(Kind::FastPathInput, &message);
        if self.record_keys {
            self.record(Kind::FastPathInput, &message).await?;
        }
        self.to_target.send(message).await.map_err(|_| Fault::TargetLeft)?;
        self.let_go().await
    }

    fn down(&self) -> MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go on the target of what its user has pressed, if the session is held. Asked when that begins, and after each
    /// message that passed: one may have been on its way.
    async fn let_go(&self) -> Result<(), Fault> {
        if self.keys() == Keys::Pass {
            return Ok(());
        }
        let messages = self.down().release();
        for message in messages.into_iter().map(Bytes::from) {
            if self.record_keys {
                self.record(Kind::FastPathInput, &message).await?;
            }
            self.to_target.send(message).await.map_err(|_| Fault::TargetLeft)?;
        }
        Ok(())
    }

    /// Says that the user does something, where that was not said just now.
    async fn note_active(&self) -> Result<(), Fault> {
        let now = self.clock.instant();
        let is_due = {
            let mut last = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= ACTIVE);
            if is_due {
                *last = Some(now);
            }
            is_due
        };
        if is_due { self.link.say(FromProcess::Active).await } else { Ok(()) }
    }

    async fn judge_target(&self, framing: Framing, message: Bytes, drawn: &mut Drawn) -> Result<(), Fault> {
        let bad = |malformed: Malformed| Fault::Target(malformed.into());
        if framing == Framing::FastPath {
            if is_encrypted(&message) {
                return Err(bad(Malformed("encrypted fast-path message")));
            }
            drawn.judge(&message).map_err(Fault::Share)?;
            let through = self.record(Kind::FastPathOutput, &message).await?;
            return self.show(through, message).await;
        }
        match mcs(&message, Way::Indication).map_err(bad)? {
            Mcs::Disconnect => Err(Fault::TargetLeft),
            Mcs::Data { channel, data } if channel == self.target.io => self.judge_io(data).await,
            Mcs::Data { channel, data } => match self.target.place(channel) {
                Some(place) => self.channel(place, Side::Target, data).await,
                None => Ok(()),
            },
            Mcs::Other(_) => Ok(()),
        }
    }

    async fn judge_io(&self, data: &[u8]) -> Result<(), Fault> {
        let shown = |data: &[u8]| {
            let passing = send_data(Way::Indication, SERVER, IO_CHANNEL, data);
            passing.map(Bytes::from).map_err(|malformed| Fault::Target(malformed.into()))
        };
        if self.licences().pass(Side::Target, data) {
            let through = self.note_licence(Side::Target, data).await?;
            return self.show(through, shown(data)?).await;
        }
        let judged = share::from_target(data).map_err(Fault::Share)?;
        if judged.size.is_some() {
            self.licences().close();
        }
        if judged.logged_in && !self.is_logged_in.swap(true, Ordering::SeqCst) {
            self.logged_in.notify_one();
        }
        if judged.passing.is_empty() {
            return Ok(());
        }
        let passing = shown(&judged.passing)?;
        let through = self.record(Kind::IoOutput, &passing).await?;
        self.show(through, passing).await
    }

    fn licences(&self) -> MutexGuard<'_, Licences> {
        self.licences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts on record that so much passes about licences; what it is may hold keys.
    async fn note_licence(&self, from: Side, data: &[u8]) -> Result<u64, Fault> {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let (to_user, to_target) = if from == Side::Target { (bytes, 0) } else { (0, bytes) };
        let fact = Fact::Passed { name: "licence".to_owned(), to_user, to_target };
        self.link.fact(&self.clock, &fact).await
    }

    /// Does what is to be done with a chunk of a static channel.
    async fn channel(&self, place: usize, from: Side, chunk: &[u8]) -> Result<(), Fault> {
        let outs = {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.hold(*self.link.orders.held.borrow());
            channels.take(place, from, chunk)
        };
        let mut through = 0;
        for out in outs {
            match out {
                Out::Record(kind, bytes) => through = self.link.record(&self.clock, kind, &bytes).await?,
                Out::Send(side, chunk) => self.pass(place, side, through, &chunk).await?,
            }
        }
        Ok(())
    }

    async fn pass(&self, place: usize, to: Side, through: u64, chunk: &[u8]) -> Result<(), Fault> {
        let bad = |malformed: Malformed| Fault::Target(malformed.into());
        let number = |domain: &Domain| domain.channels.get(place).copied().unwrap_or_default();
        match to {
            Side::User => {
                let message = send_data(Way::Indication, SERVER, number(&self.own), chunk).map_err(bad)?;
                self.show(through, message.into()).await
            }
            Side::Target => {
                let message = send_data(Way::Request, self.target.user, number(&self.target), chunk).map_err(bad)?;
                self.send(message).await
            }
        }
    }

    /// Records a message, and draws it.
    async fn record(&self, kind: Kind, message: &Bytes) -> Result<u64, Fault> {
        let number = self.link.record(&self.clock, kind, message).await?;
        self.view.draw(kind, message.clone()).await;
        Ok(number)
    }

    async fn show(&self, through: u64, bytes: Bytes) -> Result<(), Fault> {
        self.to_user.send(Shown { through, bytes }).await.map_err(|_| Fault::UserLeft)
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Fault> {
        self.to_target.send(bytes.into()).await.map_err(|_| Fault::TargetLeft)
    }

    /// What is recorded last.
    async fn finish(&self, over: &Fault) {
        let outs = self.channels.lock().unwrap_or_else(PoisonError::into_inner).finish();
        for out in outs {
            if let Out::Record(kind, bytes) = out {
                let _ = self.link.record(&self.clock, kind, &bytes).await;
            }
        }
        let _ = self.link.fact(&self.clock, &Fact::Ended { why: over.to_string() }).await;
    }
}
