//! What the audit log says of a request: its verb, its subject, its details without secrets.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Caller;
use super::api::{AuditFilter, Request, SecretInput, SessionFilter, TargetChange};
use super::locks::LockWanted;
use super::users::UserEnd;
use crate::audit::{AuditEvent, Call, CommandFilter, VaultChange};
use crate::ledger::fingerprint;
use crate::ledger::{DesktopChange, Target, UserKey, public_key};
use crate::model::{Destination, SessionId, Timestamp, join};
use crate::rdp::control::Pin;

/// What kind of event a request is.
enum Kind {
    SecretSet(Destination),
    SecretRemove(Destination),
    View(SessionId),
    Call(Call),
}

impl Kind {
    fn of(request: &Request) -> Self {
        if let Request::SecretSet { destination, .. } = request {
            return Self::SecretSet(destination.clone());
        }
        if let Request::SecretRemove { destination } = request {
            return Self::SecretRemove(destination.clone());
        }
        if let Request::RecordingRead { session, .. } = request {
            return Self::View(session.clone());
        }
        if let Request::SessionWatch { look } = request {
            return Self::View(look.session.clone());
        }
        Self::Call(about(request))
    }
}

impl Entry {
    /// The event of the request, with what came of it.
    ///
    /// A request that shows something is an `admin.call`, one that changes something a `config.change`, so that
    /// monitors can tell them apart; secrets and recordings have types of their own.
    pub(super) fn event(&self, caller: Caller, outcome: &str) -> AuditEvent {
        let listed =
            |parts: &[&str]| parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        let uid = caller.uid;
        let detail = listed(&[&self.detail, outcome]);
        let change = |destination: &Destination| VaultChange { uid, destination: destination.clone(), detail };
        match &self.kind {
            Kind::SecretSet(destination) => AuditEvent::SecretSet(change(destination)),
            Kind::SecretRemove(destination) => AuditEvent::SecretRemove(change(destination)),
            Kind::View(session) => {
                let purpose = listed(&[&self.detail, outcome]);
                AuditEvent::ReplayView { session: session.clone(), by: caller.to_string(), purpose }
            }
            Kind::Call(call) => {
                let detail = listed(&[&self.subject, &self.detail, outcome]);
                let call = Call { uid, verb: self.verb.to_owned(), detail, ..call.clone() };
                match self.effect {
                    Effect::Reads => AuditEvent::AdminCall(call),
                    Effect::Gives | Effect::Takes | Effect::Retires => AuditEvent::ConfigChange(call),
                }
            }
        }
    }
}

/// A call that says what it is about: by that it is found.
fn about(request: &Request) -> Call {
    let call = Call::default();
    match request {
        Request::SessionKill { session }
        | Request::SessionFreeze { session }
        | Request::SessionUnfreeze { session }
        | Request::SessionMessage { session, .. }
        | Request::RecordingRead { session, .. }
        | Request::RecordingErase { session, .. }
        | Request::RecordingDropEarlier { session, .. }
        | Request::RecordingHold { session, .. } => Call { session: Some(session.clone()), ..call },
        Request::SessionWatch { look } => Call { session: Some(look.session.clone()), ..call },
        Request::RequestAdd { new } => Call { user: Some(new.user.clone()), ..call },
        Request::RecordingRewrap { rewrap } => Call { session: Some(rewrap.session.clone()), ..call },
        Request::GrantRevoke { grant, .. } => Call { grant: Some(grant.clone()), ..call },
        Request::UserAdd { user, .. }
        | Request::UserSet { user, .. }
        | Request::UserSuspend { user }
        | Request::UserOffboard { user, .. }
        | Request::UserResume { user }
        | Request::UserRemove { user }
        | Request::UserKeyAdd { user, .. }
        | Request::UserKeyRemove { user, .. }
        | Request::UserPasswordSet { user, .. }
        | Request::UserTotpSet { user }
        | Request::UserPasswordRemove { user }
        | Request::GrantAdd { user, .. }
        | Request::ClientConfig { user } => Call { user: Some(user.clone()), ..call },
        Request::UserList {}
        | Request::TargetAdd { .. }
        | Request::TargetSet { .. }
        | Request::TargetList {}
        | Request::TargetRemove { .. }
        | Request::TargetScan { .. }
        | Request::TargetScanDesktop { .. }
        | Request::SecretSet { .. }
        | Request::SecretList {}
        | Request::SecretRemove { .. }
        | Request::GrantList { .. }
        | Request::RequestList { .. }
        | Request::RequestShow { .. }
        | Request::RequestCancel { .. }
        | Request::LockAdd { .. }
        | Request::LockList {}
        | Request::LockLift { .. }
        | Request::PolicyReload {}
        | Request::SessionList { .. }
        | Request::RecordingList { .. }
        | Request::RecordingGc { .. }
        | Request::StateExport { .. }
        | Request::InventoryDiff { .. }
        | Request::InventoryApply { .. }
        | Request::AuditRead { .. }
        | Request::CommandList { .. }
        | Request::HostCa {}
        | Request::RdpCertificate {}
        | Request::AuditKey {}
        | Request::AuditCheckpoint {}
        | Request::HistoryAccept { .. }
        | Request::AuditProve { .. }
        | Request::Doctor { .. } => call,
        Request::Inquire { inquiry } => inquiry.about(),
    }
}

