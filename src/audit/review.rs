//! What an access review puts on record.

use serde::{Deserialize, Serialize};

use super::facts::{bounded_detail, bounded_text};
use crate::model::{RuleId, UserName};

/// A line of the access review, and what a reviewer said of it. All of it is sealed: who knew the rules could tell from
/// a line's id what the line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewedLine {
    /// The line's id.
    pub line: String,
    /// `keep` or `remove`.
    pub verdict: String,
    /// Whose right.
    pub user: UserName,
    /// By which rule.
    pub rule: RuleId,
    /// To which account.
    pub account: String,
    /// On which targets, as the rule names them.
    #[serde(serialize_with = "bounded_detail")]
    pub place: String,
    /// To do what.
    pub channels: Vec<String>,
    /// Whether it needs a grant, and of whom.
    #[serde(serialize_with = "bounded_text")]
    pub how: String,
    /// In the reviewer's words.
    #[serde(serialize_with = "bounded_detail")]
    pub note: String,
    /// Who.
    #[serde(serialize_with = "bounded_text")]
    pub by: String,
}
