//! What a bastion user's client offers to lend: its agent (OpenSSH's PROTOCOL.agent), its display (RFC 4254 section 6.3).
//!
//! Nothing is decided here: the session judges. A login that names no destination is judged once one is chosen.

use russh::ChannelId;
use tokio::sync::oneshot;

use super::{Handler, Request};
use crate::model::ChannelClass;
use crate::wire::Display;

/// Whether something may be lent on a connection.
pub struct LendStart {
    /// What: the class by which it is judged.
    pub class: ChannelClass,
    /// Told that it may; dropped, it is refused.
    pub may: oneshot::Sender<()>,
}

/// What a channel offers to lend, as far as it was asked for: once each.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// Each that was asked for, whatever was said.
    asked: Vec<ChannelClass>,
    /// The agent.
    pub agent: bool,
    /// The display.
    pub display: Option<Display>,
}

impl Handler {
    /// Whether the agent may be lent on a channel that has not started anything yet.
    pub(super) async fn lend_agent(&mut self, channel: ChannelId) -> bool {
        let may = self.may_lend(channel, ChannelClass::Agent).await;
        match self.pending.get_mut(&channel) {
            Some(pending) if may => pending.offered.agent = true,
            Some(_) | None => {}
        }
        may
    }

    /// Whether the display may be.
    pub(super) async fn lend_display(&mut self, channel: ChannelId, display: Option<Display>) -> bool {
        let Some(display) = display else {
            self.refused("the channel request x11-req: no cookie that an X server knows".into()).await;
            return false;
        };
        let may = self.may_lend(channel, ChannelClass::X11).await;
        match self.pending.get_mut(&channel) {
            Some(pending) if may => pending.offered.display = Some(display),
            Some(_) | None => {}
        }
        may
    }

    async fn may_lend(&mut self, channel: ChannelId, class: ChannelClass) -> bool {
        let Some(pending) = self.pending.get_mut(&channel) else {
            self.refused(format!("{class}: the program runs already")).await;
            return false;
        };
        if pending.offered.asked.contains(&class) {
            return false;
        }
        pending.offered.asked.push(class);
        let (may, answer) = oneshot::channel();
        let Some(requests) = &self.requests else { return false };
        requests.send(Request::Lend(LendStart { class, may })).await.is_ok() && answer.await.is_ok()
    }
}
