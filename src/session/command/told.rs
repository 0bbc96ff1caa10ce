//! What is told of a command that was judged: to its user, to the recording, to the log, to security people.
//!
//! Its user reads the line as they typed it. Everybody else reads it without what the vault keeps: who could see by their
//! own refusal that a word was taken out would learn that it is the secret.

use super::super::refusal_log::Kind;
use super::super::{Bastion, Live};
use super::Decided;
use crate::audit::{CommandJudged, CommandStart};
use crate::gate::verdict::{By, CommandMode, Judgement, Outcome, Would};
use crate::ledger::CommandFacts;
use crate::model::{RuleId, Timestamp};
use crate::requests::HeldCommand;
use crate::screen::line;

/// Policy says no.
pub(super) const STATUS: u32 = 126;
/// A user is shown so much of the line.
const SHOWN_CHARS_MAX: usize = 200;
/// A marker has so much of it; so has an alert.
const MARKED_CHARS_MAX: usize = 1500;

impl Decided {
    /// What the target is sent, if it may run: in strict mode the text that was judged, else the bytes as they came.
    pub(in crate::session) fn sent(&self, typed: &[u8]) -> Option<Vec<u8>> {
        let text = self.judgement.send.as_ref()?;
        let line = match self.judgement.mode {
            CommandMode::Strict | CommandMode::Menu => text.as_bytes(),
            // Those of a line that is no UTF-8 are other than its text.
            CommandMode::Observe | CommandMode::Guard => typed,
        };
        Some([self.before.as_bytes(), line].concat())
    }

    /// The strictest of what is said, in force or not.
    fn said(&self) -> (Outcome, &By) {
        let would = self.judgement.would.iter().max_by_key(|would| would.outcome);
        match would.filter(|would| would.outcome > self.judgement.outcome) {
            Some(Would { outcome, by, .. }) => (*outcome, by),
            None => (self.judgement.outcome, &self.judgement.by),
        }
    }

    /// What a refused user reads.
    pub(super) fn told(&self) -> String {
        let Judgement { by, reason, .. } = &self.judgement;
        let by = match (&self.obstacle, by) {
            (Some(_), By::Rule(id)) | (None, By::Rule(id)) => format!("rule {id}"),
            (_, By::Default) => String::from("no rule allows it"),
            (_, By::NotUnderstood { at, reason }) => format!("not understood at byte {at}: {reason}"),
            (_, By::NoSets | By::Unjudged(_)) => String::from("no rules are in force"),
        };
        let shown = shown(&self.line, SHOWN_CHARS_MAX);
        let mut text = format!("refused  {shown}  ({})", line(&by));
        let because = self.obstacle.as_deref().into_iter().chain(reason.as_deref());
        because.for_each(|why| text.push_str(&format!("\n         {}", line(why))));
        let id = &self.id;
        text + &format!(
            "\n         if you need it, ask those who keep the rules, and name {id}; to read this again: ssh USER@BASTION why"
        )
    }

    /// In one line, for the recording.
    pub(super) fn summary(&self) -> String {
        let (outcome, _) = self.said();
        let prevented = self.obstacle.is_some() || self.judgement.outcome == Outcome::Deny;
        let done = match (prevented, outcome) {
            (true, _) => "refused",
            (false, Outcome::Deny) => "observed; the rules would refuse it",
            (false, Outcome::Approve) if self.approved_by.is_empty() => "observed; the rules want somebody's yes",
            (false, Outcome::Allow | Outcome::Approve) => "allowed",
        };
        let sent = match (&self.judgement.send, self.judgement.mode) {
            (Some(sent), CommandMode::Strict | CommandMode::Menu) if !prevented => {
                format!("; sent: {}", shown(&format!("{}{sent}", self.before), MARKED_CHARS_MAX))
            }
            (Some(_) | None, _) => String::new(),
        };
        let because = line(&self.because());
        let line = shown(&self.line, MARKED_CHARS_MAX);
        let read = self.confidence.map_or_else(String::new, |confidence| format!(":{confidence}"));
        format!("command {done}: {line} ({because}; {}{read}; {}){sent}", self.judgement.mode, self.id)
    }

