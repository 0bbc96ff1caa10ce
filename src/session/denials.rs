//! What each user was refused last, for `why`.
//!
//! It is kept in memory: a bastion that was started anew has forgotten it. What `why` says comes from what the user was
//! told then, and from the list of where they may go now (`ls`), in which there is nothing but what rules for this user
//! name. So it tells nobody what they could not read before: a destination that does not exist, one that no rule opens
//! for them, and one whose account is not known to be there, are all just not on that list.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Refusal;
use crate::grant::{Access, Denial};
use crate::inspect::Refused;
use crate::ledger::Offer;
use crate::listener::Wanted;
use crate::model::{ChannelClass, Destination, InvalidName, Login, Program, Timestamp, UserName, join};
use crate::screen::line;

/// Users of whom something is kept; of more, the one who was refused longest ago is forgotten.
const USERS_MAX: usize = 4096;
/// So much is kept of what was asked for and of the refusal, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What users were refused last.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<UserName, Denied>>);

/// What a user was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// When.
    pub at: Timestamp,
    /// What they asked for.
    pub asked: String,
    /// What they were told.
    pub told: String,
    /// The right that was missing, if it was that.
    pub missing: Option<(Destination, ChannelClass)>,
}

/// What a user asks for, for `why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// In words.
    text: String,
    /// The right that it needs.
    wanted: Option<(Destination, ChannelClass)>,
}

impl Attempt {
    /// To run something there.
    pub fn program(program: &Program, destination: &Destination) -> Self {
        let what = match program {
            Program::Shell => "a shell",
            Program::Exec(_) => "a command",
            Program::Sftp => "sftp",
            Program::Transfer { transfer, .. } => transfer.name(),
        };
        // The least that it needs: what a rule must open for it to begin.
        let class = program.classes().last().map(|class| (destination.clone(), *class));
        Self { text: format!("{what} at {destination}"), wanted: class }
    }

    /// To see a desktop there.
    pub fn desktop(destination: &Destination) -> Self {
        let wanted = Some((destination.clone(), ChannelClass::Desktop));
        Self { text: format!("a desktop at {destination}"), wanted }
    }

    /// What a channel is for.
    pub fn channel(wanted: &Wanted, login: &Result<Login, InvalidName>) -> Self {
        match (login, wanted) {
            (Ok(Login::Destination { destination, .. }), Wanted::Program(Program::Exec(line))) => {
                Self::program(&Program::of_line(line), destination)
            }
            (Ok(Login::Destination { destination, .. }), Wanted::Program(program)) => {
                Self::program(program, destination)
            }
            (Ok(Login::Destination { destination, .. }), Wanted::Subsystem(name)) if name == "sftp" => {
                Self::program(&Program::Sftp, destination)
            }
            (_, Wanted::Subsystem(name)) => Self::other(&format!("the subsystem {name}")),
            (_, Wanted::Program(Program::Shell)) => Self::other("a shell"),
            (_, Wanted::Program(Program::Sftp)) => Self::other("sftp"),
            (_, Wanted::Program(Program::Exec(asked) | Program::Transfer { asked, .. })) => {
                Self::other(&String::from_utf8_lossy(asked))
            }
        }
    }

    /// In words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Something that needs no right to a destination.
    pub fn other(text: &str) -> Self {
        Self { text: text.to_owned(), wanted: None }
    }
}

