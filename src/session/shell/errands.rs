//! What a shell asks of its session: to start a line, which is judged for that.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::opening::{Opening, Purpose};
use super::surroundings::Surroundings;
use crate::cast::Entry;
use crate::gate::verdict::{CommandMode, Judgement};
use crate::grant::Denial;
use crate::inspect::Book;
use crate::model::{Asked, ChannelClass, ChannelNumber, Destination, Matter, Program, RequestId, Terminal};
use crate::recorder::Track;
use crate::requests::CommandWish;
use crate::session::channel;
use crate::session::command::{Decided, Place, Ruling, Typed, wish};
use crate::session::refusal::No;
use crate::session::registry::OpenChannel;
use crate::session::timekeeper::wait_end;
use crate::session::{Attempt, EndCause, Live, Refusal, Visit, files};
use crate::sftp::Client;
use crate::target::Started;
use crate::target::ssh::TargetSink;

/// What a user is told who may edit no file.
const NO_FILES: &str = "your rights here are for no file: ask those who keep the rules for sftp-read and sftp-write, at its \
                        path (`sftp = { read = [...], write = [...] }`)";

/// What a shell wants, and where it is told what came of it.
pub struct Errand {
    /// What.
    pub what: What,
    /// Where.
    pub answer: oneshot::Sender<Answer>,
}

/// What a shell wants.
pub enum What {
    /// To start a line.
    Line(Box<Line>),
    /// To know what would become of a line, and what would be sent. What would be refused is: nothing more comes of it.
    Look(Box<Line>),
    /// To have it on record that what has waited does not run.
    Refused(Box<Decided>),
    /// To reach the target's files.
    Files {
        /// The shell.
        of: Own,
    },
    /// To have it on record that what was to start did not.
    Failed(Box<Refusal>),
    /// To be told of a directory, by a line of the bastion's own.
    Directory {
        /// The shell.
        of: Own,
        /// What the target is asked.
        line: String,
    },
}

/// A line that is to be started.
pub struct Line {
    /// The shell.
    pub of: Own,
    /// As it was typed.
    pub bytes: Vec<u8>,
    /// The decision about it to which somebody has said yes.
    pub approval: Option<RequestId>,
    /// What its user has been shown would be sent.
    pub seen: Option<String>,
    /// Where it starts.
    pub surroundings: Surroundings,
    /// The terminal of its user, of the size that it has now.
    pub terminal: Option<Terminal>,
}

/// A shell, as its session knows it.
#[derive(Clone)]
pub struct Own {
    /// By what it is open.
    pub asked: Asked,
    /// The mode in which it was opened.
    pub mode: CommandMode,
    /// Its channel.
    pub number: ChannelNumber,
    /// Its recording.
    pub track: Arc<Track>,
}

/// What came of it.
pub enum Answer {
    /// It has started; on a terminal, or without.
    Started(Started, bool),
    /// The target's files are reached.
    Files(Box<Files>),
    /// It waits for somebody's yes.
    Waits(Box<Decided>, Box<CommandWish>),
    /// What would become of it.
    Looked {
        /// As it was judged.
        judgement: Box<Judgement>,
        /// What its user is told, if it is refused; and what is ready once that is on record.
        refused: Option<(String, Option<oneshot::Receiver<()>>)>,
    },
    /// It does not start; and what is ready once that is on record.
    No(No, Option<oneshot::Receiver<()>>),
}

/// A way to the target's files.
pub struct Files {
    /// What speaks there.
    pub client: Client<TargetSink>,
    /// For as long as it is open.
    pub _open: Vec<OpenChannel>,
}

/// What becomes of an errand.
enum Next {
    /// This is its answer.
    Told(Answer),
    /// Something is opened at the target for it.
    Opens(Box<Opening>),
}

impl Visit {
    /// Does what a shell asks for.
    pub(in crate::session) async fn run_errand(&mut self, Errand { what, answer }: Errand) {
        let now = self.bastion.clock.now();
        let done = match what {
            What::Line(line) => self.start_line(*line).await,
            What::Look(line) => self.look_at(&line).map(Next::Told),
            What::Directory { of, line } => self.look_up(&of, line).await,
            What::Files { of } => self.reach_files(&of).await,
            What::Failed(refusal) => Err(*refusal),
            What::Refused(decided) => match self.note_refused_command(&decided) {
                Some((no, written)) => Ok(Next::Told(Answer::No(no, written))),
                None => Err(Refusal::Ended(EndCause::TargetLeft)),
            },
        };
        let done = match done {
            Ok(Next::Opens(opening)) => return self.open_at_target(*opening, answer),
            Ok(Next::Told(told)) => Ok(told),
            Err(refusal) => Err(refusal),
        };
        let told = done.unwrap_or_else(|refusal| {
            self.mark_refused(&refusal.to_string());
            let visitor = Arc::clone(&self.visitor);
            let attempt = Attempt::other("a command in a shell of the bastion's own");
            let kind = crate::session::refusal_log::Kind::Within;
            let written = visitor.refused(&self.bastion, kind, &refusal, attempt);
            Answer::No(refusal.told(now), written)
        });
        drop(answer.send(told));
    }

