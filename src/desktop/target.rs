//! The target's leg: its certificate checked, and logged in to with a credential that came after that. The bastion has
//! dialled it: what is taken over by what a peer sends has no way to any other machine.

use std::net::IpAddr;

use sspi::credssp::{ClientMode, ClientState, CredSspClient, CredSspMode, TsRequest};
use sspi::generator::GeneratorState;
use sspi::ntlm::NtlmConfig;
use sspi::{AuthIdentity, Credentials, Username};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Fault;
use super::link::Link;
use super::messages::Messages;
use super::tls::{self, Checked, NoTls};
use super::user::UserLeg;
use crate::rdp::connect::{self, Domain};
use crate::rdp::control::{Credential, FromProcess, Permitted};
use crate::rdp::nego::{Chosen, TargetPolicy};
use crate::rdp::pdu::{Malformed, Way, send_data};

/// A target that was logged in to, or will show whether it was.
#[derive(Debug)]
pub(super) struct TargetLeg {
    pub(super) messages: Messages<TlsStream<TcpStream>>,
    pub(super) domain: Domain,
    /// Whether the login is proven: NLA proves it before the session.
    pub(super) is_logged_in: bool,
}

/// Everything up to Client Info.
pub(super) async fn log_in(
    link: &Link,
    (permitted, socket): (&Permitted, TcpStream),
    user: &UserLeg,
    offered: &[String],
    source: IpAddr,
) -> Result<TargetLeg, Fault> {
    let policy = if permitted.allow_tls_only { TargetPolicy::TlsWillDo } else { TargetPolicy::NlaOnly };
    let mut messages = Messages::new(socket);
    messages.send(&policy.request()).await.map_err(Fault::Target)?;
    let chosen = policy.chosen(&messages.tpkt().await.map_err(Fault::Target)?).map_err(Fault::TargetSecurity)?;
    let host = permitted.address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let socket = messages.into_socket().map_err(Fault::Target)?;
    let Checked { stream, certificate, public_key } = match tls::connect(socket, host, &permitted.pin).await {
        Ok(checked) => checked,
        Err(NoTls::WrongCertificate { got }) => {
            link.say(FromProcess::WrongCertificate { got: got.clone() }).await?;
            return Err(Fault::TargetTls(NoTls::WrongCertificate { got }));
        }
        Err(other) => return Err(Fault::TargetTls(other)),
    };
    link.say(FromProcess::Checked { certificate }).await?;
    let credential = link.credential().await?;
    let mut messages = Messages::new(stream);
    if chosen.is_nla() {
        let proven = credssp(&mut messages, &credential, host, public_key, chosen).await;
        link.say(FromProcess::LoggedIn(proven.as_ref().copied().map_err(ToString::to_string))).await?;
        proven?;
    }
    let domain = attach(&mut messages, user, chosen, offered).await?;
    let bad = |malformed: Malformed| Fault::Target(malformed.into());
    let info = user.info.for_target(&credential, source).map_err(bad)?;
    let info = send_data(Way::Request, domain.user, domain.io, info.expose()).map_err(bad)?;
    messages.send(&info).await.map_err(Fault::Target)?;
    drop(zeroize::Zeroizing::new(info));
    Ok(TargetLeg { messages, domain, is_logged_in: chosen.is_nla() })
}

/// The most messages of a target; two are enough.
const CREDSSP_MESSAGES_MAX: usize = 8;

/// Proves the credential (MS-CSSP section 3.1.5), bound to the public key of the certificate that was checked.
async fn credssp(
    messages: &mut Messages<TlsStream<TcpStream>>,
    credential: &Credential,
    host: &str,
    public_key: Vec<u8>,
    chosen: Chosen,
) -> Result<(), Fault> {
    let domain = Some(credential.domain.as_str()).filter(|domain| !domain.is_empty());
    let username = Username::new(&credential.account, domain).map_err(|_| Fault::CredSsp)?;
    let identity = AuthIdentity { username, password: credential.password.expose().clone().into() };
    let service = format!("TERMSRV/{host}");
    let mode = ClientMode::Ntlm(NtlmConfig::default());
    let credentials = Credentials::AuthIdentity(identity);
    let client = CredSspClient::new(public_key, credentials, CredSspMode::WithCredentials, mode, service);
    let mut client = client.map_err(|_| Fault::CredSsp)?;
    let mut request = TsRequest::default();
    for _ in 0..CREDSSP_MESSAGES_MAX {
        let state = match client.process(request).start() {
            GeneratorState::Completed(state) => state.map_err(|_| Fault::WrongCredential)?,
            GeneratorState::Suspended(_) => return Err(Fault::CredSsp),
        };
        let (reply, is_last) = match state {
            ClientState::ReplyNeeded(reply) => (reply, false),
            ClientState::FinalMessage(reply) => (reply, true),
        };
        let mut bytes = Vec::new();
        reply.encode_ts_request(&mut bytes).map_err(|_| Fault::CredSsp)?;
        messages.send(&bytes).await.map_err(Fault::Target)?;
        if is_last {
            return early_result(messages, chosen).await;
        }
        // Some targets close the connection where others say that the password is wrong.
        let answer = messages.credssp().await.map_err(|_| Fault::WrongCredential)?;
        request = TsRequest::from_buffer(&answer).map_err(|_| Fault::Target(Malformed("CredSSP message").into()))?;
    }
    Err(Fault::CredSsp)
}

/// The Early User Authorization Result PDU, where there is one.
async fn early_result(messages: &mut Messages<TlsStream<TcpStream>>, chosen: Chosen) -> Result<(), Fault> {
    if chosen.has_early_result() && messages.exactly::<4>().await.map_err(Fault::Target)? != [0; 4] {
        return Err(Fault::WrongCredential);
    }
    Ok(())
}

/// The target's MCS domain, asked for as the user's program asked for its own.
async fn attach(
    messages: &mut Messages<TlsStream<TcpStream>>,
    user: &UserLeg,
    chosen: Chosen,
    offered: &[String],
) -> Result<Domain, Fault> {
    let bad = |malformed: Malformed| Fault::Target(malformed.into());
    messages.send(&user.wanted.for_target(chosen, offered).map_err(bad)?).await.map_err(Fault::Target)?;
    let answer = messages.tpkt().await.map_err(Fault::Target)?;
    let (io, channels) = connect::given(&answer, user.domain.channels.len()).map_err(bad)?;
    messages.send(&connect::attach().map_err(bad)?).await.map_err(Fault::Target)?;
    let number = connect::attached(&messages.tpkt().await.map_err(Fault::Target)?).map_err(bad)?;
    let domain = Domain { user: number, io, channels };
    for channel in domain.joined() {
        messages.send(&connect::join_request(number, channel).map_err(bad)?).await.map_err(Fault::Target)?;
        let answer = messages.tpkt().await.map_err(Fault::Target)?;
        connect::join_confirmed(&answer, channel).map_err(bad)?;
    }
    Ok(domain)
}
