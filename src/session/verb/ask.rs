//! Access requests over SSH: `request`, `requests`, `approve` and what belongs to them.
//!
//! Everybody may ask; who may decide is the request's matter (`grant::AccessRequest::review`). What a user is told is of their
//! own requests, and of those that they may decide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::refusal::Busy;
use super::super::{Bastion, Refusal, Visitor};
use super::own::{columns, json};
use super::told as delivery;
use super::{Form, busy, command};
use crate::grant::{AccessRequest, Finding, Opinion, RequestState, Verdict};
use crate::listener::Place;
use crate::model::{ChannelClass, Destination, GrantId, RequestId, Timestamp, UserName, join};
use crate::requests::{Actor, HeldCommand, RequestError, Wish, said};
use crate::screen::{line, span_typed};

/// Requests in one list.
const LISTED_MAX: usize = 200;

/// What is asked of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A grant.
    For(Wish),
    /// The user's own requests, and those that wait for their word.
    List,
    /// All of one.
    Show(RequestId),
    /// A word on one.
    Review(RequestId, Opinion),
    /// To take one back.
    Cancel(RequestId),
    /// That a grant lasts longer.
    Extend(RequestId, Option<Duration>, Option<String>),
    /// To begin the grant of one that was approved.
    Begin(RequestId),
    /// To give a grant back.
    GiveBack(RequestId),
    /// A grant without an approval.
    BreakGlass(Destination, Option<Duration>, String),
    /// A word on that, afterwards.
    Judge(RequestId, Finding, String),
}

impl Ask {
    /// The verb.
    pub fn name(&self) -> &'static str {
        match self {
            Self::For(_) => "request",
            Self::List => "requests",
            Self::Show(_) => "show",
            Self::Review(_, Opinion { verdict: Verdict::Approve, .. }) => "approve",
            Self::Review(_, Opinion { verdict: Verdict::Deny, .. }) => "deny",
            Self::Cancel(_) => "cancel",
            Self::Extend(..) => "extend",
            Self::Begin(_) => "begin",
            Self::GiveBack(_) => "give-back",
            Self::BreakGlass(..) => "break-glass",
            Self::Judge(..) => "review",
        }
    }
}

impl Ask {
    /// Of which request it says something, if it does: whoever says it sees it first, where they can be shown it.
    pub fn decides(&self) -> Option<&RequestId> {
        match self {
            Self::Review(id, _) | Self::Judge(id, ..) => Some(id),
            Self::For(_)
            | Self::List
            | Self::Show(_)
            | Self::Cancel(_)
            | Self::Extend(..)
            | Self::Begin(_)
            | Self::GiveBack(_)
            | Self::BreakGlass(..) => None,
        }
    }
}

// Reading.

/// Words and options. An option's value goes on up to the next option: what was typed in quotes comes without them.
struct Words<'w> {
    plain: Vec<&'w str>,
    options: BTreeMap<&'w str, String>,
}

impl<'w> Words<'w> {
    fn read(words: &[&'w str], known: &[&str]) -> Option<Self> {
        let mut read = Self { plain: Vec::new(), options: BTreeMap::new() };
        let mut last: Option<&'w str> = None;
        for word in words {
            if let Some(option) = word.strip_prefix("--") {
                let (name, value) = option.split_once('=').unwrap_or((option, ""));
                if !known.contains(&name) || read.options.insert(name, value.to_owned()).is_some() {
                    return None;
                }
                last = Some(name);
            } else if let Some(name) = last {
                let value = read.options.get_mut(name)?;
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(word);
            } else {
                read.plain.push(word);
            }
        }
        Some(read)
    }

    /// An option of one word; `None` in the inner place where it is not there.
    fn one<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
        match self.options.remove(name) {
            None => Some(None),
            Some(value) if value.is_empty() => None,
            Some(value) => parse(&value).map(Some),
        }
    }

    fn text(&mut self, name: &str) -> Option<Option<String>> {
        self.one(name, |text| Some(text.to_owned()))
    }

    /// What goes with a word on a request: `--note`, or `--reason`, which people type as well.
    fn note(&mut self) -> Option<String> {
        match (self.text("note")?, self.text("reason")?) {
            (Some(_), Some(_)) => None,
            (note, reason) => Some(note.or(reason).unwrap_or_default()),
        }
    }

