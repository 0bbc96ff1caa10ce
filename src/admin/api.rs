//! What may be asked of the administration, and what it answers: the text of the socket.

mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::answers::{Inquiry, Report};
use super::inventory::{Change, Inventory};
pub use super::locks::LockWanted;
pub use super::requests::NewRequest;
pub use super::watch::{Look, SeenChannel, Sight};
use crate::audit::{AuditRecord, CommandFilter, CommandRow};
use crate::auditor::Recipient;
use crate::grant::{AccessRequest, Grant, GrantState, Lock};
use crate::ledger::{DesktopTarget, Hold, Message, Offboarding, Target, User};
use crate::model::{
    AccountName, ChannelClass, ChannelNumber, Destination, GrantId, GroupName, LockId, RequestId, RuleId, SessionId,
    TargetName, Timestamp, UserName,
};
use crate::seal::OpenerProof;
use crate::store::Rewrap;
pub use input::{SecretInput, SecretText, TargetChange};

/// A request of an operator.
///
/// INVARIANT: a secret stands only in a `SecretText`, so that `Debug` shows none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Adds a user.
    UserAdd {
        /// The name.
        user: UserName,
        /// The groups.
        groups: BTreeSet<GroupName>,
        /// Lines of `.pub` files. If one of them cannot be taken, the user is not added.
        keys: Vec<String>,
        /// The networks to log in from; none means anywhere.
        #[serde(default)]
        from: BTreeSet<IpNet>,
        /// The last day, or a moment: as it was written, for the server's zone counts.
        #[serde(default)]
        until: Option<String>,
    },
    /// Changes a user; what is `None` stays.
    UserSet {
        /// The user.
        user: UserName,
        /// All groups from now on.
        groups: Option<BTreeSet<GroupName>>,
        /// All networks to log in from; none of them means anywhere.
        #[serde(default)]
        from: Option<BTreeSet<IpNet>>,
        /// The user who is the same human; their own name: nobody else.
        #[serde(default)]
        person: Option<UserName>,
        /// The last day, a moment, or `none`.
        #[serde(default)]
        until: Option<String>,
    },
    /// Lists users.
    UserList {},
    /// Bars a user and ends what they do.
    UserSuspend {
        /// The user.
        user: UserName,
    },
    /// Ends all that a human may do who leaves, by all their names; gives the receipt.
    UserOffboard {
        /// One of the names.
        user: UserName,
        /// Why.
        reason: String,
    },
    /// Lets a suspended user in again.
    UserResume {
        /// The user.
        user: UserName,
    },
    /// Removes a user, their grants and their live sessions.
    UserRemove {
        /// The user.
        user: UserName,
    },
    /// Adds a key to a user.
    UserKeyAdd {
        /// The user.
        user: UserName,
        /// A line of a `.pub` file.
        key: String,
    },
    /// Takes a key from a user.
    UserKeyRemove {
        /// The user.
        user: UserName,
        /// `SHA256:...`
        fingerprint: String,
    },
    /// Sets a user's password.
    UserPasswordSet {
        /// The user.
        user: UserName,
        /// It.
        password: SecretText,
    },
    /// Makes a new secret for a user's one-time codes, and shows it this once.
    UserTotpSet {
        /// The user.
        user: UserName,
    },
    /// Forgets a user's password and secret for one-time codes.
    UserPasswordRemove {
        /// The user.
        user: UserName,
    },
    /// Adds a target.
    TargetAdd {
        /// The target as it shall be.
        target: Target,
    },
    /// Changes a target.
    TargetSet {
        /// Which one.
        target: TargetName,
        /// What to change.
        change: TargetChange,
    },
    /// Lists targets.
    TargetList {},
    /// Removes a target, the grants to it, its secrets, and ends its live sessions.
    TargetRemove {
        /// Which one.
        target: TargetName,
    },
    /// Asks the target for its host keys; changes nothing.
    TargetScan {
        /// Which one.
        target: TargetName,
    },
    /// Asks the target for the certificate that it shows over RDP; changes nothing.
    TargetScanDesktop {
        /// Which one.
        target: TargetName,
    },
    /// Stores the secret of an account.
    SecretSet {
        /// Whose.
        destination: Destination,
        /// What.
        secret: SecretInput,
    },
    /// Lists which secrets there are; never shows one.
    SecretList {},
    /// Removes the secret of an account.
    SecretRemove {
        /// Whose.
        destination: Destination,
    },
    /// Gives a user a right for some time.
    GrantAdd {
        /// The user.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// From when; now, if not said.
        from: Option<Timestamp>,
        /// For how long.
        #[serde(rename = "for")]
        span: Duration,
        /// Why.
        reason: String,
    },
    /// Lists grants.
    GrantList {
        /// Also those that are over.
        all: bool,
    },
    /// Takes a grant back and ends the sessions on it.
    GrantRevoke {
        /// Which one.
        grant: GrantId,
        /// Why.
        reason: Option<String>,
    },
    /// Lists access requests.
    RequestList {
        /// Also those that are decided.
        all: bool,
    },
    /// Shows one.
    RequestShow {
        /// Which one.
        request: RequestId,
    },
    /// Asks in a user's name.
    RequestAdd {
        /// For what.
        new: Box<NewRequest>,
    },
    /// Cancels one that is not granted.
    RequestCancel {
        /// Which one.
        request: RequestId,
    },
    /// Locks something, and ends or pauses the sessions there.
    LockAdd {
        /// Which, for how long, and how it is lifted.
        wanted: LockWanted,
    },
    /// Lists locks.
    LockList {},
    /// Lifts a lock, or says that it shall be lifted.
    LockLift {
        /// Which one.
        lock: LockId,
    },
    /// Reads the policy files again and judges live sessions by them.
    PolicyReload {},
    /// Lists live sessions.
    SessionList {
        /// Which ones.
        filter: SessionFilter,
    },
    /// Ends a live session.
    SessionKill {
        /// Which one.
        session: SessionId,
    },
    /// Pauses a live session.
    SessionFreeze {
        /// Which one.
        session: SessionId,
    },
    /// Lets a paused session go on.
    SessionUnfreeze {
        /// Which one.
        session: SessionId,
    },
    /// Says a line on a live session's terminals.
    SessionMessage {
        /// Which one.
        session: SessionId,
        /// The line.
        text: String,
    },
    /// Looks at what a live session shows.
    SessionWatch {
        /// Which one.
        look: Look,
    },
    /// Lists recordings.
    RecordingList {
        /// Which ones.
        filter: SessionFilter,
    },
    /// Notes that a recording is about to be read; the reading itself needs no server.
    RecordingRead {
        /// Which one.
        session: SessionId,
        /// `replay` or `export`.
        purpose: String,
    },
    /// Destroys the key of a recording.
    RecordingErase {
        /// Which one.
        session: SessionId,
        /// Who else wants it, as they are called.
        approver: String,
        /// Why.
        reason: String,
    },
    /// Forbids, or allows again, that a recording is erased or removed.
    RecordingHold {
        /// Which one.
        session: SessionId,
        /// Whether it is forbidden.
        on: bool,
        /// Why.
        reason: String,
    },
    /// Removes recordings that began before a time.
    RecordingGc {
        /// That time.
        before: Timestamp,
        /// Only says which.
        dry_run: bool,
        /// Even those that are not a day old.
        even_today: bool,
    },
    /// Seals the whole state, secrets included, for others. Only for root and the server's user.
    StateExport {
        /// For whom; at least one.
        recipients: Vec<Recipient>,
    },
    /// Puts an envelope that an auditor has made anew in the place of the present one.
    RecordingRewrap {
        /// It, with the proof that who made it could.
        rewrap: Rewrap,
    },
    /// Destroys the earlier envelopes of a recording.
    RecordingDropEarlier {
        /// Which one.
        session: SessionId,
        /// SHA-256 of the present envelope, in hex.
        envelope: String,
        /// By one who has opened it.
        proof: OpenerProof,
    },
    /// Says what an inventory would change.
    InventoryDiff {
        /// The inventory.
        inventory: Inventory,
    },
    /// Changes what an inventory asks for.
    InventoryApply {
        /// The inventory.
        inventory: Inventory,
        /// What `InventoryDiff` said. If the state has changed since, nothing is done.
        expected: Vec<Change>,
    },
    /// What a user needs to know to connect.
    ClientConfig {
        /// The user.
        user: UserName,
    },
    /// Lists events of the audit log, a page for a request.
    AuditRead {
        /// Which ones.
        filter: AuditFilter,
        /// The number to begin at; beyond the last: only ask where that is.
        from: u64,
        /// From the answer before, to go on with the same reading: it is on record once.
        pass: Option<String>,
    },
    /// Lists commands of the past, a page for a request.
    CommandList {
        /// Which ones.
        filter: CommandFilter,
        /// Where to begin, 0 at first.
        from: u64,
        /// From the answer before, to go on with the same reading: it is on record once.
        pass: Option<String>,
    },
    /// The public key of the log.
    AuditKey {},
    /// The line by which clients know the bastion in the targets' place.
    HostCa {},
    /// The SHA-256 of the certificate by which programs for desktops know the bastion.
    RdpCertificate {},
    /// The newest checkpoint of the log.
    AuditCheckpoint {},
    /// Sessions may begin in spite of what witnesses have seen of another history of the log.
    HistoryAccept {
        /// Why.
        reason: String,
    },
    /// The proof that a leaf is in the log.
    AuditProve {
        /// Its number.
        leaf: u64,
    },
    /// Asks who can, who is, who did.
    Inquire {
        /// What exactly.
        inquiry: Inquiry,
    },
    /// Looks at state, clock and disk.
    Doctor {
        /// How many disk syncs to time.
        syncs: u32,
    },
}

