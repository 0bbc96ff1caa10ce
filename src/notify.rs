//! Tells people what they must know of requests and of commands: by webhooks and by a mail command; alerts by syslog and by
//! a program, too. What must be told is kept on disk (`ledger::Message`) from the moment at which it happens, and tried
//! until it is taken or a day is over.
//!
//! What this module does **not** guard against: a server that takes a message and loses it has been told. The log of the
//! bastion is the truth; a message is a hint to look.

mod alerts;
mod mail;
mod program;
mod syslog;
mod ticket;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ring::hmac;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::audit::{Audit, AuditEvent};
use crate::clock::Clock;
use crate::gate::verdict::AlertLevel;
use crate::http;
use crate::ledger::{CommandFacts, Delivery, Ledger, Message};
use crate::model::{RequestId, Timestamp, UserName};
use crate::requests::Alarm;
use crate::secret::Secret;
use alerts::Waiting;
pub use alerts::{Alert, Alerts};
pub use mail::MailSettings;
pub use syslog::Syslog;
use syslog::{Line, Severity};
pub use ticket::ticket_check;

/// A call may take so long.
const CALL_MAX: Duration = Duration::from_secs(10);
/// An alarm is waited for so long.
const ALARM_MAX: Duration = Duration::from_secs(2);
/// Calls of alarms at once.
const RINGING_MAX: usize = 64;
/// It is looked so often whether something is due.
const LOOK: Duration = Duration::from_millis(500);
/// After a failure it is tried again after so long, and then twice that, up to the longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// So long it is tried.
const TRIED: Duration = Duration::from_secs(24 * 3600);
/// The header by which a webhook knows that a message is ours: HMAC-SHA256 of the body, in hexadecimal.
const SIGNATURE: &str = "doorward-signature";
/// A shorter secret can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// So long a message is kept after.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How people are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifySettings {
    /// Those who get each message as JSON, by POST.
    pub webhooks: Vec<Webhook>,
    /// A program that sends mail.
    pub mail: Option<MailSettings>,
    /// Collectors of logs that get each alert.
    pub syslog: Vec<Syslog>,
    /// A program that gets each alert as JSON on its standard input, and its arguments; empty for none.
    pub alert_command: Vec<String>,
}

/// A server that gets each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: String,
    /// The file of a token that it gets as `Authorization: Bearer`, if it wants one.
    pub token: Option<PathBuf>,
    /// The file of a secret by which each message is signed (HMAC-SHA256), if it shall be.
    pub secret: Option<PathBuf>,
}

impl NotifySettings {
    /// The names of the ways by which people are told, as messages have them.
    pub fn ways(&self) -> Vec<String> {
        let hooks = self.webhooks.iter().map(|hook| way_of(&hook.url));
        hooks.chain(self.mail.iter().map(|_| MAIL.to_owned())).collect()
    }

    /// The ways by which alerts go that are for no user: mail only if somebody is named.
    pub fn ways_of_alerts(&self) -> Vec<String> {
        let mailed = self.mail.as_ref().is_some_and(|mail| !mail.alerts.is_empty());
        self.ways().into_iter().filter(|way| way != MAIL || mailed).chain(self.sinks()).collect()
    }

    /// The ways that carry nothing but alerts.
    fn sinks(&self) -> impl Iterator<Item = String> {
        let command = (!self.alert_command.is_empty()).then(|| COMMAND.to_owned());
        self.syslog.iter().map(way_of_syslog).chain(command)
    }
}

const MAIL: &str = "mail";
const COMMAND: &str = "alert command";

fn way_of_syslog(syslog: &Syslog) -> String {
    format!("syslog {syslog}")
}

/// A webhook's name: what stands behind the host is often a secret. `requests::can_alarm` reads the host out of it.
fn way_of(url: &str) -> String {
    let host = host_of(url);
    let tag: String = crate::store::sha256_hex(url.as_bytes()).chars().take(6).collect();
    format!("webhook {host} {tag}")
}

/// The host of a URL, with its port if it names one.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// What a webhook gets.
#[derive(Debug, Serialize)]
struct Posted<'a> {
    id: &'a str,
    at: Timestamp,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a RequestId>,
    alert: bool,
    to: Vec<&'a UserName>,
    /// Chat systems show this.
    text: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a CommandFacts>,
}

