//! Stored users, targets and grants, and the policy in force; asks `grant` for permits.
//!
//! Everything is read once, at `open`, and answered from memory; each change is durable in the database before
//! memory shows it. The state's lock keeps other processes out, so that memory and database cannot differ.
//!
//! Trust: an attacker who can write the database's files without the master key can take entries away, but cannot
//! make or change one (its values are sealed and bound to their keys).

mod assurances;
mod begun;
mod commands;
mod desktop;
mod edition;

mod error;
mod given;
mod locks;
mod offboarding;
mod offers;
mod outbox;
mod removals;
mod requests;
mod set_back;
mod signoffs;
mod user;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use crate::audit::AuditEvent;
use crate::db::{Db, Rev, Table};
use crate::grant::{AccessRequest, Asker, Denial, Grant, GrantState, Lock, Permit, Revoked};
use crate::model::{
    AccountName, Asked, ChannelClass, Destination, GrantId, LockId, Presence, RequestId, RuleId, SessionId, TargetName,
    Timestamp, UserName,
};
use crate::policy::{
    Allowed, AuditQuestion, AuditRight, Circumstances, Decision, Givers, GrantNeed, PolicySet, Question, Rule,
    audits_somewhere, decide, decide_audit,
};
use crate::trust::Trust;
pub use begun::Beginning;
pub use commands::Commands;
pub use desktop::{DesktopChange, DesktopTarget, certificate_fingerprint, desktop_address};
pub use error::LedgerError;
pub use offboarding::Offboarding;
pub use offers::{Offer, Offers};
pub use outbox::{CommandFacts, Delivery, Message};
pub use removals::{Hold, Removal, RemovalKind};
pub use requests::{Step, StepKind};
pub use signoffs::{REVIEW_PERIOD, SignOff, SignOffVerdict};
pub use user::{User, UserKey, check_user_key, is_security_key};
pub use ways::{Covered, Holder, Way, WayGrant, WayQuery, WayRequest, Ways};

/// Keys of one user, and host keys of one target: more are a mistake, and make a value too large for the store.
const KEYS_MAX: usize = 16;
/// Bytes of a text that an operator gives: a reason, a label, a key's comment.
const TEXT_BYTES_MAX: usize = 512;
/// Labels of one target, accounts of one target, groups of one user.
const NAMES_MAX: usize = 100;

/// A machine reached through the bastion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The name that users type.
    pub name: TargetName,
    /// `host:port` of its SSH; empty where it is reached over RDP alone.
    pub address: String,
    /// What rules may ask for.
    pub labels: BTreeMap<String, String>,
    /// The pinned host keys, in OpenSSH form without comments. Nothing is sent to a machine that has none of them.
    pub host_keys: Vec<String>,
    /// Accounts that are known to be there. For listings: rules decide which may be used.
    pub accounts: BTreeSet<AccountName>,
    /// Whether its leg may use broken algorithms: old gear has no others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_algorithms: bool,
    /// How it is reached over RDP; `None` where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopTarget>,
}

/// Reads a public key in OpenSSH form.
///
/// # Errors
/// `LedgerError::BadKey`.
pub fn public_key(text: &str) -> Result<ssh_key::PublicKey, LedgerError> {
    ssh_key::PublicKey::from_openssh(text.trim()).map_err(|error| LedgerError::BadKey { why: error.to_string() })
}

/// The key's fingerprint as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &ssh_key::PublicKey) -> String {
    key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
}

/// The key in OpenSSH form, without its comment.
///
/// # Errors
/// `LedgerError::BadKey`.
pub fn plain(key: &ssh_key::PublicKey) -> Result<String, LedgerError> {
    let bare = ssh_key::PublicKey::new(key.key_data().clone(), "");
    let text = bare.to_openssh().map_err(|error| LedgerError::BadKey { why: error.to_string() })?;
    Ok(text.trim_end().to_owned())
}

/// Checks `host:port`; a host alone gets port 22. Returns what to store.
///
/// # Errors
/// `LedgerError::BadAddress`.
pub fn address(text: &str) -> Result<String, LedgerError> {
    address_with(text, "22")
}

