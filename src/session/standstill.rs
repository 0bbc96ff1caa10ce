//! What makes a live session stand still, and what those who watch over it may do to it.
//!
//! A session that stands still passes nothing on, either way, on any channel, and starts nothing new; that it does is in
//! its recording. Whatever ends a session ends it then, too.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

use super::Visit;
use super::registry::{EndCause, Sessions};
use crate::grant::Lock;
use crate::model::{LockId, SessionId, UserName};
use crate::policy::{OnLeave, Oversight};
use crate::relay::{Notice, Paused};

/// Lines that may wait for one session; who reads none is sent no more.
const LINES_MAX: usize = 8;

/// What holds a session: it goes on once none of these is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holding {
    /// A lock.
    Lock,
    /// An operator.
    Operator,
    /// Somebody whom an `[[audit]]` rule lets oversee it; what an operator holds they do not let go.
    Overseer,
    /// That nobody watches it, where a rule wants four eyes.
    Alone,
}

/// What holds one session now.
#[derive(Debug)]
pub struct Brake {
    held: BTreeMap<Holding, Paused>,
    /// The lock among what holds it.
    lock: Option<LockId>,
    shown: watch::Sender<Option<Paused>>,
    lines: mpsc::Sender<String>,
    oversight: Oversight,
    /// The human whose session it is; one who is gone is nobody's other name.
    person: Option<UserName>,
    /// Who watches it, by the number of their watch: the user, and the human.
    watchers: BTreeMap<u64, (UserName, UserName)>,
    next_watch: u64,
}

impl Brake {
    /// Of a session that goes; with what tells it that it shall not, and what it is told by others.
    pub fn new() -> (Self, watch::Receiver<Option<Paused>>, mpsc::Receiver<String>) {
        let (shown, paused) = watch::channel(None);
        let (lines, said) = mpsc::channel(LINES_MAX);
        let (held, oversight, watchers) = (BTreeMap::new(), Oversight::default(), BTreeMap::new());
        (Self { held, lock: None, shown, lines, oversight, person: None, watchers, next_watch: 0 }, paused, said)
    }

    /// Goes by what rules want of those who watch.
    pub fn oversee(&mut self, oversight: Oversight, person: Option<UserName>) {
        (self.oversight, self.person) = (oversight, person);
        self.judge_watchers();
    }

    /// Goes by that, too.
    pub fn oversee_more(&mut self, oversight: Oversight, person: Option<UserName>) {
        self.oversee(self.oversight.strictest(oversight), person);
    }

    /// Whether it stands still for want of a watcher, and for nothing else.
    pub fn waits_for_watcher(&self) -> bool {
        self.held.keys().eq([&Holding::Alone])
    }

    /// Who watches it.
    pub fn watchers(&self) -> Vec<UserName> {
        self.watchers.values().map(|(user, _)| user.clone()).collect()
    }

    fn attended(&mut self, user: &UserName, person: UserName) -> u64 {
        let number = self.next_watch;
        self.next_watch = number.saturating_add(1);
        self.watchers.insert(number, (user.clone(), person));
        self.tell_watch(&format!("{user} watches this session"));
        self.judge_watchers();
        number
    }

    /// Tells whether the session must end: its rules want that when the last one leaves who counts.
    fn left(&mut self, number: u64, leaving: Leaving) -> bool {
        let was_watched = self.is_watched();
        if let Some((user, _)) = self.watchers.remove(&number) {
            self.tell_watch(&format!("{user} watches no longer"));
        }
        self.judge_watchers();
        let ends = match (self.oversight.four_eyes, leaving) {
            (Some(OnLeave::End), Leaving::Watcher) => true,
            (Some(OnLeave::End), Leaving::Channel) | (Some(OnLeave::Pause) | None, _) => false,
        };
        ends && was_watched && !self.is_watched()
    }

    /// One's own other name is no second pair of eyes.
    fn is_watched(&self) -> bool {
        self.watchers.values().any(|(_, person)| Some(person) != self.person.as_ref())
    }

    fn tell_watch(&self, line: &str) {
        if self.oversight.shown {
            let _ = self.lines.try_send(line.to_owned());
        }
    }

    fn judge_watchers(&mut self) {
        let alone = self.oversight.four_eyes.is_some() && !self.is_watched();
        self.set(
            Holding::Alone,
            alone.then(|| Paused {
                told: String::from("this session is paused: it goes on once somebody watches it"),
                noted: String::from("until somebody watches it"),
            }),
        );
    }

    /// Why it stands still, if it does.
    pub fn paused(&self) -> Option<Paused> {
        self.shown.borrow().clone()
    }

    /// The lock under which it stands still.
    pub fn lock(&self) -> Option<&LockId> {
        self.lock.as_ref()
    }

    /// Puts one cause on or off.
    pub fn set(&mut self, holding: Holding, paused: Option<Paused>) {
        match paused {
            Some(paused) => drop(self.held.insert(holding, paused)),
            None => drop(self.held.remove(&holding)),
        }
        let first = self.held.values().next().cloned();
        self.shown.send_if_modified(|shown| std::mem::replace(shown, first.clone()) != first);
    }