/// A message on its way.
#[derive(Debug)]
struct Letter<'a> {
    id: &'a str,
    at: Timestamp,
    event: &'a str,
    /// The request it is about, if it is about one.
    request: Option<&'a RequestId>,
    to: Vec<&'a UserName>,
    subject: &'a str,
    text: &'a str,
    alert: bool,
    /// Of the command that it is about.
    command: Option<&'a CommandFacts>,
}

impl<'a> From<&'a Message> for Letter<'a> {
    fn from(message: &'a Message) -> Self {
        let Message { id, at, event, request, to, subject, text, alert, command, ways: _ } = message;
        let to = to.iter().collect();
        let command = command.as_deref();
        Self { id, at: *at, event, request: Some(request), to, subject, text, alert: *alert, command }
    }
}

impl Letter<'_> {
    /// As JSON, for programs.
    fn posted(&self, subject: &str, detail: &str) -> Result<String, String> {
        let Letter { id, at, event, request, to, alert, command, .. } = self;
        let (at, request, alert, to, command) = (*at, *request, *alert, to.clone(), *command);
        let posted = Posted { id, at, event, request, alert, to, text: subject, detail, command };
        serde_json::to_string(&posted).map_err(|error| error.to_string())
    }
}

/// Those who are told, as they are called.
struct Ways {
    settings: NotifySettings,
    /// Each webhook's own, by its URL: none gets another's.
    tokens: BTreeMap<String, Secret<String>>,
    /// By which messages to a webhook are signed, by its URL.
    secrets: BTreeMap<String, hmac::Key>,
    /// How the bastion calls itself in syslog.
    node: String,
    agent: ureq::Agent,
    /// How many calls an alarm has begun that are not over.
    ringing: AtomicUsize,
}

/// Carries messages.
pub struct Notifier {
    ways: Arc<Ways>,
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
    clock: Clock,
    alerts: Alerts,
    /// Taken when they are carried.
    waiting: Vec<Waiting>,
}

impl Notifier {
    /// Reads the tokens.
    ///
    /// # Errors
    /// If a file of them cannot be read.
    pub fn new(
        settings: NotifySettings,
        ledger: Arc<Ledger>,
        audit: Arc<Audit>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let (mut tokens, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        let read =
            |file: &PathBuf| Ok::<_, std::io::Error>(Secret::new(std::fs::read_to_string(file)?.trim().to_owned()));
        for Webhook { url, token, secret } in &settings.webhooks {
            if let Some(file) = token {
                tokens.insert(url.clone(), read(file)?);
            }
            if let Some(file) = secret {
                let secret = read(file)?;
                if secret.expose().len() < SECRET_BYTES_MIN {
                    return Err(std::io::Error::other(format!("`{}` is too short to sign with", file.display())));
                }
                secrets.insert(url.clone(), hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()));
            }
        }
        let node = audit.key().name().to_string();
        let (agent, ringing) = (http::agent(CALL_MAX), AtomicUsize::new(0));
        let ways = Ways { settings, tokens, secrets, node, agent, ringing };
        let (alerts, waiting) = Alerts::by(ways.settings.ways_of_alerts());
        Ok(Self { ways: Arc::new(ways), ledger, audit, clock, alerts, waiting })
    }

    /// What raises an alarm before that which it is about: all ways at once, waited for `ALARM_MAX` at most. A way that takes
    /// it later is told again, in the usual course, by a message of the same id.
    pub fn alarm(&self) -> Alarm {
        let ways = Arc::clone(&self.ways);
        Box::new(move |message| ways.ring(message))
    }

