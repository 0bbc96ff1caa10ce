//! What a user is asked on a terminal before a session begins: a one-time code, their yes to a text. And the verbs that ask
//! the same for what comes without a terminal.
//!
//! Nothing of what is typed here is recorded or shown again but the yes. An answer counts once it is on record; then the
//! channel is handed back, and judged anew as if it had just come.
//!
//! An interview lasts ten minutes, whatever is typed meanwhile; what is answered counts for who would still be let in.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::channel::{RECORD_TIMEOUT, refuse};
use super::menu::{Choice, End, Lines, Shown, Typed, TypedAhead, farewell, finish, withdrawn};
use super::refusal::Busy;
use super::refusal_log::Kind;
use super::verb::{self, Ask, Form, Verb};
use super::{Attempt, Bastion, EndCause, Refusal, Visit, Visitor, rests};
use crate::audit::{AuditEvent, Confirmed, Consent};
use crate::authn::PasswordError;
use crate::grant::Denial;
use crate::listener::{ChannelStart, IDLE_MAX};
use crate::model::{Asked, ChannelEvent, Destination, Program, RuleId, Timestamp};
use crate::policy::PolicySet;
use crate::relay::Notice;
use crate::secret::Secret;
use crate::store::sha256_hex;
use crate::wire::channel::{Credit, Source};

/// How often an answer may be wrong.
const TRIES_MAX: u32 = 3;
const NO_CODES: &str = "this needs a one-time code, and you have none: an operator sets them up (doorward user totp). A login \
                        with a security key that you touch does as well";
const NOT_TAKEN: &str = "access denied: no code was accepted; wait for the next one, or ask an operator";
const NOT_AGREED: &str = "access denied: this needs your yes";
const NOT_DECIDED: &str = "nothing was said of it: that needs your yes";
const LEFT: &str = "nothing was begun";
const LATE: &str = "there was no answer within ten minutes: connect again";
const NO_TERMINAL: &str = "this asks on a terminal: ssh -t USER@BASTION, and the same verb";

/// What is asked.
pub(super) enum Question {
    /// A one-time code.
    Code,
    /// A yes to the text of a rule.
    Consent(Agreement),
}

/// A text, and where it stands.
pub(super) struct Agreement {
    rule: RuleId,
    text: Arc<str>,
    policy: String,
}

impl Agreement {
    fn of(policy: &PolicySet, rule: &RuleId) -> Option<Self> {
        let text = policy.rules().find(|known| known.id == *rule)?.conditions.consent.clone()?;
        Some(Self { rule: rule.clone(), text, policy: policy.hash().to_string() })
    }
}

impl Visit {
    /// What must be asked before this begins, where somebody can be: a session has not begun yet, and the channel has a
    /// terminal. `agreed` is what was agreed to on this channel: a text is shown for each session.
    fn asks(
        &self,
        start: &ChannelStart,
        destination: &Destination,
        program: &Program,
        agreed: Option<&Arc<str>>,
    ) -> Option<Question> {
        let typed = start.terminal.is_some() && matches!(program, Program::Shell | Program::Exec(_));
        if self.live.is_some() || !typed {
            return None;
        }
        let (ledger, asker, now) = (&self.bastion.ledger, self.visitor.asker(), self.bastion.clock.now());
        let asked = self.asked(start, destination, program).first().cloned()?;
        let denial = match ledger.permit_asked(asker, destination, &asked, now) {
            Ok(permit) => {
                let shown = permit.consent().is_none_or(|text| agreed == Some(text));
                return if shown {
                    None
                } else {
                    Agreement::of(&ledger.policy(), permit.rule()).map(Question::Consent)
                };
            }
            Err(denial @ (Denial::NeedsMfa { .. } | Denial::NeedsConsent { .. })) => denial,
            // What was approved begins once this is done.
            Err(_) if self.bastion.requests.waits_at(asker.user, destination) => {
                ledger.unassured(asker, destination, &asked, now)?
            }
            Err(_) => return None,
        };
        if let Denial::NeedsConsent { rule } = &denial {
            return Agreement::of(&ledger.policy(), rule).map(Question::Consent);
        }
        Some(Question::Code)
    }

