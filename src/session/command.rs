//! A command line on its way to a target: judged, on record, started in the form that was judged, held until somebody says
//! yes, or refused.
//!
//! INVARIANT: nothing of an `exec` request starts at a target but by a [`Cleared`], and only `rule_on` makes one of it.

mod told;
mod waiting;

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{error, info};

use super::denials::Denied;
use super::refusal::No;
use super::{Bastion, EndCause, Holding, Live, Refusal, Visit, channel};
use crate::audit::{AuditEvent, CommandJudged};
use crate::gate::verdict::{By, CommandMode, Judgement, OnMatch, Outcome};
use crate::grant::Denial;
use crate::ledger::CommandFacts;
use crate::listener::ChannelStart;
use crate::model::{Asked, Program, RequestId, UserName};
use crate::policy::PolicyHash;
use crate::requests::{bound_to, new_decision};
pub use waiting::Answered;

/// What a user is told who wants a shell where no program starts that no rule allows.
const NO_SHELL: &str = "no shell is open to you here: your right is to commands that its rules allow, one by one: ssh \
                        ACCOUNT@TARGET@BASTION COMMAND";
/// What a user is told whose command was judged by rules that were replaced before it began.
const OTHER_RULES: &str = "the rules have changed in this very moment, and it did not start: ask for it again";
const NO_TERMINAL: &str = "not on a terminal: connect without one (ssh -T, and no -t)";
/// Environment variables that a program may have which starts in the exact form that was judged: those by which it finds
/// its language, whatever else the configuration lets pass.
const STRICT_ENVIRONMENT: [&str; 2] = ["LANG", "LC_"];

/// A program that may start now.
pub(super) struct Cleared {
    /// What the target is sent.
    program: Program,
    /// The policy set that was asked; none where another rule judges, file by file.
    policy: Option<PolicyHash>,
    /// What was judged, if anything was.
    decided: Option<Box<Decided>>,
}

/// A command that was judged.
#[derive(Clone)]
pub(super) struct Decided {
    id: RequestId,
    /// As it was typed.
    line: String,
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
    /// It waits for somebody's yes.
    Waits(Box<Decided>),
    /// It does not start.
    Refused(Box<Decided>),
}

impl Cleared {
    /// What no command rule is about.
    fn unjudged(program: &Program, policy: Option<&PolicyHash>) -> Ruling {
        Ruling::Starts(Self { program: program.clone(), policy: policy.cloned(), decided: None })
    }