/// An answer to an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done; lines for the operator, such as what else ended with it.
    Done {
        /// What happened.
        lines: Vec<String>,
    },
    /// To `UserList`.
    Users {
        /// By name.
        users: Vec<User>,
    },
    /// To `UserOffboard`.
    Offboarded {
        /// What was ended.
        receipt: Offboarding,
    },
    /// To `UserTotpSet`.
    Totp {
        /// What an authenticator app takes: `otpauth://...`
        uri: SecretText,
        /// What happened.
        lines: Vec<String>,
    },
    /// To `TargetList`.
    Targets {
        /// By name.
        targets: Vec<TargetRow>,
    },
    /// To `TargetScan`.
    HostKeys {
        /// Where they were found.
        address: String,
        /// What the target showed.
        found: Vec<HostKey>,
        /// What is pinned now.
        pinned: Vec<HostKey>,
    },
    /// To `TargetScanDesktop`.
    Certificate {
        /// Where it was found.
        address: String,
        /// Its SHA-256, in lower-case hex.
        sha256: String,
        /// Whether the target speaks NLA.
        nla: bool,
        /// Whether it is pinned now.
        pinned: bool,
    },
    /// To `SecretList`.
    Secrets {
        /// By destination.
        secrets: Vec<SecretRow>,
    },
    /// To `GrantAdd`.
    Granted {
        /// The new grant.
        grant: GrantRow,
    },
    /// To `GrantList`.
    Grants {
        /// By end.
        grants: Vec<GrantRow>,
    },
    /// To `RequestList`.
    AccessRequests {
        /// Oldest first.
        requests: Vec<AccessRequestRow>,
    },
    /// To `RequestShow` and `RequestAdd`.
    AccessRequest {
        /// It.
        request: Box<AccessRequestRow>,
        /// What people were told of it, as far as that is kept.
        told: Vec<Message>,
    },
    /// To `LockList`.
    Locks {
        /// Oldest first.
        locks: Vec<Lock>,
    },
    /// To `SessionList`.
    Sessions {
        /// By start.
        sessions: Vec<SessionRow>,
    },
    /// To `SessionWatch`.
    Sight {
        /// What there is to see.
        sight: Sight,
    },
    /// To `RecordingList`.
    Recordings {
        /// Oldest first.
        recordings: Vec<RecordingRow>,
        /// What is left of those that were erased, oldest first.
        erased: Vec<SessionId>,
        /// Directories that hold no readable recording, and why.
        damaged: Vec<String>,
    },
    /// To `StateExport`.
    State {
        /// The id of the store.
        store: String,
        /// The age file, in base64.
        file: String,
        /// Its SHA-256, in hexadecimal, as the log has it.
        hash: String,
        /// How many entries it has.
        entries: u64,
        /// How many leaves the published log has; the last of them tell of the export.
        leaves: u64,
        /// The log's journal at that size, in base64.
        journal: String,
        /// The log's public key.
        log_key: String,
    },
    /// To `RecordingGc`.
    Removed {
        /// Which ones.
        removed: Vec<SessionId>,
        /// Which would have been, and are on hold.
        kept: Vec<HeldRow>,
        /// They are all still there.
        dry_run: bool,
    },
    /// To `InventoryDiff`, and to `InventoryApply` when it is done.
    Changes {
        /// What differs, or was changed.
        changes: Vec<Change>,
        /// What is stored and the inventory does not name; it stays.
        unnamed: Vec<String>,
    },
    /// To `ClientConfig`.
    ClientConfig {
        /// The user.
        user: UserName,
        /// The bastion's addresses, as configured.
        listen: Vec<String>,
        /// The bastion's host key in OpenSSH form.
        host_key: String,
        /// Where the user may go, with or without a grant.
        destinations: Vec<Destination>,
    },
    /// To `AuditRead`.
    Events {
        /// Oldest first.
        events: Vec<AuditRecord>,
        /// The number to go on at.
        next: u64,
        /// Whether there was more to look at.
        more: bool,
        /// To be given with the next request.
        pass: String,
        /// Why the newest events may be missing, if so.
        behind: Option<String>,
    },
    /// To `CommandList`.
    Commands {
        /// In the order of the log within a session, and not beyond. There may be none, and more to come.
        rows: Vec<CommandRow>,
        /// Where to go on.
        next: u64,
        /// Whether there was more to look at.
        more: bool,
        /// To be given with the next request.
        pass: String,
        /// Why the newest may be missing, if so.
        behind: Option<String>,
    },
    /// To `HostCa`, `AuditKey`, `AuditCheckpoint`, `AuditProve`: a file as it is.
    Text {
        /// Lines, each with its end.
        text: String,
    },
    /// To `Inquire`.
    Report {
        /// What there is to say.
        report: Report,
    },
    /// To `Doctor`.
    Doctor {
        /// What was looked at.
        findings: Vec<Finding>,
    },
}

