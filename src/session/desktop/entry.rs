//! Who is at the door: a ticket that was proven, or a password with a one-time code, and where they want to go.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::super::visitor::Visitor;
use super::super::{Bastion, Refusal};
use super::House;
use super::process::{Broken, Process};
use super::tickets::{self, Proven, TicketError};
use crate::audit::{AuditEvent, DesktopTicket, TicketStep};
use crate::authn::{Authenticated, Claim, Typed};
use crate::model::{Destination, Login as LoginName};
use crate::rdp::control::{FromProcess, Login, Proof, Security, ToProcess};
use crate::secret::Secret;

/// Digits of a one-time code (RFC 6238), which stand at the end of what was typed.
const CODE_DIGITS: usize = 6;

/// Who has come in.
pub(super) struct Entered {
    pub visitor: Arc<Visitor>,
    pub destination: Destination,
    /// What their program said of itself.
    pub facts: Facts,
}

/// What a user's program said of itself; none of it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub client: String,
    pub keyboard_layout: u32,
    pub width: u16,
    pub height: u16,
}

/// Why somebody has not come in.
pub(super) enum NotIn {
    /// The process is not to be spoken to any more.
    Broken(Broken),
    /// They have left, or failed to speak the protocol.
    Left {
        /// The ticket that they named.
        named: Option<String>,
        /// Why, as the process says.
        why: String,
    },
    /// They have proven nothing.
    Stranger {
        /// The login as it came.
        login: String,
        /// Why it is not accepted.
        reason: String,
    },
    /// They are known, and are refused all the same.
    Refused(Arc<Visitor>, Box<Refusal>),
}