fn address_with(text: &str, usual: &str) -> Result<String, LedgerError> {
    let bad = || LedgerError::BadAddress { text: text.chars().take(80).collect() };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(bad)?;
            let _: std::net::Ipv6Addr = host.parse().map_err(|_| bad())?;
            (format!("[{host}]"), if after.is_empty() { Some(usual) } else { after.strip_prefix(':') })
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (format!("[{text}]"), Some(usual)),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, usual));
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.chars().all(good) {
                return Err(bad());
            }
            (host.to_owned(), Some(port))
        }
    };
    let port = port.filter(|port| port.chars().all(|c| c.is_ascii_digit())).ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    if port == 0 { Err(bad()) } else { Ok(format!("{host}:{port}")) }
}

/// How a grant would stand with the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantEffect {
    /// Rules open these channels only with a grant.
    Opens(BTreeSet<ChannelClass>),
    /// A rule opens everything that a grant could, without one.
    Needless(Decision),
    /// Rules open something only with a grant, and this one, the first of them, counts no operator's own; nor do the others.
    NotOperators(Box<Rule>),
    /// No rule names this user, target and account.
    None,
}

/// The stored facts and the rules.
pub struct Ledger {
    db: Db,
    /// INVARIANT: held while the database and then `state` are changed, so that both take changes in one order.
    tables: Mutex<Tables>,
    state: RwLock<State>,
    changes: AtomicU64,
    assurances: assurances::Assurances,
    /// Told of each message that is added.
    added: tokio::sync::Notify,
}

struct Tables {
    users: Table<User>,
    targets: Table<Target>,
    grants: Table<Grant>,
    holds: Table<Hold>,
    removals: Table<Removal>,
    requests: Table<AccessRequest>,
    locks: Table<Lock>,
    offboardings: Table<Offboarding>,
    steps: Table<Step>,
    owed: Table<AuditEvent>,
    messages: Table<Message>,
    signoffs: Table<SignOff>,
    beginnings: Table<Beginning>,
    given: Table<Grant>,
}

#[derive(Default)]
struct State {
    users: BTreeMap<UserName, (Rev, User)>,
    /// INVARIANT: has the fingerprint of every key in `users`, and no other.
    owners: BTreeMap<String, UserName>,
    targets: BTreeMap<TargetName, (Rev, Target)>,
    grants: BTreeMap<GrantId, (Rev, Grant)>,
    by_place: BTreeMap<(UserName, Destination), BTreeSet<GrantId>>,
    /// INVARIANT: has every grant of `by_place`, with the time at which it ends.
    by_end: BTreeMap<(UserName, Destination), BTreeSet<(Timestamp, GrantId)>>,
    holds: BTreeMap<SessionId, (Rev, Hold)>,
    signoffs: BTreeMap<String, (Rev, SignOff)>,
    requests: BTreeMap<RequestId, (Rev, AccessRequest)>,
    locks: BTreeMap<LockId, (Rev, Lock)>,
    /// Which requests have a step that is not finished.
    steps: BTreeMap<RequestId, Rev>,
    messages: BTreeMap<String, (Rev, Message)>,
    policy: Option<Arc<PolicySet>>,
    trust: Arc<Trust>,
}

