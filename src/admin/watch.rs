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
use crate::session::desktop::NoPicture;

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
    /// Whether it is a desktop's picture that is asked for.
    #[serde(default)]
    pub png: bool,
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
    /// A desktop's picture, as PNG in base64; `None` where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub png: Option<String>,
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
        if let Reply::Sight { sight: Sight { channel: None, png: None, title, .. } } = &seen {
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
            return Ok(Reply::Sight { sight: Sight { pass, title: String::new(), channel: None, png: None } });
        };
        let title = format!("{} as {}", live.user, live.destination);
        if look.png {
            let png = Some(STANDARD.encode(self.picture(&look.session)?));
            return Ok(Reply::Sight { sight: Sight { pass, title, channel: None, png } });
        }
        let channel = recorder.look(&look.session, look.channel).and_then(|(channel, seen)| match seen {
            Seen::Tail { size, bytes, cut } => {
                let tail = STANDARD.encode(bytes);
                Some(SeenChannel { number: channel.number, pty: channel.pty, size, tail, cut })
            }
            Seen::Entries(_) | Seen::Ended => None,
        });
        Ok(Reply::Sight { sight: Sight { pass, title, channel, png: None } })
    }

    fn picture(&self, session: &SessionId) -> Result<Vec<u8>, AdminError> {
        let refused = |why: &str, hint| AdminError::Refused { why: format!("session `{session}` {why}"), hint };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| refused("cannot be asked for a picture", "try again in a moment"))?;
        runtime.block_on(self.parts.screens.look(session)).map_err(|none| match none {
            NoPicture::NotLive => refused("is no desktop", "leave --png out: it has a terminal, or none"),
            NoPicture::Blank => refused("has drawn nothing yet", "try again in a moment"),
            NoPicture::Busy => refused("does not answer", "try again in a moment; others may look"),
        })
    }
}
