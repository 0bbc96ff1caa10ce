//! Who was told of a request, by which way, and whether it was taken: for `show`.

use serde::Serialize;

use super::own::columns;
use crate::grant::AccessRequest;
use crate::ledger::{Delivery, Ledger};
use crate::model::{Timestamp, UserName};
use crate::screen::line;

/// What became of one message by one way.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// What it told of, such as `request.create`.
    event: String,
    to: Vec<UserName>,
    way: String,
    /// `queued`, `delivered` or `failed`.
    state: &'static str,
    /// When it was queued, delivered or given up.
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What people were told of a request, as far as it is kept. Which servers of the house take messages is not for whoever
/// asks to know: to them a way is of its kind alone.
pub(super) fn told(ledger: &Ledger, request: &AccessRequest, reader: &UserName) -> Vec<Told> {
    let asker = ledger.user(reader).is_none_or(|user| *user.human() == request.person);
    let about = ledger.messages().into_iter().filter(|message| message.request == request.id);
    let each = |message: crate::ledger::Message| {
        let to: Vec<UserName> = message.to.iter().cloned().collect();
        let (event, queued) = (message.event, message.at);
        message.ways.into_iter().map(move |(way, delivery)| {
            let way = if asker { kind_of(&way).to_owned() } else { way };
            let (state, at, tries, why) = match delivery {
                Delivery::Waiting { tries, .. } => ("queued", queued, Some(tries), None),
                Delivery::Delivered { at } => ("delivered", at, None, None),
                Delivery::GivenUp { at, why } => ("failed", at, None, Some(why)),
            };
            Told { event: event.clone(), to: to.clone(), way, state, at, tries, why }
        })
    };
    about.flat_map(each).collect()
}

/// `webhook` or `mail`.
fn kind_of(way: &str) -> &str {
    way.split(' ').next().unwrap_or_default()
}

/// The same as lines of `show`.
pub(super) fn written(told: &[Told], now: Timestamp) -> String {
    let row = |one: &Told| {
        let how = match (&one.tries, &one.why) {
            (Some(0), _) => String::from("queued"),
            (Some(tries), _) => format!("queued; not taken in {tries} tries"),
            (None, Some(why)) => format!("failed: {}", line(why)),
            (None, None) => format!("{} {}", one.state, one.at.clock_time_from(now)),
        };
        [format!("told {}", one.event), format!("by {}", line(&one.way)), how]
    };
    columns(told.iter().map(row).collect::<Vec<_>>().iter())
}