/// An SSH host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// Such as `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:...`
    pub fingerprint: String,
    /// In OpenSSH form.
    pub key: String,
}

/// A row of `target list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetRow {
    /// The name that users type.
    pub name: TargetName,
    /// `host:port`.
    pub address: String,
    /// What rules may ask for.
    pub labels: BTreeMap<String, String>,
    /// The pinned host keys.
    pub host_keys: Vec<HostKey>,
    /// Accounts that are known to be there.
    pub accounts: BTreeSet<AccountName>,
    /// Accounts with a secret in the vault.
    pub accounts_with_secret: BTreeSet<AccountName>,
    /// Whether its leg may use broken algorithms.
    pub insecure_algorithms: bool,
    /// How it is reached over RDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopTarget>,
}

/// A row of `secret list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRow {
    /// Whose.
    pub destination: Destination,
    /// `password` or `private-key`.
    pub kind: String,
    /// From 1, one more with each `secret set`.
    pub version: u32,
    /// When this version was stored.
    pub created: Timestamp,
    /// A private key's, `SHA256:...`.
    pub key_fingerprint: Option<String>,
}

/// A row of `grant list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// The grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// Where it stands.
    pub state: GrantState,
    /// Seconds that it still holds; 0 unless it is active.
    pub remaining_seconds: u64,
}

