//! The user's leg, up to what was typed or proven (MS-RDPBCGR section 1.3.1.1).

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroize;

use super::Fault;
use super::link::Link;
use super::messages::Messages;
use super::{nla, tls};
use crate::rdp::connect::{self, Domain, Joining, Wanted};
use crate::rdp::control::{FromProcess, Login, Proof, Start};
use crate::rdp::info::{Info, Typed};
use crate::rdp::nego::Asked;
use crate::rdp::pdu::{IO_CHANNEL, Leaving, Malformed, Way, disconnect, error_info, send_data};

/// A user's program whose handshake is done.
#[derive(Debug)]
pub(super) struct UserLeg {
    pub(super) messages: Messages<TlsStream<TcpStream>>,
    pub(super) wanted: Wanted,
    pub(super) domain: Domain,
    pub(super) info: Info,
}

/// Carries the handshake through to Client Info; says what was proven.
pub(super) async fn handshake(socket: TcpStream, start: &Start, link: &Link) -> Result<(UserLeg, Login), Fault> {
    let mut messages = Messages::new(socket);
    let asked = Asked::read(&messages.tpkt().await.map_err(Fault::User)?).map_err(|bad| Fault::User(bad.into()))?;
    link.say(FromProcess::Hello { security: asked.offers() }).await?;
    let chosen = match asked.choose(&start.offered) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            messages.send(&refusal).await.map_err(Fault::User)?;
            return Err(Fault::NoSecurity);
        }
    };
    messages.send(&chosen.confirm()).await.map_err(Fault::User)?;
    let stream = tls::accept(messages.into_socket().map_err(Fault::User)?, start).await.map_err(Fault::UserTls)?;
    let mut messages = Messages::new(stream);
    let ticket = if chosen.is_nla() {
        let public_key = tls::public_key(&start.certificate).ok_or(Fault::UserTls(tls::NoTls::NoKey))?;
        Some(nla::prove(&mut messages, link, public_key, chosen).await?)
    } else {
        None
    };
    let initial = messages.tpkt().await.map_err(Fault::User)?;
    let wanted = Wanted::read(&initial).map_err(Fault::Wanted)?;
    let bad = |malformed: Malformed| Fault::User(malformed.into());
    messages.send(&wanted.response(asked.bits()).map_err(bad)?).await.map_err(Fault::User)?;
    let domain = wanted.own_domain();
    let (info, typed) = joined(&mut messages, &domain).await?;
    let login = login(&wanted, ticket, typed);
    Ok((UserLeg { messages, wanted, domain, info }, login))
}

/// Joins the channels, up to Client Info.
async fn joined(messages: &mut Messages<TlsStream<TcpStream>>, domain: &Domain) -> Result<(Info, Typed), Fault> {
    // Erect, attach, one join for each channel, Client Info; and as many again for a program that asks twice.
    for _ in 0..domain.joined().len().saturating_add(3).saturating_mul(2) {
        let message = messages.tpkt().await.map_err(Fault::User)?;
        let joining = connect::join(&message, domain).map_err(|bad| Fault::User(bad.into()))?;
        // It may hold what was typed.
        if let Ok(mut message) = message.try_into_mut() {
            message.as_mut().zeroize();
        }
        match joining {
            Joining::Answer(answer) => messages.send(&answer).await.map_err(Fault::User)?,
            Joining::Info(data) => return Info::read(data).map_err(|bad| Fault::User(bad.into())),
        }
    }
    Err(Fault::User(Malformed("sequence of channel joins").into()))
}

fn login(wanted: &Wanted, ticket: Option<String>, typed: Typed) -> Login {
    let (client_name, client_build) = wanted.program();
    let (width, height) = wanted.size();
    let proof = match ticket {
        Some(name) => Proof::Ticket(name),
        None => Proof::Password { login: typed.login, password: typed.password },
    };
    Login { proof, client_name, client_build, keyboard_layout: wanted.keyboard_layout(), width, height }
}

/// What tells a user's program why it is over.
pub(super) fn farewell(user: u16, code: u32) -> Vec<u8> {
    let mut bytes = send_data(Way::Indication, user, IO_CHANNEL, &error_info(code)).unwrap_or_default();
    bytes.extend(disconnect(Leaving::Provider));
    bytes
}
