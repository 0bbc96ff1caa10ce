//! What of the user's own a target is lent: for as long as a channel that asked for it is open, and no longer.

use std::sync::Arc;

use tokio::sync::watch;

use super::ssh::Leg;

/// What can be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lent {
    /// The user's SSH agent.
    Agent,
    /// The user's display.
    X11,
}

/// For how many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Each that a program on the target makes.
    Any,
    /// The first (RFC 4254 section 6.3.1, "single connection").
    Once,
}

/// How something is lent now.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// It was lent once: a target that still opens a channel for it is late, and no attacker for that.
    ever: bool,
    /// Loans for any number of connections.
    any: u32,
    /// Loans for one connection, and how many of these may still come.
    once: u32,
    left: u32,
}

impl Count {
    fn stands(&self) -> bool {
        self.any > 0 || self.once > 0
    }
}

/// What is lent on one leg.
#[derive(Debug, Clone, Default)]
pub(super) struct Loans {
    agent: Arc<watch::Sender<Count>>,
    x11: Arc<watch::Sender<Count>>,
}

/// Whether a target may have a channel to what is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It may.
    Holds,
    /// It might have, before.
    Late,
    /// It was never lent anything of the kind.
    Void,
}

impl Loans {
    fn of(&self, lent: Lent) -> &Arc<watch::Sender<Count>> {
        match lent {
            Lent::Agent => &self.agent,
            Lent::X11 => &self.x11,
        }
    }

    /// Lends something until what this gives is dropped.
    pub fn lend(&self, lent: Lent, times: Times) -> Loan {
        let of = Arc::clone(self.of(lent));
        of.send_modify(|count| {
            count.ever = true;
            match times {
                Times::Any => count.any = count.any.saturating_add(1),
                Times::Once => {
                    count.once = count.once.saturating_add(1);
                    count.left = count.left.saturating_add(1);
                }
            }
        });
        Loan { of, times }
    }

    /// Uses it once.
    pub fn claim(&self, lent: Lent) -> Claim {
        let mut claim = Claim::Void;
        self.of(lent).send_if_modified(|count| {
            claim = match count {
                Count { any: 1.., .. } => Claim::Holds,
                Count { left: 1.., .. } => {
                    count.left = count.left.saturating_sub(1);
                    Claim::Holds
                }
                Count { ever: true, .. } => Claim::Late,
                Count { ever: false, .. } => Claim::Void,
            };
            false
        });
        claim
    }
}

/// Something that is lent; given back when dropped.
#[derive(Debug)]
pub struct Loan {
    of: Arc<watch::Sender<Count>>,
    times: Times,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.of.send_modify(|count| match self.times {
            Times::Any => count.any = count.any.saturating_sub(1),
            Times::Once => {
                count.once = count.once.saturating_sub(1);
                count.left = count.left.min(count.once);
            }
        });
    }
}

impl Leg {
    /// Ready once nothing of the kind is lent any more.
    pub async fn returned(&self, lent: Lent) {
        let mut count = self.loans.of(lent).subscribe();
        // The sender is a part of the leg.
        let _ = count.wait_for(|count| !count.stands()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_can_be_claimed_until_it_is_given_back() {
        let loans = Loans::default();
        assert_eq!(loans.claim(Lent::Agent), Claim::Void);
        let (first, second) = (loans.lend(Lent::Agent, Times::Any), loans.lend(Lent::Agent, Times::Any));
        assert_eq!((loans.claim(Lent::Agent), loans.claim(Lent::X11)), (Claim::Holds, Claim::Void));
        drop(first);
        assert_eq!(loans.claim(Lent::Agent), Claim::Holds);
        drop(second);
        assert_eq!(loans.claim(Lent::Agent), Claim::Late);
    }

    #[test]
    fn a_display_that_is_lent_once_is_used_once() {
        let loans = Loans::default();
        let once = loans.lend(Lent::X11, Times::Once);
        assert_eq!((loans.claim(Lent::X11), loans.claim(Lent::X11)), (Claim::Holds, Claim::Late));
        let again = loans.lend(Lent::X11, Times::Once);
        drop(once);
        assert_eq!((loans.claim(Lent::X11), loans.claim(Lent::X11)), (Claim::Holds, Claim::Late));
        drop(again);
        let unused = loans.lend(Lent::X11, Times::Once);
        drop(unused);
        assert_eq!(loans.claim(Lent::X11), Claim::Late);
    }
}
