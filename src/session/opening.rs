//! The first channel of a connection opens the session: its recording, its leg to the target, its place among the live ones.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::forward::PER_MINUTE_MAX;
use super::registry::LiveSession;
use super::stranger::{Budget, PERIOD};
use super::timekeeper::{Timekeeper, wait_end};
use super::{Agency, Bastion, EndCause, Live, MARKERS_MAX, Refusal, Visit, Visitor, rests};
use crate::audit::AuditEvent;
use crate::grant::{Denial, Permit};
use crate::model::{Asked, Destination, SessionId, Timestamp};
use crate::recorder::{Recording, SessionFacts};
use crate::relay::Activity;
use crate::store::OpeningProof;
use crate::target::{self, Leg};
use crate::wire::Cut;

impl Visit {
    /// Opens the session: no permit, no recording; no recording, no credential; no pinned key, no login.
    pub(super) async fn open(&self, destination: &Destination, asked: &Asked) -> Result<Live, Refusal> {
        let bastion = &self.bastion;
        let (user, asker) = (self.connection.user.user(), self.visitor.asker());
        let now = bastion.clock.now();
        let id = bastion.recorder.new_session_id(now);
        // Registered, and only then judged: a revoke that comes in between finds the session on the list.
        let first = bastion.ledger.permit_asked(asker, destination, asked, now).map_err(Refusal::Denied)?;
        bastion.recorder.healthy_for(first.recording().durability).map_err(Refusal::Recorder)?;
        let listed = listed(&id, &first, &self.visitor, now);
        let registration = bastion.sessions.register(listed, asked.clone(), &self.connection.user);
        let permit = bastion.ledger.permit_asked(asker, destination, asked, bastion.clock.now());
        let permit = permit.map_err(Refusal::Denied)?;
        rests::has_room(&permit, &registration)?;
        // What limits its time is known from now on.
        registration.judge(&bastion.ledger, bastion.clock.now());
        let cut = Cut::new();
        let legs = [self.connection.cut.clone(), cut.clone()];
        rests::count_session(bastion, &permit, &id).await?;
        let mut time = Timekeeper::start(&registration, bastion.clock.clone(), legs);
        let opened = self.open_both(&id, &permit, destination, &cut, now, &registration.end).await;
        if opened.is_err() {
            cut.cut();
            rests::uncount_session(bastion, &permit, &id).await;
        }
        let (recording, leg) = opened?;
        rests::keep_count(bastion, &permit, &id);
        time.watch(recording.failed());
        let activity = Activity::start();
        time.watch_idle(&registration, activity.clone());
        let _ = self.visitor.since.set(now);
        info!(session = %id, user = %user, target = %destination.target, account = %destination.account, "Session opened");
        let markers = Budget::new(bastion.clock.instant(), PERIOD, MARKERS_MAX);
        let forwards = Budget::new(bastion.clock.instant(), PERIOD, PER_MINUTE_MAX);
        let agency = Arc::new(Agency::new(bastion.clock.clone()));
        let leg = Arc::new(leg);
        let counted = permit.grant().map(|grant| grant.id.clone()).into_iter().collect();
        Ok(Live {
            id,
            permit,
            registration,
            recording,
            leg,
            cut,
            started: now,
            time,
            activity,
            markers,
            forwards,
            agency,
            counted,
        })
    }

