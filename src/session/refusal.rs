//! Why a session or a channel did not start.

use std::fmt;

use super::registry::EndCause;
use super::verb::{Misread, Verb};
use crate::audit::AuditError;
use crate::authn::AuthnError;
use crate::grant::Denial;
use crate::model::{InvalidName, Timestamp, UserName};
use crate::recorder::RecorderError;
use crate::requests::RequestError;
use crate::target::DialError;
use crate::vault::VaultError;

/// Why a session or a channel did not start.
#[derive(Debug)]
pub enum Refusal {
    /// The login name is none.
    Login(InvalidName),
    /// The login names no destination.
    NoDestination(UserName),
    /// What was asked of the bastion itself is none of its verbs.
    Verb(Misread),
    /// There is nothing that this user may fetch or watch.
    NothingToAudit {
        /// What was asked for.
        verb: Verb,
        /// Why not, for the operator.
        why: String,
    },
    /// What was asked of requests is not done.
    Request(RequestError),
    /// As much is under way as may be at once.
    Busy {
        /// What was asked for.
        what: String,
        /// What there is too much of.
        why: Busy,
    },
    /// What it rested on is gone: the user's key, their place among the users, or the rule.
    Withdrawn(String),
    /// The connection has a session at another destination.
    Elsewhere,
    /// Nothing was typed for long.
    Idle,
    /// What the login rested on holds no more.
    LoginOver(AuthnError),
    /// No rule or grant allows it.
    Denied(Denial),
    /// It is not carried in this version.
    NotCarried(String),
    /// As many of these are there as may be.
    TooMany(&'static str),
    /// A name has no address, or its name server does not answer.
    NotFound,
    /// The command line cannot be passed on as it is.
    Command(&'static str),
    /// It cannot be recorded.
    Recorder(RecorderError),
    /// It cannot be written to the audit log.
    Audit(AuditError),
    /// There is no credential for the account, or it cannot be unsealed.
    Vault(VaultError),
    /// The target cannot be reached or refused.
    Dial(DialError),
    /// The session stands still: nothing new starts in it.
    Paused,
    /// Nobody came to watch the session, which needs somebody.
    Unwatched,
    /// The session's end came first.
    Ended(EndCause),
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// Of what this user, or everybody, has asked for and does not have yet.
    Requests,
    /// Of what others are having looked up.
    Waiting,
    /// Of sessions that this user, or everybody, watches.
    Watches,
    /// Of what this user was shown in the last minute.
    Views,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "too many requests are under way",
            Self::Waiting => "others are served first",
            Self::Watches => "too many sessions are watched",
            Self::Views => "too much was asked for in one minute",
        })
    }
}

