//! A user's agent, lent to a target: one question at a time, each judged, and on record before it goes on.
//!
//! What this does **not** guard against: see `agent`. Whoever is root on the target decides what is signed, within what
//! the rule, the bastion and the user's own agent allow.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ssh_key::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::info;

use super::forward::{Carrying, Recorded};
use super::refusal_log::Kind;
use super::stranger::{Budget, PERIOD};
use super::{MARKERS_MAX, Refusal};
use crate::agent::{self, Frames, Host, Identity, Key, Malformed, Own, Request, Signing};
use crate::audit::AuditEvent;
use crate::authn::Proof;
use crate::cast::{Digest, Direction, Entry};
use crate::clock::Clock;
use crate::model::{Asked, ChannelEvent, Destination};
use crate::recorder::RecorderError;
use crate::relay::End;
use crate::target::Lent;
use crate::wire::channel::{Credit, Sink, Source};

/// Signatures that one session may ask of the user's agent in a minute.
const SIGNATURES_PER_MINUTE_MAX: u32 = 60;
/// Other questions.
const QUESTIONS_PER_MINUTE_MAX: u32 = 120;
/// A user's agent has so long to answer: its user may have to find and touch a key.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Channels to the user's agent that one session may have open: each holds a file, and waits for the user's agent.
const AGENTS_MAX: usize = 8;

/// What all channels to the agent of one session share.
pub(super) struct Agency {
    places: Arc<Semaphore>,
    clock: Clock,
    budgets: Mutex<Budgets>,
}

struct Budgets {
    signatures: Budget,
    questions: Budget,
    refusals: Budget,
}

impl Agency {
    pub fn new(clock: Clock) -> Self {
        let budget = |events_max| Budget::new(clock.instant(), PERIOD, events_max);
        let budgets = Budgets {
            signatures: budget(SIGNATURES_PER_MINUTE_MAX),
            questions: budget(QUESTIONS_PER_MINUTE_MAX),
            refusals: budget(MARKERS_MAX),
        };
        Self { places: Arc::new(Semaphore::new(AGENTS_MAX)), clock, budgets: Mutex::new(budgets) }
    }

    /// Takes from one of the budgets; gives how many were left out before.
    fn take(&self, which: fn(&mut Budgets) -> &mut Budget) -> Option<u64> {
        // What the lock guards is whole between any two statements that can panic.
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        which(&mut budgets).take(self.clock.instant())
    }
}

/// What one channel to the agent has of these.
pub(super) struct Asking {
    agency: Arc<Agency>,
    destination: Destination,
    _place: OwnedSemaphorePermit,
}

impl Asking {
    /// A place for one more channel.
    ///
    /// # Errors
    /// `TooMany` if there is none.
    pub fn new(agency: &Arc<Agency>, destination: Destination) -> Result<Self, Refusal> {
        let place = Arc::clone(&agency.places).try_acquire_owned();
        let _place = place.map_err(|_| Refusal::TooMany("channels to the agent"))?;
        Ok(Self { agency: Arc::clone(agency), destination, _place })
    }
}

/// Why a conversation ends.
enum Over {
    /// Either side is gone, or what lets it be is.
    Gone,
    /// What came cannot be read on from.
    Broken(&'static str),
    /// It cannot be put on record.
    Record(RecorderError),
    /// Nor in the audit log.
    Audit,
}

impl From<RecorderError> for Over {
    fn from(error: RecorderError) -> Self {
        Self::Record(error)
    }
}

/// One side of the conversation.
struct Side<S, K> {
    source: S,
    sink: K,
    frames: Frames,
    /// How much came from it.
    bytes: u64,
}

impl<S: Source, K: Sink> Side<S, K> {
    fn new(End { source, sink }: End<S, K>) -> Self {
        Self { source, sink, frames: Frames::default(), bytes: 0 }
    }

