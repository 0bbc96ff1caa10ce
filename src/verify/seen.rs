//! How far a log has seen sessions: what a start after a crash writes down of each before it closes it.

use std::collections::BTreeSet;

use super::leaf::{Event, Leaf};
use crate::log::{LogError, Reader};
use crate::model::{ChannelNumber, SessionId};
use crate::store::{Seen, SeenByLog, SeenSeal};

/// Reads the first `size` leaves of a log, and tells of each of these sessions' channels the last that they say.
///
/// # Errors
/// What the log says; `Damaged` if a leaf is not one.
pub fn seen(reader: &Reader, size: u64, sessions: &BTreeSet<SessionId>) -> Result<SeenByLog, LogError> {
    let mut all = SeenByLog::new();
    let mut add = |session: SessionId, channel: u32, seen: Seen| {
        if !sessions.contains(&session) {
            return;
        }
        let last = all.entry(session).or_default().entry(ChannelNumber(channel)).or_insert_with(|| seen.clone());
        // A seal says more than a head after as many records.
        let reach = |seen: &Seen| (seen.segment, seen.records, seen.sealed.is_some());
        if reach(&seen) > reach(last) {
            *last = seen;
        }
    };
    for entry in reader.entries(0..size, size) {
        let (index, entry) = entry?;
        let damaged = |why| LogError::Damaged { path: format!("leaf {index}").into(), why };
        match Leaf::parse(&entry).map_err(damaged)?.event {
            Event::Heads(heads) => {
                for (session, channel, segment, records, head) in heads {
                    add(session, channel, Seen { segment, records, head: head.to_string(), sealed: None });
                }
            }
            Event::Seal { session, channel, segment, seal } => {
                let sealed = Some(SeenSeal { bytes: seal.bytes, prev_head: seal.prev_head.to_string() });
                add(session, channel, Seen { segment, records: seal.records, head: seal.head.to_string(), sealed });
            }
            // Good to that head; a segment of which nothing was ever on disk has none.
            Event::Suspect { session, channel, segment, good } if good.bytes > 0 => {
                let (records, head) = (good.records, good.head.to_string());
                add(session, channel, Seen { segment, records, head, sealed: None });
            }
            Event::Suspect { .. }
            | Event::Start { .. }
            | Event::End { .. }
            | Event::Unclosed { .. }
            | Event::Recovered { .. }
            | Event::Envelope { .. }
            | Event::Erase { .. }
            | Event::Expire { .. }
            | Event::ClockStep
            | Event::Policy(_)
            | Event::NodeStop
            | Event::Other => {}
        }
    }
    Ok(all)
}
