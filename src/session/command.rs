//! A command line on its way to a target: judged, on record, started in the form that was judged, held until somebody says
//! yes, or refused.
//!
//! INVARIANT: nothing of an `exec` request starts at a target but by a [`Cleared`], and only `rule_on` makes one of it.

mod guarded;
mod observed;
mod told;
mod waiting;

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{error, info};

use super::denials::Denied;
use super::refusal::No;
use super::shell::Surroundings;
use super::{Bastion, EndCause, Holding, Live, Refusal, Visit, channel};
use crate::audit::{AuditEvent, CommandJudged};
use crate::gate::verdict::{By, CommandMode, Judgement, OnMatch, Outcome};
use crate::grant::Denial;
use crate::guard::Confidence;
use crate::ledger::{CommandFacts, Commands};
use crate::listener::ChannelStart;
use crate::model::{Asked, Program, RequestId, SessionId, UserName};
use crate::policy::PolicyHash;
use crate::requests::{bound_to, new_decision};
#[cfg(test)]
pub(super) use guarded::tests::standing;
pub(super) use guarded::{Ask, Decision, Keeper, Standing, decide};
pub(super) use observed::{observe, watches_shell};
pub use waiting::Answered;
pub(super) use waiting::{NotRun, Question, wish};

/// What a user is told whose command was judged by rules that were replaced before it began.
const OTHER_RULES: &str = "the rules have changed in this very moment, and it did not start: ask for it again";
const NO_TERMINAL: &str = "not on a terminal: connect without one (ssh -T, and no -t)";
/// Environment variables that a program may have which starts in the exact form that was judged: those by which it finds
/// its language, whatever else the configuration lets pass.
const STRICT_ENVIRONMENT: [&str; 2] = ["LANG", "LC_"];

/// What a user is told whose shell was opened under rules that judge in another way by now.
const OTHER_MODE: &str = "your right here is of another kind by now: leave, and connect again";

/// A program that may start now.
pub(super) struct Cleared {
    /// What the target is sent.
    program: Program,
    /// The policy set that was asked; none where another rule judges, file by file.
    policy: Option<PolicyHash>,
    /// What was judged, if anything was.
    decided: Option<Box<Decided>>,
    /// How far what runs in it is judged; none where nothing is.
    mode: Option<CommandMode>,
    /// Whether what is typed in it is held until it is judged; and the program at whose prompt it is typed from the first.
    guards: Option<Within>,
    /// Whether the shell is asked to say its lines itself.
    integrates: bool,
}

/// At whose prompt lines are typed: a shell's, or a program's of this name.
pub(super) type Within = Option<String>;

/// A command that was judged.
#[derive(Clone)]
pub(super) struct Decided {
    id: RequestId,
    /// As it was typed.
    line: String,
    /// What the target is sent before it, made by the bastion: the directory in which it starts, and the like.
    before: String,
    /// How far that is to be trusted, where it was read from a terminal.
    confidence: Option<Confidence>,
    judgement: Judgement,
    policy: PolicyHash,
    /// Why it does not start although no rule refuses it.
    obstacle: Option<String>,
    /// Who said yes to it.
    approved_by: Vec<UserName>,
    /// Whether its end is on record already, as the last step of what waited.
    closed: bool,
}

/// What becomes of what a channel asks for.
pub(super) enum Ruling {
    /// It starts.
    Starts(Cleared),
    /// The bastion's own shell starts, which judges each line.
    OwnShell(Cleared),
    /// It waits for somebody's yes.
    Waits(Box<Decided>),
    /// It does not start.
    Refused(Box<Decided>),
}

/// A command line that is to be judged.
pub(super) struct Typed<'t> {
    /// As it came.
    pub bytes: &'t [u8],
    /// The decision about it to which somebody has said yes.
    pub approval: Option<&'t RequestId>,
    /// Where it starts.
    pub place: Place<'t>,
}

/// Where a command starts.
pub(super) enum Place<'t> {
    /// In a channel that its user has asked for, with a terminal or without.
    Channel {
        /// Whether it is asked for on a terminal, which its rules may not let it have.
        terminal: bool,
    },
    /// In the bastion's own shell, which gives it a terminal if its rules say so.
    Shell(&'t Surroundings),
}

