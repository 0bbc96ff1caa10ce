//! The live sessions: who is where, and the switches that end them.

#[cfg(test)]
mod locked;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::standstill::Brake;
use crate::authn::Authenticated;
use crate::grant::{Asker, Denial, GrantState, Lock, LockEffect, Permit};
use crate::ledger::Ledger;
use crate::model::{Asked, ChannelClass, Destination, GrantId, LockId, RuleId, SessionId, Timestamp, UserName};
use crate::policy::{Bound, BoundBy, Oversight, Unmet};
use crate::rdp::rules::DesktopRules;
use crate::relay::{Pause, Paused};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// The grant's time is over.
    Time,
    /// The hours of the rule are over.
    Hours,
    /// It has lasted as long as it may.
    Length,
    /// Nothing went through it for too long.
    Idle,
    /// The grant was taken back.
    Revoked,
    /// The bastion user was suspended or removed.
    Suspended,
    /// What the login rested on was taken away: its key, certificate, authority, password or network.
    LoginOver,
    /// The policy that was loaded since does not allow it.
    PolicyChanged,
    /// The operators locked it.
    Locked,
    /// The last one who watched it has left, and a rule ends it then.
    Unwatched,
    /// An operator ended it.
    Killed {
        /// Who.
        by: String,
    },
    /// The bastion stops.
    Shutdown,
    /// It could not be recorded any more.
    RecorderFailed,
    /// A fault of ours.
    Fault,
    /// The bastion user left.
    UserLeft,
    /// The target closed the connection.
    TargetLeft,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => f.write_str("the grant ended"),
            Self::Hours => f.write_str("the hours of the rule ended"),
            Self::Length => f.write_str("it lasted as long as it may"),
            Self::Idle => f.write_str("nothing was typed or shown for too long"),
            Self::Revoked => f.write_str("the grant was revoked"),
            Self::Suspended => f.write_str("the user was suspended, or their end date is over"),
            Self::LoginOver => f.write_str("the login was withdrawn"),
            Self::PolicyChanged => f.write_str("the policy changed"),
            Self::Locked => f.write_str("a lock was set"),
            Self::Unwatched => f.write_str("the last watcher left"),
            Self::Killed { by } => write!(f, "killed by {by}"),
            Self::Shutdown => f.write_str("the bastion stopped"),
            Self::RecorderFailed => f.write_str("the recording failed"),
            Self::Fault => f.write_str("a fault of the bastion"),
            Self::UserLeft => f.write_str("the user left"),
            Self::TargetLeft => f.write_str("the target closed the connection"),
        }
    }
}

impl EndCause {
    /// The last line that the bastion user reads.
    pub fn public_text(&self, now: Timestamp) -> String {
        let at = now.clock_time();
        match self {
            Self::Time => format!("the grant ended at {at}. Session closed."),
            Self::Hours => format!("your right ended for now at {at}, with the hours that it is for. Session closed."),
            Self::Length => format!("the session has lasted as long as it may, at {at}. Session closed."),
            Self::Idle => format!("nothing was typed or shown for too long, at {at}. Session closed."),
            Self::Revoked => format!("the grant was revoked at {at}. Session closed."),
            Self::Suspended => format!("access was suspended at {at}. Session closed."),
            Self::LoginOver => format!("the login was withdrawn at {at}. Session closed."),
            Self::PolicyChanged => format!("the policy changed at {at} and no longer allows this. Session closed."),
            Self::Locked => format!("the operators locked this at {at}. Session closed."),
            Self::Unwatched => format!("nobody watches this session any more, since {at}. Session closed."),
            Self::Killed { .. } => format!("an operator ended this session at {at}."),
            Self::Shutdown => "the bastion is stopping. Session closed; connect again in a moment.".into(),
            Self::RecorderFailed => crate::relay::RECORDING_FAILED.into(),
            Self::Fault => "the bastion has a fault. Session closed; tell the operator.".into(),
            Self::UserLeft => "session closed.".into(),
            Self::TargetLeft => "the target closed the connection.".into(),
        }
    }
}

