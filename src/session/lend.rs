//! What a user lends a target: their agent, their display. Judged when it is offered, when the program starts, and each
//! time that the target wants it.

use super::{EndCause, Refusal, Visit};
use crate::listener::{ChannelStart, LendStart};
use crate::model::{ChannelClass, Destination, Inbound, Login};
use crate::target::Lent;

impl Visit {
    /// Says whether something may be lent. Without a destination nobody can tell yet.
    pub(super) fn may_lend(&mut self, start: LendStart) {
        let LendStart { class, may } = start;
        let judged = match &self.connection.login {
            Ok(Login::User(_)) => self.standing(),
            Ok(Login::Destination { .. }) | Err(_) => {
                self.destination().and_then(|destination| self.judge_loan(&destination, class))
            }
        };
        match judged {
            Ok(()) => drop(may.send(())),
            // Without an answer it is refused.
            Err(refusal) => self.note_forward_refused(&class.into(), &refusal),
        }
    }

    fn judge_loan(&self, destination: &Destination, class: ChannelClass) -> Result<(), Refusal> {
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        self.bastion.ledger.permit(asker, destination, class, now).map(drop).map_err(Refusal::Denied)
    }

    /// Judges what a channel offers to lend, now that something starts at a destination; gives what it lends, and takes
    /// the rest off it.
    pub(super) fn lends(&mut self, start: &mut ChannelStart, destination: &Destination) -> Vec<ChannelClass> {
        let offered = [start.agent.then_some(ChannelClass::Agent), start.display.as_ref().map(|_| ChannelClass::X11)];
        let mut lends = Vec::new();
        for class in offered.into_iter().flatten() {
            match self.judge_loan(destination, class) {
                Ok(()) => lends.push(class),
                Err(refusal) => self.note_forward_refused(&class.into(), &refusal),
            }
        }
        start.agent = lends.contains(&ChannelClass::Agent);
        start.display = start.display.take().filter(|_| lends.contains(&ChannelClass::X11));
        lends
    }

    /// Puts on record that the bastion itself borrows nothing.
    pub(super) fn borrow_nothing(&mut self, start: &ChannelStart) {
        if start.agent {
            self.note_refused("agent: the bastion itself borrows none");
        }
        if start.display.is_some() {
            self.note_refused("x11: the bastion itself borrows none");
        }
    }

    /// Where the session is: chosen at a menu, or named by the login.
    pub(super) fn live_destination(&self) -> Result<Destination, Refusal> {
        self.standing()?;
        let live = self.live.as_ref().ok_or(Refusal::Ended(EndCause::TargetLeft))?;
        Ok(live.permit.destination().clone())
    }
}

/// What a target wants: none if somebody connected where it listens.
pub(super) fn lent(at: &Inbound) -> Option<(ChannelClass, Lent)> {
    match at {
        Inbound::Place(_) => None,
        Inbound::Agent => Some((ChannelClass::Agent, Lent::Agent)),
        Inbound::X11 => Some((ChannelClass::X11, Lent::X11)),
    }
}
