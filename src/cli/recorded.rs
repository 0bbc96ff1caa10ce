//! One channel of a recording, as replay and export read it.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use tempfile::TempDir;

use crate::auditor::Identity;
use crate::cast::{Entry, Header, Timed};
use crate::model::{ChannelNumber, SessionId, join};
use crate::screen::line;
use crate::seal::{IndexKey, SealError};
use crate::store::{Catalog, End, PlainChannel, PlainRecording, StoreError};

/// The entries of a channel, over all its segments. An error is about one line or one segment; reading goes on after it.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Timed, StoreError>> + 'a>;

/// A channel that can be read as often as the player goes back.
pub trait RecordedChannel {
    /// The header of the first segment.
    fn header(&self) -> &Header;

    /// Reads all segments from the start.
    fn entries(&self) -> Entries<'_>;

    /// Reads what came after the moment `at`, and perhaps something before it.
    fn entries_after(&self, at: Duration) -> Entries<'_> {
        Box::new(self.entries().filter(move |item| item.as_ref().map_or(true, |timed| timed.at > at)))
    }

    /// The key of an index of it; none if it was not closed.
    ///
    /// # Errors
    /// `Crypto`.
    fn index_key(&self) -> Result<Option<IndexKey>, SealError> {
        Ok(None)
    }

    /// When the last entry was, since the session opened; none if that is not known.
    fn length(&self) -> Option<Duration>;

    /// How the recording ended.
    fn end(&self) -> &End;
}

/// Recordings, and the identities to open them with.
#[derive(Debug)]
pub struct Archive {
    /// The recordings.
    pub catalog: Catalog,
    /// An auditor's; at least one.
    pub identities: Vec<Identity>,
    /// Where they are, if they were fetched; removed when dropped.
    pub fetched: Option<TempDir>,
}

/// A channel of a stored recording.
#[derive(Debug)]
pub struct Recorded {
    channel: PlainChannel,
    length: Option<Duration>,
    end: End,
    /// What else the recording holds and what is wrong with it: words for the auditor, each one line.
    notes: Vec<String>,
}

/// Why there is nothing to read.
#[derive(Debug)]
pub enum RecordedError {
    /// The store cannot open the recording.
    Store(StoreError),
    /// The session ended before it opened a channel.
    NoChannel(SessionId),
    /// The recording has no such channel.
    UnknownChannel {
        /// What was asked for.
        wanted: ChannelNumber,
        /// Those that it has.
        known: Vec<ChannelNumber>,
    },
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(_) => f.write_str("cannot open the recording"),
            Self::NoChannel(session) => write!(f, "the session of recording `{session}` opened no channel"),
            Self::UnknownChannel { wanted, known } => {
                write!(f, "the recording has no channel {wanted}; it has {}", join(known))
            }
        }
    }
}

impl std::error::Error for RecordedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::NoChannel(_) | Self::UnknownChannel { .. } => None,
        }
    }
}

/// Opens the channel `wanted`, else the first one with a terminal, else the first.
///
/// # Errors
/// If there is no such recording or channel.
pub fn open(archive: &Archive, session: &SessionId, wanted: Option<ChannelNumber>) -> Result<Recorded, RecordedError> {
    let Archive { catalog, identities, .. } = archive;
    let stored = catalog.open(session).map_err(RecordedError::Store)?;
    let recording = PlainRecording::open(catalog.root(), stored, identities).map_err(RecordedError::Store)?;
    let mut notes: Vec<String> = recording.damage.iter().map(|damage| format!("warning: {}", line(damage))).collect();
    // Channel 0 is the session's own facts.
    let channels: Vec<PlainChannel> = recording.channels.into_iter().filter(|one| one.number.0 != 0).collect();
    let chosen = match wanted {
        Some(wanted) => channels.iter().find(|one| one.number == wanted).ok_or_else(|| {
            let known = channels.iter().map(|one| one.number).collect();
            RecordedError::UnknownChannel { wanted, known }
        })?,
        None => channels
            .iter()
            .find(|one| one.header.doorward.pty)
            .or(channels.first())
            .ok_or_else(|| RecordedError::NoChannel(session.clone()))?,
    };
    if wanted.is_none() && channels.len() > 1 {
        notes.push(format!("channels (`--channel N`); this is channel {}:", chosen.number));
        notes.extend(channels.iter().map(describe));
    }
    Ok(Recorded { length: chosen.length(), channel: chosen.clone(), end: recording.summary.end, notes })
}

/// All channels of a stored recording.
#[derive(Debug)]
pub struct Channels {
    /// Each that can be opened, by its number; 0 is the session's own facts.
    pub opened: Vec<(ChannelNumber, Recorded)>,
    /// What could not be read, causes included.
    pub damage: Vec<String>,
}

/// Opens every channel.
///
/// # Errors
/// If there is no such recording, or it is sealed for others.
pub fn channels(archive: &Archive, session: &SessionId) -> Result<Channels, RecordedError> {
    let Archive { catalog, identities, .. } = archive;
    let stored = catalog.open(session).map_err(RecordedError::Store)?;
    let recording = PlainRecording::open(catalog.root(), stored, identities).map_err(RecordedError::Store)?;
    let end = recording.summary.end;
    let opened = recording.channels.into_iter().map(|channel| {
        let (number, length) = (channel.number, channel.length());
        (number, Recorded { length, channel, end: end.clone(), notes: Vec::new() })
    });
    Ok(Channels { opened: opened.collect(), damage: recording.damage })
}