    /// Asks first what must be asked, and begins what was approved; gives the channel back where it may go on now.
    ///
    /// # Errors
    /// Why it may not go on.
    pub(super) async fn prepare(
        &mut self,
        start: ChannelStart,
        destination: &Destination,
        program: &Program,
        agreed: Option<Arc<str>>,
    ) -> Result<Option<ChannelStart>, (Box<ChannelStart>, Refusal)> {
        // What begins with the session may bring a question too: the text of the rule that its grant is for.
        let all: Vec<Asked> = program.classes().iter().map(|class| rests::asked_on(&start, *class)).collect();
        for asked_before in [false, true] {
            if asked_before
                && self.live.is_none()
                && let Err(refusal) = rests::begin_approved(&self.bastion, &self.visitor, destination, &all).await
            {
                return Err((Box::new(start), refusal));
            }
            if let Some(question) = self.asks(&start, destination, program, agreed.as_ref()) {
                self.interview(start, question, destination.clone(), program.clone());
                return Ok(None);
            }
        }
        Ok(Some(start))
    }

    /// Asks on the channel, beside everything else; `choose` then takes it back.
    fn interview(&mut self, start: ChannelStart, question: Question, to: Destination, program: Program) {
        let (notices, lines) = mpsc::channel(4);
        self.notices.push(notices);
        let (visitor, bastion) = (Arc::clone(&self.visitor), Arc::clone(&self.bastion));
        let (choices, over) = (self.choices.0.clone(), self.over.child_token());
        self.channels.spawn(async move {
            run(start, question, (to, program), (visitor, bastion), choices, lines, over).await;
            Ok(())
        });
    }

    /// Asks what a verb asks.
    pub(super) fn interview_by(&mut self, start: ChannelStart, verb: Verb) {
        let (notices, mut lines) = mpsc::channel(4);
        self.notices.push(notices);
        let (visitor, bastion, over) = (Arc::clone(&self.visitor), Arc::clone(&self.bastion), self.over.child_token());
        self.channels.spawn(async move {
            let mut start = start;
            let _ = std::mem::replace(&mut start.started, oneshot::channel().0).send(());
            let asking = async |shown: &mut Shown<'_>| {
                if verb == Verb::Consent {
                    return all_consents(shown).await;
                }
                if let Verb::Requests(ask, form) = &verb {
                    return decision(shown, ask, *form).await;
                }
                code(shown).await.map(|()| String::from("the code was accepted: go on"))
            };
            tokio::select! {
                () = answer(&mut start, &visitor, &bastion, &mut lines, asking) => {}
                () = over.cancelled() => {}
            }
            Ok(())
        });
    }
}

