//! Grants and policy become a `Permit`: the proof, in memory, that a session may be carried now. Pure.
//!
//! What this module does **not** guard against: a permit says what held when it was asked for. Whoever keeps one
//! must end at `until()`, and ask again when grants, users, targets or policy change.

mod glass;
mod lock;
mod request;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    Asked, ChannelClass, Destination, GrantId, LockId, Matter, Presence, RequestId, RuleId, Timestamp, UserName,
};
use crate::policy::{
    Allowed, Bound, BoundBy, Circumstances, Conditions, Consents, Decision, DenyReason, Givers, Mfa, Oversight,
    PolicyHash, PolicySet, Question, RecordingPolicy, SessionLimits, Unmet, decide,
};
use crate::rdp::rules::DesktopRules;

pub use glass::{Finding, Glass, Judgement};
pub use lock::{Lifter, Lifting, Lock, LockEffect, Reached, Scope, strictest};
pub use request::{
    AccessRequest, Entered, Opinion, Outcome, Quorum, RequestState, Review, ReviewError, Reviewer, Standing,
    TicketSaid, Verdict, matched,
};

/// A stored right of one user to one destination, from and until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// The first moment at which it holds.
    pub from: Timestamp,
    /// The first moment at which it no longer holds.
    pub until: Timestamp,
    /// Why it was given, in the words of whoever gave it.
    pub reason: String,
    /// Who gave it, such as `uid 0`.
    pub created_by: String,
    /// When it was given.
    pub created: Timestamp,
    /// Set once, when it was taken back.
    pub revoked: Option<Revoked>,
    /// The request that led to it; `None` if an operator gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The rule that it is for; `None`: for every rule that needs a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The channels that it is for; `None`: for all that the rules name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// How many sessions may begin on it; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// How many have begun, where that is counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub begun: u32,
    /// By what its user must have proven who they are; `None`: by anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_key: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// How a grant was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// Who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if it was said.
    #[serde(alias = "why")]
    pub reason: Option<String>,
}

/// Where a grant stands at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantState {
    /// It begins later.
    Scheduled,
    /// It holds.
    Active,
    /// Its time is over.
    Ended,
    /// It was taken back; nothing brings it back.
    Revoked,
}

impl fmt::Display for GrantState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        })
    }
}

impl Grant {
    /// Where the grant stands at `now`. A revoked grant is revoked at every time, should the clock go back too.
    pub fn state(&self, now: Timestamp) -> GrantState {
        if self.revoked.is_some() {
            GrantState::Revoked
        } else if now >= self.until {
            GrantState::Ended
        } else if now < self.from {
            GrantState::Scheduled
        } else {
            GrantState::Active
        }
    }

    /// The grant once the wall clock was set back by `step`, to `after`; `None` if nothing changes. It lasts as long as it
    /// would have. One that had not begun is as long whatever the clock shows.
    pub fn set_back(&self, step: Duration, after: Timestamp) -> Option<Self> {
        let had_begun = self.from <= after.plus(step);
        if self.revoked.is_some() || self.until <= after || !had_begun {
            return None;
        }
        Some(Self { from: self.from.minus(step), until: self.until.minus(step), ..self.clone() })
    }

    /// Whether it is for this rule, which counts the grants of these.
    pub fn is_for(&self, rule: &RuleId, givers: Givers) -> bool {
        match (&self.rule, givers) {
            (Some(own), _) => own == rule,
            // An operator's own: whoever asks does so by one rule.
            (None, Givers::Everyone) => true,
            (None, Givers::NotOperators) => false,
        }
    }

    /// Whether it is for this channel; where none is named, whether for any.
    pub fn opens(&self, class: Option<ChannelClass>) -> bool {
        let channels = self.channels.as_ref();
        channels.is_none_or(|channels| class.map_or(!channels.is_empty(), |class| channels.contains(&class)))
    }

    /// Whether it is for those who have logged in by this.
    pub fn is_for_key(&self, key: &str) -> bool {
        self.bound_key.as_ref().is_none_or(|bound| bound == key)
    }

