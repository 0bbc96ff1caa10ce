//! A question to a policy set becomes a decision. Pure, and total: whatever is not allowed is denied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    Accounts, Circumstances, Conditions, DenyRule, ForwardedSsh, Givers, GrantNeed, Oversight, Place, PolicySet,
    RecordingPolicy, Rule, Who,
};
use crate::model::{AccountName, Asked, ChannelClass, GroupName, Matter, Presence, RuleId, TargetName, UserName};

/// May this user open this channel to this account on this target?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The user's groups, now.
    pub groups: &'a BTreeSet<GroupName>,
    /// The target.
    pub target: &'a TargetName,
    /// The target's labels, now.
    pub labels: &'a BTreeMap<String, String>,
    /// The identity on the target.
    pub account: &'a AccountName,
    /// The channel, and where a forward leads; `None` asks whether any may be opened.
    pub asked: Option<&'a Asked>,
    /// What the user did at the login.
    pub presence: Presence,
    /// When and from where, and what else the user has done.
    pub circumstances: Circumstances<'a>,
}

/// What policy says of an access.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed as it stands.
    Allow(Allowed),
    /// Allowed while a grant of this user to this destination holds.
    NeedsGrant(Allowed),
    /// Refused.
    Deny(DenyReason),
}

/// What a rule opens, and under which recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The rule that decided: of several, the first by file name and file order.
    pub rule: RuleId,
    /// The file it stands in.
    pub file: String,
    /// All rules that open this, by file name and file order; where a grant is needed, each of them needs one of these.
    pub rules: Vec<(RuleId, Givers)>,
    /// The channels open to this user at this destination, without a grant (`Allow`) or with one (`NeedsGrant`).
    pub channels: BTreeSet<ChannelClass>,
    /// The strictest recording of all rules that match, whether they decided or not.
    pub recording: RecordingPolicy,
    /// Who must watch, by the strictest of them.
    pub oversight: Oversight,
}

/// Why policy refuses. For the operator: a bastion user is told neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyReason {
    /// No rule names this user, target and account together.
    NoRule,
    /// Rules do, but none of them opens this channel.
    NoRuleForChannel(ChannelClass),
    /// Rules open such forwards, but none of them leads there.
    NoRuleForPlace(ChannelClass),
    /// Rules open this channel, but none of them for such files.
    NoRuleForFile(ChannelClass),
    /// Rules lend the agent, but none of them this key of it.
    NoRuleForKey,
    /// Rules open this channel, but none of them on a terminal.
    NoRuleForTerminal(ChannelClass),
    /// Rules allow it, and this one forbids it.
    Forbidden {
        /// The rule.
        rule: RuleId,
        /// Its reason.
        reason: String,
    },
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule allows this user at this destination"),
            Self::NoRuleForChannel(channel) => write!(f, "no rule opens {channel} for this user at this destination"),
            Self::NoRuleForPlace(channel) => {
                write!(f, "no rule's `forward` names where this {channel} of this user at this destination leads")
            }
            Self::NoRuleForFile(channel) => {
                write!(f, "no rule's `sftp` names such files for {channel} of this user at this destination")
            }
            Self::NoRuleForTerminal(channel) => {
                write!(f, "no rule opens {channel} on a terminal for this user at this destination (`terminal`)")
            }
            Self::Forbidden { rule, reason } => write!(f, "rule `{rule}` forbids it: {reason}"),
            Self::NoRuleForKey => f.write_str("no rule's `agent` names this key for this user at this destination"),
        }
    }
}

impl fmt::Display for Decision {
    /// As `[[test]]` tables write it: `allow RULE`, `needs-grant RULE`, `deny`, or `deny RULE` where one forbids it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(allowed) => write!(f, "allow {}", allowed.rule),
            Self::NeedsGrant(allowed) => write!(f, "needs-grant {}", allowed.rule),
            Self::Deny(DenyReason::Forbidden { rule, .. }) => write!(f, "deny {rule}"),
            Self::Deny(_) => f.write_str("deny"),
        }
    }
}

/// Decides. A rule that forbids beats all; of those that allow the union counts, and a rule that needs no grant beats one
/// that does.
pub fn decide(set: &PolicySet, question: &Question<'_>) -> Decision {
    among(set.rules_about(question.user, question.groups), &set.0.denials, question)
}

