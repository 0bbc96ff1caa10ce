//! What the audit log says of a request: its verb, its subject, its details without secrets.

use super::Caller;
use super::api::{AuditFilter, Request, SecretInput, SessionFilter, TargetChange};
use crate::audit::{AuditEvent, Call, VaultChange};
use crate::ledger::fingerprint;
use crate::ledger::{Target, public_key};
use crate::model::{Destination, SessionId, Timestamp, join};

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
                AuditEvent::ReplayView { session: session.clone(), uid, purpose: listed(&[&self.detail, outcome]) }
            }
            Kind::Call(call) => {
                let detail = listed(&[&self.subject, &self.detail, outcome]);
                let call = Call { uid, verb: self.verb.to_owned(), detail, ..call.clone() };
                match self.effect {
                    Effect::Reads => AuditEvent::AdminCall(call),
                    Effect::Gives | Effect::Takes => AuditEvent::ConfigChange(call),
                }
            }
        }
    }
}

/// A call that says what it is about: by that it is found, and forgotten.
fn about(request: &Request) -> Call {
    let call = Call::default();
    match request {
        Request::SessionKill { session }
        | Request::RecordingRead { session, .. }
        | Request::RecordingErase { session, .. }
        | Request::RecordingHold { session, .. } => Call { session: Some(session.clone()), ..call },
        Request::GrantRevoke { grant, .. } => Call { grant: Some(grant.clone()), ..call },
        Request::UserAdd { user, .. }
        | Request::UserSet { user, .. }
        | Request::UserSuspend { user }
        | Request::UserResume { user }
        | Request::UserRemove { user }
        | Request::UserKeyAdd { user, .. }
        | Request::UserKeyRemove { user, .. }
        | Request::GrantAdd { user, .. }
        | Request::ClientConfig { user } => Call { user: Some(user.clone()), ..call },
        Request::UserList {}
        | Request::TargetAdd { .. }
        | Request::TargetSet { .. }
        | Request::TargetList {}
        | Request::TargetRemove { .. }
        | Request::TargetScan { .. }
        | Request::SecretSet { .. }
        | Request::SecretList {}
        | Request::SecretRemove { .. }
        | Request::GrantList { .. }
        | Request::PolicyReload {}
        | Request::SessionList { .. }
        | Request::RecordingList { .. }
        | Request::RecordingGc { .. }
        | Request::StateExport { .. }
        | Request::InventoryDiff { .. }
        | Request::InventoryApply { .. }
        | Request::AuditRead { .. }
        | Request::AuditKey {}
        | Request::AuditCheckpoint {}
        | Request::AuditProve { .. }
        | Request::Doctor { .. } => call,
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
}

pub(super) fn describe(request: &Request) -> Entry {
    use Effect::{Gives, Reads, Takes};
    let entry = |effect, verb, subject: String, detail: String| Entry {
        verb,
        subject,
        detail,
        effect,
        kind: Kind::of(request),
    };
    let plain = |effect, verb, subject: &dyn ToString| entry(effect, verb, subject.to_string(), String::new());
    match request {
        Request::UserAdd { user, groups, keys } => {
            let keys = join(keys.iter().map(|key| key_shown(key)));
            entry(Gives, "user add", user.to_string(), format!("groups: {}; keys: {keys}", join(groups)))
        }
        Request::UserSet { user, groups } => {
            entry(Gives, "user set", user.to_string(), format!("groups: {}", join(groups)))
        }
        Request::UserList {} => plain(Reads, "user list", &""),
        Request::UserSuspend { user } => plain(Takes, "user suspend", user),
        Request::UserResume { user } => plain(Gives, "user resume", user),
        Request::UserRemove { user } => plain(Takes, "user remove", user),
        Request::UserKeyAdd { user, key } => entry(Gives, "user key add", user.to_string(), key_shown(key)),
        Request::UserKeyRemove { user, fingerprint } => {
            entry(Takes, "user key remove", user.to_string(), clip(fingerprint))
        }
        Request::TargetAdd { target } => entry(Gives, "target add", target.name.to_string(), target_shown(target)),
        Request::TargetSet { target, change } => entry(Gives, "target set", target.to_string(), change_shown(change)),
        Request::TargetList {} => plain(Reads, "target list", &""),
        Request::TargetRemove { target } => plain(Takes, "target remove", target),
        Request::TargetScan { target } => plain(Reads, "target scan", target),
        Request::SecretSet { destination, secret } => {
            let kind = match secret {
                SecretInput::Password(_) => "password",
                SecretInput::PrivateKey { .. } => "private key",
            };
            entry(Gives, "secret set", destination.to_string(), kind.to_owned())
        }
        Request::SecretList {} => plain(Reads, "secret list", &""),
        Request::SecretRemove { destination } => plain(Takes, "secret remove", destination),
        Request::GrantAdd { user, destination, from, span, reason } => {
            let from = from.as_ref().map_or_else(|| "now".to_owned(), Timestamp::to_string);
            let detail = format!("{destination} from {from} for {} s: {}", span.as_secs(), clip(reason));
            entry(Gives, "grant add", user.to_string(), detail)
        }
        Request::GrantList { .. } => plain(Reads, "grant list", &""),
        Request::GrantRevoke { grant, reason } => {
            entry(Takes, "grant revoke", grant.to_string(), clip(reason.as_deref().unwrap_or_default()))
        }
        Request::PolicyReload {} => plain(Gives, "policy reload", &""),
        Request::SessionList { filter } => entry(Reads, "session list", String::new(), filter_shown(filter)),
        Request::SessionKill { session } => plain(Takes, "session kill", session),
        Request::RecordingList { filter } => entry(Reads, "recording list", String::new(), filter_shown(filter)),
        Request::RecordingErase { session, reason } => {
            entry(Gives, "recording erase", session.to_string(), reason.clone())
        }
        Request::RecordingHold { session, on, reason } => {
            let verb = if *on { "recording hold" } else { "recording hold --release" };
            entry(Gives, verb, session.to_string(), reason.clone())
        }
        Request::RecordingGc { before, dry_run } => {
            let detail = if *dry_run { "only listed" } else { "" };
            entry(Gives, "recording gc", format!("before {before}"), detail.to_owned())
        }
        Request::RecordingRead { session, purpose } => {
            entry(Reads, "recording read", session.to_string(), clip(purpose))
        }
        Request::StateExport { recipients } => {
            // At most 256 of them; the leaf that tells of the file has the digest of all.
            entry(Reads, "state export", String::new(), format!("for: {}", clip(&join(recipients))))
        }
        Request::InventoryDiff { .. } => plain(Reads, "inventory diff", &""),
        Request::InventoryApply { expected, .. } => entry(Gives, "inventory apply", String::new(), join(expected)),
        Request::ClientConfig { user } => plain(Reads, "client-config", user),
        Request::AuditRead { filter, .. } => entry(Reads, "audit list", String::new(), audit_filter_shown(filter)),
        Request::AuditKey {} => plain(Reads, "audit key", &""),
        Request::AuditCheckpoint {} => plain(Reads, "audit checkpoint", &""),
        Request::AuditProve { leaf } => plain(Reads, "audit prove", leaf),
        Request::Doctor { .. } => plain(Reads, "doctor", &""),
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

fn key_shown(key: &str) -> String {
    public_key(key).map_or_else(|_| "not a key".to_owned(), |key| fingerprint(&key))
}

fn target_shown(target: &Target) -> String {
    let labels = join(target.labels.iter().map(|(key, value)| format!("{key}={value}")));
    let keys = join(target.host_keys.iter().map(|key| key_shown(key)));
    format!("address: {}; labels: {}; host keys: {keys}", clip(&target.address), clip(&labels))
}

fn change_shown(change: &TargetChange) -> String {
    let address = change.address.iter().map(|address| format!("address: {}", clip(address)));
    let set = change.set_labels.iter().map(|(key, value)| format!("label {}={}", clip(key), clip(value)));
    let removed = change.remove_labels.iter().map(|key| format!("no label {}", clip(key)));
    let keys =
        change.host_keys.iter().map(|keys| format!("host keys: {}", join(keys.iter().map(|key| key_shown(key)))));
    let accounts = change.accounts.iter().map(|accounts| format!("accounts: {}", join(accounts)));
    address.chain(set).chain(removed).chain(keys).chain(accounts).collect::<Vec<_>>().join("; ")
}