    /// Whether no further session may begin on it.
    pub fn is_spent(&self) -> bool {
        self.sessions.is_some_and(|most| self.begun >= most)
    }

    /// How long it still holds; zero unless it is active.
    pub fn remaining(&self, now: Timestamp) -> Duration {
        match self.state(now) {
            GrantState::Active => now.until(self.until),
            GrantState::Scheduled | GrantState::Ended | GrantState::Revoked => Duration::ZERO,
        }
    }
}

/// Who asks for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The user.
    pub user: &'a UserName,
    /// What the user did at the login.
    pub presence: Presence,
    /// By what they proved who they are, as it stands on record.
    pub key: &'a str,
    /// From where they have logged in.
    pub source: IpAddr,
    /// When they last proved themselves by a second factor, at the login or since.
    pub mfa: Option<Timestamp>,
    /// When the session began that they ask for more of; `None` if one would begin.
    pub since: Option<Timestamp>,
}

#[cfg(test)]
impl<'a> Asker<'a> {
    /// One who has logged in here, by this and nothing more: for tests.
    pub(crate) fn plain(user: &'a UserName, key: &'a str) -> Self {
        Self { user, presence: Presence::NONE, key, source: IpAddr::from([127, 0, 0, 1]), mfa: None, since: None }
    }
}

/// The proof that a session of this user at this destination may be carried now. Only `permit` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    user: UserName,
    presence: Presence,
    key: String,
    destination: Destination,
    rule: RuleId,
    policy_hash: PolicyHash,
    grant: Option<Grant>,
    recording: RecordingPolicy,
    desktop: DesktopRules,
    oversight: Oversight,
    bound: Option<Bound>,
    limits: SessionLimits,
    consent: Option<Arc<str>>,
    source: IpAddr,
    mfa: Option<Timestamp>,
    since: Timestamp,
}

impl Permit {
    /// The permit as it is for this asker: whoever asks for more in the same session asks with the second factor and from
    /// the place that this one rests on.
    pub(crate) fn of(self, asker: Asker<'_>) -> Self {
        Self { source: asker.source, mfa: asker.mfa, ..self }
    }

    /// The permit as it is for a user whose own time ends then.
    pub(crate) fn until_user_ends(self, until: Option<Timestamp>) -> Self {
        let own = until.map(|at| Bound { at, by: BoundBy::User });
        Self { bound: self.bound.into_iter().chain(own).min(), ..self }
    }