pub(super) fn among<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    denials: &[DenyRule],
    question: &Question<'_>,
) -> Decision {
    let here: Vec<&Rule> = rules.filter(|rule| rule.covers(question)).collect();
    let closing: Vec<&DenyRule> = denials.iter().filter(|rule| rule.covers(question)).collect();
    let closed = |class: ChannelClass| closing.iter().find(|rule| rule.closes(class));
    let (mut matching, mut forbidden): (Vec<&Rule>, Option<&DenyRule>) = (Vec::new(), None);
    for rule in here.iter().copied().filter(|rule| rule.opens(question.asked)) {
        let mut classes =
            rule.channels.iter().copied().filter(|class| question.asked.is_none_or(|asked| asked.class == *class));
        match classes.find(|class| closed(*class).is_none()) {
            Some(_) => matching.push(rule),
            None => forbidden = forbidden.or_else(|| closing.first().copied()),
        }
    }
    let standing = |rule: &&&Rule| rule.grant.need == GrantNeed::NotRequired;
    let Some(first) = matching.first() else {
        if let Some(rule) = forbidden {
            let by = question.asked.and_then(|asked| closed(asked.class)).copied().unwrap_or(rule);
            return Decision::Deny(DenyReason::Forbidden { rule: by.id.clone(), reason: by.reason.clone() });
        }
        return Decision::Deny(match question.asked {
            Some(asked) if here.iter().any(|rule| rule.channels.contains(&asked.class)) => match asked.matter {
                Some(Matter::File(_) | Matter::EveryFile) => DenyReason::NoRuleForFile(asked.class),
                Some(Matter::Key(_)) => DenyReason::NoRuleForKey,
                Some(Matter::Terminal) => DenyReason::NoRuleForTerminal(asked.class),
                Some(Matter::Endpoint(_)) | None => DenyReason::NoRuleForPlace(asked.class),
            },
            Some(asked) if !here.is_empty() => DenyReason::NoRuleForChannel(asked.class),
            Some(_) | None => DenyReason::NoRule,
        });
    };
    let recording = matching.iter().fold(first.recording.clone(), |all, rule| all.strictest(&rule.recording));
    let oversight = matching.iter().fold(first.oversight, |all, rule| all.strictest(rule.oversight));
    let rules = matching.iter().map(|rule| (rule.id.clone(), rule.grant.givers)).collect();
    let allowed = |rule: &Rule, channels| {
        let (id, file) = (rule.id.clone(), rule.file.clone());
        Allowed { rule: id, file, rules, channels, recording, oversight }
    };
    match matching.iter().find(standing) {
        Some(rule) => Decision::Allow(allowed(rule, channels(here.iter().filter(standing), &closed))),
        None => Decision::NeedsGrant(allowed(first, channels(here.iter(), &closed))),
    }
}

fn channels<'r, T>(
    rules: impl Iterator<Item = &'r &'r Rule>,
    closed: &dyn Fn(ChannelClass) -> Option<T>,
) -> BTreeSet<ChannelClass> {
    rules.flat_map(|rule| rule.channels.iter().copied()).filter(|class| closed(*class).is_none()).collect()
}

impl Rule {
    /// Whether the rule is about this user, target and account, the login is such as it demands, and its conditions are
    /// met.
    pub fn covers(&self, question: &Question<'_>) -> bool {
        self.reaches(question.user, question.groups, question.target, question.labels)
            && self.accounts.covers(question)
            && question.presence.covers(self.key)
            && self.conditions.holds(&question.circumstances).is_ok()
    }

    /// Whether the rule is about this user and target, whatever the account and the login.
    pub fn reaches(
        &self,
        user: &UserName,
        groups: &BTreeSet<GroupName>,
        target: &TargetName,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.who.covers(user, groups) && self.place.covers(target, labels)
    }

    /// Whether it opens this channel.
    pub fn opens(&self, asked: Option<&Asked>) -> bool {
        asked.is_none_or(|asked| self.channels.contains(&asked.class) && self.is_about(asked))
    }

    fn is_about(&self, asked: &Asked) -> bool {
        match (&asked.matter, &self.files) {
            (None, _) => true,
            (Some(Matter::Endpoint(_)), _) => self.forward.covers(asked),
            (Some(Matter::File(_) | Matter::EveryFile), _) if !asked.class.is_sftp() => false,
            (Some(Matter::File(file)), _) if !file.action.classes().contains(&asked.class) => false,
            (Some(Matter::File(_) | Matter::EveryFile), None) => true,
            (Some(Matter::File(file)), Some(files)) => files.covers(file),
            (Some(Matter::EveryFile), Some(_)) => false,
            (Some(Matter::Key(key)), _) => self.agent.covers(key),
            (Some(Matter::Terminal), _) => self.terminal,
        }
    }

    /// Whether it wants more than a user, a place and a grant: hours, networks, a second factor, a yes, another who watches,
    /// no terminal.
    pub fn is_conditioned(&self) -> bool {
        !self.terminal || self.conditions != Conditions::default() || self.oversight != Oversight::default()
    }

    /// Whether SSH to a target, in a forward from another, ends at the bastion.
    pub fn ends_ssh(&self) -> bool {
        self.channels.contains(&ChannelClass::LocalForward) && self.forward.ssh == ForwardedSsh::Ended
    }

    /// Whether a forward to a name may lead to this port by an address that the rule's networks hold.
    pub fn looks_up(&self, port: u16) -> bool {
        self.channels.contains(&ChannelClass::LocalForward) && self.forward.looks_up(port)
    }
}

impl Who {
    pub(crate) fn covers(&self, user: &UserName, groups: &BTreeSet<GroupName>) -> bool {
        self.users.contains(user) || !self.groups.is_disjoint(groups)
    }
}

impl Place {
    pub(super) fn covers(&self, target: &TargetName, labels: &BTreeMap<String, String>) -> bool {
        let named = match &self.targets {
            Some(targets) => targets.contains(target),
            // The parser refuses a `where` that says nothing; were there one, it would match no target.
            None => !self.labels.is_empty(),
        };
        named && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl Accounts {
    pub(super) fn covers(&self, question: &Question<'_>) -> bool {
        self.named.contains(question.account) || (self.own && question.account.as_str() == question.user.as_str())
    }
}
