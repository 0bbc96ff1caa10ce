//! What a log says of each session at one size: which files a copy of that moment must have.

use std::collections::BTreeMap;

use super::leaf::{Event, Leaf};
use crate::log::{LogError, Reader};
use crate::model::SessionId;

/// How a session stands at one size of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// It began.
    pub began: bool,
    /// Its end is on record, in a file of this kind.
    pub ended: Option<EndedBy>,
    /// SHA-256 of the envelope that it has, as the log says.
    pub envelope: Option<[u8; 32]>,
    /// Its envelope is destroyed.
    pub erased: bool,
    /// Its recording is removed.
    pub expired: bool,
}

/// Which file says how a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// `closed.json`.
    Closed,
    /// `recovered.json`.
    Recovered,
}

/// Reads the first `size` leaves of a log.
///
/// Calls `progress` with the number of leaves that are read.
///
/// # Errors
/// What the log says; `Damaged` if a leaf is not one.
pub fn standings(
    reader: &Reader,
    size: u64,
    mut progress: impl FnMut(u64),
) -> Result<BTreeMap<SessionId, Standing>, LogError> {
    let mut all: BTreeMap<SessionId, Standing> = BTreeMap::new();
    for entry in reader.entries(0..size, size) {
        let (index, entry) = entry?;
        let damaged = |why| LogError::Damaged { path: format!("leaf {index}").into(), why };
        match Leaf::parse(&entry).map_err(damaged)?.event {
            Event::Start { session, envelope, .. } => {
                let standing = all.entry(session).or_default();
                standing.began = true;
                standing.envelope = Some(envelope);
            }
            Event::End { session, .. } => all.entry(session).or_default().ended = Some(EndedBy::Closed),
            Event::Recovered { session, .. } => all.entry(session).or_default().ended = Some(EndedBy::Recovered),
            Event::Envelope { session, envelope, .. } => all.entry(session).or_default().envelope = Some(envelope),
            Event::Erase { session } => all.entry(session).or_default().erased = true,
            Event::Expire { sessions } => {
                for session in sessions {
                    all.entry(session).or_default().expired = true;
                }
            }
            Event::Seal { .. }
            | Event::Suspect { .. }
            | Event::Heads(_)
            | Event::Unclosed { .. }
            | Event::ClockStep
            | Event::Policy(_)
            | Event::NodeStop
            | Event::Other => {}
        }
        progress(index.saturating_add(1));
    }
    Ok(all)
}