/// What is known of a live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The grant that it rests on.
    pub grant: Option<GrantId>,
    /// When it must end.
    pub until: Option<Timestamp>,
    /// The grant's reason.
    pub reason: Option<String>,
    /// What proved who they are: the fingerprint of a key, and of a certificate which.
    pub key: String,
    /// Where the user connects from.
    pub source: String,
    /// When it started.
    pub started: Timestamp,
    /// Channels that are open now.
    pub channels: u32,
    /// Why it stands still, if it does.
    pub paused: Option<String>,
    /// Who watches it.
    pub watchers: Vec<UserName>,
}

/// All live sessions of this process.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<List>,
    /// Told each time that a session or a guest leaves.
    left: Notify,
    /// Tells guests that the bastion stops.
    stopping: CancellationToken,
}

#[derive(Debug, Default)]
struct List {
    live: BTreeMap<SessionId, Entry>,
    /// Who has no session and must be told when the bastion stops.
    guests: usize,
    /// The bastion stops: whatever still begins ends at once.
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    facts: LiveSession,
    /// What it began with, and how many channels of each kind are open: by these it is judged again.
    first: Asked,
    open: BTreeMap<Asked, u32>,
    /// Of these, how many are such that what is typed in them is held by nothing.
    unheld: BTreeMap<Asked, u32>,
    end: watch::Sender<Option<EndCause>>,
    until: watch::Sender<Option<Timestamp>>,
    /// What it ends by then.
    bound_by: BoundBy,
    /// How long nothing may happen in it.
    idle: watch::Sender<Option<Duration>>,
    /// The rules by which something was opened in it: it counts as one of each one's sessions.
    rules: BTreeSet<RuleId>,
    /// By what its length is measured: its start, as the wall clock would have shown it by how it is set now.
    since: Timestamp,
    /// It must stand for as long as the session does.
    login: Authenticated,
    /// What passes beside the picture, if it is a desktop: it was told so once, when it began.
    desktop: Option<DesktopRules>,
    brake: Brake,
}

/// A session's place in the list; leaving the list when dropped.
#[derive(Debug)]
pub struct Registration {
    id: SessionId,
    sessions: Sessions,
    /// Why it must end, once it must.
    pub end: watch::Receiver<Option<EndCause>>,
    /// When it must end.
    pub until: watch::Receiver<Option<Timestamp>>,
    /// Why it stands still, while it does.
    pub paused: watch::Receiver<Option<Paused>>,
    /// What others want said on its terminals.
    pub lines: mpsc::Receiver<String>,
    /// How long nothing may happen in it.
    pub idle: watch::Receiver<Option<Duration>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.lock().live.remove(&self.id);
        self.sessions.0.left.notify_waiters();
    }
}

/// Somebody at a menu: no session, and yet their terminal must be given back before the bastion stops.
#[derive(Debug)]
pub struct Guest(Sessions);

impl Guest {
    /// Ready once the bastion stops, which waits for guests to leave.
    pub async fn stopping(&self) {
        self.0.0.stopping.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut list = self.0.lock();
        list.guests = list.guests.saturating_sub(1);
        drop(list);
        self.0.0.left.notify_waiters();
    }
}

/// Ends one session.
#[derive(Debug)]
pub struct Ender {
    id: SessionId,
    sessions: Sessions,
}

impl Ender {
    /// Ends it, unless it is ending already.
    pub fn end(&self, cause: EndCause) {
        self.sessions.end(&self.id, cause);
    }

    /// Ends it because its time is over, by whatever that was limited.
    pub fn end_in_time(&self) {
        let bound_by = self.sessions.lock().live.get(&self.id).map_or(BoundBy::Grant, |entry| entry.bound_by);
        self.end(cause_of_bound(bound_by));
    }
}

impl Registration {
    /// What its channels ask before they pass something on.
    pub fn pause(&self) -> Pause {
        Pause::new(self.paused.clone())
    }

    /// Goes by what a channel that is about to be opened wants of those who watch; tells whether it waits for one.
    pub fn watch_over(&self, oversight: Oversight, person: Option<UserName>) -> bool {
        let waits = self.sessions.with_brake(&self.id, |brake| {
            brake.oversee_more(oversight, person);
            brake.waits_for_watcher()
        });
        waits.unwrap_or(false)
    }

    /// What ends this session.
    pub fn ender(&self) -> Ender {
        Ender { id: self.id.clone(), sessions: self.sessions.clone() }
    }