impl Ledger {
    /// Reads everything.
    ///
    /// # Errors
    /// If the database cannot be read, or two users have one key.
    pub fn open(db: &Db, policy: PolicySet) -> Result<Self, LedgerError> {
        let tables = Tables {
            users: db.table("users"),
            targets: db.table("targets"),
            grants: db.table("grants"),
            holds: db.table("holds"),
            removals: db.table("removals"),
            requests: db.table("requests"),
            locks: db.table("locks"),
            offboardings: db.table("offboardings"),
            steps: db.table("request-steps"),
            owed: db.table("owed-events"),
            messages: db.table("messages"),
            signoffs: db.table("sign-offs"),
            beginnings: db.table("beginnings"),
            given: db.table("given-grants"),
        };
        let mut state = State { policy: Some(Arc::new(policy)), ..State::default() };
        for (_, rev, user) in tables.users.list("")? {
            state.check_keys(&user)?;
            state.set_user(rev, user);
        }
        for (_, rev, target) in tables.targets.list("")? {
            state.targets.insert(target.name.clone(), (rev, target));
        }
        for (_, rev, grant) in tables.grants.list("")? {
            state.set_grant(rev, grant);
        }
        for (_, rev, request) in tables.requests.list("")? {
            state.requests.insert(request.id.clone(), (rev, request));
        }
        for (_, rev, message) in tables.messages.list("")? {
            state.set_message(rev, message);
        }
        for (_, rev, lock) in tables.locks.list("")? {
            state.locks.insert(lock.id.clone(), (rev, lock));
        }
        for (_, rev, step) in tables.steps.list("")? {
            state.steps.insert(step.request.id, rev);
        }
        for (name, rev, signed) in tables.signoffs.list("")? {
            state.signoffs.insert(name, (rev, signed));
        }
        for (name, rev, hold) in tables.holds.list("")? {
            // The key was an id when it was stored.
            if let Ok(session) = SessionId::parse(&name) {
                state.holds.insert(session, (rev, hold));
            }
        }
        let (tables, state) = (Mutex::new(tables), RwLock::new(state));
        let (changes, assurances, added) = (AtomicU64::new(0), Default::default(), Default::default());
        Ok(Self { db: db.clone(), tables, state, changes, assurances, added })
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        // Counted before anybody can ask the changed state: an answer from it has its number, or a later one.
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How often anything here has changed: what was answered at the same number would be answered alike, at the same time.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Policy.

    /// The rules in force.
    pub fn policy(&self) -> Arc<PolicySet> {
        self.state().policy()
    }

    /// Puts other rules in force. Live sessions must be judged again after it.
    pub fn set_policy(&self, policy: PolicySet) {
        self.change(|state| state.policy = Some(Arc::new(policy)));
    }

    // Certificates.

    /// Which certificates count, and which keys do not.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.state().trust)
    }

    /// Puts other lists in force; what cannot be read keeps for live sessions what it said before. Live sessions must be
    /// judged again after it.
    pub fn set_trust(&self, trust: Trust) {
        self.change(|state| state.trust = Arc::new(trust.after(&state.trust)));
    }

    /// Whether this user may open such a channel there now, having logged in so; a forward anywhere.
    ///
    /// # Errors
    /// `Denial` says why not.
    pub fn permit(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        class: ChannelClass,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        self.permit_asked(asker, destination, &class.into(), now)
    }

    /// Whether this user may open this channel there now; of a forward, whether it may lead where it does.
    ///
    /// # Errors
    /// `Denial` says why not.
    pub fn permit_asked(
        &self,
        asker: Asker<'_>,
        destination: &Destination,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        let assured = self.assurances.of(asker, now);
        self.state().permit_asked(asker, &assured, destination, asked, now)
    }

    /// Whether any rule lets this user do this there, were there a grant and the best of logins.
    pub fn might(&self, user: &UserName, destination: &Destination, asked: &Asked) -> bool {
        let state = self.state();
        let Ok((stored, target)) = state.parties(user, destination) else { return false };
        match decide(&state.policy(), &question(stored, target, destination, Some(asked))) {
            Decision::Allow(_) | Decision::NeedsGrant(_) => true,
            Decision::Deny(_) => false,
        }
    }

    /// Whether any rule that names paths for SFTP covers this user there, were there a grant and the best of logins. So it does
    /// where nobody knows: at a target that is gone.
    pub fn names_paths(&self, user: &UserName, destination: &Destination) -> bool {
        let state = self.state();
        let Ok((stored, target)) = state.parties(user, destination) else { return true };
        let question = question(stored, target, destination, None);
        state.policy().rules().any(|rule| rule.files.is_some() && rule.covers(&question))
    }

    /// Whether a forward of this user's there to some name may lead to this port by an address: only then is a name looked
    /// up. Whether any forward is open to the user now, with its grant, is another question.
    pub fn looks_up(&self, user: &UserName, destination: &Destination, port: u16) -> bool {
        let state = self.state();
        let Ok((stored, target)) = state.parties(user, destination) else { return false };
        let policy = state.policy();
        let asked = ChannelClass::LocalForward.into();
        let question = question(stored, target, destination, Some(&asked));
        policy.forbidden_by(&question).is_none()
            && policy.rules().any(|rule| rule.covers(&question) && rule.looks_up(port))
    }

