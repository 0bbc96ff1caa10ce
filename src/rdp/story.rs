//! What happened on a desktop in words: what was typed, what was pasted, what opened - for reading and searching.

use std::time::Duration;

use super::fact::{Fact, Side};
use super::keys::{Keys, Line, inputs};
use super::record::Kind;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When, since the session opened.
    pub at: Duration,
    /// What kind of thing: a word.
    pub what: &'static str,
    /// The rest. It is what a user or a target wrote, and may do things to a terminal.
    pub text: String,
}

/// Tells a recording's records.
#[derive(Debug)]
pub struct Story {
    keys: Keys,
}

impl Default for Story {
    fn default() -> Self {
        Self { keys: Keys::new(0) }
    }
}

impl Story {
    /// Takes the next record; gives what is to be told.
    pub fn take(&mut self, at: Duration, kind: Kind, bytes: &[u8]) -> Vec<Told> {
        match kind {
            Kind::FastPathInput | Kind::IoInput => {
                let lines = inputs(kind, bytes).into_iter().filter_map(|input| self.keys.take(at, input));
                lines.filter_map(typed).collect()
            }
            Kind::Event => self.fact(at, bytes),
            Kind::FastPathOutput | Kind::IoOutput | Kind::ChannelOut | Kind::ChannelIn => Vec::new(),
        }
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Option<Told> {
        self.keys.finish().and_then(typed)
    }

    fn fact(&mut self, at: Duration, json: &[u8]) -> Vec<Told> {
        let Some(fact) = Fact::read(json) else {
            return vec![Told { at, what: "event", text: String::from_utf8_lossy(json).into_owned() }];
        };
        if let Fact::Session { keyboard_layout, .. } = fact {
            self.keys = Keys::new(keyboard_layout);
        }
        let (what, text) = words(fact);
        vec![Told { at, what, text }]
    }
}

fn typed(line: Line) -> Option<Told> {
    let Line { from, text, keys, .. } = line;
    let text = match keys {
        Some(keys) => format!("{text}   (keys: {keys})"),
        None if text.is_empty() => return None,
        None => text,
    };
    Some(Told { at: from, what: "typed", text })
}

fn words(fact: Fact) -> (&'static str, String) {
    match fact {
        Fact::Session { width, height, keyboard_layout, client_name, keys } => {
            let layout = if Keys::knows(keyboard_layout) { "" } else { ", read as that of the United States" };
            let kept = if keys { "recorded" } else { "not recorded" };
            let text = format!(
                "{width}x{height} pixels, keyboard {keyboard_layout:08x}{layout}, keys {kept}, program `{client_name}`"
            );
            ("desktop", text)
        }
        Fact::Resize { width, height } => ("resize", format!("{width}x{height} pixels asked for")),
        Fact::Channel { name, dynamic, allowed } => {
            let kind = if dynamic { "dynamic channel" } else { "channel" };
            ("channel", format!("{kind} `{name}` {}", passed(allowed)))
        }
        Fact::Clipboard { to, format, bytes, text, files, refused } => {
            let way = match to {
                Side::User => "target to user",
                Side::Target => "user to target",
            };
            let content = match (text, files.is_empty()) {
                (Some(text), _) => format!(": {text}"),
                (None, false) => format!(": files {}", files.join(", ")),
                (None, true) => String::new(),
            };
            match refused {
                Some(why) => ("clipboard", format!("{way}, format {format}, refused: {why}")),
                None => ("clipboard", format!("{way}, format {format}, {bytes} bytes{content}")),
            }
        }
        Fact::Device { name, kind, allowed } => ("device", format!("{kind} `{name}` {}", passed(allowed))),
        Fact::File { device, path, allowed } => ("file", format!("`{path}` of drive {device} {}", passed(allowed))),
        Fact::Passed { name, to_user, to_target } => {
            ("passed", format!("channel `{name}`: {to_user} bytes to the user, {to_target} to the target"))
        }
        Fact::Dropped { name, from, why } => {
            let from = match from {
                Side::User => "user",
                Side::Target => "target",
            };
            ("dropped", format!("a message of `{name}` from the {from}: {why}"))
        }
        Fact::Held { on } => ("held", String::from(if on { "keys, mouse and clipboard" } else { "no more" })),
        Fact::Ended { why } => ("ended", why),
    }
}

fn passed(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "refused" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(records: &[(u64, Kind, Vec<u8>)]) -> Vec<Told> {
        let mut story = Story::default();
        let take = |(at, kind, bytes): &(u64, Kind, Vec<u8>)| story.take(Duration::from_secs(*at), *kind, bytes);
        let mut told: Vec<Told> = records.iter().flat_map(take).collect();
        told.extend(story.finish());
        told
    }

    fn press(code: u8) -> Vec<u8> {
        vec![1 << 2, 4, 0, code]
    }

    #[test]
    fn keys_are_read_by_the_layout_that_the_session_names() {
        let session =
            Fact::Session { width: 800, height: 600, keyboard_layout: 0x407, client_name: "x".into(), keys: true };
        let mut records = vec![(0, Kind::Event, session.to_json())];
        records.extend([0x15, 0x0D].map(|code| (1, Kind::FastPathInput, press(code))));
        records.push((2, Kind::FastPathInput, press(0x1C)));
        let told = tell(&records);
        assert_eq!((told[0].what, told[1].what, told[1].text.as_str()), ("desktop", "typed", "z´"));
        assert_eq!(told[1].at, Duration::from_secs(1));
    }

    #[test]
    fn what_was_pasted_is_told_and_what_is_not_known_is_shown_as_it_is() {
        let text = Some(String::from("secret plan"));
        let pasted =
            Fact::Clipboard { to: Side::Target, format: 13, bytes: 22, text, files: Vec::new(), refused: None };
        let told = tell(&[(1, Kind::Event, pasted.to_json()), (2, Kind::Event, b"{\"event\":\"later\"}".to_vec())]);
        assert!(told[0].text.contains("user to target") && told[0].text.contains("secret plan"));
        assert_eq!((told[1].what, told[1].text.as_str()), ("event", "{\"event\":\"later\"}"));
    }
}
