//! `ssh -J BASTION ACCOUNT@TARGET`: which target a channel is for, and how the bastion proves itself in its place.
//!
//! OpenSSH's ProxyJump opens a `direct-tcpip` channel to the target's host and port and speaks SSH in it (RFC 4254
//! section 7.2). That SSH ends at the bastion too, which shows its own host key with a certificate for the target's
//! name, signed by its host CA.

use std::collections::BTreeSet;
use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::{Certificate, PrivateKey, PublicKey};

use crate::clock::Clock;
use crate::ledger::{Ledger, Target, address};
use crate::model::{TargetName, UserName};

/// The keys by which users know the bastion.
#[derive(Clone)]
pub struct HostKeys {
    own: PrivateKey,
    ca: PrivateKey,
    clock: Clock,
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKeys")
    }
}

/// A client's clock may be so many seconds behind.
const CLOCK_SLACK: u64 = 3600;
/// A certificate is good for so many seconds; each connection gets its own.
const CERTIFICATE_LIFE: u64 = 24 * 3600;

/// SSH's own port (RFC 4251 section 4.1); what a client means that names none.
const SSH_PORT: u32 = 22;

impl HostKeys {
    /// The bastion's own host key, and the one that certifies it for targets.
    pub fn new(own: PrivateKey, ca: PrivateKey, clock: Clock) -> Self {
        Self { own, ca, clock }
    }

    /// The host key.
    pub fn own(&self) -> &PrivateKey {
        &self.own
    }

    /// A certificate of the host key for this target, by its name and its address (OpenSSH's PROTOCOL.certkeys).
    ///
    /// # Errors
    /// If there is no randomness, or the signature fails.
    pub fn certificate(&self, target: &Target) -> ssh_key::Result<Certificate> {
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ssh_key::Error::Crypto)?;
        let now = u64::try_from(self.clock.now().as_millis() / 1000).unwrap_or(0);
        let (from, until) = (now.saturating_sub(CLOCK_SLACK), now.saturating_add(CERTIFICATE_LIFE));
        let mut builder = Builder::new(nonce, self.own.public_key().key_data().clone(), from, until)?;
        builder.cert_type(CertType::Host)?.key_id(format!("doorward {}", target.name))?;
        for name in principals(target) {
            builder.valid_principal(name)?;
        }
        builder.sign(&self.ca)
    }
}

/// The names that a client may call a target by.
fn principals(target: &Target) -> BTreeSet<String> {
    let (host, _) = host_and_port(&target.address);
    BTreeSet::from([target.name.to_string(), host])
}

/// `host:port` without the brackets of an IPv6 address.
fn host_and_port(address: &str) -> (String, String) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "22"));
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port.to_owned())
}

/// The line for a user's `known_hosts` that makes the bastion known as each of these targets, and as nothing else
/// (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT); `None` without targets.
pub fn ca_line(ca: &PublicKey, targets: &[Target]) -> Option<String> {
    let mut patterns = BTreeSet::new();
    for target in targets {
        let (_, port) = host_and_port(&target.address);
        for name in principals(target) {
            if port != "22" {
                patterns.insert(format!("[{name}]:{port}"));
            }
            patterns.insert(name);
        }
    }
    let patterns: Vec<String> = patterns.into_iter().collect();
    let key = PublicKey::from(ca.key_data().clone()).to_openssh().ok()?;
    (!patterns.is_empty()).then(|| format!("@cert-authority {} {key}", patterns.join(",")))
}

/// The target of this name, if the port is SSH's or its own and a rule lets the user reach it, with a grant or without.
pub(super) fn named(ledger: &Ledger, user: &UserName, host: &str, port: u32) -> Option<Target> {
    by_name(ledger, host, port).filter(|target| ledger.reaches(user, &target.name))
}

fn by_name(ledger: &Ledger, host: &str, port: u32) -> Option<Target> {
    let own_port = |target: &Target| host_and_port(&target.address).1 == port.to_string();
    let target = ledger.target(&TargetName::parse(host).ok()?)?;
    (port == SSH_PORT || own_port(&target)).then_some(target)
}

/// The target that a user means by this host and port: one by that name, or the only one at that address, and only one
/// that a rule lets the user reach, with a grant or without.
pub(super) fn target(ledger: &Ledger, user: &UserName, host: &str, port: u32) -> Option<Target> {
    let reached = |target: &Target| ledger.reaches(user, &target.name);
    if let Some(target) = by_name(ledger, host, port) {
        return reached(&target).then_some(target);
    }
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let place = address(&place).ok()?;
    let mut there = ledger.targets().into_iter().filter(|target| target.address == place).filter(reached);
    // Which of several is meant, nobody can tell.
    there.next().filter(|_| there.next().is_none())
}
