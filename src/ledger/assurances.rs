//! What users have done since they logged in: a one-time code, their yes to a text. In memory only: a bastion that was
//! started anew asks again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Ledger, question};
use crate::grant::{Asker, Denial};
use crate::model::{Asked, Destination, Timestamp, UserName};
use crate::policy::{Circumstances, Consents, Decision, DenyReason, Mfa, Question, Rule, decide};

/// A user's yes counts so long, for sessions that begin.
const CONSENT_LASTS: Duration = Duration::from_secs(12 * 3600);
/// Codes of so many users, each by one key from one address, and the consent of so many are kept; of more, the oldest is
/// forgotten, and asked for again.
const KEPT_MAX: usize = 8192;
/// Texts that one user has agreed to by one key.
const TEXTS_MAX: usize = 64;
/// Times at which the wall clock was set back that are remembered.
const STEPS_MAX: usize = 64;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Assurances(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By user, by what proved who they are, and from where.
    mfa: HashMap<(UserName, String, IpAddr), Timestamp>,
    /// By user and by what proved who they are: what they have agreed to, and when.
    consents: HashMap<(UserName, String), BTreeMap<Arc<str>, Timestamp>>,
    /// What the wall clock showed before it was set back, and by how much that was; the newest few.
    set_back: Vec<(Timestamp, Duration)>,
    /// Whether nothing is known to keep the clock right.
    clock_in_doubt: bool,
}

impl Kept {
    /// When something was done, as the wall clock would have shown it by how it is set now, or earlier: what it showed at
    /// the time may come again, so that what was done since it was set back is taken for older than it is.
    fn by_now(&self, at: Timestamp) -> Timestamp {
        self.set_back.iter().fold(at, |at, (before, step)| if at <= *before { at.minus(*step) } else { at })
    }
}

/// What counts for one who asks.
pub(super) struct Assured {
    /// When they last proved themselves by a second factor.
    pub mfa: Option<Timestamp>,
    consents: BTreeSet<Arc<str>>,
    synced: bool,
}

impl Assurances {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts for whoever asks, when a session begins or has begun.
    pub fn of(&self, asker: Asker<'_>, now: Timestamp) -> Assured {
        let kept = self.kept();
        let typed = kept.mfa.get(&(asker.user.clone(), asker.key.to_owned(), asker.source)).copied();
        let begins = asker.since.unwrap_or(now);
        // A clock that was set back makes nothing last longer: what is to come has not been done. What a session began
        // with is past, whatever the clock shows.
        let done = |at: &Timestamp| asker.since.is_some() || *at <= now;
        let own = kept.consents.get(&(asker.user.clone(), asker.key.to_owned())).into_iter().flatten();
        let counts = own.filter(|(_, given)| done(given) && given.until(begins) <= CONSENT_LASTS);
        let login = asker.mfa.map(|at| kept.by_now(at));
        let mfa = [login, typed].into_iter().flatten().filter(done).max();
        Assured { mfa, consents: counts.map(|(text, _)| Arc::clone(text)).collect(), synced: !kept.clock_in_doubt }
    }
}

impl Assured {
    /// The circumstances of whoever asks.
    pub fn circumstances(&self, asker: Asker<'_>, now: Timestamp) -> Circumstances<'_> {
        let begins = asker.since.unwrap_or(now);
        Circumstances {
            now: Some(now),
            since: asker.since,
            source: Some(asker.source),
            mfa: self.mfa.map_or(Mfa::Never, |proven| Mfa::Ago(proven.until(begins))),
            consents: Consents::These(&self.consents),
            synced: self.synced,
        }
    }
}

impl Ledger {
    /// How long ago whoever asks has proven themselves by a second factor; `None`: they have not.
    pub fn mfa_age(&self, asker: Asker<'_>, now: Timestamp) -> Option<Duration> {
        self.assurances.of(asker, now).mfa.map(|at| at.until(now))
    }

    /// Notes that this user has just proven themselves by a second factor: on this login, and on others by the same key
    /// from the same place.
    pub fn note_mfa(&self, asker: Asker<'_>, now: Timestamp) {
        let mut kept = self.assurances.kept();
        make_room(&mut kept.mfa, KEPT_MAX, |at| *at);
        kept.mfa.insert((asker.user.clone(), asker.key.to_owned(), asker.source), now);
    }

    /// Notes whether a program is known to keep the clock right.
    pub fn set_synced(&self, synced: bool) {
        self.assurances.kept().clock_in_doubt = !synced;
    }

