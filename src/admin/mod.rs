//! Administration: one request, one answer, one code path, whether it comes over the socket or is made in the
//! process of a CLI that holds the state's lock.
//!
//! Each call is in the audit log with the caller's uid: what gives or reads, before it takes effect (no record, no
//! effect); what takes away, after it (a full disk must not keep a right alive).

pub mod answers;
pub mod api;
pub mod import;
pub mod inventory;
pub mod socket;

mod apply;
mod backup;
mod clock;
mod commands;
mod describe;
mod doctor;
mod error;
mod export;
mod grants;
mod locks;
mod offboard;
mod overview;
mod records;
mod requests;
mod retention;
mod rewrap;
mod start;
mod synced;
mod targets;
mod users;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::audit::{Audit, CommandIndex};
use crate::authn::Passwords;
use crate::clock::Clock;
use crate::config::{Config, LoadedPolicy, load_policy, read_trust};
use crate::grant::Revoked;
use crate::ledger::Ledger;
use crate::locks::Locks;
use crate::model::{Timestamp, join};
use crate::notify::{Alert, Alerts};
use crate::policy::{Fault, Names, PolicySet};
use crate::recorder::Recorder;
use crate::requests::Requests;
use crate::screen::{counted, plural};
use crate::session::Sessions;
use crate::session::desktop::Screens;
use crate::store::{Catalog, StoreRoot};
use crate::trust::Trust;
use crate::vault::Vault;
use crate::witness::Submitter;

use api::{Reply, Request};
pub use backup::NotBackedUp;
pub use clock::ClockDoubt;
use describe::{Effect, describe};
pub use error::{AdminError, fault_lines};
pub use retention::{Retired, finish_removals};
pub use synced::Synced;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The Unix user id, as the kernel tells it.
    pub uid: u32,
    /// The way in.
    pub via: Via,
}

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The server's socket.
    Socket,
    /// A CLI that holds the state's lock.
    Direct,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)
    }
}

/// Answers operators.
pub struct Admin {
    parts: Parts,
    /// INVARIANT: held while a call that changes something runs, so that what it has read stays true.
    changing: Mutex<()>,
    /// Held from the reading of policies until they are in force, and taken before `changing`: files that are slow to read
    /// keep nobody waiting but who reads them, too.
    reloading: Mutex<()>,
    /// INVARIANT: held from the first step of an offboarding to its last, and taken before `changing`, which is free while it
    /// is waited for sessions to close.
    offboarding: Mutex<()>,
    /// INVARIANT: held while a recording is held, released, erased or removed.
    retiring: Mutex<()>,
    passes: records::Passes,
    commands: CommandIndex,
    watch: Mutex<clock::Watch>,
    /// Why the last run of `retention` has left something.
    unretired: Mutex<Option<String>>,
    /// Why the last daily backup was not made.
    not_backed_up: Mutex<Option<NotBackedUp>>,
    /// Empty without a server, and until it has asked them first.
    witnesses: OnceLock<Arc<Submitter>>,
}

/// What the administration works on.
struct Parts {
    config: Config,
    clock: Clock,
    ledger: Arc<Ledger>,
    vault: Arc<Vault>,
    passwords: Passwords,
    audit: Arc<Audit>,
    sessions: Sessions,
    requests: Arc<Requests>,
    locks: Arc<Locks>,
    catalog: Catalog,
    /// None without a server.
    recorder: Option<Recorder>,
    /// Empty without a server.
    screens: Screens,
    alerts: Alerts,
}

/// What a reload reads.
struct Files {
    policies: Result<LoadedPolicy, Vec<Fault>>,
    trust: Trust,
}

impl Admin {
    /// The administration of one state.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the state, made by whoever opens it")]
    pub fn new(
        config: &Config,
        clock: Clock,
        ledger: Arc<Ledger>,
        vault: Arc<Vault>,
        audit: Arc<Audit>,
        sessions: Sessions,
        requests: Arc<Requests>,
        locks: Arc<Locks>,
        store: StoreRoot,
    ) -> Self {
        let catalog = Catalog::new(store);
        let watch = clock::Watch::new(&audit, &clock);
        let passwords = Passwords::open(vault.database());
        let parts = Parts {
            config: config.clone(),
            clock,
            ledger,
            vault,
            passwords,
            audit,
            sessions,
            requests,
            locks,
            catalog,
            recorder: None,
            screens: Screens::default(),
            alerts: Alerts::default(),
        };
        Self {
            parts,
            changing: Mutex::new(()),
            reloading: Mutex::new(()),
            offboarding: Mutex::new(()),
            retiring: Mutex::new(()),
            passes: records::Passes::default(),
            commands: CommandIndex::at(&config.data.join("index").join("commands")),
            watch,
            unretired: Mutex::default(),
            not_backed_up: Mutex::default(),
            witnesses: OnceLock::new(),
        }
    }

