//! Tells people what they must know of requests: by webhooks and by a mail command. What must be told is kept on disk
//! (`ledger::Message`) from the moment at which it happens, and tried until it is taken or a day is over.
//!
//! What this module does **not** guard against: a server that takes a message and loses it has been told. The log of the
//! bastion is the truth; a message is a hint to look.

mod mail;
mod ticket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::audit::{Audit, AuditEvent};
use crate::clock::Clock;
use crate::http;
use crate::ledger::{Delivery, Ledger, Message};
use crate::model::{RequestId, Timestamp, UserName};
use crate::secret::Secret;
pub use mail::MailSettings;
pub use ticket::ticket_check;

/// A call may take so long.
const CALL_MAX: Duration = Duration::from_secs(10);
/// It is looked so often whether something is due.
const LOOK: Duration = Duration::from_millis(500);
/// After a failure it is tried again after so long, and then twice that, up to the longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// So long it is tried.
const TRIED: Duration = Duration::from_secs(24 * 3600);
/// So long a message is kept after.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How people are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifySettings {
    /// URLs that get each message as JSON, by POST.
    pub webhooks: Vec<String>,
    /// The file of a token that they get as `Authorization: Bearer`, if they want one.
    pub webhook_token: Option<PathBuf>,
    /// A program that sends mail.
    pub mail: Option<MailSettings>,
}

impl NotifySettings {
    /// The names of the ways, as messages have them.
    pub fn ways(&self) -> Vec<String> {
        let hooks = self.webhooks.iter().map(|url| way_of(url));
        hooks.chain(self.mail.iter().map(|_| MAIL.to_owned())).collect()
    }
}

const MAIL: &str = "mail";

/// A webhook's name: what stands behind the host is often a secret.
fn way_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
    let tag: String = digest.as_ref().iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    format!("webhook {host} {tag}")
}

/// What a webhook gets.
#[derive(Debug, Serialize)]
struct Posted<'a> {
    id: &'a str,
    at: Timestamp,
    event: &'a str,
    request: &'a RequestId,
    alert: bool,
    to: Vec<&'a UserName>,
    /// Chat systems show this.
    text: &'a str,
    detail: &'a str,
}

/// Carries messages.
pub struct Notifier {
    settings: NotifySettings,
    token: Option<Secret<String>>,
    agent: ureq::Agent,
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
    clock: Clock,
}

impl Notifier {
    /// Reads the token.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn new(
        settings: NotifySettings,
        ledger: Arc<Ledger>,
        audit: Arc<Audit>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let token = match &settings.webhook_token {
            None => None,
            Some(file) => Some(Secret::new(std::fs::read_to_string(file)?.trim().to_owned())),
        };
        Ok(Self { settings, token, agent: http::agent(CALL_MAX), ledger, audit, clock })
    }

    /// Carries messages until `stop`. Each way has a task of its own: one that hangs holds up no other.
    pub async fn run(self, stop: CancellationToken) {
        let own = Arc::new(self);
        let mut ways = JoinSet::new();
        for way in own.settings.ways() {
            ways.spawn(Arc::clone(&own).carry(way, stop.clone()));
        }
        while ways.join_next().await.is_some() {}
    }

    async fn carry(self: Arc<Self>, way: String, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let (own, by) = (Arc::clone(&self), way.clone());
            // After a panic, which has shown itself, the message is tried again.
            let more = tokio::task::spawn_blocking(move || own.deliver_one(&by)).await.unwrap_or(false);
            if !more {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Tries what is due first by this way; `false` if nothing is.
    fn deliver_one(&self, way: &str) -> bool {
        let now = self.clock.now();
        let Some(message) = self.ledger.due_message(way, now) else {
            if let Err(failure) = self.ledger.forget_messages(now.minus(KEPT)) {
                warn!(error = %failure, "Old messages cannot be removed");
            }
            return false;
        };
        let Some(Delivery::Waiting { tries, .. }) = message.ways.get(way) else { return false };
        let tries = tries.saturating_add(1);
        let after = match self.send(way, &message) {
            Ok(()) => Delivery::Delivered { at: self.clock.now() },
            Err(why) if message.at.until(now) >= TRIED => Delivery::GivenUp { at: now, why },
            Err(why) => {
                warn!(way, request = %message.request, tries, error = why, "A message was not taken");
                let pause = AGAIN.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(AGAIN_MAX);
                Delivery::Waiting { tries, next: self.clock.now().plus(pause) }
            }
        };
        if after.is_over() {
            self.note(way, &message, &after);
        }
        if let Err(failure) = self.ledger.set_delivery(&message.id, way, after) {
            // It is sent once more, then: twice told is better than never.
            error!(error = %failure, "What was delivered cannot be noted");
            return false;
        }
        true
    }

    /// Puts on record what became of an alert, and that a message was given up.
    fn note(&self, way: &str, message: &Message, after: &Delivery) {
        let outcome = match after {
            Delivery::Delivered { .. } => String::from("delivered"),
            Delivery::GivenUp { why, .. } => format!("given up: {why}"),
            Delivery::Waiting { .. } => return,
        };
        info!(way, request = %message.request, event = message.event, outcome, "Message");
        if message.alert || !matches!(after, Delivery::Delivered { .. }) {
            let event = AuditEvent::Notified {
                request: message.request.clone(),
                about: message.event.clone(),
                way: way.to_owned(),
                result: outcome,
            };
            if let Err(failure) = self.audit.append(&event) {
                error!(error = %failure, "Cannot write the audit log");
            }
        }
    }

    fn send(&self, way: &str, message: &Message) -> Result<(), String> {
        if way == MAIL {
            let mail = self.settings.mail.as_ref().ok_or("mail is not configured any more")?;
            return mail.send(message);
        }
        let url = self.settings.webhooks.iter().find(|url| way_of(url) == way);
        self.post(url.ok_or("this webhook is not configured any more")?, message)
    }

    fn post(&self, url: &str, message: &Message) -> Result<(), String> {
        let Message { id, at, event, request, to, subject, text, alert, .. } = message;
        let (to, at) = (to.iter().collect(), *at);
        let (subject, text) = (plain(subject), plain(text));
        let posted = Posted { id, at, event, request, alert: *alert, to, text: &subject, detail: &text };
        let body = serde_json::to_string(&posted).map_err(|error| error.to_string())?;
        let mut call = self.agent.post(url).content_type("application/json");
        if let Some(token) = self.token.as_ref().filter(|_| is_private(url)) {
            call = call.header("authorization", format!("Bearer {}", token.expose()));
        }
        // The URL may be a secret: an error must not tell it.
        let answer = call.send(body).map_err(|error| told(&error))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers {}", status.as_u16())) }
    }
}

/// Chat systems make links and calls to everybody of `<...>`; what users wrote is text.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether nobody on the way reads what is sent there: a token is sent nowhere else.
fn is_private(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    url.starts_with("https://")
        || ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|own| host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

/// What went wrong with a call, without its URL.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's errors are many, and may become more")]
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Timeout(_) => String::from("it does not answer in time"),
        ureq::Error::HostNotFound => String::from("its host is not found"),
        ureq::Error::ConnectionFailed => String::from("it cannot be reached"),
        _ => String::from("the call failed"),
    }
}

#[cfg(test)]
mod tests;
