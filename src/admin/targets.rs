//! Targets, their host keys, and the secrets of their accounts.

use std::time::Duration;

use super::api::{HostKey, Reply, SecretInput, SecretRow, TargetChange, TargetRow};
use super::{Admin, AdminError, Caller, done};
use crate::audit::{AuditEvent, VaultChange};
use crate::ledger::{LedgerError, Target, fingerprint, plain, public_key};
use crate::model::{Destination, TargetName};
use crate::rdp::control::Pin;
use crate::screen::plural;
use crate::target::{Algorithms, certificate};
use crate::vault::{SecretInfo, SecretValue};

/// How long a target may take to show its host keys.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10);

impl Admin {
    pub(super) fn known_target(&self, name: &TargetName) -> Result<Target, AdminError> {
        let unknown = || LedgerError::Unknown { kind: "target", name: name.to_string() };
        Ok(self.parts.ledger.target(name).ok_or_else(unknown)?)
    }

    pub(super) fn target_add(&self, target: Target) -> Result<Reply, AdminError> {
        let name = target.name.clone();
        let bare = target.host_keys.is_empty() && !target.address.is_empty();
        let unpinned = target.desktop.as_ref().is_some_and(|desktop| desktop.pin.is_none());
        self.parts.ledger.add_target(target)?;
        let next = bare.then(|| format!("it has no pinned host key yet: `doorward target scan {name}`"));
        let desktop =
            unpinned.then(|| format!("it has no pinned certificate yet: `doorward target scan --rdp {name}`"));
        Ok(done(format!("target `{name}` added"), next.into_iter().chain(desktop).collect()))
    }

    pub(super) fn target_set(&self, name: &TargetName, change: TargetChange) -> Result<Reply, AdminError> {
        let mut target = self.known_target(name)?;
        let mut more = Vec::new();
        if let Some(address) = change.address {
            // The pinned keys stay: if another machine answers at the new address, nothing is sent to it.
            target.address = address;
        }
        target.labels.retain(|key, _| !change.remove_labels.contains(key));
        target.labels.extend(change.set_labels);
        target.host_keys = change.host_keys.unwrap_or(target.host_keys);
        target.accounts = change.accounts.unwrap_or(target.accounts);
        target.insecure_algorithms = change.insecure_algorithms.unwrap_or(target.insecure_algorithms);
        target.desktop = change.desktop.of(target.desktop.as_ref())?;
        self.parts.ledger.set_target(target)?;
        more.extend(self.rejudge());
        Ok(done(format!("target `{name}` changed"), more))
    }

    pub(super) fn target_list(&self) -> Result<Reply, AdminError> {
        let secrets = self.parts.vault.list()?;
        let row = |target: Target| {
            let own = secrets.iter().filter(|secret| secret.destination.target == target.name);
            let accounts_with_secret = own.map(|secret| secret.destination.account.clone()).collect();
            let host_keys = pinned(&target)?;
            let Target { name, address, labels, host_keys: _, accounts, insecure_algorithms, desktop } = target;
            Ok(TargetRow {
                name,
                address,
                labels,
                host_keys,
                accounts,
                accounts_with_secret,
                insecure_algorithms,
                desktop,
            })
        };
        let targets: Result<_, LedgerError> = self.parts.ledger.targets().into_iter().map(row).collect();
        Ok(Reply::Targets { targets: targets? })
    }