    /// The user.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The user, and how they logged in: whoever asks for more on the same login asks as this.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            user: &self.user,
            presence: self.presence,
            key: &self.key,
            source: self.source,
            mfa: self.mfa,
            since: Some(self.since),
        }
    }

    /// Where to.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The rule that allowed it.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// The hash of the policy set that was asked.
    pub fn policy_hash(&self) -> &PolicyHash {
        &self.policy_hash
    }

    /// The grant that it rests on; `None` for a standing right.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// The first moment at which it no longer holds; `None` for a standing right.
    pub fn until(&self) -> Option<Timestamp> {
        self.bound.map(|bound| bound.at)
    }

    /// The same, with what ends it: the grant, the hours of the rule, or its longest session.
    pub fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// The limits of the session.
    pub fn limits(&self) -> SessionLimits {
        self.limits
    }

    /// What the user must agree to when the session begins.
    pub fn consent(&self) -> Option<&Arc<str>> {
        self.consent.as_ref()
    }

    /// Who must watch the session, and whether its user is told who does.
    pub fn oversight(&self) -> Oversight {
        self.oversight
    }

    /// What passes beside picture, keys and mouse of a desktop: what the rule says that the permit rests on.
    ///
    /// Rules are not added up here: what one opens without a grant must not carry what another opens with one.
    pub fn desktop(&self) -> &DesktopRules {
        &self.desktop
    }

    /// How the session must be recorded.
    pub fn recording(&self) -> &RecordingPolicy {
        &self.recording
    }
}

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No rule allows it.
    NoRule(DenyReason),
    /// A rule allows it with a grant, and there has been none.
    NeedsGrant {
        /// That rule.
        rule: RuleId,
    },
    /// The grant is over.
    GrantEnded {
        /// Which grant.
        grant: GrantId,
        /// When it ended.
        until: Timestamp,
    },
    /// The grant was taken back.
    GrantRevoked {
        /// Which grant.
        grant: GrantId,
        /// When it was taken back.
        at: Timestamp,
    },
    /// The grant begins later.
    NotYet {
        /// Which grant.
        grant: GrantId,
        /// When it begins.
        from: Timestamp,
    },
    /// The grant is for another key than the one that proved the user.
    OtherKey {
        /// Which grant.
        grant: GrantId,
    },
    /// The grant is an operator's own, and the rule counts only what was asked for.
    ByOperator {
        /// Which grant.
        grant: GrantId,
        /// That rule.
        rule: RuleId,
    },
    /// As many sessions have begun on the grant as may.
    GrantSpent {
        /// Which grant.
        grant: GrantId,
    },
    /// A rule allows it, and nothing else is missing, but the login is not such as it demands.
    NeedsKey {
        /// That rule.
        rule: RuleId,
        /// What the user must do at the login, with a security key.
        key: Presence,
    },
    /// All else allows it, and the operators have locked it.
    Locked {
        /// By which lock.
        lock: LockId,
    },
    /// A rule allows it, and nothing else is missing, but the user has not proven themselves by a second factor lately.
    NeedsMfa {
        /// That rule.
        rule: RuleId,
    },
    /// A rule allows it, and nothing else is missing, but the user has not agreed to its text.
    NeedsConsent {
        /// That rule.
        rule: RuleId,
    },
    /// A rule allows it, and nothing else is missing, but not now, or not from there.
    Unmet {
        /// That rule.
        rule: RuleId,
        /// What is not met.
        unmet: Unmet,
    },
    /// A rule allows it, and nothing else is missing, but not on a terminal.
    NoTerminal {
        /// That rule.
        rule: RuleId,
    },
    /// As many sessions of this user by the rule are live as may be.
    TooManySessions {
        /// That rule.
        rule: RuleId,
        /// How many may.
        most: u32,
    },
    /// The user is suspended.
    Suspended,
    /// There is no such target.
    UnknownTarget,
    /// There is no such user, or not any more.
    UnknownUser,
    /// The question could not be answered, so the answer is no.
    Undecided {
        /// What failed.
        cause: String,
    },
}

/// What whoever has no right may do about it; the same for a destination that there is not.
const ASK: &str = "To ask for a grant: ssh USER@BASTION request ACCOUNT@TARGET --for 1h --reason WHY";

