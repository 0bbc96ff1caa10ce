//! What each user may ask about themselves: where they may go, their sessions, who they are, what they were refused.
//!
//! Nothing here is about anybody else: no rule is needed, and nothing is put on record.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::super::refusal::Busy;
use super::super::{Bastion, Refusal, Visitor};
use super::{Form, busy};
use crate::grant::{Access, Asker};
use crate::ledger::{Offer, Offers};
use crate::listener::Place;
use crate::model::{ChannelClass, Destination, SessionId, Timestamp, UserName};
use crate::policy::AuditRight;
use crate::screen::padded;
use crate::store::{End, Summary};

/// Destinations in one list.
const OFFERS_MAX: usize = 30_000;
/// Sessions that are over, in one list.
const PAST_MAX: usize = 200;
/// Of so many recordings it is looked up whose they are, the newest of everybody.
const LOOKED_AT_MAX: usize = 5000;

/// A session of a user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSession {
    /// Its id, and its recording's.
    pub session: SessionId,
    /// Where to.
    pub destination: Destination,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, as far as that is known.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub state: OwnState,
}

/// How a session of a user's own stands. Why it ended stands in its recording in the operator's words, with names that
/// are none of the user's business: they were told at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnState {
    /// It goes on.
    Live,
    /// It is over.
    Ended,
    /// The bastion stopped while it ran.
    Interrupted,
}

impl OwnState {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Interrupted => "interrupted",
        }
    }
}

impl OwnSession {
    /// How long it lasted.
    fn seconds(&self) -> Option<u64> {
        self.ended.map(|ended| self.started.until(ended).as_secs())
    }

    /// When it began, how long it lasted, how it stands.
    pub fn note(&self, now: Timestamp) -> String {
        let lasted = self.seconds().map_or(String::new(), |seconds| match seconds {
            0..120 => format!("{seconds} s  "),
            120..7200 => format!("{} min  ", seconds / 60),
            _ => format!("{} h  ", seconds / 3600),
        });
        format!("{}  {lasted}{}", self.started.clock_time_from(now), self.state.text())
    }
}

/// Where a user may go.
///
/// # Errors
/// `Busy` if others are served first.
pub async fn offers(bastion: &Arc<Bastion>, asker: Asker<'_>) -> Result<Offers, Busy> {
    let turn = bastion.limits.survey().await.ok_or(Busy::Waiting)?;
    let Asker { user, presence, key, source, mfa, since } = asker;
    let (looking, user, key, now) = (Arc::clone(bastion), user.clone(), key.to_owned(), bastion.clock.now());
    let surveyed = tokio::task::spawn_blocking(move || {
        // Held until it is done, also if the user leaves before.
        let _turn = turn;
        let asker = Asker { user: &user, presence, key: &key, source, mfa, since };
        looking.ledger.offers(asker, now, OFFERS_MAX)
    });
    surveyed.await.map_err(|_| Busy::Waiting)
}

/// The live sessions of a user, newest first.
pub fn live(bastion: &Bastion, user: &UserName) -> Vec<OwnSession> {
    let own = bastion.sessions.list().into_iter().rev().filter(|live| live.user == *user);
    own.map(|live| OwnSession {
        session: live.id,
        destination: live.destination,
        started: live.started,
        ended: None,
        state: OwnState::Live,
    })
    .collect()
}

/// The newest sessions of a user that are over, newest first; and whether there may be more.
///
/// # Errors
/// `Busy` if others are served first.
pub async fn past(bastion: &Arc<Bastion>, user: &UserName) -> Result<(Vec<OwnSession>, bool), Busy> {
    let turn = bastion.limits.history().await.ok_or(Busy::Waiting)?;
    let (catalog, user) = (bastion.catalog.clone(), user.clone());
    let surveyed = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        catalog.newest(&user, PAST_MAX, LOOKED_AT_MAX)
    });
    let (newest, more) = surveyed.await.map_err(|_| Busy::Waiting)?;
    Ok((newest.into_iter().filter_map(over).collect(), more))
}

