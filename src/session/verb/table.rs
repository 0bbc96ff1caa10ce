//! The verbs, in one table from which both the reader of command lines and `help` come.

use std::fmt;

use super::ask::{self, Ask};
use super::desktop::{self, Wish};
use super::oversee::{self, Hand};
use crate::model::{ChannelNumber, LockId, SessionId};

/// A longer command line is no verb.
const COMMAND_BYTES_MAX: usize = 1024;

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// What there is.
    Help,
    /// Where to go, from a list.
    Menu,
    /// The destinations in whose line all these words are.
    Ls(Vec<String>, Form),
    /// The user's own sessions.
    Own(Form),
    /// Who the bastion takes the user for.
    Whoami(Form),
    /// What the user was refused last.
    Why(Form),
    /// A ticket for a desktop.
    Desktop(Wish),
    /// A one-time code, on a terminal.
    Mfa,
    /// A yes to what rules for the user want one to, on a terminal.
    Consent,
    /// Access requests.
    Requests(Box<Ask>, Form),
    /// Recordings that the user may fetch.
    Recordings(Form),
    /// A sealed recording with its proofs.
    Get(SessionId),
    /// Live sessions that the user may watch.
    Sessions(Form),
    /// What a live session shows.
    Watch(SessionId, Option<ChannelNumber>),
    /// What a live desktop shows, as a picture.
    Picture(SessionId),
    /// A hand on a live session.
    Control(SessionId, Hand),
    /// Locks that the user may lift.
    Locks(Form),
    /// That a lock shall be lifted.
    LiftLock(LockId),
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Text,
    /// JSON.
    Json,
}

/// Why a command line is no verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misread {
    /// There is none of that name.
    Unknown,
    /// There is, and it is used like this.
    Usage(String),
}

/// One verb of the table.
struct Entry {
    /// Its words.
    name: &'static str,
    /// What comes after them, as `help` shows it.
    arguments: &'static str,
    /// And then, in any order.
    options: &'static str,
    /// What it does.
    does: &'static str,
    /// Reads the words after the name.
    read: fn(&[&str]) -> Option<Verb>,
}

/// The verbs for everybody.
const EVERYBODY: &[Entry] = &[
    Entry { name: "ls", arguments: "[WORD...] [--json]", options: "", does: "where you may go, or ask to", read: ls },
    Entry { name: "menu", arguments: "", options: "", does: "choose from that; a login without a VERB", read: menu },
    Entry {
        name: "sessions",
        arguments: "[--json]",
        options: "",
        does: "your own, live and over, newest first",
        read: |words| list(words).map(Verb::Own),
    },
    Entry {
        name: "whoami",
        arguments: "[--json]",
        options: "",
        does: "who the bastion takes you for",
        read: |words| list(words).map(Verb::Whoami),
    },
    Entry {
        name: "why",
        arguments: "[--json]",
        options: "",
        does: "what you were refused last, and what to do",
        read: |words| list(words).map(Verb::Why),
    },
    Entry {
        name: "rdp",
        arguments: "ACCOUNT@TARGET",
        options: "[--json]",
        does: "a ticket for its desktop: once, two minutes",
        read: |words| desktop::wish(words).map(Verb::Desktop),
    },
    Entry {
        name: "request",
        arguments: "ACCOUNT@TARGET",
        options: "[--for SPAN] [--reason TEXT] [--ticket ID] [--from TIME] [--channels LIST]",
        does: "ask for a grant",
        read: |words| about(ask::request(words)),
    },
    Entry {
        name: "requests",
        arguments: "[--json]",
        options: "",
        does: "yours, and those that wait for your word",
        read: |words| about(ask::requests(words)),
    },
    Entry {
        name: "show",
        arguments: "REQUEST",
        options: "",
        does: "all of one",
        read: |words| about(ask::of_one(words, Ask::Show)),
    },
    Entry {
        name: "extend",
        arguments: "REQUEST",
        options: "[--for SPAN] [--reason TEXT]",
        does: "ask that its grant lasts longer",
        read: |words| about(ask::extend(words)),
    },
    Entry {
        name: "begin",
        arguments: "REQUEST",
        options: "",
        does: "begin what was approved",
        read: |words| about(ask::of_one(words, Ask::Begin)),
    },
    Entry {
        name: "cancel",
        arguments: "REQUEST",
        options: "",
        does: "take back what is not granted yet",
        read: |words| about(ask::of_one(words, Ask::Cancel)),
    },
    Entry {
        name: "give-back",
        arguments: "REQUEST",
        options: "",
        does: "end its grant, and your sessions on it",
        read: |words| about(ask::of_one(words, Ask::GiveBack)),
    },
    Entry {
        name: "break-glass",
        arguments: "ACCOUNT@TARGET",
        options: "[--for SPAN] --reason TEXT",
        does: "take a grant where nobody can approve",
        read: |words| about(ask::break_glass(words)),
    },
    Entry {
        name: "mfa",
        arguments: "",
        options: "",
        does: "give a one-time code, on a terminal (ssh -t)",
        read: |words| words.is_empty().then_some(Verb::Mfa),
    },
    Entry {
        name: "consent",
        arguments: "",
        options: "",
        does: "agree to what rules want you to (ssh -t)",
        read: |words| words.is_empty().then_some(Verb::Consent),
    },
    Entry {
        name: "help",
        arguments: "",
        options: "",
        does: "this",
        read: |words| words.is_empty().then_some(Verb::Help),
    },
];

