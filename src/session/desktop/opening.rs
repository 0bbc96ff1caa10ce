//! A desktop opens as any session does: no permit, no recording; no recording, no credential; no pinned certificate, no
//! login.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info};

use super::super::opening::{listed, note_dial, open_recording};
use super::super::registry::OpenChannel;
use super::super::timekeeper::{Timekeeper, wait_end};
use super::super::visitor::Visitor;
use super::super::{Bastion, EndCause, Refusal, Registration, rests};
use super::entry::{Entered, Facts};
use super::process::{Broken, Process};
use super::taking::{NotTaken, Taking};
use crate::grant::{Denial, Permit};
use crate::ledger::DesktopTarget;
use crate::model::{Asked, ChannelClass, ChannelNumber, Destination, SessionId, Timestamp};
use crate::policy::{Durability, InputMode};
use crate::rdp::control::{Credential, FromProcess, Permitted, Pin, ToProcess};
use crate::recorder::{ChannelFacts, Recording, SessionFacts};
use crate::relay::Activity;
use crate::target::DialError;
use crate::vault::{CredentialKind, VaultError};
use crate::wire::Cut;

/// A desktop that needs somebody to watch it waits so long for them.
const WATCHER_WAIT: Duration = Duration::from_secs(120);
/// The target has so long to take a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// The target has so long to show its certificate.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// A desktop that has begun.
pub(super) struct Opened {
    pub id: SessionId,
    pub permit: Permit,
    pub registration: Registration,
    pub recording: Recording,
    pub taking: Taking,
    pub time: Timekeeper,
    pub activity: Activity,
    pub cut: Cut,
    pub started: Timestamp,
    pub _channel: OpenChannel,
}

/// A session that is registered and permitted, and of which nothing is recorded yet.
struct Begun {
    id: SessionId,
    permit: Permit,
    registration: Registration,
    channel: OpenChannel,
    cut: Cut,
    time: Timekeeper,
    started: Timestamp,
    desktop: DesktopTarget,
    pin: Pin,
}

/// Opens the session.
pub(super) async fn open(bastion: &Arc<Bastion>, entered: &Entered, process: &mut Process) -> Result<Opened, Refusal> {
    let Entered { visitor, destination, facts } = entered;
    rests::begin_approved(bastion, visitor, destination, &[Asked::from(ChannelClass::Desktop)]).await?;
    let begun = begin(bastion, visitor, destination)?;
    rests::count_session(bastion, &begun.permit, &begun.id).await?;
    let opened = prepare(bastion, visitor, facts, &begun, process).await;
    let (recording, taking) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            rests::uncount_session(bastion, &begun.permit, &begun.id).await;
            return Err(refusal);
        }
    };
    rests::keep_count(bastion, &begun.permit, &begun.id);
    let Begun { id, permit, registration, channel, cut, mut time, started, .. } = begun;
    time.watch(recording.failed());
    let activity = Activity::start();
    time.watch_idle(&registration, activity.clone());
    let _ = visitor.since.set(started);
    info!(session = %id, user = %permit.user(), target = %destination.target, account = %destination.account, "Desktop opened");
    Ok(Opened { id, permit, registration, recording, taking, time, activity, cut, started, _channel: channel })
}

/// Registered, and only then judged: a revoke that comes in between finds the session on the list.
fn begin(bastion: &Bastion, visitor: &Visitor, destination: &Destination) -> Result<Begun, Refusal> {
    let asked = Asked::from(ChannelClass::Desktop);
    let now = bastion.clock.now();
    let first = bastion.ledger.permit_asked(visitor.asker(), destination, &asked, now).map_err(Refusal::Denied)?;
    bastion.recorder.healthy_for(first.recording().durability).map_err(Refusal::Recorder)?;
    let target = bastion.ledger.target(&destination.target).ok_or(Refusal::Denied(Denial::UnknownTarget))?;
    let desktop = target.desktop.ok_or_else(|| Refusal::NotCarried(String::from("a desktop of this target")))?;
    let pin = desktop.pin.clone().ok_or(Refusal::Dial(DialError::NoPinnedKey))?;
    let id = bastion.recorder.new_session_id(now);
    let registration = bastion.sessions.register(listed(&id, &first, visitor, now), asked.clone(), &visitor.user);
    registration.carries(first.desktop().clone());
    let permit = bastion.ledger.permit_asked(visitor.asker(), destination, &asked, bastion.clock.now());
    let permit = permit.map_err(Refusal::Denied)?;
    if permit.desktop() != first.desktop() {
        return Err(Refusal::Ended(EndCause::PolicyChanged));
    }
    rests::has_room(&permit, &registration)?;
    let channel = registration.channel(asked);
    registration.judge(&bastion.ledger, bastion.clock.now());
    let cut = Cut::new();
    let time = Timekeeper::start(&registration, bastion.clock.clone(), [cut.clone(), cut.clone()]);
    Ok(Begun { id, permit, registration, channel, cut, time, started: now, desktop, pin })
}