async fn run(
    mut start: ChannelStart,
    question: Question,
    (destination, program): (Destination, Program),
    (visitor, bastion): (Arc<Visitor>, Arc<Bastion>),
    choices: mpsc::Sender<Choice>,
    mut notices: mpsc::Receiver<Notice>,
    over: CancellationToken,
) {
    // The reply comes first: while the listener waits for it, it does not hear that the user leaves.
    let _ = std::mem::replace(&mut start.started, oneshot::channel().0).send(());
    let user = visitor.user.user();
    let Some(_place) = bastion.limits.menu(user) else {
        let refusal = Refusal::Busy { what: program_name(&program).into(), why: Busy::Requests };
        let written = visitor.refused(&bastion, Kind::of(&refusal), &refusal, Attempt::program(&program, &destination));
        return refuse(start, refusal.told(bastion.clock.now()), written, over).await;
    };
    let guest = bastion.sessions.guest();
    info!(user = %user, source = %visitor.source, "Asked before a session");
    let mut shown = Shown::new(&mut start, &visitor, &bastion);
    let asking = async {
        match &question {
            Question::Code => code(&mut shown).await.map(|()| None),
            Question::Consent(agreement) => consent(&mut shown, agreement).await.map(|()| Some(agreement.text.clone())),
        }
    };
    let answered = tokio::select! {
        answered = asking => answered,
        () = withdrawn(&visitor, &bastion) => Err(End::Told(Refusal::Withdrawn(program_name(&program).into()))),
        () = guest.stopping() => Err(End::Told(Refusal::Ended(EndCause::Shutdown))),
        end = farewell(&mut notices) => Err(end),
        () = over.cancelled() => Err(End::Gone),
    };
    match answered {
        Ok(agreed) => {
            // Nobody answers a farewell here any more.
            drop(notices);
            // What was typed after the answer was typed for a question that is no longer there.
            let choice = Choice { start, destination, program, ahead: TypedAhead::Dropped, agreed, guest };
            tokio::select! {
                _ = choices.send(choice) => {}
                () = over.cancelled() => {}
            }
        }
        Err(End::Told(refusal)) => {
            let attempt = Attempt::program(&program, &destination);
            let written = visitor.at(&destination).refused(&bastion, Kind::of(&refusal), &refusal, attempt);
            refuse(start, refusal.told(bastion.clock.now()), written, over).await;
        }
        Err(end @ (End::Left | End::Gone | End::Chosen(..) | End::Farewell(..))) => finish(&start, end, &bastion).await,
    }
}

fn program_name(program: &Program) -> &'static str {
    match program {
        Program::Shell => "shell",
        Program::Exec(_) => "command",
        Program::Sftp | Program::Transfer { .. } => "files",
    }
}

