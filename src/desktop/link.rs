//! The process's end of the control socket: what it says, in order, and what it is told.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::frames::Handed;
use super::{Fault, frames};
use crate::clock::Clock;
use crate::rdp::control::{Credential, FromProcess, Permitted, Refused, Start, ToProcess};
use crate::rdp::fact::Fact;
use crate::rdp::record::{self, Kind};
use crate::secret::Secret;

/// How many frames wait for the bastion to read them. When they do, the desktop waits, and nothing is left out.
const QUEUE_FRAMES: usize = 32;

/// The link to the bastion. What it tells at any time is in `orders`.
#[derive(Debug)]
pub(super) struct Link {
    out: mpsc::Sender<FromProcess>,
    answers: Mutex<mpsc::Receiver<Answer>>,
    pub(super) orders: Orders,
    records: Mutex<Records>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What answers a question, and the socket that came with it.
type Answer = (ToProcess, Option<OwnedFd>);

/// What the bastion tells at any time.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// How many records are on disk.
    pub(super) durable: watch::Receiver<u64>,
    /// Whether keys, mouse and clipboard are held back.
    pub(super) held: watch::Receiver<bool>,
    /// That it is over.
    pub(super) end: watch::Receiver<Option<Refused>>,
    /// A picture is asked for.
    pub(super) look: Arc<Notify>,
}

#[derive(Debug)]
struct Records {
    sent: u64,
    opened: Option<std::time::Instant>,
}

impl Link {
    pub(super) fn new(socket: UnixStream) -> Self {
        let (reader, writer) = socket.into_split();
        let (out, queue) = mpsc::channel(QUEUE_FRAMES);
        let (answer, answers) = mpsc::channel(1);
        let (durable_to, durable) = watch::channel(0);
        let (held_to, held) = watch::channel(false);
        let (end_to, end) = watch::channel(None);
        let look = Arc::new(Notify::new());
        let told = Told { answer, durable: durable_to, held: held_to, end: end_to, look: Arc::clone(&look) };
        tokio::spawn(listen(Handed::new(reader), told));
        let writer = tokio::spawn(speak(writer, queue));
        let orders = Orders { durable, held, end, look };
        let records = Mutex::new(Records { sent: 0, opened: None });
        Self { out, answers: Mutex::new(answers), orders, records, writer: Mutex::new(Some(writer)) }
    }

    /// Says something.
    pub(super) async fn say(&self, what: FromProcess) -> Result<(), Fault> {
        self.out.send(what).await.map_err(|_| Fault::BastionGone)
    }

    /// Opens the time of the records.
    pub(super) async fn open(&self, clock: &Clock) {
        self.records.lock().await.opened = Some(clock.instant());
    }

    /// Sends a record; gives its number, from one.
    pub(super) async fn record(&self, clock: &Clock, kind: Kind, bytes: &[u8]) -> Result<u64, Fault> {
        // Held while it waits for room: the numbers are those of the order in which records go out.
        let mut records = self.records.lock().await;
        let opened = records.opened.ok_or(Fault::NotOpen)?;
        let mut whole = Vec::new();
        let at = clock.instant().saturating_duration_since(opened);
        record::write(at, kind, bytes, &mut whole).map_err(Fault::Record)?;
        self.say(FromProcess::Record(whole)).await?;
        records.sent = records.sent.saturating_add(1);
        Ok(records.sent)
    }

    /// Sends a record of a fact.
    pub(super) async fn fact(&self, clock: &Clock, fact: &Fact) -> Result<u64, Fault> {
        self.record(clock, Kind::Event, &fact.to_json()).await
    }

    /// What the process is told first.
    pub(super) async fn start(&self) -> Result<Start, Fault> {
        let (ToProcess::Start(start), None) = self.answer().await? else { return Err(Fault::Unanswered("Start")) };
        Ok(start)
    }

    /// The secret of a ticket; none if the bastion knows no such ticket.
    pub(super) async fn ticket_secret(&self, name: String) -> Result<Option<Secret<String>>, Fault> {
        self.say(FromProcess::Ticket { name }).await?;
        match self.answer().await {
            Ok((ToProcess::TicketSecret(secret), _)) => Ok(Some(secret)),
            Err(Fault::Refused(_)) if self.orders.end.borrow().is_none() => Ok(None),
            Err(fault) => Err(fault),
            Ok(_) => Err(Fault::Unanswered("Ticket")),
        }
    }