    /// A later target of the same name must not come into this one's grants and secrets, so they go too.
    pub(super) fn target_remove(&self, caller: Caller, name: &TargetName) -> Result<Reply, AdminError> {
        let revoked = self.parts.ledger.remove_target(name, &self.revoked(caller, "the target was removed"))?;
        let mut more = self.rejudge();
        self.parts.requests.settle().map_err(AdminError::of_revoke)?;
        let secrets = self.parts.vault.list()?;
        let own: Vec<&Destination> = secrets
            .iter()
            .map(|secret| &secret.destination)
            .filter(|destination| destination.target == *name)
            .collect();
        for destination in &own {
            self.parts.vault.remove(destination)?;
            let detail = format!("with the target `{name}`");
            let change = VaultChange { uid: caller.uid, destination: (*destination).clone(), detail };
            self.parts.audit.append(&AuditEvent::SecretRemove(change)).map_err(AdminError::DoneNotRecorded)?;
        }
        for (count, what, how) in [(revoked, "grant", "revoked"), (own.len(), "secret", "removed")] {
            if count > 0 {
                more.push(format!("{count} {} {how}", plural(count, what)));
            }
        }
        Ok(done(format!("target `{name}` removed"), more))
    }

    pub(super) fn target_scan(&self, name: &TargetName) -> Result<Reply, AdminError> {
        let target = self.known_target(name)?;
        let failed = |why| AdminError::Scan { target: name.clone(), address: target.address.clone(), why };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let found = runtime
            .block_on(crate::target::scan(&target.address, Algorithms::from(&target), SCAN_TIMEOUT))
            .map_err(failed)?;
        let found = found.iter().map(host_key).collect::<Result<_, _>>()?;
        let pinned = pinned(&target)?;
        Ok(Reply::HostKeys { address: target.address, found, pinned })
    }

    pub(super) fn target_scan_desktop(&self, name: &TargetName) -> Result<Reply, AdminError> {
        let target = self.known_target(name)?;
        let desktop = target.desktop.ok_or(LedgerError::NoDesktop)?;
        let failed = |why| AdminError::Scan { target: name.clone(), address: desktop.address.clone(), why };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let seen = runtime.block_on(certificate::scan(&desktop.address, SCAN_TIMEOUT)).map_err(failed)?;
        let pinned = match &desktop.pin {
            Some(Pin::Fingerprints(all)) => all.contains(&seen.sha256),
            // What an authority signed is known once a session checks it.
            Some(Pin::Authority { .. }) | None => false,
        };
        Ok(Reply::Certificate { address: desktop.address, sha256: seen.sha256, nla: seen.nla, pinned })
    }

    pub(super) fn secret_set(&self, destination: &Destination, secret: SecretInput) -> Result<Reply, AdminError> {
        self.known_target(&destination.target)?;
        let value = match secret {
            SecretInput::Password(password) => {
                if password.0.expose().is_empty() || password.0.expose().contains(['\0', '\n', '\r']) {
                    let why = "a password has one line with something in it".to_owned();
                    return Err(AdminError::Invalid { why, hint: "give the password alone, without line ends in it" });
                }
                SecretValue::Password(password.0)
            }
            SecretInput::PrivateKey { openssh, passphrase } => {
                SecretValue::PrivateKey { openssh: openssh.0, passphrase: passphrase.map(|text| text.0) }
            }
        };
        let version = self.parts.vault.set(destination, value, self.now())?;
        Ok(done(format!("secret of {destination} stored, version {version}"), Vec::new()))
    }

    pub(super) fn secret_list(&self) -> Result<Reply, AdminError> {
        let row = |secret: SecretInfo| SecretRow {
            destination: secret.destination,
            kind: secret.kind.to_string(),
            version: secret.version,
            created: secret.created,
            key_fingerprint: secret.fingerprint,
        };
        Ok(Reply::Secrets { secrets: self.parts.vault.list()?.into_iter().map(row).collect() })
    }

    pub(super) fn secret_remove(&self, destination: &Destination) -> Result<Reply, AdminError> {
        self.parts.vault.remove(destination)?;
        Ok(done(format!("secret of {destination} removed"), Vec::new()))
    }
}

fn pinned(target: &Target) -> Result<Vec<HostKey>, LedgerError> {
    target.host_keys.iter().map(|key| host_key(&public_key(key)?)).collect()
}

fn host_key(key: &ssh_key::PublicKey) -> Result<HostKey, LedgerError> {
    Ok(HostKey { algorithm: key.algorithm().to_string(), fingerprint: fingerprint(key), key: plain(key)? })
}
