//! The audit log, as the recorder sees it.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Audit, AuditEvent, SegmentEnd, SessionHead};
use crate::model::{ChannelNumber, SessionId};
use crate::recorder::{LiveHead, LogFailure, Outage, RecorderLog};
use crate::seal::Sealed;

/// Puts on record how recordings come along.
#[derive(Debug)]
pub struct SessionLog {
    audit: Arc<Audit>,
}

impl SessionLog {
    /// On that log.
    pub fn new(audit: Arc<Audit>) -> Self {
        Self { audit }
    }

    fn append(&self, event: &AuditEvent) -> Result<(), LogFailure> {
        match self.audit.append(event) {
            Ok(_) => Ok(()),
            Err(failure) => Err(Arc::new(failure)),
        }
    }
}

fn segment_end(session: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> SegmentEnd {
    SegmentEnd {
        session: session.clone(),
        channel: channel.0,
        segment: sealed.segment,
        bytes: sealed.bytes,
        records: sealed.records,
        prev_head: sealed.prev_head.to_string(),
        head: sealed.head.to_string(),
    }
}

impl RecorderLog for SessionLog {
    fn segment_sealed(&self, session: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> Result<(), LogFailure> {
        self.append(&AuditEvent::SegmentSeal(segment_end(session, channel, sealed)))
    }

    fn segment_suspect(
        &self,
        session: &SessionId,
        channel: ChannelNumber,
        good: &Sealed,
        why: &str,
    ) -> Result<(), LogFailure> {
        let good = segment_end(session, channel, good);
        self.append(&AuditEvent::SegmentSuspect { good, reason: why.to_owned() })
    }

    fn heads(&self, heads: &[LiveHead]) -> Result<(), LogFailure> {
        let heads = heads.iter().map(|LiveHead { session, channel, sealed }| SessionHead {
            session: session.clone(),
            channel: channel.0,
            segment: sealed.segment,
            records: sealed.records,
            head: sealed.head.to_string(),
        });
        self.append(&AuditEvent::SessionHeads { heads: heads.collect() })
    }

    fn gap(&self, session: &SessionId, channel: ChannelNumber, why: &str) -> Result<(), LogFailure> {
        let reason = format!("channel {channel} is not recorded from here on: {why}");
        self.append(&AuditEvent::SessionGap { session: session.clone(), reason })
    }

    fn resumed(&self, session: &SessionId, channel: ChannelNumber, lasted: Duration) -> Result<(), LogFailure> {
        let gap_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        self.append(&AuditEvent::SessionResumed { session: session.clone(), channel: channel.0, gap_ms })
    }

    fn unclosed(&self, session: &SessionId, why: &str) -> Result<(), LogFailure> {
        self.append(&AuditEvent::SessionUnclosed { session: session.clone(), reason: why.to_owned() })
    }

    fn outage(&self, outage: &Outage) -> Result<(), LogFailure> {
        let Outage { since, reason, hint: _, lasted } = outage;
        let lasted_ms = lasted.map(|lasted| u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        self.append(&AuditEvent::RecorderFailed { since: *since, reason: reason.clone(), lasted_ms })
    }

    fn session_ended(&self, session: &SessionId, end: &str, closed: &str) -> Result<(), LogFailure> {
        self.append(&AuditEvent::SessionEnd {
            session: session.clone(),
            closed: closed.to_owned(),
            cause: end.to_owned(),
        })
    }
}