impl Denial {
    /// One line for the bastion user: what to do next, and nothing about which targets, accounts or rules exist.
    ///
    /// A grant that the user had is no news to them, so its end is told. What is missing at the login is told only to
    /// those who would be let in with it.
    pub fn public_text(&self) -> String {
        match self {
            Self::NoRule(_) | Self::NeedsGrant { .. } | Self::UnknownTarget | Self::UnknownUser => {
                format!("access denied: you hold no right to this destination now. {ASK}")
            }
            Self::GrantEnded { until, .. } => {
                format!("access denied: your grant ended at {}. {ASK}", until.clock_time())
            }
            Self::OtherKey { .. } => "access denied: your grant is only for the key that you asked for it with; connect \
                                      again with that one"
                .to_owned(),
            Self::ByOperator { .. } => {
                format!("access denied: an operator gave your grant, and this takes one that was asked for. {ASK}")
            }
            Self::GrantSpent { .. } => {
                format!("access denied: all sessions that your grant is for have begun. {ASK}")
            }
            Self::GrantRevoked { at, .. } => {
                format!("access denied: your grant was revoked at {}; ask an operator why", at.clock_time())
            }
            Self::NotYet { from, .. } => {
                format!("access denied: your grant begins at {}; try again then", from.clock_time())
            }
            Self::NeedsKey { key: Presence { pin: false, .. }, .. } => {
                "access denied: this needs a login with a security key that you touch (ssh-keygen -t ed25519-sk); connect \
                 again with one, and not over an open connection"
                    .to_owned()
            }
            Self::NeedsKey { key: Presence { pin: true, .. }, .. } => {
                "access denied: this needs a login with a security key and its PIN (ssh-keygen -t ed25519-sk -O \
                 verify-required); connect again with one, and not over an open connection"
                    .to_owned()
            }
            Self::Locked { .. } => "access denied: locked by the operators; ask one when it will be open again".to_owned(),
            Self::NeedsMfa { .. } => "access denied: this needs a fresh one-time code: ssh -t USER@BASTION mfa asks for one; \
                                      then try again. A login with a security key that you touch does as well"
                .to_owned(),
            Self::NeedsConsent { .. } => "access denied: this needs your consent to a text: ssh -t USER@BASTION consent \
                                          shows it; then try again"
                .to_owned(),
            Self::Unmet { unmet: Unmet::Hours, .. } => {
                "access denied: not at this hour; your right holds at others".to_owned()
            }
            Self::Unmet { unmet: Unmet::Source, .. } => {
                "access denied: not from here; connect from a network that your right is for".to_owned()
            }
            Self::Unmet { unmet: Unmet::Clock, .. } => {
                "access denied: not while the bastion's clock is in doubt; tell an operator (doorward doctor)".to_owned()
            }
            Self::Unmet { unmet: Unmet::Length | Unmet::Mfa | Unmet::Consent, .. } => {
                "access denied: your session has lasted as long as it may; connect again".to_owned()
            }
            Self::NoTerminal { .. } => {
                "access denied: not on a terminal; connect again without one (ssh -T, and no -t)".to_owned()
            }
            Self::TooManySessions { most, .. } => {
                format!("access denied: you have {most} live already, as many as you may; end one (ssh USER@BASTION sessions)")
            }
            Self::Suspended => "access denied: your access is suspended; ask an operator why".to_owned(),
            Self::Undecided { .. } => "access denied: the bastion cannot decide now; tell an operator".to_owned(),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule(reason) => reason.fmt(f),
            Self::NeedsGrant { rule } => write!(f, "rule `{rule}` needs a grant and there is none"),
            Self::GrantEnded { grant, until } => write!(f, "grant `{grant}` ended at {until}"),
            Self::GrantRevoked { grant, at } => write!(f, "grant `{grant}` was revoked at {at}"),
            Self::NotYet { grant, from } => write!(f, "grant `{grant}` begins at {from}"),
            Self::OtherKey { grant } => write!(f, "grant `{grant}` is for another key"),
            Self::ByOperator { grant, rule } => {
                write!(
                    f,
                    "grant `{grant}` is an operator's own, and rule `{rule}` counts none of those (`grant.operators`)"
                )
            }
            Self::GrantSpent { grant } => write!(f, "all sessions of grant `{grant}` have begun"),
            Self::NeedsKey { rule, key } => {
                let needed: &[&str] = match (key.touch, key.pin) {
                    (true, true) => &["touch", "PIN"],
                    (false, true) => &["PIN"],
                    (true | false, false) => &["touch"],
                };
                write!(f, "rule `{rule}` needs a login with a security key: {}", needed.join(" and "))
            }
            Self::Locked { lock } => write!(f, "lock `{lock}` is on it"),
            Self::NeedsMfa { rule } => write!(f, "rule `{rule}` {}", Unmet::Mfa),
            Self::NeedsConsent { rule } => write!(f, "rule `{rule}` {}", Unmet::Consent),
            Self::Unmet { rule, unmet } => write!(f, "rule `{rule}` {unmet}"),
            Self::NoTerminal { rule } => write!(f, "rule `{rule}` opens it without a terminal only (`terminal`)"),
            Self::TooManySessions { rule, most } => {
                write!(f, "rule `{rule}` lets a user have {most} sessions at once")
            }
            Self::Suspended => f.write_str("the user is suspended"),
            Self::UnknownTarget => f.write_str("no such target"),
            Self::UnknownUser => f.write_str("no such user"),
            Self::Undecided { cause } => write!(f, "cannot decide: {cause}"),
        }
    }
}

impl std::error::Error for Denial {}

