//! When and from where a rule holds, what it wants of the user besides, and how long its sessions may be. Pure: the time,
//! the source and what the user has done come in as `Circumstances`.
//!
//! What this module does **not** guard against: the wall clock by which it is asked, and a source that many share. The
//! rules of a time zone are those that the system had when the policy was loaded.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::approvers::read_mfa;
use crate::document::{Fault, Faults, Node, Table};
use crate::model::Timestamp;
use crate::window::{AtEnd, Window};

/// A text that is longer is read by nobody.
const CONSENT_BYTES_MAX: usize = 4096;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A session that may last longer is not limited.
const LENGTH_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Sessions of one user by one rule: more are no limit.
const SESSIONS_MAX: u32 = 100_000;

/// What a rule wants besides the user, the place and the login. The default wants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The hours in which it holds; `None`: always.
    pub when: Option<Window>,
    /// The networks from which it holds; none means from anywhere.
    pub from: BTreeSet<IpNet>,
    /// How long ago the user may have proven themselves by a second factor when the session begins.
    pub mfa: Option<Duration>,
    /// The limits of its sessions.
    pub limits: SessionLimits,
    /// What the user must have agreed to when the session begins.
    pub consent: Option<Arc<str>>,
    /// Whether sessions begin only while a program is known to keep the bastion's clock right.
    pub synced_clock: bool,
}

/// The limits of a rule's sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionLimits {
    /// How long a session may last.
    pub length: Option<Duration>,
    /// How long nothing may be typed or shown in it.
    pub idle: Option<Duration>,
    /// How many one user may have at once.
    pub sessions: Option<u32>,
}

/// What conditions are judged by. What is `None` or `Any` is as good as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: Option<Timestamp>,
    /// When the session began that this is a part of; `None` if one would begin now.
    pub since: Option<Timestamp>,
    /// Where the user comes from.
    pub source: Option<IpAddr>,
    /// When the user has proven themselves by a second factor.
    pub mfa: Mfa,
    /// What the user has agreed to.
    pub consents: Consents<'a>,
    /// Whether a program is known to keep the bastion's clock right.
    pub synced: bool,
}

/// When a user has proven themselves by a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mfa {
    /// As lately as can be.
    Any,
    /// Not at all.
    Never,
    /// So long before the session began, or now if none has.
    Ago(Duration),
}

/// What a user has agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consents<'a> {
    /// To everything.
    Any,
    /// To these texts.
    These(&'a BTreeSet<Arc<str>>),
}

impl Circumstances<'_> {
    /// The best of circumstances: for lists, and for what a grant would do.
    pub const BEST: Self =
        Self { now: None, since: None, source: None, mfa: Mfa::Any, consents: Consents::Any, synced: true };
}

/// The first condition that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It holds at other hours.
    Hours,
    /// The session has lasted as long as it may.
    Length,
    /// It holds from other networks.
    Source,
    /// The second factor is missing, or too old.
    Mfa,
    /// The user has not agreed to its text.
    Consent,
    /// Nothing is known to keep the bastion's clock right.
    Clock,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hours => "holds at other hours (`when`)",
            Self::Length => "lets no session last longer (`limits.length`)",
            Self::Source => "holds from other networks (`from`)",
            Self::Mfa => "needs a fresh second factor (`mfa`)",
            Self::Consent => "needs the user's consent (`consent`)",
            Self::Clock => "needs a clock that is kept right (`synced_clock`)",
        })
    }
}

/// When a right ends, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// The first moment at which it no longer holds.
    pub at: Timestamp,
    /// Why.
    pub by: BoundBy,
}

/// What ends a right in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoundBy {
    /// The grant's end.
    Grant,
    /// The end of the rule's hours.
    Hours,
    /// The rule's longest session.
    Length,
    /// The user's end date.
    User,
}

impl Conditions {
    /// Whether all are met, and until when they stay so if nothing but time passes.
    ///
    /// Of a session that has begun, the second factor and the consent count as they were then, and so do hours that let
    /// live sessions go on.
    ///
    /// # Errors
    /// The first that is not met.
    pub fn holds(&self, circumstances: &Circumstances<'_>) -> Result<Option<Bound>, Unmet> {
        let Circumstances { now, since, source, mfa, consents, synced } = *circumstances;
        let mut bounds = Vec::new();
        if let (Some(window), Some(now)) = (&self.when, now) {
            let end = match window.at_end() {
                AtEnd::End => window.open_until(now).map_err(|_| Unmet::Hours)?,
                AtEnd::Keep => {
                    let _ = window.open_until(since.unwrap_or(now)).map_err(|_| Unmet::Hours)?;
                    None
                }
            };
            bounds.extend(end.map(|at| Bound { at, by: BoundBy::Hours }));
        }
        if let (Some(length), Some(now)) = (self.limits.length, now) {
            let at = since.unwrap_or(now).plus(length);
            if now >= at {
                return Err(Unmet::Length);
            }
            bounds.push(Bound { at, by: BoundBy::Length });
        }
        if let Some(source) = source.map(|source| source.to_canonical())
            && !self.from.is_empty()
            && !self.from.iter().any(|network| network.contains(&source))
        {
            return Err(Unmet::Source);
        }
        if self.synced_clock && !synced && since.is_none() {
            return Err(Unmet::Clock);
        }
        match (self.mfa, mfa) {
            (None, _) | (Some(_), Mfa::Any) => {}
            (Some(within), Mfa::Ago(age)) if age <= within => {}
            (Some(_), Mfa::Ago(_) | Mfa::Never) => return Err(Unmet::Mfa),
        }
        match (&self.consent, consents) {
            (None, _) | (Some(_), Consents::Any) => {}
            (Some(text), Consents::These(given)) if given.contains(text) => {}
            (Some(_), Consents::These(_)) => return Err(Unmet::Consent),
        }
        Ok(bounds.into_iter().min())
    }

