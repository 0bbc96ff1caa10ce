//! Sessions, recordings, and what a user needs to connect.

use std::collections::BTreeSet;

use super::api::{ChannelRow, RecordingRow, Reply, SessionFilter, SessionRow};
use super::{Admin, AdminError, Caller, done};
use crate::ledger::{Hold, LedgerError};
use crate::listener::ca_line;
use crate::model::{AccountName, Destination, SessionId, Timestamp, UserName};
use crate::policy::Decision;
use crate::session::{EndCause, Held, Holding, LiveSession, message};
use crate::store::{ChannelSummary, End, Filter, Listed, Summary};

impl Admin {
    pub(super) fn session_list(&self, filter: &SessionFilter) -> Reply {
        Reply::Sessions { sessions: self.live_sessions(filter) }
    }

    pub(super) fn live_sessions(&self, filter: &SessionFilter) -> Vec<SessionRow> {
        let now = self.now();
        let wanted = |session: &LiveSession| {
            filter.user.as_ref().is_none_or(|user| *user == session.user)
                && filter.target.as_ref().is_none_or(|target| *target == session.destination.target)
                && filter.since.is_none_or(|since| since <= session.started)
        };
        let sessions = self.parts.sessions.list().into_iter().filter(wanted).map(|session| live_row(session, now));
        sessions.collect()
    }

    pub(super) fn session_kill(&self, caller: Caller, session: &SessionId) -> Result<Reply, AdminError> {
        if self.parts.sessions.end(session, EndCause::Killed { by: caller.to_string() }) {
            Ok(done(format!("session `{session}` ended"), Vec::new()))
        } else {
            Err(AdminError::NoSession { session: session.clone() })
        }
    }

    pub(super) fn session_freeze(&self, caller: Caller, session: &SessionId) -> Result<Reply, AdminError> {
        match self.parts.sessions.freeze(session, Holding::Operator, &caller.to_string()) {
            Held::NotLive => Err(AdminError::NoSession { session: session.clone() }),
            Held::Paused(_) | Held::Goes => Ok(done(format!("session `{session}` paused"), Vec::new())),
        }
    }

    pub(super) fn session_unfreeze(&self, session: &SessionId) -> Result<Reply, AdminError> {
        match self.parts.sessions.unfreeze(session, Holding::Operator) {
            Held::NotLive => Err(AdminError::NoSession { session: session.clone() }),
            Held::Paused(noted) => Ok(done(format!("session `{session}` is still paused {noted}"), Vec::new())),
            Held::Goes => Ok(done(format!("session `{session}` goes on"), Vec::new())),
        }
    }

    pub(super) fn session_message(&self, session: &SessionId, text: &str) -> Result<Reply, AdminError> {
        let Some(line) = message("the operators", text) else {
            let why = String::from("a message is one line of at most 400 characters");
            return Err(AdminError::Invalid {
                why,
                hint: "write it in quotes: doorward session message ID \"the disk is full\"",
            });
        };
        match self.parts.sessions.say(session, line) {
            None => Err(AdminError::NoSession { session: session.clone() }),
            Some(true) => {
                Ok(done(format!("session `{session}`: it is said on its terminals, if it has any"), Vec::new()))
            }
            Some(false) => Err(AdminError::Refused {
                why: format!("session `{session}` has messages that are not taken yet"),
                hint: "its user does not read: `doorward session kill` ends it",
            }),
        }
    }