/// A recording of a session that is over.
fn over(summary: Summary) -> Option<OwnSession> {
    let state = match summary.end {
        End::Closed { .. } => OwnState::Ended,
        End::Interrupted => OwnState::Interrupted,
        // Live, or about to be closed.
        End::Open => return None,
    };
    let Summary { session, destination, started, duration, .. } = summary;
    let ended = duration.map(|lasted: Duration| started.plus(lasted));
    Some(OwnSession { session, destination, started, ended, state })
}

/// `ls`: the destinations in whose line all these words are, whatever their case.
///
/// # Errors
/// `Busy`.
pub async fn ls(
    bastion: &Arc<Bastion>,
    asker: Asker<'_>,
    words: &[String],
    form: Form,
) -> Result<(String, Place<UserName>), Refusal> {
    let place = bastion.limits.list(asker.user).ok_or_else(|| busy("ls", Busy::Requests))?;
    let Offers { list, more } = offers(bastion, asker).await.map_err(|why| busy("ls", why))?;
    let now = bastion.clock.now();
    Ok((destinations(list, more, words, form, now), place))
}

/// What a user without any destination reads.
pub const NOWHERE: &str = "no rule names a destination for you: ask an operator for a right";

/// The text of `ls`.
fn destinations(list: Vec<Offer>, more: bool, words: &[String], form: Form, now: Timestamp) -> String {
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let none = list.is_empty();
    let rows: Vec<[String; 3]> = list
        .iter()
        .map(|offer| [offer.destination.to_string(), offer.state(now).into_owned(), offer.channels()])
        .collect();
    let wanted = |row: &[String; 3]| {
        let text = row.join(" ").to_ascii_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let wanted: Vec<(&Offer, &[String; 3])> = list.iter().zip(&rows).filter(|(_, row)| wanted(row)).collect();
    match form {
        Form::Json => json(&wanted.iter().map(|(offer, _)| OfferRow::of(offer)).collect::<Vec<_>>()),
        Form::Text if none => format!("{NOWHERE}\n"),
        Form::Text if wanted.is_empty() => String::from("none of your destinations has all these words\n"),
        Form::Text => {
            let mut text = columns(wanted.iter().map(|(_, row)| *row));
            if more {
                text.push_str("(there are more than can be listed)\n");
            }
            text
        }
    }
}

/// A row of `ls --json`.
#[derive(Debug, Serialize)]
struct OfferRow<'a> {
    destination: &'a Destination,
    /// `open`, `granted`, `scheduled`, `needs-grant` or `needs-key`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Whether the target has a pinned host key.
    ready: bool,
    /// What may be opened now, what with a grant that is not held, and what by a login with a security key.
    channels: Vec<ChannelClass>,
    with_grant: Vec<ChannelClass>,
    /// Whether she may ask for one.
    may_ask: bool,
    with_key: Vec<ChannelClass>,
}

impl<'a> OfferRow<'a> {
    fn of(offer: &'a Offer) -> Self {
        let (state, from, until) = match offer.access {
            Access::Open => ("open", None, None),
            Access::Granted { until } => ("granted", None, Some(until)),
            Access::Begins { from } => ("scheduled", Some(from), None),
            Access::NeedsGrant => ("needs-grant", None, None),
            Access::NeedsKey => ("needs-key", None, None),
        };
        let [channels, with_grant, with_key] = [&offer.open, &offer.with_grant, &offer.with_key]
            .map(|classes| classes.iter().copied().collect::<Vec<_>>());
        Self {
            destination: &offer.destination,
            state,
            from,
            until,
            ready: offer.ready,
            channels,
            with_grant,
            may_ask: offer.may_ask,
            with_key,
        }
    }
}

/// `sessions`: the user's own, live and over.
///
/// # Errors
/// `Busy`.
pub async fn sessions(
    bastion: &Arc<Bastion>,
    user: &UserName,
    form: Form,
) -> Result<(String, Place<UserName>), Refusal> {
    let place = bastion.limits.list(user).ok_or_else(|| busy("sessions", Busy::Requests))?;
    let (past, more) = past(bastion, user).await.map_err(|why| busy("sessions", why))?;
    // Looked up last: one that ends meanwhile is left out rather than told twice.
    let all: Vec<OwnSession> = live(bastion, user).into_iter().chain(past).collect();
    Ok((own_sessions(&all, more, form, bastion.clock.now()), place))
}

