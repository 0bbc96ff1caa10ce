//! What can be on record.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::assurance::{Confirmed, Consent};
use super::body::Subject;
use super::command::{CommandGap, CommandJudged, CommandStep, CommandWaits};
use super::control::{BrokenGlass, LockStep, OffboardStep, SessionControl};
use super::desktop::DesktopTicket;
pub use super::facts::{Call, SegmentEnd, SessionHead, VaultChange};
use super::facts::{bounded_detail, bounded_option, bounded_text};
use super::review::ReviewedLine;
use super::types::EVENT_TYPES;

use crate::grant::TicketSaid;
use crate::model::{Destination, GrantId, RequestId, RuleId, SessionId, TargetName, Timestamp, UserName};

/// Fields that stand in a leaf for everybody to read, where an event has them: what verifiers and monitors need. All
/// others are sealed.
const CLEAR: [&str; 29] = [
    "session",
    "request",
    "step",
    "outcome",
    "sessions",
    "grant",
    "policy",
    "hash",
    "opened",
    "envelope",
    "recipients",
    "rewrap",
    "closed",
    "recovered",
    "channel",
    "segment",
    "bytes",
    "records",
    "prev_head",
    "head",
    "heads",
    "on",
    "version",
    "rotated",
    "public",
    "previous",
    "step_ms",
    "gap_ms",
    "known",
];

/// The heads of so many sessions fit a leaf.
pub const SESSION_HEADS_MAX: usize = 256;