    /// Whether the user may start something now: asked anew each time.
    fn may_start(&mut self, of: &Own) -> Result<(), Refusal> {
        self.standing()?;
        if self.openings.available_permits() == 0 {
            return Err(Refusal::TooMany("commands on their way to a target that does not answer"));
        }
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        let (bastion, now) = (&self.bastion, self.bastion.clock.now());
        let destination = live.permit.destination();
        let permit = bastion.ledger.permit_asked(live.permit.asker(), destination, &of.asked, now);
        let permit = permit.map_err(Refusal::Denied)?;
        bastion.recorder.healthy_for(permit.recording().durability).map_err(Refusal::Recorder)?;
        if self.must_be_watched(live, destination, std::slice::from_ref(&of.asked)) || live.registration.pause().is_on()
        {
            return Err(Refusal::Paused);
        }
        Ok(())
    }

    async fn start_line(&mut self, line: Line) -> Result<Next, Refusal> {
        let ruled = self.judge_line(&line).await;
        if let (Err(refusal), Some(id)) = (&ruled, &line.approval) {
            // A yes is for what would have run then.
            let (requests, id, why) = (Arc::clone(&self.bastion.requests), id.clone(), refusal.to_string());
            let closing = move || requests.close_command(&id, "refused", &why, "the bastion");
            let _ = tokio::task::spawn_blocking(closing).await;
        }
        ruled
    }

    /// Tells what would become of a line. Whoever finds out by looking what is refused does so as by trying: on record, with
    /// security people told, and with what the rule wants done with the session.
    fn look_at(&mut self, line: &Line) -> Result<Answer, Refusal> {
        self.may_start(&line.of)?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        let typed = Typed { bytes: &line.bytes, approval: None, place: Place::Shell(&line.surroundings) };
        let decided = match self.rule_on_typed(live, &line.of.asked, line.of.mode, &typed)? {
            Ruling::OwnShell(_) => return Err(undecided("a shell in a shell")),
            Ruling::Starts(cleared) => cleared.decided().cloned().ok_or_else(|| undecided("nothing was judged"))?,
            Ruling::Waits(decided) => *decided,
            Ruling::Refused(decided) => {
                let judgement = Box::new(decided.judgement().clone());
                return Ok(match self.refuse_line(&decided) {
                    Answer::No(no, written) => Answer::Looked { judgement, refused: Some((no.text, written)) },
                    other @ (Answer::Started(..) | Answer::Waits(..) | Answer::Looked { .. } | Answer::Files(_)) => {
                        other
                    }
                });
            }
        };
        Ok(Answer::Looked { judgement: Box::new(decided.judgement().clone()), refused: None })
    }

    async fn judge_line(&mut self, line: &Line) -> Result<Next, Refusal> {
        self.may_start(&line.of)?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        let place = Place::Shell(&line.surroundings);
        let typed = Typed { bytes: &line.bytes, approval: line.approval.as_ref(), place };
        let ruling = self.rule_on_typed(live, &line.of.asked, line.of.mode, &typed)?;
        let decided = match &ruling {
            Ruling::Starts(cleared) => cleared.decided(),
            Ruling::Waits(decided) => Some(&**decided),
            Ruling::OwnShell(_) | Ruling::Refused(_) => None,
        };
        let sent = decided.and_then(|decided| decided.sent(&line.bytes));
        if let (Some(seen), Some(sent)) = (&line.seen, &sent)
            && seen.as_bytes() != sent.as_slice()
        {
            return Err(Refusal::Command(OTHER_THAN_SEEN));
        }
        let cleared = match ruling {
            Ruling::Starts(cleared) => cleared,
            Ruling::OwnShell(_) => return Err(undecided("a shell in a shell")),
            Ruling::Refused(decided) => return Ok(Next::Told(self.refuse_line(&decided))),
            Ruling::Waits(decided) => {
                let asked = (line.bytes.as_slice(), line.of.asked.class);
                return Ok(Next::Told(match wish(live, &self.visitor, &self.bastion, &decided, asked) {
                    Some(wish) => Answer::Waits(decided, Box::new(wish)),
                    None => self.refuse_line(&decided),
                }));
            }
        };
        let terminal = line.terminal.as_ref().filter(|_| cleared.pty());
        let environment = cleared.environment(line.surroundings.environment());
        let starting = async {
            // What may run is on record before it does.
            channel::cleared_on_record(live, &self.bastion, &cleared, &line.of.track, line.of.number).await
        };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        tokio::select! {
            on_record = starting => on_record?,
            cause = wait_end(&mut end) => return Err(Refusal::Ended(cause)),
            failure = failed => return Err(Refusal::Recorder(failure)),
        }
        let terminal = terminal.cloned();
        let program = cleared.program().clone();
        let opening = Opening::new(live, program, Purpose::Command(Box::new(cleared)));
        Ok(Next::Opens(Box::new(opening.within(terminal, environment))))
    }