    /// `--json`, which takes no value.
    fn form(&mut self) -> Option<Form> {
        match self.options.remove("json") {
            None => Some(Form::Text),
            Some(value) => value.is_empty().then_some(Form::Json),
        }
    }

    fn id(&self) -> Option<RequestId> {
        let [id] = self.plain.as_slice() else { return None };
        RequestId::parse(&id.to_ascii_lowercase()).ok()
    }
}

type Read = Option<(Ask, Form)>;

pub(super) fn request(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["for", "from", "channels", "reason", "ticket", "json"])?;
    let [destination] = words.plain.as_slice() else { return None };
    let wish = Wish {
        destination: Destination::parse(destination).ok()?,
        span: words.one("for", span)?,
        from: words.one("from", moment)?,
        channels: words.one("channels", channels)?,
        reason: words.text("reason")?.unwrap_or_default(),
        ticket: words.text("ticket")?,
    };
    Some((Ask::For(wish), words.form()?))
}

pub(super) fn requests(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["json"])?;
    words.plain.is_empty().then_some(())?;
    Some((Ask::List, words.form()?))
}

pub(super) fn approve(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["for", "channels", "note", "reason", "json"])?;
    let opinion = Opinion {
        verdict: Verdict::Approve,
        span: words.one("for", span)?,
        channels: words.one("channels", channels)?,
        note: words.note()?,
    };
    Some((Ask::Review(words.id()?, opinion), words.form()?))
}

pub(super) fn deny(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["note", "reason", "json"])?;
    let note = words.note()?;
    let opinion = Opinion { verdict: Verdict::Deny, span: None, channels: None, note };
    Some((Ask::Review(words.id()?, opinion), words.form()?))
}

pub(super) fn extend(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["for", "reason", "json"])?;
    let (span, reason) = (words.one("for", span)?, words.text("reason")?);
    Some((Ask::Extend(words.id()?, span, reason), words.form()?))
}

pub(super) fn break_glass(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["for", "reason", "json"])?;
    let [destination] = words.plain.as_slice() else { return None };
    let destination = Destination::parse(destination).ok()?;
    let (span, reason) = (words.one("for", span)?, words.text("reason")?.unwrap_or_default());
    Some((Ask::BreakGlass(destination, span, reason), words.form()?))
}

pub(super) fn judge(words: &[&str]) -> Read {
    let mut words = Words::read(words, &["note", "json"])?;
    let [id, finding] = words.plain.as_slice() else { return None };
    let id = RequestId::parse(&id.to_ascii_lowercase()).ok()?;
    let finding = [Finding::Ok, Finding::Misuse].into_iter().find(|one| one.to_string() == *finding)?;
    let note = words.text("note")?.unwrap_or_default();
    Some((Ask::Judge(id, finding, note), words.form()?))
}

/// A verb of which only the request is said.
pub(super) fn of_one(words: &[&str], ask: fn(RequestId) -> Ask) -> Read {
    let mut words = Words::read(words, &["json"])?;
    Some((ask(words.id()?), words.form()?))
}

fn span(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok())
}

/// RFC 3339, or a date and a time in the bastion's zone.
fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).ok().or_else(|| {
        let zoned = text.parse::<DateTime>().and_then(|local| local.to_zoned(TimeZone::system())).ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    })
}

fn channels(text: &str) -> Option<BTreeSet<ChannelClass>> {
    let named = |name: &str| ChannelClass::ALL.into_iter().find(|class| class.to_string() == name);
    text.split([',', ' ']).filter(|name| !name.is_empty()).map(named).collect()
}

/// To ask for a grant there, for a length of time as it is typed.
pub fn wish(destination: Destination, typed: &str, reason: &str) -> Option<Ask> {
    let (span, reason) = (Some(span(typed)?), reason.to_owned());
    Some(Ask::For(Wish { destination, span, from: None, channels: None, reason, ticket: None }))
}

/// A word on a request, as it was asked.
pub fn judging(id: RequestId, verdict: Verdict, note: &str) -> Ask {
    Ask::Review(id, Opinion { verdict, span: None, channels: None, note: note.to_owned() })
}

// Answering.