impl Cleared {
    /// What no command rule is about.
    fn unjudged(program: &Program, policy: Option<&PolicyHash>, mode: Option<CommandMode>) -> Self {
        Self { program: program.clone(), policy: policy.cloned(), decided: None, mode, guards: None, integrates: false }
    }

    /// What was judged, and may start.
    fn judged(sent: Vec<u8>, decided: Box<Decided>, within: Option<String>) -> Ruling {
        Ruling::Starts(Self {
            program: Program::Exec(sent),
            policy: Some(decided.policy.clone()),
            mode: Some(decided.judgement.mode),
            decided: Some(decided),
            guards: within.map(Some),
            integrates: false,
        })
    }

    /// Whether the rules are still those that were asked. To be asked last of all, before it starts.
    ///
    /// # Errors
    /// `Command`: others are in force now, which may judge it in another way.
    pub fn stands(&self, in_force: &PolicyHash) -> Result<(), Refusal> {
        let same = self.policy.as_ref().is_none_or(|asked| asked == in_force);
        if same { Ok(()) } else { Err(Refusal::Command(OTHER_RULES)) }
    }

    /// What the target is sent.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How far what runs in it is judged; none where nothing is.
    pub fn mode(&self) -> Option<CommandMode> {
        self.mode
    }

    /// Whether it may have a terminal.
    pub fn pty(&self) -> bool {
        self.decided.as_ref().is_none_or(|decided| decided.judgement.pty)
    }

    /// What of these the program may have.
    pub fn environment(&self, asked: &[(String, String)]) -> Vec<(String, String)> {
        let strict = self.decided.as_ref().is_some_and(|decided| decided.judgement.mode.is_strict());
        let [exact, beginning] = STRICT_ENVIRONMENT;
        let passes = |name: &str| !strict || name == exact || name.starts_with(beginning);
        asked.iter().filter(|(name, _)| passes(name)).cloned().collect()
    }

    /// Whether what is typed in it is held until it is judged.
    pub fn guards(&self) -> Option<&Within> {
        self.guards.as_ref()
    }

    /// Whether it is a shell that is asked to say its lines itself.
    pub fn integrates(&self) -> bool {
        self.integrates
    }

    /// Whether it starts where nothing is prevented.
    pub fn holds_nothing(&self) -> bool {
        self.guards.is_none() && matches!(self.mode, None | Some(CommandMode::Observe))
    }

    /// What was judged, if anything was.
    pub fn decided(&self) -> Option<&Decided> {
        self.decided.as_deref()
    }

    /// What the recording of its channel tells of it, if it was judged.
    pub fn marker(&self) -> Option<String> {
        self.decided.as_ref().map(|decided| decided.summary())
    }

    /// Puts on record that it starts, and has security people told if a rule wants that. Nothing has started yet.
    ///
    /// # Errors
    /// `Audit`, `Denied`: nothing may start.
    pub async fn record(&self, live: &Live, bastion: &Bastion, channel: u32) -> Result<(), Refusal> {
        let Some(decided) = &self.decided else { return Ok(()) };
        let judged = decided.judged(live, Some(channel), bastion.clock.now());
        bastion.record(AuditEvent::CommandAllowed(Box::new(judged))).await.map_err(Refusal::Audit)?;
        let Some(facts) = decided.facts(live, bastion, false) else { return Ok(()) };
        let (requests, id) = (Arc::clone(&bastion.requests), decided.id.clone());
        let alerting = tokio::task::spawn_blocking(move || requests.alert_command(&id, "command.allowed", facts));
        // What somebody must be told of does not start while nobody can be.
        let undecided = |cause: String| Refusal::Denied(Denial::Undecided { cause });
        alerting
            .await
            .map_err(|failure| undecided(failure.to_string()))?
            .map_err(|failure| undecided(failure.to_string()))
    }
}

impl Decided {
    /// As it was judged.
    pub fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// The same, which does not run; and whether that is on record already.
    pub fn refused(self, why: String, closed: bool) -> Self {
        Self { obstacle: Some(why), closed, ..self }
    }
}

