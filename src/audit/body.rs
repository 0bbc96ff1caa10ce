//! The part of a leaf that can be erased: what tells of people, sealed under a key of its subject.
//!
//! A log whose leaves are hashed for ever cannot forget one of them. So a leaf carries what verifiers need in clear,
//! and the rest as a body:
//!
//! ```text
//! subject    16 hexadecimal digits, random: not the name
//! body       base64 of nonce[12] | AES-256-GCM(salt[16] | JSON of the fields) | tag[16]
//! body_hash  SHA-256(salt | JSON of the fields), in hexadecimal
//! ```
//!
//! The seal is bound to the leaf's type and subject. Destroying the subject's key makes its bodies unreadable; the
//! leaves, and all proofs over them, stay as they were. The salt goes with the body, so that the hash does not tell
//! who guesses the fields that the guess is right.
//!
//! The keys lie in the state database, sealed under the master key. Whoever holds the master key and a copy of the
//! database from before a subject was forgotten can read its bodies: backups must be forgotten too. In memory, ring's
//! key schedules are not wiped.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::db::{CryptoFailed, Db, DbError, SealingKey, Table};
use crate::model::{GrantId, SessionId, UserName};
use crate::store::hex;

const SALT_BYTES: usize = 16;
/// Keys that are kept at hand; beyond so many all are read again.
const RECENT_MAX: usize = 1024;

/// Whom or what a body tells of: what is forgotten at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A session.
    Session(SessionId),
    /// A grant.
    Grant(GrantId),
    /// A bastion user, where no session and no grant is known.
    User(UserName),
    /// The bastion. Its key is kept for as long as the store.
    Node,
}

/// The key of the table of subjects.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session/{session}"),
            Self::Grant(grant) => write!(f, "grant/{grant}"),
            Self::User(user) => write!(f, "user/{user}"),
            Self::Node => f.write_str("node"),
        }
    }
}

/// A body as it stands in a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedBody {
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) hash: String,
}

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body<T = Map<String, Value>> {
    /// The fields.
    Open(T),
    /// Its key is destroyed.
    Erased,
    /// Its key was not in the state that an import took; nobody destroyed it.
    Lost,
    /// Its key is there, and it is not what was sealed.
    Altered,
}

/// Seals the fields of a leaf of type `kind`.
///
/// # Errors
/// `CryptoFailed` if the system gives no randomness.
fn seal(key: &Key, kind: &str, fields: Map<String, Value>) -> Result<SealedBody, CryptoFailed> {
    let mut plain = Zeroizing::new(vec![0; SALT_BYTES]);
    SystemRandom::new().fill(&mut plain).map_err(|_| CryptoFailed)?;
    plain.extend_from_slice(Value::Object(fields).to_string().as_bytes());
    let hash = hex(digest(&SHA256, &plain).as_ref());
    let mut sealed = Vec::new();
    key.key.seal(&bound(kind, &key.id), plain, &mut sealed)?;
    Ok(SealedBody { subject: key.id.clone(), body: STANDARD.encode(sealed), hash })
}

/// Opens what `seal` made; `None` if it is not that.
fn unseal<T: DeserializeOwned>(key: &SealingKey, kind: &str, sealed: &SealedBody) -> Option<T> {
    let bytes = STANDARD.decode(&sealed.body).ok()?;
    let plain = key.open(&bound(kind, &sealed.subject), &bytes)?;
    if hex(digest(&SHA256, &plain).as_ref()) != sealed.hash {
        return None;
    }
    serde_json::from_slice(plain.get(SALT_BYTES..)?).ok()
}

/// What a body is bound to. No type and no id has a zero byte.
fn bound(kind: &str, subject: &str) -> Vec<u8> {
    format!("doorward audit body 1\0{kind}\0{subject}").into_bytes()
}

/// Under this name stands the id that a subject had whose key is lost.
fn lost(subject: &Subject) -> String {
    format!("lost/{subject}")
}

/// A subject's key, with the id by which leaves name the subject.
struct Key {
    id: String,
    key: SealingKey,
}

/// In the table of subjects, under the subject's name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredId {
    id: String,
}

/// In the table of keys, under the subject's id: base64; empty if the key is lost.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    key: String,
}

/// The keys of all subjects.
pub(super) struct Subjects {
    db: Db,
    ids: Table<StoredId>,
    keys: Table<StoredKey>,
    /// INVARIANT: held while a key is made or destroyed, so that none is used after it was destroyed.
    recent: Mutex<HashMap<Subject, Arc<Key>>>,
}

impl Subjects {
    pub(super) fn new(db: &Db) -> Self {
        let (ids, keys) = (db.table("audit-subjects"), db.table("audit-keys"));
        Self { db: db.clone(), ids, keys, recent: Mutex::default() }
    }

