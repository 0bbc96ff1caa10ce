//! Pictures of live desktops, for who may watch them: each is asked of the process that draws it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::model::SessionId;

/// Looks that may wait at one desktop.
const LOOKS_MAX: usize = 8;
/// A desktop that draws nothing for so long is not waited for.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a picture goes: none where nothing was drawn yet.
pub(super) type Look = oneshot::Sender<Option<Vec<u8>>>;

/// The live desktops.
#[derive(Debug, Clone, Default)]
pub struct Screens(Arc<Mutex<HashMap<SessionId, mpsc::Sender<Look>>>>);

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPicture {
    /// No such desktop is live.
    NotLive,
    /// Nothing was drawn yet.
    Blank,
    /// Others look, or the desktop does not answer.
    Busy,
}

impl Screens {
    /// Puts a desktop on the list, for as long as what is returned is kept.
    pub(super) fn show(&self, session: &SessionId) -> Shown {
        let (looks, wanted) = mpsc::channel(LOOKS_MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), looks);
        Shown { screens: self.clone(), session: session.clone(), wanted }
    }

    /// Whether a session is a desktop.
    pub fn has(&self, session: &SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(session)
    }

    /// What a desktop shows now, as PNG.
    ///
    /// # Errors
    /// Why there is nothing to show.
    pub async fn look(&self, session: &SessionId) -> Result<Vec<u8>, NoPicture> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned();
        let looks = looks.ok_or(NoPicture::NotLive)?;
        let (look, seen) = oneshot::channel();
        looks.try_send(look).map_err(|_| NoPicture::Busy)?;
        match timeout(LOOK_TIMEOUT, seen).await {
            Ok(Ok(Some(picture))) => Ok(picture),
            Ok(Ok(None)) => Err(NoPicture::Blank),
            Ok(Err(_)) => Err(NoPicture::NotLive),
            Err(_) => Err(NoPicture::Busy),
        }
    }
}

/// A desktop's place on the list; leaving it when dropped.
#[derive(Debug)]
pub(super) struct Shown {
    screens: Screens,
    session: SessionId,
    /// Who wants to see it.
    pub wanted: mpsc::Receiver<Look>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.screens.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session);
    }
}
