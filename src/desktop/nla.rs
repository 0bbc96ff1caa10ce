//! CredSSP with a user's program: a one-time ticket is proven, over TLS (MS-CSSP section 3.1.5).
//!
//! NTLM alone would be relayed by anybody between the program and the bastion; CredSSP binds it to the public key of the
//! listener's certificate.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};
use sspi::credssp::{
    CredSspServer, CredentialsProxy, EarlyUserAuthResult, NStatusCode, ServerError, ServerMode, ServerState, TsRequest,
};
use sspi::generator::GeneratorState;
use sspi::ntlm::NtlmConfig;
use sspi::{AuthIdentity, Username};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::Fault;
use super::link::Link;
use super::messages::Messages;
use crate::rdp::nego::Chosen;
use crate::rdp::pdu::Malformed;
use crate::secret::Secret;

/// The most messages of a user's program; three are enough.
const MESSAGES_MAX: usize = 8;

/// The most characters of a ticket's name.
const NAME_CHARACTERS_MAX: usize = 128;

/// Proves a ticket, and gives its name.
pub(super) async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    messages: &mut Messages<S>,
    link: &Link,
    public_key: Vec<u8>,
    chosen: Chosen,
) -> Result<String, Fault> {
    let (ask, mut asked) = mpsc::channel(1);
    let mode = ServerMode::Ntlm(NtlmConfig::new("DOORWARD".to_owned()));
    let mut server = CredSspServer::new(public_key, Tickets { ask }, mode).map_err(|_| Fault::CredSsp)?;
    let mut proven = None;
    for _ in 0..MESSAGES_MAX {
        let message = messages.credssp().await.map_err(Fault::User)?;
        let request = TsRequest::from_buffer(&message).map_err(|_| Fault::User(Malformed("CredSSP message").into()))?;
        // The library asks for the secret inside its step, so that runs beside this task.
        let mut step = tokio::task::spawn_blocking(move || {
            let state = match server.process(request).start() {
                GeneratorState::Completed(state) => Some(state),
                GeneratorState::Suspended(_) => None,
            };
            (server, state)
        });
        let (next, state) = loop {
            tokio::select! {
                done = &mut step => break done.map_err(|_| Fault::CredSsp)?,
                Some(Question { name, answer }) = asked.recv() => {
                    let secret = link.ticket_secret(name.clone()).await?;
                    proven = secret.is_some().then_some(name);
                    let _ = answer.send(secret);
                }
            }
        };
        server = next;
        match state.ok_or(Fault::CredSsp)? {
            Ok(ServerState::ReplyNeeded(reply)) => send(messages, &reply).await?,
            Ok(ServerState::Finished(_)) => {
                if chosen.has_early_result() {
                    let mut word = Vec::new();
                    EarlyUserAuthResult::Success.to_buffer(&mut word).map_err(|_| Fault::CredSsp)?;
                    messages.send(&word).await.map_err(Fault::User)?;
                }
                return proven.ok_or(Fault::WrongTicket);
            }
            Err(ServerError { ts_request, .. }) => {
                // Whatever was wrong, the program is told the same.
                let mut reply = ts_request.map(|request| *request).unwrap_or_default();
                reply.nego_tokens = None;
                reply.auth_info = None;
                reply.pub_key_auth = None;
                reply.error_code = Some(NStatusCode::LOGON_FAILURE);
                send(messages, &reply).await?;
                return Err(Fault::WrongTicket);
            }
        }
    }
    Err(Fault::CredSsp)
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(messages: &mut Messages<S>, reply: &TsRequest) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    reply.encode_ts_request(&mut bytes).map_err(|_| Fault::CredSsp)?;
    messages.send(&bytes).await.map_err(Fault::User)
}

struct Question {
    name: String,
    answer: oneshot::Sender<Option<Secret<String>>>,
}

/// The tickets, as the library asks for them; the bastion has them.
struct Tickets {
    ask: mpsc::Sender<Question>,
}

impl CredentialsProxy for Tickets {
    type AuthenticationData = AuthIdentity;

    fn auth_data_by_user(&mut self, username: &Username) -> io::Result<AuthIdentity> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let name = username.account_name();
        let secret = if name.chars().count() <= NAME_CHARACTERS_MAX {
            let (answer, answered) = oneshot::channel();
            self.ask.blocking_send(Question { name: name.to_owned(), answer }).map_err(|_| gone())?;
            answered.blocking_recv().map_err(|_| gone())?
        } else {
            None
        };
        // A name that nobody has fails as a wrong secret does, at the same place.
        let password = match secret {
            Some(secret) => secret.expose().clone(),
            None => unguessable().ok_or_else(gone)?,
        };
        Ok(AuthIdentity { username: username.clone(), password: password.into() })
    }

    fn auth_data(&mut self) -> io::Result<Vec<AuthIdentity>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

fn unguessable() -> Option<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
