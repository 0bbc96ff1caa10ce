//! What a live session shows, for operators on the machine: looked at again and again, never touched.
//!
//! A look gives the end of what a terminal was sent; whoever asked draws it. So the server keeps nothing of those who watch,
//! and one who does not read holds up nothing. It is no second pair of eyes in the sense of `four_eyes`: which human an
//! operator is the bastion does not know.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::api::{AuditFilter, Reply};
use super::{Admin, AdminError, Caller};
use crate::model::{ChannelNumber, SessionId};
use crate::recorder::Seen;

/// Which session is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// It.
    pub session: SessionId,
    /// Which channel; if not said, the first with a terminal, else the first.
    pub channel: Option<ChannelNumber>,
    /// From the answer before, to go on looking: that is on record once.
    pub pass: Option<String>,
}

/// What there is to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// To be given with the next look.
    pub pass: String,
    /// Whose session, and where.
    pub title: String,
    /// Of which channel; `None` once it, or the session, is over.
    pub channel: Option<SeenChannel>,
}

/// What a channel shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenChannel {
    /// Its number.
    pub number: ChannelNumber,
    /// Whether it has a terminal; of what has none nothing is kept to be shown.
    pub pty: bool,
    /// The terminal's size in columns and rows.
    pub size: (u32, u32),
    /// The end of what it was sent, in base64.
    pub tail: String,
    /// Whether more was shown before it.
    pub cut: bool,
}

impl Look {
    /// A pass is for this look and no other.
    pub(super) fn of(&self) -> AuditFilter {
        let kind = Some(String::from("session watch"));
        AuditFilter { kind, session: Some(self.session.clone()), ..AuditFilter::default() }
    }
}

impl Admin {
    /// The first look, which is on record.
    pub(super) fn session_watch(&self, caller: Caller, look: &Look) -> Result<Reply, AdminError> {
        let pass = self.passes.give(caller, look.of(), self.parts.clock.instant())?;
        let seen = self.session_look(look, pass)?;
        if let Reply::Sight { sight: Sight { channel: None, title, .. } } = &seen {
            return Err(match title.is_empty() {
                true => AdminError::NoSession { session: look.session.clone() },
                false => AdminError::Refused {
                    why: format!("session `{}` has no such open channel", look.session),
                    hint: "leave the channel out, or wait until one is open",
                },
            });
        }
        self.parts.sessions.tell_watch(&look.session, &format!("an operator ({caller}) watches this session"));
        Ok(seen)
    }

    /// One that goes on.
    pub(super) fn session_look(&self, look: &Look, pass: String) -> Result<Reply, AdminError> {
        let live = self.parts.sessions.list().into_iter().find(|live| live.id == look.session);
        let (Some(live), Some(recorder)) = (live, &self.parts.recorder) else {
            return Ok(Reply::Sight { sight: Sight { pass, title: String::new(), channel: None } });
        };
        let title = format!("{} as {}", live.user, live.destination);
        let channel = recorder.look(&look.session, look.channel).and_then(|(channel, seen)| match seen {
            Seen::Tail { size, bytes, cut } => {
                let tail = STANDARD.encode(bytes);
                Some(SeenChannel { number: channel.number, pty: channel.pty, size, tail, cut })
            }
            Seen::Entries(_) | Seen::Ended => None,
        });
        Ok(Reply::Sight { sight: Sight { pass, title, channel } })
    }
}