/// A row of `request list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequestRow {
    /// How it stands now.
    pub state: String,
    /// The request.
    #[serde(flatten)]
    pub request: AccessRequest,
}

/// A row of `session list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// When it started.
    pub started: Timestamp,
    /// When it must end.
    pub until: Option<Timestamp>,
    /// How many channels are open now.
    pub open_channels: u32,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The grant, where the rule required one.
    pub grant: Option<GrantId>,
    /// The grant's reason.
    pub reason: Option<String>,
    /// Where the user connects from, as `address:port`.
    pub source: String,
    /// Of the key that proved the user, `SHA256:...`.
    pub key_fingerprint: String,
    /// Seconds until it must end, if it must.
    pub remaining_seconds: Option<u64>,
    /// Why it stands still, if it does.
    #[serde(default)]
    pub paused: Option<String>,
    /// Who watches it.
    #[serde(default)]
    pub watchers: Vec<UserName>,
}

/// Which sessions or recordings are meant; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// Only of this user.
    pub user: Option<UserName>,
    /// Only of this target.
    pub target: Option<TargetName>,
    /// Only those that started at this time or later.
    pub since: Option<Timestamp>,
}

/// Which events are meant; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only of this type, such as `session.start`, or of these, such as `session`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only about this session.
    pub session: Option<SessionId>,
    /// Only those that name this bastion user.
    pub user: Option<UserName>,
}

/// A row of `recording list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingRow {
    /// Its session's id.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; none while it is open.
    pub ended: Option<Timestamp>,
    /// How it ended: a cause, `interrupted` or `open`.
    pub end: String,
    /// Whether the bastion stopped while it ran.
    pub interrupted: bool,
    /// How many bytes its segments have.
    pub bytes: u64,
    /// Its channels, by number.
    pub channels: Vec<ChannelRow>,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The hash of the policy set of then.
    pub policy: String,
    /// The grant, where the rule required one.
    pub grant: Option<GrantId>,
    /// The grant's reason.
    pub reason: Option<String>,
    /// Where the user connected from, as `address:port`.
    pub source: String,
    /// The auditors who can open it.
    pub auditors: Vec<Recipient>,
    /// Why it can be neither erased nor removed, if so.
    pub held: Option<Hold>,
}

/// A recording on hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRow {
    /// The session.
    pub session: SessionId,
    /// Why.
    #[serde(flatten)]
    pub hold: Hold,
}

/// A channel in a row of `recording list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// Its number, for `--channel`.
    pub number: ChannelNumber,
    /// What it was for; known once the session has ended.
    pub class: Option<ChannelClass>,
    /// Whether it had a terminal; known once the session has ended.
    pub pty: Option<bool>,
}

/// One thing that `doctor` looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it stands.
    pub health: Health,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Good,
    /// Odd, but works.
    Warn,
    /// Broken.
    Bad,
}

/// What went wrong, as it crosses the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, and then each cause.
    pub chain: Vec<String>,
    /// What the operator can do.
    pub hints: Vec<String>,
    /// Whether the request itself was at fault (exit status 2) or the state of things (1).
    pub usage: bool,
}

/// The frame that the server sends.
pub type Answer = Result<Reply, Failure>;