    /// Whether SSH to a target, in a forward of this user's from there, ends at the bastion: by a rule that holds now.
    pub fn ends_ssh(&self, asker: Asker<'_>, destination: &Destination, now: Timestamp) -> bool {
        let state = self.state();
        let Ok((stored, target)) = state.parties(asker.user, destination) else { return false };
        let policy = state.policy();
        let assured = self.assurances.of(asker, now);
        let (presence, circumstances) = (asker.presence, assured.circumstances(asker, now));
        let asked = ChannelClass::LocalForward.into();
        let closed = question(stored, target, destination, Some(&asked));
        if policy.forbidden_by(&closed).is_some() {
            return false;
        }
        let question = Question { presence, circumstances, ..question(stored, target, destination, None) };
        let place = (asker.user.clone(), destination.clone());
        let grants = || {
            let ids = state.by_place.get(&place).into_iter().flatten();
            ids.filter_map(|id| state.grants.get(id)).map(|(_, grant)| grant)
        };
        let held = |rule: &Rule| {
            let holds = |grant: &Grant| grant.state(now) == GrantState::Active && grant.is_for_key(asker.key);
            grants().any(|grant| {
                holds(grant)
                    && grant.is_for(&rule.id, rule.grant.givers)
                    && grant.opens(Some(ChannelClass::LocalForward))
            })
        };
        let mut ending = policy.rules().filter(|rule| rule.ends_ssh() && rule.covers(&question));
        !stored.is_suspended(now) && ending.any(|rule| rule.grant.need == GrantNeed::NotRequired || held(rule))
    }

    /// The `[[audit]]` rule that lets this user do this with what was recorded on this target; none if none does, or if
    /// the user is suspended or unknown. A target that is no longer registered has no labels.
    pub fn audit_rule(
        &self,
        user: &UserName,
        target: &TargetName,
        right: AuditRight,
        now: Timestamp,
    ) -> Option<RuleId> {
        let state = self.state();
        let (_, stored) = state.users.get(user).filter(|(_, user)| !state.is_barred(user, now))?;
        let none = BTreeMap::new();
        let labels = state.targets.get(target).map_or(&none, |(_, target)| &target.labels);
        let question = AuditQuestion { user, groups: &stored.groups, target, labels, right };
        decide_audit(&state.policy(), &question).map(|rule| rule.id.clone())
    }

    /// Whether this user has this right anywhere; who has not need not be searched for.
    pub fn audits_somewhere(&self, user: &UserName, right: AuditRight, now: Timestamp) -> bool {
        let state = self.state();
        let stored = state.users.get(user).filter(|(_, user)| !state.is_barred(user, now));
        stored.is_some_and(|(_, stored)| audits_somewhere(&state.policy(), user, &stored.groups, right))
    }

    /// What the rules say of this user there, whether any channel may be opened; suspension is not looked at.
    ///
    /// # Errors
    /// `Denial` if the user or the target does not exist.
    pub fn decision(&self, user: &UserName, destination: &Destination) -> Result<Decision, Denial> {
        let state = self.state();
        let (stored, target) = state.parties(user, destination)?;
        Ok(decide(&state.policy(), &question(stored, target, destination, None)))
    }

    /// Whether any rule lets this user reach the target, whatever the account, with a grant or without.
    pub fn reaches(&self, user: &UserName, target: &TargetName) -> bool {
        let state = self.state();
        let (Some((_, stored)), Some((_, target))) = (state.users.get(user), state.targets.get(target)) else {
            return false;
        };
        let policy = state.policy();
        policy.rules().any(|rule| rule.reaches(&stored.name, &stored.groups, &target.name, &target.labels))
    }