/// A request as the audit log has it.
pub(super) struct Entry {
    pub(super) verb: &'static str,
    pub(super) subject: String,
    pub(super) detail: String,
    pub(super) effect: Effect,
    kind: Kind,
}

/// Which way a request moves rights; it decides whether its record comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It only shows: the record comes first.
    Reads,
    /// It may give a right: the record comes first.
    Gives,
    /// It only takes away: the effect comes first.
    Takes,
    /// It decides on the end of recordings: the record comes first. It waits for no other change, nor that for it.
    Retires,
}

pub(super) fn describe(request: &Request) -> Entry {
    let (effect, verb) = verb(request);
    let (subject, detail) = words(request);
    Entry { verb, subject, detail, effect, kind: Kind::of(request) }
}

fn verb(request: &Request) -> (Effect, &'static str) {
    use Effect::{Gives, Reads, Retires, Takes};
    match request {
        Request::UserAdd { .. } => (Gives, "user add"),
        Request::UserSet { .. } => (Gives, "user set"),
        Request::UserList {} => (Reads, "user list"),
        Request::UserSuspend { .. } => (Takes, "user suspend"),
        Request::UserOffboard { .. } => (Takes, "user offboard"),
        Request::UserResume { .. } => (Gives, "user resume"),
        Request::UserRemove { .. } => (Takes, "user remove"),
        Request::UserKeyAdd { .. } => (Gives, "user key add"),
        Request::UserKeyRemove { .. } => (Takes, "user key remove"),
        Request::UserPasswordSet { .. } => (Gives, "user password"),
        Request::UserTotpSet { .. } => (Gives, "user totp"),
        Request::UserPasswordRemove { .. } => (Takes, "user password --remove"),
        Request::TargetAdd { .. } => (Gives, "target add"),
        Request::TargetSet { .. } => (Gives, "target set"),
        Request::TargetList {} => (Reads, "target list"),
        Request::TargetRemove { .. } => (Takes, "target remove"),
        Request::TargetScan { .. } => (Reads, "target scan"),
        Request::TargetScanDesktop { .. } => (Reads, "target scan"),
        Request::SecretSet { .. } => (Gives, "secret set"),
        Request::SecretList {} => (Reads, "secret list"),
        Request::SecretRemove { .. } => (Takes, "secret remove"),
        Request::GrantAdd { .. } => (Gives, "grant add"),
        Request::GrantList { .. } => (Reads, "grant list"),
        Request::GrantRevoke { .. } => (Takes, "grant revoke"),
        Request::RequestList { .. } => (Reads, "request list"),
        Request::RequestShow { .. } => (Reads, "request show"),
        Request::RequestCancel { .. } => (Takes, "request cancel"),
        Request::RequestAdd { .. } => (Gives, "request add"),
        Request::LockAdd { .. } => (Takes, "lock add"),
        Request::LockList {} => (Reads, "lock list"),
        Request::LockLift { .. } => (Gives, "lock lift"),
        Request::PolicyReload {} => (Gives, "policy reload"),
        Request::SessionList { .. } => (Reads, "session list"),
        Request::SessionKill { .. } => (Takes, "session kill"),
        Request::SessionFreeze { .. } => (Takes, "session freeze"),
        Request::SessionUnfreeze { .. } => (Gives, "session unfreeze"),
        Request::SessionMessage { .. } => (Gives, "session message"),
        Request::SessionWatch { .. } => (Reads, "session watch"),
        Request::RecordingList { .. } => (Reads, "recording list"),
        Request::RecordingErase { .. } => (Retires, "recording erase"),
        Request::RecordingHold { on: true, .. } => (Retires, "recording hold"),
        Request::RecordingHold { on: false, .. } => (Retires, "recording hold --release"),
        Request::RecordingGc { dry_run: true, .. } => (Reads, "recording gc --dry-run"),
        Request::RecordingGc { dry_run: false, .. } => (Retires, "recording gc"),
        Request::RecordingRewrap { .. } => (Gives, "recording rewrap"),
        Request::RecordingDropEarlier { .. } => (Gives, "recording rewrap --drop-earlier"),
        Request::RecordingRead { .. } => (Reads, "recording read"),
        Request::StateExport { .. } => (Reads, "state export"),
        Request::InventoryDiff { .. } => (Reads, "inventory diff"),
        Request::InventoryApply { .. } => (Gives, "inventory apply"),
        Request::ClientConfig { .. } => (Reads, "client-config"),
        Request::AuditRead { .. } => (Reads, "audit list"),
        Request::CommandList { .. } => (Reads, "commands"),
        Request::HostCa {} => (Reads, "host-ca"),
        Request::RdpCertificate {} => (Reads, "rdp-certificate"),
        Request::AuditKey {} => (Reads, "audit key"),
        Request::AuditCheckpoint {} => (Reads, "audit checkpoint"),
        Request::AuditProve { .. } => (Reads, "audit prove"),
        Request::HistoryAccept { .. } => (Gives, "audit accept-history"),
        Request::Inquire { inquiry } => inquiry.verb(),
        Request::Doctor { .. } => (Reads, "doctor"),
    }
}