    /// Goes by a wall clock that was set back by `step` to `after`: no code and no yes counts for longer.
    pub fn set_back_assurances(&self, step: Duration, after: Timestamp) {
        let mut kept = self.assurances.kept();
        kept.mfa.values_mut().for_each(|at| *at = at.minus(step));
        kept.consents.values_mut().flat_map(BTreeMap::values_mut).for_each(|at| *at = at.minus(step));
        if kept.set_back.len() >= STEPS_MAX {
            // What it is about is older than any code lasts, or the clock is not to be helped.
            kept.set_back.remove(0);
        }
        kept.set_back.push((after.plus(step), step));
    }

    /// Notes that this user has agreed to a text, which is on record.
    pub fn note_consent(&self, asker: Asker<'_>, text: &Arc<str>, now: Timestamp) {
        let mut kept = self.assurances.kept();
        make_room(&mut kept.consents, KEPT_MAX, |texts| texts.values().max().copied().unwrap_or(now));
        let own = kept.consents.entry((asker.user.clone(), asker.key.to_owned())).or_default();
        if own.len() >= TEXTS_MAX {
            let oldest = own.iter().min_by_key(|(_, at)| **at).map(|(text, _)| Arc::clone(text));
            oldest.and_then(|text| own.remove(&text));
        }
        own.insert(Arc::clone(text), now);
    }

    /// Whether rules let this user do this there now, were there a grant.
    pub fn might_now(&self, asker: Asker<'_>, destination: &Destination, asked: &Asked, now: Timestamp) -> bool {
        let assured = self.assurances.of(asker, now);
        !matches!(self.decided(asker, destination, asked, assured.circumstances(asker, now)), Decision::Deny(_))
    }

    /// What the user must still do, a one-time code or a yes, before rules let them do this there now, were there a
    /// grant; `None` if that is nothing, or would not help.
    pub fn unassured(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
    ) -> Option<Denial> {
        let assured = self.assurances.of(asker, now);
        let given = assured.circumstances(asker, now);
        let would = |circumstances| match self.decided(asker, destination, asked, circumstances) {
            Decision::Allow(allowed) | Decision::NeedsGrant(allowed) => Some(allowed.rule),
            Decision::Deny(_) => None,
        };
        if would(given).is_some() {
            return None;
        }
        if let Some(rule) = would(Circumstances { mfa: Mfa::Any, ..given }) {
            return Some(Denial::NeedsMfa { rule });
        }
        if let Some(rule) = would(Circumstances { consents: Consents::Any, ..given }) {
            return Some(Denial::NeedsConsent { rule });
        }
        let both = Circumstances { mfa: Mfa::Any, consents: Consents::Any, ..given };
        would(both).map(|rule| Denial::NeedsMfa { rule })
    }

    fn decided(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        asked: &Asked,
        circumstances: Circumstances<'_>,
    ) -> Decision {
        let state = self.state();
        let Ok((stored, target)) = state.parties(asker.user, destination) else {
            return Decision::Deny(DenyReason::NoRule);
        };
        let best = question(stored, target, destination, Some(asked));
        decide(&state.policy(), &Question { presence: asker.presence, circumstances, ..best })
    }

