//! A key, a certificate or a password, and the name in the login, become the user whom they prove.
//!
//! Every way in ends in `admit`, which alone makes an `Authenticated`: what is checked of all of them is checked there,
//! so that a further way cannot leave it out.
//!
//! What this module does **not** guard against: it trusts that the caller has seen a signature by the key's
//! private half. For a key that was only offered, ask `offered`, and give nothing for the answer but the chance to
//! sign.

mod password;
mod totp;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey, Signature};

use crate::clock::Clock;
use crate::grant::Asker;
use crate::ledger::{Ledger, LedgerError, User, check_user_key, fingerprint, is_security_key};
use crate::model::{Presence, Timestamp, UserName};
use crate::trust::{Circumstances, Distrust, For};
pub use password::{LockOut, PasswordError, Passwords, Typed};

/// What logins are judged by.
#[derive(Clone)]
pub struct Logins {
    /// Users, their keys, and which certificates count.
    pub ledger: Arc<Ledger>,
    /// The time by which certificates and one-time codes count.
    pub clock: Clock,
    /// Passwords, if anybody may log in by one, and when they are locked.
    pub passwords: Option<(Passwords, LockOut)>,
}

impl Logins {
    /// Whether a signature by what is offered would be accepted, if it is made with `algorithm`.
    ///
    /// # Errors
    /// As `prove`.
    pub fn offered(&self, claim: &Claim<'_>, shown: Shown<'_>, algorithm: &Algorithm) -> Result<(), AuthnError> {
        let (user, proof) = shown.proves(&self.ledger, claim, algorithm, self.clock.now())?;
        admit(claim, &user, proof, Presence::NONE, self.clock.now()).map(|_| ())
    }

    /// Says whom the key shown proves, by a signature that the caller has verified to be of it and of this login.
    ///
    /// The destination plays no part: whether a key is accepted tells nothing about targets.
    ///
    /// # Errors
    /// `AuthnError` says why nobody.
    pub fn prove(
        &self,
        claim: &Claim<'_>,
        shown: Shown<'_>,
        signature: &Signature,
    ) -> Result<Authenticated, AuthnError> {
        let (user, proof) = shown.proves(&self.ledger, claim, &signature.algorithm(), self.clock.now())?;
        let presence = presence(signature);
        proof.demands(&user, presence)?;
        admit(claim, &user, proof, presence, self.clock.now())
    }

    /// Says whom a password with a one-time code proves. Both are judged, and for those too who have none, so that
    /// neither an answer nor its time tells a stranger anything.
    ///
    /// # Errors
    /// `AuthnError` says why nobody.
    pub async fn prove_by_password(&self, claim: &Claim<'_>, typed: Typed) -> Result<Authenticated, AuthnError> {
        let failed = |user: Option<UserName>, why: &PasswordError| AuthnError::Password { user, why: why.to_string() };
        let Some((passwords, lock_out)) = &self.passwords else { return Err(failed(None, &PasswordError::NotSet)) };
        // From elsewhere nobody uses up a code, nor locks anybody out.
        let user = claim.named.and_then(|named| self.ledger.user(named));
        let here = user.clone().filter(|user| user.comes_from(claim.source) && user.password_since.is_some());
        let checked = passwords.check(here.map(|user| user.name), typed, *lock_out, &self.clock).await;
        let Some(user) = user else { return Err(failed(None, &PasswordError::NotSet)) };
        if let Err(why) = checked {
            admit(claim, &user, Proof::Password { since: self.clock.now() }, Presence::NONE, self.clock.now())?;
            return Err(failed(Some(user.name), &why));
        }
        // As it is now: what was taken away while the hash was computed does not count.
        let user = self.ledger.user(&user.name).and_then(|user| user.password_since.map(|since| (user, since)));
        let Some((user, since)) = user else { return Err(failed(None, &PasswordError::NotSet)) };
        admit(claim, &user, Proof::Password { since }, Presence::NONE, self.clock.now())
    }
}

/// A user who has proven who they are. Only `admit` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    user: UserName,
    source: IpAddr,
    proof: Proof,
    /// The proof as it stands on record.
    shown: Arc<str>,
    presence: Presence,
    /// When they logged in, if that was by two factors.
    mfa: Option<Timestamp>,
    suspended: bool,
}

/// By what a user has proven who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A key that is theirs.
    Key(Arc<PublicKey>),
    /// A certificate for them, by an authority that is trusted.
    Certificate(Arc<Certificate>),
    /// Their password, and a one-time code.
    Password {
        /// Since when it is what it is.
        since: Timestamp,
    },
}

