//! Which published checkpoints are kept. Pure.
//!
//! A busy log publishes one each second: after some weeks, more files than a directory should have. The log gains
//! nothing from them: each is a beginning of the newest, and whoever kept one elsewhere can still check it against the
//! tiles. So the newest are all kept, and of the older ones the first in each span of leaves.

use std::collections::VecDeque;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    /// So many of the newest.
    pub(super) newest: usize,
    /// Of the others, the first in each span of so many leaves.
    pub(super) span: u64,
}

/// About six hours of a log that publishes each second; then some twenty a day of it.
pub(super) const KEEPING: Keeping = Keeping { newest: 20_000, span: 4096 };
/// So many files at most are removed at once, so that publishing does not wait for them.
const REMOVED_AT_ONCE_MAX: usize = 1000;

/// The checkpoints that are there.
#[derive(Debug)]
pub(super) struct Kept {
    keeping: Keeping,
    /// The sizes that are not old yet, ascending.
    sizes: VecDeque<u64>,
    /// The largest size that is old and kept.
    last: Option<u64>,
}

impl Kept {
    /// Those of a log that is opened, in any order.
    pub(super) fn new(keeping: Keeping, mut sizes: Vec<u64>) -> Self {
        sizes.sort_unstable();
        Self { keeping, sizes: sizes.into(), last: None }
    }

    /// A checkpoint of this size was published.
    pub(super) fn add(&mut self, size: u64) {
        // Written again after a crash: it is there once.
        if self.sizes.back() != Some(&size) {
            self.sizes.push_back(size);
        }
    }

    /// The sizes whose checkpoints are to go now.
    pub(super) fn surplus(&mut self) -> Vec<u64> {
        let mut surplus = Vec::new();
        while self.sizes.len() > self.keeping.newest && surplus.len() < REMOVED_AT_ONCE_MAX {
            let Some(size) = self.sizes.pop_front() else { break };
            let span = |size: u64| size.checked_div(self.keeping.span);
            if self.last.map(span) == Some(span(size)) {
                surplus.push(size);
            } else {
                self.last = Some(size);
            }
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_one_of_each_span_before_them_over_restarts() {
        let keeping = Keeping { newest: 10, span: 100 };
        let mut there: Vec<u64> = Vec::new();
        let mut kept = Kept::new(keeping, Vec::new());
        for size in (7..2000).step_by(7) {
            there.push(size);
            kept.add(size);
            if size % 3 == 0 {
                kept = Kept::new(keeping, there.clone());
            }
            for gone in kept.surplus() {
                let at = there.iter().position(|size| *size == gone).unwrap();
                there.remove(at);
            }
            assert!(there.len() <= 10 + 21 && there.last() == Some(&size), "{there:?}");
        }
        let (old, newest) = there.split_at(there.len() - 10);
        assert_eq!(newest, (1932..2000).step_by(7).collect::<Vec<u64>>());
        let first = |from: u64| (7..2000).step_by(7).find(|size| *size >= from).unwrap();
        assert_eq!(old, (0..20).map(|span| first(span * 100)).collect::<Vec<_>>());
    }

    #[test]
    fn many_that_were_kept_go_little_by_little() {
        let mut kept = Kept::new(Keeping { newest: 10, span: 1_000_000 }, (1..5000).collect());
        assert_eq!(kept.surplus().len(), 1000);
        assert_eq!(kept.surplus().first(), Some(&1002));
    }
}
