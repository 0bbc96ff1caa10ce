//! What a rule's `grant` wants of those who ask for one, and of those who approve.

use std::time::Duration;

use super::{Approvers, GrantNeed, Window};
use crate::document::{Fault, Faults, Node, Table};
use crate::model::{Presence, Timestamp};
use crate::pattern::Pattern;

/// A grant is for a piece of work; a longer one is a rule.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Where a rule does not say it: the longest grant that can be asked for.
const MAX: Duration = Duration::from_secs(8 * 3600);
/// Where a rule does not say it: how long a request waits for its approvals.
const PENDING: Duration = Duration::from_secs(24 * 3600);

/// A rule's `grant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRule {
    /// Whether the rule takes effect only while a grant holds.
    pub need: GrantNeed,
    /// Whose grants count.
    pub givers: Givers,
    /// How users may ask for one; `None` where only operators give them.
    pub request: Option<RequestRule>,
}

/// A rule's `grant.operators`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Givers {
    /// `true`, the default: an operator's own grant counts as one that was asked for.
    Everyone,
    /// `false`: a grant counts that was asked for and approved, or taken by break-glass, and no operator's own.
    NotOperators,
}

/// How users may ask for a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRule {
    /// The longest grant.
    pub max: Duration,
    /// The longest that a grant may last with all its extensions.
    pub total: Duration,
    /// Who approves.
    pub approvers: Approvers,
    /// What reason must be given.
    pub reason: Text,
    /// What ticket must be named.
    pub ticket: Text,
    /// How long a request waits for its approvals.
    pub pending: Duration,
    /// How long an approved request waits for its requester to begin; `None`: the grant begins with the approval.
    pub activation: Option<Duration>,
    /// How many sessions may begin on one grant; `None`: any number.
    pub sessions: Option<u32>,
    /// Whether the grant is only for the key, certificate or password by which it was asked for.
    pub bound_key: bool,
    /// When nobody needs to approve, for that was done beforehand.
    pub preapproved: Vec<Preapproved>,
}

/// A window in which requests are approved beforehand, such as of planned maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preapproved {
    /// At which hours.
    pub when: Window,
    /// The longest grant; it ends with the window all the same.
    pub max: Duration,
    /// The first moment at which none begins any more.
    pub until: Timestamp,
}

impl Preapproved {
    fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let when = table.need("when", faults).and_then(|node| Window::read(&node, faults));
        let max = table.need("max", faults).and_then(|node| faults.keep(node.duration_in(SPAN_MIN..=SPAN_MAX)));
        // What is approved beforehand is not approved for ever: somebody looks at it again.
        let until = table.need("until", faults).and_then(|node| faults.keep(node.name(Timestamp::parse)));
        table.finish(&[], faults);
        Some(Self { when: when?, max: max?, until: until? })
    }

    /// Whether a grant from then on, for so long, was approved.
    pub fn covers(&self, from: Timestamp, span: Duration) -> bool {
        let to = from.plus(span);
        let within = |end: Option<Timestamp>| end.is_none_or(|end| to <= end);
        span <= self.max && from < self.until && self.when.open_until(from).is_ok_and(within)
    }
}

/// So many windows of one rule.
const PREAPPROVED_MAX: usize = 32;

/// A rule's `break_glass`: who it is for may take a grant where nobody is there to approve one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlassRule {
    /// The longest grant.
    pub max: Duration,
    /// Within this it must be reviewed.
    pub review: Duration,
    /// Who is told, and one of whom reviews it.
    pub reviewers: Approvers,
    /// Whether any login will do: `insecure_without_key`.
    pub without_key: bool,
}

/// Where a rule does not say it: the longest grant without an approval.
const GLASS_MAX: Duration = Duration::from_secs(3600);
/// Where a rule does not say it: within this it must be reviewed.
const GLASS_REVIEW: Duration = Duration::from_secs(24 * 3600);
/// No grant without an approval is longer, whatever a rule says.
const GLASS_LONGEST: Duration = Duration::from_secs(8 * 3600);