    pub(super) fn recording_list(&self, filter: SessionFilter) -> Reply {
        let SessionFilter { user, target, since } = filter;
        let (mut recordings, mut erased, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for listed in self.parts.catalog.list(&Filter { user, target, since }) {
            match listed {
                Listed::Recording(mut summary) => {
                    if let Some(others) = self.parts.catalog.root().rewrapped_for(&summary.session) {
                        summary.auditors = others;
                    }
                    let held = self.parts.ledger.held(&summary.session);
                    recordings.push(row(*summary, held));
                }
                Listed::Erased(session) => erased.push(session),
                Listed::Damaged { path, why } => damaged.push(format!("{}: {why}", path.display())),
            }
        }
        Reply::Recordings { recordings, erased, damaged }
    }

    pub(super) fn recording_read(&self, session: &SessionId) -> Result<Reply, AdminError> {
        let recording = self.parts.catalog.open(session).map_err(AdminError::Store)?;
        Ok(Reply::Done { lines: recording.damage })
    }

    pub(super) fn client_config(&self, user: &UserName) -> Result<Reply, AdminError> {
        let ledger = &self.parts.ledger;
        if ledger.user(user).is_none() {
            return Err(LedgerError::Unknown { kind: "user", name: user.to_string() }.into());
        }
        let secrets = self.parts.vault.list()?;
        let mut destinations = Vec::new();
        for target in ledger.targets() {
            let stored = secrets.iter().filter(|secret| secret.destination.target == target.name);
            let mut accounts: BTreeSet<AccountName> = stored.map(|secret| secret.destination.account.clone()).collect();
            accounts.extend(target.accounts.iter().cloned());
            for account in accounts {
                let destination = Destination { account, target: target.name.clone() };
                match ledger.decision(user, &destination) {
                    Ok(Decision::Allow(_) | Decision::NeedsGrant(_)) => destinations.push(destination),
                    Ok(Decision::Deny(_)) | Err(_) => {}
                }
            }
        }
        let bad_key = |error: ssh_key::Error| LedgerError::BadKey { why: error.to_string() };
        let host_key = self.parts.vault.host_key()?.public_key().to_openssh().map_err(bad_key)?;
        let listen = self.parts.config.listen.iter().map(ToString::to_string).collect();
        Ok(Reply::ClientConfig { user: user.clone(), listen, host_key, destinations })
    }

    pub(super) fn host_ca(&self) -> Result<Reply, AdminError> {
        let ca = self.parts.vault.host_ca()?;
        let line = ca_line(ca.public_key(), &self.parts.ledger.targets());
        Ok(Reply::Text { text: line.map(|line| format!("{line}\n")).unwrap_or_default() })
    }

    pub(super) fn rdp_certificate(&self) -> Result<Reply, AdminError> {
        let identity = self.parts.vault.desktop_identity()?;
        Ok(Reply::Text { text: format!("sha256:{}\n", identity.fingerprint()) })
    }
}

fn live_row(session: LiveSession, now: Timestamp) -> SessionRow {
    SessionRow {
        session: session.id,
        user: session.user,
        destination: session.destination,
        started: session.started,
        until: session.until,
        open_channels: session.channels,
        rule: session.rule,
        grant: session.grant,
        reason: session.reason,
        source: session.source,
        key_fingerprint: session.key,
        remaining_seconds: session.until.map(|until| now.until(until).as_secs()),
        paused: session.paused,
        watchers: session.watchers,
    }
}

fn channel_row(channel: ChannelSummary) -> ChannelRow {
    let ChannelSummary { number, class, pty } = channel;
    ChannelRow { number, class, pty }
}

fn row(summary: Summary, held: Option<Hold>) -> RecordingRow {
    let interrupted = summary.end == End::Interrupted;
    let end = match summary.end {
        End::Closed { reason } => reason,
        End::Interrupted => "interrupted".to_owned(),
        End::Open => "open".to_owned(),
    };
    RecordingRow {
        session: summary.session,
        user: summary.user,
        destination: summary.destination,
        started: summary.started,
        ended: summary.duration.map(|duration| summary.started.plus(duration)),
        end,
        interrupted,
        bytes: summary.bytes,
        channels: summary.channels.into_iter().map(channel_row).collect(),
        rule: summary.rule,
        policy: summary.policy,
        grant: summary.grant,
        reason: summary.reason,
        source: summary.source,
        auditors: summary.auditors,
        held,
    }
}