impl Visit {
    /// Judges what a channel asks to start. `approval` is the decision about it to which somebody has said yes.
    ///
    /// # Errors
    /// `Denied`, `Command`: it does not start, and no command rule says so.
    pub(super) fn rule_on(
        &self,
        live: &Live,
        start: &ChannelStart,
        program: &Program,
        asked: &[Asked],
        approval: Option<&RequestId>,
    ) -> Result<Ruling, Refusal> {
        let line = match program {
            // Files have rules of their own.
            Program::Sftp | Program::Transfer { .. } => {
                return Ok(Ruling::Starts(Cleared::unjudged(program, None, None)));
            }
            Program::Shell => None,
            Program::Exec(line) => Some(line),
        };
        let commands = self.commands(live, asked)?;
        let policy = Some(commands.policy());
        match (commands.mode(), line) {
            (None, _) => Ok(Ruling::Starts(Cleared::unjudged(program, policy, None))),
            (Some(mode), Some(bytes)) => {
                let place = Place::Channel { terminal: start.terminal.is_some() };
                self.rule_on_line(live, &commands, mode, &Typed { bytes, approval, place })
            }
            (Some(mode), None) => {
                let cleared = Cleared::unjudged(program, policy, Some(mode));
                match mode {
                    CommandMode::Menu | CommandMode::Strict => Ok(Ruling::OwnShell(cleared)),
                    CommandMode::Guard if commands.guards_shells() => guarded::shell(start, cleared, &commands),
                    // Nobody looks at it: it is told as none of the modes.
                    CommandMode::Guard => Ok(Ruling::Starts(Cleared { mode: None, ..cleared })),
                    CommandMode::Observe => Ok(Ruling::Starts(cleared)),
                }
            }
        }
    }

    /// Judges a line of the bastion's own shell, or of its menu, that was `opened` in this mode.
    ///
    /// # Errors
    /// `Denied`, `Command`: it does not start, and no command rule says so.
    pub(super) fn rule_on_typed(
        &self,
        live: &Live,
        asked: &Asked,
        opened: CommandMode,
        typed: &Typed<'_>,
    ) -> Result<Ruling, Refusal> {
        let commands = self.commands(live, std::slice::from_ref(asked))?;
        match commands.mode() {
            Some(mode) if mode.is_strict() && mode == opened => self.rule_on_line(live, &commands, mode, typed),
            // Where its lines would go unjudged, or as they are typed, or mean something else, it is no shell that its user
            // was promised.
            Some(_) | None => Err(Refusal::Command(OTHER_MODE)),
        }
    }

    /// What commands are judged by, in a channel that is open by the first of these.
    fn commands(&self, live: &Live, asked: &[Asked]) -> Result<Commands, Refusal> {
        let first = asked.first().ok_or_else(|| undecided("nothing is asked"))?;
        let (bastion, destination) = (&self.bastion, live.permit.destination());
        let (now, asker) = (bastion.clock.now(), live.permit.asker());
        bastion.ledger.commands(asker, destination, first, now).map_err(Refusal::Denied)
    }