    async fn next(&mut self, whose: &'static str) -> Result<Bytes, Over> {
        loop {
            if let Some(message) = self.frames.take().map_err(|Malformed(_)| Over::Broken(whose))? {
                return Ok(message);
            }
            match self.source.next().await {
                Some(ChannelEvent::Data(bytes)) => {
                    self.frames.push(&bytes);
                    self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    self.source.credit().consumed(bytes.len());
                }
                Some(ChannelEvent::Eof | ChannelEvent::Close) | None => return Err(Over::Gone),
                // An agent has no terminal and is no program.
                Some(
                    ChannelEvent::Stderr(_)
                    | ChannelEvent::Resize(_)
                    | ChannelEvent::Signal(_)
                    | ChannelEvent::Break(_)
                    | ChannelEvent::EndOfWrite
                    | ChannelEvent::Exit(_),
                ) => {}
            }
        }
    }

    async fn send(&self, message: Bytes) -> Result<(), Over> {
        self.sink.send(ChannelEvent::Data(message)).await.map_err(|_| Over::Gone)
    }
}

/// Carries one channel to the agent until either side closes it, the loan or the session is over.
///
/// # Errors
/// `RecorderError` ends the whole session.
pub(super) async fn converse<US: Source, UK: Sink, TS: Source, TK: Sink>(
    user: End<US, UK>,
    target: End<TS, TK>,
    recorded: Recorded,
    carrying: Carrying,
    asking: Asking,
) -> Result<(), RecorderError> {
    let own = Own {
        keys: carrying.bastion.own_keys.clone(),
        session: carrying.leg.binding().map(|binding| binding.session.to_vec()),
    };
    let mut talk = Talk {
        user: Side::new(user),
        target: Side::new(target),
        recorded,
        carrying,
        asking,
        own,
        shown: BTreeSet::new(),
    };
    let (over, leg) = (talk.carrying.over.clone(), Arc::clone(&talk.carrying.leg));
    let ended = tokio::select! {
        ended = talk.run() => ended,
        () = over.cancelled() => Over::Gone,
        () = leg.returned(Lent::Agent) => Over::Gone,
    };
    talk.end(ended).await
}

struct Talk<US, UK, TS, TK> {
    user: Side<US, UK>,
    target: Side<TS, TK>,
    recorded: Recorded,
    carrying: Carrying,
    asking: Asking,
    own: Own,
    /// The keys that the target was shown.
    shown: BTreeSet<Vec<u8>>,
}

/// What comes of a question.
enum Answer {
    /// This, from the user's agent or in its place.
    Is(Bytes),
    /// No, for this reason.
    Refused(String),
}

impl<US: Source, UK: Sink, TS: Source, TK: Sink> Talk<US, UK, TS, TK> {
    async fn run(&mut self) -> Over {
        let Err(over) = self.answer_all().await;
        over
    }

    /// Tells the agent which connection it is asked on from here, then answers one question after the other.
    async fn answer_all(&mut self) -> Result<Infallible, Over> {
        let binding = self.carrying.leg.binding();
        if let Some(binding) = binding {
            let forwarded = agent::forwarded(binding.host_key, binding.session, binding.signature);
            let answer = self.ask(forwarded).await?;
            let bound = agent::is_bound(&answer).map_err(of_user)?;
            // An agent that cannot be bound keeps to no such limits; it is asked all the same, as by a stock server.
            let text = if bound { "the agent knows the target" } else { "the agent does not learn of the target" };
            self.mark(text.into()).await?;
        }
        loop {
            let message = self.target.next("the target sent what is no agent message").await?;
            // While the session stands still the target is lent nothing.
            self.recorded.pause().over().await;
            let answer = match agent::request(&message) {
                Request::List => self.list(message).await?,
                Request::Sign(signing) => self.sign(&signing, message).await?,
                Request::Bind(host) => self.bind(&host, message).await?,
                Request::Other(what) => Answer::Refused(what),
            };
            let answer = match answer {
                Answer::Is(answer) => answer,
                Answer::Refused(what) => {
                    self.refused(&what).await?;
                    agent::failure()
                }
            };
            self.recorded.pause().over().await;
            self.target.send(answer).await?;
        }
    }

