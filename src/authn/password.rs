//! Passwords with one-time codes: both are asked always, and nobody is told which of them was wrong.
//!
//! A stranger can make the bastion compute a hash, which takes memory and time by intent: so at most two at once, few
//! wait, and the others are refused. Whether a user exists, has a password, or is locked out shows neither in what is
//! asked nor in what is computed.
//!
//! Passwords are kept as argon2id hashes, the codes' secrets as they are; both sealed by the database.
//!
//! What this module does **not** guard against: whoever knows a user's name can lock that user's password out for a
//! while (their keys go on). And a code is no proof against a site that passes it on: a security key is.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::totp::{self, Step};
use crate::clock::Clock;
use crate::db::{Db, DbError, Rev, Table};
use crate::model::{Timestamp, UserName};
use crate::secret::Secret;

/// Hashes computed at once.
const COMPUTING_MAX: usize = 2;
/// Logins that may wait for that, and for how long.
const WAITING_MAX: usize = 16;
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Shorter passwords are refused when they are set, longer ones everywhere.
const PASSWORD_CHARS_MIN: usize = 12;
const PASSWORD_BYTES_MAX: usize = 1024;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// For new passwords (OWASP's second choice, RFC 9106 section 4): memory in KiB, passes, lanes.
const COST: Cost = Cost { memory: 19 * 1024, passes: 2, lanes: 1 };
/// More is not computed, whatever is stored.
const MEMORY_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;

/// When a user's password is locked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOut {
    /// After so many failures in a row.
    pub after: u32,
    /// For so long.
    pub span: Duration,
}

/// The passwords and one-time codes of users.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    table: Table<Stored>,
    /// INVARIANT: held while a stored value is read, judged and written: a code counts once.
    failures: Mutex<HashMap<UserName, u32>>,
    computing: Arc<Semaphore>,
    waiting: Semaphore,
    /// What is computed for those who have no password.
    dummy: Stored,
}

