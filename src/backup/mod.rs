//! Backups: the state as one sealed file, a bastion's state made from such a file, and copies of the whole store.
//!
//! ```text
//! <backup>/
//!   rec/, env/, log/, policies/
//!                        as in the state directory; `verify --store <backup>` reads them
//!   state.age            the state of the moment that the log there ends with, sealed for the backup's recipients
//!   states/              the states of earlier backups, where the server makes them: SIZE OF THE LOG-DAY.age
//!   config/              the configuration and the policies
//!   LOCK                 flock, held while a backup is made
//!   backup.json          what of when this is, and the hashes of `state.age` and of what is in `config/`
//! ```
//!
//! **The master key is in no backup.** What it seals travels in `state.age`, sealed for recipients whose identities
//! lie elsewhere, and is sealed anew, under another master key, where it is imported. So who steals a backup has names,
//! sizes and times, and no secret; who opens `state.age` has the secrets of that day, and nothing of a state directory
//! that is stolen later.
//!
//! **An export is believed only with its log.** Anybody can seal a file for a recipient. So the log has the hash of each
//! export, and an import takes none that the log beside it does not name. What the log says was changed after the
//! export is lost by the import, so that it must be asked for by name: rights that were taken back would be there again.
//!
//! Putting an older backup back, whole, shows only against what is kept elsewhere: an import asks the witnesses, and
//! refuses if one has signed more than the log has.
//!
//! An attacker who can write in a backup can destroy it; he cannot change it unnoticed by `verify` and `import`, as
//! far as these have the log's key from elsewhere.

mod copy;
mod error;
mod history;
mod import;
mod place;
mod state;
#[cfg(test)]
mod tests;

pub use copy::{BackupFacts, CopySettings, check_place, completed, copy_store};
pub use error::BackupError;
pub use import::{Import, Imported, Mode, Seen, import};
pub use place::Copied;
pub use state::{SealedState, export};