    /// Asks the user's agent, and waits for its answer.
    async fn ask(&mut self, message: Bytes) -> Result<Bytes, Over> {
        let asking = async {
            self.user.send(message).await?;
            self.user.next("the user's agent sent what is no message").await
        };
        timeout(ANSWER_MAX, asking).await.map_err(|_| Over::Broken("the user's agent does not answer"))?
    }

    /// The keys that may be used; the others are not told of.
    async fn list(&mut self, message: Bytes) -> Result<Answer, Over> {
        if self.asking.agency.take(|budgets| &mut budgets.questions).is_none() {
            return Ok(Answer::Refused("the keys: too many questions in one minute".into()));
        }
        let answer = self.ask(message).await?;
        let Some(identities) = agent::identities(&answer).map_err(of_user)? else {
            return Ok(Answer::Is(agent::failure()));
        };
        let all = identities.len();
        let lent = self.lent(identities);
        self.mark(format!("the target asked for the keys: {} of {all} shown", lent.len())).await?;
        self.shown = lent.iter().map(|identity| identity.blob.clone()).collect();
        Ok(Answer::Is(agent::list_of(&lent)))
    }

    /// A signature, if it is for a login elsewhere with a key that was shown.
    async fn sign(&mut self, signing: &Signing, message: Bytes) -> Result<Answer, Over> {
        let by = signing.key.fingerprint();
        let refused = |why: &str| Ok(Answer::Refused(format!("a signature by {by}: {why}")));
        if !self.shown.contains(&signing.blob) || !self.may(&signing.key) {
            return refused("the key is not lent");
        }
        if let Some(why) = signing.refused(&self.own) {
            return refused(why);
        }
        if self.asking.agency.take(|budgets| &mut budgets.signatures).is_none() {
            return refused("too many signatures in one minute");
        }
        let host = signing.host.as_ref().map(Host::fingerprint);
        let place = host.as_deref().map_or_else(String::new, |host| format!(" at the host with key {host}"));
        let text = format!("the target asked for a signature by {by}, for a login as {}{place}", signing.account);
        self.recorded.track.append(Entry::Marker(text)).await?.durable().await?;
        let event = AuditEvent::AgentSign {
            session: self.recorded.session.clone(),
            channel: self.recorded.number.0,
            user: self.carrying.visitor.user.user().clone(),
            key: by.clone(),
            account: signing.account.clone(),
            host,
        };
        self.carrying.bastion.record(event).await.map_err(|_| Over::Audit)?;
        let answer = self.ask(message).await?;
        let signed = agent::has_signed(&answer).map_err(of_user)?;
        self.mark(if signed { "signed" } else { "the agent did not sign" }.into()).await?;
        Ok(Answer::Is(if signed { answer } else { agent::failure() }))
    }

    /// A connection that the agent is told of.
    async fn bind(&mut self, host: &Host, message: Bytes) -> Result<Answer, Over> {
        let to = host.fingerprint();
        if let Some(why) = host.refused(&self.own) {
            return Ok(Answer::Refused(format!("a binding to {to}: {why}")));
        }
        if self.asking.agency.take(|budgets| &mut budgets.questions).is_none() {
            return Ok(Answer::Refused(format!("a binding to {to}: too many questions in one minute")));
        }
        self.mark(format!("the target bound the agent to the host with key {to}")).await?;
        let answer = self.ask(message).await?;
        let bound = agent::is_bound(&answer).map_err(of_user)?;
        Ok(Answer::Is(if bound { answer } else { agent::failure() }))
    }

    /// Those of the agent's keys that may be used: none that logs anybody in at the bastion, or is in a certificate that
    /// does; of the others those that a rule names, as it is now.
    fn lent(&self, identities: Vec<Identity>) -> Vec<Identity> {
        let known: Vec<(Key, Identity)> =
            identities.into_iter().filter_map(|identity| Some((Key::read(&identity.blob)?, identity))).collect();
        let hidden: Vec<PublicKey> =
            known.iter().filter(|(key, _)| self.logs_in(key)).map(|(key, _)| key.plain.clone()).collect();
        let is_hidden = |key: &Key| hidden.iter().any(|hidden| hidden.key_data() == key.plain.key_data());
        let lent = known.into_iter().filter(|(key, _)| !is_hidden(key) && self.is_named(key));
        lent.map(|(_, identity)| identity).collect()
    }