/// A user's end: the moment, so that nobody needs to know the zone of then.
fn end_shown(text: &str) -> String {
    match UserEnd::parse(text) {
        Some(UserEnd::Never) => String::from("none"),
        Some(UserEnd::At(at)) => at.to_string(),
        None => clip(text),
    }
}

/// What it is about, and its details.
fn words(request: &Request) -> (String, String) {
    let of = |subject: &dyn ToString, detail: String| (subject.to_string(), detail);
    let only = |subject: &dyn ToString| (subject.to_string(), String::new());
    match request {
        Request::UserAdd { user, groups, keys, from, until } => {
            let keys = join(keys.iter().map(|key| key_shown(key)));
            let until = until.iter().map(|until| format!("; until: {}", end_shown(until))).collect::<String>();
            of(user, format!("groups: {}; keys: {keys}; from: {}{until}", join(groups), networks(from)))
        }
        Request::UserSet { user, groups, from, person, until } => {
            let groups = groups.iter().map(|groups| format!("groups: {}", join(groups)));
            let from = from.iter().map(|from| format!("from: {}", networks(from)));
            let person = person.iter().map(|person| format!("the same human as: {person}"));
            let until = until.iter().map(|until| format!("until: {}", end_shown(until)));
            of(user, groups.chain(from).chain(person).chain(until).collect::<Vec<_>>().join("; "))
        }
        Request::UserSuspend { user }
        | Request::UserResume { user }
        | Request::UserRemove { user }
        | Request::UserPasswordSet { user, .. }
        | Request::UserTotpSet { user }
        | Request::UserPasswordRemove { user }
        | Request::ClientConfig { user } => only(user),
        Request::UserOffboard { user, reason } => of(user, clip(reason)),
        Request::UserKeyAdd { user, key } => of(user, key_shown(key)),
        Request::UserKeyRemove { user, fingerprint } => of(user, clip(fingerprint)),
        Request::TargetAdd { target } => of(&target.name, target_shown(target)),
        Request::TargetSet { target, change } => of(target, change_shown(change)),
        Request::TargetRemove { target } | Request::TargetScan { target } | Request::TargetScanDesktop { target } => {
            only(target)
        }
        Request::SecretSet { destination, secret } => of(destination, kind_shown(secret).to_owned()),
        Request::SecretRemove { destination } => only(destination),
        Request::GrantAdd { user, destination, from, span, reason } => {
            let from = from.as_ref().map_or_else(|| "now".to_owned(), Timestamp::to_string);
            of(user, format!("{destination} from {from} for {} s: {}", span.as_secs(), clip(reason)))
        }
        Request::RequestShow { request } | Request::RequestCancel { request } => only(request),
        Request::LockAdd { wanted: LockWanted { scope, effect, reason, span, lifters, keeps_glass } } => {
            let spared = if *keeps_glass { ", not on broken glasses" } else { "" };
            let span = span.map(|span| format!(" for {} s", span.as_secs())).unwrap_or_default();
            of(scope, format!("{effect}{span}{spared}, {lifters} to lift it: {}", clip(reason)))
        }
        Request::SessionWatch { look } => of(&look.session, String::from("watch")),
        Request::RequestAdd { new } => {
            of(&new.destination, format!("for {}, by {}: {}", new.user, new.own, clip(&new.reason)))
        }
        Request::LockLift { lock } => only(lock),
        Request::GrantRevoke { grant, reason } => of(grant, clip(reason.as_deref().unwrap_or_default())),
        Request::SessionList { filter } | Request::RecordingList { filter } => of(&"", filter_shown(filter)),
        Request::SessionKill { session }
        | Request::SessionFreeze { session }
        | Request::SessionUnfreeze { session }
        | Request::RecordingDropEarlier { session, .. } => only(session),
        Request::SessionMessage { session, text } => of(session, clip(text)),
        Request::RecordingErase { session, approver, reason } => {
            of(session, format!("approved by {approver}: {reason}"))
        }
        Request::RecordingHold { session, reason, .. } => of(session, reason.clone()),
        Request::RecordingGc { before, even_today, .. } => {
            let detail = if *even_today { "--even-today" } else { "" };
            of(&format!("before {before}"), detail.to_owned())
        }
        Request::RecordingRewrap { rewrap } => of(&rewrap.session, clip(&join(&rewrap.recipients))),
        Request::RecordingRead { session, purpose } => of(session, clip(purpose)),
        // At most 256 of them; the leaf that tells of the file has the digest of all.
        Request::StateExport { recipients } => of(&"", format!("for: {}", clip(&join(recipients)))),
        Request::InventoryApply { expected, .. } => of(&"", join(expected)),
        Request::AuditRead { filter, .. } => of(&"", audit_filter_shown(filter)),
        Request::CommandList { filter, .. } => of(&"", command_filter_shown(filter)),
        Request::AuditProve { leaf } => only(leaf),
        Request::HistoryAccept { reason } => of(&"", clip(reason)),
        Request::Inquire { inquiry } => inquiry.words(),
        Request::UserList {}
        | Request::TargetList {}
        | Request::SecretList {}
        | Request::GrantList { .. }
        | Request::RequestList { .. }
        | Request::LockList {}
        | Request::PolicyReload {}
        | Request::InventoryDiff { .. }
        | Request::HostCa {}
        | Request::RdpCertificate {}
        | Request::AuditKey {}
        | Request::AuditCheckpoint {}
        | Request::Doctor { .. } => only(&""),
    }
}