    /// By which operators are told of the bastion itself.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Carries messages until `stop`. Each way has a task of its own: one that hangs holds up no other.
    pub async fn run(mut self, stop: CancellationToken) {
        let alerts = std::mem::take(&mut self.waiting);
        let own = Arc::new(self);
        let mut ways = JoinSet::new();
        for way in own.ways.settings.ways().into_iter().chain(own.ways.settings.sinks()) {
            ways.spawn(Arc::clone(&own).carry(way, stop.clone()));
        }
        for waiting in alerts {
            ways.spawn(Arc::clone(&own).carry_alerts(waiting, stop.clone()));
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
                    () = self.ledger.message_added() => {}
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
        let after = match self.ways.send(way, &Letter::from(&message)) {
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
                request: Some(message.request.clone()),
                about: message.event.clone(),
                way: way.to_owned(),
                result: outcome,
            };
            if let Err(failure) = self.audit.append(&event) {
                error!(error = %failure, "Cannot write the audit log");
            }
        }
    }
}

impl Ways {
    /// By which ways a message was taken at once.
    fn ring(self: &Arc<Self>, message: &Message) -> BTreeSet<String> {
        let (done, taken) = std::sync::mpsc::sync_channel(message.ways.len());
        for way in message.ways.keys().cloned() {
            // Who hangs holds up a few: it is queued all the same.
            if self.ringing.fetch_add(1, Ordering::SeqCst) >= RINGING_MAX {
                self.ringing.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (own, message, done) = (Arc::clone(self), message.clone(), done.clone());
            let call = move || {
                let told = own.send(&way, &Letter::from(&message));
                own.ringing.fetch_sub(1, Ordering::SeqCst);
                match told {
                    Ok(()) => drop(done.send(way)),
                    Err(why) => warn!(way, request = %message.request, error = why, "An alarm was not taken at once"),
                }
            };
            if std::thread::Builder::new().spawn(call).is_err() {
                self.ringing.fetch_sub(1, Ordering::SeqCst);
            }
        }
        drop(done);
        let began = Clock::system().instant();
        let mut by = BTreeSet::new();
        while let Some(left) = ALARM_MAX.checked_sub(began.elapsed()) {
            let Ok(way) = taken.recv_timeout(left) else { break };
            by.insert(way);
        }
        by
    }

    fn send(&self, way: &str, message: &Letter<'_>) -> Result<(), String> {
        if way == MAIL {
            let mail = self.settings.mail.as_ref().ok_or("mail is not configured any more")?;
            return mail.send(message);
        }
        if way == COMMAND {
            return program::hand(&self.settings.alert_command, message.posted(message.subject, message.text)? + "\n");
        }
        if let Some(syslog) = self.settings.syslog.iter().find(|syslog| way_of_syslog(syslog) == way) {
            let text = message.posted(message.subject, "")?;
            let severity = match message.command.map(|command| command.level) {
                Some(AlertLevel::High) => Severity::Critical,
                Some(AlertLevel::Low) => Severity::Notice,
                Some(AlertLevel::Medium) | None => Severity::Warning,
            };
            let Letter { at, event, .. } = message;
            return syslog.send(&Line { severity, at: *at, node: &self.node, event, text: &text });
        }
        let hook = self.settings.webhooks.iter().find(|hook| way_of(&hook.url) == way);
        self.post(&hook.ok_or("this webhook is not configured any more")?.url, message)
    }

    fn post(&self, url: &str, message: &Letter<'_>) -> Result<(), String> {
        let body = message.posted(&plain(message.subject), &plain(message.text))?;
        let mut call = self.agent.post(url).content_type("application/json");
        if let Some(token) = self.tokens.get(url).filter(|_| is_private(url)) {
            call = call.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some(key) = self.secrets.get(url) {
            call = call
                .header(SIGNATURE, format!("sha256={}", crate::store::hex(hmac::sign(key, body.as_bytes()).as_ref())));
        }
        // The URL may be a secret: an error must not tell it.
        let answer = call.send(body).map_err(|error| told(&error))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers {}", status.as_u16())) }
    }
}

/// An id for a message.
fn random_id() -> String {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut random = [0_u8; 16];
    // Without randomness ids repeat, and whoever takes the message may think that it has it already: it is sent all the same.
    let _ = SystemRandom::new().fill(&mut random);
    format!("a-{}", crate::store::hex(&random))
}

/// Chat systems make links and calls to everybody of `<...>`; what users wrote is text.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether nobody on the way reads what is sent there: a token is sent nowhere else.
fn is_private(url: &str) -> bool {
    let host = host_of(url);
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
mod alarm_tests;
#[cfg(test)]
mod tests;