impl fmt::Display for Proof {
    /// As it stands on record: a key's fingerprint, `SHA256:` and base64; of a certificate its key's, and which it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(&fingerprint(key)),
            Self::Certificate(certificate) => f.write_str(&shown(certificate)),
            Self::Password { .. } => f.write_str("password and one-time code"),
        }
    }
}

/// A certificate as logs have it; its key id is the authority's text, so it is bounded and shows what steers terminals.
fn shown(certificate: &Certificate) -> String {
    let key = certificate.public_key().fingerprint(HashAlg::Sha256);
    let ca = certificate.signature_key().fingerprint(HashAlg::Sha256);
    let id: String = certificate.key_id().escape_debug().take(KEY_ID_CHARS_MAX).collect();
    format!("{key}, certificate serial {} of CA {ca}, \"{id}\"", certificate.serial())
}

/// So much of a certificate's key id is on record: all of it has room in an event's text.
const KEY_ID_CHARS_MAX: usize = 80;

impl Authenticated {
    /// The user.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The user, and what they did at the login: who asks for permits.
    pub fn asker(&self) -> Asker<'_> {
        let Self { user, source, shown: key, presence, mfa, .. } = self;
        Asker { user, presence: *presence, key, source: *source, mfa: *mfa, since: None }
    }

    /// By what they have proven it.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whether the user is suspended. The login is accepted all the same, so that the refusal can say so.
    pub fn suspended(&self) -> bool {
        self.suspended
    }

    /// Whether the login holds for what is open on it: what it rests on is still there. Suspension is asked for with
    /// each permit.
    ///
    /// # Errors
    /// `AuthnError` says what is gone.
    pub fn stands(&self, ledger: &Ledger) -> Result<(), AuthnError> {
        self.check(ledger, For::Live, Timestamp::from_millis(0))
    }

    /// Whether something new may be opened on the login: it would be accepted again.
    ///
    /// # Errors
    /// `AuthnError` says why not.
    pub fn opens(&self, ledger: &Ledger, now: Timestamp) -> Result<(), AuthnError> {
        self.check(ledger, For::Opening, now)
    }

    fn check(&self, ledger: &Ledger, purpose: For, now: Timestamp) -> Result<(), AuthnError> {
        let claim = Claim { named: Some(&self.user), source: self.source };
        let user = match &self.proof {
            Proof::Key(key) => owner(ledger, &claim, key, purpose)?,
            Proof::Certificate(certificate) => bearer(ledger, &claim, certificate, purpose, now)?,
            Proof::Password { since } => {
                let user = ledger.user(&self.user).filter(|user| user.password_since == Some(*since));
                user.ok_or_else(|| AuthnError::PasswordChanged { user: self.user.clone() })?
            }
        };
        self.proof.demands(&user, self.presence)?;
        admit(&claim, &user, self.proof.clone(), self.presence, now).map(|_| ())
    }
}

/// What a login says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The user whom it names, if it names one.
    pub named: Option<&'a UserName>,
    /// Where it comes from; of a jump, where the connection around it comes from.
    pub source: IpAddr,
}