/// The text of `sessions`.
fn own_sessions(all: &[OwnSession], more: bool, form: Form, now: Timestamp) -> String {
    match form {
        Form::Json => {
            let row = |own: &OwnSession| SessionRow {
                session: own.session.clone(),
                destination: own.destination.clone(),
                state: own.state,
                started: own.started,
                ended: own.ended,
                seconds: own.seconds(),
            };
            json(&all.iter().map(row).collect::<Vec<_>>())
        }
        Form::Text if all.is_empty() => String::from("you have had no sessions\n"),
        Form::Text => {
            let row = |own: &OwnSession| [own.session.to_string(), own.destination.to_string(), own.note(now)];
            let rows: Vec<[String; 3]> = all.iter().map(row).collect();
            columns(rows.iter()) + if more { "(older ones are not listed)\n" } else { "" }
        }
    }
}

/// A row of `sessions --json`.
#[derive(Debug, Serialize)]
struct SessionRow {
    session: SessionId,
    destination: Destination,
    state: OwnState,
    started: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

/// `whoami`: who the bastion takes the user for.
pub(in crate::session) fn whoami(bastion: &Bastion, visitor: &Visitor, form: Form) -> String {
    let user = visitor.user.user();
    let groups = bastion.ledger.user(user).map(|user| user.groups).unwrap_or_default();
    let rights = AuditRight::ALL.into_iter();
    let proof = visitor.user.proof().to_string();
    let told = Told {
        user,
        login: &visitor.login,
        key: &proof,
        groups: groups.iter().map(ToString::to_string).collect(),
        source: &visitor.source,
        audit: rights
            .filter(|right| bastion.ledger.audits_somewhere(user, *right, bastion.clock.now()))
            .map(|right| right.to_string())
            .collect(),
    };
    match form {
        Form::Json => json(&told),
        Form::Text => {
            let list = |all: &[String]| if all.is_empty() { String::from("none") } else { all.join(", ") };
            let rows = [
                ["user", user.as_str()],
                ["login", told.login],
                ["key", told.key],
                ["groups", &list(&told.groups)],
                ["source", told.source],
                ["audit rights", &list(&told.audit)],
            ]
            .map(|row| row.map(str::to_owned));
            columns(rows.iter())
        }
    }
}

/// What `whoami --json` says.
#[derive(Debug, Serialize)]
struct Told<'a> {
    user: &'a UserName,
    login: &'a str,
    key: &'a str,
    groups: Vec<String>,
    source: &'a str,
    audit: Vec<String>,
}

/// `why`: what the user was refused last, and what to do.
pub fn why(bastion: &Bastion, asker: Asker<'_>, form: Form) -> String {
    let now = bastion.clock.now();
    let Some(denied) = bastion.denials.last(asker.user) else {
        return match form {
            Form::Json => String::from("null\n"),
            Form::Text => String::from("nothing was refused to you since the bastion was started\n"),
        };
    };
    let offer = denied.missing.as_ref().and_then(|(place, _)| bastion.ledger.offer(asker, place, now));
    let next = denied.next(offer.as_ref(), now);
    match form {
        Form::Json => json(&WhyRow { at: denied.at, asked: denied.asked, refused: denied.told, next }),
        Form::Text => {
            let at = denied.at.clock_time_from(now);
            let mut rows = vec![[String::from("when"), at], [String::from("asked"), denied.asked]];
            rows.push([String::from("refused"), denied.told]);
            rows.extend(next.map(|next| [String::from("next"), next]));
            columns(rows.iter())
        }
    }
}

/// What `why --json` says, unless it is `null`.
#[derive(Debug, Serialize)]
struct WhyRow {
    at: Timestamp,
    asked: String,
    refused: String,
    next: Option<String>,
}