    /// From a line to what becomes of it: the one way to it.
    fn rule_on_line(
        &self,
        live: &Live,
        commands: &Commands,
        mode: CommandMode,
        typed: &Typed<'_>,
    ) -> Result<Ruling, Refusal> {
        let (bastion, Typed { bytes, approval, place }) = (&self.bastion, typed);
        let (line, misread) = match std::str::from_utf8(bytes) {
            Ok(line) => (Cow::Borrowed(line), None),
            Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
        };
        let mut judgement = match place {
            Place::Channel { .. } => commands.judge(&line),
            Place::Shell(surroundings) => commands.judge_in(surroundings.directory(), &line),
        };
        if let Some(at) = misread.filter(|_| mode != CommandMode::Observe) {
            // What was judged is not what the bytes say.
            let by = By::NotUnderstood { at, reason: String::from("a byte that is no UTF-8") };
            judgement = unread(judgement, by, mode);
        }
        let id = approval.cloned().map_or_else(new_decision, Ok);
        let before = match place {
            Place::Channel { .. } => String::new(),
            Place::Shell(surroundings) => surroundings.before(judgement.pty),
        };
        let mut decided = Box::new(Decided {
            id: id.map_err(|error| undecided(&error.to_string()))?,
            line: line.into_owned(),
            before,
            confidence: None,
            judgement,
            policy: commands.policy().clone(),
            obstacle: None,
            approved_by: Vec::new(),
            closed: false,
        });
        let sent = decided.sent(bytes);
        let judgement = &decided.judgement;
        let on_terminal = matches!(place, Place::Channel { terminal: true });
        if judgement.outcome != Outcome::Deny && on_terminal && !judgement.pty {
            decided.obstacle = Some(NO_TERMINAL.to_owned());
        }
        let within = if on_terminal { guarded::opened(&mut decided, commands) } else { None };
        let (Some(sent), None) = (sent, &decided.obstacle) else {
            if let Some(id) = approval {
                // It is used, whatever came of it.
                let _ = bastion.requests.use_command(id, "");
            }
            return Ok(Ruling::Refused(decided));
        };
        match (decided.judgement.outcome, approval) {
            (Outcome::Deny, _) => Ok(Ruling::Refused(decided)),
            (Outcome::Allow, None) => Ok(Cleared::judged(sent, decided, within)),
            (Outcome::Approve, None) => Ok(Ruling::Waits(decided)),
            (Outcome::Allow | Outcome::Approve, Some(id)) => {
                match bastion.requests.use_command(id, &bound_to(&live.id, &decided.policy, &sent)) {
                    Ok(approved_by) => {
                        decided.approved_by = approved_by;
                        Ok(Cleared::judged(sent, decided, within))
                    }
                    Err(why) => {
                        decided.obstacle = Some(format!("what was approved does not run: {why}"));
                        Ok(Ruling::Refused(decided))
                    }
                }
            }
        }
    }

    /// Does with the session what a rule that matched wants done with it.
    pub(super) fn do_on_match(&self, decided: &Decided) {
        let Some(live) = &self.live else { return };
        do_on_match(&self.bastion, &live.id, decided);
    }

    /// Says that a command does not start; puts that on record, and keeps it for `why`. Nothing of it has started.
    pub(super) fn refuse_command(&mut self, start: Box<ChannelStart>, decided: &Decided) {
        let Some((mut no, written)) = self.note_refused_command(decided) else { return };
        if start.terminal.is_some() {
            no.text = no.text.replace('\n', "\r\n");
        }
        let over = self.over.clone();
        self.channels.spawn(async move {
            channel::refuse(*start, no, written, over).await;
            Ok(())
        });
    }

    /// Puts on record that a command does not start, and keeps it for `why`: what its user is told, and what is ready once
    /// that is written.
    pub(super) fn note_refused_command(&mut self, decided: &Decided) -> Option<(No, Option<oneshot::Receiver<()>>)> {
        let live = self.live.as_ref()?;
        let user = self.visitor.user.user().clone();
        let destination = live.permit.destination();
        let text = decided.told();
        let denied = Denied::of_command(self.bastion.clock.now(), &decided.line, &text, destination);
        let facts = decided.facts(live, &self.bastion, true);
        self.alert_refused(&user, decided, facts);
        // How a wait ended is on record by its last step.
        let written = if decided.closed { None } else { self.note_command(live, &user, decided) };
        info!(user = %user, decision = %decided.id, "Command refused");
        self.bastion.denials.keep(&user, denied);
        self.mark_refused(&decided.summary());
        Some((No { text, status: told::STATUS }, written))
    }

    /// Has security people told of a refusal if a rule wants that, whether it is listed in the log or counted, and whether it
    /// waited before or not.
    fn alert_refused(&self, user: &UserName, decided: &Decided, facts: Option<CommandFacts>) {
        alert_refused(&self.bastion, user, decided, facts);
    }