    /// Reads what of a rule's table is a condition.
    pub(super) fn read(table: &mut Table<'_>, faults: &mut Faults) -> Option<Self> {
        let when = table.take("when").map_or(Some(None), |node| Window::read(&node, faults).map(Some));
        let from = table.take("from").map_or(Some(BTreeSet::new()), |node| read_networks(&node, faults));
        let mfa = table.take("mfa").map_or(Some(None), |node| read_mfa(&node, faults).map(Some));
        let limits =
            table.take("limits").map_or(Some(SessionLimits::default()), |node| SessionLimits::read(&node, faults));
        let consent = table.take("consent").map_or(Some(None), |node| faults.keep(read_consent(&node)).map(Some));
        let synced_clock = table.read("synced_clock", false, faults, Node::boolean);
        Some(Self { when: when?, from: from?, mfa: mfa?, limits: limits?, consent: consent?, synced_clock })
    }
}

impl SessionLimits {
    fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let span = |longest| move |node: &Node<'_>| node.duration_in(SPAN_MIN..=longest);
        let length = table.take("length").map_or(Some(None), |node| faults.keep(span(LENGTH_MAX)(&node)).map(Some));
        let idle = table.take("idle").map_or(Some(None), |node| faults.keep(span(DAY)(&node)).map(Some));
        let sessions =
            table.take("sessions").map_or(Some(None), |node| faults.keep(node.integer_in(1..=SESSIONS_MAX)).map(Some));
        table.finish(&[], faults);
        let limits = Self { length: length?, idle: idle?, sessions: sessions? };
        if limits == Self::default() {
            faults.push(node.fault("limits nothing").hint("write length = \"8h\", idle = \"30m\" or sessions = 2"));
            return None;
        }
        Some(limits)
    }
}

fn read_networks(node: &Node<'_>, faults: &mut Faults) -> Option<BTreeSet<IpNet>> {
    let items = faults.keep(node.filled_list())?;
    // Two steps, so that a first bad one does not hide the second.
    let read: Vec<Option<IpNet>> = items.iter().map(|item| faults.keep(read_network(item))).collect();
    read.into_iter().collect()
}

fn read_network(node: &Node<'_>) -> Result<IpNet, Fault> {
    let text = node.string()?;
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = network else {
        return Err(node.fault(format!("{text:?} is no network")).hint("write such as 10.0.0.0/8 or 2001:db8::/32"));
    };
    if network != network.trunc() {
        let hint = format!("did you mean {}?", network.trunc());
        return Err(node.fault(format!("{text:?} has bits set that /{} leaves out", network.prefix_len())).hint(hint));
    }
    Ok(network)
}

fn read_consent(node: &Node<'_>) -> Result<Arc<str>, Fault> {
    let text = node.filled_string()?.trim();
    if text.len() > CONSENT_BYTES_MAX {
        return Err(node.fault(format!("is longer than {CONSENT_BYTES_MAX} bytes")));
    }
    // It is shown on terminals as it stands.
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(node.fault("has characters that steer a terminal").hint("only line ends may be among its letters"));
    }
    Ok(text.into())
}

/// `at`, `from` and `mfa` of a `[[test]]`: what is not said is as good as can be.
pub(super) fn read_given(given: &mut Table<'_>, faults: &mut Faults) -> Option<Circumstances<'static>> {
    let now = given.take("at").map_or(Some(None), |node| faults.keep(node.name(Timestamp::parse)).map(Some));
    let source = given.take("from").map_or(Some(None), |node| faults.keep(read_address(&node)).map(Some));
    let mfa = given.take("mfa").map_or(Some(Mfa::Any), |node| match node.as_str() {
        Some("never") => Some(Mfa::Never),
        Some(_) | None => faults.keep(node.duration_in(Duration::ZERO..=LENGTH_MAX)).map(Mfa::Ago),
    });
    Some(Circumstances { now: now?, source: source?, mfa: mfa?, ..Circumstances::BEST })
}

fn read_address(node: &Node<'_>) -> Result<IpAddr, Fault> {
    let text = node.string()?;
    text.parse().map_err(|_| node.fault(format!("{text:?} is no address")).hint("write such as 10.1.2.3"))
}

#[cfg(test)]
mod tests;