/// Waits for whoever must watch, opens the recording, has the target's certificate checked, and hands the credential out.
async fn prepare(
    bastion: &Arc<Bastion>,
    visitor: &Visitor,
    facts: &Facts,
    begun: &Begun,
    process: &mut Process,
) -> Result<(Recording, Taking), Refusal> {
    let ended = Ended { end: begun.registration.end.clone(), cut: begun.cut.clone() };
    ended.or(watched(bastion, visitor, begun)).await?;
    let session = SessionFacts {
        id: begun.id.clone(),
        key_fingerprint: visitor.user.proof().to_string(),
        target_address: begun.desktop.address.clone(),
        source: visitor.source.clone(),
        started: begun.started,
    };
    let recording = open_recording(bastion, &begun.permit, session).await?;
    match ended.or(login(bastion, visitor, facts, begun, process, &recording)).await {
        Ok(taking) => Ok((recording, taking)),
        Err(refusal) => {
            note_dial(bastion, begun.permit.destination(), &refusal).await;
            if let Err(failure) = recording.finish(&refusal.to_string()).await {
                error!(error = %failure, "Cannot close a recording");
            }
            Err(refusal)
        }
    }
}

/// What ends a session before it has begun.
struct Ended {
    end: watch::Receiver<Option<EndCause>>,
    cut: Cut,
}

impl Ended {
    /// What comes first.
    async fn or<T>(&self, doing: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let mut end = self.end.clone();
        tokio::select! {
            biased;
            cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
            () = self.cut.cut_off() => Err(Refusal::Ended(EndCause::Fault)),
            done = doing => done,
        }
    }
}

/// Four eyes: nothing begins until somebody watches.
async fn watched(bastion: &Bastion, visitor: &Visitor, begun: &Begun) -> Result<(), Refusal> {
    let person = bastion.ledger.user(visitor.user.user()).map(|user| user.human().clone());
    if begun.registration.watch_over(begun.permit.oversight(), person) {
        let pause = begun.registration.pause();
        timeout(WATCHER_WAIT, pause.over()).await.map_err(|_| Refusal::Unwatched)?;
    }
    Ok(())
}