    /// Puts a refusal on record.
    fn note_command(&self, live: &Live, user: &UserName, decided: &Decided) -> Option<oneshot::Receiver<()>> {
        let judged = decided.judged(live, None, self.bastion.clock.now());
        let id = decided.id.to_string();
        let own = id.clone();
        let event = move |what: String| {
            let note = (what != own).then_some(what);
            AuditEvent::CommandRefused(Box::new(CommandJudged { note, ..judged.clone() }))
        };
        let noted = self.bastion.refusals.note(user, decided.kind(), &id, event);
        noted.map(|noted| noted.written)
    }
}

/// Does with a session what a rule that matched wants done with it.
pub(super) fn do_on_match(bastion: &Bastion, session: &SessionId, decided: &Decided) {
    let by = format!("the command rules, by {}", decided.id);
    match decided.judgement.on_match {
        None => {}
        // Whoever watches over sessions is called by the alert.
        Some(OnMatch::Pause) => drop(bastion.sessions.freeze(session, Holding::Overseer, &by)),
        Some(OnMatch::End) => drop(bastion.sessions.end(session, EndCause::Killed { by })),
    }
}

/// Has security people told of a refusal, unless there were many like it.
fn alert_refused(bastion: &Bastion, user: &UserName, decided: &Decided, facts: Option<CommandFacts>) {
    let told = facts.and_then(|facts| {
        let others = bastion.refusals.alert(user, facts.rule.clone(), facts.level)?;
        Some(CommandFacts { others, ..facts })
    });
    let Some(facts) = told else { return };
    let (requests, id) = (Arc::clone(&bastion.requests), decided.id.clone());
    drop(tokio::task::spawn_blocking(move || {
        if let Err(failure) = requests.alert_command(&id, "command.refused", facts) {
            error!(error = %failure, "Nobody is told of a command that was refused");
        }
    }));
}

fn undecided(cause: &str) -> Refusal {
    Refusal::Denied(Denial::Undecided { cause: cause.to_owned() })
}

/// A refusal of bytes that were not judged: nothing of what a rule says of their likeness in text is about them, but that
/// somebody is told, and what becomes of the session, where a rule forbids what they look like.
fn unread(judgement: Judgement, by: By, mode: CommandMode) -> Judgement {
    let forbidden = judgement.outcome == Outcome::Deny;
    Judgement {
        alert: judgement.alert.filter(|_| forbidden),
        on_match: judgement.on_match.filter(|_| forbidden),
        outcome: Outcome::Deny,
        by,
        mode,
        set: None,
        place: None,
        send: None,
        reason: None,
        invocations: Vec::new(),
        approval: None,
        ..judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::verdict::{AlertLevel, OnMatch};
    use crate::policy::{PolicyFile, PolicySet};

    fn hash(text: &str) -> PolicyHash {
        let text = format!("schema = 1\n# {text}\n");
        PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text }]).unwrap().hash().clone()
    }

    #[test]
    fn what_was_judged_by_other_rules_than_those_in_force_does_not_start() {
        let (old, new) = (hash("old"), hash("new"));
        let cleared = Cleared::unjudged(&Program::Shell, Some(&old), None);
        assert!(cleared.stands(&old).is_ok());
        assert!(matches!(cleared.stands(&new), Err(Refusal::Command(OTHER_RULES))));
    }

    #[test]
    fn bytes_that_are_no_text_raise_the_alarm_of_the_rule_that_forbids_what_they_look_like() {
        let judged = |outcome| Judgement {
            outcome,
            by: By::Default,
            access_rule: None,
            set: None,
            place: None,
            mode: CommandMode::Guard,
            send: Some(String::from("sh \u{fffd}")),
            pty: true,
            reason: None,
            invocations: Vec::new(),
            would: Vec::new(),
            alert: Some(AlertLevel::High),
            on_match: Some(OnMatch::End),
            approval: None,
        };
        let misread = || By::NotUnderstood { at: 3, reason: String::from("no UTF-8") };
        let told = |outcome| {
            let refused = unread(judged(outcome), misread(), CommandMode::Guard);
            assert_eq!((refused.outcome, refused.send), (Outcome::Deny, None));
            (refused.alert, refused.on_match)
        };
        assert_eq!(told(Outcome::Deny), (Some(AlertLevel::High), Some(OnMatch::End)));
        assert_eq!(told(Outcome::Allow), (None, None));
    }
}
