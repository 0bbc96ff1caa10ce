//! What the gate says of a command line.

use serde::{Deserialize, Serialize};

use crate::model::RuleId;

/// How far the gate goes for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandMode {
    /// Each line is judged and on record; nothing is prevented.
    Observe,
    /// Lines are held until they are judged, and go on as they were typed. Against slips, not against a person who wants
    /// through.
    Guard,
    /// No program starts but argv that a rule allowed, in the form that was judged.
    Strict,
}

/// What becomes of a command line, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It may run.
    Allow,
    /// It may run once somebody says yes.
    Approve,
    /// It must not run.
    Deny,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A rule of a command set.
    Rule(RuleId),
    /// No rule matched: what the set says of such lines.
    Default,
    /// The line was not understood.
    NotUnderstood {
        /// Where, in bytes.
        at: usize,
        /// Why.
        reason: String,
    },
    /// No command set is in force here.
    NoSets,
}
