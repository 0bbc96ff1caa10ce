//! The transparency log on disk: leaves are appended, tiles and checkpoints published, both read back.
//!
//! ```text
//! log/
//!     leaves.wal                     the journal: a leaf is acknowledged once it is durable here
//!     tile/<L>/<N>[.p/<W>]           hashes, and
//!     tile/entries/<N>[.p/<W>]       leaves, in the form of <https://c2sp.org/tlog-tiles>
//!     checkpoints/<size>             checkpoints that were published, with the cosignatures that came for them, else
//!                                    never changed: the newest 20 000, and of the older ones the first in each span
//!                                    of 4096 leaves
//!     checkpoint                     the latest, with the cosignatures that came for it
//! ```
//!
//! What happens in which order, and why a crash between any two steps loses nothing:
//!
//! 1. A leaf is appended to the journal and synced; only then is it acknowledged. Leaves that wait share a sync.
//! 2. Publishing writes tiles and bundles of acknowledged leaves under temporary names, syncs and renames them, syncs
//!    their directories; only then signs, writes `checkpoints/<size>`, and last replaces `checkpoint`.
//! 3. The journal loses leaves only when a published checkpoint covers them and they are in full, synced bundles.
//! 4. A start makes the tree anew from the full tiles before the journal's first leaf and from the journal, and
//!    writes the journal afresh: what a failed sync left in memory only is not taken for durable.
//!
//! A sync that failed is not tried again: Linux forgets the pages that it could not write and reports success the next
//! time. What waited for it is refused, its numbers are free again, and before the next leaf the journal is written
//! afresh, as at a start: a new file of what is known to be durable. So a full disk refuses leaves while it is full, and
//! the log goes on once there is space.
//!
//! A start signs what is in the journal, so it must be this log's: each record is authenticated with a key that is
//! derived from the log's own, and chained to the one before it (`wal`).
//!
//! An attacker who can write here can keep the log from being opened, and can cut leaves off that no checkpoint
//! covers yet, but cannot add one. With the log's key he can sign another history; he cannot do so unnoticed by one who
//! holds an older checkpoint: a witness, another bastion, an auditor, the `floor` that the caller keeps elsewhere.

mod append;
mod disk;
mod error;
mod leaf;
mod open;
mod publish;
mod reader;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
mod thin;
mod wal;

pub use append::{Log, LogSettings, Receipt};
pub use disk::{Disk, LocalDisk};
pub use error::LogError;
pub use leaf::Leaf;
pub use open::Opened;
pub use reader::{Entries, Reader};
pub use wal::Journal;
