//! Witnesses: this bastion's checkpoints are cosigned by others, and it cosigns those of others.
//!
//! ```text
//! a log's side                             the witness's side
//!   submit      sends each new checkpoint    server      HTTP, bounded in size, time and number
//!   client      one call, checked answer     keeper      decides and keeps in one step, then cosigns
//!                                            directory   the files of a witness
//! ```
//!
//! A cosignature says: this is the largest tree of that log that I have seen, and it is consistent with all that I saw
//! before. So a log that is put back, or shown to two people in two ways, is found out by whoever insists on it. A
//! witness does not read the entries and cannot tell whether they are true.
//!
//! Requests need no login: what counts is the log's signature in them. So the server speaks plain HTTP; for
//! `https` a proxy stands before it.
//!
//! Source: <https://c2sp.org/tlog-witness> and <https://c2sp.org/tlog-cosignature>.

mod client;
mod directory;
mod error;
mod keeper;
mod server;
mod submit;
#[cfg(test)]
mod tests;

use ring::digest::{SHA256, digest};

pub use client::{Client, ClientError, InvalidAddress, Newest, WitnessAddress, WitnessUrl};
pub use directory::{WatchedLog, init, list, watch};
pub use error::KeeperError;
pub use keeper::{Keeper, Outcome};
pub use server::{Limits, serve};
pub use submit::{Alarm, Link, Submitter, WitnessHealth};

use crate::tlog::KeyName;

/// How a log is named in paths, where its origin could not stand: SHA-256 of the origin, in hexadecimal.
pub fn origin_id(origin: &KeyName) -> String {
    digest(&SHA256, origin.as_str().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text has the form of an `origin_id`.
fn is_origin_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