    /// What a grant that an operator gives to this user there would do.
    ///
    /// # Errors
    /// `Denial` if the user or the target does not exist.
    pub fn grant_effect(&self, user: &UserName, destination: &Destination) -> Result<GrantEffect, Denial> {
        let state = self.state();
        let (stored, target) = state.parties(user, destination)?;
        let policy = state.policy();
        let (mut opens, mut shut) = (BTreeSet::new(), None);
        for class in ChannelClass::ALL {
            match decide(&policy, &question(stored, target, destination, Some(&class.into()))) {
                Decision::NeedsGrant(Allowed { rules, .. })
                    if rules.iter().any(|(_, givers)| *givers == Givers::Everyone) =>
                {
                    opens.insert(class);
                }
                Decision::NeedsGrant(Allowed { rule, .. }) => shut = shut.or(Some(rule)),
                Decision::Allow(_) | Decision::Deny(_) => {}
            }
        }
        if !opens.is_empty() {
            return Ok(GrantEffect::Opens(opens));
        }
        if let Some(rule) = shut.and_then(|shut| policy.rules().find(|rule| rule.id == shut)) {
            return Ok(GrantEffect::NotOperators(Box::new(rule.clone())));
        }
        Ok(match decide(&policy, &question(stored, target, destination, None)) {
            Decision::Deny(_) => GrantEffect::None,
            decision @ (Decision::Allow(_) | Decision::NeedsGrant(_)) => GrantEffect::Needless(decision),
        })
    }

    // Users.

    /// All users, by name.
    pub fn users(&self) -> Vec<User> {
        self.state().users.values().map(|(_, user)| user.clone()).collect()
    }

    /// One user.
    pub fn user(&self, name: &UserName) -> Option<User> {
        self.state().users.get(name).map(|(_, user)| user.clone())
    }

    /// The one user whom this key proves.
    pub fn user_by_key(&self, key: &ssh_key::PublicKey) -> Option<User> {
        let state = self.state();
        let owner = state.owners.get(&fingerprint(key))?;
        state.users.get(owner).map(|(_, user)| user.clone())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// `Exists`, `KeyTaken`, `TooMuch`, or the database fails.
    pub fn add_user(&self, user: User) -> Result<(), LedgerError> {
        self.put_user(user, Expect::New)
    }

    /// Replaces what is known of a user.
    ///
    /// # Errors
    /// `Unknown`, `KeyTaken`, `TooMuch`, or the database fails.
    pub fn set_user(&self, user: User) -> Result<(), LedgerError> {
        self.put_user(user, Expect::Known)
    }

    fn put_user(&self, user: User, expect: Expect) -> Result<(), LedgerError> {
        let tables = self.tables();
        at_most("keys of one user", user.keys.len(), KEYS_MAX)?;
        at_most("groups of one user", user.groups.len(), NAMES_MAX)?;
        let known = self.state().users.get(&user.name).map(|(rev, _)| *rev);
        expect.check("user", user.name.as_str(), known)?;
        self.state().check_keys(&user)?;
        let rev = tables.users.put(user.name.as_str(), known, &user)?;
        self.change(|state| state.set_user(rev, user));
        Ok(())
    }

    /// Removes a user. The grants of that user are revoked first, so that a later one of the same name does
    /// not come into them; their number is returned.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn remove_user(&self, name: &UserName, by: &Revoked) -> Result<usize, LedgerError> {
        let rev = self.state().users.get(name).map(|(rev, _)| *rev);
        let rev = rev.ok_or_else(|| LedgerError::Unknown { kind: "user", name: name.to_string() })?;
        let revoked = self.revoke_where(by, |grant| grant.user == *name)?;
        let tables = self.tables();
        tables.users.delete(name.as_str(), rev)?;
        self.change(|state| state.drop_user(name));
        Ok(revoked)
    }

    // Targets.

    /// All targets, by name.
    pub fn targets(&self) -> Vec<Target> {
        self.state().targets.values().map(|(_, target)| target.clone()).collect()
    }

    /// One target.
    pub fn target(&self, name: &TargetName) -> Option<Target> {
        self.state().targets.get(name).map(|(_, target)| target.clone())
    }

    /// Adds a target.
    ///
    /// # Errors
    /// `Exists`, `BadAddress`, `BadKey`, `TooMuch`, or the database fails.
    pub fn add_target(&self, target: Target) -> Result<(), LedgerError> {
        self.put_target(target, Expect::New)
    }

    /// Replaces what is known of a target.
    ///
    /// # Errors
    /// `Unknown`, `BadAddress`, `BadKey`, `TooMuch`, or the database fails.
    pub fn set_target(&self, target: Target) -> Result<(), LedgerError> {
        self.put_target(target, Expect::Known)
    }