    /// Puts one more channel on the list; a forward, or a port that somebody listens on, with where it leads.
    pub fn channel(&self, asked: impl Into<Asked>) -> OpenChannel {
        let asked = asked.into();
        self.sessions.count(&self.id, &asked, 1);
        OpenChannel { id: self.id.clone(), sessions: self.sessions.clone(), asked, unheld: false }
    }

    /// Counts the session as one by this rule, if its user has fewer than so many others by it; tells whether it counts.
    pub fn counts_by(&self, rule: &RuleId, most: Option<u32>) -> bool {
        let mut list = self.sessions.lock();
        let Some(user) = list.live.get(&self.id).map(|entry| entry.facts.user.clone()) else { return false };
        let same = |(id, entry): &(&SessionId, &Entry)| {
            **id != self.id && entry.facts.user == user && entry.rules.contains(rule)
        };
        let others = list.live.iter().filter(same).count();
        let room = most.is_none_or(|most| usize::try_from(most).is_ok_and(|most| others < most));
        let own = list.live.get_mut(&self.id).filter(|_| room);
        own.map(|entry| entry.rules.insert(rule.clone())).is_some()
    }

    /// Says what passes beside the picture of a desktop: the session ends once its rule lets less through.
    pub fn carries(&self, desktop: DesktopRules) {
        if let Some(entry) = self.sessions.lock().live.get_mut(&self.id) {
            entry.desktop = Some(desktop);
        }
    }

    /// What its time is limited by.
    pub fn bound_by(&self) -> Option<BoundBy> {
        let list = self.sessions.lock();
        list.live.get(&self.id).filter(|entry| entry.facts.until.is_some()).map(|entry| entry.bound_by)
    }

    /// Judges the session by all that is open on it: one channel more may rest on a grant that ends earlier.
    pub fn judge(&self, ledger: &Ledger, now: Timestamp) {
        self.sessions.judge(&self.id, ledger, now);
    }
}

/// A channel's place in the list; leaving it when dropped.
#[derive(Debug)]
pub struct OpenChannel {
    id: SessionId,
    sessions: Sessions,
    asked: Asked,
    unheld: bool,
}

impl OpenChannel {
    /// The same of one in which anything may be typed, for nothing holds it: once rules want that held, it ends.
    #[must_use]
    pub fn unheld(mut self) -> Self {
        if !std::mem::replace(&mut self.unheld, true) {
            self.sessions.count_unheld(&self.id, &self.asked, 1);
        }
        self
    }

    /// What it is for.
    pub fn class(&self) -> ChannelClass {
        self.asked.class
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.sessions.count(&self.id, &self.asked, -1);
        if self.unheld {
            self.sessions.count_unheld(&self.id, &self.asked, -1);
        }
    }
}