    /// What decided, in words.
    fn because(&self) -> String {
        let Judgement { reason, set, place, would, .. } = &self.judgement;
        let (outcome, by) = self.said();
        let mut text = match by {
            By::Rule(id) => format!("rule {id}"),
            By::Default if outcome == Outcome::Allow => String::from("the default"),
            By::Default => String::from("no rule allows it"),
            By::NotUnderstood { at, reason } => format!("not understood at byte {at}: {reason}"),
            By::NoSets => String::from("no rules are in force"),
            By::Unjudged(rule) => format!("access rule {rule} judges no commands"),
        };
        if outcome > self.judgement.outcome {
            let sets: Vec<&str> = would.iter().filter_map(|would| would.set.as_deref()).collect();
            text.push_str(&format!(" of {}, which only observes", sets.join(", ")));
        } else if let Some(set) = set {
            text.push_str(&format!(" of {set}"));
            if let Some((file, at)) = place {
                text.push_str(&format!(" ({file}:{at})"));
            }
        }
        for why in self.obstacle.as_deref().into_iter().chain(reason.as_deref()) {
            text.push_str(&format!(": {why}"));
        }
        if !self.approved_by.is_empty() {
            let names: Vec<&str> = self.approved_by.iter().map(|user| user.as_str()).collect();
            text.push_str(&format!("; approved by {}", names.join(", ")));
        }
        text
    }

    /// Whose share of the log its refusal takes: noise that no rule is about hides nothing that one is about.
    pub(super) fn kind(&self) -> Kind {
        match (self.judgement.alert, self.judgement.outcome, &self.judgement.by) {
            (Some(level), _, _) => Kind::Alerted(level),
            (None, Outcome::Deny, By::Rule(_)) => Kind::Ruled,
            (None, Outcome::Allow | Outcome::Approve, _)
            | (None, Outcome::Deny, By::Default | By::NotUnderstood { .. } | By::NoSets | By::Unjudged(_)) => {
                Kind::Command
            }
        }
    }

    fn rule(&self) -> Option<RuleId> {
        match self.said().1 {
            By::Rule(id) => Some(id.clone()),
            By::Default | By::NotUnderstood { .. } | By::NoSets | By::Unjudged(_) => None,
        }
    }

    /// For the log, without what the vault keeps.
    pub(super) fn judged(&self, live: &Live, channel: Option<u32>, now: Timestamp) -> CommandJudged {
        let clean = |text: &str| live.recording.without_secrets(text);
        let judgement = &self.judgement;
        let strict = judgement.mode.is_strict();
        CommandJudged {
            decision: self.id.clone(),
            session: live.id.clone(),
            channel,
            user: live.permit.user().clone(),
            destination: live.permit.destination().clone(),
            mode: judgement.mode.to_string(),
            verdict: self.said().0.to_string(),
            rule: self.rule(),
            because: clean(&self.because()),
            policy: self.policy.to_string(),
            line: clean(&self.line),
            sent: judgement.send.as_deref().filter(|_| strict).map(|sent| clean(&format!("{}{sent}", self.before))),
            confidence: self.confidence.map(|confidence| confidence.to_string()),
            starts: judgement
                .invocations
                .iter()
                .map(|seen| CommandStart {
                    words: clean(&seen.words()),
                    effects: seen.effects.iter().map(|effect| clean(effect)).collect(),
                    rule: match &seen.decided {
                        By::Rule(id) => Some(id.clone()),
                        By::Default | By::NotUnderstood { .. } | By::NoSets | By::Unjudged(_) => None,
                    },
                })
                .collect(),
            second: Some(live.started.until(now).as_secs()),
            alert: judgement.alert.map(|level| level.to_string()),
            approved_by: self.approved_by.clone(),
            note: None,
        }
    }

    /// For security people, if a rule wants them told.
    pub(super) fn facts(&self, live: &Live, bastion: &Bastion, prevented: bool) -> Option<CommandFacts> {
        let level = self.judgement.alert?;
        Some(CommandFacts {
            level,
            session: live.id.clone(),
            second: live.started.until(bastion.clock.now()).as_secs(),
            user: live.permit.user().clone(),
            destination: live.permit.destination().clone(),
            line: shown(&live.recording.without_secrets(&self.line), MARKED_CHARS_MAX),
            mode: self.judgement.mode.to_string(),
            verdict: self.said().0.to_string(),
            prevented,
            rule: self.rule(),
            policy: self.policy.to_string(),
            others: 0,
        })
    }
}

/// What whoever waits for a yes reads.
pub(super) fn waits(held: &HeldCommand, now: crate::model::Timestamp) -> String {
    let request = &held.request;
    let names: Vec<&str> = request.quorum.reviewers.iter().take(8).map(|user| user.as_str()).collect();
    let more = if request.quorum.reviewers.len() > names.len() { ", ..." } else { "" };
    let reason = held.wish.reason.as_deref().map_or(String::new(), |why| format!("\n         {}", line(why)));
    format!(
        "{} waits for {} ({}{more}), until {}{reason}\n         what it reads from its standard input is not part of what is approved\n         Ctrl-C withdraws \
         it",
        request.id,
        request.quorum.approvers,
        names.join(", "),
        request.pending_until.clock_time_from(now)
    )
}

/// The text in one harmless line, cut.
fn shown(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    line(&short)
}