/// Has the target's certificate checked by the process, and then gives it the credential.
async fn login(
    bastion: &Bastion,
    visitor: &Visitor,
    facts: &Facts,
    begun: &Begun,
    process: &mut Process,
    recording: &Recording,
) -> Result<Taking, Refusal> {
    let permit = &begun.permit;
    let policy = permit.recording();
    let Facts { client, keyboard_layout, width, height } = facts;
    recording
        .note(format!("the user's program: {client}, keyboard layout {keyboard_layout:#010x}, {width}x{height}"))
        .await;
    let passes = permit.desktop().words();
    let passes = if passes.is_empty() { String::from("nothing") } else { passes.join(", ") };
    recording.note(format!("beside picture, keys and mouse passes: {passes}")).await;
    let channel = ChannelFacts {
        number: ChannelNumber(1),
        class: ChannelClass::Desktop,
        terminal: None,
        command: None,
        forward: None,
        environment: Vec::new(),
        pixels: Some((u32::from(*width), u32::from(*height))),
    };
    let track = recording.channel(permit, channel).await.map_err(Refusal::Recorder)?;
    let DesktopTarget { address, allow_tls_only, domain, .. } = &begun.desktop;
    let permitted = Permitted {
        session: begun.id.to_string(),
        address: address.clone(),
        pin: begun.pin.clone(),
        allow_tls_only: *allow_tls_only,
        rules: permit.desktop().clone(),
        wait_for_disk: policy.durability == Durability::Strict,
        record_keys: policy.input == InputMode::Full,
    };
    let taking = Taking::start(track, process.teller());
    let socket = dial(address).await.map_err(|error| Refusal::Dial(DialError::Unreachable(error)))?;
    process.hand(ToProcess::Permitted(Box::new(permitted)), socket).map_err(broken)?;
    let certificate = timeout(CHECK_TIMEOUT, checked(process, &begun.pin, &taking))
        .await
        .map_err(|_| Refusal::Dial(DialError::Unreachable(std::io::ErrorKind::TimedOut.into())))??;
    recording.note(format!("the target's certificate: sha256:{certificate}")).await;
    let secret = bastion.vault.credential(permit).map_err(Refusal::Vault)?;
    let CredentialKind::Password(password) = secret.kind() else {
        return Err(Refusal::Vault(VaultError::NoPassword(permit.destination().clone())));
    };
    for text in secret.texts() {
        recording.scrub(text, &permit.destination().to_string());
    }
    // Asked once more: the user may have been suspended while the target was looked at.
    visitor.standing(bastion)?;
    let account = permit.destination().account.to_string();
    let credential = Credential { account, domain: domain.clone(), password: password.clone() };
    process.tell(ToProcess::Credential(credential)).map_err(broken)?;
    Ok(taking)
}

/// A way to the target: the process itself has none to anywhere.
async fn dial(address: &str) -> std::io::Result<OwnedFd> {
    let dialled = timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await;
    let socket = dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    // Small messages both ways; a socket that does not know this works all the same.
    let _ = socket.set_nodelay(true);
    Ok(OwnedFd::from(socket.into_std()?))
}

/// The certificate that the target has shown, once the process says that it is one of these.
async fn checked(process: &mut Process, pin: &Pin, taking: &Taking) -> Result<String, Refusal> {
    let said = loop {
        let said = process.next().await.map_err(broken)?;
        // What the desktop is, and which channels were asked for, is said first.
        let FromProcess::Record(record) = said else { break said };
        taking.take(&record).await.map_err(|not| match not {
            NotTaken::Broken(lie) => broken(lie),
            NotTaken::Recorder(failure) => Refusal::Recorder(failure),
        })?;
    };
    match said {
        FromProcess::Checked { certificate } => match pin {
            // It is compared here too: what the process says decides over a password.
            Pin::Fingerprints(all) if !all.contains(&certificate) => {
                Err(broken(Broken::Unexpected("that it has seen a certificate which is not pinned")))
            }
            Pin::Fingerprints(_) => Ok(certificate),
            Pin::Authority { .. } => Ok(certificate.chars().filter(char::is_ascii_hexdigit).take(64).collect()),
        },
        FromProcess::WrongCertificate { got } => {
            let got: String = got.chars().filter(char::is_ascii_hexdigit).take(64).collect();
            let expected = match pin {
                Pin::Fingerprints(all) => all.iter().map(|hex| format!("sha256:{hex}")).collect(),
                Pin::Authority { name, .. } => vec![format!("one that the authority signed for {name}")],
            };
            Err(Refusal::Dial(DialError::HostKeyChanged { got: format!("certificate sha256:{got}"), expected }))
        }
        FromProcess::Ended { why } => Err(Refusal::Dial(DialError::Handshake(words(&why)))),
        FromProcess::Hello { .. }
        | FromProcess::Ticket { .. }
        | FromProcess::Login(_)
        | FromProcess::LoggedIn(_)
        | FromProcess::Active
        | FromProcess::Record(_)
        | FromProcess::Picture(_) => Err(broken(Broken::Unexpected("something out of its order"))),
    }
}

/// What the process says in words, as it may stand on record.
pub(super) fn words(text: &str) -> String {
    crate::screen::line(&text.chars().take(300).collect::<String>())
}

fn broken(broken: Broken) -> Refusal {
    Refusal::Dial(DialError::Handshake(broken.to_string()))
}
