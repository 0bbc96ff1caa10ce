//! Tickets for desktops, on record: who asked for one and who came with it, never its secret.

use serde::{Deserialize, Serialize};

use super::facts::bounded_text;
use crate::model::{Destination, UserName};

/// A step of a one-time ticket for a desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesktopTicket {
    /// Whose.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// Its name.
    #[serde(serialize_with = "bounded_text")]
    pub ticket: String,
    /// What was done.
    pub step: TicketStep,
    /// The user's address.
    #[serde(serialize_with = "bounded_text")]
    pub source: String,
    /// By what they had logged in when they asked for it.
    #[serde(serialize_with = "bounded_text")]
    pub key: String,
}

/// What was done with a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TicketStep {
    /// It was made.
    Issued,
    /// Its secret was proven; it is gone.
    Used,
}
