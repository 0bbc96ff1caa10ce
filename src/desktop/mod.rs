//! One desktop's own process: it carries one user's RDP connection to one target, and parses what both of them send.
//!
//! It holds no key but the listener's and no secrets but what its user proves who they are with (a ticket's secret, or what they
//! type) and the credential of its session, which comes after the permit, the recording and the check of the target's
//! certificate. What is not on its way to a record does not pass; when the
//! bastion goes, or does not read any more, nothing passes. `rdp` says what each message may be; here are the sockets.
//!
//! It is confined before it reads a byte of a peer; see [`confine`].
//!
//! What it does not guard against: pictures and sound pass as the target drew them, so a fault in the user's program that
//! a picture triggers is not kept from it.

pub mod confine;
pub mod frames;
mod link;
mod messages;
mod nla;
mod relay;
mod target;
mod tls;
mod user;
mod view;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::clock::Clock;
use crate::rdp::channel::Channels;
use crate::rdp::connect;
use crate::rdp::control::{FromProcess, Login, Permitted, Refused, Start};
use crate::rdp::fact::Fact;
use crate::rdp::nego;
use crate::rdp::record::Damage;
use crate::rdp::share;
use link::Link;
use messages::Broken;
use target::TargetLeg;
use tls::NoTls;
use user::UserLeg;

/// How long the bastion may take to say what the process is for.
const START: Duration = Duration::from_secs(10);

/// How long a target may take from there to Client Info.
const LOGIN: Duration = Duration::from_secs(60);

/// How long a user's program may take to read why it is over.
const FAREWELL: Duration = Duration::from_secs(3);

/// Carries one connection, and says at its end why it is over. Returns that, too.
pub async fn run(user: TcpStream, bastion: UnixStream, clock: &Clock) -> String {
    let link = Arc::new(Link::new(bastion));
    let carried = {
        let (link, clock) = (Arc::clone(&link), clock.clone());
        // In a task of its own: what panics in it ends this connection, and is said as any other end.
        tokio::spawn(async move { carry(user, &link, &clock).await }).await
    };
    let over = match carried {
        Ok(Ok(over)) | Ok(Err(over)) => over,
        Err(_) => Fault::Internal,
    };
    let why = over.to_string();
    link.close(why.clone()).await;
    why
}

/// The story: who it is, whether they may, the target, and what passes between.
async fn carry(socket: TcpStream, link: &Arc<Link>, clock: &Clock) -> Result<Fault, Fault> {
    let start = in_time(START, "the bastion to begin", link.start()).await?;
    let limit = Duration::from_millis(start.handshake_ms);
    let handshake = user::handshake(socket, &start, link);
    let (mut user, login) = in_time(limit, "the handshake of the user's program", handshake).await?;
    match open(&start, &user, login, link, clock).await {
        Ok((permitted, channels, target)) => Ok(relay::run(user, target, channels, &permitted, link, clock).await),
        Err(fault) => {
            let word = user::farewell(user.domain.user, fault.code());
            let _ = tokio::time::timeout(FAREWELL, async {
                let _ = user.messages.send(&word).await;
                let _ = user.messages.socket().shutdown().await;
                drain(user.messages.socket()).await;
            })
            .await;
            Err(fault)
        }
    }
}

/// Permit, recording, target, credential: each of them wants the one before it.
async fn open(
    start: &Start,
    user: &UserLeg,
    login: Login,
    link: &Link,
    clock: &Clock,
) -> Result<(Permitted, Channels, TargetLeg), Fault> {
    let (width, height, keyboard_layout) = (login.width, login.height, login.keyboard_layout);
    let client_name = login.client_name.clone();
    link.say(FromProcess::Login(login)).await?;
    let (permitted, socket) = link.permitted().await?;
    link.open(clock).await;
    let keys = permitted.record_keys;
    link.fact(clock, &Fact::Session { width, height, keyboard_layout, client_name, keys }).await?;
    let channels = Channels::new(user.wanted.channels(), &permitted.rules);
    for fact in channels.facts() {
        link.fact(clock, &fact).await?;
    }
    let offered = channels.offered();
    let logged_in = target::log_in(link, (&permitted, socket), user, &offered, start.source);
    let target = in_time(LOGIN, "the target's handshake", logged_in).await?;
    Ok((permitted, channels, target))
}

