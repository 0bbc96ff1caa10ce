//! Why a request was not taken or changed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::audit::AuditError;
use crate::grant::{RequestState, ReviewError};
use crate::ledger::LedgerError;
use crate::model::{ChannelClass, Presence, RequestId, join};
use crate::screen::span_typed;

/// Why a request was not taken or changed.
#[derive(Debug)]
pub enum RequestError {
    /// No rule lets this user ask there, or there is no such place: which of them is not told.
    NotOffered,
    /// Rules open it without a grant.
    Needless,
    /// The rule does not open these channels.
    Channels {
        /// What may be asked for there.
        offered: BTreeSet<ChannelClass>,
    },
    /// For too long.
    Span {
        /// The longest.
        most: Duration,
    },
    /// It would begin too late to be meant.
    TooFarAhead,
    /// The reason is missing, or not as the rule wants it.
    Reason,
    /// The reason is too short to say anything.
    ShortReason {
        /// The least, in characters.
        least: usize,
    },
    /// Of an extension an approver decides on the time alone.
    OnlyTime,
    /// A command is approved as it is, or not at all.
    AsItIs,
    /// The ticket is.
    Ticket,
    /// The rule's grants are for the key that asks: nobody asks in another's name.
    OnlyByKey,
    /// The operator who enters it names the one it is for.
    OwnName,
    /// The ticket system says no, or nothing.
    TicketRefused(String),
    /// It wants a login with a security key.
    NeedsKey(Presence),
    /// What the user took without an approval before has not been reviewed in time.
    Unreviewed(RequestId),
    /// What the user took without an approval before was found to be misuse.
    Misused(RequestId),
    /// It can be said to have been right once its grant is over.
    NotOver,
    /// A part of it is on record: it takes effect once the rest is.
    Unsure,
    /// There are not two ways to raise the alarm.
    NoAlert,
    /// The request was not taken without an approval: there is nothing to review.
    NoGlass,
    /// A text is too long.
    TooLong {
        /// Which.
        what: &'static str,
        /// The most, in bytes.
        most: usize,
    },
    /// As many as may be wait, or were asked lately.
    TooMany(&'static str),
    /// There are not enough people to approve it.
    NoReviewers {
        /// Who approves, as the rule has it.
        approvers: String,
    },
    /// More people than can be kept might approve it.
    TooManyReviewers,
    /// There is none that this user may see.
    Unknown,
    /// The review does not count.
    Review(ReviewError),
    /// It cannot be granted any more.
    Overtaken(&'static str),
    /// It is decided.
    Over(RequestState),
    /// It is not approved, or waits for nothing.
    NotApproved(RequestState),
    /// It has no grant.
    NotGranted,
    /// Its grant is over.
    GrantOver,
    /// The grant lasts as long as it may.
    NoMoreTime {
        /// With all extensions.
        total: Duration,
    },
    /// Another request for the same waits.
    ExtendsAlready(RequestId),
    /// The user may do nothing.
    Suspended,
    /// It could not be kept.
    Ledger(LedgerError),
    /// It could not be put on record, so it did not happen.
    NotRecorded(AuditError),
    /// It has happened, and could not be put on record.
    DoneNotRecorded(AuditError),
    /// The system gives no randomness.
    NoRandomness,
}

impl fmt::Display for RequestError {
    /// For the user: what is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => f.write_str(
                "there is no such destination that you may ask for. What there is for you: ssh USER@BASTION ls. What is not \
                 `on request` there cannot be asked for: ask an operator",
            ),
            Self::Needless => f.write_str("you need no grant for that: connect"),
            Self::Channels { offered } => write!(f, "what may be asked for there: --channels {}", join(offered)),
            Self::Span { most } => write!(f, "the longest that may be asked for is --for {}", span_typed(*most)),
            Self::TooFarAhead => f.write_str("it would begin in the past, or more than a year from now: check --from"),
            Self::Reason => f.write_str("it needs a reason such as the rule wants: --reason CHG-123 vacuum is stuck"),
            Self::Ticket => f.write_str("it needs a ticket such as the rule wants: --ticket CHG-123"),
            Self::ShortReason { least } => {
                write!(f, "it needs a reason of at least {least} characters: --reason db1 is down and nobody answers")
            }
            Self::OnlyTime => f.write_str("it asks for more time and nothing else: leave --channels out, or deny it"),
            Self::AsItIs => f.write_str("a command is approved as it is: leave --for and --channels out, or deny it"),
            Self::OnlyByKey => f.write_str("a grant there is for the key that asks for it: the user must ask, by SSH"),
            Self::OwnName => f.write_str(
                "--as names you, the operator, and not the one it is for: what is for yourself, ask for by SSH",
            ),
            Self::TicketRefused(why) => write!(f, "the ticket does not count: {why}"),
            Self::NeedsKey(key) => {
                let how = if key.pin { "with its PIN" } else { "that you touch" };
                write!(f, "this wants a login with a security key {how}; connect again with one")
            }
            Self::Unreviewed(other) => {
                write!(f, "{other} must be reviewed first: tell its reviewers (ssh USER@BASTION show {other})")
            }
            Self::Misused(other) => write!(f, "{other} was found to be misuse: no other glass is yours to break"),
            Self::NotOver => f.write_str(
                "its grant is not over: review it then, or end it now (review ID misuse; `doorward grant revoke`)",
            ),
            Self::Unsure => f.write_str(
                "the log cannot be written to its end: this may still take effect. Look at it again, and tell the operator",
            ),
            Self::NoAlert => f.write_str(
                "the bastion has no two ways to tell anybody that do not fail together, so nothing is opened without an \
                 approval. Tell the operator: [notify] in the configuration",
            ),
            Self::NoGlass => f.write_str("it was decided by its approvers: there is nothing to review"),
            Self::TooLong { what, most } => write!(f, "{what} has more than {most} bytes"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::NoReviewers { approvers } => {
                write!(f, "there are not enough people who could approve it ({approvers}); tell an operator")
            }
            Self::TooManyReviewers => f.write_str("too many people could approve it; tell an operator"),
            Self::Unknown => f.write_str("there is no such request of yours, or for you to decide: requests lists them"),
            Self::Review(error) => error.fmt(f),
            Self::Overtaken(why) => write!(f, "it cannot be granted any more: {why}. Ask anew"),
            Self::Over(state) => write!(f, "the request is {state} already"),
            Self::NotApproved(state) => write!(f, "the request is {state}: there is nothing to begin"),
            Self::NotGranted => f.write_str("the request has no grant"),
            Self::GrantOver => f.write_str("its grant is over: ask for a new one"),
            Self::NoMoreTime { total } => {
                write!(f, "it lasts as long as it may with all extensions ({}): ask for a new one later", span_typed(*total))
            }
            Self::ExtendsAlready(other) => write!(f, "{other} asks for that already"),
            Self::Suspended => f.write_str("your access is suspended; ask an operator why"),
            Self::Ledger(LedgerError::Stale { .. }) => f.write_str("it was changed meanwhile: look at it again"),
            Self::Ledger(_) | Self::NotRecorded(_) => {
                f.write_str("this could not be kept, so it did not happen. Tell the operator")
            }
            Self::DoneNotRecorded(_) => f.write_str("done, and it could not be recorded. Tell the operator"),
            Self::NoRandomness => f.write_str("the system gives no randomness. Tell the operator"),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ledger(error) => Some(error),
            Self::NotRecorded(error) | Self::DoneNotRecorded(error) => Some(error),
            Self::Review(error) => Some(error),
            Self::NotOffered
            | Self::Needless
            | Self::Channels { .. }
            | Self::Span { .. }
            | Self::TooFarAhead
            | Self::Reason
            | Self::Ticket
            | Self::ShortReason { .. }
            | Self::OnlyTime
            | Self::OnlyByKey
            | Self::AsItIs
            | Self::OwnName
            | Self::TicketRefused(_)
            | Self::NeedsKey(_)
            | Self::Unreviewed(_)
            | Self::NoAlert
            | Self::Misused(_)
            | Self::NotOver
            | Self::Unsure
            | Self::NoGlass
            | Self::TooLong { .. }
            | Self::TooMany(_)
            | Self::NoReviewers { .. }
            | Self::TooManyReviewers
            | Self::Unknown
            | Self::Overtaken(_)
            | Self::Over(_)
            | Self::NotApproved(_)
            | Self::NotGranted
            | Self::GrantOver
            | Self::NoMoreTime { .. }
            | Self::ExtendsAlready(_)
            | Self::Suspended
            | Self::NoRandomness => None,
        }
    }
}