    /// The rules for this user that want consent which has not been given lately, one of each text.
    pub fn consents_wanted(&self, asker: Asker<'_>, now: Timestamp) -> Vec<Rule> {
        let state = self.state();
        let Some((_, stored)) = state.users.get(asker.user).filter(|(_, user)| !user.is_suspended(now)) else {
            return Vec::new();
        };
        let given = self.assurances.of(asker, now).consents;
        let mut wanted: Vec<Rule> = Vec::new();
        for rule in state.policy().rules().filter(|rule| rule.who.covers(&stored.name, &stored.groups)) {
            let Some(text) = &rule.conditions.consent else { continue };
            if !given.contains(text) && wanted.iter().all(|other| other.conditions.consent.as_ref() != Some(text)) {
                wanted.push(rule.clone());
            }
        }
        wanted
    }
}

fn make_room<K: Clone + Eq + Hash, V>(kept: &mut HashMap<K, V>, most: usize, age: impl Fn(&V) -> Timestamp) {
    if kept.len() >= most {
        let oldest = kept.iter().min_by_key(|(_, value)| age(value)).map(|(key, _)| key.clone());
        oldest.and_then(|key| kept.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn what_was_done_counts_for_the_key_and_place_it_was_done_with() {
        let assurances = Assurances::default();
        let (alice, bob) = (UserName::parse("alice").unwrap(), UserName::parse("bob").unwrap());
        let text: Arc<str> = "You are recorded.".into();
        let asker = |user, key, source: [u8; 4], since: Option<i64>| Asker {
            source: IpAddr::from(source),
            since: since.map(at),
            ..Asker::plain(user, key)
        };
        let home = [10, 0, 0, 1];
        let own = asker(&alice, "k", home, None);
        assurances.kept().mfa.insert((alice.clone(), "k".into(), own.source), at(100));
        let texts = BTreeMap::from([(text.clone(), at(100))]);
        assurances.kept().consents.insert((alice.clone(), "k".into()), texts);
        let counts = |asker: Asker<'_>, now: i64| {
            let assured = assurances.of(asker, at(now));
            (assured.circumstances(asker, at(now)).mfa, assured.consents.contains(&text))
        };
        let ago = |seconds| Mfa::Ago(Duration::from_secs(seconds));
        assert_eq!(counts(own, 160), (ago(60), true));
        assert_eq!(counts(asker(&alice, "k", [10, 0, 0, 2], None), 160), (Mfa::Never, true));
        assert_eq!(counts(asker(&alice, "other", home, None), 160), (Mfa::Never, false));
        assert_eq!(counts(asker(&bob, "k", home, None), 160), (Mfa::Never, false));
        // Twelve hours, for a session that begins; one that has begun keeps what it began with.
        assert!(counts(own, 100 + 43_200).1 && !counts(own, 100 + 43_201).1);
        assert_eq!(counts(asker(&alice, "k", home, Some(160)), 100_000), (ago(60), true));
        // A login by a second factor counts as well, whichever is later.
        assert_eq!(counts(Asker { mfa: Some(at(150)), ..own }, 160).0, ago(10));
        assert_eq!(counts(Asker { mfa: Some(at(50)), ..own }, 160).0, ago(60));
        // Threat T15: before it was done it counts for nothing, whoever sets the clock back.
        assert_eq!(counts(own, 99), (Mfa::Never, false));
        assert_eq!(counts(Asker { mfa: Some(at(150)), ..own }, 120).0, ago(20));
    }

    #[test]
    fn t15_a_clock_set_back_makes_no_second_factor_fresh_again() {
        let ledger = Ledger::open(&crate::db::Db::in_memory().unwrap(), crate::policy::PolicySet::empty()).unwrap();
        let (alice, text): (_, Arc<str>) = (UserName::parse("alice").unwrap(), "You are recorded.".into());
        let asker = Asker { mfa: Some(at(1000)), ..Asker::plain(&alice, "k") };
        ledger.note_consent(asker, &text, at(1000));
        let counts = |asker: Asker<'_>, now: i64| {
            let assured = ledger.assurances.of(asker, at(now));
            (assured.circumstances(asker, at(now)).mfa, assured.consents.contains(&text))
        };
        let ago = |seconds| Mfa::Ago(Duration::from_secs(seconds));
        assert_eq!(counts(asker, 1100), (ago(100), true));
        // At 1100 it is set back to 500: a hundred seconds have passed and no more, and they are not counted anew.
        ledger.set_back_assurances(Duration::from_secs(600), at(500));
        assert_eq!(counts(asker, 500), (ago(100), true));
        assert_eq!(counts(asker, 1050), (ago(650), true));
        assert_eq!(counts(asker, 400 + 43_201), (ago(43_201), false));
        // A code that is typed since then counts from then on; a login in the hour that comes again, as an older one.
        let typed = Asker { mfa: None, ..asker };
        ledger.note_mfa(typed, at(510));
        assert_eq!(counts(typed, 520).0, ago(10));
        let login = Asker { mfa: Some(at(510)), ..Asker::plain(&alice, "other") };
        assert_eq!(counts(login, 520).0, ago(610));
        assert_eq!(counts(Asker { mfa: Some(at(1101)), ..login }, 1111).0, ago(10));
    }

    #[test]
    fn a_clock_that_nothing_keeps_counts_for_whoever_asks() {
        let ledger = Ledger::open(&crate::db::Db::in_memory().unwrap(), crate::policy::PolicySet::empty()).unwrap();
        let alice = UserName::parse("alice").unwrap();
        let asker = Asker::plain(&alice, "k");
        let synced = || ledger.assurances.of(asker, at(1)).circumstances(asker, at(1)).synced;
        assert!(synced());
        ledger.set_synced(false);
        assert!(!synced());
        ledger.set_synced(true);
        assert!(synced());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = HashMap::new();
        for number in 0..KEPT_MAX + 10 {
            make_room(&mut kept, KEPT_MAX, |at| *at);
            kept.insert(number, at(i64::try_from(number).unwrap()));
        }
        assert_eq!(kept.len(), KEPT_MAX);
        assert!(!kept.contains_key(&9) && kept.contains_key(&10));
    }
}