/// A key as it is offered, or shown by a signature.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// A key by itself.
    Key(&'a PublicKey),
    /// A key in a certificate.
    Certificate(&'a Certificate),
}

/// Why nobody is proven. For logs: the client is told only that the login is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthnError {
    /// Nobody has the key.
    UnknownKey {
        /// The key.
        fingerprint: String,
    },
    /// Somebody else than the user named has it.
    NotTheOwner {
        /// The key.
        fingerprint: String,
        /// Whom the login names.
        named: UserName,
        /// Who has the key.
        owner: UserName,
    },
    /// The key, or how it signs, is too weak or not known.
    Weak {
        /// The key.
        fingerprint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key is revoked.
    Revoked(Distrust),
    /// The certificate does not count.
    Certificate {
        /// Which.
        certificate: String,
        /// Why not.
        why: Distrust,
    },
    /// The certificate is not for whom it is used.
    Principal {
        /// Which.
        certificate: String,
        /// What is wrong.
        why: String,
    },
    /// The security key was not touched.
    NotTouched {
        /// The key.
        fingerprint: String,
    },
    /// The security key was not given its PIN.
    NoPin {
        /// The key.
        fingerprint: String,
    },
    /// A password or one-time code was not taken.
    Password {
        /// Whose it should have been; nobody's, if the login names nobody or somebody whom nobody knows.
        user: Option<UserName>,
        /// Why.
        why: String,
    },
    /// The password is another by now.
    PasswordChanged {
        /// Whose.
        user: UserName,
    },
    /// The user may not log in from there.
    Source {
        /// The user.
        user: UserName,
        /// From where.
        source: IpAddr,
    },
}

impl fmt::Display for AuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { fingerprint } => write!(f, "no user has key {fingerprint}"),
            Self::NotTheOwner { fingerprint, named, owner } => {
                write!(f, "key {fingerprint} belongs to user `{owner}`, not to `{named}`")
            }
            Self::Weak { fingerprint, why } => write!(f, "key {fingerprint}: {why}"),
            Self::Revoked(why) => why.fmt(f),
            Self::Certificate { certificate, why } => write!(f, "key {certificate}: {why}"),
            Self::Principal { certificate, why } => write!(f, "key {certificate}: {why}"),
            Self::NotTouched { fingerprint } => write!(f, "security key {fingerprint} was not touched"),
            Self::NoPin { fingerprint } => write!(f, "security key {fingerprint} was not given its PIN"),
            Self::Password { user: Some(user), why } => write!(f, "user `{user}` by password: {why}"),
            Self::Password { user: None, why } => write!(f, "nobody by password: {why}"),
            Self::PasswordChanged { user } => write!(f, "the password of user `{user}` is another by now"),
            Self::Source { user, source } => write!(f, "user `{user}` may not log in from {source}"),
        }
    }
}

impl std::error::Error for AuthnError {}

/// The last step of every way in: what is asked of all who log in, however they have proven who they are.
fn admit(
    claim: &Claim<'_>,
    user: &User,
    proof: Proof,
    presence: Presence,
    now: Timestamp,
) -> Result<Authenticated, AuthnError> {
    if !user.comes_from(claim.source) {
        return Err(AuthnError::Source { user: user.name.clone(), source: claim.source });
    }
    // A security key that was touched, or given its PIN, is something that its user has and did; a password comes with a
    // one-time code. A key in a file is one factor, however it is kept.
    let by_two = presence != Presence::NONE || matches!(proof, Proof::Password { .. });
    Ok(Authenticated {
        user: user.name.clone(),
        source: claim.source,
        shown: proof.to_string().into(),
        proof,
        presence,
        mfa: by_two.then_some(now),
        suspended: user.is_suspended(now),
    })
}

impl Shown<'_> {
    /// Whose it is, and what is kept of it.
    fn proves(
        self,
        ledger: &Ledger,
        claim: &Claim<'_>,
        algorithm: &Algorithm,
        now: Timestamp,
    ) -> Result<(User, Proof), AuthnError> {
        let key = match self {
            Self::Key(key) => key.clone(),
            Self::Certificate(certificate) => key_in(certificate),
        };
        strong(&key, algorithm)?;
        match self {
            Self::Key(key) => Ok((owner(ledger, claim, key, For::Opening)?, Proof::Key(Arc::new(key.clone())))),
            Self::Certificate(certificate) => {
                let user = bearer(ledger, claim, certificate, For::Opening, now)?;
                Ok((user, Proof::Certificate(Arc::new(certificate.clone()))))
            }
        }
    }
}

fn key_in(certificate: &Certificate) -> PublicKey {
    PublicKey::from(certificate.public_key().clone())
}

/// Refuses keys that are too short, and RSA with SHA-1 (RFC 8332).
fn strong(key: &PublicKey, algorithm: &Algorithm) -> Result<(), AuthnError> {
    let weak = |why: String| Err(AuthnError::Weak { fingerprint: fingerprint(key), why });
    if *algorithm == (Algorithm::Rsa { hash: None }) {
        return weak("RSA signatures with SHA-1 (ssh-rsa) are not accepted".to_owned());
    }
    match check_user_key(key) {
        Ok(()) => Ok(()),
        Err(LedgerError::BadKey { why }) => weak(why),
        Err(other) => weak(other.to_string()),
    }
}

/// The user to whom a key belongs.
fn owner(ledger: &Ledger, claim: &Claim<'_>, key: &PublicKey, purpose: For) -> Result<User, AuthnError> {
    let Some(owner) = ledger.user_by_key(key) else {
        return Err(AuthnError::UnknownKey { fingerprint: fingerprint(key) });
    };
    ledger.trust().key(key, purpose).map_err(AuthnError::Revoked)?;
    match claim.named {
        Some(named) if *named != owner.name => {
            let fingerprint = fingerprint(key);
            Err(AuthnError::NotTheOwner { fingerprint, named: named.clone(), owner: owner.name })
        }
        Some(_) | None => Ok(owner),
    }
}

