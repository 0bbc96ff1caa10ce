//! When each user was last at each destination, as far as recordings tell.

use std::collections::BTreeMap;

use super::catalog::{read_json, sessions};
use super::{Catalog, Opening};
use crate::model::{Destination, Timestamp, UserName};

/// The newest session of each user at each destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastUses {
    /// When it began.
    pub by_place: BTreeMap<(UserName, Destination), Timestamp>,
    /// When the oldest began of those that were looked at; `None`: all were.
    pub since: Option<Timestamp>,
}

impl Catalog {
    /// The newest session of each user at each destination, among the `most` newest. Whose an erased one was cannot be
    /// told, nor a damaged one's.
    pub fn last_uses(&self, most: usize) -> LastUses {
        let mut uses = LastUses::default();
        let found: Vec<_> = sessions(self.root(), None).into_iter().filter_map(Result::ok).collect();
        for (session, path) in found.iter().rev().take(most) {
            let Ok(Some(opening)) = read_json::<Opening>(&path.join("opened.json")) else { continue };
            if opening.session != *session {
                continue;
            }
            let last = uses.by_place.entry((opening.user, opening.destination)).or_insert(opening.started);
            *last = opening.started.max(*last);
        }
        if found.len() > most {
            let oldest = found.len().saturating_sub(most);
            uses.since = found.get(oldest).and_then(|(session, _)| session.made());
        }
        uses
    }
}