/// What a refused user is told, and the exit status.
#[derive(Debug)]
pub struct No {
    /// One line or more.
    pub text: String,
    /// See [`Refusal::status`].
    pub status: u32,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(error) => error.fmt(f),
            Self::NoDestination(_) => f.write_str("the login names no destination"),
            Self::Verb(Misread::Unknown) => f.write_str("the bastion itself runs no such command"),
            Self::Verb(Misread::Usage(usage)) => write!(f, "not as in: {usage}"),
            Self::NothingToAudit { verb, why } => write!(f, "{verb}: {why}"),
            Self::Request(error) => error.fmt(f),
            Self::Busy { what, why } => write!(f, "{what}: {why}"),
            Self::Withdrawn(what) => write!(f, "{what}: the right to it was taken away meanwhile"),
            Self::Elsewhere => f.write_str("the connection has a session at another destination"),
            Self::Idle => f.write_str("nothing was typed"),
            Self::LoginOver(error) => write!(f, "the login holds no more: {error}"),
            Self::Denied(denial) => denial.fmt(f),
            Self::NotCarried(what) => write!(f, "{what} is not carried"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::NotFound => f.write_str("its name has no address, or its name server does not answer"),
            Self::Command(why) => f.write_str(why),
            Self::Recorder(error) => write!(f, "cannot record: {error}"),
            Self::Audit(error) => write!(f, "cannot write the audit log: {error}"),
            Self::Vault(error) => error.fmt(f),
            Self::Dial(error) => error.fmt(f),
            Self::Paused => f.write_str("the session is paused"),
            Self::Unwatched => f.write_str("nobody came to watch the session"),
            Self::Ended(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// For the bastion user: what to do next, and nothing of what exists.
    pub fn public_text(&self, now: Timestamp) -> String {
        match self {
            Self::Login(error) => format!("{error}. Use ssh ACCOUNT@TARGET@BASTION"),
            Self::NoDestination(user) => {
                format!(
                    "hello {user}. Say where to: ssh ACCOUNT@TARGET@BASTION (such as root@db1@bastion). To choose from a list: ssh {user}@BASTION"
                )
            }
            Self::Verb(Misread::Unknown) => "the bastion itself has no such verb: ssh USER@BASTION help lists those that \
                                             there are. To run a command on a target: ssh ACCOUNT@TARGET@BASTION COMMAND"
                .into(),
            Self::Verb(Misread::Usage(usage)) => {
                format!("use it as: ssh USER@BASTION {usage}. All verbs: ssh USER@BASTION help")
            }
            Self::NothingToAudit { verb: verb @ Verb::LiftLock(_), .. } => {
                format!("{verb}: there is no such lock that you may lift")
            }
            // Whether it exists is not told to those who may not have it.
            Self::NothingToAudit { verb, .. } => format!("{verb}: there is no such session that you may audit"),
            Self::Request(error) => error.to_string(),
            Self::Busy { what, why } => format!("{what}: busy: {why}; try again in a moment"),
            Self::Withdrawn(what) => format!("{what}: you may no longer do this"),
            Self::Elsewhere => "this connection has a session already, and one has one destination: open another \
                                connection for this one (ssh -S none if yours are shared)"
                .into(),
            Self::Idle => "nothing was typed for ten minutes: connect again".into(),
            Self::LoginOver(_) => {
                "your login no longer holds: its key or certificate expired or was withdrawn. Connect again".into()
            }
            Self::Denied(denial) => denial.public_text().to_string(),
            Self::NotCarried(what) => {
                format!("{what} is not allowed here. This version carries shells, commands, files, forwards and desktops")
            }
            Self::TooMany(what) => format!("too many {what}; try again later"),
            Self::NotFound => "the name has no address".into(),
            Self::Command(why) => (*why).to_owned(),
            Self::Recorder(_) | Self::Audit(_) => {
                "this session could not be recorded, so it did not start. Tell the operator".into()
            }
            Self::Vault(VaultError::NoPassword(_)) => {
                "the secret of this account is a key, and desktops need its password; tell the operator".into()
            }
            Self::Vault(_) => "no usable credential is stored for this account; tell the operator".into(),
            Self::Dial(error) => error.public_text().to_owned(),
            Self::Paused => "this session is paused: nothing new starts in it until it goes on".into(),
            Self::Unwatched => "nobody came to watch this session: try again when somebody will".into(),
            Self::Ended(cause) => cause.public_text(now),
        }
    }

    /// What the bastion user is told at `now`.
    pub fn told(&self, now: Timestamp) -> No {
        No { text: self.public_text(now), status: self.status() }
    }

    /// The exit status: 126 where policy says no, 255 where the bastion or the target failed, or has no place now.
    pub fn status(&self) -> u32 {
        match self {
            Self::Request(error) if error.is_ours() => 255,
            Self::Login(_)
            | Self::Request(_)
            | Self::NoDestination(_)
            | Self::Verb(_)
            | Self::NothingToAudit { .. }
            | Self::Withdrawn(_)
            | Self::LoginOver(_)
            | Self::Denied(_)
            | Self::NotCarried(_)
            | Self::TooMany(_)
            | Self::NotFound
            | Self::Paused
            | Self::Unwatched
            | Self::Command(_) => 126,
            Self::Busy { .. }
            | Self::Elsewhere
            | Self::Idle
            | Self::Recorder(_)
            | Self::Audit(_)
            | Self::Vault(_)
            | Self::Dial(_)
            | Self::Ended(_) => 255,
        }
    }
}