    fn put_target(&self, mut target: Target, expect: Expect) -> Result<(), LedgerError> {
        let tables = self.tables();
        check_target(&mut target)?;
        let known = self.state().targets.get(&target.name).map(|(rev, _)| *rev);
        expect.check("target", target.name.as_str(), known)?;
        let rev = tables.targets.put(target.name.as_str(), known, &target)?;
        self.change(|state| drop(state.targets.insert(target.name.clone(), (rev, target))));
        Ok(())
    }

    /// Removes a target. The grants to it are revoked first, as in `remove_user`.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn remove_target(&self, name: &TargetName, by: &Revoked) -> Result<usize, LedgerError> {
        let rev = self.state().targets.get(name).map(|(rev, _)| *rev);
        let rev = rev.ok_or_else(|| LedgerError::Unknown { kind: "target", name: name.to_string() })?;
        let revoked = self.revoke_where(by, |grant| grant.destination.target == *name)?;
        let tables = self.tables();
        tables.targets.delete(name.as_str(), rev)?;
        self.change(|state| drop(state.targets.remove(name)));
        Ok(revoked)
    }

    // Grants.

    /// All grants, by id.
    pub fn grants(&self) -> Vec<Grant> {
        self.state().grants.values().map(|(_, grant)| grant.clone()).collect()
    }

    /// One grant.
    pub fn grant(&self, id: &GrantId) -> Option<Grant> {
        self.state().grants.get(id).map(|(_, grant)| grant.clone())
    }

    /// Stores a new grant; whether a rule lets it take effect is `grant_effect`'s question.
    ///
    /// # Errors
    /// `Unknown` user or target, `Exists`, `TooMuch`, or the database fails.
    pub fn add_grant(&self, grant: Grant) -> Result<(), LedgerError> {
        let tables = self.tables();
        self.state().may_be_given(&grant)?;
        let rev = tables.grants.put(grant.id.as_str(), None, &grant)?;
        self.change(|state| state.set_grant(rev, grant));
        Ok(())
    }

    /// Takes a grant back, for good. Live sessions must be judged again after it, and the log be given what it is owed
    /// (`Requests::settle`).
    ///
    /// # Errors
    /// `Unknown`, `Over` if it holds no more, or the database fails.
    pub fn revoke_grant(&self, id: &GrantId, by: Revoked) -> Result<Grant, LedgerError> {
        let tables = self.tables();
        let known = self.state().grants.get(id).cloned();
        let (rev, mut grant) = known.ok_or_else(|| LedgerError::Unknown { kind: "grant", name: id.to_string() })?;
        match grant.state(by.at) {
            GrantState::Scheduled | GrantState::Active => {}
            state @ (GrantState::Ended | GrantState::Revoked) => {
                return Err(LedgerError::Over { grant: id.clone(), state });
            }
        }
        // The log is owed the event from the moment at which it takes effect, whatever happens in between.
        let event = AuditEvent::GrantRevoke { grant: id.clone(), by: by.by.clone(), reason: by.reason.clone() };
        grant.revoked = Some(by);
        let mut batch = self.db.batch();
        batch.put(&tables.grants, id.as_str(), Some(rev), &grant)?;
        batch.put(&tables.owed, id.as_str(), None, &event)?;
        let rev = batch.commit()?;
        self.change(|state| state.set_grant(rev, grant.clone()));
        Ok(grant)
    }

    fn revoke_where(&self, by: &Revoked, which: impl Fn(&Grant) -> bool) -> Result<usize, LedgerError> {
        let open = |grant: &Grant| matches!(grant.state(by.at), GrantState::Scheduled | GrantState::Active);
        let ids: Vec<GrantId> =
            self.grants().into_iter().filter(|grant| open(grant) && which(grant)).map(|grant| grant.id).collect();
        for id in &ids {
            self.revoke_grant(id, by.clone())?;
        }
        Ok(ids.len())
    }
}

impl State {
    fn policy(&self) -> Arc<PolicySet> {
        self.policy.clone().unwrap_or_else(|| Arc::new(PolicySet::empty()))
    }

