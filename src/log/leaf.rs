//! The form of a leaf: one line of JSON with its keys in order.

use serde::Serialize;
use serde_json::{Map, Value};

use super::LogError;
use crate::model::Timestamp;
use crate::tlog::ENTRY_BYTES_MAX;

/// The version of the form.
const VERSION: u32 = 1;
/// The fields that the log fills.
const OWN_FIELDS: [&str; 5] = ["v", "seq", "ts", "node", "type"];

/// What is to be on record: a type, such as `session.start`, and fields.
///
/// What identifies a person is the caller's to seal before it comes here: a leaf cannot be erased.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    kind: String,
    fields: Map<String, Value>,
}

impl Leaf {
    /// A leaf of type `kind`.
    ///
    /// # Errors
    /// `Leaf` if `kind` is empty or `fields` has one of `v`, `seq`, `ts`, `node`, `type`.
    pub fn new(kind: &str, fields: Map<String, Value>) -> Result<Self, LogError> {
        if kind.is_empty() {
            return Err(LogError::Leaf { why: "it has no type" });
        }
        if OWN_FIELDS.iter().any(|own| fields.contains_key(*own)) {
            return Err(LogError::Leaf { why: "it has a field that the log itself fills" });
        }
        Ok(Self { kind: kind.to_owned(), fields })
    }

    /// The leaf of an event that serde writes as an object with a field `type`.
    ///
    /// # Errors
    /// `Leaf` if it is none.
    pub fn of(event: &impl Serialize) -> Result<Self, LogError> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else {
            return Err(LogError::Leaf { why: "it is no object" });
        };
        let Some(Value::String(kind)) = fields.remove("type") else {
            return Err(LogError::Leaf { why: "it has no type" });
        };
        Self::new(&kind, fields)
    }

    /// Checks that an entry has the form that `encode` gives leaf `seq` of `node`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(entry: &[u8], seq: u64, node: &str) -> Result<(), &'static str> {
        let mut whole: Value = serde_json::from_slice(entry).map_err(|_| "it is no JSON")?;
        whole.sort_all_objects();
        // Neither a field that stands twice nor any other spelling.
        if whole.to_string().as_bytes() != entry {
            return Err("it does not have the form of a leaf");
        }
        let text = |name: &str| whole.get(name).and_then(Value::as_str);
        if whole.get("v").and_then(Value::as_u64) != Some(u64::from(VERSION)) {
            return Err("its version is not known");
        }
        if whole.get("seq").and_then(Value::as_u64) != Some(seq) {
            return Err("it says that it is another leaf");
        }
        if text("node") != Some(node) {
            return Err("it is of another bastion");
        }
        if text("ts").is_none_or(|ts| Timestamp::parse(ts).is_err()) {
            return Err("it has no time");
        }
        if text("type").is_none_or(str::is_empty) { Err("it has no type") } else { Ok(()) }
    }

    /// The entry: one line without a line end.
    ///
    /// # Errors
    /// `TooLong` beyond 65535 bytes.
    pub(super) fn encode(mut self, seq: u64, ts: Timestamp, node: &str) -> Result<Vec<u8>, LogError> {
        self.fields.insert(String::from("v"), VERSION.into());
        self.fields.insert(String::from("seq"), seq.into());
        self.fields.insert(String::from("ts"), String::from(ts).into());
        self.fields.insert(String::from("node"), node.into());
        self.fields.insert(String::from("type"), self.kind.into());
        let mut whole = Value::Object(self.fields);
        // In order whichever map serde_json was built with.
        whole.sort_all_objects();
        let bytes = whole.to_string().into_bytes();
        if bytes.len() > ENTRY_BYTES_MAX { Err(LogError::TooLong { bytes: bytes.len() }) } else { Ok(bytes) }
    }
}
