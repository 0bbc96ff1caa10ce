//! One-time tickets: what a user who has logged in over SSH shows to log in by NLA.
//!
//! CredSSP proves that both sides know one secret without telling it, so the bastion must hold it in the clear. A password
//! is kept as a hash and cannot be used so; a ticket is made for this alone, is good for two minutes, once, for one
//! user at one destination, and only from where that user asked for it. Tickets are in memory: a bastion that was
//! started anew knows none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::authn::Authenticated;
use crate::model::{Destination, UserName};
use crate::secret::Secret;

/// How long a ticket is good.
pub const GOOD_FOR: Duration = Duration::from_secs(120);
/// How many a user may hold at once, and all users.
const OF_USER_MAX: usize = 8;
const ALL_MAX: usize = 4096;
/// So often a ticket may be named: a program that connects twice, to ask about a certificate, is no guess.
const NAMED_MAX: u32 = 3;
/// Digits of a name, characters of a secret.
const NAME_DIGITS: usize = 8;
const SECRET_CHARS: usize = 24;
/// Characters that nobody mistakes for one another; 32 of them, so that each random byte counts alike.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";

/// A ticket as its user gets it.
#[derive(Debug)]
pub struct Issued {
    /// The user name that the user's program is given.
    pub name: String,
    /// The password for it.
    pub secret: Secret<String>,
}

/// What a ticket proves.
#[derive(Debug, Clone)]
pub struct Proven {
    /// Who, and how they logged in when they asked for it.
    pub login: Authenticated,
    /// Where to.
    pub destination: Destination,
}

/// Why there is no ticket, or none any more. A stranger is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// As many are held as may be.
    TooMany,
    /// There is no randomness.
    Crypto,
    /// There is none of that name: there never was, it was used, or its time is over.
    Unknown,
    /// It was asked for from elsewhere.
    Elsewhere,
    /// It was named too often.
    Spent,
}

impl std::fmt::Display for TicketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooMany => "as many tickets are held as may be",
            Self::Crypto => "there is no randomness",
            Self::Unknown => "there is no such ticket: it was never made, was used, or its two minutes are over",
            Self::Elsewhere => "the ticket was asked for from another address",
            Self::Spent => "the ticket was tried too often",
        })
    }
}

impl std::error::Error for TicketError {}

/// The tickets that are good now.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<String, Ticket>>);

#[derive(Debug)]
struct Ticket {
    proven: Proven,
    source: IpAddr,
    secret: Secret<String>,
    until: Instant,
    named: u32,
}

impl Tickets {
    /// Makes a ticket for who has logged in from `source`.
    ///
    /// # Errors
    /// `TooMany` or `Crypto`.
    pub fn issue(&self, proven: Proven, source: IpAddr, now: Instant) -> Result<Issued, TicketError> {
        let mut tickets = self.lock();
        tickets.retain(|_, ticket| ticket.until > now);
        let of_user = |user: &UserName| tickets.values().filter(|ticket| ticket.proven.login.user() == user).count();
        if tickets.len() >= ALL_MAX || of_user(proven.login.user()) >= OF_USER_MAX {
            return Err(TicketError::TooMany);
        }
        let name = loop {
            let name = format!("t-{}", random(NAME_DIGITS)?.expose());
            if !tickets.contains_key(&name) {
                break name;
            }
        };
        let secret = random(SECRET_CHARS)?;
        let until = now.checked_add(GOOD_FOR).unwrap_or(now);
        let ticket = Ticket { proven, source: source.to_canonical(), secret: secret.clone(), until, named: 0 };
        tickets.insert(name.clone(), ticket);
        Ok(Issued { name, secret })
    }

    /// The secret of a ticket that was named by somebody at `source`.
    ///
    /// # Errors
    /// `Unknown`, `Elsewhere` or `Spent`.
    pub fn secret(&self, name: &str, source: IpAddr, now: Instant) -> Result<Secret<String>, TicketError> {
        let mut tickets = self.lock();
        let ticket = good(&mut tickets, name, source, now)?;
        ticket.named = ticket.named.saturating_add(1);
        if ticket.named > NAMED_MAX {
            return Err(TicketError::Spent);
        }
        Ok(ticket.secret.clone())
    }

