//! Who watches which live session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{SessionId, UserName};

/// The watches of this process, each once for every channel that is watched.
#[derive(Debug, Clone, Default)]
pub struct Watchers(Arc<Mutex<BTreeMap<(SessionId, UserName), u32>>>);

/// A watch; over when dropped.
#[derive(Debug)]
pub struct Watcher {
    key: (SessionId, UserName),
    watchers: Watchers,
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(SessionId, UserName), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a user watches a session from now on.
    pub fn begin(&self, session: &SessionId, user: &UserName) -> Watcher {
        let key = (session.clone(), user.clone());
        let mut all = self.lock();
        let count = all.entry(key.clone()).or_insert(0);
        *count = count.saturating_add(1);
        drop(all);
        Watcher { key, watchers: self.clone() }
    }

    /// Who watches a session now.
    pub fn of(&self, session: &SessionId) -> Vec<UserName> {
        let all = self.lock();
        all.keys().filter(|(watched, _)| watched == session).map(|(_, user)| user.clone()).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut all = self.watchers.lock();
        if let Some(count) = all.get_mut(&self.key) {
            *count = count.saturating_sub(1);
        }
        all.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn who_watches_twice_watches_until_both_have_ended() {
        let watchers = Watchers::default();
        let [one, other] = [1, 2].map(|number| SessionId::from_parts(Timestamp::from_millis(5), number));
        let eve = UserName::parse("eve").unwrap();
        let (first, second) = (watchers.begin(&one, &eve), watchers.begin(&one, &eve));
        drop(first);
        assert_eq!((watchers.of(&one), watchers.of(&other)), (vec![eve], vec![]));
        drop(second);
        assert_eq!(watchers.of(&one), []);
    }
}