impl From<Broken> for NotIn {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// A ticket's name as it came, and whether there is one.
type Named = (String, Result<(), TicketError>);

/// Hears who it is. `asked_as` is the ticket that was named, also when this is not heard to its end.
pub(super) async fn greet(
    process: &mut Process,
    house: &House,
    bastion: &Arc<Bastion>,
    source: SocketAddr,
    asked_as: &mut Option<String>,
) -> Result<Entered, NotIn> {
    let (mut greeted, mut named): (bool, Option<Named>) = (false, None);
    loop {
        match process.next().await? {
            FromProcess::Hello { .. } if !greeted => greeted = true,
            FromProcess::Ticket { name } if greeted && named.is_none() => {
                *asked_as = Some(name.clone());
                let found = bastion.desktops.tickets.secret(&name, source.ip(), bastion.clock.instant());
                // A name that is none fails as a wrong secret does: at its proof.
                let secret = found.as_ref().map_or_else(|_| tickets::nobodys(), |secret| Ok(secret.clone()));
                named = Some((name, found.map(|_| ())));
                let Ok(secret) = secret else { return Err(NotIn::Broken(Broken::Unexpected("a ticket"))) };
                process.tell(ToProcess::TicketSecret(secret))?;
            }
            FromProcess::Login(login) if greeted => {
                return enter(house, bastion, source, login, named).await;
            }
            FromProcess::Ended { why } => {
                let known = named.as_ref().and_then(|(_, found)| found.err()).map(|error| error.to_string());
                return Err(NotIn::Left { named: named.map(|(name, _)| name), why: known.unwrap_or(why) });
            }
            FromProcess::Hello { .. }
            | FromProcess::Ticket { .. }
            | FromProcess::Login(_)
            | FromProcess::Checked { .. }
            | FromProcess::WrongCertificate { .. }
            | FromProcess::LoggedIn(_)
            | FromProcess::Active
            | FromProcess::Record(_)
            | FromProcess::Picture(_) => {
                return Err(NotIn::Broken(Broken::Unexpected("something out of its order")));
            }
        }
    }
}

async fn enter(
    house: &House,
    bastion: &Arc<Bastion>,
    source: SocketAddr,
    login: Login,
    named: Option<Named>,
) -> Result<Entered, NotIn> {
    let Login { proof, client_name, client_build, keyboard_layout, width, height } = login;
    let client: String = client_name.chars().filter(|c| !c.is_control()).take(32).collect();
    let facts = Facts { client: format!("{client:?} build {client_build}"), keyboard_layout, width, height };
    // What is not offered is no way in, whatever the process says.
    let spoken = match &proof {
        Proof::Ticket(_) => Security::Nla,
        Proof::Password { .. } => Security::Tls,
    };
    if !house.offered.contains(&spoken) {
        return Err(NotIn::Broken(Broken::Unexpected("a proof that is not asked for")));
    }
    let (user, destination, ticket) = match proof {
        Proof::Ticket(name) => {
            // It is what was named here, and its secret was handed out for that.
            if named.as_ref().is_none_or(|(other, found)| *other != name || found.is_err()) {
                return Err(NotIn::Broken(Broken::Unexpected("a ticket that was not named")));
            }
            let taken = bastion.desktops.tickets.take(&name, source.ip(), bastion.clock.instant());
            let Proven { login, destination } =
                taken.map_err(|why| NotIn::Stranger { login: name.clone(), reason: why.to_string() })?;
            (login, destination, Some(name))
        }
        Proof::Password { login, password } => {
            let (user, destination) = by_password(house, &login, &password, source.ip())
                .await
                .map_err(|reason| NotIn::Stranger { login: login.chars().take(256).collect(), reason })?;
            (user, destination, None)
        }
    };
    let named = LoginName::Destination { user: Some(user.user().clone()), destination: destination.clone() };
    let visitor =
        Arc::new(Visitor { user, login: named.to_string(), source: source.to_string(), since: OnceLock::new() });
    let refused = |refusal| NotIn::Refused(Arc::clone(&visitor), Box::new(refusal));
    visitor.standing(bastion).map_err(refused)?;
    if let Some(name) = ticket {
        let event = ticket_event(&visitor, &destination, name, TicketStep::Used);
        bastion.record(event).await.map_err(|failure| refused(Refusal::Audit(failure)))?;
    }
    Ok(Entered { visitor: Arc::clone(&visitor), destination, facts })
}

/// A step of a ticket, for the log: never its secret.
pub(in super::super) fn ticket_event(
    visitor: &Visitor,
    destination: &Destination,
    ticket: String,
    step: TicketStep,
) -> AuditEvent {
    AuditEvent::DesktopTicket(DesktopTicket {
        user: visitor.user.user().clone(),
        destination: destination.clone(),
        ticket,
        step,
        source: visitor.source.clone(),
        key: visitor.user.proof().to_string(),
    })
}

async fn by_password(
    house: &House,
    login: &str,
    typed: &Secret<String>,
    source: IpAddr,
) -> Result<(Authenticated, Destination), String> {
    let name = LoginName::parse(login).map_err(|invalid| invalid.to_string())?;
    let LoginName::Destination { user: Some(user), destination } = name else {
        return Err(String::from("the login names no user and destination: USER+ACCOUNT@TARGET"));
    };
    let claim = Claim { named: Some(&user), source };
    let proven = house.logins.prove_by_password(&claim, split(typed)).await;
    Ok((proven.map_err(|error| error.to_string())?, destination))
}

/// The password, and the code behind it. What ends in no code is tried without one, which no user has.
fn split(typed: &Secret<String>) -> Typed {
    let text = typed.expose();
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let at = if digits >= CODE_DIGITS { text.len().saturating_sub(CODE_DIGITS) } else { text.len() };
    let (password, code) = text.split_at_checked(at).unwrap_or((text, ""));
    Typed { password: Secret::new(password.to_owned()), code: Secret::new(code.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_last_six_digits_and_never_part_of_the_password() {
        let halves = |text: &str| {
            let Typed { password, code } = split(&Secret::new(text.to_owned()));
            (password.expose().clone(), code.expose().clone())
        };
        let two = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(halves("correct horse123456"), two("correct horse", "123456"));
        assert_eq!(halves("ends in 99123456"), two("ends in 99", "123456"));
        assert_eq!(halves("no code 12345"), two("no code 12345", ""));
        assert_eq!(halves("h\u{e9}llo654321"), two("h\u{e9}llo", "654321"));
        assert_eq!(halves("123456"), two("", "123456"));
        assert_eq!(halves(""), two("", ""));
    }
}
