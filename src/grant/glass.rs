//! Break-glass: a grant that nobody approved, because nobody was there to. It is short, somebody else is told before it
//! opens anything, and somebody else reviews it afterwards. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ReviewError, Reviewer};
use crate::model::{Timestamp, UserName};
use crate::policy::Approvers;

/// What is owed for a broken glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Glass {
    /// By when it must be reviewed.
    pub due: Timestamp,
    /// Who reviews, as the rule had it.
    pub approvers: Approvers,
    /// Those who were among them then, but who broke it.
    pub reviewers: BTreeSet<UserName>,
    /// When it was told last that nobody reviewed it in time; it is, each day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_at: Option<Timestamp>,
    /// What the reviewer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judgement>,
}

/// What a reviewer says of a broken glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Who.
    pub by: UserName,
    /// What.
    pub finding: Finding,
    /// In their words.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a glass was broken for good reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It was.
    Ok,
    /// It was not.
    Misuse,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Misuse => "misuse",
        })
    }
}

impl Glass {
    /// Whether nobody has reviewed it in time: whoever broke it breaks no other until it is.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.judged.is_none() && now >= self.due
    }

    /// The same after a review.
    ///
    /// # Errors
    /// `ReviewError`: it does not count.
    pub fn judge(
        &self,
        broken_by: (&UserName, &UserName),
        reviewer: &Reviewer<'_>,
        finding: Finding,
        note: String,
        now: Timestamp,
    ) -> Result<Self, ReviewError> {
        let (user, person) = broken_by;
        if reviewer.user == user || reviewer.person == person {
            return Err(ReviewError::Self_);
        }
        // Whoever is one now: those who were told may all be gone, and it must be reviewed all the same.
        if !self.approvers.include(reviewer.user, reviewer.groups) {
            return Err(ReviewError::NotAReviewer);
        }
        reviewer.is_sure(&self.approvers)?;
        if self.judged.is_some() {
            return Err(ReviewError::Again);
        }
        let judged = Some(Judgement { by: reviewer.user.clone(), finding, note, at: now });
        Ok(Self { judged, ..self.clone() })
    }
}