impl GlassRule {
    pub(super) fn read(node: &Node<'_>, key: Presence, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let reviewers = table.need("reviewers", faults).and_then(|node| Approvers::read(&node, faults));
        let max = table.read("max", GLASS_MAX, faults, |node| node.duration_in(SPAN_MIN..=GLASS_LONGEST));
        let review = table.read("review", GLASS_REVIEW, faults, |node| node.duration_in(SPAN_MIN..=7 * GLASS_REVIEW));
        let without_key = table.read("insecure_without_key", false, faults, Node::boolean);
        table.finish(&[], faults);
        if key == Presence::NONE && !without_key {
            let message = "opens the rule to any login; what nobody approves wants a security key";
            faults.push(
                node.fault(message).hint("add key = { touch = true } to the rule, or insecure_without_key = true"),
            );
            return None;
        }
        let reviewers = reviewers?;
        if reviewers.count != 1 {
            faults.push(node.fault("one reviewer is enough, and `count` says otherwise").hint("leave `count` out"));
            return None;
        }
        Some(Self { max, review, reviewers, without_key: without_key && key == Presence::NONE })
    }
}

/// What a text that is asked for must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// It may be left out.
    Optional,
    /// It must be there.
    Required,
    /// It must be there, and all of it must match this.
    Matching(Pattern),
}

impl Text {
    /// Whether the text will do; the text of `None` was left out.
    pub fn accepts(&self, text: Option<&str>) -> bool {
        let text = text.map(str::trim).filter(|text| !text.is_empty());
        match (self, text) {
            (Self::Optional, _) | (Self::Required, Some(_)) => true,
            (Self::Matching(pattern), Some(text)) => pattern.matches(text),
            (Self::Required | Self::Matching(_), None) => false,
        }
    }
}

impl GrantRule {
    /// The rule of one that has no `grant`: it needs one, and only operators give it.
    pub const REQUIRED: Self = Self { need: GrantNeed::Required, givers: Givers::Everyone, request: None };

    pub(super) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let required = table.take("required").map_or(Some(true), |node| faults.keep(node.boolean()));
        let operators = table.take("operators").map_or(Some(true), |node| faults.keep(node.boolean()));
        let approvers = table.take("approvers").map(|node| Approvers::read(&node, faults));
        let span = |node: &Node<'_>| node.duration_in(SPAN_MIN..=SPAN_MAX);
        let mut said = Vec::new();
        let max = said_or(&mut table, "max", MAX, &mut said, faults, span);
        let total = said_or(&mut table, "total", max, &mut said, faults, span);
        let reason = said_or(&mut table, "reason", Text::Required, &mut said, faults, read_text);
        let ticket = said_or(&mut table, "ticket", Text::Optional, &mut said, faults, read_text);
        let pending = said_or(&mut table, "pending", PENDING, &mut said, faults, span);
        let activation = said_or(&mut table, "activation", None, &mut said, faults, |node| span(node).map(Some));
        let sessions =
            said_or(&mut table, "sessions", None, &mut said, faults, |node| node.integer_in(1..=100_000).map(Some));
        let bound_key = said_or(&mut table, "bound_key", false, &mut said, faults, Node::boolean);
        let mut windows = Vec::new();
        if let Some(node) = table.take("preapproved") {
            said.push("preapproved");
            let items = faults.keep(node.filled_list()).unwrap_or_default();
            if items.len() > PREAPPROVED_MAX {
                faults.push(node.fault(format!("has more than {PREAPPROVED_MAX} windows")));
            }
            windows = items.iter().map(|item| Preapproved::read(item, faults)).collect();
        }
        if total < max {
            faults.push(table.fault("`total` is less than `max`").hint("`total` is with all extensions"));
        }
        table.finish(&[], faults);
        if (required, operators) == (Some(false), Some(false)) {
            faults.push(node.fault("has `operators = false`, and `required = false`: it needs nobody's grant"));
            return None;
        }
        let givers = operators.map(|operators| if operators { Givers::Everyone } else { Givers::NotOperators });
        let Some(approvers) = approvers else {
            for key in said {
                let message = format!("`{key}` is of requests, and there is no `approvers`");
                faults.push(node.fault(message).hint("write approvers = { group = \"leads\", count = 1 }"));
            }
            return Some(Self { need: need_of(required?), givers: givers?, request: None });
        };
        if required == Some(false) {
            faults.push(node.fault("has `approvers`, and `required = false`: nobody would need to ask"));
            return None;
        }
        let approvers = approvers?;
        let preapproved: Vec<Preapproved> = windows.into_iter().collect::<Option<_>>()?;
        let request = RequestRule {
            max,
            total,
            approvers,
            reason,
            ticket,
            pending,
            activation,
            sessions,
            bound_key,
            preapproved,
        };
        Some(Self { need: need_of(required?), givers: givers?, request: Some(request) })
    }
}

