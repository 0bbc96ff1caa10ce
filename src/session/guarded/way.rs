//! The last step of what a guard lets through: what was judged is asked about once more when it reaches the target.
//!
//! Between the verdict on a line and the target lie the recording, and a session that may stand still meanwhile for as long
//! as anybody likes, under rules that change. INVARIANT: no key that was held for a verdict reaches the target but with the
//! rules that gave the verdict in force, in a session that has gone all the time since. What comes behind one that does not
//! goes nowhere either, until the line that it was for is given up: an Enter that was pressed at the next prompt, where
//! there is none, would run it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::super::Bastion;
use super::super::command::Standing;
use crate::model::ChannelEvent;
use crate::wire::channel::{PeerGone, Sink};

/// What an event on its way to the target is.
pub(super) enum Mark {
    /// Nothing that was held.
    Plain,
    /// A key that runs a line, as it was judged.
    Runs(Box<Standing>),
    /// What gives the line up that did not run: from here on things go to the target again.
    Resumes,
}

/// What became of a line that was let run, at the last step.
pub(super) enum Arrived {
    /// It runs, and a rule wants something done then.
    Runs(Box<Standing>),
    /// It does not, and nothing behind it has passed.
    Late(Box<Standing>),
}

/// What is on its way to the target, event by event, in the order in which the relay brings it there.
#[derive(Clone, Default)]
pub(super) struct Way(Arc<Mutex<Marks>>);

#[derive(Default)]
struct Marks {
    coming: VecDeque<Mark>,
    /// A line did not run, and has not been given up yet.
    closed: bool,
}

impl Way {
    /// One more event sets out.
    pub fn sets_out(&self, mark: Mark) {
        self.lock().coming.push_back(mark);
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next event passes; and what is to be told of it.
    fn passes(&self, event: &ChannelEvent, holds: impl FnOnce(&Standing) -> bool) -> (bool, Option<Arrived>) {
        let mut marks = self.lock();
        let mark = marks.coming.pop_front().unwrap_or(Mark::Plain);
        marks.closed &= !matches!(mark, Mark::Resumes);
        if marks.closed {
            return (!matches!(event, ChannelEvent::Data(_) | ChannelEvent::Stderr(_)), None);
        }
        match mark {
            Mark::Runs(standing) if holds(&standing) => {
                (true, standing.is_acted_on().then_some(Arrived::Runs(standing)))
            }
            Mark::Runs(standing) => {
                marks.closed = true;
                (false, Some(Arrived::Late(standing)))
            }
            Mark::Plain | Mark::Resumes => (true, None),
        }
    }
}

/// The target of a shell whose lines are held, behind the last question.
pub struct Gate<K> {
    pub(super) sink: K,
    pub(super) way: Way,
    /// Where it is told what became of lines.
    pub(super) arrived: mpsc::Sender<Arrived>,
    pub(super) bastion: Arc<Bastion>,
}

impl<K: Sink> Sink for Gate<K> {
    async fn send(&self, event: ChannelEvent) -> Result<(), PeerGone> {
        let (passes, arrived) = self.way.passes(&event, |standing| standing.holds(self.bastion.ledger.policy().hash()));
        if passes {
            self.sink.send(event).await?;
        }
        if let Some(arrived) = arrived {
            // Nobody is told whose shell is over.
            let _ = self.arrived.send(arrived).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::super::super::command::standing;
    use super::*;
    use crate::gate::verdict::OnMatch;
    use crate::model::TerminalSize;
    use crate::policy::{PolicyFile, PolicySet};
    use crate::relay::{Pause, Paused};

    fn data(text: &'static str) -> ChannelEvent {
        ChannelEvent::Data(text.as_bytes().into())
    }

    // The freeze comes once the verdict is there, and is over before the key is at the target.
    #[test]
    fn a_key_that_was_let_run_before_a_freeze_goes_nowhere_after_it_nor_does_what_comes_behind_it() {
        let (set, paused) = watch::channel(None);
        let pause = Pause::new(paused);
        let way = Way::default();
        let going = |standing: &Standing| standing.holds(standing.policy());
        let passes = |event: &ChannelEvent| way.passes(event, going);
        way.sets_out(Mark::Plain);
        way.sets_out(Mark::Runs(Box::new(standing(&pause, None))));
        assert!(matches!(passes(&data("id")), (true, None)) && matches!(passes(&data("\r")), (true, None)));
        way.sets_out(Mark::Runs(Box::new(standing(&pause, None))));
        // An Enter at the prompt that would have come, another line, and the window.
        way.sets_out(Mark::Plain);
        way.sets_out(Mark::Runs(Box::new(standing(&pause, None))));
        way.sets_out(Mark::Plain);
        set.send_replace(Some(Paused { told: String::new(), noted: String::new() }));
        set.send_replace(None);
        assert!(matches!(passes(&data("\r")), (false, Some(Arrived::Late(_)))));
        assert!(matches!(passes(&data("\r")), (false, None)) && matches!(passes(&data("\r")), (false, None)));
        assert!(matches!(passes(&ChannelEvent::Resize(TerminalSize { cols: 80, rows: 24 })), (true, None)));
        way.sets_out(Mark::Resumes);
        way.sets_out(Mark::Runs(Box::new(standing(&pause, Some(OnMatch::Pause)))));
        assert!(matches!(passes(&data("\x03")), (true, None)));
        assert!(matches!(passes(&data("\r")), (true, Some(Arrived::Runs(_)))), "judged since");
    }

    #[test]
    fn a_key_that_other_rules_let_run_goes_nowhere() {
        let (_set, paused) = watch::channel(None);
        let way = Way::default();
        way.sets_out(Mark::Runs(Box::new(standing(&Pause::new(paused), None))));
        let file = PolicyFile { path: "a.toml".into(), text: String::from("schema = 1\n# other\n") };
        let other = PolicySet::parse(&[file]).unwrap();
        let (passed, arrived) = way.passes(&data("\r"), |standing| standing.holds(other.hash()));
        assert!(!passed && matches!(arrived, Some(Arrived::Late(_))));
    }
}