impl Denied {
    /// What was asked for and why it was refused.
    pub fn new(at: Timestamp, Attempt { text, wanted }: Attempt, refusal: &Refusal) -> Self {
        let missing = match refusal {
            // Of a login with another key there is no more to say than was told.
            Refusal::Denied(
                Denial::Suspended
                | Denial::Locked { .. }
                | Denial::Undecided { .. }
                | Denial::NeedsKey { .. }
                | Denial::OtherKey { .. }
                | Denial::NeedsMfa { .. }
                | Denial::NeedsConsent { .. }
                | Denial::Unmet { .. }
                | Denial::NoTerminal { .. }
                | Denial::TooManySessions { .. },
            ) => None,
            Refusal::Denied(
                Denial::NoRule(_)
                | Denial::NeedsGrant { .. }
                | Denial::ByOperator { .. }
                | Denial::GrantEnded { .. }
                | Denial::GrantSpent { .. }
                | Denial::GrantRevoked { .. }
                | Denial::NotYet { .. }
                | Denial::UnknownTarget
                | Denial::UnknownUser,
            ) => wanted,
            Refusal::Login(_)
            | Refusal::NoDestination(_)
            | Refusal::Verb(_)
            | Refusal::NothingToAudit { .. }
            | Refusal::Request(_)
            | Refusal::Busy { .. }
            | Refusal::Withdrawn(_)
            | Refusal::Elsewhere
            | Refusal::Idle
            | Refusal::LoginOver(_)
            | Refusal::NotCarried(_)
            | Refusal::TooMany(_)
            | Refusal::NotFound
            | Refusal::Command(_)
            | Refusal::Recorder(_)
            | Refusal::Audit(_)
            | Refusal::Vault(_)
            | Refusal::Dial(_)
            | Refusal::Paused
            | Refusal::Unwatched
            | Refusal::Ended(_) => None,
        };
        Self { at, asked: cut(&text), told: cut(&refusal.public_text(at)), missing }
    }

    /// Something that is refused whoever asks for it.
    pub fn of_nobody(at: Timestamp, asked: &str) -> Self {
        let told = String::from("not allowed here. Where you may go, and what you may do there: ssh USER@BASTION ls");
        Self { at, asked: cut(asked), told, missing: None }
    }

    /// What a user wanted to do with files.
    pub fn of_file(at: Timestamp, Refused { what, told }: &Refused, destination: &Destination) -> Self {
        Self { at, asked: cut(&format!("sftp at {destination}: {what}")), told: cut(told), missing: None }
    }

    /// A command that was judged.
    pub fn of_command(at: Timestamp, typed: &str, told: &str, destination: &Destination) -> Self {
        Self {
            at,
            asked: cut(&format!("at {destination}: {typed}")),
            told: cut(&told.replace("\n         ", ". ")),
            missing: None,
        }
    }

    /// What to do about it, now that `offer` is what the user's list says of the destination; `None` if what they were
    /// told says it all.
    pub fn next(&self, offer: Option<&Offer>, now: Timestamp) -> Option<String> {
        let (_, class) = self.missing.as_ref()?;
        let Some(offer) = offer else {
            return Some(String::from(
                "it is not among the destinations that rules name for you (ssh USER@BASTION ls): check the spelling, or \
                 ask an operator for a right",
            ));
        };
        if offer.open.contains(class) {
            return Some(String::from("you may do it now: try again"));
        }
        if offer.with_key.contains(class) {
            return Some(String::from(
                "a rule opens it to a login with a security key, its touch or its PIN: log in so",
            ));
        }
        if !offer.with_grant.contains(class) {
            let all = join(offer.open.union(&offer.with_grant));
            return Some(format!("rules for you open {all} there, and not {class}: ask an operator for a right"));
        }
        Some(match offer.access {
            Access::Begins { from } => format!("your grant begins at {}: try again then", from.clock_time_from(now)),
            Access::Open | Access::Granted { .. } | Access::NeedsGrant | Access::NeedsKey => {
                let of_whom = match (offer.may_ask, offer.operators_may) {
                    (_, true) => "Ask for one: ssh USER@BASTION request, or an operator",
                    (true, false) => "Ask for one: ssh USER@BASTION request; no operator's own counts",
                    (false, false) => "Nobody approves it: ssh USER@BASTION break-glass takes one, in an emergency",
                };
                format!("a rule lets you do it while you hold a grant. {of_whom}")
            }
        })
    }
}

/// Text of a user's own, short and harmless.
fn cut(text: &str) -> String {
    line(&text.chars().take(TEXT_CHARS_MAX).collect::<String>())
}

impl Denials {
    /// Keeps a refusal, unless it says no more than that a verb was mistyped, or comes too soon: it would hide the one
    /// that the user asks about.
    pub fn note(&self, user: &UserName, at: Timestamp, asked: Attempt, refusal: &Refusal) {
        if !matches!(refusal, Refusal::Verb(_) | Refusal::Busy { .. }) {
            self.keep(user, Denied::new(at, asked, refusal));
        }
    }

