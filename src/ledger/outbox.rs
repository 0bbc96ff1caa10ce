//! What people must be told of requests, until it has reached them: kept on disk, so that a crash loses none.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, State};
use crate::db::Rev;
use crate::gate::verdict::AlertLevel;
use crate::model::{Destination, RequestId, RuleId, SessionId, Timestamp, UserName};

/// So many messages are kept; of more, those that need no more tries are dropped first, and alerts last.
const MESSAGES_MAX: usize = 5000;

/// Something that people must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Its id; later ones sort behind.
    pub id: String,
    /// When it was written.
    pub at: Timestamp,
    /// What has happened, such as `request.create`.
    pub event: String,
    /// The request it is about; of a command the decision.
    pub request: RequestId,
    /// Who should know.
    pub to: BTreeSet<UserName>,
    /// In one line.
    pub subject: String,
    /// In several.
    pub text: String,
    /// Whether it is an alert: then it is on record when it was delivered, or was not.
    pub alert: bool,
    /// What it tells of a command, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Box<CommandFacts>>,
    /// How far it has come, by each way.
    pub ways: BTreeMap<String, Delivery>,
}

/// A command that was judged, for those who read alerts by program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandFacts {
    /// How much it matters.
    pub level: AlertLevel,
    /// The session, and how many seconds it had lasted.
    pub session: SessionId,
    /// See `session`.
    pub second: u64,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// The line as it was typed, cut, without what the vault keeps.
    pub line: String,
    /// `observe`, `guard` or `strict`.
    pub mode: String,
    /// What the rules say: `allow`, `approve` or `deny`.
    pub verdict: String,
    /// Whether it did not start.
    pub prevented: bool,
    /// The rule that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The hash of the policy set.
    pub policy: String,
    /// How many like it, of the same user and rule, were refused before it of which nobody was told one by one.
    #[serde(default)]
    pub others: u64,
}

/// How far a message has come by one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Delivery {
    /// It waits for its next try.
    Waiting {
        /// How often it was tried.
        tries: u32,
        /// Not before this time.
        next: Timestamp,
    },
    /// Whoever takes it has taken it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// It was tried for a day.
    GivenUp {
        /// When.
        at: Timestamp,
        /// What the last try said.
        why: String,
    },
}

impl Delivery {
    /// Whether nothing more is done about it.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Waiting { .. } => false,
            Self::Delivered { .. } | Self::GivenUp { .. } => true,
        }
    }
}

impl Ledger {
    /// All messages that are kept, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.values().map(|(_, message)| message.clone()).collect()
    }

    /// Keeps a message that no step brings along.
    ///
    /// # Errors
    /// There is no room, or the database fails: nobody is told.
    pub fn add_message(&self, message: &Message) -> Result<(), LedgerError> {
        let tables = self.tables();
        self.db.check_room()?;
        let rev = tables.messages.put(&message.id, None, message)?;
        self.change(|state| state.set_message(rev, message.clone()));
        self.added.notify_waiters();
        Ok(())
    }

    /// Ready once a message was added from now on. One that a step brings along is found by looking.
    pub async fn message_added(&self) {
        self.added.notified().await;
    }

    /// The first that is due by this way: alerts before others, then the oldest.
    pub fn due_message(&self, way: &str, now: Timestamp) -> Option<Message> {
        let due = |message: &&Message| match message.ways.get(way) {
            Some(Delivery::Waiting { next, .. }) => *next <= now,
            Some(Delivery::Delivered { .. } | Delivery::GivenUp { .. }) | None => false,
        };
        let state = self.state();
        let all = state.messages.values().map(|(_, message)| message);
        all.filter(due).min_by_key(|message| (!message.alert, &message.id)).cloned()
    }

    /// Notes how far a message has come by one way; others may note theirs meanwhile.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_delivery(&self, id: &str, way: &str, delivery: Delivery) -> Result<(), LedgerError> {
        let tables = self.tables();
        let known = self.state().messages.get(id).cloned();
        let Some((rev, mut message)) = known else { return Ok(()) };
        message.ways.insert(way.to_owned(), delivery);
        self.db.check_room()?;
        let rev = tables.messages.put(id, Some(rev), &message)?;
        self.change(|state| state.set_message(rev, message));
        Ok(())
    }

    /// Forgets messages that were written before this time and need no more tries, and the oldest of too many.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_messages(&self, before: Timestamp) -> Result<usize, LedgerError> {
        let tables = self.tables();
        let old: Vec<(String, Rev)> = {
            let state = self.state();
            let over = |message: &Message| message.ways.values().all(Delivery::is_over);
            let many = state.messages.len().saturating_sub(MESSAGES_MAX);
            // Of too many those go first that need no more tries, and alerts last.
            let mut all: Vec<(&String, &Rev, &Message)> =
                state.messages.iter().map(|(id, (rev, message))| (id, rev, message)).collect();
            all.sort_by_key(|(id, _, message)| (!over(message), message.alert, id.as_str().to_owned()));
            let late = |message: &Message| over(message) && message.at < before;
            let old = all.iter().enumerate().filter(|(at, (.., message))| *at < many || late(message));
            old.map(|(_, (id, rev, _))| ((*id).clone(), **rev)).collect::<Vec<_>>()
        };
        for (id, rev) in &old {
            tables.messages.delete(id, *rev)?;
            self.change(|state| drop(state.messages.remove(id)));
        }
        Ok(old.len())
    }
}

impl State {
    pub(super) fn set_message(&mut self, rev: Rev, message: Message) {
        self.messages.insert(message.id.clone(), (rev, message));
    }
}
