//! Rules that forbid: `effect = "deny"`. They beat every rule that allows, whatever files they stand in.
//!
//! They have no conditions: what is forbidden only at times could not end what began before.

use std::collections::BTreeSet;

use super::parse::{CHANNELS, of_line, read_accounts, read_place, read_who};
use super::{Accounts, Place, PolicySet, Question, Who};
use crate::document::{Faults, Node, Table, words};
use crate::gate::shell::is_unseen;
use crate::model::{ChannelClass, RuleId};

/// One `[[rule]]` with `effect = "deny"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyRule {
    /// Its id, unique over all files.
    pub id: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// The bastion users it is for.
    pub who: Who,
    /// The targets it is for.
    pub place: Place,
    /// The accounts that it closes; `None`: every one.
    pub accounts: Option<Accounts>,
    /// The channels that it closes; `None`: every one.
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// Why, for those who read the refusal in the log.
    pub reason: String,
}

impl DenyRule {
    pub(super) fn read(file: &str, mut table: Table<'_>, faults: &mut Faults) -> Option<Self> {
        let line = table.line();
        let id = table.need("id", faults).and_then(|node| faults.keep(node.name(RuleId::parse)));
        let who = table.need("who", faults).and_then(|node| read_who(&node, faults));
        let place = table.need("where", faults).and_then(|node| read_place(&node, faults));
        let accounts = table.take("accounts").map_or(Some(None), |node| read_accounts(&node, faults).map(Some));
        let channels = table.take("channels").map_or(Some(None), |node| words(&node, CHANNELS, faults).map(Some));
        let reason = table.need("reason", faults).and_then(|node| faults.keep(node.filled_string()));
        if reason.is_some_and(|reason| reason.chars().any(is_unseen)) {
            faults.push(of_line(
                file,
                line,
                "rule.reason",
                String::from("is one line without characters that cannot be seen"),
            ));
        }
        for key in ["when", "from", "mfa", "grant"] {
            if let Some(node) = table.take(key) {
                faults.push(node.fault("a rule that forbids has no conditions: it always does"));
            }
        }
        table.finish(&[], faults);
        Some(Self {
            id: id?,
            file: file.to_owned(),
            line,
            who: who?,
            place: place?,
            accounts: accounts?,
            channels: channels?,
            reason: reason?.trim().to_owned(),
        })
    }

    /// Whether it is about this user, target and account.
    pub(super) fn covers(&self, question: &Question<'_>) -> bool {
        self.who.covers(question.user, question.groups)
            && self.place.covers(question.target, question.labels)
            && self.accounts.as_ref().is_none_or(|accounts| accounts.covers(question))
    }

    /// Whether it closes this channel.
    pub fn closes(&self, class: ChannelClass) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.contains(&class))
    }
}

/// Whether a `[[rule]]` is one that forbids.
pub(super) fn forbids(node: Option<&Node<'_>>, faults: &mut Faults) -> Option<bool> {
    const EFFECTS: &[(&str, bool)] = &[("allow", false), ("deny", true)];
    node.map_or(Some(false), |node| faults.keep(node.word(EFFECTS)))
}

impl PolicySet {
    /// The rules that forbid, by file name and then in file order.
    pub fn denials(&self) -> impl Iterator<Item = &DenyRule> {
        self.0.denials.iter()
    }

    /// The first rule that forbids this, whoever allows it. Without a channel: all of them.
    pub fn forbidden_by(&self, question: &Question<'_>) -> Option<&DenyRule> {
        let mut about = self.denials().filter(|rule| rule.covers(question));
        about.find(|rule| match question.asked {
            Some(asked) => rule.closes(asked.class),
            None => rule.channels.is_none(),
        })
    }
}