impl RequestError {
    /// Whether the bastion failed, and not the one who asked.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Ledger(LedgerError::Stale { .. }) => false,
            Self::Ledger(_) | Self::NotRecorded(_) | Self::DoneNotRecorded(_) | Self::NoRandomness => true,
            Self::NotOffered
            | Self::Needless
            | Self::Channels { .. }
            | Self::Span { .. }
            | Self::TooFarAhead
            | Self::Reason
            | Self::Ticket
            | Self::ShortReason { .. }
            | Self::OnlyTime
            | Self::OnlyByKey
            | Self::AsItIs
            | Self::OwnName
            | Self::TicketRefused(_)
            | Self::NeedsKey(_)
            | Self::Unreviewed(_)
            | Self::NoAlert
            | Self::Misused(_)
            | Self::NotOver
            | Self::Unsure
            | Self::NoGlass
            | Self::TooLong { .. }
            | Self::TooMany(_)
            | Self::NoReviewers { .. }
            | Self::TooManyReviewers
            | Self::Unknown
            | Self::Review(_)
            | Self::Overtaken(_)
            | Self::Over(_)
            | Self::NotApproved(_)
            | Self::NotGranted
            | Self::GrantOver
            | Self::NoMoreTime { .. }
            | Self::ExtendsAlready(_)
            | Self::Suspended => false,
        }
    }
}