    /// The answer to `Login`, and the way to the target.
    pub(super) async fn permitted(&self) -> Result<(Permitted, TcpStream), Fault> {
        let (ToProcess::Permitted(permitted), Some(socket)) = self.answer().await? else {
            return Err(Fault::Unanswered("Login"));
        };
        let socket = std::net::TcpStream::from(socket);
        let socket = TcpStream::from_std(socket).map_err(|_| Fault::Unanswered("Login"))?;
        Ok((*permitted, socket))
    }

    /// The answer to `Checked`.
    pub(super) async fn credential(&self) -> Result<Credential, Fault> {
        let (ToProcess::Credential(credential), _) = self.answer().await? else {
            return Err(Fault::Unanswered("Checked"));
        };
        Ok(credential)
    }

    /// What answers a question; a refusal of it, and the end of everything, are faults.
    async fn answer(&self) -> Result<Answer, Fault> {
        let mut end = self.orders.end.clone();
        let mut answers = self.answers.lock().await;
        let answer = tokio::select! {
            answer = answers.recv() => answer.ok_or(Fault::BastionGone)?,
            refused = ended(&mut end) => return Err(Fault::Refused(refused)),
        };
        if let ToProcess::Refused(refused) = answer.0 { Err(Fault::Refused(refused)) } else { Ok(answer) }
    }

    /// Says what is last, and waits until the bastion has it all.
    pub(super) async fn close(&self, why: String) {
        let writer = self.writer.lock().await.take();
        let _ = tokio::time::timeout(CLOSE, async {
            let _ = self.out.send(FromProcess::Ended { why }).await;
            if let Some(writer) = writer {
                let _ = writer.await;
            }
        })
        .await;
    }
}

/// How long the bastion may take to read what was said last.
const CLOSE: Duration = Duration::from_secs(10);

/// Waits until the bastion ends it.
pub(super) async fn ended(end: &mut watch::Receiver<Option<Refused>>) -> Refused {
    match end.wait_for(Option::is_some).await.map(|refused| refused.clone()) {
        Ok(Some(refused)) => refused,
        Ok(None) | Err(_) => gone(),
    }
}

fn gone() -> Refused {
    Refused { code: 1, why: "the bastion is gone".to_owned() }
}

struct Told {
    answer: mpsc::Sender<Answer>,
    durable: watch::Sender<u64>,
    held: watch::Sender<bool>,
    end: watch::Sender<Option<Refused>>,
    look: Arc<Notify>,
}

async fn listen(mut reader: Handed, told: Told) {
    while let Ok(Some(order)) = frames::told(&mut reader).await {
        match order {
            ToProcess::Durable { through } => {
                told.durable.send_if_modified(|known| {
                    let more = through > *known;
                    *known = through.max(*known);
                    more
                });
            }
            ToProcess::Hold(held) => {
                told.held.send_replace(held);
            }
            ToProcess::Look => told.look.notify_one(),
            ToProcess::End(refused) => {
                told.end.send_replace(Some(refused));
            }
            ToProcess::Start(_)
            | ToProcess::TicketSecret(_)
            | ToProcess::Permitted(_)
            | ToProcess::Credential(_)
            | ToProcess::Refused(_) => {
                // One question is open at a time; an answer that nobody waits for is a fault of the bastion.
                if told.answer.try_send((order, reader.take())).is_err() {
                    break;
                }
            }
        }
    }
    // What `told` sent goes with it: without the bastion nothing is recorded, so a process that it left behind carries
    // nobody.
}

/// So many things are said at once, where they wait: each of its own wakes the bastion.
const BURST: usize = 8;

async fn speak(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<FromProcess>) {
    let mut is_last = false;
    while !is_last && let Some(first) = queue.recv().await {
        let mut burst = vec![first];
        while burst.len() < BURST
            && let Ok(more) = queue.try_recv()
        {
            burst.push(more);
        }
        // What was said behind the last word is of no use.
        is_last = burst.iter().any(|what| matches!(what, FromProcess::Ended { .. }));
        if frames::say(&mut writer, &burst).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