/// The verbs for those whom rules name as approvers.
const APPROVERS: &[Entry] = &[
    Entry {
        name: "approve",
        arguments: "REQUEST",
        options: "[--for SPAN] [--channels LIST] [--note TEXT]",
        does: "say yes, or to less",
        read: |words| about(ask::approve(words)),
    },
    Entry {
        name: "deny",
        arguments: "REQUEST",
        options: "[--note TEXT]",
        does: "say no; one is enough",
        read: |words| about(ask::deny(words)),
    },
    Entry {
        name: "review",
        arguments: "REQUEST ok|misuse",
        options: "[--note TEXT]",
        does: "say whether breaking it was right",
        read: |words| about(ask::judge(words)),
    },
];

/// The verbs for those whom `[[audit]]` rules name.
const AUDITORS: &[Entry] = &[
    Entry {
        name: "recording list",
        arguments: "[--json]",
        options: "",
        does: "recordings that you may fetch",
        read: |words| list(words).map(Verb::Recordings),
    },
    Entry {
        name: "recording get",
        arguments: "SESSION",
        options: "",
        does: "one, sealed, with its proofs, as a tar",
        read: get,
    },
    Entry {
        name: "session list",
        arguments: "[--json]",
        options: "",
        does: "live sessions that you may watch",
        read: |words| list(words).map(Verb::Sessions),
    },
    Entry {
        name: "session watch",
        arguments: "SESSION [CHANNEL]",
        options: "[--png]",
        does: "what one of them shows; q leaves",
        read: watch,
    },
    Entry {
        name: "session freeze",
        arguments: "SESSION",
        options: "",
        does: "nothing goes through until",
        read: |words| oversee::of_one(words, Hand::Freeze),
    },
    Entry {
        name: "session unfreeze",
        arguments: "SESSION",
        options: "",
        does: "it goes on",
        read: |words| oversee::of_one(words, Hand::Unfreeze),
    },
    Entry {
        name: "session message",
        arguments: "SESSION TEXT",
        options: "",
        does: "a line on its terminals",
        read: oversee::message_to,
    },
    Entry {
        name: "session kill",
        arguments: "SESSION",
        options: "",
        does: "it ends",
        read: |words| oversee::of_one(words, Hand::Kill),
    },
    Entry {
        name: "lock list",
        arguments: "[--json]",
        options: "",
        does: "locks that you may lift",
        read: |words| list(words).map(Verb::Locks),
    },
    Entry {
        name: "lock lift",
        arguments: "LOCK",
        options: "",
        does: "say that one shall be lifted",
        read: oversee::lift,
    },
];

fn about(read: Option<(Ask, Form)>) -> Option<Verb> {
    read.map(|(ask, form)| Verb::Requests(Box::new(ask), form))
}