    /// Seals the fields of a leaf of type `kind` under the key of `subject`, which is made if there is none.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn seal(
        &self,
        kind: &str,
        subject: &Subject,
        fields: Map<String, Value>,
    ) -> Result<SealedBody, DbError> {
        let key = self.key_of(subject)?;
        seal(&key, kind, fields).map_err(DbError::Crypto)
    }

    /// Seals fields under the key of `subject`; `None` if there is no key: it is forgotten.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn seal_if_known(
        &self,
        kind: &str,
        subject: &Subject,
        fields: Map<String, Value>,
    ) -> Result<Option<SealedBody>, DbError> {
        if self.ids.get(&subject.to_string())?.is_none() {
            return Ok(None);
        }
        self.seal(kind, subject, fields).map(Some)
    }

    /// Makes the key of a subject if there is none.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn make_sure_of(&self, subject: &Subject) -> Result<(), DbError> {
        self.key_of(subject).map(drop)
    }

    /// Opens the body of a leaf of type `kind`.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn unseal(&self, kind: &str, sealed: &SealedBody) -> Result<Body, DbError> {
        self.unseal_as(kind, sealed)
    }

    /// The same, for a body whose fields are known: nothing is made of them but what they are read into.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn unseal_as<T: DeserializeOwned>(&self, kind: &str, sealed: &SealedBody) -> Result<Body<T>, DbError> {
        let Some((_, stored)) = self.keys.get(&sealed.subject)? else { return Ok(Body::Erased) };
        if stored.key.is_empty() {
            return Ok(Body::Lost);
        }
        let key = read_key(&stored, &sealed.subject)?;
        Ok(unseal(&key, kind, sealed).map_or(Body::Altered, Body::Open))
    }

    /// Whether the key with this id is there.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn has_key(&self, id: &str) -> Result<bool, DbError> {
        Ok(self.keys.get(id)?.is_some())
    }

    /// Notes that the key with this id is lost, and the session that it is of.
    ///
    /// # Errors
    /// What the database says; `Conflict` if the key is there.
    pub(super) fn lose(&self, id: &str, session: Option<&SessionId>) -> Result<(), DbError> {
        let mut batch = self.db.batch();
        batch.put(&self.keys, id, None, &StoredKey { key: String::new() })?;
        if let Some(session) = session {
            let name = lost(&Subject::Session(session.clone()));
            let rev = self.ids.get(&name)?.map(|(rev, _)| rev);
            batch.put(&self.ids, &name, rev, &StoredId { id: id.to_owned() })?;
        }
        batch.commit().map(drop)
    }

    /// Destroys the key of a subject; says whether there was one. Durable on return.
    ///
    /// # Errors
    /// What the database says; the key may be there or not.
    pub(super) fn forget(&self, subject: &Subject) -> Result<bool, DbError> {
        let mut recent = self.lock();
        recent.remove(subject);
        let mut batch = self.db.batch();
        let mut had_key = false;
        // What is forgotten was lost no more, but destroyed.
        for name in [subject.to_string(), lost(subject)] {
            let Some((rev, StoredId { id })) = self.ids.get(&name)? else { continue };
            batch.delete(&self.ids, &name, rev);
            if let Some((rev, stored)) = self.keys.get(&id)? {
                had_key |= !stored.key.is_empty();
                batch.delete(&self.keys, &id, rev);
            }
        }
        batch.commit()?;
        Ok(had_key)
    }

    fn key_of(&self, subject: &Subject) -> Result<Arc<Key>, DbError> {
        let mut recent = self.lock();
        if let Some(key) = recent.get(subject) {
            return Ok(Arc::clone(key));
        }
        let name = subject.to_string();
        let key = match self.ids.get(&name)? {
            Some((_, StoredId { id })) => {
                // Both are written and deleted together.
                let missing = || DbError::Altered { key: format!("audit-keys/{id}") };
                let (_, stored) = self.keys.get(&id)?.ok_or_else(missing)?;
                Key { key: read_key(&stored, &id)?, id }
            }
            None => self.make(&name)?,
        };
        let key = Arc::new(key);
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        recent.insert(subject.clone(), Arc::clone(&key));
        Ok(key)
    }

    fn make(&self, name: &str) -> Result<Key, DbError> {
        self.db.check_room()?;
        let mut id = [0; 8];
        SystemRandom::new().fill(&mut id).map_err(|_| DbError::Crypto(CryptoFailed))?;
        let id = hex(&id);
        let (key, bytes) = SealingKey::random().map_err(DbError::Crypto)?;
        let mut batch = self.db.batch();
        batch.put(&self.ids, name, None, &StoredId { id: id.clone() })?;
        batch.put(&self.keys, &id, None, &StoredKey { key: STANDARD.encode(bytes.as_slice()) })?;
        batch.commit()?;
        Ok(Key { id, key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Arc<Key>>> {
        // It only saves reading again, and is whole between any two statements.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_key(stored: &StoredKey, id: &str) -> Result<SealingKey, DbError> {
    let altered = || DbError::Altered { key: format!("audit-keys/{id}") };
    let bytes = Zeroizing::new(STANDARD.decode(&stored.key).map_err(|_| altered())?);
    SealingKey::from_bytes(&bytes).map_err(|_| altered())
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subjects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_opens_only_in_a_leaf_of_its_type_and_subject() {
        let subjects = subjects();
        let sealed = subjects.seal("session.end", &alice(), fields()).unwrap();
        assert_eq!(subjects.unseal("session.end", &sealed).unwrap(), Body::Open(fields()));
        assert_eq!(subjects.unseal("session.start", &sealed).unwrap(), Body::Altered);
        let other = subjects.seal("session.end", &Subject::Node, fields()).unwrap();
        let moved = SealedBody { subject: other.subject.clone(), ..sealed.clone() };
        assert_eq!(subjects.unseal("session.end", &moved).unwrap(), Body::Altered);
        let rehashed = SealedBody { hash: other.hash, ..sealed };
        assert_eq!(subjects.unseal("session.end", &rehashed).unwrap(), Body::Altered);
    }

    #[test]
    fn every_bit_of_a_body_counts() {
        let subjects = subjects();
        let sealed = subjects.seal("x", &alice(), fields()).unwrap();
        let bytes = STANDARD.decode(&sealed.body).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let bad = SealedBody { body: STANDARD.encode(bad), ..sealed.clone() };
            assert_eq!(subjects.unseal("x", &bad).unwrap(), Body::Altered, "byte {at}");
        }
        for body in ["", "no base64", "AAAA"] {
            let bad = SealedBody { body: body.into(), ..sealed.clone() };
            assert_eq!(subjects.unseal("x", &bad).unwrap(), Body::Altered, "{body}");
        }
    }

    #[test]
    fn the_same_fields_look_different_each_time() {
        let subjects = subjects();
        let (one, two) =
            (subjects.seal("x", &alice(), fields()).unwrap(), subjects.seal("x", &alice(), fields()).unwrap());
        assert_eq!(one.subject, two.subject);
        assert!(one.hash != two.hash && one.body != two.body);
        assert!(!one.subject.contains("alice") && one.subject.len() == 16);
    }

    #[test]
    fn a_forgotten_subject_is_unreadable_for_ever_and_the_others_are_not() {
        let db = Db::in_memory().unwrap();
        let subjects = Subjects::new(&db);
        let (of_alice, of_node) =
            (subjects.seal("x", &alice(), fields()).unwrap(), subjects.seal("x", &Subject::Node, fields()).unwrap());
        assert!(subjects.forget(&alice()).unwrap());
        assert!(!subjects.forget(&alice()).unwrap());
        // A later event of the same subject has another key and another id.
        let later = subjects.seal("x", &alice(), fields()).unwrap();
        assert_ne!(later.subject, of_alice.subject);
        for subjects in [subjects, Subjects::new(&db)] {
            assert_eq!(subjects.unseal("x", &of_alice).unwrap(), Body::Erased);
            assert_eq!(subjects.unseal("x", &of_node).unwrap(), Body::Open(fields()));
            assert_eq!(subjects.unseal("x", &later).unwrap(), Body::Open(fields()));
        }
    }

    #[test]
    fn keys_are_kept_over_restarts_and_beyond_those_at_hand() {
        let db = Db::in_memory().unwrap();
        let subjects = Subjects::new(&db);
        let first = subjects.seal("x", &alice(), fields()).unwrap();
        for n in 0..RECENT_MAX {
            subjects.seal("x", &Subject::User(UserName::parse(&format!("u{n}")).unwrap()), fields()).unwrap();
        }
        assert!(subjects.lock().len() <= RECENT_MAX);
        for subjects in [subjects, Subjects::new(&db)] {
            assert_eq!(subjects.seal("x", &alice(), fields()).unwrap().subject, first.subject);
            assert_eq!(subjects.unseal("x", &first).unwrap(), Body::Open(fields()));
        }
    }

    fn subjects() -> Subjects {
        Subjects::new(&Db::in_memory().unwrap())
    }

    fn alice() -> Subject {
        Subject::User(UserName::parse("alice").unwrap())
    }

    fn fields() -> Map<String, Value> {
        Map::from_iter([("user".to_owned(), "alice".into()), ("reason".to_owned(), "no rule".into())])
    }
}