/// Answers `question` from the rules and from the user's grants.
///
/// `grants` are those of this user to this destination, of any age; others among them are passed over.
///
/// # Errors
/// `Denial` says why not. Where several grants do not hold, the one that is most useful to know is named: the
/// next to begin, or else the last that was over.
pub fn permit(
    set: &PolicySet,
    question: &Question<'_>,
    key: &str,
    grants: &[Grant],
    now: Timestamp,
) -> Result<Permit, Denial> {
    let denial = match permit_as_asked(set, question, key, grants, now) {
        Ok(permit) => return Ok(permit),
        Err(denial) => denial,
    };
    let would = |presence, circumstances| {
        let better = Question { presence, circumstances, ..*question };
        permit_as_asked(set, &better, key, grants, now).ok().map(|permit| permit.rule)
    };
    let without_terminal = || {
        let asked = Asked::from(question.asked.filter(|asked| asked.matter == Some(Matter::Terminal))?.class);
        let permit = permit_as_asked(set, &Question { asked: Some(&asked), ..*question }, key, grants, now).ok()?;
        Some(Denial::NoTerminal { rule: permit.rule })
    };
    Err(lacking(set, question, would).or_else(without_terminal).unwrap_or(denial))
}

/// What alone is missing, if `would` says by which rule better circumstances, or a better login, let the user in.
fn lacking<'q>(
    set: &PolicySet,
    question: &Question<'q>,
    would: impl Fn(Presence, Circumstances<'q>) -> Option<RuleId>,
) -> Option<Denial> {
    // Most are refused by all of the rules, whatever they prove: they need not be asked for each proof.
    would(Presence::FULL, Circumstances::BEST)?;
    let (presence, given) = (question.presence, question.circumstances);
    let known = |rule: &RuleId| set.rules().find(|known| known.id == *rule);
    if let Some(rule) = would(presence, Circumstances { mfa: Mfa::Any, ..given }) {
        return Some(Denial::NeedsMfa { rule });
    }
    if let Some(rule) = would(presence, Circumstances { consents: Consents::Any, ..given }) {
        return Some(Denial::NeedsConsent { rule });
    }
    let proven = Circumstances { mfa: Mfa::Any, consents: Consents::Any, ..given };
    if let Some(rule) = would(presence, proven) {
        return Some(Denial::NeedsMfa { rule });
    }
    // A key that is touched is a second factor too.
    if let Some(rule) = would(Presence::FULL, proven) {
        let key = known(&rule).map_or(Presence::FULL, |known| known.key);
        return Some(Denial::NeedsKey { rule, key });
    }
    let rule = would(presence, Circumstances::BEST)?;
    let unmet = known(&rule)?.conditions.holds(&given).err()?;
    Some(Denial::Unmet { rule, unmet })
}

fn permit_as_asked(
    set: &PolicySet,
    question: &Question<'_>,
    key: &str,
    grants: &[Grant],
    now: Timestamp,
) -> Result<Permit, Denial> {
    let destination = Destination { account: question.account.clone(), target: question.target.clone() };
    let (allowed, grant) = match decide(set, question) {
        Decision::Allow(allowed) => (allowed, None),
        Decision::NeedsGrant(allowed) => {
            let class = question.asked.map(|asked| asked.class);
            let here = |grant: &&Grant| grant.user == *question.user && grant.destination == destination;
            let opens = |grant: &&Grant| rule_of(grant, &allowed).is_some() && grant.opens(class);
            let own = || grants.iter().filter(here).filter(opens);
            let is_active = |grant: &&Grant| grant.state(now) == GrantState::Active;
            let active = || own().filter(is_active);
            // One on which a session may still begin, before one on which none may: what is live keeps its own.
            let longest = active().filter(|grant| grant.is_for_key(key));
            let longest = longest.max_by_key(|grant| (!grant.is_spent(), grant.until));
            match (longest, active().next()) {
                (Some(longest), _) => (allowed, Some(longest.clone())),
                (None, Some(other)) => return Err(Denial::OtherKey { grant: other.id.clone() }),
                (None, None) => {
                    let mut others = grants.iter().filter(here).filter(is_active);
                    return Err(match others.find(|grant| grant.rule.is_none() && grant.opens(class)) {
                        Some(other) => Denial::ByOperator { grant: other.id.clone(), rule: allowed.rule },
                        None => without_grant(own(), allowed.rule.clone(), now),
                    });
                }
            }
        }
        Decision::Deny(reason) => return Err(Denial::NoRule(reason)),
    };
    let rule = grant.as_ref().and_then(|grant| rule_of(grant, &allowed).cloned()).unwrap_or(allowed.rule);
    let known = set.rules().find(|known| known.id == rule);
    let conditions = known.map(|known| &known.conditions);
    let Conditions { limits, consent, .. } = conditions.cloned().unwrap_or_default();
    let held = conditions.and_then(|conditions| conditions.holds(&question.circumstances).ok()).flatten();
    let granted = grant.as_ref().map(|grant| Bound { at: grant.until, by: BoundBy::Grant });
    Ok(Permit {
        user: question.user.clone(),
        presence: question.presence,
        key: key.to_owned(),
        destination,
        rule,
        policy_hash: set.hash().clone(),
        grant,
        recording: allowed.recording,
        desktop: known.map(|known| known.desktop.clone()).unwrap_or_default(),
        oversight: allowed.oversight,
        bound: granted.into_iter().chain(held).min(),
        limits,
        consent,
        // No address of anybody's, and no second factor, until `of` says better.
        source: question.circumstances.source.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        mfa: None,
        since: question.circumstances.since.unwrap_or(now),
    })
}