/// One event. Texts that come from outside are cut to a bounded length when they are written, and lose characters
/// that could steer a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AuditEvent {
    /// An operator's call that shows something, or that was refused.
    #[serde(rename = "admin.call")]
    AdminCall(Call),
    /// A reviewer says whether a right shall stay. It changes nothing by itself.
    #[serde(rename = "access.review")]
    AccessReview(ReviewedLine),
    /// An operator's call that changes something, but for those that have an event of their own.
    #[serde(rename = "config.change")]
    ConfigChange(Call),
    /// A secret is stored in the vault.
    #[serde(rename = "secret.set")]
    SecretSet(VaultChange),
    /// A secret was removed from the vault.
    #[serde(rename = "secret.remove")]
    SecretRemove(VaultChange),
    /// A lock was set, lifted, or is over.
    #[serde(rename = "lock.step")]
    LockStep(LockStep),
    /// A user is offboarded.
    #[serde(rename = "offboard.step")]
    OffboardStep(OffboardStep),
    /// An auditor's hand on a live session.
    #[serde(rename = "session.control")]
    SessionControl(SessionControl),
    /// Somebody reads a recording, is handed it, or watches a live session.
    #[serde(rename = "replay.view")]
    ReplayView {
        /// The session that was recorded.
        session: SessionId,
        /// Who: an operator as `uid 0`, an auditor who came over SSH by name.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// `replay`, `export`, `get`, `watch`, and why it failed if it did.
        #[serde(serialize_with = "bounded_text")]
        purpose: String,
    },
    /// A session is recorded and permitted; the credential has not been used yet.
    #[serde(rename = "session.start")]
    SessionStart {
        /// Its id.
        session: SessionId,
        /// The user.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// The rule that allowed it.
        rule: RuleId,
        /// The grant it rests on.
        grant: Option<GrantId>,
        /// Hash of the policy set that was asked.
        policy: String,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Fingerprint of the key that was proven.
        #[serde(serialize_with = "bounded_text")]
        key: String,
        /// SHA-256 of the file of what is known of the session, in hexadecimal.
        opened: String,
        /// SHA-256 of the file that wraps the session's key, in hexadecimal.
        envelope: String,
        /// Digest of those whom the session's key is wrapped for, 16 hexadecimal digits.
        recipients: String,
    },
    /// A session is over, its recording closed.
    #[serde(rename = "session.end")]
    SessionEnd {
        /// Its id.
        session: SessionId,
        /// SHA-256 of the file that closes the recording, in hexadecimal.
        closed: String,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        cause: String,
    },
    /// A start of the bastion closed a recording that a crash left open.
    #[serde(rename = "session.recovered")]
    SessionRecovered {
        /// Its id.
        session: SessionId,
        /// SHA-256 of the file that says what was found, in hexadecimal.
        recovered: String,
    },
    /// A segment of a recording is complete.
    #[serde(rename = "segment.seal")]
    SegmentSeal(SegmentEnd),
    /// A segment is given up after an I/O error: it is a part of the recording as far as this says, and the next one goes
    /// on from there. On record before that one is made.
    #[serde(rename = "segment.suspect")]
    SegmentSuspect {
        /// How far it is good: 0 bytes if nothing of it counts.
        #[serde(flatten)]
        good: SegmentEnd,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// How far the recordings of live sessions have come.
    #[serde(rename = "session.heads")]
    SessionHeads {
        /// Of every session that was written to since the last such event; at most `SESSION_HEADS_MAX`.
        heads: Vec<SessionHead>,
    },
    /// A part of a session is not recorded.
    #[serde(rename = "session.gap")]
    SessionGap {
        /// The session.
        session: SessionId,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// A channel of which a part is not recorded is recorded again from here on.
    #[serde(rename = "session.resumed")]
    SessionResumed {
        /// The session.
        session: SessionId,
        /// The channel's number.
        channel: u32,
        /// For how long it was not, in milliseconds.
        gap_ms: u64,
    },
    /// A forward is about to be opened, or the target to listen for one (`channel` 0 then).
    #[serde(rename = "forward")]
    Forward {
        /// The session.
        session: SessionId,
        /// The channel's number.
        channel: u32,
        /// Who.
        user: UserName,
        /// `local-forward`, ...
        class: String,
        /// Where it leads, or where the target listens.
        #[serde(serialize_with = "bounded_text")]
        place: String,
    },
    /// A target is about to get a signature by a key of the user's own agent.
    #[serde(rename = "agent.sign")]
    AgentSign {
        /// The session.
        session: SessionId,
        /// The channel's number.
        channel: u32,
        /// Whose agent.
        user: UserName,
        /// Fingerprint of the key.
        key: String,
        /// As whom the login is that the signature is for.
        #[serde(serialize_with = "bounded_text")]
        account: String,
        /// Fingerprint of the host key that the login names; none if it names none.
        #[serde(serialize_with = "bounded_option")]
        host: Option<String>,
    },
    /// A file on a target was read, written or changed.
    #[serde(rename = "file")]
    File {
        /// The session.
        session: SessionId,
        /// The channel's number.
        channel: u32,
        /// Such as `get`, `put` or `remove`. What changes something is on record before it is done.
        what: String,
        /// The path, as the user named it; where rules name paths, the one that it leads to.
        #[serde(serialize_with = "bounded_detail")]
        path: String,
        /// The other path, of a rename or a link.
        #[serde(serialize_with = "bounded_option")]
        to: Option<String>,
        /// How much went through and its SHA-256, which attributes were set, or what it was opened for.
        #[serde(serialize_with = "bounded_option")]
        detail: Option<String>,
    },
    /// Something was refused that a user wanted to do with a file on a target.
    #[serde(rename = "file.refused")]
    FileRefused {
        /// The session.
        session: SessionId,
        /// The channel's number.
        channel: u32,
        /// Who.
        user: UserName,
        /// What, and where it would have led.
        #[serde(serialize_with = "bounded_detail")]
        what: String,
    },
    /// The file that says how a session ended could not be written when it ended.
    #[serde(rename = "session.unclosed")]
    SessionUnclosed {
        /// The session.
        session: SessionId,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// The file that wraps a session's key is made anew for other recipients.
    #[serde(rename = "envelope.create")]
    EnvelopeCreate {
        /// The session.
        session: SessionId,
        /// SHA-256 of the file, in hexadecimal.
        envelope: String,
        /// Digest of those whom it is for, 16 hexadecimal digits.
        recipients: String,
        /// SHA-256 of the record of the change, in hexadecimal: for whom, by whose proof.
        rewrap: String,
        /// Who handed it over.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// Envelopes that another took the place of are destroyed: somebody has opened the present one.
    #[serde(rename = "envelope.drop")]
    EnvelopeDrop {
        /// The session.
        session: SessionId,
        /// SHA-256 of the present one, in hexadecimal.
        envelope: String,
        /// Who handed the proof over.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// The key of a recording is destroyed: nobody can read the recording any more.
    #[serde(rename = "erase")]
    Erase {
        /// The session.
        session: SessionId,
        /// Who did it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// Who else wanted it, as the one who did it says.
        #[serde(serialize_with = "bounded_text")]
        approver: String,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
    },
    /// Recordings whose time is over are removed.
    #[serde(rename = "gc")]
    Gc {
        /// Their sessions; at most 256.
        sessions: Vec<SessionId>,
        /// Who did it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// Those that began before this time were meant.
        before: Timestamp,
    },
    /// A recording must be kept whatever its age, or need not be any more.
    #[serde(rename = "hold")]
    Hold {
        /// The session.
        session: SessionId,
        /// Whether it must.
        on: bool,
        /// Who said so.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
    },
    /// A user who proved their key got no session.
    #[serde(rename = "session.refused")]
    SessionRefused {
        /// The user.
        user: UserName,
        /// The login name as it came.
        #[serde(serialize_with = "bounded_text")]
        login: String,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Why, in full: more than the user was told.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// Somebody did not get in.
    #[serde(rename = "auth.failed")]
    AuthFailed {
        /// The login name as it came.
        #[serde(serialize_with = "bounded_text")]
        login: String,
        /// Their address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
    },
    /// A user has proven themselves by a one-time code after the login. On record before anything rests on it.
    #[serde(rename = "auth.confirmed")]
    AuthConfirmed(Confirmed),
    /// A user has agreed to a text. On record before a session begins on it.
    #[serde(rename = "consent.given")]
    ConsentGiven(Consent),
    /// A one-time ticket for a desktop was made, or used. On record before it is given, and before a session begins on it.
    #[serde(rename = "desktop.ticket")]
    DesktopTicket(DesktopTicket),
    /// A channel or request was refused.
    #[serde(rename = "channel.refused")]
    ChannelRefused {
        /// The session, if there is one yet.
        session: Option<SessionId>,
        /// The user.
        user: UserName,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// What was asked for.
        #[serde(serialize_with = "bounded_text")]
        what: String,
    },
    /// A command was judged, and is about to start.
    #[serde(rename = "command.allowed")]
    CommandAllowed(Box<CommandJudged>),
    /// A command was judged, and does not start.
    #[serde(rename = "command.refused")]
    CommandRefused(Box<CommandJudged>),
    /// A line was read in a shell, and judged without being held: it ran, whatever was said of it.
    #[serde(rename = "command.observed")]
    CommandObserved(Box<CommandJudged>),
    /// A command waits for somebody's yes.
    #[serde(rename = "command.waits")]
    CommandWaits(Box<CommandWaits>),
    /// What became of one that waits. What lets it run is on record before it does.
    #[serde(rename = "command.step")]
    CommandStep(CommandStep),
    /// In a shell whose lines are judged, one may have run that nobody has read.
    #[serde(rename = "command.gap")]
    CommandGap(Box<CommandGap>),
    /// A grant was given.
    #[serde(rename = "grant.add")]
    GrantAdd {
        /// Its id.
        grant: GrantId,
        /// The user.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// The first moment at which it holds.
        from: Timestamp,
        /// The first moment at which it no longer holds.
        until: Timestamp,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
        /// Who gave it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// The request that was approved, if it was given so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        /// The rule that it is for, if it is for one only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<RuleId>,
        /// The channels that it is for, if not for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Vec<String>>,
    },
    /// A user asks for a grant.
    #[serde(rename = "request.create")]
    RequestCreate {
        /// The request.
        request: RequestId,
        /// Its version: 1.
        step: u32,
        /// Who asks.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// What may be opened there.
        channels: Vec<String>,
        /// The rule by which it is decided.
        rule: RuleId,
        /// Hash of the policy set that was asked.
        policy: String,
        /// The grant that shall last longer, if it is for that.
        extends: Option<GrantId>,
        /// For how many seconds.
        seconds: u64,
        /// From when on, if that was said.
        from: Option<Timestamp>,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
        /// The ticket.
        #[serde(serialize_with = "bounded_option")]
        ticket: Option<String>,
        /// The first moment at which nobody may approve it any more.
        expires: Timestamp,
        /// How many approvals it takes, and of whom.
        #[serde(serialize_with = "bounded_text")]
        quorum: String,
        /// Whether it was approved beforehand, by a window of the rule's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preapproved: bool,
        /// What the ticket system has said of the ticket, if it was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket_said: Option<TicketSaid>,
        /// Who asked, by what proof, and from where.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// A request changed: it was approved or denied by somebody, begun, cancelled, or came to nothing.
    #[serde(rename = "request.step")]
    RequestStep {
        /// The request.
        request: RequestId,
        /// Its version after this.
        step: u32,
        /// How it stands after this: `pending`, `approved`, `granted`, `denied`, `cancelled`, `expired`, `superseded`.
        outcome: String,
        /// Whose request.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// `approve`, `deny`, `begin` or `close`.
        verb: String,
        /// For at most so many seconds, if a review said so.
        seconds: Option<u64>,
        /// For these channels at most, if a review said so.
        channels: Option<Vec<String>>,
        /// How long before it whoever reviewed it had proven themselves by a second factor; none if they had not.
        mfa_seconds: Option<u64>,
        /// In the words of who did it.
        #[serde(serialize_with = "bounded_detail")]
        note: String,
        /// Who did it, by what proof, and from where.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// A grant is taken without an approval: the alert is queued, and nothing is open yet.
    #[serde(rename = "breakglass.open")]
    BreakglassOpen(BrokenGlass),
    /// Somebody else has reviewed it.
    #[serde(rename = "breakglass.review")]
    BreakglassReview {
        /// The request that stands for it.
        request: RequestId,
        /// Its version after this.
        step: u32,
        /// How the request stands, as before.
        outcome: String,
        /// Who had broken it.
        user: UserName,
        /// `ok` or `misuse`.
        finding: String,
        /// In the reviewer's words.
        #[serde(serialize_with = "bounded_detail")]
        note: String,
        /// Who reviewed it, by what proof, and from where.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// Nobody has reviewed it in time: whoever broke it breaks no other until somebody does.
    #[serde(rename = "breakglass.overdue")]
    BreakglassOverdue {
        /// The request that stands for it.
        request: RequestId,
        /// Its version after this.
        step: u32,
        /// How the request stands, as before.
        outcome: String,
        /// Who had broken it.
        user: UserName,
    },
    /// What became of a message: of an alert always, of others if nobody took it.
    #[serde(rename = "notify")]
    Notified {
        /// The request it is about; none of an alert about the bastion itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        /// What it told, such as `breakglass.open`.
        about: String,
        /// By which way.
        #[serde(serialize_with = "bounded_text")]
        way: String,
        /// `delivered`, or why it was given up.
        #[serde(serialize_with = "bounded_text")]
        result: String,
    },
    /// A grant lasts longer.
    #[serde(rename = "grant.extend")]
    GrantExtend {
        /// Its id.
        grant: GrantId,
        /// The request that was approved.
        request: RequestId,
        /// By how many seconds.
        seconds: u64,
    },
    /// A grant was taken back.
    #[serde(rename = "grant.revoke")]
    GrantRevoke {
        /// Its id.
        grant: GrantId,
        /// Who took it back.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// Why, if it was said.
        #[serde(serialize_with = "bounded_option")]
        reason: Option<String>,
    },
    /// The policies were read.
    #[serde(rename = "policy.load")]
    PolicyLoad {
        /// Hash of the set that is in force now.
        hash: String,
        /// `loaded`, or why the earlier set stays.
        #[serde(serialize_with = "bounded_detail")]
        result: String,
    },
    /// The bastion takes sessions.
    #[serde(rename = "node.start")]
    NodeStart {
        /// Doorward's version.
        version: String,
        /// How the wall clock was kept, as in `clock.sync`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock: Option<String>,
    },
    /// The bastion has stopped as it should; a start without one before it follows a crash.
    #[serde(rename = "node.stop")]
    NodeStop,
    /// A target showed another host key than the pinned one; nothing was sent.
    #[serde(rename = "target.key-changed")]
    TargetKeyChanged {
        /// The target.
        target: TargetName,
        /// Fingerprint of the key it showed.
        #[serde(serialize_with = "bounded_text")]
        got: String,
    },
    /// No session can begin, or could not for a while. Written as soon as the log takes it: it may lie on the disk that
    /// failed.
    #[serde(rename = "recorder.failed")]
    RecorderFailed {
        /// Since when.
        since: Timestamp,
        /// For how long, in milliseconds; none while it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasted_ms: Option<u64>,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// A crash cut off events before this one, of which nobody was told that they are on record.
    #[serde(rename = "log.torn")]
    LogTorn {
        /// How much of them there was.
        bytes: u64,
    },
    /// A key of the bastion, or those whom it seals for, are others from now on.
    #[serde(rename = "key.rotate")]
    KeyRotate {
        /// Which, such as `host-key`, `master-key`, `auditors`, or `auditors of rule dba`.
        rotated: String,
        /// Its public part in the usual text form, or its fingerprint; of auditors the digest. `none` if there is none.
        public: String,
        /// What it was before; none if there was nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
    },
    /// The whole state, secrets included, left the bastion as a sealed file. What is on record before this leaf is in it.
    #[serde(rename = "state.export")]
    StateExport {
        /// SHA-256 of the file, in hexadecimal.
        hash: String,
        /// Digest of those whom the file is sealed for, 16 hexadecimal digits.
        recipients: String,
        /// Who asked for it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// The state was made from an export.
    #[serde(rename = "state.import")]
    StateImport {
        /// SHA-256 of the file, in hexadecimal.
        hash: String,
        /// Who did it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// From when the state is, and what is not in it.
        #[serde(serialize_with = "bounded_detail")]
        detail: String,
    },
    /// The wall clock was set: it has moved against the time since boot. If back, all that is granted ends earlier by as much.
    #[serde(rename = "clock.step")]
    ClockStep {
        /// By how many milliseconds; negative if it went back.
        step_ms: i64,
    },
    /// Whether a program keeps the wall clock right, if that has changed.
    #[serde(rename = "clock.sync")]
    ClockSync {
        /// `synchronised`, `not-synchronised`, `untold` or `unkept`.
        state: String,
        /// In words.
        detail: String,
    },
    /// The wall clock shows a time that nothing else bears out: `retention` removes nothing by it until something does.
    #[serde(rename = "clock.doubt")]
    ClockDoubt {
        /// The newest time that is known otherwise; none if nothing tells.
        known: Option<Timestamp>,
        /// What is wrong.
        #[serde(serialize_with = "bounded_text")]
        why: String,
    },
}

/// An event as a leaf has it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) kind: String,
    /// What everybody may read.
    pub(super) clear: Map<String, Value>,
    /// What is sealed.
    pub(super) hidden: Map<String, Value>,
}

impl AuditEvent {
    /// Takes the event apart; `None` if serde cannot write it, which no event of this enum comes to.
    pub(super) fn parts(&self) -> Option<Parts> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else { return None };
        let Some(Value::String(kind)) = fields.remove("type") else { return None };
        debug_assert!(EVENT_TYPES.contains(&kind.as_str()), "`{kind}` is not among the types");
        let there = fields.into_iter().filter(|(_, value)| !value.is_null());
        let (clear, hidden) = there.partition(|(name, _)| CLEAR.contains(&name.as_str()));
        Some(Parts { kind, clear, hidden })
    }

    /// Whose key seals what is not clear: what can be erased together.
    ///
    /// What tells of the person who was recorded goes with the recording. What tells who erased, held, removed or
    /// watched it does not: else the one who destroys a recording destroys the record of having done so.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::SessionStart { session, .. }
            | Self::SessionEnd { session, .. }
            | Self::SessionRecovered { session, .. }
            | Self::SegmentSeal(SegmentEnd { session, .. })
            | Self::SegmentSuspect { good: SegmentEnd { session, .. }, .. }
            | Self::SessionGap { session, .. }
            | Self::SessionResumed { session, .. }
            | Self::SessionUnclosed { session, .. }
            | Self::File { session, .. }
            | Self::FileRefused { session, .. }
            | Self::Forward { session, .. }
            | Self::AgentSign { session, .. }
            | Self::EnvelopeCreate { session, .. }
            | Self::EnvelopeDrop { session, .. }
            | Self::ChannelRefused { session: Some(session), .. } => Subject::Session(session.clone()),
            Self::CommandAllowed(judged) | Self::CommandObserved(judged) | Self::CommandRefused(judged) => {
                Subject::Session(judged.session.clone())
            }
            Self::CommandGap(gap) => Subject::Session(gap.session.clone()),
            Self::CommandWaits(waits) => Subject::Session(waits.judged.session.clone()),
            Self::GrantAdd { grant, .. } | Self::GrantRevoke { grant, .. } | Self::GrantExtend { grant, .. } => {
                Subject::Grant(grant.clone())
            }
            Self::SessionRefused { user, .. }
            | Self::ChannelRefused { session: None, user, .. }
            | Self::AccessReview(ReviewedLine { user, .. })
            | Self::RequestCreate { user, .. }
            | Self::RequestStep { user, .. }
            | Self::CommandStep(CommandStep { user, .. })
            | Self::BreakglassOpen(BrokenGlass { user, .. })
            | Self::BreakglassReview { user, .. }
            | Self::BreakglassOverdue { user, .. } => Subject::User(user.clone()),
            Self::AuthConfirmed(Confirmed { user, .. })
            | Self::ConsentGiven(Consent { user, .. })
            | Self::DesktopTicket(DesktopTicket { user, .. }) => Subject::User(user.clone()),
            Self::AdminCall(call) | Self::ConfigChange(call) => call.subject(),
            Self::SecretSet(_)
            | Self::SecretRemove(_)
            | Self::SessionHeads { .. }
            | Self::Erase { .. }
            | Self::Hold { .. }
            | Self::ReplayView { .. }
            | Self::Notified { .. }
            | Self::LockStep(_)
            | Self::OffboardStep(_)
            | Self::SessionControl(_)
            | Self::Gc { .. }
            | Self::AuthFailed { .. }
            | Self::PolicyLoad { .. }
            | Self::NodeStart { .. }
            | Self::NodeStop
            | Self::TargetKeyChanged { .. }
            | Self::RecorderFailed { .. }
            | Self::LogTorn { .. }
            | Self::KeyRotate { .. }
            | Self::StateExport { .. }
            | Self::StateImport { .. }
            | Self::ClockStep { .. }
            | Self::ClockSync { .. }
            | Self::ClockDoubt { .. } => Subject::Node,
        }
    }
}