fn need_of(required: bool) -> GrantNeed {
    if required { GrantNeed::Required } else { GrantNeed::NotRequired }
}

/// Takes a key, and notes that it was there.
fn said_or<'d, T>(
    table: &mut Table<'d>,
    key: &'static str,
    default: T,
    said: &mut Vec<&'static str>,
    faults: &mut Faults,
    read: impl FnOnce(&Node<'d>) -> Result<T, Fault>,
) -> T {
    table.read(key, default, faults, |node| {
        said.push(key);
        read(node)
    })
}

/// `true`, `false`, or a pattern.
fn read_text(node: &Node<'_>) -> Result<Text, Fault> {
    match node.as_str() {
        Some(text) => Pattern::parse(text).map(Text::Matching).map_err(|why| node.fault(format!("{text:?} {why}"))),
        None => Ok(if node.boolean()? { Text::Required } else { Text::Optional }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{PolicyFile, PolicySet};

    fn read(grant: &str) -> Result<GrantRule, String> {
        let text = format!(
            "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = [\"shell\"]\ngrant = {grant}\n"
        );
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]);
        let told = |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
        set.map(|set| set.rules().next().unwrap().grant.clone()).map_err(told)
    }

    #[test]
    fn a_rule_says_who_approves_what_and_for_how_long() {
        let rule = read(
            "{ max = \"2h\", total = \"6h\", approvers = { group = \"leads\", users = [\"carol\"], count = 2 }, \
             reason = \"[A-Z].+\", ticket = \"CHG-[0-9]+\", pending = \"4h\", activation = \"30m\", sessions = 3, \
             bound_key = true }",
        );
        let request = rule.unwrap().request.unwrap();
        assert_eq!((request.max.as_secs(), request.total.as_secs()), (7200, 21_600));
        assert_eq!(request.approvers.to_string(), "2 of leads, carol");
        assert_eq!((request.pending.as_secs(), request.activation), (14_400, Some(Duration::from_secs(1800))));
        assert_eq!((request.sessions, request.bound_key), (Some(3), true));
        assert!(request.ticket.accepts(Some("CHG-12")));
        for not in [None, Some(""), Some("CHG-"), Some("xCHG-12"), Some("CHG-12 and more")] {
            assert!(!request.ticket.accepts(not), "{not:?}");
        }
    }

    #[test]
    fn what_a_rule_does_not_say_is_the_careful_choice() {
        let request = read("{ approvers = { group = \"leads\" } }").unwrap().request.unwrap();
        assert_eq!((request.max, request.total, request.approvers.count), (MAX, MAX, 1));
        assert_eq!(request.reason, Text::Required);
        assert_eq!(read("{ required = true }"), Ok(GrantRule::REQUIRED));
        let of_nobody_else = read("{ approvers = { group = \"leads\" }, operators = false }").unwrap();
        assert_eq!(of_nobody_else.givers, Givers::NotOperators);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (grant, told) in [
            ("{ max = \"2h\" }", "there is no `approvers`"),
            ("{ required = false, approvers = { group = \"a\" } }", "required = false"),
            ("{ approvers = {} }", "names nobody"),
            ("{ approvers = { groups = [] } }", "is empty"),
            ("{ approvers = { users = [\"bob\"], count = 2 } }", "it takes 2 of 1 users"),
            ("{ approvers = { group = \"a\", count = 2, distinct_groups = true } }", "there are 1 groups"),
            ("{ approvers = { group = \"a\", count = 0 } }", "out of range"),
            ("{ approvers = { group = \"a\" }, ticket = \"(\" }", "no regular expression"),
            ("{ approvers = { group = \"a\" }, ticket = \"((a{200}){200}){200}\" }", "no regular expression"),
            ("{ approvers = { group = \"a\" }, max = \"2h\", total = \"1h\" }", "less than `max`"),
            ("{ approvers = { group = \"a\" }, max = \"9000h\" }", "out of range"),
            ("{ approvers = { group = \"a\" }, tickets = true }", "unknown key"),
            ("{ required = false, operators = false }", "nobody's grant"),
            ("{ operators = false }", "nobody could give"),
            ("{ operators = \"no\", approvers = { group = \"a\" } }", "true or false"),
            ("{ approvers = { group = \"a\" }, preapproved = [] }", "is empty"),
            ("{ approvers = { group = \"a\" }, preapproved = [{ max = \"1h\" }] }", "`when` is missing"),
        ] {
            let faults = read(grant).expect_err(grant);
            assert!(faults.contains(told), "{grant}: {faults}");
        }
    }

    const GLASS: &str = "{ max = \"30m\", review = \"2h\", reviewers = { group = \"leads\" } }";

    /// A rule that may be taken without an approval; `change` says what of it is otherwise.
    fn glass(glass: &str, change: (&str, &str)) -> Result<GlassRule, String> {
        let text = format!(
            "schema = 1\n[[rule]]\nid = \"emergency\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = [\"shell\", \"exec\", \"sftp-read\", \"sftp-write\"]\n\
             key = {{ touch = true }}\nbreak_glass = {glass}\n"
        );
        assert!(text.contains(change.0), "{change:?}");
        let text = text.replacen(change.0, change.1, 1);
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]);
        let told = |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
        set.map(|set| set.rules().next().unwrap().glass.clone().unwrap()).map_err(told)
    }

    #[test]
    fn what_nobody_approves_is_for_named_people_in_sight_and_on_record() {
        let rule = glass(GLASS, ("schema", "schema")).unwrap();
        assert_eq!((rule.max.as_secs(), rule.review.as_secs(), rule.without_key), (1800, 7200, false));
        let channels = "[\"shell\", \"exec\", \"sftp-read\", \"sftp-write\"]";
        for class in ["local-forward", "remote-forward", "agent", "x11"] {
            let told = glass(GLASS, (channels, &format!("[\"shell\", \"{class}\"]"))).expect_err(class);
            assert!(told.contains(&format!("not for {class}")), "{class}: {told}");
        }
        for (change, why) in [
            (("who = { groups = [\"dba\"] }", "who = { users = [\"*\"] }"), "this one is for everyone"),
            (("break_glass", "grant = { required = false }\nbreak_glass"), "the rule needs no grant"),
            (("break_glass", "recording = { durability = \"best-effort\" }\nbreak_glass"), "lets them go on without"),
            (("key = { touch = true }\n", ""), "wants a security key"),
        ] {
            let told = glass(GLASS, change).expect_err(why);
            assert!(told.contains(why), "{why}: {told}");
        }
    }

    #[test]
    fn a_break_glass_that_cannot_be_meant_is_refused_and_what_it_does_not_say_is_short() {
        let careful = glass("{ reviewers = { group = \"leads\" } }", ("schema", "schema")).unwrap();
        assert_eq!((careful.max, careful.review), (GLASS_MAX, GLASS_REVIEW));
        let any_login = "{ reviewers = { group = \"leads\" }, insecure_without_key = true }";
        assert!(glass(any_login, ("key = { touch = true }\n", "")).unwrap().without_key);
        // Where the rule wants a key all the same, its absence is not let pass.
        assert!(!glass(any_login, ("schema", "schema")).unwrap().without_key);
        for (wanted, told) in [
            ("{ max = \"1h\" }", "`reviewers` is missing"),
            ("{ max = \"9h\", reviewers = { group = \"leads\" } }", "out of range"),
            ("{ review = \"169h\", reviewers = { group = \"leads\" } }", "out of range"),
            ("{ reviewers = { group = \"leads\", count = 2 } }", "one reviewer is enough"),
            ("{ reviewers = { group = \"leads\" }, without_key = true }", "unknown key"),
        ] {
            let faults = glass(wanted, ("schema", "schema")).expect_err(wanted);
            assert!(faults.contains(told), "{wanted}: {faults}");
        }
    }
}
