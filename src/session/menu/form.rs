//! What a menu asks before it asks for a grant, or says a word on a request. Pure.

use super::super::verb::{Ask, judging, request_detail, wish};
use super::keys::Key;
use crate::grant::{AccessRequest, Verdict};
use crate::model::{Destination, RequestId, Timestamp};
use crate::screen::line;

/// So much can be typed into a field.
const FIELD_MAX: usize = 300;

/// A request in a list.
#[derive(Debug, Clone)]
pub struct RequestRow {
    /// The request.
    pub request: AccessRequest,
    /// Whether it waits for this user's word.
    pub to_review: bool,
}

impl RequestRow {
    /// Whether it is approved or denied; a broken glass is reviewed afterwards.
    fn may_decide(&self) -> bool {
        self.to_review && self.request.glass.is_none()
    }

    /// Its name and what is said of it.
    pub fn row(&self, now: Timestamp) -> (String, String) {
        let Self { request, to_review } = self;
        let state = match (to_review, &request.glass) {
            (true, None) => String::from("waits for you"),
            (true, Some(_)) => String::from("to be reviewed"),
            (false, _) => request.state(now).to_string(),
        };
        let span = crate::screen::span_typed(request.narrowed().0);
        let note = format!(
            "{state}  {} to {} for {span}  {}",
            request.requester,
            request.destination,
            line(&request.purpose())
        );
        (request.id.to_string(), note)
    }
}

/// Something to fill in, or to read.
#[derive(Debug)]
pub enum Form {
    /// A grant is asked for.
    Ask {
        /// Where to.
        destination: Destination,
        /// For how long, as typed.
        span: String,
        /// Why.
        reason: String,
        /// Whether the reason is typed now.
        at_reason: bool,
    },
    /// A request is read.
    Read(Box<RequestRow>),
    /// A word on one.
    Word {
        /// Which.
        id: RequestId,
        /// What.
        verdict: Verdict,
        /// In the reviewer's words.
        note: String,
    },
}

/// What comes of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    /// It goes on.
    On,
    /// It is closed, and nothing is done.
    Closed,
    /// Another one takes its place.
    Word(RequestId, Verdict),
    /// This is done.
    Done(Ask),
    /// It cannot be, for this.
    Bad(&'static str),
}

impl Form {
    /// For a grant there.
    pub fn ask(destination: Destination) -> Self {
        Self::Ask { destination, span: String::from("1h"), reason: String::new(), at_reason: false }
    }

    /// What is asked for, from its first field on, with what was typed. A word on a request is begun anew: an Enter that was
    /// meant for something else must not give it.
    pub fn again(self) -> Option<Self> {
        match self {
            Self::Ask { destination, span, reason, at_reason: _ } => {
                Some(Self::Ask { destination, span, reason, at_reason: false })
            }
            Self::Read(_) | Self::Word { .. } => None,
        }
    }

    /// Takes a key. Nothing is done by a key that was typed for something else: a word on a request takes two.
    pub fn press(&mut self, key: Key) -> Filled {
        match self {
            Self::Read(row) => match key {
                Key::Char('a') if row.may_decide() => Filled::Word(row.request.id.clone(), Verdict::Approve),
                Key::Char('d') if row.may_decide() => Filled::Word(row.request.id.clone(), Verdict::Deny),
                // Keys by which one looks around close nothing.
                Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End => Filled::On,
                Key::Char(_)
                | Key::Pasted(_)
                | Key::Enter
                | Key::Backspace
                | Key::EraseWord
                | Key::EraseAll
                | Key::Escape
                | Key::Tab
                | Key::BackTab
                | Key::Again
                | Key::Leave => Filled::Closed,
            },
            Self::Word { id, verdict, note } => match edit(note, key) {
                Edited::Text => Filled::On,
                Edited::Left => Filled::Closed,
                Edited::Ready => Filled::Done(judging(id.clone(), *verdict, note.trim())),
            },
            Self::Ask { destination, span, reason, at_reason } => {
                match edit(if *at_reason { reason } else { span }, key) {
                    Edited::Text => Filled::On,
                    Edited::Left => Filled::Closed,
                    Edited::Ready if !*at_reason => {
                        *at_reason = true;
                        Filled::On
                    }
                    Edited::Ready => match wish(destination.clone(), span.trim(), reason.trim()) {
                        Some(ask) => Filled::Done(ask),
                        None => {
                            *at_reason = false;
                            Filled::Bad("That is no length of time: write 30m, 1h or 2h30m.")
                        }
                    },
                }
            }
        }
    }