    /// Follows a lock that freezes, or that none does.
    pub fn follow(&mut self, lock: Option<&Lock>) {
        self.lock = lock.map(|lock| lock.id.clone());
        self.set(
            Holding::Lock,
            lock.map(|lock| Paused {
                told: String::from(
                    "this session is paused by the operators: nothing goes through until they let it go on",
                ),
                noted: format!("by lock {}", lock.id),
            }),
        );
    }
}

/// What became of a session that was to be frozen or let go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It is not live.
    NotLive,
    /// It stands still, for this reason.
    Paused(String),
    /// It goes on.
    Goes,
}

impl Sessions {
    /// Lets a session stand still until `unfreeze`.
    pub fn freeze(&self, id: &SessionId, hand: Holding, by: &str) -> Held {
        let paused = Paused {
            told: String::from(
                "this session is paused by those who watch over it: nothing goes through until they let it go on",
            ),
            noted: format!("by {by}"),
        };
        self.hold(id, hand, Some(paused))
    }

    /// Lets it go on, unless something else holds it.
    pub fn unfreeze(&self, id: &SessionId, hand: Holding) -> Held {
        self.hold(id, hand, None)
    }

    fn hold(&self, id: &SessionId, hand: Holding, paused: Option<Paused>) -> Held {
        let held = self.with_brake(id, |brake| {
            brake.set(hand, paused);
            brake.paused()
        });
        match held {
            None => Held::NotLive,
            Some(Some(paused)) => Held::Paused(paused.noted),
            Some(None) => Held::Goes,
        }
    }

    /// Says a line on a session's terminals; `None` if it is not live, `false` if lines wait there unread.
    pub fn say(&self, id: &SessionId, line: String) -> Option<bool> {
        self.with_brake(id, |brake| brake.lines.try_send(line).is_ok())
    }
}

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Whoever watches goes, or may watch no longer.
    Watcher,
    /// The channel that was watched is over: nobody has left what is there.
    Channel,
}

/// Somebody's presence at a session; over when dropped.
#[derive(Debug)]
pub struct Attendance {
    session: SessionId,
    number: u64,
    sessions: Sessions,
    leaving: Leaving,
}

impl Attendance {
    /// The channel that was watched is over.
    pub fn channel_is_over(&mut self) {
        self.leaving = Leaving::Channel;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let ends = self.sessions.with_brake(&self.session, |brake| brake.left(self.number, self.leaving));
        // It stands still since: nothing has gone through it meanwhile.
        if ends == Some(true) {
            self.sessions.end(&self.session, EndCause::Unwatched);
        }
    }
}

impl Sessions {
    /// Tells the user who watches, where a rule wants that.
    pub fn tell_watch(&self, session: &SessionId, line: &str) {
        self.with_brake(session, |brake| brake.tell_watch(line));
    }

    /// Counts somebody who watches a session; none if it is not live.
    pub fn attend(&self, session: &SessionId, user: &UserName, person: UserName) -> Option<Attendance> {
        let number = self.with_brake(session, |brake| brake.attended(user, person))?;
        Some(Attendance { session: session.clone(), number, sessions: self.clone(), leaving: Leaving::Watcher })
    }
}

impl Visit {
    /// Tells the user and the recording that the session stands still, or goes on.
    pub(super) fn paused(&mut self, paused: Option<Paused>) {
        let (told, noted) = match paused {
            Some(Paused { told, noted }) => (told, format!("paused {noted}: nothing goes through from here on")),
            None => (String::from("this session goes on"), String::from("the session goes on from here")),
        };
        self.mark(noted);
        self.tell_terminals(&told);
    }

    /// Says what somebody who watches over the session wants said.
    pub(super) fn said(&mut self, line: &str) {
        self.mark(format!("the user is told: {line}"));
        self.tell_terminals(line);
    }

    /// A line on every terminal; each records what it shows.
    pub(super) fn tell_terminals(&self, line: &str) {
        for notices in &self.notices {
            // A terminal that already has lines waiting is not being read.
            let _ = notices.try_send(Notice::Line(line.to_owned()));
        }
    }
}

/// Characters of a message.
const MESSAGE_CHARS_MAX: usize = 400;

/// The line by which somebody speaks to a session's user; none for what is no line.
pub fn message(from: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= MESSAGE_CHARS_MAX && !text.chars().any(char::is_control);
    fits.then(|| format!("message from {from}: {}", crate::screen::line(text)))
}

#[cfg(test)]
mod tests {
    use super::super::registry::tests::{facts, login};
    use super::*;
    use crate::model::ChannelClass;