pub fn json(told: &impl Serialize) -> String {
    // Names, times and words of ours: they are always JSON.
    serde_json::to_string(told).map_or_else(|_| String::from("null\n"), |text| text + "\n")
}

/// Rows in columns, two blanks apart.
pub fn columns<'r, const N: usize>(rows: impl Iterator<Item = &'r [String; N]> + Clone) -> String {
    let mut widths = [0; N];
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn offer(destination: &str, access: Access) -> Offer {
        let all = BTreeSet::from([ChannelClass::Shell]);
        let (open, with_grant) = match access {
            Access::Open | Access::Granted { .. } => (all, BTreeSet::new()),
            Access::Begins { .. } | Access::NeedsGrant | Access::NeedsKey => (BTreeSet::new(), all),
        };
        Offer {
            destination: Destination::parse(destination).unwrap(),
            access,
            ready: true,
            open,
            with_grant,
            may_ask: false,
            operators_may: true,
            with_key: BTreeSet::new(),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn ls(words: &[&str], form: Form) -> String {
        let list = vec![
            offer("Admin@db1", Access::Open),
            offer("root@db1", Access::Granted { until: at(60_000) }),
            offer("root@web1", Access::NeedsGrant),
        ];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        destinations(list, false, &words, form, at(5))
    }

    #[test]
    fn every_word_must_be_in_a_line_whatever_its_case() {
        let until = at(60_000).clock_time();
        assert_eq!(ls(&["ADMIN"], Form::Text), "Admin@db1  open  shell\n");
        let all = format!(
            "Admin@db1  open                 shell\nroot@db1   granted until {until}  shell\nroot@web1  needs a grant        shell\n"
        );
        assert_eq!(ls(&[], Form::Text), all);
        assert_eq!(ls(&["root", "GRANT", "web"], Form::Text), "root@web1  needs a grant  shell\n");
        assert_eq!(ls(&["root", "admin"], Form::Text), "none of your destinations has all these words\n");
        assert_eq!(destinations(vec![], false, &[], Form::Text, at(5)), format!("{NOWHERE}\n"));
        assert_eq!(destinations(vec![], false, &[], Form::Json, at(5)), "[]\n");
    }

    #[test]
    fn a_list_of_destinations_is_json_too() {
        let rows: serde_json::Value = serde_json::from_str(&ls(&["root"], Form::Json)).unwrap();
        let expected = serde_json::json!([
            { "destination": "root@db1", "state": "granted", "until": "1970-01-01T00:01:00.000Z", "ready": true,
              "channels": ["shell"], "with_grant": [], "may_ask": false, "with_key": [] },
            { "destination": "root@web1", "state": "needs-grant", "ready": true, "channels": [],
              "with_grant": ["shell"], "may_ask": false, "with_key": [] },
        ]);
        assert_eq!(rows, expected);
    }

    // A cause of the operator's, with a name in it, is not repeated.
    #[test]
    fn own_sessions_tell_no_cause() {
        let own = |state, ended: Option<i64>| OwnSession {
            session: SessionId::parse("01J9ZZZZZZZZZZZZZZZZZZZZZZ").unwrap(),
            destination: Destination::parse("root@db1").unwrap(),
            started: at(0),
            ended: ended.map(at),
            state,
        };
        let all = [own(OwnState::Live, None), own(OwnState::Ended, Some(600_000))];
        let text = own_sessions(&all, true, Form::Text, at(5));
        let began = at(0).clock_time();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                format!("01J9ZZZZZZZZZZZZZZZZZZZZZZ  root@db1  {began}  live").as_str(),
                &format!("01J9ZZZZZZZZZZZZZZZZZZZZZZ  root@db1  {began}  10 min  ended"),
                "(older ones are not listed)",
            ]
        );
        let rows: serde_json::Value = serde_json::from_str(&own_sessions(&all, false, Form::Json, at(5))).unwrap();
        assert_eq!(rows[1]["seconds"], 600);
        assert_eq!(rows[0]["state"], "live");
    }
}