/// What is stored of one user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    password: Option<Hash>,
    totp: Option<Totp>,
    locked_until: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hash {
    cost: Cost,
    salt: String,
    /// argon2id, version 0x13.
    hash: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Totp {
    secret: String,
    /// The step of the last code that was taken. It is on disk before anybody is let in on it.
    last: Option<i64>,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hash>")
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

/// What somebody has typed.
#[derive(Debug)]
pub struct Typed {
    /// The password.
    pub password: Secret<String>,
    /// The code.
    pub code: Secret<String>,
}

/// Why a password or code was not taken. For logs: a stranger is told nothing.
#[derive(Debug)]
pub enum PasswordError {
    /// The user has no password, or no one-time codes, or there is no such user.
    NotSet,
    /// The password is wrong.
    Password,
    /// The password is right, the code is wrong.
    Code,
    /// The code was taken before.
    CodeUsed,
    /// Too many failures: nothing is taken for a while.
    Locked {
        /// Until then.
        until: Timestamp,
    },
    /// Others are computed for.
    Busy,
    /// It cannot be set: too short or too long.
    Unfit,
    /// There is no randomness, or the hash cannot be computed.
    Crypto,
    /// The database failed.
    Db(DbError),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str("there is no password with one-time codes for it"),
            Self::Password => f.write_str("wrong password"),
            Self::Code => f.write_str("wrong one-time code"),
            Self::CodeUsed => f.write_str("a one-time code that was used before"),
            Self::Locked { until } => write!(f, "locked out until {until}, after too many failures"),
            Self::Busy => f.write_str("too many passwords are being checked"),
            Self::Unfit => {
                write!(
                    f,
                    "a password has {PASSWORD_CHARS_MIN} characters or more, and at most {PASSWORD_BYTES_MAX} bytes"
                )
            }
            Self::Crypto => f.write_str("the password cannot be hashed"),
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PasswordError {}

impl Passwords {
    /// The passwords in the database.
    pub fn open(db: &Db) -> Self {
        let dummy = Hash { cost: COST, salt: STANDARD.encode([0; SALT_BYTES]), hash: STANDARD.encode([0; HASH_BYTES]) };
        let totp = Totp { secret: STANDARD.encode([0; totp::SECRET_BYTES]), last: None };
        Self(Arc::new(Inner {
            table: db.table("passwords"),
            failures: Mutex::default(),
            computing: Arc::new(Semaphore::new(COMPUTING_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            dummy: Stored { password: Some(dummy), totp: Some(totp), locked_until: None },
        }))
    }

    /// Stores a password; says whether the user can log in by it now. Blocks.
    ///
    /// # Errors
    /// `Unfit`, `Crypto` or `Db`.
    pub fn set_password(&self, user: &UserName, password: &Secret<String>) -> Result<bool, PasswordError> {
        let text = password.expose();
        if text.chars().count() < PASSWORD_CHARS_MIN || text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Unfit);
        }
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::Crypto)?;
        let hash = COST.hash(text.as_bytes(), &salt).ok_or(PasswordError::Crypto)?;
        let hash = Hash { cost: COST, salt: STANDARD.encode(salt), hash: STANDARD.encode(hash.as_slice()) };
        self.change(user, |stored| stored.password = Some(hash))
    }

    /// Makes a new secret for one-time codes and stores it; gives what an app takes, and whether the user can log in by
    /// it now. Blocks.
    ///
    /// # Errors
    /// `Crypto` or `Db`.
    pub fn set_totp(&self, user: &UserName) -> Result<(Secret<String>, bool), PasswordError> {
        let mut secret = Zeroizing::new([0; totp::SECRET_BYTES]);
        SystemRandom::new().fill(secret.as_mut_slice()).map_err(|_| PasswordError::Crypto)?;
        let totp = Totp { secret: STANDARD.encode(secret.as_slice()), last: None };
        let complete = self.change(user, |stored| stored.totp = Some(totp))?;
        Ok((totp::uri(user, secret.as_slice()), complete))
    }

    /// Forgets all of a user; says whether there was anything. Blocks.
    ///
    /// # Errors
    /// `Db`.
    pub fn remove(&self, user: &UserName) -> Result<bool, PasswordError> {
        let mut failures = self.failures();
        failures.remove(user);
        let Some((rev, _)) = self.0.table.get(user.as_str()).map_err(PasswordError::Db)? else { return Ok(false) };
        self.0.table.delete(user.as_str(), rev).map_err(PasswordError::Db)?;
        Ok(true)
    }

    /// Judges what was typed for `user`; `None` computes as much and takes nothing. Returns once a code that is taken is
    /// on record as used.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn check(
        &self,
        user: Option<UserName>,
        typed: Typed,
        lock_out: LockOut,
        clock: &Clock,
    ) -> Result<(), PasswordError> {
        let _waiting = self.0.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let computing = timeout(WAIT_MAX, Arc::clone(&self.0.computing).acquire_owned()).await;
        let computing = computing.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Busy)?;
        let (this, clock) = (self.clone(), clock.clone());
        let judging = tokio::task::spawn_blocking(move || {
            // Held until the hash is computed, also for a stranger who has hung up meanwhile.
            let _computing = computing;
            this.judge(user.as_ref(), &typed, lock_out, &clock)
        });
        judging.await.unwrap_or(Err(PasswordError::Crypto))
    }

    fn judge(
        &self,
        user: Option<&UserName>,
        typed: &Typed,
        lock_out: LockOut,
        clock: &Clock,
    ) -> Result<(), PasswordError> {
        let known = self.stored(user)?;
        let asked = known.as_ref().and_then(|(_, stored)| stored.password.as_ref()).or(self.0.dummy.password.as_ref());
        let right = asked.is_some_and(|hash| hash.is_of(typed.password.expose()));
        // Read again: while the hash was computed, another may have used the code.
        let mut failures = self.failures();
        let known = self.stored(user)?;
        let now = clock.now();
        let totp = known.as_ref().and_then(|(_, stored)| stored.totp.as_ref()).or(self.0.dummy.totp.as_ref());
        let step = totp.map_or(Step::Wrong, |totp| totp.step(typed.code.expose(), now));
        let (Some(user), Some((rev, mut stored))) = (user, known) else { return Err(PasswordError::NotSet) };
        let (Some(_), Some(totp)) = (&stored.password, &mut stored.totp) else { return Err(PasswordError::NotSet) };
        if let Some(until) = stored.locked_until.filter(|until| now < *until) {
            return Err(PasswordError::Locked { until });
        }
        let failure = match (right, step) {
            (true, Step::New(step)) => {
                totp.last = Some(step);
                stored.locked_until = None;
                self.0.table.put(user.as_str(), Some(rev), &stored).map_err(PasswordError::Db)?;
                failures.remove(user);
                return Ok(());
            }
            (true, Step::Used) => PasswordError::CodeUsed,
            (true, Step::Wrong) => PasswordError::Code,
            // Nobody's password is empty: a client without anybody at it answers so, and guesses nothing.
            (false, _) if typed.password.expose().is_empty() => return Err(PasswordError::Password),
            (false, Step::New(_) | Step::Used | Step::Wrong) => PasswordError::Password,
        };
        self.count_failure(&mut failures, user, (rev, stored), lock_out, now)?;
        Err(failure)
    }

    /// Whether the user has one-time codes. Blocks.
    ///
    /// # Errors
    /// `Db`.
    pub fn has_codes(&self, user: &UserName) -> Result<bool, PasswordError> {
        Ok(self.stored(Some(user))?.is_some_and(|(_, stored)| stored.totp.is_some()))
    }

    /// Judges a one-time code alone, of a user who has proven who they are already, and may have no password. It counts
    /// once, here or at a login, and a wrong one is a failure as there. Returns once a code that is taken is on record as
    /// used. Blocks.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn check_code(
        &self,
        user: &UserName,
        code: &Secret<String>,
        lock_out: LockOut,
        clock: &Clock,
    ) -> Result<(), PasswordError> {
        let mut failures = self.failures();
        let (rev, mut stored) = self.stored(Some(user))?.ok_or(PasswordError::NotSet)?;
        let (now, locked) = (clock.now(), stored.locked_until);
        let totp = stored.totp.as_mut().ok_or(PasswordError::NotSet)?;
        if let Some(until) = locked.filter(|until| now < *until) {
            return Err(PasswordError::Locked { until });
        }
        let step = totp.step(code.expose(), now);
        let failure = match step {
            Step::New(step) => {
                totp.last = Some(step);
                stored.locked_until = None;
                self.0.table.put(user.as_str(), Some(rev), &stored).map_err(PasswordError::Db)?;
                failures.remove(user);
                return Ok(());
            }
            Step::Used => PasswordError::CodeUsed,
            Step::Wrong => PasswordError::Code,
        };
        self.count_failure(&mut failures, user, (rev, stored), lock_out, now)?;
        Err(failure)
    }

    fn count_failure(
        &self,
        failures: &mut HashMap<UserName, u32>,
        user: &UserName,
        (rev, mut stored): (Rev, Stored),
        lock_out: LockOut,
        now: Timestamp,
    ) -> Result<(), PasswordError> {
        let count = failures.entry(user.clone()).or_insert(0);
        *count = count.saturating_add(1);
        if *count >= lock_out.after {
            *count = 0;
            stored.locked_until = Some(now.plus(lock_out.span));
            self.0.table.put(user.as_str(), Some(rev), &stored).map_err(PasswordError::Db)?;
        }
        Ok(())
    }

    fn stored(&self, user: Option<&UserName>) -> Result<Option<(Rev, Stored)>, PasswordError> {
        let Some(user) = user else { return Ok(None) };
        self.0.table.get(user.as_str()).map_err(PasswordError::Db)
    }

    /// Changes what is stored of a user, whose failures are forgiven; says whether all is there that a login needs.
    fn change(&self, user: &UserName, change: impl FnOnce(&mut Stored)) -> Result<bool, PasswordError> {
        let mut failures = self.failures();
        let (rev, mut stored) = match self.stored(Some(user))? {
            Some((rev, stored)) => (Some(rev), stored),
            None => (None, Stored::default()),
        };
        change(&mut stored);
        stored.locked_until = None;
        failures.remove(user);
        self.0.table.put(user.as_str(), rev, &stored).map_err(PasswordError::Db)?;
        Ok(stored.password.is_some() && stored.totp.is_some())
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<UserName, u32>> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hash {
    fn is_of(&self, password: &str) -> bool {
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(&self.salt), STANDARD.decode(&self.hash)) else { return false };
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let Some(computed) = self.cost.hash(password.as_bytes(), &salt) else { return false };
        let differing = computed.iter().zip(&hash).fold(0, |all, (a, b)| all | (a ^ b));
        hash.len() == computed.len() && differing == 0
    }
}

impl Cost {
    /// argon2id (RFC 9106); `None` for what is beyond all that is ever stored.
    fn hash(self, password: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; HASH_BYTES]>> {
        if self.memory > MEMORY_MAX || self.passes > PASSES_MAX {
            return None;
        }
        let params = Params::new(self.memory, self.passes, self.lanes, Some(HASH_BYTES)).ok()?;
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password, salt, hash.as_mut_slice()).ok()?;
        Some(hash)
    }
}

impl Totp {
    fn step(&self, code: &str, now: Timestamp) -> Step {
        let secret = Zeroizing::new(STANDARD.decode(&self.secret).unwrap_or_default());
        // An empty key would make codes that anybody can make.
        if secret.len() == totp::SECRET_BYTES { totp::step(&secret, code, now, self.last) } else { Step::Wrong }
    }
}

#[cfg(test)]
mod tests;