    /// Whether a key may be used now.
    fn may(&self, key: &Key) -> bool {
        !self.logs_in(key) && self.is_named(key)
    }

    /// Whether the rules lend this key, as they are now.
    fn is_named(&self, key: &Key) -> bool {
        let (bastion, visitor) = (&self.carrying.bastion, &self.carrying.visitor);
        let asked = Asked::agent_key(key.fingerprint());
        let permit =
            bastion.ledger.permit_asked(visitor.asker(), &self.asking.destination, &asked, bastion.clock.now());
        permit.is_ok()
    }

    /// Whether a key, or the certificate that it is in, logs somebody in at the bastion.
    fn logs_in(&self, key: &Key) -> bool {
        let (ledger, user) = (&self.carrying.bastion.ledger, &self.carrying.visitor.user);
        let proven = match user.proof() {
            Proof::Key(proof) => proof.key_data() == key.plain.key_data(),
            Proof::Certificate(proof) => proof.public_key() == key.plain.key_data(),
            Proof::Password { .. } => false,
        };
        let certified = key.certificate.as_ref().is_some_and(|one| ledger.trust().may_log_in(one));
        proven || certified || ledger.user_by_key(&key.plain).is_some()
    }

    async fn mark(&self, text: String) -> Result<(), Over> {
        let _ = self.recorded.track.append(Entry::Marker(text)).await?;
        Ok(())
    }

    /// Puts a refusal on record, up to so many a minute.
    async fn refused(&self, what: &str) -> Result<(), Over> {
        match self.asking.agency.take(|budgets| &mut budgets.refusals) {
            None => {}
            Some(0) => self.mark(format!("refused: {what}")).await?,
            Some(left_out) => {
                self.mark(format!("refused: {what} ({left_out} refusals before it are not listed)")).await?;
            }
        }
        let (bastion, visitor) = (&self.carrying.bastion, &self.carrying.visitor);
        let (session, user, source) =
            (self.recorded.session.clone(), visitor.user.user().clone(), visitor.source.clone());
        let event = move |what| AuditEvent::ChannelRefused {
            session: Some(session.clone()),
            user: user.clone(),
            source: source.clone(),
            what,
        };
        let what = format!("the target asked the user's agent: {what}");
        if let Some(noted) = bastion.refusals.note(visitor.user.user(), Kind::Within, &what, event) {
            info!(session = %self.recorded.session, user = %visitor.user.user(), what = noted.text, "Refused");
        }
        Ok(())
    }

    /// Closes both sides and the record.
    async fn end(self, over: Over) -> Result<(), RecorderError> {
        let Self { user, target, recorded, .. } = self;
        let ended = async {
            match over {
                Over::Gone => {}
                Over::Broken(why) => drop(recorded.track.append(Entry::Marker(format!("ended: {why}"))).await?),
                Over::Audit => {
                    let text = "ended: the audit log cannot be written";
                    drop(recorded.track.append(Entry::Marker(text.into())).await?);
                }
                Over::Record(failure) => return Err(failure),
            }
            for (direction, bytes) in [(Direction::Stdin, user.bytes), (Direction::Stdout, target.bytes)] {
                let digest = Digest { direction, bytes, sha256: None, last: true };
                let _ = recorded.track.append(Entry::Digest(digest)).await?;
            }
            Ok(())
        }
        .await;
        let closing = async {
            let _ = user.sink.send(ChannelEvent::Close).await;
            let _ = target.sink.send(ChannelEvent::Close).await;
        };
        let _ = timeout(super::channel::CLOSE_TIMEOUT, closing).await;
        let finished = recorded.track.finish().await;
        ended.and(finished)
    }
}

fn of_user(_: Malformed) -> Over {
    Over::Broken("the user's agent sent what is no answer")
}