    #[test]
    fn a_session_that_two_hold_goes_on_once_both_let_go() {
        let sessions = Sessions::new();
        let registration = sessions.register(facts(1), ChannelClass::Shell, &login());
        let (id, pause) = (facts(1).id, registration.pause());
        let lock = Paused { told: String::from("told"), noted: String::from("by lock k-1") };
        sessions.with_brake(&id, |brake| brake.set(Holding::Lock, Some(lock.clone()))).unwrap();
        assert!(pause.is_on());
        assert_eq!(sessions.freeze(&id, Holding::Overseer, "bob"), Held::Paused(String::from("by lock k-1")));
        sessions.with_brake(&id, |brake| brake.set(Holding::Lock, None)).unwrap();
        assert!(pause.is_on());
        assert_eq!(sessions.list()[0].paused.as_deref(), Some("by bob"));
        assert_eq!(sessions.unfreeze(&id, Holding::Overseer), Held::Goes);
        assert!(!pause.is_on());
        drop(registration);
        assert_eq!(
            (sessions.freeze(&id, Holding::Overseer, "bob"), sessions.say(&id, String::new())),
            (Held::NotLive, None)
        );
    }

    #[test]
    fn a_session_for_four_eyes_goes_only_while_another_human_watches() {
        let sessions = Sessions::new();
        let registration = sessions.register(facts(1), ChannelClass::Shell, &login());
        let (id, pause) = (facts(1).id, registration.pause());
        let name = |name: &str| UserName::parse(name).unwrap();
        let four_eyes = Oversight { four_eyes: Some(OnLeave::Pause), shown: false };
        sessions.with_brake(&id, |brake| brake.oversee(four_eyes, Some(name("alice")))).unwrap();
        assert!(pause.is_on() && sessions.with_brake(&id, |brake| brake.waits_for_watcher()).unwrap());
        let own = sessions.attend(&id, &name("alice2"), name("alice")).unwrap();
        assert!(pause.is_on(), "one's own other name");
        let bob = sessions.attend(&id, &name("bob"), name("bob")).unwrap();
        let carol = sessions.attend(&id, &name("carol"), name("carol")).unwrap();
        assert!(!pause.is_on());
        assert_eq!(sessions.list()[0].watchers, [name("alice2"), name("bob"), name("carol")]);
        drop(bob);
        assert!(!pause.is_on());
        drop(carol);
        assert!(pause.is_on(), "the last one has left");
        sessions.freeze(&id, Holding::Overseer, "carol");
        assert!(!sessions.with_brake(&id, |brake| brake.waits_for_watcher()).unwrap());
        drop((own, registration));
        assert!(sessions.attend(&id, &name("bob"), name("bob")).is_none());
    }

    #[test]
    fn a_session_that_must_end_without_a_watcher_does_when_the_last_one_leaves_and_not_before() {
        let sessions = Sessions::new();
        let name = |name: &str| UserName::parse(name).unwrap();
        let ends = Oversight { four_eyes: Some(OnLeave::End), shown: false };
        let begin = |number| {
            let registration = sessions.register(facts(number), ChannelClass::Shell, &login());
            sessions.with_brake(&facts(number).id, |brake| brake.oversee(ends, Some(name("alice")))).unwrap();
            registration
        };
        let (left, over) = (begin(1), begin(2));
        let ended = |registration: &super::super::Registration| registration.end.borrow().clone();
        let attend = |number, user, person| sessions.attend(&facts(number).id, &name(user), name(person)).unwrap();
        // Nobody has watched yet: it waits, and no other name of one's own changes that.
        drop(attend(1, "alice2", "alice"));
        assert!(left.pause().is_on() && ended(&left).is_none());
        let (bob, carol) = (attend(1, "bob", "bob"), attend(1, "carol", "carol"));
        drop(bob);
        assert!(!left.pause().is_on() && ended(&left).is_none());
        drop(carol);
        assert_eq!(ended(&left), Some(EndCause::Unwatched));
        // What was watched is over by itself: nobody has left.
        let mut bob = attend(2, "bob", "bob");
        bob.channel_is_over();
        drop(bob);
        assert!(over.pause().is_on() && ended(&over).is_none());
    }

    #[test]
    fn who_watches_is_told_where_a_rule_says_so() {
        let sessions = Sessions::new();
        let mut registration = sessions.register(facts(1), ChannelClass::Shell, &login());
        let (id, bob) = (facts(1).id, UserName::parse("bob").unwrap());
        drop(sessions.attend(&id, &bob, bob.clone()));
        assert!(registration.lines.try_recv().is_err());
        let shown = Oversight { four_eyes: None, shown: true };
        sessions.with_brake(&id, |brake| brake.oversee(shown, None)).unwrap();
        drop(sessions.attend(&id, &bob, bob.clone()));
        let told = [registration.lines.try_recv().unwrap(), registration.lines.try_recv().unwrap()];
        assert_eq!(told, ["bob watches this session", "bob watches no longer"]);
    }

    #[test]
    fn who_reads_no_messages_is_sent_no_more() {
        let sessions = Sessions::new();
        let _registration = sessions.register(facts(1), ChannelClass::Shell, &login());
        let said = (0..20).filter(|_| sessions.say(&facts(1).id, String::from("a line")) == Some(true)).count();
        assert_eq!(said, LINES_MAX);
    }

    #[test]
    fn a_message_is_one_line_that_steers_no_terminal() {
        for none in ["", "  ", "two\nlines", "\u{1b}[2J", &"x".repeat(401)] {
            assert_eq!(message("bob", none), None, "{none:?}");
        }
        assert_eq!(message("bob", " the disk is full ").unwrap(), "message from bob: the disk is full");
    }
}