    fn refuse_line(&mut self, decided: &Decided) -> Answer {
        let told = self.note_refused_command(decided);
        self.do_on_match(decided);
        told.map_or_else(
            || Answer::No(Refusal::Ended(EndCause::TargetLeft).told(self.bastion.clock.now()), None),
            |(no, written)| Answer::No(no, written),
        )
    }

    /// Asks the target for a directory's own name, by what is built into its shell.
    async fn look_up(&mut self, of: &Own, line: String) -> Result<Next, Refusal> {
        self.may_start(of)?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        marked(live, of, format!("the bastion asks the target: {}", crate::screen::line(&line))).await?;
        Ok(Next::Opens(Box::new(Opening::new(live, Program::Exec(line.into_bytes()), Purpose::Question))))
    }

    /// Opens a way to the target's files, as a channel for SFTP is opened: for what the user may do there now.
    async fn reach_files(&mut self, of: &Own) -> Result<Next, Refusal> {
        self.may_start(of)?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        let destination = live.permit.destination().clone();
        let asked = self.files_asked(&destination)?;
        self.count_channel(&destination, &asked).await?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        if self.must_be_watched(live, &destination, &asked) {
            return Err(Refusal::Paused);
        }
        let terms = files::terms(live, &self.bastion, &destination, &asked, of.number);
        let open = asked.into_iter().map(|asked| live.registration.channel(asked)).collect();
        live.registration.judge(&self.bastion.ledger, self.bastion.clock.now());
        marked(live, of, String::from("the bastion opens a way to the target's files, for a file to be edited"))
            .await?;
        let (track, audit) = (Arc::clone(&of.track), Arc::clone(&self.bastion.audit));
        let book = Book { track, audit, session: live.id.clone(), channel: of.number };
        Ok(Next::Opens(Box::new(Opening::new(live, Program::Sftp, Purpose::Files { terms, book, open }))))
    }

    /// By what a file may be read and written to.
    fn files_asked(&self, destination: &Destination) -> Result<Vec<Asked>, Refusal> {
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        let one = |class: ChannelClass| {
            let permit = |asked: &Asked| self.bastion.ledger.permit_asked(asker, destination, asked, now);
            let all = Asked { class, matter: Some(Matter::EveryFile) };
            if permit(&all).is_ok() {
                return Ok(all);
            }
            let some = Asked::from(class);
            match permit(&some) {
                Ok(_) => Ok(some),
                Err(Denial::NoRule(_)) => Err(Refusal::Command(NO_FILES)),
                Err(denial) => Err(Refusal::Denied(denial)),
            }
        };
        Program::Sftp.classes().iter().copied().map(one).collect()
    }
}

/// Puts something on record before it is done.
async fn marked(live: &Live, of: &Own, text: String) -> Result<(), Refusal> {
    let marking = async {
        let receipt = of.track.append(Entry::Marker(text)).await.map_err(Refusal::Recorder)?;
        receipt.durable().await.map_err(Refusal::Recorder)
    };
    let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
    tokio::select! {
        marked = marking => marked,
        cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
        failure = failed => Err(Refusal::Recorder(failure)),
    }
}

/// What a user is told who has seen what would be sent, where it is something else by now.
const OTHER_THAN_SEEN: &str =
    "the rules have changed since you looked at it, and something else would have run: it did not. Look again";

fn undecided(cause: &str) -> Refusal {
    Refusal::Denied(Denial::Undecided { cause: cause.to_owned() })
}
