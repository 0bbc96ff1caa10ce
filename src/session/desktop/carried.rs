//! A desktop while it lasts: its records to the disk, what ends it to its process, pictures to who watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, info, warn};

use super::super::timekeeper::wait_end;
use super::super::{Bastion, EndCause};
use super::codes;
use super::opening::{Opened, words};
use super::process::{Broken, Process};
use super::screens::Look;
use super::taking::NotTaken;
use crate::rdp::control::{FromProcess, ToProcess};
use crate::recorder::RecorderError;

/// A process that was told to end has so long to say goodbye; what it still sends is recorded meanwhile.
const FAREWELL: Duration = Duration::from_millis(1500);
/// The target has so long to take the credential or not.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What ends a desktop.
enum Over {
    /// The bastion does.
    Cause(EndCause),
    /// Its recording failed.
    Recorder(RecorderError),
    /// The process says that it is over.
    Said,
    /// The process is not to be spoken to any more.
    Broken(Broken),
    /// It was cut: it must be gone by now.
    Cut,
}

/// Carries the desktop until it is over, closes its recording, and sees the process gone.
pub(super) async fn carry(bastion: &Arc<Bastion>, mut opened: Opened, mut process: Process) {
    let mut carrying = Carrying::start();
    let mut shown = bastion.desktops.screens.show(&opened.id);
    let over = carrying.run(&mut opened, &mut process, &mut shown.wanted).await;
    drop(shown);
    let (cause, end) = judge(over, carrying.logged_in);
    let now = bastion.clock.now();
    match &end {
        // Who says so is told nothing; who is not to be spoken to is killed.
        End::Said => process.end().await,
        End::Kill => process.kill(),
        End::Tell => {
            if process.tell(ToProcess::End(codes::ended(&cause, now))).is_ok() {
                Carrying::farewell(&opened, &mut process).await;
                process.end().await;
            } else {
                process.kill();
            }
        }
    }
    let Carrying { why, .. } = carrying;
    let Opened { id, permit, registration, recording, taking, time, started, cut, _channel: channel, .. } = opened;
    // The timekeeper cuts what is not over in time; it is over now.
    drop((time, cut));
    if let Err(failure) = taking.finish().await {
        error!(session = %id, error = %failure, "A desktop's record cannot be ended");
    }
    drop(channel);
    let text = match (&end, why) {
        // Who left is known to the process alone.
        (End::Said, Some(why)) => why,
        (End::Tell | End::Kill, Some(why)) => format!("{cause}: {why}"),
        (End::Said | End::Tell | End::Kill, None) => cause.to_string(),
    };
    if let Err(failure) = recording.finish(&text).await {
        error!(session = %id, error = %failure, "Cannot close a recording");
    }
    drop(registration);
    let seconds = started.until(bastion.clock.now()).as_secs();
    info!(session = %id, user = %permit.user(), cause = %text, seconds, "Desktop ended");
}

/// How a process is ended.
enum End {
    /// It has said that it is over.
    Said,
    /// It is told, and shows it.
    Tell,
    /// At once.
    Kill,
}

fn judge(over: Over, logged_in: bool) -> (EndCause, End) {
    match over {
        Over::Cause(cause) => (cause, End::Tell),
        Over::Recorder(failure) => {
            error!(error = %failure, "Recording failed");
            (EndCause::RecorderFailed, End::Tell)
        }
        // Before the login nobody has seen anything of the target: it is the target that said no.
        Over::Said if !logged_in => (EndCause::TargetLeft, End::Said),
        Over::Said => (EndCause::UserLeft, End::Said),
        Over::Broken(broken) => {
            warn!(error = %broken, "A desktop's process was given up");
            (EndCause::Fault, End::Kill)
        }
        Over::Cut => (EndCause::Fault, End::Kill),
    }
}

/// What is under way.
struct Carrying {
    looks: VecDeque<Look>,
    logged_in: bool,
    login_by: Instant,
    /// More of why it ended than the cause says.
    why: Option<String>,
}

impl Carrying {
    fn start() -> Self {
        Self { looks: VecDeque::new(), logged_in: false, login_by: Instant::now() + LOGIN_TIMEOUT, why: None }
    }

    // INVARIANT: whatever the process sends or does not take, the session's end, its cut and its recording's failure are
    // heard: each wait here is beside them.
    async fn run(&mut self, opened: &mut Opened, process: &mut Process, wanted: &mut mpsc::Receiver<Look>) -> Over {
        let (mut end, cut, failing) = (opened.registration.end.clone(), opened.cut.clone(), opened.recording.failed());
        let carrying = async {
            if opened.registration.paused.borrow_and_update().is_some()
                && let Err(broken) = process.tell(ToProcess::Hold(true))
            {
                return Over::Broken(broken);
            }
            loop {
                if let Err(over) = self.step(opened, process, wanted).await {
                    return over;
                }
            }
        };
        tokio::select! {
            biased;
            cause = wait_end(&mut end) => Over::Cause(cause),
            () = cut.cut_off() => Over::Cut,
            failure = failing => Over::Recorder(failure),
            over = carrying => over,
        }
    }