fn kind_shown(secret: &SecretInput) -> &'static str {
    match secret {
        SecretInput::Password(_) => "password",
        SecretInput::PrivateKey { .. } => "private key",
    }
}

/// What comes from a request and is not parsed yet, cut to a length that a log line can bear.
fn clip(text: &str) -> String {
    text.chars().take(500).collect()
}

fn filter_shown(filter: &SessionFilter) -> String {
    let user = filter.user.iter().map(|user| format!("user {user}"));
    let target = filter.target.iter().map(|target| format!("target {target}"));
    let since = filter.since.iter().map(|since| format!("since {since}"));
    join(user.chain(target).chain(since))
}

fn audit_filter_shown(filter: &AuditFilter) -> String {
    let since = filter.since.iter().map(|since| format!("since {since}"));
    let kind = filter.kind.iter().map(|kind| format!("type {}", clip(kind)));
    let session = filter.session.iter().map(|session| format!("session {session}"));
    let user = filter.user.iter().map(|user| format!("user {user}"));
    join(since.chain(kind).chain(session).chain(user))
}

fn command_filter_shown(filter: &CommandFilter) -> String {
    let CommandFilter { since, session, user, target, program } = filter;
    let since = since.iter().map(|since| format!("since {since}"));
    let session = session.iter().map(|session| format!("session {session}"));
    let user = user.iter().map(|user| format!("user {user}"));
    let target = target.iter().map(|target| format!("target {target}"));
    let program = program.iter().map(|program| format!("program {}", clip(program)));
    join(since.chain(session).chain(user).chain(target).chain(program))
}