impl Sessions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a session on the list, so that it can be ended from now on; after `shut_down` it is ending already.
    pub fn register(&self, facts: LiveSession, first: impl Into<Asked>, login: &Authenticated) -> Registration {
        let mut list = self.lock();
        let (end, end_receiver) = watch::channel(list.closed.then_some(EndCause::Shutdown));
        let (until, until_receiver) = watch::channel(facts.until);
        let id = facts.id.clone();
        let (brake, paused, lines) = Brake::new();
        let (idle, idle_receiver) = watch::channel(None);
        let (open, rules) = (BTreeMap::new(), BTreeSet::new());
        let (bound_by, first, login, since) = (BoundBy::Grant, first.into(), login.clone(), facts.started);
        let (unheld, desktop) = (BTreeMap::new(), None);
        let entry =
            Entry { facts, first, open, unheld, end, until, bound_by, idle, rules, since, login, desktop, brake };
        list.live.insert(id.clone(), entry);
        drop(list);
        let sessions = self.clone();
        Registration { id, sessions, end: end_receiver, until: until_receiver, idle: idle_receiver, paused, lines }
    }

    /// Counts somebody who has no session.
    pub fn guest(&self) -> Guest {
        let mut list = self.lock();
        list.guests = list.guests.saturating_add(1);
        drop(list);
        Guest(self.clone())
    }

    fn count(&self, id: &SessionId, asked: &Asked, change: i32) {
        if let Some(entry) = self.lock().live.get_mut(id) {
            let count = entry.open.entry(asked.clone()).or_insert(0);
            *count = count.saturating_add_signed(change);
            entry.open.retain(|_, count| *count > 0);
            entry.facts.channels = entry.open.values().sum();
        }
    }

    fn count_unheld(&self, id: &SessionId, asked: &Asked, change: i32) {
        if let Some(entry) = self.lock().live.get_mut(id) {
            let count = entry.unheld.entry(asked.clone()).or_insert(0);
            *count = count.saturating_add_signed(change);
            entry.unheld.retain(|_, count| *count > 0);
        }
    }

    /// The live sessions, oldest first.
    pub fn list(&self) -> Vec<LiveSession> {
        let paused = |entry: &Entry| entry.brake.paused().map(|paused| paused.noted);
        let facts = |entry: &Entry| LiveSession {
            paused: paused(entry),
            watchers: entry.brake.watchers(),
            ..entry.facts.clone()
        };
        self.lock().live.values().map(facts).collect()
    }

    /// The lock under which a session stands still.
    pub fn lock_of(&self, id: &SessionId) -> Option<LockId> {
        self.lock().live.get(id).and_then(|entry| entry.brake.lock().cloned())
    }

    /// What holds a session, or may; none if it is not live.
    pub(super) fn with_brake<T>(&self, id: &SessionId, act: impl FnOnce(&mut Brake) -> T) -> Option<T> {
        self.lock().live.get_mut(id).map(|entry| act(&mut entry.brake))
    }

    /// Judges one session by all that is open on it.
    pub fn judge(&self, id: &SessionId, ledger: &Ledger, now: Timestamp) {
        if let Some(entry) = self.lock().live.get_mut(id) {
            rejudge(entry, ledger, now);
        }
    }

    /// Whether somebody or something has ended it, or it is over.
    pub fn is_ending(&self, id: &SessionId) -> bool {
        self.lock().live.get(id).is_none_or(|entry| entry.end.borrow().is_some())
    }

    /// Ends a session; `false` if it is not live.
    pub fn end(&self, id: &SessionId, cause: EndCause) -> bool {
        self.lock().live.get(id).map(|entry| end_once(entry, cause)).is_some()
    }

    /// Ends every session, those too that begin from now on; says how many there were.
    ///
    /// A connection that has logged in may be on its way to a session when the server stops.
    pub fn shut_down(&self) -> usize {
        let mut list = self.lock();
        list.closed = true;
        self.0.stopping.cancel();
        list.live.values().for_each(|entry| end_once(entry, EndCause::Shutdown));
        list.live.len()
    }

    /// Returns when no session is live and no guest is left.
    pub async fn all_ended(&self) {
        loop {
            // Listening before looking: a session that leaves in between is heard.
            let left = self.0.left.notified();
            if self.is_empty() {
                return;
            }
            left.await;
        }
    }

    fn is_empty(&self) -> bool {
        let list = self.lock();
        list.live.is_empty() && list.guests == 0
    }

    /// Goes by a wall clock that was set back by so much: no session may last longer for it. `rejudge` comes next.
    pub fn set_back(&self, step: Duration) {
        self.lock().live.values_mut().for_each(|entry| entry.since = entry.since.minus(step));
    }

    /// Judges every session again, and ends those that no longer have their right; says how many.
    pub fn rejudge(&self, ledger: &Ledger, now: Timestamp) -> usize {
        let mut ended = 0_usize;
        for entry in self.lock().live.values_mut() {
            ended = ended.saturating_add(usize::from(!rejudge(entry, ledger, now)));
        }
        ended
    }
}

/// Judges a session again, and ends it if it no longer has its right; tells whether it has.
fn rejudge(entry: &mut Entry, ledger: &Ledger, now: Timestamp) -> bool {
    match judge(entry, ledger, now) {
        Ok(Judged { bound, idle, oversight, lock }) => {
            entry.brake.oversee(oversight, ledger.user(&entry.facts.user).map(|user| user.human().clone()));
            entry.brake.follow(lock.as_ref());
            let until = bound.map(|bound| bound.at);
            entry.facts.until = until;
            entry.bound_by = bound.map_or(BoundBy::Grant, |bound| bound.by);
            entry.idle.send_if_modified(|old| std::mem::replace(old, idle) != idle);
            // The same end again must not start its time anew: the wall clock may have been set back.
            entry.until.send_if_modified(|old| std::mem::replace(old, until) != until);
            true
        }
        Err(cause) => {
            end_once(entry, cause);
            false
        }
    }
}