    /// Its rows, and which of them ends at the cursor.
    pub fn rows(&self, now: Timestamp) -> (Vec<String>, Option<usize>) {
        match self {
            Self::Ask { destination, span, reason, at_reason } => {
                let rows = vec![
                    format!("Ask for a grant to {destination}"),
                    String::new(),
                    format!("For how long: {span}"),
                    format!("Why: {reason}"),
                ];
                (rows, Some(if *at_reason { 3 } else { 2 }))
            }
            Self::Read(row) => {
                let mut rows: Vec<String> = request_detail(&row.request, now).lines().map(line).collect();
                rows.push(String::new());
                rows.push(String::from(if row.to_review {
                    "a approves, d denies, Esc goes back"
                } else {
                    "Esc goes back"
                }));
                (rows, None)
            }
            Self::Word { id, verdict, note } => {
                let what = match verdict {
                    Verdict::Approve => "Approve",
                    Verdict::Deny => "Deny",
                };
                (
                    vec![format!("{what} {id}: Enter does it, Esc does not"), String::new(), format!("A note: {note}")],
                    Some(2),
                )
            }
        }
    }
}

/// What a key does to a field.
pub enum Edited {
    /// It is edited, or left as it was.
    Text,
    /// It is left for what was before it.
    Left,
    /// It is done.
    Ready,
}

/// Does to a field what the key does.
pub fn edit(field: &mut String, key: Key) -> Edited {
    match key {
        Key::Char(c) | Key::Pasted(c) => {
            if field.len() < FIELD_MAX {
                field.push(c);
            }
        }
        Key::Backspace => drop(field.pop()),
        Key::EraseWord => {
            let kept = field.trim_end().rfind(' ').map_or(0, |blank| blank.saturating_add(1));
            field.truncate(kept);
        }
        Key::EraseAll => field.clear(),
        Key::Enter => return Edited::Ready,
        Key::Escape | Key::Leave => return Edited::Left,
        Key::Tab
        | Key::BackTab
        | Key::Up
        | Key::Down
        | Key::PageUp
        | Key::PageDown
        | Key::Home
        | Key::End
        | Key::Again => {}
    }
    Edited::Text
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;
    use crate::requests::Wish;

    fn type_in(form: &mut Form, text: &str) -> Vec<Filled> {
        Keys::default().feed(text.as_bytes()).into_iter().map(|key| form.press(key)).collect()
    }

    #[test]
    fn a_grant_is_asked_for_by_two_lines() {
        let mut form = Form::ask(Destination::parse("root@db1").unwrap());
        assert!(type_in(&mut form, "\x1530m\r").iter().all(|filled| *filled == Filled::On));
        let done = type_in(&mut form, "CHG-1 vacuum is stuckk\x7f\r").pop().unwrap();
        let Filled::Done(Ask::For(Wish { reason, span, .. })) = done else { panic!("{done:?}") };
        assert_eq!((reason.as_str(), span.unwrap().as_secs()), ("CHG-1 vacuum is stuck", 1800));
    }

    #[test]
    fn what_is_no_time_is_typed_again_and_escape_does_nothing() {
        let mut form = Form::ask(Destination::parse("root@db1").unwrap());
        assert!(matches!(type_in(&mut form, "\x15soon\rwhy\r").pop(), Some(Filled::Bad(_))));
        assert_eq!(type_in(&mut form, "\x1530m\r").pop(), Some(Filled::On));
        assert_eq!(form.press(Key::Escape), Filled::Closed);
    }
}