fn key_shown(key: &str) -> String {
    match UserKey::parse(key, Timestamp::from_millis(0)) {
        Ok(UserKey { fingerprint, no_touch, pin, .. }) => {
            let no_touch = if no_touch { " no-touch-required" } else { "" };
            format!("{fingerprint}{no_touch}{}", if pin { " verify-required" } else { "" })
        }
        Err(_) => public_key(key).map_or_else(|_| "not a key".to_owned(), |key| fingerprint(&key)),
    }
}

fn networks(from: &BTreeSet<IpNet>) -> String {
    if from.is_empty() { "anywhere".to_owned() } else { join(from) }
}

fn target_shown(target: &Target) -> String {
    let labels = join(target.labels.iter().map(|(key, value)| format!("{key}={value}")));
    let keys = join(target.host_keys.iter().map(|key| key_shown(key)));
    let insecure = if target.insecure_algorithms { "; insecure algorithms" } else { "" };
    let desktop = target.desktop.as_ref().map_or_else(String::new, |desktop| {
        let tls = if desktop.allow_tls_only { ", TLS only allowed" } else { "" };
        format!("; RDP: {}, certificate: {}{tls}", clip(&desktop.address), clip(&desktop.pinned()))
    });
    format!("address: {}; labels: {}; host keys: {keys}{insecure}{desktop}", clip(&target.address), clip(&labels))
}

fn change_shown(change: &TargetChange) -> String {
    let address = change.address.iter().map(|address| format!("address: {}", clip(address)));
    let set = change.set_labels.iter().map(|(key, value)| format!("label {}={}", clip(key), clip(value)));
    let removed = change.remove_labels.iter().map(|key| format!("no label {}", clip(key)));
    let keys =
        change.host_keys.iter().map(|keys| format!("host keys: {}", join(keys.iter().map(|key| key_shown(key)))));
    let accounts = change.accounts.iter().map(|accounts| format!("accounts: {}", join(accounts)));
    let insecure = change.insecure_algorithms.iter().map(|insecure| format!("insecure algorithms: {insecure}"));
    let DesktopChange { address: rdp, pin, allow_tls_only, domain } = &change.desktop;
    let rdp = rdp.iter().map(|address| format!("RDP: {}", clip(address)));
    let pin = pin.iter().map(|pin| match pin {
        Pin::Fingerprints(all) => format!("certificate: {}", clip(&join(all))),
        Pin::Authority { name, .. } => format!("certificate: of an authority, for {}", clip(name)),
    });
    let tls = allow_tls_only.iter().map(|allow| format!("TLS only: {allow}"));
    let domain = domain.iter().map(|domain| format!("domain: {}", clip(domain)));
    let desktop = rdp.chain(pin).chain(tls).chain(domain);
    let all = address.chain(set).chain(removed).chain(keys).chain(accounts).chain(insecure).chain(desktop);
    all.collect::<Vec<_>>().join("; ")
}
