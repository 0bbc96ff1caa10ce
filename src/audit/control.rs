//! Events of those who keep order: locks, broken glasses, offboarding, the hand on a live session.

use serde::{Deserialize, Serialize};

use super::facts::{bounded_detail, bounded_text};
use crate::model::{LockId, RequestId, SessionId, Timestamp, UserName};

/// A lock was set, or somebody wants it lifted, or its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStep {
    /// Its id.
    pub lock: LockId,
    /// `holds`, `lifted`, `expired`, or for how many others its lifting waits.
    pub outcome: String,
    /// What it is on, such as `target:db1`.
    pub scope: String,
    /// What becomes of live sessions: `end` or `freeze`.
    pub effect: String,
    /// How many people it takes to lift it.
    pub lifters: u8,
    /// Whether it leaves those alone who have broken a glass.
    #[serde(default)]
    pub keeps_glass: bool,
    /// The first moment at which it holds no more, where one was said.
    pub until: Option<Timestamp>,
    /// Why it was set.
    #[serde(serialize_with = "bounded_detail")]
    pub reason: String,
    /// Who did this.
    #[serde(serialize_with = "bounded_text")]
    pub by: String,
}

/// A grant is taken without an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenGlass {
    /// The request that stands for it.
    pub request: RequestId,
    /// Who.
    pub user: UserName,
    /// By when it must be reviewed.
    pub due: Timestamp,
    /// By which ways it is told.
    pub ways: Vec<String>,
    /// Which of them had taken it before this was written.
    #[serde(default)]
    pub delivered: Vec<String>,
    /// Whom.
    pub told: Vec<String>,
}

/// A user is taken out of the house: what is about to be done, or what was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffboardStep {
    /// The user, by the name by which the human is known.
    pub user: UserName,
    /// `begun` or `done`.
    pub outcome: String,
    /// All names of the human, what was ended, and which accounts they have used.
    #[serde(serialize_with = "bounded_detail")]
    pub detail: String,
    /// Why.
    #[serde(serialize_with = "bounded_detail")]
    pub reason: String,
    /// Who did it.
    #[serde(serialize_with = "bounded_text")]
    pub by: String,
}

/// Somebody who watches over a live session did something to it, by SSH; operators' calls are `config.change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionControl {
    /// The session.
    pub session: SessionId,
    /// `freeze`, `unfreeze`, `message`, `kill`.
    pub verb: String,
    /// Its text, if it has one.
    #[serde(serialize_with = "bounded_detail")]
    pub detail: String,
    /// Who.
    #[serde(serialize_with = "bounded_text")]
    pub by: String,
}