fn ls(words: &[&str]) -> Option<Verb> {
    let (options, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
    list(&options).map(|form| Verb::Ls(words.into_iter().map(str::to_owned).collect(), form))
}

fn menu(words: &[&str]) -> Option<Verb> {
    words.is_empty().then_some(Verb::Menu)
}

fn get(words: &[&str]) -> Option<Verb> {
    let [session] = words else { return None };
    SessionId::parse(session).ok().map(Verb::Get)
}

fn watch(words: &[&str]) -> Option<Verb> {
    if let [session, "--png"] = words {
        return SessionId::parse(session).ok().map(Verb::Picture);
    }
    let (session, channel) = match words {
        [session] => (session, None),
        [session, channel] => (session, Some(ChannelNumber(channel.parse().ok()?))),
        _ => return None,
    };
    SessionId::parse(session).ok().map(|session| Verb::Watch(session, channel))
}

/// What follows the name of a list.
fn list(words: &[&str]) -> Option<Form> {
    match words {
        [] => Some(Form::Text),
        ["--json"] => Some(Form::Json),
        _ => None,
    }
}

impl Verb {
    /// Reads a command line: words with blanks in between, no quotes. What an `ssh` was given as several arguments, or
    /// in quotes, comes as one line.
    ///
    /// # Errors
    /// `Misread` says what to type.
    pub fn parse(command: &[u8]) -> Result<Self, Misread> {
        let text = std::str::from_utf8(command).ok().filter(|text| text.len() <= COMMAND_BYTES_MAX);
        let words: Vec<&str> = text.ok_or(Misread::Unknown)?.split_ascii_whitespace().collect();
        for entry in entries() {
            let mut rest = words.as_slice();
            let named = entry.name.split(' ').all(|name| {
                let next = rest.split_first().filter(|(word, _)| **word == name);
                next.map(|(_, after)| rest = after).is_some()
            });
            if named {
                return (entry.read)(rest).ok_or_else(|| Misread::Usage(entry.to_string()));
            }
        }
        Err(Misread::Unknown)
    }

    /// Whether the user is asked something before it is done.
    pub fn asks_back(&self, has_terminal: bool) -> bool {
        if let Self::Requests(ask, Form::Text) = self {
            return has_terminal && ask.decides().is_some();
        }
        matches!(self, Self::Mfa | Self::Consent)
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    EVERYBODY.iter().chain(APPROVERS).chain(AUDITORS)
}

impl fmt::Display for Entry {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())?;
        if self.options.is_empty() { Ok(()) } else { write!(f, " {}", self.options) }
    }
}