    /// What was judged, and may start.
    fn judged(sent: Vec<u8>, decided: Box<Decided>) -> Ruling {
        Ruling::Starts(Self {
            program: Program::Exec(sent),
            policy: Some(decided.policy.clone()),
            decided: Some(decided),
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

    /// What of these the program may have.
    pub fn environment(&self, asked: &[(String, String)]) -> Vec<(String, String)> {
        let strict = self.decided.as_ref().is_some_and(|decided| decided.judgement.mode == CommandMode::Strict);
        let [exact, beginning] = STRICT_ENVIRONMENT;
        let passes = |name: &str| !strict || name == exact || name.starts_with(beginning);
        asked.iter().filter(|(name, _)| passes(name)).cloned().collect()
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
        let judged = decided.judged(live, Some(channel));
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
            Program::Sftp | Program::Transfer { .. } => return Ok(Cleared::unjudged(program, None)),
            Program::Shell => None,
            Program::Exec(line) => Some(line),
        };
        let undecided = |cause: &str| Refusal::Denied(Denial::Undecided { cause: cause.to_owned() });
        let first = asked.first().ok_or_else(|| undecided("nothing is asked"))?;
        let (bastion, destination) = (&self.bastion, live.permit.destination());
        let (now, asker) = (bastion.clock.now(), live.permit.asker());
        let commands = bastion.ledger.commands(asker, destination, first, now).map_err(Refusal::Denied)?;
        let policy = commands.policy();
        let Some(mode) = commands.mode() else { return Ok(Cleared::unjudged(program, Some(policy))) };
        let Some(bytes) = line else {
            let strict = mode == CommandMode::Strict;
            return if strict { Err(Refusal::Command(NO_SHELL)) } else { Ok(Cleared::unjudged(program, Some(policy))) };
        };
        let (line, misread) = match std::str::from_utf8(bytes) {
            Ok(line) => (Cow::Borrowed(line), None),
            Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
        };
        let mut judgement = commands.judge(&line);
        if let Some(at) = misread.filter(|_| mode != CommandMode::Observe) {
            // What was judged is not what the bytes say.
            let by = By::NotUnderstood { at, reason: String::from("a byte that is no UTF-8") };
            judgement = unread(judgement, by, mode);
        }
        let id = approval.cloned().map_or_else(new_decision, Ok);
        let mut decided = Box::new(Decided {
            id: id.map_err(|error| undecided(&error.to_string()))?,
            line: line.into_owned(),
            judgement,
            policy: policy.clone(),
            obstacle: None,
            approved_by: Vec::new(),
            closed: false,
        });
        let sent = decided.sent(bytes);
        let judgement = &decided.judgement;
        if judgement.outcome != Outcome::Deny && start.terminal.is_some() && !judgement.pty {
            decided.obstacle = Some(NO_TERMINAL.to_owned());
        }
        let (Some(sent), None) = (sent, &decided.obstacle) else {
            if let Some(id) = approval {
                // It is used, whatever came of it.
                let _ = bastion.requests.use_command(id, "");
            }
            return Ok(Ruling::Refused(decided));
        };
        match (decided.judgement.outcome, approval) {
            (Outcome::Deny, _) => Ok(Ruling::Refused(decided)),
            (Outcome::Allow, None) => Ok(Cleared::judged(sent, decided)),
            (Outcome::Approve, None) => Ok(Ruling::Waits(decided)),
            (Outcome::Allow | Outcome::Approve, Some(id)) => {
                match bastion.requests.use_command(id, &bound_to(&live.id, &decided.policy, &sent)) {
                    Ok(approved_by) => {
                        decided.approved_by = approved_by;
                        Ok(Cleared::judged(sent, decided))
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
        let (Some(live), Some(on_match)) = (&self.live, decided.judgement.on_match) else { return };
        let by = format!("the command rules, by {}", decided.id);
        match on_match {
            // Whoever watches over sessions is called by the alert.
            OnMatch::Pause => drop(self.bastion.sessions.freeze(&live.id, Holding::Overseer, &by)),
            OnMatch::End => drop(self.bastion.sessions.end(&live.id, EndCause::Killed { by })),
        }
    }

    /// Says that a command does not start; puts that on record, and keeps it for `why`. Nothing of it has started.
    pub(super) fn refuse_command(&mut self, start: Box<ChannelStart>, decided: &Decided) {
        let Some(live) = &self.live else { return };
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
        let text = if start.terminal.is_some() { text.replace('\n', "\r\n") } else { text };
        let (no, over) = (No { text, status: told::STATUS }, self.over.clone());
        self.channels.spawn(async move {
            channel::refuse(*start, no, written, over).await;
            Ok(())
        });
    }

    /// Has security people told of a refusal if a rule wants that, whether it is listed in the log or counted, and whether it
    /// waited before or not.
    fn alert_refused(&self, user: &UserName, decided: &Decided, facts: Option<CommandFacts>) {
        let told = facts.and_then(|facts| {
            let others = self.bastion.refusals.alert(user, facts.rule.clone(), facts.level)?;
            Some(CommandFacts { others, ..facts })
        });
        let Some(facts) = told else { return };
        let (requests, id) = (Arc::clone(&self.bastion.requests), decided.id.clone());
        drop(tokio::task::spawn_blocking(move || {
            if let Err(failure) = requests.alert_command(&id, "command.refused", facts) {
                error!(error = %failure, "Nobody is told of a command that was refused");
            }
        }));
    }

    /// Puts a refusal on record.
    fn note_command(&self, live: &Live, user: &UserName, decided: &Decided) -> Option<oneshot::Receiver<()>> {
        let judged = decided.judged(live, None);
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
        let Ruling::Starts(cleared) = Cleared::unjudged(&Program::Shell, Some(&old)) else { panic!("it starts") };
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