/// Does what is asked; it is on record when this returns.
///
/// # Errors
/// `Busy`, or why not.
pub async fn answer(
    bastion: &Arc<Bastion>,
    visitor: &Arc<Visitor>,
    ask: &Ask,
    form: Form,
) -> Result<(String, Place<UserName>), Refusal> {
    let user = visitor.user.user();
    let place = match ask {
        Ask::Review(..) | Ask::BreakGlass(..) | Ask::Judge(..) => bastion.limits.word(user),
        Ask::For(_)
        | Ask::List
        | Ask::Show(_)
        | Ask::Cancel(_)
        | Ask::Extend(..)
        | Ask::Begin(_)
        | Ask::GiveBack(_) => bastion.limits.list(user),
    };
    let place = place.ok_or_else(|| busy(ask.name(), Busy::Requests))?;
    let (own, who, ask) = (Arc::clone(bastion), Arc::clone(visitor), ask.clone());
    let told = tokio::task::spawn_blocking(move || settle(&own, &who, &ask, form));
    let told = told.await.map_err(|_| busy("requests", Busy::Waiting))?;
    Ok((told.map_err(Refusal::Request)?, place))
}

fn settle(bastion: &Bastion, visitor: &Visitor, ask: &Ask, form: Form) -> Result<String, RequestError> {
    let (requests, now) = (&bastion.requests, bastion.clock.now());
    let actor = Actor { asker: visitor.user.asker(), source: &visitor.source };
    let user = visitor.user.user();
    if let Some(settled) = command::settle(bastion, visitor, ask, form) {
        return settled;
    }
    let changed = match ask {
        Ask::List => {
            let commands = requests.commands_of(user);
            let listed = list(&requests.of(user), &requests.to_review(user), &commands, form, now);
            return Ok(if form == Form::Text { command::listed(&commands, user, now) + &listed } else { listed });
        }
        Ask::Show(id) => {
            let request = requests.seen_by(user, id)?;
            let told = delivery::told(&bastion.ledger, &request, user);
            return Ok(match form {
                Form::Json => json(&View { told, ..View::of(&request, now) }),
                Form::Text => shown(&request, now) + &delivery::written(&told, now),
            });
        }
        Ask::For(wish) => requests.ask(actor, wish.clone())?,
        Ask::Review(id, opinion) => requests.review(actor, id, opinion.clone())?,
        Ask::Cancel(id) => requests.cancel(actor, id)?,
        Ask::Extend(id, span, reason) => requests.extend(actor, id, *span, reason.clone())?,
        Ask::Begin(id) => requests.begin(actor, id)?,
        Ask::BreakGlass(place, span, reason) => requests.break_glass(actor, place.clone(), *span, reason)?,
        Ask::Judge(id, finding, note) => requests.judge(actor, id, *finding, note)?,
        Ask::GiveBack(id) => {
            let given = requests.give_back(actor, id);
            // Its sessions end, whether or not that could be put on record.
            bastion.sessions.rejudge(&bastion.ledger, now);
            given?;
            requests.seen_by(user, id)?
        }
    };
    // A grant may be over now, or last longer: live sessions follow it.
    bastion.sessions.rejudge(&bastion.ledger, now);
    say_on_terminals(bastion, ask, &changed, now);
    Ok(match form {
        Form::Json => json(&View::of(&changed, now)),
        Form::Text => told(ask, &changed, bastion, now),
    })
}

/// Tells those who have a live session that something waits for them, or what became of what they asked for.
fn say_on_terminals(bastion: &Bastion, ask: &Ask, request: &AccessRequest, now: Timestamp) {
    let AccessRequest { id, requester, destination, .. } = request;
    let what = format!("{destination} for {}: {}", span_typed(request.narrowed().0), line(&request.purpose()));
    let text = match ask {
        Ask::For(_) | Ask::Extend(..) => format!("{requester} asks for {what}. ssh USER@BASTION show {id}"),
        Ask::BreakGlass(..) => format!("ALERT: {requester} breaks the glass for {what} ({id})"),
        Ask::Judge(_, finding, note) => {
            let note = if note.is_empty() { String::new() } else { format!(": {}", line(note)) };
            format!("that you broke the glass ({id}) was reviewed: {finding}{note}")
        }
        Ask::Review(..) => match request.state(now) {
            RequestState::Pending => return,
            state @ (RequestState::Approved { .. }
            | RequestState::Granted { .. }
            | RequestState::Denied
            | RequestState::Cancelled
            | RequestState::Expired
            | RequestState::Superseded) => format!("your request {id} is {state}{}: {what}", said(request)),
        },
        Ask::List | Ask::Show(_) | Ask::Cancel(_) | Ask::Begin(_) | Ask::GiveBack(_) => return,
    };
    let is_told = |user: &UserName| match ask {
        Ask::Review(..) | Ask::Judge(..) => user == requester,
        Ask::For(_)
        | Ask::List
        | Ask::Show(_)
        | Ask::Cancel(_)
        | Ask::Extend(..)
        | Ask::Begin(_)
        | Ask::GiveBack(_)
        | Ask::BreakGlass(..) => request.quorum.reviewers.contains(user),
    };
    for live in bastion.sessions.list().into_iter().filter(|live| is_told(&live.user)) {
        bastion.sessions.say(&live.id, text.clone());
    }
}