    fn parties(&self, user: &UserName, destination: &Destination) -> Result<(&User, &Target), Denial> {
        let (_, stored) = self.users.get(user).ok_or(Denial::UnknownUser)?;
        let (_, target) = self.targets.get(&destination.target).ok_or(Denial::UnknownTarget)?;
        Ok((stored, target))
    }

    /// The grants of a user to a destination whose time is not over, the one that ends first first; revoked ones, too.
    fn unended(&self, user: &UserName, there: &Destination, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let place = (user.clone(), there.clone());
        let ends = self.by_end.get(&place).into_iter();
        let late = ends.flat_map(move |ends| ends.iter().rev().take_while(move |(until, _)| *until > now));
        let mut ids: Vec<&GrantId> = late.map(|(_, id)| id).collect();
        ids.reverse();
        ids.into_iter().filter_map(|id| self.grants.get(id)).map(|(_, grant)| grant)
    }

    fn check_keys(&self, user: &User) -> Result<(), LedgerError> {
        for key in &user.keys {
            if let Some(owner) = self.owners.get(&key.fingerprint).filter(|owner| **owner != user.name) {
                return Err(LedgerError::KeyTaken { fingerprint: key.fingerprint.clone(), owner: owner.clone() });
            }
        }
        Ok(())
    }

    fn set_user(&mut self, rev: Rev, user: User) {
        self.drop_user(&user.name);
        for key in &user.keys {
            self.owners.insert(key.fingerprint.clone(), user.name.clone());
        }
        self.users.insert(user.name.clone(), (rev, user));
    }

    fn drop_user(&mut self, name: &UserName) {
        self.owners.retain(|_, owner| owner != name);
        self.users.remove(name);
    }

    fn set_grant(&mut self, rev: Rev, grant: Grant) {
        let place = (grant.user.clone(), grant.destination.clone());
        let ends = self.by_end.entry(place.clone()).or_default();
        if let Some((_, before)) = self.grants.get(&grant.id) {
            ends.remove(&(before.until, grant.id.clone()));
        }
        ends.insert((grant.until, grant.id.clone()));
        self.by_place.entry(place).or_default().insert(grant.id.clone());
        self.grants.insert(grant.id.clone(), (rev, grant));
    }
}

/// What a change finds in the state.
#[derive(Clone, Copy)]
enum Expect {
    New,
    Known,
}

impl Expect {
    fn check(self, kind: &'static str, name: &str, known: Option<Rev>) -> Result<(), LedgerError> {
        match (self, known) {
            (Self::New, Some(_)) => Err(LedgerError::Exists { kind, name: name.to_owned() }),
            (Self::Known, None) => Err(LedgerError::Unknown { kind, name: name.to_owned() }),
            (Self::New, None) | (Self::Known, Some(_)) => Ok(()),
        }
    }
}

/// Asks for one who has logged in as well as can be, in the best of circumstances: what stands in the way is neither.
fn question<'a>(
    stored: &'a User,
    target: &'a Target,
    destination: &'a Destination,
    asked: Option<&'a Asked>,
) -> Question<'a> {
    Question {
        user: &stored.name,
        groups: &stored.groups,
        target: &target.name,
        labels: &target.labels,
        account: &destination.account,
        asked,
        presence: Presence::FULL,
        circumstances: Circumstances::BEST,
    }
}

fn check_target(target: &mut Target) -> Result<(), LedgerError> {
    if let Some(desktop) = &mut target.desktop {
        desktop.check()?;
    }
    // Nothing is sent to a target without host keys, so one without SSH has neither.
    if !(target.address.is_empty() && target.desktop.is_some() && target.host_keys.is_empty()) {
        target.address = address(&target.address)?;
    }
    at_most("host keys of one target", target.host_keys.len(), KEYS_MAX)?;
    at_most("labels of one target", target.labels.len(), NAMES_MAX)?;
    at_most("accounts of one target", target.accounts.len(), NAMES_MAX)?;
    for text in target.labels.iter().flat_map(|(key, value)| [key, value]) {
        at_most("bytes of a label", text.len(), TEXT_BYTES_MAX / 4)?;
    }
    let mut keys = Vec::new();
    for text in &target.host_keys {
        let key = plain(&public_key(text)?)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    target.host_keys = keys;
    Ok(())
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), LedgerError> {
    if count > most { Err(LedgerError::TooMuch { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