    async fn step(
        &mut self,
        opened: &mut Opened,
        process: &mut Process,
        wanted: &mut mpsc::Receiver<Look>,
    ) -> Result<(), Over> {
        tokio::select! {
            said = process.next() => self.said(opened, said.map_err(Over::Broken)?).await,
            Ok(()) = opened.registration.paused.changed() => {
                let paused = opened.registration.paused.borrow_and_update().clone();
                process.tell(ToProcess::Hold(paused.is_some())).map_err(Over::Broken)?;
                mark(opened, match paused {
                    Some(paused) => format!("paused {}: no keys go through from here on", paused.noted),
                    None => String::from("the session goes on from here"),
                });
                Ok(())
            }
            // A desktop has no place for lines: what its user would be told is on record all the same.
            Some(line) = opened.registration.lines.recv() => {
                mark(opened, format!("a desktop has no place for: {line}"));
                Ok(())
            }
            Some(_) = opened.time.warnings.recv() => Ok(()),
            Some(_) = opened.time.silences.recv() => Ok(()),
            Some(look) = wanted.recv() => {
                self.looks.push_back(look);
                process.tell(ToProcess::Look).map_err(Over::Broken)
            }
            Ok(failure) = &mut opened.taking.failed => Err(Over::Recorder(failure)),
            () = sleep_until(self.login_by), if !self.logged_in => {
                self.why = Some(String::from("the target did not take the login in time"));
                Err(Over::Cause(EndCause::TargetLeft))
            }
        }
    }

    async fn said(&mut self, opened: &Opened, said: FromProcess) -> Result<(), Over> {
        match said {
            FromProcess::Record(record) => taken(opened.taking.take(&record).await),
            // What a target draws by itself is no sign of a person.
            FromProcess::Active => {
                opened.activity.note();
                Ok(())
            }
            FromProcess::LoggedIn(Ok(())) if !self.logged_in => {
                self.logged_in = true;
                mark(opened, String::from("the target took the credential"));
                Ok(())
            }
            FromProcess::LoggedIn(Err(why)) if !self.logged_in => {
                self.why = Some(format!("the target refused the login: {}", words(&why)));
                Err(Over::Cause(EndCause::TargetLeft))
            }
            FromProcess::Picture(picture) => match self.looks.pop_front() {
                Some(look) => {
                    // Whoever looked may be gone.
                    let _ = look.send(picture);
                    Ok(())
                }
                None => Err(Over::Broken(Broken::Unexpected("a picture"))),
            },
            FromProcess::Ended { why } => {
                self.why = Some(words(&why));
                Err(Over::Said)
            }
            FromProcess::Hello { .. }
            | FromProcess::Ticket { .. }
            | FromProcess::Login(_)
            | FromProcess::Checked { .. }
            | FromProcess::WrongCertificate { .. }
            | FromProcess::LoggedIn(_) => Err(Over::Broken(Broken::Unexpected("something out of its order"))),
        }
    }

    /// Records what comes until the process says that it is over, or for a moment.
    async fn farewell(opened: &Opened, process: &mut Process) {
        let until = Instant::now() + FAREWELL;
        let parting = async {
            while let Ok(said) = process.next().await {
                match said {
                    FromProcess::Record(record) => {
                        if opened.taking.take(&record).await.is_err() {
                            return;
                        }
                    }
                    FromProcess::Ended { .. } => return,
                    // A picture or an answer may have been on its way.
                    FromProcess::Picture(_) | FromProcess::LoggedIn(_) | FromProcess::Active => {}
                    FromProcess::Hello { .. }
                    | FromProcess::Ticket { .. }
                    | FromProcess::Login(_)
                    | FromProcess::Checked { .. }
                    | FromProcess::WrongCertificate { .. } => return,
                }
            }
        };
        tokio::select! {
            _ = timeout_at(until, parting) => {}
            () = opened.cut.cut_off() => {}
        }
    }
}

fn taken(taken: Result<(), NotTaken>) -> Result<(), Over> {
    taken.map_err(|not| match not {
        NotTaken::Broken(broken) => Over::Broken(broken),
        NotTaken::Recorder(failure) => Over::Recorder(failure),
    })
}

/// Notes a fact in the recording, without waiting for the disk.
fn mark(opened: &Opened, text: String) {
    tokio::spawn(opened.recording.note(text));
}