/// Asks by a verb, and says what came of it.
async fn answer(
    start: &mut ChannelStart,
    visitor: &Arc<Visitor>,
    bastion: &Arc<Bastion>,
    notices: &mut mpsc::Receiver<Notice>,
    asking: impl AsyncFnOnce(&mut Shown<'_>) -> Result<String, End>,
) {
    let guest = bastion.sessions.guest();
    let place = bastion.limits.menu(visitor.user.user());
    let end = if start.terminal.is_none() {
        End::Told(Refusal::Command(NO_TERMINAL))
    } else if place.is_none() {
        End::Told(Refusal::Busy { what: "verb".into(), why: Busy::Requests })
    } else {
        let mut shown = Shown::new(start, visitor, bastion);
        let asked = async {
            let text = asking(&mut shown).await?;
            shown.put(format!("doorward: {}\r\n", text.trim_end().replace('\n', "\r\n"))).await
        };
        tokio::select! {
            asked = asked => asked.err().unwrap_or(End::Left),
            () = withdrawn(visitor, bastion) => End::Told(Refusal::Withdrawn("verb".into())),
            () = guest.stopping() => End::Told(Refusal::Ended(EndCause::Shutdown)),
            end = farewell(notices) => end,
        }
    };
    if let End::Told(refusal) = &end {
        let written = visitor.refused(bastion, Kind::of(refusal), refusal, Attempt::other("a verb that asks"));
        if let Some(written) = written {
            let _ = timeout(RECORD_TIMEOUT, written).await;
        }
    }
    finish(start, end, bastion).await;
}

/// Asks for a one-time code, until one is taken that is then on record.
async fn code(shown: &mut Shown<'_>) -> Result<(), End> {
    let (visitor, bastion) = (shown.visitor, shown.bastion);
    let user = visitor.user.user();
    if judged(bastion, visitor, None).await.is_err() {
        return Err(End::Told(Refusal::Command(NO_CODES)));
    }
    shown.put("doorward: this needs a fresh one-time code\r\n").await?;
    for _ in 0..TRIES_MAX {
        shown.put("One-time code: ").await?;
        let line = line(shown, Echo::Off).await?;
        shown.put("\r\n").await?;
        // Whoever types nothing guesses nothing.
        if line.trim().is_empty() {
            continue;
        }
        visitor.standing(bastion).map_err(End::Told)?;
        match judged(bastion, visitor, Some(Secret::new(line))).await {
            Ok(()) => {
                let (source, key) = (visitor.source.clone(), visitor.user.proof().to_string());
                let event = AuditEvent::AuthConfirmed(Confirmed { user: user.clone(), source, key });
                bastion.record(event).await.map_err(|failure| End::Told(Refusal::Audit(failure)))?;
                bastion.ledger.note_mfa(visitor.asker(), bastion.clock.now());
                return Ok(());
            }
            Err(why) => {
                let (login, source) = (visitor.named(), visitor.source.clone());
                let event =
                    move |reason| AuditEvent::AuthFailed { login: login.clone(), source: source.clone(), reason };
                let text = format!("user `{user}`, asked for a one-time code: {why}");
                if let Some(noted) = bastion.refusals.note(user, Kind::Start, &text, event) {
                    info!(user = %user, what = noted.text, "Refused");
                    let _ = timeout(RECORD_TIMEOUT, noted.written).await;
                }
                shown.put("doorward: that code is not accepted; each counts once\r\n").await?;
            }
        }
    }
    Err(End::Told(Refusal::Command(NOT_TAKEN)))
}

/// Judges a code, or where there is none, whether the user has any at all.
async fn judged(bastion: &Arc<Bastion>, visitor: &Visitor, code: Option<Secret<String>>) -> Result<(), PasswordError> {
    let (passwords, lock_out) = bastion.codes.clone();
    let (user, clock) = (visitor.user.user().clone(), bastion.clock.clone());
    let judging = tokio::task::spawn_blocking(move || match code {
        Some(code) => passwords.check_code(&user, &code, lock_out, &clock),
        None if passwords.has_codes(&user)? => Ok(()),
        None => Err(PasswordError::NotSet),
    });
    judging.await.unwrap_or(Err(PasswordError::Crypto))
}

/// Shows a text, and asks for a yes, which is on record on return.
async fn consent(shown: &mut Shown<'_>, agreement: &Agreement) -> Result<(), End> {
    let (visitor, bastion) = (shown.visitor, shown.bastion);
    let text = agreement.text.replace('\n', "\r\n");
    shown.put(format!("\r\n{text}\r\n\r\n")).await?;
    agreed(shown, "Type yes to agree: ", NOT_AGREED).await?;
    let event = AuditEvent::ConsentGiven(Consent {
        user: visitor.user.user().clone(),
        rule: agreement.rule.clone(),
        policy: agreement.policy.clone(),
        text: sha256_hex(agreement.text.as_bytes()),
        source: visitor.source.clone(),
        key: visitor.user.proof().to_string(),
    });
    bastion.record(event).await.map_err(|failure| End::Told(Refusal::Audit(failure)))?;
    bastion.ledger.note_consent(visitor.asker(), &agreement.text, bastion.clock.now());
    Ok(())
}

/// Asks for a yes to every text that rules for this user want one to, one after the other.
async fn all_consents(shown: &mut Shown<'_>) -> Result<String, End> {
    let (ledger, now): (_, Timestamp) = (&shown.bastion.ledger, shown.bastion.clock.now());
    let (policy, rules) = (ledger.policy(), ledger.consents_wanted(shown.visitor.asker(), now));
    for rule in &rules {
        if let Some(agreement) = Agreement::of(&policy, &rule.id) {
            consent(shown, &agreement).await?;
        }
    }
    Ok(String::from(if rules.is_empty() {
        "there is nothing to agree to now"
    } else {
        "agreed, for twelve hours: go on"
    }))
}

/// Shows a request as it stands, asks for a yes to what is to be said of it, and says it.
async fn decision(shown: &mut Shown<'_>, ask: &Ask, form: Form) -> Result<String, End> {
    let (visitor, bastion) = (shown.visitor, shown.bastion);
    if let Some(id) = ask.decides() {
        // The place is given back before somebody thinks it over: their other questions are not to wait for that.
        let (text, place) =
            verb::answer(bastion, visitor, &Ask::Show(id.clone()), Form::Text).await.map_err(End::Told)?;
        drop(place);
        shown.put(text.replace('\n', "\r\n")).await?;
        agreed(shown, &format!("Type yes to {}: ", ask.name()), NOT_DECIDED).await?;
    }
    verb::answer(bastion, visitor, ask, form).await.map(|(text, _place)| text).map_err(End::Told)
}

/// Asks until a yes is typed, a few times, by somebody who would still be let in; without one `else_told` is the end.
async fn agreed(shown: &mut Shown<'_>, prompt: &str, else_told: &'static str) -> Result<(), End> {
    for _ in 0..TRIES_MAX {
        shown.put(prompt.to_owned()).await?;
        let line = line(shown, Echo::On).await?;
        shown.put("\r\n").await?;
        match line.trim().to_ascii_lowercase().as_str() {
            // A certificate may have ended meanwhile: whoever is live may stay, and says nothing more in a user's name.
            "yes" => return shown.visitor.standing(shown.bastion).map_err(End::Told),
            "no" => break,
            _ => {}
        }
    }
    Err(End::Told(Refusal::Command(else_told)))
}

/// Whether what is typed is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// Reads a line; what stands behind it in what came at once is dropped.
async fn line(shown: &mut Shown<'_>, echo: Echo) -> Result<String, End> {
    let mut lines = Lines::default();
    loop {
        match next_by(shown.source, shown.begun + IDLE_MAX).await? {
            None | Some(ChannelEvent::Close) => return Err(End::Gone),
            Some(ChannelEvent::Eof) => return Err(End::Told(Refusal::Command(LEFT))),
            Some(ChannelEvent::Data(data)) => {
                shown.source.credit().consumed(data.len());
                let mut typed = String::new();
                for byte in data {
                    match lines.byte(byte, true) {
                        Typed::Nothing => {}
                        Typed::Char(c) => typed.push(c),
                        Typed::Erased => typed.push_str("\x08 \x08"),
                        Typed::Leave => return Err(End::Told(Refusal::Command(LEFT))),
                        Typed::Line(line) => {
                            if echo == Echo::On {
                                shown.put(typed).await?;
                            }
                            return Ok(line);
                        }
                    }
                }
                if echo == Echo::On {
                    shown.put(typed).await?;
                }
            }
            Some(ChannelEvent::Stderr(data)) => shown.source.credit().consumed(data.len()),
            Some(ChannelEvent::Resize(size)) => {
                if let Some(terminal) = shown.terminal {
                    terminal.size = size;
                }
            }
            Some(
                ChannelEvent::Signal(_) | ChannelEvent::Break(_) | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_),
            ) => {}
        }
    }
}