/// The first cause stands.
fn end_once(entry: &Entry, cause: EndCause) {
    entry.end.send_if_modified(|end| {
        let first = end.is_none();
        if first {
            *end = Some(cause);
        }
        first
    });
}

/// How long a session keeps its right.
struct Judged {
    bound: Option<Bound>,
    /// How long nothing may happen in it: the least that a rule allows by which something is open.
    idle: Option<Duration>,
    /// Who must watch it.
    oversight: Oversight,
    /// The lock under which it stands still.
    lock: Option<Lock>,
}

/// Whether a session keeps its right, until when, and who must watch it.
fn judge(entry: &Entry, ledger: &Ledger, now: Timestamp) -> Result<Judged, EndCause> {
    // A user who is gone has no key either: that is the truer cause.
    if ledger.user(&entry.facts.user).is_none() {
        return Err(EndCause::Suspended);
    }
    // A key that was taken away proves nothing any more; nor does a certificate that was revoked.
    entry.login.stands(ledger).map_err(|_| EndCause::LoginOver)?;
    let lock_on =
        |grant: Option<&GrantId>| freezing(ledger.lock_on(&entry.facts.user, &entry.facts.destination, grant, now));
    let mut lock = lock_on(entry.facts.grant.as_ref())?;
    let (mut bound, mut idle, mut oversight) = (None, None, Oversight::default());
    let asker = Asker { since: Some(entry.since), ..entry.login.asker() };
    let open = if entry.open.is_empty() { vec![&entry.first] } else { entry.open.keys().collect() };
    for asked in open {
        let permit: Permit = ledger
            .permit_but_for_locks(asker, &entry.facts.destination, asked, now)
            .map_err(|denial| cause_of(&denial))?;
        // Opened where nothing holds what is typed, it is not what its rules promise now.
        let commands =
            entry.unheld.contains_key(asked).then(|| ledger.commands(asker, &entry.facts.destination, asked, now));
        if commands.is_some_and(|commands| commands.is_ok_and(|commands| commands.holds_shells()))
            || entry.desktop.as_ref().is_some_and(|carried| !carried.is_within(permit.desktop()))
        {
            return Err(EndCause::PolicyChanged);
        }
        // Each channel may rest on a grant of its own, or on none: a lock on one of these is on the session, and one that spares
        // broken glasses spares no session in which anything rests on something else.
        lock = lock.or(lock_on(permit.grant().map(|grant| &grant.id))?);
        bound = bound.into_iter().chain(permit.bound()).min();
        idle = idle.into_iter().chain(permit.limits().idle).min();
        oversight = oversight.strictest(permit.oversight());
    }
    // A session rests on the grant that it began with: another grant does not carry it on.
    let Some(id) = &entry.facts.grant else { return Ok(Judged { bound, idle, oversight, lock }) };
    let grant = ledger.grant(id).ok_or(EndCause::Revoked)?;
    match grant.state(now) {
        GrantState::Active => {
            let granted = Bound { at: grant.until, by: BoundBy::Grant };
            Ok(Judged { bound: bound.into_iter().chain([granted]).min(), idle, oversight, lock })
        }
        GrantState::Ended => Err(EndCause::Time),
        GrantState::Scheduled | GrantState::Revoked => Err(EndCause::Revoked),
    }
}

/// The lock under which a session stands still.
///
/// # Errors
/// `Locked` if it must end.
fn freezing(lock: Option<Lock>) -> Result<Option<Lock>, EndCause> {
    match lock {
        Some(lock) if lock.effect == LockEffect::End => Err(EndCause::Locked),
        frozen => Ok(frozen),
    }
}

fn cause_of_bound(by: BoundBy) -> EndCause {
    match by {
        BoundBy::Grant => EndCause::Time,
        BoundBy::Hours => EndCause::Hours,
        BoundBy::Length => EndCause::Length,
        BoundBy::User => EndCause::Suspended,
    }
}

