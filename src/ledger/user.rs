//! A bastion user, and the keys that prove them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{LedgerError, TEXT_BYTES_MAX, fingerprint, plain, public_key};
use crate::model::{GroupName, Timestamp, UserName};

/// A bastion user: whoever logs in to the bastion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// The groups that rules name.
    pub groups: BTreeSet<GroupName>,
    /// The SSH keys that prove the user. A key belongs to one user only.
    pub keys: Vec<UserKey>,
    /// Since when the user may do nothing.
    #[serde(alias = "suspended")]
    pub suspended_at: Option<Timestamp>,
    /// The networks from which the user may log in; none means from anywhere.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub from: BTreeSet<IpNet>,
    /// Since when the user may log in by a password with one-time codes; sessions on an earlier one have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_since: Option<Timestamp>,
    /// The user who is the same human, if this is not the name by which they are known: nobody approves what they ask
    /// for by another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<UserName>,
    /// The first moment at which the user may do nothing any more; `None`: no such is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// An SSH public key of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserKey {
    /// In OpenSSH form, without the comment.
    pub key: String,
    /// `SHA256:` and base64, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// When it was added.
    #[serde(alias = "added")]
    pub created: Timestamp,
    /// The comment that came with it.
    pub comment: String,
    /// `no-touch-required`: a login by this security key counts without a touch, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_touch: bool,
    /// `verify-required`: a login by this security key counts only with its PIN.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pin: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl User {
    /// The human who this is, by the name by which they are known.
    pub fn human(&self) -> &UserName {
        self.person.as_ref().unwrap_or(&self.name)
    }

    /// Whether the user may do nothing at `now`: they were suspended, or their end date is over.
    pub fn is_suspended(&self, now: Timestamp) -> bool {
        self.suspended_at.is_some() || self.is_over(now)
    }

    /// Whether the end date is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Whether the user may log in from there.
    pub fn comes_from(&self, source: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|network| network.contains(&source.to_canonical()))
    }
}

impl UserKey {
    /// Reads one line of a `.pub` file, or of an `authorized_keys` file with options for security keys only
    /// (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
    ///
    /// # Errors
    /// `LedgerError::BadKey` if it is not a public key that may log in, or has other options.
    pub fn parse(line: &str, created: Timestamp) -> Result<Self, LedgerError> {
        let (options, key) = key_options(line.trim());
        let parsed = public_key(key)?;
        check_user_key(&parsed)?;
        let (mut no_touch, mut pin) = (false, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "no-touch-required" => no_touch = true,
                "verify-required" => pin = true,
                other => {
                    let shown: String = other.chars().filter(char::is_ascii_graphic).take(40).collect();
                    let why = format!("option `{shown}` is not known here; known: no-touch-required, verify-required");
                    return Err(LedgerError::BadKey { why });
                }
            }
        }
        if (no_touch || pin) && !is_security_key(&parsed) {
            let why = "no-touch-required and verify-required are for security keys (sk-)".to_owned();
            return Err(LedgerError::BadKey { why });
        }
        let comment: String = String::from_utf8_lossy(parsed.comment().as_ref()).into_owned();
        let comment = comment.chars().filter(|c| !c.is_control()).take(TEXT_BYTES_MAX / 4).collect();
        Ok(Self { key: plain(&parsed)?, fingerprint: fingerprint(&parsed), created, comment, no_touch, pin })
    }
}

/// The options before a key, if there are any, and the rest.
fn key_options(line: &str) -> (&str, &str) {
    let options = |first: &str| ["no-touch-required", "verify-required"].iter().any(|name| first.starts_with(name));
    match line.split_once(char::is_whitespace) {
        Some((first, rest)) if options(first) => (first, rest.trim_start()),
        Some(_) | None => ("", line),
    }
}

/// Shorter RSA keys prove nobody (NIST SP 800-131A: 112 bits of strength).
const RSA_BITS_MIN: u32 = 2048;

/// Whether a key is of a kind that may prove who somebody is.
///
/// # Errors
/// `BadKey`: an RSA key that is too short, a DSA key, a certificate where a key should be, or a kind that cannot be
/// checked here.
pub fn check_user_key(key: &ssh_key::PublicKey) -> Result<(), LedgerError> {
    let (data, bad) = (key.key_data(), |why: String| Err(LedgerError::BadKey { why }));
    if data.is_certificate() {
        return bad("it is a certificate: give the key, the .pub file beside it".to_owned());
    }
    if let Some(rsa) = data.rsa().filter(|rsa| rsa.key_size() < RSA_BITS_MIN) {
        return bad(format!("the RSA key has {} bits, and {RSA_BITS_MIN} is the least", rsa.key_size()));
    }
    if data.is_rsa() || data.is_ed25519() || data.is_ecdsa() || is_security_key(key) {
        return Ok(());
    }
    bad(format!("{} keys are not accepted", key.algorithm()))
}

/// Whether the key lies in a security key (FIDO), which signs what its user did.
pub fn is_security_key(key: &ssh_key::PublicKey) -> bool {
    matches!(key.algorithm(), ssh_key::Algorithm::SkEd25519 | ssh_key::Algorithm::SkEcdsaSha2NistP256)
}
