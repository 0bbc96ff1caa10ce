//! A channel on its way to the target: opened beside the session's own loop, which a target that does not answer must not
//! hold up. Neither other channels nor keys wait for it.
//!
//! INVARIANT: what is asked of the target is on record before, and its end is awaited whoever gives it up: what starts all the
//! same is closed at once.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::errands::{Answer, Errand, Files, What};
use super::program;
use crate::inspect::Book;
use crate::model::{Program, SessionId, Terminal};
use crate::relay::Pause;
use crate::session::command::{Cleared, do_on_match};
use crate::session::registry::OpenChannel;
use crate::session::{Bastion, Live, Refusal, Visit};
use crate::sftp::{Client, Terms};
use crate::target::{DialError, Leg, Started, Wishes};

/// So many may be on their way in one connection. Who gives up one that is not answered has begun the next.
pub const OPENINGS_MAX: usize = 8;
const NO_SFTP: &str = "the target serves no files by SFTP, which edit needs";

/// What is about to be opened at the target.
pub struct Opening {
    program: Program,
    terminal: Option<Terminal>,
    environment: Vec<(String, String)>,
    session: SessionId,
    leg: Arc<Leg>,
    pause: Pause,
    purpose: Purpose,
}

/// What it is for.
pub enum Purpose {
    /// A command of the user's.
    Command(Box<Cleared>),
    /// A question of the bastion's own.
    Question,
    /// The target's files, on these terms.
    Files {
        /// What may be done with them.
        terms: Terms,
        /// Where it is put on record.
        book: Book,
        /// For as long as it is open.
        open: Vec<OpenChannel>,
    },
}

impl Opening {
    /// Without a terminal, and with nothing set.
    pub fn new(live: &Live, program: Program, purpose: Purpose) -> Self {
        let (session, leg, pause) = (live.id.clone(), Arc::clone(&live.leg), live.registration.pause());
        Self { program, terminal: None, environment: Vec::new(), session, leg, pause, purpose }
    }

    /// On this terminal, if on one, with this set.
    pub fn within(self, terminal: Option<Terminal>, environment: Vec<(String, String)>) -> Self {
        Self { terminal, environment, ..self }
    }

    async fn open(self, bastion: &Bastion) -> Result<Answer, Refusal> {
        let Self { program, terminal, environment, session, leg, pause, purpose } = self;
        if pause.is_on() {
            return Err(Refusal::Paused);
        }
        if let Purpose::Command(cleared) = &purpose {
            cleared.stands(bastion.ledger.policy().hash())?;
        }
        let wishes = Wishes { agent: false, display: None };
        let started = leg.open(&program, terminal.as_ref(), &environment, wishes).await;
        let started = started.map_err(|error| match (&purpose, error) {
            (Purpose::Files { .. }, DialError::ChannelRefused(_)) => Refusal::Command(NO_SFTP),
            (Purpose::Command(_) | Purpose::Question | Purpose::Files { .. }, error) => Refusal::Dial(error),
        })?;
        Ok(match purpose {
            Purpose::Question => Answer::Started(started, false),
            Purpose::Command(cleared) => {
                cleared.decided().into_iter().for_each(|decided| do_on_match(bastion, &session, decided));
                Answer::Started(started, terminal.is_some())
            }
            Purpose::Files { terms, book, open } => {
                let Started { source, sink, .. } = started;
                Answer::Files(Box::new(Files { client: Client::new(source, sink, terms, book, pause), _open: open }))
            }
        })
    }
}

impl Visit {
    /// Opens it, and tells the shell; that it did not open is on record as every refusal is.
    pub(super) fn open_at_target(&mut self, opening: Opening, answer: oneshot::Sender<Answer>) {
        // `may_start` has seen that there is one, and errands come one by one.
        let Ok(place) = Arc::clone(&self.openings).try_acquire_owned() else { return };
        let (bastion, errands, over) = (Arc::clone(&self.bastion), self.errands.0.clone(), self.over.clone());
        self.channels.spawn(async move {
            let opening = async {
                let opened = opening.open(&bastion).await;
                drop(place);
                match opened {
                    Ok(told) => {
                        if let Err(unheard) = answer.send(told) {
                            close(unheard).await;
                        }
                    }
                    Err(refusal) => {
                        let what = What::Failed(Box::new(refusal));
                        let _ = errands.send(Errand { what, answer }).await;
                    }
                }
            };
            tokio::select! {
                () = opening => {}
                () = over.cancelled() => {}
            }
            Ok(())
        });
    }
}

/// Closes what has started for a shell that has given it up, or is gone.
async fn close(unheard: Answer) {
    match unheard {
        Answer::Started(Started { sink, .. }, _) => program::close(&sink).await,
        Answer::Files(files) => files.client.close().await,
        Answer::Waits(..) | Answer::Looked { .. } | Answer::No(..) => {}
    }
}
