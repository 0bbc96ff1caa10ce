//! What a shell asks of its session: to start a line, which is judged for that.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::surroundings::Surroundings;
use crate::cast::Entry;
use crate::gate::verdict::{CommandMode, Judgement};
use crate::grant::Denial;
use crate::model::{Asked, ChannelNumber, Program, RequestId, Terminal};
use crate::recorder::Track;
use crate::requests::CommandWish;
use crate::session::channel;
use crate::session::command::{Decided, Place, Ruling, Typed, wish};
use crate::session::refusal::No;
use crate::session::timekeeper::wait_end;
use crate::session::{Attempt, EndCause, Refusal, Visit};
use crate::target::{Started, Wishes};

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

impl Visit {
    /// Does what a shell asks for.
    pub(in crate::session) async fn run_errand(&mut self, Errand { what, answer }: Errand) {
        let now = self.bastion.clock.now();
        let done = match what {
            What::Line(line) => self.start_line(*line).await,
            What::Look(line) => self.look_at(&line),
            What::Directory { of, line } => self.look_up(&of, line).await,
            What::Refused(decided) => match self.note_refused_command(&decided) {
                Some((no, written)) => Ok(Answer::No(no, written)),
                None => Err(Refusal::Ended(EndCause::TargetLeft)),
            },
        };
        let told = done.unwrap_or_else(|refusal| {
            self.mark_refused(&refusal.to_string());
            let visitor = Arc::clone(&self.visitor);
            let attempt = Attempt::other("a command in a shell of the bastion's own");
            let kind = crate::session::refusal_log::Kind::Within;
            let written = visitor.refused(&self.bastion, kind, &refusal, attempt);
            Answer::No(refusal.told(now), written)
        });
        // A shell that is gone has closed nothing of it: what has started ends with it.
        drop(answer.send(told));
    }

    /// Whether the user may start something now: asked anew each time.
    fn may_start(&mut self, of: &Own) -> Result<(), Refusal> {
        self.standing()?;
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

    async fn start_line(&mut self, line: Line) -> Result<Answer, Refusal> {
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
                    other @ (Answer::Started(..) | Answer::Waits(..) | Answer::Looked { .. }) => other,
                });
            }
        };
        Ok(Answer::Looked { judgement: Box::new(decided.judgement().clone()), refused: None })
    }

    async fn judge_line(&mut self, line: &Line) -> Result<Answer, Refusal> {
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
            Ruling::Refused(decided) => return Ok(self.refuse_line(&decided)),
            Ruling::Waits(decided) => {
                let asked = (line.bytes.as_slice(), line.of.asked.class);
                return Ok(match wish(live, &self.visitor, &self.bastion, &decided, asked) {
                    Some(wish) => Answer::Waits(decided, Box::new(wish)),
                    None => self.refuse_line(&decided),
                });
            }
        };
        let terminal = line.terminal.as_ref().filter(|_| cleared.pty());
        let environment = cleared.environment(line.surroundings.environment());
        let starting = async {
            // What may run is on record before it does.
            channel::cleared_on_record(live, &self.bastion, &cleared, &line.of.track, line.of.number).await?;
            if live.registration.pause().is_on() {
                return Err(Refusal::Paused);
            }
            cleared.stands(self.bastion.ledger.policy().hash())?;
            let wishes = Wishes { agent: false, display: None };
            live.leg.open(cleared.program(), terminal, &environment, wishes).await.map_err(Refusal::Dial)
        };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        let started = tokio::select! {
            started = starting => started?,
            cause = wait_end(&mut end) => return Err(Refusal::Ended(cause)),
            failure = failed => return Err(Refusal::Recorder(failure)),
        };
        let answer = Answer::Started(started, terminal.is_some());
        cleared.decided().into_iter().for_each(|decided| self.do_on_match(decided));
        Ok(answer)
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
    async fn look_up(&mut self, of: &Own, line: String) -> Result<Answer, Refusal> {
        self.may_start(of)?;
        let Some(live) = &self.live else { return Err(Refusal::Ended(EndCause::TargetLeft)) };
        let looking = async {
            let marker = Entry::Marker(format!("the bastion asks the target: {}", crate::screen::line(&line)));
            of.track.append(marker).await.map_err(Refusal::Recorder)?.durable().await.map_err(Refusal::Recorder)?;
            let wishes = Wishes { agent: false, display: None };
            live.leg.open(&Program::Exec(line.into_bytes()), None, &[], wishes).await.map_err(Refusal::Dial)
        };
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        tokio::select! {
            started = looking => Ok(Answer::Started(started?, false)),
            cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
            failure = failed => Err(Refusal::Recorder(failure)),
        }
    }
}

/// What a user is told who has seen what would be sent, where it is something else by now.
const OTHER_THAN_SEEN: &str =
    "the rules have changed since you looked at it, and something else would have run: it did not. Look again";

fn undecided(cause: &str) -> Refusal {
    Refusal::Denied(Denial::Undecided { cause: cause.to_owned() })
}