/// The user for whom a certificate is: a principal is a user's name. If the login names nobody, there is one only.
fn bearer(
    ledger: &Ledger,
    claim: &Claim<'_>,
    certificate: &Certificate,
    purpose: For,
    now: Timestamp,
) -> Result<User, AuthnError> {
    let circumstances = Circumstances { purpose, source: claim.source, now };
    let trusted = ledger.trust().certificate(certificate, &circumstances);
    trusted.map_err(|why| AuthnError::Certificate { certificate: shown(certificate), why })?;
    let wrong = |why: String| AuthnError::Principal { certificate: shown(certificate), why };
    let name = match (certificate.valid_principals(), claim.named) {
        ([], _) => return Err(wrong("it names no principal".to_owned())),
        (principals, Some(named)) => {
            if principals.iter().all(|principal| principal != named.as_str()) {
                return Err(wrong(format!("it is not for user `{named}`")));
            }
            named.clone()
        }
        ([only], None) => UserName::parse(only).map_err(|_| wrong("its principal is no user's name".to_owned()))?,
        ([..], None) => return Err(wrong("it is for several users, and the login names none (USER+...)".to_owned())),
    };
    let user = ledger.user(&name).ok_or_else(|| wrong(format!("there is no user `{name}`")))?;
    // A key belongs to one user: were it to prove two, nobody could say which of them it was.
    match ledger.user_by_key(&key_in(certificate)) {
        Some(owner) if owner.name != user.name => {
            Err(wrong(format!("its key belongs to user `{}`, not to `{}`", owner.name, user.name)))
        }
        Some(_) | None => Ok(user),
    }
}

impl Proof {
    /// Whether a security key has seen its user do what it must: be touched, unless the user's key was added with
    /// `no-touch-required` or the certificate has it; get its PIN, where either has `verify-required`.
    fn demands(&self, user: &User, presence: Presence) -> Result<(), AuthnError> {
        let (key, touch, pin) = match self {
            Self::Key(key) => {
                let fingerprint = fingerprint(key);
                let known = user.keys.iter().find(|known| known.fingerprint == fingerprint);
                let touch = known.is_none_or(|known| !known.no_touch);
                (PublicKey::clone(key), touch, known.is_some_and(|known| known.pin))
            }
            Self::Certificate(certificate) => {
                let key = key_in(certificate);
                let touch = !certificate.extensions().contains_key("no-touch-required");
                let pin = certificate.critical_options().contains_key("verify-required");
                // A key that is the user's by itself too owes what its own line demands, whatever an authority says.
                let fingerprint = fingerprint(&key);
                let known = user.keys.iter().find(|known| known.fingerprint == fingerprint);
                (key, touch || known.is_some_and(|known| !known.no_touch), pin || known.is_some_and(|known| known.pin))
            }
            Self::Password { .. } => return Ok(()),
        };
        if touch && is_security_key(&key) && !presence.touch {
            return Err(AuthnError::NotTouched { fingerprint: fingerprint(&key) });
        }
        if pin && !presence.pin {
            return Err(AuthnError::NoPin { fingerprint: fingerprint(&key) });
        }
        Ok(())
    }
}

/// The flags that a security key has signed, at the end of its signature: a byte, and four of its counter (OpenSSH's
/// PROTOCOL.u2f; bits of WebAuthn section 6.1).
fn presence(signature: &Signature) -> Presence {
    const USER_PRESENT: u8 = 0x01;
    const USER_VERIFIED: u8 = 0x04;
    match (signature.algorithm(), signature.as_bytes()) {
        (Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256, [.., flags, _, _, _, _]) => {
            Presence { touch: flags & USER_PRESENT != 0, pin: flags & USER_VERIFIED != 0 }
        }
        _ => Presence::NONE,
    }
}

#[cfg(test)]
impl Authenticated {
    /// For tests of what comes after a login.
    pub(crate) fn by_key(user: &UserName, key: &PublicKey) -> Self {
        let proof = Proof::Key(Arc::new(key.clone()));
        let source = IpAddr::from([127, 0, 0, 1]);
        let shown = proof.to_string().into();
        Self { user: user.clone(), source, proof, shown, presence: Presence::NONE, mfa: None, suspended: false }
    }
}

#[cfg(test)]
mod tests;
