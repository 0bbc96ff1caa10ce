//! Desktops: one connection over RDP, from accept to the last record. The same story as over SSH, told to a process of its
//! own that speaks the protocol.
//!
//! ```text
//! socket -> Process -> Entered (ticket or password) -> Permit -> Registration -> Recording -> Checked -> Credential
//!        -> records to the disk -> EndCause
//! ```

mod carried;
mod codes;
mod entry;
mod opening;
mod process;
mod screens;
mod taking;
#[cfg(test)]
mod tests;
mod tickets;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::refusal_log::Kind;
use super::{Attempt, Bastion, Refusal};
use crate::authn::Logins;
use crate::listener::{FailedLogin, Limits, Place, accept};
use crate::model::UserName;
use crate::rdp::control::{Security, Start, ToProcess};
use crate::vault::DesktopIdentity;
use crate::wire::Cut;
pub(super) use entry::ticket_event;
use entry::{Entered, NotIn, greet};
use process::Process;
pub use process::Starter;
pub use screens::{NoPicture, Screens};
pub use tickets::{GOOD_FOR, Issued, Proven, TicketError, Tickets};

/// What sessions and verbs know of desktops.
#[derive(Debug, Default)]
pub struct Desktops {
    /// Tickets that are good now.
    pub tickets: Tickets,
    /// Live desktops.
    pub screens: Screens,
    /// Where users' programs connect to; `None` if there is no such listener.
    pub door: Option<Door>,
}

/// Where users' programs connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// `host:port`, as users' machines reach it.
    pub address: String,
    /// The SHA-256 of the bastion's certificate, in lower-case hex.
    pub certificate: String,
}

/// What every connection over RDP uses.
pub struct House {
    /// The bastion's certificate and its key.
    pub identity: DesktopIdentity,
    /// What is offered, the better first.
    pub offered: Vec<Security>,
    /// How long a handshake may take, to the login.
    pub handshake: Duration,
    /// What logins by password are judged by.
    pub logins: Logins,
    /// Connections that have not logged in.
    pub strangers: Limits<IpAddr>,
    /// Those that have.
    pub users: Limits<UserName>,
    /// Who did not get in.
    pub failed: mpsc::Sender<FailedLogin>,
    /// What starts the program that carries a desktop: our own.
    pub starter: Starter,
}

/// A process counts the time of a handshake by itself; it is killed so long after.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(2);

/// Accepts connections until `stop`.
pub async fn serve(listener: TcpListener, house: Arc<House>, bastion: Arc<Bastion>, stop: Cut) {
    while let Some((stream, source, place)) = accept(&listener, &house.strangers, &stop).await {
        let (house, bastion, stop) = (Arc::clone(&house), Arc::clone(&bastion), stop.clone());
        tokio::spawn(async move { connection(stream, source, place, &house, &bastion, &stop).await });
    }
}

/// One connection, from its first byte to its last.
async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    place: Place<IpAddr>,
    house: &House,
    bastion: &Arc<Bastion>,
    stop: &Cut,
) {
    let mut process = match start(stream, source, house).await {
        Ok(process) => process,
        Err(error) => return error!(source = %source, error = %error, "Cannot start a process for a desktop"),
    };
    let mut named = None;
    let greeting = greet(&mut process, house, bastion, source, &mut named);
    let greeting = timeout(house.handshake.saturating_add(HANDSHAKE_GRACE), greeting);
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        () = stop.cut_off() => return process.kill(),
    };
    let entered = match greeted {
        Ok(Ok(entered)) => entered,
        Ok(Err(not_in)) => return turn_away(not_in, named, process, (house, bastion), source).await,
        Err(_) => {
            debug!(source = %source, "A handshake took too long");
            failed(house, source, unfinished(named, "the handshake took too long"));
            return process.kill();
        }
    };
    drop(place);
    let visitor = Arc::clone(&entered.visitor);
    let opened = match house.users.take(visitor.user.user()) {
        None => Err(Refusal::TooMany("desktops")),
        Some(seat) => opening::open(bastion, &entered, &mut process).await.map(|opened| (opened, seat)),
    };
    match opened {
        Ok((opened, _seat)) => carried::carry(bastion, opened, process).await,
        Err(refusal) => refuse(&entered, refusal, process, bastion).await,
    }
}

async fn start(stream: TcpStream, source: SocketAddr, house: &House) -> std::io::Result<Process> {
    stream.set_nodelay(true)?;
    let process = house.starter.start(stream.into_std()?).await?;
    let start = Start {
        certificate: house.identity.certificate.clone(),
        key: house.identity.key.clone(),
        offered: house.offered.clone(),
        handshake_ms: u64::try_from(house.handshake.as_millis()).unwrap_or(u64::MAX),
        source: source.ip(),
    };
    process.tell(ToProcess::Start(start)).map_err(std::io::Error::other)?;
    Ok(process)
}

/// A login that came to nothing: as whom, and why.
type Failed = (String, String);

/// What is on record of somebody who named a ticket and went no further. Who named none is nobody's login.
fn unfinished(named: Option<String>, why: &str) -> Option<Failed> {
    named.map(|name| (name, format!("a desktop's ticket: {why}")))
}

/// Puts a failed login on its way to the record.
fn failed(house: &House, source: SocketAddr, failed: Option<Failed>) {
    let Some((login, reason)) = failed else { return };
    let login: String = login.chars().filter(|c| !c.is_control()).take(256).collect();
    debug!(source = %source, reason, "Login refused");
    // Full: what comes is left out, as for SSH.
    let _ = house.failed.try_send(FailedLogin { login, source, reason });
}

/// Says no to whoever has not come in.
async fn turn_away(
    not_in: NotIn,
    named: Option<String>,
    process: Process,
    (house, bastion): (&House, &Arc<Bastion>),
    source: SocketAddr,
) {
    match not_in {
        NotIn::Broken(broken) => {
            warn!(source = %source, error = %broken, "A desktop's process was given up");
            failed(house, source, unfinished(named, &broken.to_string()));
            process.kill();
        }
        NotIn::Left { named, why } => {
            failed(house, source, unfinished(named, &opening::words(&why)));
            process.end().await;
        }
        NotIn::Stranger { login, reason } => {
            failed(house, source, Some((login, format!("a desktop: {reason}"))));
            let _ = process.tell(ToProcess::Refused(codes::stranger()));
            part(process).await;
        }
        NotIn::Refused(visitor, refusal) => {
            let attempt = Attempt::other("a desktop");
            let _ = visitor.refused(bastion, Kind::of(&refusal), &refusal, attempt);
            let _ = process.tell(ToProcess::Refused(codes::refused(&refusal, bastion.clock.now())));
            part(process).await;
        }
    }
}

/// Says no to somebody who is known, and puts on record why.
async fn refuse(entered: &Entered, refusal: Refusal, process: Process, bastion: &Arc<Bastion>) {
    let attempt = Attempt::desktop(&entered.destination);
    let _ = entered.visitor.refused(bastion, Kind::of(&refusal), &refusal, attempt);
    info!(user = %entered.visitor.user.user(), error = %refusal, "A desktop was refused");
    if process.tell(ToProcess::Refused(codes::refused(&refusal, bastion.clock.now()))).is_err() {
        return process.kill();
    }
    part(process).await;
}

/// A process that was told no has so long to tell its user.
const PARTING: Duration = Duration::from_secs(2);

async fn part(mut process: Process) {
    let leaving = async { while process.next().await.is_ok() {} };
    let _ = timeout(PARTING, leaving).await;
    process.end().await;
}