/// One line, or two, of what was done.
fn told(ask: &Ask, request: &AccessRequest, bastion: &Bastion, now: Timestamp) -> String {
    let AccessRequest { id, requester, destination, .. } = request;
    let span = span_typed(request.narrowed().0);
    let place = match (&request.extends, ask) {
        (Some(grant), _) => format!("{span} more of {grant} ({destination})"),
        (None, Ask::Review(..)) => {
            format!("{requester} to {destination} for {span} ({})", line(&request.purpose()))
        }
        (None, _) => format!("{destination} for {span}"),
    };
    let done = match (ask, request.state(now)) {
        (Ask::GiveBack(_), _) => "given back",
        (Ask::BreakGlass(..), _) => "broken",
        (Ask::Judge(..), _) => "reviewed",
        (Ask::For(_) | Ask::Extend(..), _) => "requested",
        (Ask::Review(_, Opinion { verdict: Verdict::Approve, .. }), _) => "approved",
        (_, state) => state.word(),
    };
    let next = match (ask, request.state(now)) {
        (Ask::GiveBack(_), _) => String::from("its sessions are over"),
        (Ask::Judge(_, finding, _), _) => finding.to_string(),
        (Ask::BreakGlass(..), RequestState::Granted { grant }) => {
            let due = request.glass.as_ref().map(|glass| glass.due.clock_time_from(now)).unwrap_or_default();
            let told: Vec<&str> = request.quorum.reviewers.iter().take(8).map(UserName::as_str).collect();
            let told = told.join(", ");
            format!("{}; told: {told}; to be reviewed by {due}", granted(bastion, &grant))
        }
        (_, RequestState::Pending) => waiting(request),
        (_, RequestState::Approved { begin_by }) => format!(
            "it begins with the first session, or: ssh {requester}@BASTION begin {id}; by {}",
            begin_by.clock_time_from(now)
        ),
        (_, RequestState::Granted { grant }) => granted(bastion, &grant),
        (_, RequestState::Denied | RequestState::Cancelled | RequestState::Expired | RequestState::Superseded) => {
            String::from("nothing more becomes of it")
        }
    };
    format!("{done}  {id}  {place}  {next}\n")
}

fn granted(bastion: &Bastion, grant: &GrantId) -> String {
    // As it is now: what was asked before the grant was made would be before its beginning.
    let now = bastion.clock.now();
    let Some(grant) = bastion.ledger.grant(grant) else { return String::from("the grant is gone") };
    let from = if grant.from > now { format!("from {} ", grant.from.clock_time_from(now)) } else { String::new() };
    format!("granted {from}until {}", grant.until.clock_time_from(now))
}

/// Whose word is missing.
fn waiting(request: &AccessRequest) -> String {
    let approvers = &request.quorum.approvers;
    let said: BTreeSet<&UserName> = request.reviews.iter().map(|review| &review.by).collect();
    let others: Vec<&UserName> = request.quorum.reviewers.iter().filter(|user| !said.contains(user)).collect();
    let missing = usize::from(approvers.count).saturating_sub(said.len()).max(1);
    let mut names: Vec<&str> = others.iter().take(8).map(|user| user.as_str()).collect();
    if others.len() > names.len() {
        names.push("...");
    }
    let groups: Vec<String> = approvers.groups.iter().map(ToString::to_string).collect();
    match groups.is_empty() {
        true => format!("waiting for {missing} of {}", names.join(", ")),
        false => format!("waiting for {missing} of {} ({})", groups.join(", "), names.join(", ")),
    }
}

