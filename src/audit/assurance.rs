//! What users have done besides logging in, on record.

use serde::{Deserialize, Serialize};

use super::facts::bounded_text;
use crate::model::{RuleId, UserName};

/// A user has typed a one-time code after the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Who.
    pub user: UserName,
    /// The user's address.
    #[serde(serialize_with = "bounded_text")]
    pub source: String,
    /// By what they have logged in.
    #[serde(serialize_with = "bounded_text")]
    pub key: String,
}

/// A user has agreed to the text of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who.
    pub user: UserName,
    /// The rule whose text it is.
    pub rule: RuleId,
    /// Hash of the policy set that it stands in.
    pub policy: String,
    /// SHA-256 of the text, in hexadecimal.
    pub text: String,
    /// The user's address.
    #[serde(serialize_with = "bounded_text")]
    pub source: String,
    /// By what they have logged in.
    #[serde(serialize_with = "bounded_text")]
    pub key: String,
}