fn cause_of(denial: &Denial) -> EndCause {
    match denial {
        Denial::NoRule(_)
        | Denial::OtherKey { .. }
        | Denial::ByOperator { .. }
        | Denial::NeedsGrant { .. }
        | Denial::NeedsKey { .. }
        | Denial::NeedsMfa { .. }
        | Denial::NeedsConsent { .. }
        | Denial::Unmet { unmet: Unmet::Source | Unmet::Mfa | Unmet::Consent | Unmet::Clock, .. }
        | Denial::NoTerminal { .. }
        | Denial::TooManySessions { .. }
        | Denial::UnknownTarget
        | Denial::Undecided { .. } => EndCause::PolicyChanged,
        Denial::Unmet { unmet: Unmet::Hours, .. } => EndCause::Hours,
        Denial::Unmet { unmet: Unmet::Length, .. } => EndCause::Length,
        Denial::GrantEnded { .. } | Denial::GrantSpent { .. } => EndCause::Time,
        Denial::GrantRevoked { .. } | Denial::NotYet { .. } => EndCause::Revoked,
        Denial::Locked { .. } => EndCause::Locked,
        Denial::Suspended | Denial::UnknownUser => EndCause::Suspended,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_session_that_begins_after_the_bastion_was_stopped_ends_at_once() {
        let sessions = Sessions::new();
        let before = sessions.register(facts(1), ChannelClass::Shell, &login());
        assert_eq!(before.end.borrow().clone(), None);
        assert_eq!(sessions.shut_down(), 1);
        assert_eq!(before.end.borrow().clone(), Some(EndCause::Shutdown));
        let after = sessions.register(facts(2), ChannelClass::Shell, &login());
        assert_eq!(after.end.borrow().clone(), Some(EndCause::Shutdown));
        // The server waits for it as for the others.
        assert_eq!(sessions.list().len(), 2);
    }

    #[tokio::test]
    async fn a_bastion_that_stops_tells_its_guests_and_waits_for_them() {
        use std::time::Duration;

        use tokio::time::timeout;
        let sessions = Sessions::new();
        let guest = sessions.guest();
        assert!(timeout(Duration::from_millis(20), guest.stopping()).await.is_err());
        sessions.shut_down();
        timeout(Duration::from_secs(10), guest.stopping()).await.unwrap();
        assert!(timeout(Duration::from_millis(20), sessions.all_ended()).await.is_err());
        let waiting = tokio::spawn(async move { sessions.all_ended().await });
        tokio::task::yield_now().await;
        drop(guest);
        timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }

    #[test]
    fn a_session_counts_by_each_rule_by_which_something_is_open_in_it() {
        let sessions = Sessions::new();
        let start = |facts: LiveSession| sessions.register(facts, ChannelClass::Shell, &login());
        let rule = |name: &str| RuleId::parse(name).unwrap();
        let (first, second) = (start(facts(2)), start(facts(1)));
        assert!(first.counts_by(&rule("dba"), Some(1)));
        assert!(first.counts_by(&rule("dba"), Some(1)), "it counts once");
        assert!(!second.counts_by(&rule("dba"), Some(1)));
        assert!(second.counts_by(&rule("other"), Some(1)) && second.counts_by(&rule("dba"), Some(2)));
        assert!(!first.counts_by(&rule("other"), Some(1)));
        let bobs = start(LiveSession { user: UserName::parse("bob").unwrap(), ..facts(3) });
        assert!(bobs.counts_by(&rule("dba"), Some(1)), "each user for themselves");
        drop(second);
        assert!(first.counts_by(&rule("other"), Some(1)));
        assert!(first.counts_by(&rule("free"), None) && !first.counts_by(&rule("none"), Some(0)));
    }

    pub fn login() -> Authenticated {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        Authenticated::by_key(&UserName::parse("alice").unwrap(), &crate::ledger::public_key(key).unwrap())
    }

    pub fn facts(number: i64) -> LiveSession {
        LiveSession {
            id: SessionId::from_parts(Timestamp::from_millis(number), 1),
            user: UserName::parse("alice").unwrap(),
            destination: Destination::parse("root@db1").unwrap(),
            rule: RuleId::parse("dba").unwrap(),
            grant: None,
            until: None,
            reason: None,
            key: "SHA256:abc".into(),
            source: "192.0.2.7:4022".into(),
            started: Timestamp::from_millis(number),
            channels: 0,
            paused: None,
            watchers: Vec::new(),
        }
    }
}
