//! Taking recordings away, so that a crash leaves nothing that looks like one.

use std::io;
use std::path::{Path, PathBuf};

use super::{StoreError, StoreRoot};
use crate::durable;
use crate::model::SessionId;

impl StoreRoot {
    /// Where recordings go that are being removed: what lies here is none any more.
    pub fn gone(&self) -> PathBuf {
        self.directory().join(".gone")
    }

    /// Whether anything is there that would open a session's recording.
    pub fn has_envelope(&self, session: &SessionId) -> bool {
        self.envelope(session).symlink_metadata().is_ok() || !self.earlier_envelopes(session).is_empty()
    }

    /// Whether anything of a session's recording is there, in its place or where removed ones go.
    pub fn has_session(&self, session: &SessionId) -> bool {
        let there = |path: PathBuf| path.symlink_metadata().is_ok();
        self.session_directory(session).is_some_and(there) || there(self.gone().join(session.as_str()))
    }

    /// Destroys the key of a session's recording, and the names that are written beside it in clear; durable on return.
    /// The segments stay, and how the session ended. Doing it again does no harm.
    ///
    /// # Errors
    /// `Write`: some of it is left. `NotFound` if the id is none.
    pub fn erase_session(&self, session: &SessionId) -> Result<(), StoreError> {
        // The key first: what is interrupted in between is unreadable already.
        self.destroy_envelopes(session)?;
        let directory =
            self.session_directory(session).ok_or_else(|| StoreError::NotFound { session: session.clone() })?;
        for name in ["opened.json.new", "opened.json"] {
            let path = directory.join(name);
            durable::remove_file(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(())
    }

    /// Removes a session's directory, and how its envelope came to be; durable on return. There need be none.
    ///
    /// It leaves its place in one step, so that whatever is left of it by a crash is not taken for a recording that
    /// somebody damaged; doing it again removes that.
    ///
    /// # Errors
    /// `Write`: some of it is left, in its place or where removed ones go. `NotFound` if the id is none.
    pub fn remove_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let path = self.session_directory(session).ok_or_else(|| StoreError::NotFound { session: session.clone() })?;
        let to = self.gone().join(session.as_str());
        remove(&path, &to).map_err(|source| StoreError::Write { path, source })?;
        let rewraps = self.rewraps_of(session);
        durable::remove_directory(&rewraps).map(drop).map_err(|source| StoreError::Write { path: rewraps, source })
    }
}

fn remove(path: &Path, to: &Path) -> io::Result<()> {
    durable::remove_directory(to)?;
    if let Some(gone) = to.parent() {
        durable::create_directories(gone)?;
    }
    match std::fs::rename(path, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    durable::sync_parent(to)?;
    durable::sync_parent(path)?;
    durable::remove_directory(to).map(drop)
}