/// The rule, of those that open something, that a grant is for: of several, the first.
fn rule_of<'a>(grant: &Grant, allowed: &'a Allowed) -> Option<&'a RuleId> {
    allowed.rules.iter().find(|(rule, givers)| grant.is_for(rule, *givers)).map(|(rule, _)| rule)
}

/// What a user has where a rule wants a grant, for lists; a standing right is `Open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It needs no grant.
    Open,
    /// A grant holds.
    Granted {
        /// The first moment at which none does any more.
        until: Timestamp,
    },
    /// A grant begins later.
    Begins {
        /// When.
        from: Timestamp,
    },
    /// There is no grant that holds, or will.
    NeedsGrant,
    /// It wants a login with a security key, its touch or its PIN.
    NeedsKey,
}

/// What these grants, of one user to one destination, give at `now`: the longest that holds, or the next to begin.
pub fn access<'g>(grants: impl Iterator<Item = &'g Grant>, now: Timestamp) -> Access {
    let (mut until, mut from) = (None, None);
    for grant in grants {
        match grant.state(now) {
            GrantState::Active => until = until.max(Some(grant.until)),
            GrantState::Scheduled => from = from.into_iter().chain([grant.from]).min(),
            GrantState::Ended | GrantState::Revoked => {}
        }
    }
    match (until, from) {
        (Some(until), _) => Access::Granted { until },
        (None, Some(from)) => Access::Begins { from },
        (None, None) => Access::NeedsGrant,
    }
}

fn without_grant<'g>(grants: impl Iterator<Item = &'g Grant>, rule: RuleId, now: Timestamp) -> Denial {
    let mut next: Option<&Grant> = None;
    let mut last: Option<(Timestamp, &Grant)> = None;
    for grant in grants {
        let over = match grant.state(now) {
            GrantState::Scheduled => {
                next = next.filter(|other| other.from <= grant.from).or(Some(grant));
                continue;
            }
            GrantState::Active => continue,
            GrantState::Ended => grant.until,
            GrantState::Revoked => grant.revoked.as_ref().map_or(grant.until, |revoked| revoked.at),
        };
        last = last.filter(|(other, _)| *other >= over).or(Some((over, grant)));
    }
    match (next, last) {
        (Some(grant), _) => Denial::NotYet { grant: grant.id.clone(), from: grant.from },
        (None, Some((at, grant))) if grant.revoked.is_some() => Denial::GrantRevoked { grant: grant.id.clone(), at },
        (None, Some((until, grant))) => Denial::GrantEnded { grant: grant.id.clone(), until },
        (None, None) => Denial::NeedsGrant { rule },
    }
}

#[cfg(test)]
mod conditioned;
#[cfg(test)]
mod desktops;
#[cfg(test)]
mod tests;