    /// Opens the recording while the target is dialled; the credential leaves the vault when both are done. If the
    /// session must end meanwhile, the recording says why.
    async fn open_both(
        &self,
        id: &SessionId,
        permit: &Permit,
        destination: &Destination,
        cut: &Cut,
        now: Timestamp,
        end: &watch::Receiver<Option<EndCause>>,
    ) -> Result<(Recording, Leg), Refusal> {
        let bastion = &self.bastion;
        let target = bastion.ledger.target(&destination.target).ok_or(Refusal::Denied(Denial::UnknownTarget))?;
        let facts = SessionFacts {
            id: id.clone(),
            key_fingerprint: self.connection.user.proof().to_string(),
            target_address: target.address.clone(),
            source: self.connection.source.to_string(),
            started: now,
        };
        let pinned = target.host_keys.iter().filter_map(|key| ssh_key::PublicKey::from_openssh(key).ok()).collect();
        let dialing = target::ssh::connect(&target.address, pinned, cut, (&target).into(), &bastion.target);
        let (recording, dialed) =
            tokio::join!(open_recording(bastion, permit, facts), unless_ended(end.clone(), dialing));
        let recording = recording?;
        let leg = async {
            let checked = dialed?;
            let credential = bastion.vault.credential(permit).map_err(Refusal::Vault)?;
            for text in credential.texts() {
                recording.scrub(text, &destination.to_string());
            }
            unless_ended(end.clone(), checked.login(&destination.account, credential)).await
        };
        match leg.await {
            Ok(leg) => {
                // In the recording before anything else of the session: nothing is opened until this returns.
                recording.note(format!("the user's client: {}", self.connection.client)).await;
                recording.note(format!("the target: {}", leg.about)).await;
                if target.insecure_algorithms {
                    warn!(session = %id, target = %target.name, about = leg.about, "The leg may use insecure algorithms");
                    recording.note(String::from("an operator lets this target use insecure algorithms")).await;
                }
                Ok((recording, leg))
            }
            Err(refusal) => {
                note_dial(bastion, destination, &refusal).await;
                if let Err(failure) = recording.finish(&refusal.to_string()).await {
                    error!(error = %failure, "Cannot close a recording");
                }
                Err(refusal)
            }
        }
    }
}

/// What comes first: the dial's outcome, or the session's end.
async fn unless_ended<T>(
    mut end: watch::Receiver<Option<EndCause>>,
    dial: impl Future<Output = Result<T, target::DialError>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
        dialed = dial => dialed.map_err(Refusal::Dial),
    }
}

/// A session as it stands among the live ones.
pub(super) fn listed(id: &SessionId, permit: &Permit, visitor: &Visitor, now: Timestamp) -> LiveSession {
    LiveSession {
        id: id.clone(),
        user: permit.user().clone(),
        destination: permit.destination().clone(),
        rule: permit.rule().clone(),
        grant: permit.grant().map(|grant| grant.id.clone()),
        until: permit.until(),
        reason: permit.grant().map(|grant| grant.reason.clone()),
        key: visitor.user.proof().to_string(),
        source: visitor.source.clone(),
        started: now,
        channels: 0,
        paused: None,
        watchers: Vec::new(),
    }
}

/// Opens the recording, and puts on record that the session starts.
pub(super) async fn open_recording(
    bastion: &Bastion,
    permit: &Permit,
    facts: SessionFacts,
) -> Result<Recording, Refusal> {
    let SessionFacts { id, key_fingerprint, source, .. } = facts.clone();
    let recording = bastion.recorder.open(permit, facts).await.map_err(Refusal::Recorder)?;
    let OpeningProof { opened, envelope, recipients } = recording.proof().clone();
    let event = AuditEvent::SessionStart {
        session: id,
        user: permit.user().clone(),
        destination: permit.destination().clone(),
        rule: permit.rule().clone(),
        grant: permit.grant().map(|grant| grant.id.clone()),
        policy: permit.policy_hash().to_string(),
        source,
        key: key_fingerprint,
        opened,
        envelope,
        recipients,
    };
    let Err(failure) = bastion.record(event.clone()).await else { return Ok(recording) };
    // The session does not start. Its files are there, so the log is told of them, if it can be: a failed
    // write of the log costs only what it concerned.
    match bastion.record(event).await {
        Ok(()) => drop(recording.finish("the audit log failed").await),
        Err(_) => recording.abandon(),
    }
    Err(Refusal::Audit(failure))
}

/// A changed host key or certificate is an attack until someone says otherwise.
pub(super) async fn note_dial(bastion: &Bastion, destination: &Destination, refusal: &Refusal) {
    if let Refusal::Dial(target::DialError::HostKeyChanged { got, .. }) = refusal {
        error!(target = %destination.target, got = %got, "The target's host key or certificate changed");
        bastion.note(AuditEvent::TargetKeyChanged { target: destination.target.clone(), got: got.clone() }).await;
    }
}