    /// Keeps what this user was refused, in the place of what was before.
    pub fn keep(&self, user: &UserName, denied: Denied) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= USERS_MAX && !all.contains_key(user) {
            let oldest = all.iter().min_by_key(|(_, denied)| denied.at).map(|(user, _)| user.clone());
            oldest.and_then(|user| all.remove(&user));
        }
        all.insert(user.clone(), denied);
    }

    /// What this user was refused last.
    pub fn last(&self, user: &UserName) -> Option<Denied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::RuleId;
    use crate::policy::DenyReason;
    use crate::session::verb::Misread;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn denied(refusal: &Refusal) -> Denied {
        let asked = Attempt::program(&Program::Shell, &Destination::parse("root@db1").unwrap());
        Denied::new(at(5), asked, refusal)
    }

    fn offer(access: Access, open: &[ChannelClass], with_grant: &[ChannelClass]) -> Offer {
        let destination = Destination::parse("root@db1").unwrap();
        let set = |classes: &[ChannelClass]| classes.iter().copied().collect::<BTreeSet<_>>();
        Offer {
            destination,
            access,
            ready: true,
            open: set(open),
            with_grant: set(with_grant),
            may_ask: false,
            operators_may: true,
            with_key: BTreeSet::new(),
        }
    }

    // P10: what is not on the user's own list is all the same, whatever the reason.
    #[test]
    fn why_tells_nothing_that_the_users_own_list_does_not() {
        let rule = RuleId::parse("dba").unwrap();
        let [unknown, ruled_out, grantless] =
            [Denial::UnknownTarget, Denial::NoRule(DenyReason::NoRule), Denial::NeedsGrant { rule }]
                .map(|denial| denied(&Refusal::Denied(denial)));
        assert_eq!(unknown, ruled_out);
        assert_eq!(unknown, grantless);
        assert!(unknown.next(None, at(5)).unwrap().contains("not among"));
        assert!(!format!("{grantless:?}{:?}", grantless.next(None, at(5))).contains("dba"));
    }

    #[test]
    fn why_says_what_to_do_by_what_is_on_the_list_now() {
        use ChannelClass::{SftpRead, Shell};
        let denied = denied(&Refusal::Denied(Denial::UnknownTarget));
        let next = |offer: Offer| denied.next(Some(&offer), at(5)).unwrap();
        assert!(next(offer(Access::NeedsGrant, &[], &[Shell])).contains("USER@BASTION request"));
        assert!(next(offer(Access::Begins { from: at(9) }, &[], &[Shell])).contains("begins at"));
        assert!(next(offer(Access::Granted { until: at(9) }, &[Shell], &[])).contains("try again"));
        assert!(next(offer(Access::Open, &[SftpRead], &[])).contains("open sftp-read there, and not shell"));
    }

    #[test]
    fn what_has_nothing_to_do_with_rights_is_told_as_it_was() {
        for refusal in [Refusal::Denied(Denial::Suspended), Refusal::Command("no"), Refusal::Elsewhere] {
            let denied = denied(&refusal);
            assert_eq!((denied.told.as_str(), denied.next(None, at(5))), (refusal.public_text(at(5)).as_str(), None));
        }
    }

    #[test]
    fn a_mistyped_verb_hides_no_denial() {
        let (denials, alice) = (Denials::default(), UserName::parse("alice").unwrap());
        denials.note(&alice, at(1), Attempt::other("sftp"), &Refusal::Denied(Denial::Suspended));
        denials.note(&alice, at(2), Attempt::other("wyh"), &Refusal::Verb(Misread::Unknown));
        assert_eq!(denials.last(&alice).unwrap().asked, "sftp");
    }

    #[test]
    fn only_the_last_is_kept_and_of_so_many_users() {
        let denials = Denials::default();
        let user = |number: usize| UserName::parse(&format!("u{number}")).unwrap();
        for number in 0..USERS_MAX + 10 {
            let time = at(i64::try_from(number).unwrap());
            denials.keep(&user(number), Denied { at: time, ..denied(&Refusal::Elsewhere) });
        }
        assert_eq!(denials.0.lock().unwrap().len(), USERS_MAX);
        assert_eq!(denials.last(&user(9)), None);
        denials.keep(&user(10), Denied::of_nobody(at(1), &"\u{1b}]52;".repeat(1000)));
        let last = denials.last(&user(10)).unwrap();
        assert_eq!(last.asked.chars().count(), TEXT_CHARS_MAX);
        assert!(!last.asked.contains('\u{1b}'));
    }
}