impl Entry {
    /// Without its options.
    fn short(&self) -> String {
        [self.name, self.arguments].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// What `help` says.
pub fn help() -> String {
    let width = entries().map(|entry| entry.short().len()).max().unwrap_or(0);
    let part = |heading: &str, entries: &[Entry]| {
        let lines = entries.iter().map(|entry| format!("  {:width$}  {}\n", entry.short(), entry.does));
        lines.fold(format!("{heading}\n"), |text, line| text + &line)
    };
    let going = "To a destination: ssh ACCOUNT@TARGET@BASTION [COMMAND]\n";
    going.to_owned()
        + &part("Of the bastion itself: ssh USER@BASTION VERB", EVERYBODY)
        + &part("For approvers:", APPROVERS)
        + &part("For auditors:", AUDITORS)
        + "A mistyped verb tells its options: --for SPAN, --reason TEXT and others.\n"
}

impl fmt::Display for Verb {
    /// As it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("help"),
            Self::Menu => f.write_str("menu"),
            Self::Ls(..) => f.write_str("ls"),
            Self::Own(_) => f.write_str("sessions"),
            Self::Whoami(_) => f.write_str("whoami"),
            Self::Why(_) => f.write_str("why"),
            Self::Mfa => f.write_str("mfa"),
            Self::Consent => f.write_str("consent"),
            Self::Requests(ask, _) => f.write_str(ask.name()),
            Self::Recordings(_) => f.write_str("recording list"),
            Self::Get(session) => write!(f, "recording get {session}"),
            Self::Sessions(_) => f.write_str("session list"),
            Self::Desktop(wish) => write!(f, "rdp {}", wish.destination),
            Self::Picture(session) => write!(f, "session watch {session} --png"),
            Self::Watch(session, None) => write!(f, "session watch {session}"),
            Self::Watch(session, Some(channel)) => write!(f, "session watch {session} {channel}"),
            Self::Control(session, hand) => write!(f, "session {hand} {session}"),
            Self::Locks(_) => f.write_str("lock list"),
            Self::LiftLock(lock) => write!(f, "lock lift {lock}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "01J9ZZZZZZZZZZZZZZZZZZZZZZ";

    fn parse(text: &str) -> Result<Verb, Misread> {
        Verb::parse(text.as_bytes())
    }

    #[test]
    fn a_verb_is_exactly_what_the_help_says() {
        let session = SessionId::parse(SESSION).unwrap();
        assert_eq!(parse("recording list"), Ok(Verb::Recordings(Form::Text)));
        assert_eq!(parse("  recording   list --json "), Ok(Verb::Recordings(Form::Json)));
        assert_eq!(parse(&format!("recording get {session}")), Ok(Verb::Get(session.clone())));
        assert_eq!(parse(&format!("session watch {session}")), Ok(Verb::Watch(session.clone(), None)));
        let second = Ok(Verb::Watch(session.clone(), Some(ChannelNumber(2))));
        assert_eq!(parse(&format!("session watch {session} 2")), second);
        assert_eq!(parse(&format!("session watch {session} --png")), Ok(Verb::Picture(session)));
        assert_eq!(parse("ls"), Ok(Verb::Ls(vec![], Form::Text)));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse("ls db1 --json root"), Ok(Verb::Ls(words(&["db1", "root"]), Form::Json)));
    }

    #[test]
    fn what_is_no_verb_is_told_apart_from_a_verb_that_is_misused() {
        for none in ["", "recording", "session", "lss", "LS", "recording lists", "sh -c id", &"ls ".repeat(400)] {
            assert_eq!(parse(none), Err(Misread::Unknown), "{none}");
        }
        assert_eq!(Verb::parse(b"recording list\xff"), Err(Misread::Unknown));
        for (misused, usage) in [
            ("recording get", "recording get SESSION"),
            ("recording get ../../etc/passwd", "recording get SESSION"),
            (&format!("recording get {SESSION} {SESSION}"), "recording get SESSION"),
            ("recording list; id", "recording list"),
            ("recording list --yaml", "recording list [--json]"),
            ("session watch x", "session watch SESSION [CHANNEL] [--png]"),
            (&format!("session watch {SESSION} two"), "session watch SESSION [CHANNEL] [--png]"),
            ("ls --yaml", "ls [WORD...] [--json]"),
            ("ls --json --json", "ls [WORD...] [--json]"),
            ("whoami root", "whoami [--json]"),
            ("help me", "help"),
        ] {
            let told = match parse(misused) {
                Err(Misread::Usage(usage)) => usage,
                // A word with a semicolon is another word.
                Err(Misread::Unknown) if misused.contains(';') => usage.to_owned(),
                other => panic!("{misused}: {other:?}"),
            };
            assert_eq!(told, usage, "{misused}");
        }
    }

    #[test]
    fn each_line_of_the_help_is_a_verb() {
        let help = help();
        let lines: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(lines.len(), entries().count());
        for line in lines {
            let synopsis = line.split("  ").next().unwrap();
            let said = |optional: bool| {
                let words = synopsis.split(' ').filter(|word| optional || !word.starts_with('['));
                let words = words.map(|word| word.trim_matches(['[', ']']));
                let typed = words.collect::<Vec<_>>().join(" ").replace("SESSION", SESSION).replace("CHANNEL", "2");
                let typed = typed.replace("ACCOUNT@TARGET", "root@db1").replace("REQUEST", "r-1");
                typed.replace("ok|misuse", "ok").replace("LOCK", "k-1")
            };
            for command in [said(false), said(true)] {
                assert!(parse(&command).is_ok(), "{line}: {command}");
            }
        }
        assert!(help.lines().all(|line| line.len() < 80), "{help}");
    }

    #[test]
    fn a_verb_is_shown_by_the_name_that_asks_for_it() {
        for entry in entries() {
            let arguments = match entry.arguments {
                "ACCOUNT@TARGET" => String::from(" root@db1"),
                "REQUEST" => String::from(" r-1"),
                "REQUEST ok|misuse" => String::from(" r-1 ok"),
                "LOCK" => String::from(" k-1"),
                "SESSION TEXT" => format!(" {SESSION} the disk is full"),
                of if of.starts_with("SESSION") => format!(" {SESSION}"),
                _ => String::new(),
            };
            let shown = parse(&format!("{}{arguments}", entry.name)).unwrap().to_string();
            let said =
                ["", SESSION, "k-1", "root@db1"].map(|about| format!("{} {about}", entry.name).trim_end().to_owned());
            assert!(said.contains(&shown), "{shown}");
        }
    }
}