/// Reads and forgets what a peer still sends: closing a socket with unread data makes the peer lose what was said last.
async fn drain(socket: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while matches!(socket.read(&mut buffer).await, Ok(1..)) {}
}

/// Waits no longer than that for what is named.
async fn in_time<T>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Fault::TimedOut(what)))
}

/// Why a connection is over.
#[derive(Debug)]
enum Fault {
    /// The user's program closed it.
    UserLeft,
    /// The target closed it.
    TargetLeft,
    /// The bastion refused or ended it.
    Refused(Refused),
    /// The bastion has gone.
    BastionGone,
    /// The bastion answered something else.
    Unanswered(&'static str),
    /// Something was to be recorded before the session opened.
    NotOpen,
    /// Something cannot be recorded.
    Record(Damage),
    /// The user's program broke off, or sent what may not come.
    User(Broken),
    /// There is no TLS with the user's program.
    UserTls(NoTls),
    /// The user's program speaks none of what the listener offers.
    NoSecurity,
    /// What it asked for is not carried.
    Wanted(connect::Refusal),
    /// The ticket, or its secret, is wrong.
    WrongTicket,
    /// CredSSP failed otherwise.
    CredSsp,
    /// The target broke off, or sent what may not come.
    Target(Broken),
    /// The target's security is weaker than its entry wants.
    TargetSecurity(nego::NoSecurity),
    /// There is no TLS with the target, or its certificate is not the pinned one.
    TargetTls(NoTls),
    /// The target does not take the credential.
    WrongCredential,
    /// What the target sent ends the session.
    Share(share::Refusal),
    /// Something took too long.
    TimedOut(&'static str),
    /// A fault of our own.
    Internal,
}

impl Fault {
    /// What the user's program is told, as a code of MS-RDPBCGR section 2.2.5.1.1. It never tells what exists.
    fn code(&self) -> u32 {
        /// The server denied the connection.
        const DENIED: u32 = 7;
        match self {
            Self::Refused(refused) => refused.code,
            Self::UserLeft | Self::TargetLeft => 0,
            Self::BastionGone
            | Self::Unanswered(_)
            | Self::NotOpen
            | Self::Record(_)
            | Self::User(_)
            | Self::UserTls(_)
            | Self::NoSecurity
            | Self::Wanted(_)
            | Self::WrongTicket
            | Self::CredSsp
            | Self::Target(_)
            | Self::TargetSecurity(_)
            | Self::TargetTls(_)
            | Self::WrongCredential
            | Self::Share(_)
            | Self::TimedOut(_)
            | Self::Internal => DENIED,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserLeft => f.write_str("the user left"),
            Self::TargetLeft => f.write_str("the target closed the desktop"),
            Self::Refused(refused) => f.write_str(&refused.why),
            Self::BastionGone => f.write_str("the bastion is gone"),
            Self::Unanswered(what) => write!(f, "the bastion has no answer to {what}"),
            Self::NotOpen => f.write_str("nothing is recorded before the session opens"),
            Self::Record(damage) => write!(f, "a message cannot be recorded: {damage}"),
            Self::User(broken) => write!(f, "the user's program: {broken}"),
            Self::UserTls(no_tls) => write!(f, "the user's program: {no_tls}"),
            Self::NoSecurity => f.write_str("the user's program speaks none of what the listener offers"),
            Self::Wanted(refusal) => write!(f, "the user's program: {refusal}"),
            Self::WrongTicket => f.write_str("the ticket or its secret is wrong"),
            Self::CredSsp => f.write_str("CredSSP failed"),
            Self::Target(broken) => write!(f, "the target: {broken}"),
            Self::TargetSecurity(no_security) => no_security.fmt(f),
            Self::TargetTls(no_tls) => no_tls.fmt(f),
            Self::WrongCredential => f.write_str("the target does not take the credential"),
            Self::Share(refusal) => refusal.fmt(f),
            Self::TimedOut(what) => write!(f, "waited too long for {what}"),
            Self::Internal => f.write_str("a fault of the desktop's own process"),
        }
    }
}

impl std::error::Error for Fault {}
