//! How much may be asked for at once: of each user, so that one does not keep the others waiting, and in all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::listener::{Limits, Place};
use crate::model::UserName;

/// Lists and recordings that are given at once: each keeps some memory, a recording a blocking thread too.
const REQUESTS_MAX: usize = 32;
const REQUESTS_PER_USER_MAX: usize = 4;
/// Sessions that are watched at once: each has an emulator with a screen, a few megabytes.
const WATCHES_MAX: usize = 64;
const WATCHES_PER_USER_MAX: usize = 8;
/// Each reads the whole log, or the facts of all recordings.
const READERS_MAX: usize = 4;
/// Menus that are open at once: each keeps the list of where its user may go, a few megabytes of it at most.
const MENUS_MAX: usize = 256;
const MENUS_PER_USER_MAX: usize = 8;
/// Lists of users' own that are made at once.
const LISTS_MAX: usize = 32;
const LISTS_PER_USER_MAX: usize = 4;
/// Each looks at every target.
const SURVEYS_MAX: usize = 2;
/// Each looks at thousands of recordings.
const HISTORIES_MAX: usize = 2;
/// Who has not come to read after so long is told to try again.
const READER_WAIT: Duration = Duration::from_secs(10);

/// How much may be asked for at once.
pub struct VerbLimits {
    requests: Limits<UserName>,
    watches: Limits<UserName>,
    readers: Arc<Semaphore>,
    drawers: Arc<Semaphore>,
    // What everybody may ask for has places of its own: it takes none that an auditor could want.
    menus: Limits<UserName>,
    lists: Limits<UserName>,
    /// Of those who decide, and of those who break a glass: nobody else's waiting keeps them out.
    words: Limits<UserName>,
    surveys: Arc<Semaphore>,
    histories: Arc<Semaphore>,
}

impl Default for VerbLimits {
    fn default() -> Self {
        Self {
            requests: Limits::new(REQUESTS_MAX, REQUESTS_PER_USER_MAX),
            watches: Limits::new(WATCHES_MAX, WATCHES_PER_USER_MAX),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            drawers: Arc::new(Semaphore::new(drawers_max())),
            menus: Limits::new(MENUS_MAX, MENUS_PER_USER_MAX),
            lists: Limits::new(LISTS_MAX, LISTS_PER_USER_MAX),
            words: Limits::new(LISTS_MAX, LISTS_PER_USER_MAX),
            surveys: Arc::new(Semaphore::new(SURVEYS_MAX)),
            histories: Arc::new(Semaphore::new(HISTORIES_MAX)),
        }
    }
}

impl VerbLimits {
    /// A place for a list or a recording, until all of it is sent.
    pub(super) fn request(&self, user: &UserName) -> Option<Place<UserName>> {
        self.requests.take(user)
    }

    /// A place for watching a session.
    pub(super) fn watch(&self, user: &UserName) -> Option<Place<UserName>> {
        self.watches.take(user)
    }

    /// A place for reading what there is, and never for sending it: how long that takes is up to the user. Who waits
    /// for it has a place for a request, so that one user cannot fill the queue.
    pub(super) async fn reader(&self) -> Option<OwnedSemaphorePermit> {
        timeout(READER_WAIT, Arc::clone(&self.readers).acquire_owned()).await.ok()?.ok()
    }

    /// A place for a menu.
    pub(in crate::session) fn menu(&self, user: &UserName) -> Option<Place<UserName>> {
        self.menus.take(user)
    }

    /// A place for a list of the user's own, until all of it is sent.
    pub(super) fn list(&self, user: &UserName) -> Option<Place<UserName>> {
        self.lists.take(user)
    }

    /// A place for a word on a request, or for breaking a glass.
    pub(super) fn word(&self, user: &UserName) -> Option<Place<UserName>> {
        self.words.take(user)
    }

    /// A turn at looking through the targets. Who waits for it has a place for a menu or a list.
    pub(super) async fn survey(&self) -> Option<OwnedSemaphorePermit> {
        timeout(READER_WAIT, Arc::clone(&self.surveys).acquire_owned()).await.ok()?.ok()
    }

    /// A turn at looking through recordings for a user's own: the disk holds up nobody's menu.
    pub(super) async fn history(&self) -> Option<OwnedSemaphorePermit> {
        timeout(READER_WAIT, Arc::clone(&self.histories).acquire_owned()).await.ok()?.ok()
    }

    /// A turn at drawing what is watched. Whoever waits longest is next.
    pub(super) async fn drawing(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.drawers).acquire_owned().await.ok()
    }
}

/// Half the processors, whatever is watched: the others carry sessions, and end them in time.
fn drawers_max() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_takes_no_more_than_their_share() {
        let limits = VerbLimits::default();
        let users: Vec<_> = (0..20).map(|number| UserName::parse(&format!("u{number}")).unwrap()).collect();
        let (eve, gary) = (users.first().unwrap(), users.get(1).unwrap());
        let watches: Vec<_> = (0..100).filter_map(|_| limits.watch(eve)).collect();
        let requests: Vec<_> = (0..100).filter_map(|_| limits.request(eve)).collect();
        assert_eq!((watches.len(), requests.len()), (8, 4));
        assert!(limits.watch(gary).is_some() && limits.request(gary).is_some());
        let menus: Vec<_> = (0..100).filter_map(|_| limits.menu(eve)).collect();
        let lists: Vec<_> = (0..100).filter_map(|_| limits.list(eve)).collect();
        assert_eq!((menus.len(), lists.len()), (8, 4));
        assert!(limits.menu(gary).is_some() && limits.list(gary).is_some());
        let all: Vec<_> = users.iter().flat_map(|user| (0..8).filter_map(|_| limits.watch(user))).collect();
        assert_eq!(all.len() + watches.len(), 64);
    }
}