/// What `requests` says.
fn list(
    own: &[AccessRequest],
    to_review: &[AccessRequest],
    commands: &[HeldCommand],
    form: Form,
    now: Timestamp,
) -> String {
    if form == Form::Json {
        let commands = commands.iter().map(|held| command::View::of(held, now)).collect();
        return json(&Lists { own: View::all(own, now), to_review: View::all(to_review, now), commands });
    }
    let mut text = String::new();
    if !to_review.is_empty() {
        text.push_str("For you to decide:\n");
        let row = |one: &AccessRequest| {
            let what = match &one.extends {
                None if one.glass.is_some() => String::from("BROKE THE GLASS"),
                Some(grant) => format!("{} more of {grant}", span_typed(one.narrowed().0)),
                None => {
                    let from = one.from.map_or(String::new(), |from| format!(" from {}", from.clock_time_from(now)));
                    format!("for {}{from}", span_typed(one.narrowed().0))
                }
            };
            [
                format!("  {}", one.id),
                format!("{} to {}", one.requester, one.destination),
                what,
                line(&one.purpose()),
                format!("by {}", one.glass.as_ref().map_or(one.pending_until, |glass| glass.due).clock_time_from(now)),
            ]
        };
        text.push_str(&columns(to_review.iter().take(LISTED_MAX).map(row).collect::<Vec<_>>().iter()));
        text.push_str("  ssh USER@BASTION show ID; approve ID; deny ID --note WHY\n");
    }
    if !own.is_empty() {
        text.push_str("Yours:\n");
        let row = |one: &AccessRequest| {
            [
                format!("  {}", one.id),
                one.destination.to_string(),
                format!("for {}", span_typed(one.narrowed().0)),
                one.state(now).to_string(),
                one.asked.clock_time_from(now),
                line(&one.purpose()) + &said(one),
            ]
        };
        text.push_str(&columns(own.iter().take(LISTED_MAX).map(row).collect::<Vec<_>>().iter()));
    }
    if text.is_empty() && commands.is_empty() {
        text.push_str("no requests: ssh USER@BASTION request ACCOUNT@TARGET --for 1h --reason WHY\n");
    }
    text
}

/// What `show` says.
pub fn shown(request: &AccessRequest, now: Timestamp) -> String {
    let (span, channels) = request.narrowed();
    let mut rows = vec![
        [String::from("request"), request.id.to_string()],
        [String::from("state"), request.state(now).to_string()],
        [String::from("who"), request.requester.to_string()],
        [String::from("where"), request.destination.to_string()],
        [String::from("for"), span_typed(span)],
        [String::from("channels"), join(&channels)],
        [String::from("reason"), line(&request.reason)],
    ];
    let mut add = |name: &str, value: Option<String>| rows.extend(value.map(|value| [name.to_owned(), value]));
    add("approved", request.preapproved.then(|| String::from("beforehand, by a window of the rule's")));
    add("because", request.why.as_deref().map(line));
    add(
        "entered",
        request.entered.as_ref().map(|entered| format!("by {}, an operator ({})", entered.user, entered.by)),
    );
    add("ticket", request.ticket.as_deref().map(line));
    let said = request.ticket_said.as_ref();
    add(
        "ticket known",
        said.map(|said| format!("to {}: {} at {}", said.host, said.status, said.at.clock_time_from(now))),
    );
    add("lengthens", request.extends.as_ref().map(ToString::to_string));
    add("from", request.from.map(|from| from.clock_time_from(now)));
    add("sessions", request.sessions.map(|most| format!("at most {most}")));
    add("only with", request.bound_key.as_deref().map(line));
    add("asked", Some(request.asked.clock_time_from(now)));
    add("rule", Some(request.rule.to_string()));
    add("takes", Some(request.quorum.approvers.to_string()));
    match request.state(now) {
        RequestState::Pending => {
            add("waits until", Some(request.pending_until.clock_time_from(now)));
            add("waits for", waiting(request).strip_prefix("waiting for ").map(str::to_owned));
        }
        RequestState::Approved { begin_by } => add("begin by", Some(begin_by.clock_time_from(now))),
        RequestState::Granted { grant } => add("grant", Some(grant.to_string())),
        RequestState::Denied | RequestState::Cancelled | RequestState::Expired | RequestState::Superseded => {}
    }
    let mut text = columns(rows.iter());
    if let Some(glass) = &request.glass {
        let due = glass.due.clock_time_from(now);
        let _ = match &glass.judged {
            Some(judged) => writeln!(text, "reviewed by {}: {} {}", judged.by, judged.finding, line(&judged.note)),
            None if glass.is_overdue(now) => writeln!(text, "taken without an approval; its review was due {due}"),
            None => writeln!(text, "taken without an approval; to be reviewed by {due}"),
        };
    }
    for review in &request.reviews {
        let what = match review.verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
        };
        let _ = write!(text, "{what} by {} at {}", review.by, review.at.clock_time_from(now));
        if !review.note.is_empty() {
            let _ = write!(text, ": {}", line(&review.note));
        }
        text.push('\n');
    }
    text
}