    /// Uses a ticket whose secret was proven, once.
    ///
    /// # Errors
    /// `Unknown` or `Elsewhere`.
    pub fn take(&self, name: &str, source: IpAddr, now: Instant) -> Result<Proven, TicketError> {
        let mut tickets = self.lock();
        good(&mut tickets, name, source, now)?;
        tickets.remove(name).map(|ticket| ticket.proven).ok_or(TicketError::Unknown)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn good<'t>(
    tickets: &'t mut HashMap<String, Ticket>,
    name: &str,
    source: IpAddr,
    now: Instant,
) -> Result<&'t mut Ticket, TicketError> {
    let ticket = tickets.get_mut(name).filter(|ticket| ticket.until > now).ok_or(TicketError::Unknown)?;
    if ticket.source == source.to_canonical() { Ok(ticket) } else { Err(TicketError::Elsewhere) }
}

/// A secret that nobody has: what is given for a name that no ticket has, so that its proof fails as a wrong one does.
///
/// # Errors
/// `Crypto`.
pub fn nobodys() -> Result<Secret<String>, TicketError> {
    random(SECRET_CHARS)
}

fn random(chars: usize) -> Result<Secret<String>, TicketError> {
    let mut bytes = vec![0; chars];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TicketError::Crypto)?;
    let bytes = Secret::new(bytes);
    let text = bytes.expose().iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from));
    // Made with its whole length: a text that grows leaves a copy behind.
    let mut secret = String::with_capacity(chars);
    secret.extend(text);
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::super::super::registry::tests::login;
    use super::*;
    use crate::clock::Clock;

    fn proven() -> Proven {
        Proven { login: login(), destination: Destination::parse("administrator@win1").unwrap() }
    }

    fn here() -> IpAddr {
        IpAddr::from([192, 0, 2, 7])
    }

    #[test]
    fn a_ticket_is_good_once_for_two_minutes_and_from_one_place() {
        let (tickets, now) = (Tickets::default(), Clock::system().instant());
        let issued = tickets.issue(proven(), here(), now).unwrap();
        assert!(issued.name.starts_with("t-") && issued.secret.expose().len() == SECRET_CHARS);
        let elsewhere = IpAddr::from([192, 0, 2, 8]);
        assert_eq!(tickets.secret(&issued.name, elsewhere, now).unwrap_err(), TicketError::Elsewhere);
        assert_eq!(tickets.take(&issued.name, elsewhere, now).unwrap_err(), TicketError::Elsewhere);
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(tickets.secret(&issued.name, mapped, now).unwrap().expose(), issued.secret.expose());
        assert_eq!(tickets.take(&issued.name, here(), now + GOOD_FOR).unwrap_err(), TicketError::Unknown);
        assert_eq!(tickets.take(&issued.name, here(), now).unwrap().destination, proven().destination);
        assert_eq!(tickets.take(&issued.name, here(), now).unwrap_err(), TicketError::Unknown);
        assert_eq!(tickets.secret(&issued.name, here(), now).unwrap_err(), TicketError::Unknown);
    }

    #[test]
    fn a_name_is_tried_a_few_times_only_and_a_user_holds_a_few() {
        let (tickets, now) = (Tickets::default(), Clock::system().instant());
        let issued = tickets.issue(proven(), here(), now).unwrap();
        for _ in 0..NAMED_MAX {
            tickets.secret(&issued.name, here(), now).unwrap();
        }
        assert_eq!(tickets.secret(&issued.name, here(), now).unwrap_err(), TicketError::Spent);
        for _ in 1..OF_USER_MAX {
            tickets.issue(proven(), here(), now).unwrap();
        }
        assert_eq!(tickets.issue(proven(), here(), now).unwrap_err(), TicketError::TooMany);
        // Those whose time is over hold no place.
        tickets.issue(proven(), here(), now + GOOD_FOR).unwrap();
    }

    #[test]
    fn no_two_secrets_are_alike_and_none_is_shown() {
        let (tickets, now) = (Tickets::default(), Clock::system().instant());
        let (one, other) =
            (tickets.issue(proven(), here(), now).unwrap(), tickets.issue(proven(), here(), now).unwrap());
        assert_ne!(one.secret.expose(), other.secret.expose());
        assert_ne!(one.name, other.name);
        assert!(!format!("{tickets:?}{one:?}").contains(one.secret.expose().as_str()));
    }
}