    /// The passwords of users: for the server that logs in by them.
    pub fn passwords(&self) -> &Passwords {
        &self.parts.passwords
    }

    /// With the recorder of the server, of which `doctor` tells.
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.parts.recorder = Some(recorder);
        self
    }

    /// With the live desktops of the server, which are looked at.
    pub fn with_screens(mut self, screens: Screens) -> Self {
        self.parts.screens = screens;
        self
    }

    /// With what tells operators of the server, of which `doctor` tells.
    pub fn with_alerts(mut self, alerts: Alerts) -> Self {
        self.parts.alerts = alerts;
        self
    }

    /// From now on `doctor` tells of the log's witnesses, too.
    pub fn tell_witnesses(&self, witnesses: Arc<Submitter>) {
        // A server asks its witnesses once.
        let _ = self.witnesses.set(witnesses);
    }

    /// Does what is asked, and records who asked. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// `AdminError` says what was not done and why.
    pub fn call(&self, caller: Caller, request: Request) -> Result<Reply, AdminError> {
        if let Request::AuditRead { filter, from, pass: Some(pass) } = &request
            && self.passes.holds(pass, caller, filter, self.parts.clock.instant())
        {
            // Its beginning is on record. If each page were, a reader who waits for events would make them.
            return self.audit_read(filter, *from, pass.clone());
        }
        if let Request::CommandList { filter, from, pass: Some(pass) } = &request
            && self.passes.holds(pass, caller, &commands::of(filter), self.parts.clock.instant())
        {
            return self.command_page(filter, *from, pass.clone());
        }
        if let Request::SessionWatch { look } = &request
            && let Some(pass) = &look.pass
            && self.passes.holds(pass, caller, &look.of(), self.parts.clock.instant())
        {
            return self.session_look(look, pass.clone());
        }
        let entry = describe(&request);
        let note = |outcome: &str| self.parts.audit.append(&entry.event(caller, outcome));
        let _offboards = matches!(request, Request::UserOffboard { .. })
            .then(|| self.offboarding.lock().unwrap_or_else(PoisonError::into_inner));
        let reloads = matches!(request, Request::PolicyReload {});
        let _reloading = reloads.then(|| self.reloading.lock().unwrap_or_else(PoisonError::into_inner));
        let policies = reloads.then(|| self.read_policies());
        let mut one_at_a_time = match entry.effect {
            Effect::Reads | Effect::Retires => None,
            Effect::Gives | Effect::Takes => Some(self.one_at_a_time()),
        };
        match entry.effect {
            Effect::Reads | Effect::Gives | Effect::Retires => {
                note("").map_err(AdminError::NotRecorded)?;
                let mut reply = match policies {
                    Some(policies) => self.policy_reload(policies),
                    None => self.dispatch(caller, request),
                };
                if reloads && let Ok(Reply::Done { lines }) = &mut reply {
                    // The policy is in force: others need not wait for each request that it closes.
                    drop(one_at_a_time.take());
                    lines.extend(self.supersede());
                }
                if let Err(error) = &reply {
                    note(&format!("failed: {error}")).map_err(AdminError::NotRecorded)?;
                }
                reply
            }
            Effect::Takes => {
                let mut reply = self.dispatch(caller, request);
                if let Ok(Reply::Offboarded { receipt }) = &reply
                    && receipt.done.is_none()
                {
                    // Nobody else has to wait for sessions that close.
                    drop(one_at_a_time.take());
                    self.await_closed(receipt);
                    one_at_a_time.get_or_insert_with(|| self.one_at_a_time());
                    reply = self.offboard_rest(&receipt.user);
                }
                let outcome = reply.as_ref().map_or_else(|error| format!("failed: {error}"), |_| "done".to_owned());
                match (note(&outcome), reply) {
                    (Ok(_), reply) => reply,
                    (Err(error), Ok(_)) => Err(AdminError::DoneNotRecorded(error)),
                    (Err(_), Err(error)) => Err(error),
                }
            }
        }
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, caller: Caller, request: Request) -> Result<Reply, AdminError> {
        match request {
            Request::UserAdd { user, groups, keys, from, until } => {
                self.user_add(caller, user, groups, &keys, from, until.as_deref())
            }
            Request::UserSet { user, groups, from, person, until } => {
                self.user_set(&user, groups, from, person, until.as_deref())
            }
            Request::UserList {} => Ok(Reply::Users { users: self.parts.ledger.users() }),
            Request::UserSuspend { user } => self.user_suspend(caller, &user),
            Request::UserOffboard { user, reason } => self.user_offboard(caller, &user, reason),
            Request::UserResume { user } => self.user_resume(&user),
            Request::UserRemove { user } => self.user_remove(caller, &user),
            Request::UserKeyAdd { user, key } => self.user_key_add(&user, &key),
            Request::UserKeyRemove { user, fingerprint } => self.user_key_remove(&user, &fingerprint),
            Request::UserPasswordSet { user, password } => self.user_password_set(&user, &password.0),
            Request::UserTotpSet { user } => self.user_totp_set(&user),
            Request::UserPasswordRemove { user } => self.user_password_remove(&user),
            Request::TargetAdd { target } => self.target_add(target),
            Request::TargetSet { target, change } => self.target_set(&target, change),
            Request::TargetList {} => self.target_list(),
            Request::TargetRemove { target } => self.target_remove(caller, &target),
            Request::TargetScan { target } => self.target_scan(&target),
            Request::TargetScanDesktop { target } => self.target_scan_desktop(&target),
            Request::SecretSet { destination, secret } => self.secret_set(&destination, secret),
            Request::SecretList {} => self.secret_list(),
            Request::SecretRemove { destination } => self.secret_remove(&destination),
            Request::GrantAdd { user, destination, from, span, reason } => {
                self.grant_add(caller, grants::Wanted { user, destination, from, span, reason })
            }
            Request::GrantList { all } => Ok(self.grant_list(all)),
            Request::GrantRevoke { grant, reason } => self.grant_revoke(caller, &grant, reason),
            Request::RequestList { all } => Ok(self.request_list(all)),
            Request::RequestShow { request } => self.request_show(&request),
            Request::RequestAdd { new } => self.request_add(caller, *new),
            Request::RequestCancel { request } => self.request_cancel(caller, &request),
            Request::LockAdd { wanted } => self.lock_add(caller, wanted),
            Request::LockList {} => Ok(self.lock_list()),
            Request::LockLift { lock } => self.lock_lift(caller, &lock),
            Request::PolicyReload {} => self.policy_reload(self.read_policies()),
            Request::SessionList { filter } => Ok(self.session_list(&filter)),
            Request::SessionKill { session } => self.session_kill(caller, &session),
            Request::SessionFreeze { session } => self.session_freeze(caller, &session),
            Request::SessionUnfreeze { session } => self.session_unfreeze(&session),
            Request::SessionMessage { session, text } => self.session_message(&session, &text),
            Request::SessionWatch { look } => self.session_watch(caller, &look),
            Request::RecordingList { filter } => Ok(self.recording_list(filter)),
            Request::RecordingRead { session, .. } => self.recording_read(&session),
            Request::RecordingErase { session, approver, reason } => {
                self.recording_erase(caller, &session, approver, reason)
            }
            Request::RecordingHold { session, on, reason } => self.recording_hold(caller, &session, on, reason),
            Request::StateExport { recipients } => self.state_export(caller, recipients),
            Request::RecordingRewrap { rewrap } => self.recording_rewrap(caller, &rewrap),
            Request::RecordingDropEarlier { session, envelope, proof } => {
                self.recording_drop_earlier(caller, &session, &envelope, &proof)
            }
            Request::RecordingGc { before, dry_run, even_today } => {
                if !dry_run {
                    self.believe_clock();
                }
                self.recording_gc(&caller.to_string(), retention::Old { before, even_today }, dry_run)
            }
            Request::InventoryDiff { inventory } => self.inventory_diff(&inventory),
            Request::InventoryApply { inventory, expected } => self.inventory_apply(&inventory, &expected),
            Request::ClientConfig { user } => self.client_config(&user),
            Request::AuditRead { filter, from, .. } => {
                records::check_type(&filter)?;
                let pass = self.passes.give(caller, filter.clone(), self.parts.clock.instant())?;
                self.audit_read(&filter, from, pass)
            }
            Request::CommandList { filter, from, .. } => {
                let pass = self.passes.give(caller, commands::of(&filter), self.parts.clock.instant())?;
                self.command_page(&filter, from, pass)
            }
            Request::HostCa {} => self.host_ca(),
            Request::RdpCertificate {} => self.rdp_certificate(),
            Request::AuditKey {} => Ok(self.audit_key()),
            Request::AuditCheckpoint {} => self.audit_checkpoint(),
            Request::AuditProve { leaf } => self.audit_prove(leaf),
            Request::Inquire { inquiry } => self.inquire(caller, inquiry),
            Request::HistoryAccept { reason } => self.history_accept(caller, &reason),
            Request::Doctor { syncs } => Ok(Reply::Doctor { findings: self.doctor(caller, syncs) }),
        }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Ends live sessions that have lost their right; says so if there were any.
    fn rejudge(&self) -> Vec<String> {
        match self.parts.sessions.rejudge(&self.parts.ledger, self.now()) {
            0 => Vec::new(),
            count => vec![format!("{count} live {} ended", plural(count, "session"))],
        }
    }

    fn read_policies(&self) -> Files {
        Files { policies: load_policy(&self.parts.config), trust: read_trust(&self.parts.config.login) }
    }

    /// Puts policies in force, whole or not at all; then judges live sessions by them. `supersede` comes after it.
    fn policy_reload(&self, Files { policies: read, trust }: Files) -> Result<Reply, AdminError> {
        let ledger = &self.parts.ledger;
        let read = read.and_then(|read| ledger.admit_policy(&read.set, read.signed.as_ref()).map(|()| read));
        let LoadedPolicy { set, signed } = match read {
            Ok(read) => read,
            Err(faults) => return self.policy_refused(faults),
        };
        let by = signed.map(|(by, serial)| format!("edition {serial}, signed by {}", join(&by)));
        self.note_policy(&set, by.as_ref().map_or_else(|| String::from("loaded"), |by| format!("loaded, {by}")))?;
        let count = set.rules().count();
        let mut lines = vec![format!("{count} {} in force, hash {}", plural(count, "rule"), set.hash())];
        lines.extend(by);
        lines.extend(set.warnings().iter().map(|warning| format!("warning: {warning}")));
        lines.extend(self.unknown_names(&set));
        self.parts.ledger.set_policy(set);
        lines.extend(trust.faults().map(|fault| format!("warning: {fault}: nobody whom it must judge can log in")));
        self.parts.ledger.set_trust(trust);
        lines.extend(self.rejudge());
        Ok(Reply::Done { lines })
    }

    /// The rules in force stay; that is on record, and operators are told: somebody may have put other files there.
    fn policy_refused(&self, faults: Vec<Fault>) -> Result<Reply, AdminError> {
        let count = counted(faults.len(), "fault");
        self.note_policy(&self.parts.ledger.policy(), format!("{count}, the earlier set stays"))?;
        let first = faults.first().map(Fault::to_string).unwrap_or_default();
        let alert = Alert {
            event: "policy.load",
            subject: format!("Doorward loads no policies: {count}"),
            text: format!(
                "The rules in force stay. The first fault is:\n\n{first}\n\n`doorward check` shows all of them."
            ),
        };
        self.parts.alerts.raise(alert, self.now());
        Err(AdminError::Policy(faults))
    }

    /// Names in rules that nobody and nothing has yet.
    fn unknown_names(&self, set: &PolicySet) -> Vec<String> {
        let users = self.parts.ledger.users();
        let mut lines = Vec::new();
        for rule in set.rules() {
            let mut warn = |what: &str, name: &str| {
                lines.push(format!(
                    "warning: {}:{}: rule `{}` names {what} `{name}`, which does not exist (yet)",
                    rule.file, rule.line, rule.id
                ));
            };
            if let Names::These(names) = &rule.who.users {
                let unknown = names.iter().filter(|name| users.iter().all(|user| user.name != **name));
                unknown.for_each(|name| warn("user", name.as_str()));
            }
            let unknown = rule.who.groups.iter().filter(|group| users.iter().all(|user| !user.groups.contains(*group)));
            unknown.for_each(|group| warn("group", group.as_str()));
            if let Some(Names::These(names)) = &rule.place.targets {
                let unknown = names.iter().filter(|name| self.parts.ledger.target(name).is_none());
                unknown.for_each(|name| warn("target", name.as_str()));
            }
        }
        lines
    }

    fn revoked(&self, caller: Caller, reason: &str) -> Revoked {
        Revoked { by: caller.to_string(), at: self.now(), reason: Some(reason.to_owned()) }
    }
}

/// A reply that says only what was done.
fn done(line: impl Into<String>, more: Vec<String>) -> Reply {
    let mut lines = vec![line.into()];
    lines.extend(more);
    Reply::Done { lines }
}