impl Recorded {
    /// Writes the notes to standard error.
    pub(super) fn tell(&self) {
        for note in &self.notes {
            writeln!(io::stderr(), "{note}").ok();
        }
    }
}

impl RecordedChannel for Recorded {
    fn header(&self) -> &Header {
        &self.channel.header
    }

    fn entries(&self) -> Entries<'_> {
        Box::new(self.channel.events())
    }

    fn entries_after(&self, at: Duration) -> Entries<'_> {
        Box::new(self.channel.events_after(at))
    }

    fn index_key(&self) -> Result<Option<IndexKey>, SealError> {
        self.channel.index_key()
    }

    fn length(&self) -> Option<Duration> {
        self.length
    }

    fn end(&self) -> &End {
        &self.end
    }
}

/// What a channel's entries say of its end, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Closing {
    /// Nothing.
    #[default]
    Unsaid,
    /// The last one is a marker.
    Marker,
    /// The program's exit is among them.
    Exit,
}

impl Closing {
    /// Takes the next entry.
    pub fn see(&mut self, entry: &Entry) {
        *self = match (*self, entry) {
            (Self::Exit, _) | (_, Entry::Exit(_)) => Self::Exit,
            (_, Entry::Marker(_)) => Self::Marker,
            (said, Entry::Digest(_)) => said,
            (
                _,
                Entry::Output { .. } | Entry::Input(_) | Entry::Redacted | Entry::Resize { .. } | Entry::Record { .. },
            ) => Self::Unsaid,
        }
    }

    /// What is left to say after the last entry.
    pub fn words(self, end: &End) -> Option<String> {
        match (self, end) {
            (Self::Exit, _) | (Self::Marker, End::Closed { .. }) => None,
            (Self::Unsaid, End::Closed { reason }) => Some(format!("session ended: {reason}")),
            (_, End::Interrupted | End::Open) => Some(String::from("recording interrupted")),
        }
    }
}

fn describe(channel: &PlainChannel) -> String {
    let facts = &channel.header.doorward;
    let class = facts.class.map_or(String::new(), |class| format!(" {class}"));
    let terminal = if facts.pty { " with a terminal" } else { "" };
    let command = channel.header.command.as_ref().map_or(String::new(), |command| format!(": {}", line(command)));
    format!("  {}{class}{terminal}{command}", channel.number)
}

#[cfg(test)]
pub(crate) mod memory {
    //! A recorded channel in memory, for tests.

    use std::collections::BTreeMap;
    use std::time::Duration;

    use bytes::Bytes;

    use super::{Entries, RecordedChannel};
    use crate::cast::{Entry, Facts, Header, Timed};
    use crate::model::{AccountName, ChannelClass, ChannelNumber, Output, RuleId, SessionId, TargetName, UserName};
    use crate::seal::{Dek, IndexKey, SealError};
    use crate::store::End;

    pub struct Memory {
        pub header: Header,
        pub entries: Vec<Timed>,
        pub end: End,
    }

    impl Memory {
        pub fn new(class: ChannelClass, pty: bool) -> Self {
            let doorward = Facts {
                session: SessionId::parse("01J9ZZZZZZZZZZZZZZZZZZZZZZ").unwrap(),
                user: UserName::parse("alice").unwrap(),
                account: AccountName::parse("root").unwrap(),
                target: TargetName::parse("db1").unwrap(),
                grant: None,
                reason: None,
                policy: "00".repeat(32),
                rule: RuleId::parse("rule").unwrap(),
                source: String::from("192.0.2.1:4000"),
                channel: ChannelNumber(1),
                class: Some(class),
                pty,
                forward: None,
                command_base64: None,
                modes: Vec::new(),
                withheld: None,
                scrubbed: 0,
                seg: 0,
                t0: 0,
            };
            let header = Header {
                cols: 80,
                rows: 24,
                term: Some(String::from("xterm")),
                timestamp: 1_795_000_000,
                title: Some(String::from("alice as root@db1")),
                command: None,
                env: BTreeMap::new(),
                doorward,
            };
            Self { header, entries: Vec::new(), end: End::Closed { reason: String::from("client-left") } }
        }

        pub fn at(mut self, ms: u64, entry: Entry) -> Self {
            self.entries.push(Timed { at: Duration::from_millis(ms), entry });
            self
        }

        pub fn out(self, ms: u64, bytes: &[u8]) -> Self {
            self.at(ms, Entry::Output { output: Output::Stdout, bytes: Bytes::copy_from_slice(bytes) })
        }

        pub fn err(self, ms: u64, bytes: &[u8]) -> Self {
            self.at(ms, Entry::Output { output: Output::Stderr, bytes: Bytes::copy_from_slice(bytes) })
        }
    }

    impl RecordedChannel for Memory {
        fn header(&self) -> &Header {
            &self.header
        }

        fn entries(&self) -> Entries<'_> {
            Box::new(self.entries.iter().cloned().map(Ok))
        }

        fn index_key(&self) -> Result<Option<IndexKey>, SealError> {
            let is_closed = matches!(self.end, End::Closed { .. });
            let key = IndexKey::new(&Dek::from_bytes(&[7; 32]), self.header.doorward.channel, "head");
            if is_closed { key.map(Some) } else { Ok(None) }
        }

        fn length(&self) -> Option<Duration> {
            self.entries.last().map(|timed| timed.at)
        }

        fn end(&self) -> &End {
            &self.end
        }
    }
}