/// What comes next, if it does by then.
///
/// # Errors
/// `Told` if it is later: a prompt that is kept open by whatever is typed shows what nobody has read for hours.
async fn next_by(source: &mut impl Source, until: Instant) -> Result<Option<ChannelEvent>, End> {
    let late = || End::Told(Refusal::Command(LATE));
    // What comes without a pause would be taken before the time is looked at.
    if Instant::now() >= until {
        return Err(late());
    }
    timeout_at(until, source.next()).await.map_err(|_| late())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Presses a key whenever it is asked.
    struct Pressing;

    struct NoCredit;

    impl Credit for NoCredit {
        fn consumed(&self, _: usize) {}
    }

    impl Source for Pressing {
        async fn next(&mut self) -> Option<ChannelEvent> {
            Some(ChannelEvent::Data(bytes::Bytes::from_static(b"x")))
        }

        fn credit(&self) -> impl Credit + 'static {
            NoCredit
        }
    }

    #[tokio::test]
    async fn no_key_keeps_a_question_open_for_longer() {
        let until = Instant::now() + Duration::from_millis(50);
        let asking = async {
            loop {
                match next_by(&mut Pressing, until).await {
                    Ok(event) => assert!(event.is_some()),
                    Err(end) => break end,
                }
                tokio::task::yield_now().await;
            }
        };
        let end = timeout(Duration::from_secs(10), asking).await;
        assert!(matches!(end, Ok(End::Told(Refusal::Command(LATE)))));
    }
}