/// What `requests --json` says.
#[derive(Debug, Serialize)]
struct Lists<'a> {
    own: Vec<View<'a>>,
    to_review: Vec<View<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<command::View<'a>>,
}

/// A request as JSON.
#[derive(Debug, Serialize)]
struct View<'a> {
    request: &'a RequestId,
    state: &'static str,
    requester: &'a UserName,
    destination: &'a Destination,
    channels: BTreeSet<ChannelClass>,
    seconds: u64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extends: Option<&'a GrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    asked: Timestamp,
    expires: Timestamp,
    rule: String,
    quorum: String,
    reviewers: &'a BTreeSet<UserName>,
    #[serde(serialize_with = "without_proofs")]
    reviews: &'a [crate::grant::Review],
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantId>,
    /// By when an approved one must be begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    begin_by: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    /// What is owed for a broken glass, and what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    glass: Option<&'a crate::grant::Glass>,
    /// Who entered it for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    entered: Option<&'a crate::grant::Entered>,
    /// What the ticket system has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket_said: Option<&'a crate::grant::TicketSaid>,
    /// Who was told, and whether it was taken: of `show` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    told: Vec<delivery::Told>,
}

/// By what an approver logged in, and from where, is for operators and the log.
fn without_proofs<S: serde::Serializer>(reviews: &[crate::grant::Review], serializer: S) -> Result<S::Ok, S::Error> {
    let bare = |review: &crate::grant::Review| crate::grant::Review {
        key: String::new(),
        source: String::new(),
        ..review.clone()
    };
    serializer.collect_seq(reviews.iter().map(bare))
}

impl<'a> View<'a> {
    fn all(requests: &'a [AccessRequest], now: Timestamp) -> Vec<Self> {
        requests.iter().take(LISTED_MAX).map(|one| Self::of(one, now)).collect()
    }

    fn of(request: &'a AccessRequest, now: Timestamp) -> Self {
        let (span, channels) = request.narrowed();
        let state = request.state(now);
        Self {
            request: &request.id,
            state: state.word(),
            requester: &request.requester,
            destination: &request.destination,
            channels,
            seconds: span.as_secs(),
            reason: &request.reason,
            ticket: request.ticket.as_deref(),
            extends: request.extends.as_ref(),
            from: request.from,
            asked: request.asked,
            expires: request.pending_until,
            rule: request.rule.to_string(),
            quorum: request.quorum.approvers.to_string(),
            reviewers: &request.quorum.reviewers,
            reviews: &request.reviews,
            because: request.why.as_deref(),
            glass: request.glass.as_ref(),
            entered: request.entered.as_ref(),
            ticket_said: request.ticket_said.as_ref(),
            told: Vec::new(),
            begin_by: match state {
                RequestState::Approved { begin_by } => Some(begin_by),
                RequestState::Pending
                | RequestState::Granted { .. }
                | RequestState::Denied
                | RequestState::Cancelled
                | RequestState::Expired
                | RequestState::Superseded => None,
            },
            grant: match state {
                RequestState::Granted { grant } => Some(grant),
                RequestState::Pending
                | RequestState::Approved { .. }
                | RequestState::Denied
                | RequestState::Cancelled
                | RequestState::Expired
                | RequestState::Superseded => None,
            },
        }
    }
}
