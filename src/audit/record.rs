//! Reading leaves back, with their bodies as far as those can be opened.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{Body, SealedBody, Subjects};
use super::{AuditError, AuditEvent};
use crate::log::{Entries, LogError};
use crate::model::Timestamp;

/// What stands for a body whose key is destroyed.
const ERASED: &str = "<erased>";
/// What stands for a body whose key an import did not bring.
const LOST: &str = "<key lost>";
/// The version of the form of leaves that this program reads.
const VERSION: u64 = 1;

/// One event on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 0, without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Its type, such as `session.start`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The clear fields and those of the body; `body` is `<erased>` if its key is destroyed,
    /// `<key lost>` if an import did not bring it.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl AuditRecord {
    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The event; `None` if a part of it was erased, or another version wrote it.
    pub fn event(&self) -> Option<AuditEvent> {
        let mut fields = self.fields.clone();
        fields.insert("type".to_owned(), self.kind.clone().into());
        serde_json::from_value(Value::Object(fields)).ok()
    }
}

/// Events on record, oldest first; ends after the first error.
#[derive(Debug)]
pub struct Records<'a> {
    entries: Entries<'a>,
    subjects: &'a Subjects,
    /// Only what begins so is opened; the rest is left out.
    kinds: Option<&'static str>,
    over: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(entries: Entries<'a>, subjects: &'a Subjects) -> Self {
        Self { entries, subjects, kinds: None, over: false }
    }

    /// Only those whose type begins so; the others are not opened.
    pub(super) fn only(self, kinds: &'static str) -> Self {
        Self { kinds: Some(kinds), ..self }
    }

    /// Whether this leaf is left out. A leaf is JSON without blanks, and what people wrote stands in its sealed body.
    fn leaves_out(&self, entry: &Result<(u64, Vec<u8>), LogError>) -> bool {
        let (Some(kinds), Ok((_, entry))) = (self.kinds, entry) else { return false };
        let kind = format!("\"type\":\"{kinds}");
        !entry.windows(kind.len()).any(|window| window == kind.as_bytes())
    }

    fn record(&self, entry: Result<(u64, Vec<u8>), LogError>) -> Result<AuditRecord, AuditError> {
        let (seq, entry) = entry.map_err(AuditError::Log)?;
        let damaged = |why: &str| AuditError::Damaged { seq, why: why.to_owned() };
        let leaf: LeafRead = serde_json::from_slice(&entry).map_err(|error| damaged(&error.to_string()))?;
        if leaf.v != VERSION || leaf.seq != seq {
            return Err(damaged("its version or its number is another"));
        }
        let LeafRead { ts, kind, mut fields, .. } = leaf;
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        };
        if let (Some(subject), Some(body), Some(hash)) = (take("subject"), take("body"), take("body_hash")) {
            let sealed = SealedBody { subject, body, hash };
            match self.subjects.unseal(&kind, &sealed).map_err(AuditError::Db)? {
                Body::Open(hidden) => fields.extend(hidden),
                Body::Erased => drop(fields.insert("body".to_owned(), ERASED.into())),
                Body::Lost => drop(fields.insert("body".to_owned(), LOST.into())),
                Body::Altered => return Err(damaged("its body is not what was sealed")),
            }
        }
        Ok(AuditRecord { seq, at: ts, kind, fields })
    }
}

/// A leaf as the log writes it.
#[derive(Deserialize)]
struct LeafRead {
    v: u64,
    seq: u64,
    ts: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "node")]
    _node: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Iterator for Records<'_> {
    type Item = Result<AuditRecord, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let mut entry = self.entries.next()?;
        while self.leaves_out(&entry) {
            entry = self.entries.next()?;
        }
        let record = self.record(entry);
        self.over = record.is_err();
        Some(record)
    }
}
