//! What a recording holds of what happened, and what it does not: the coverage statement.

use std::io::{BufReader, Read};

use serde::{Deserialize, Serialize};

use crate::cast::{Digest, Direction, Entry, ReadError, Reader, Withheld};
use crate::model::{
    ChannelClass, ChannelNumber, Destination, Exit, GrantId, Output, RuleId, SessionId, Timestamp, UserName,
};
use crate::store::{Closed, ClosedChannel, Counted, Gap, GivenUp, Opening};

/// The version of the statement.
const FORMAT: u32 = 1;

/// What of a session was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The version of the statement.
    pub format: u32,
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The hash of the policy set of then.
    pub policy: String,
    /// The grant, where the rule required one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, where it ended as a session does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it ended; `interrupted` if the bastion stopped while it ran.
    pub end: String,
    /// Its channels by number; 0 is the session's own facts.
    pub channels: Vec<ChannelCoverage>,
}

/// What of a channel was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCoverage {
    /// Its number.
    pub number: ChannelNumber,
    /// What it was for; none for channel 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ChannelClass>,
    /// Whether it had a terminal.
    pub pty: bool,
    /// What the user sent.
    pub stdin: DirectionCoverage,
    /// Standard output.
    pub stdout: DirectionCoverage,
    /// Standard error.
    pub stderr: DirectionCoverage,
    /// How many times a name stands in the place of a secret that the bastion knows in its command line, its
    /// environment and its markers; of a session that was interrupted, in the first two.
    #[serde(default)]
    pub scrubbed: u64,
    /// How the program ended, where the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why the recording stopped, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Segments that the disk failed to keep; what was lost with them was recorded again. Not known of a session that was
    /// interrupted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Times in which it was not recorded and its session went on, but for one that lasted to the end: see `failure`. Not
    /// known of a session that was interrupted, but each ends with a marker in the cast.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// What of one direction was captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionCoverage {
    /// How many bytes the recording holds.
    pub recorded: u64,
    /// How many went by; of a session that was interrupted, at least so many.
    pub bytes: u64,
    /// Why keystrokes are not in it: the rule's `input`. Absent if nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// SHA-256 over all that went by, where the recording does not hold it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many times a name stands in it in the place of a secret that the bastion knows; not known of a session that
    /// was interrupted.
    #[serde(default)]
    pub scrubbed: u64,
    /// Whether it holds all, as it was.
    pub in_full: bool,
}

impl Coverage {
    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        // Our own types, which have string keys only, always have a JSON form.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Makes the statement from a session's files, and the cast of each channel.
///
/// # Errors
/// `ReadError` if a cast is none.
pub fn coverage<R: Read>(
    opening: &Opening,
    closed: Option<&Closed>,
    casts: impl IntoIterator<Item = R>,
) -> Result<Coverage, ReadError> {
    let mut channels: Vec<ChannelCoverage> =
        casts.into_iter().map(|cast| channel(cast, closed)).collect::<Result<_, _>>()?;
    channels.sort_by_key(|channel| channel.number);
    Ok(Coverage {
        format: FORMAT,
        session: opening.session.clone(),
        user: opening.user.clone(),
        destination: opening.destination.clone(),
        rule: opening.rule.clone(),
        policy: opening.policy.clone(),
        grant: opening.grant.clone(),
        started: opening.started,
        ended: closed.map(|closed| closed.ended),
        end: closed.map_or_else(|| String::from("interrupted"), |closed| closed.end.clone()),
        channels,
    })
}

fn channel(cast: impl Read, closed: Option<&Closed>) -> Result<ChannelCoverage, ReadError> {
    let mut reader = Reader::new(BufReader::with_capacity(64 * 1024, cast))?;
    let facts = reader.header().doorward.clone();
    let mut recorded = [0_u64; 3];
    let mut said: [Said; 3] = Default::default();
    let mut exit = None;
    for timed in reader.by_ref() {
        let (direction, len) = match timed?.entry {
            Entry::Output { output: Output::Stdout, bytes } => (Direction::Stdout, bytes.len()),
            Entry::Output { output: Output::Stderr, bytes } => (Direction::Stderr, bytes.len()),
            Entry::Input(bytes) => (Direction::Stdin, bytes.len()),
            Entry::Digest(digest) => {
                if let Some(counted) = said.get_mut(place(digest.direction)) {
                    counted.add(digest);
                }
                continue;
            }
            Entry::Exit(found) => {
                exit = Some(found);
                continue;
            }
            record @ Entry::Record { .. } => match record.bytes() {
                Some(counted) => counted,
                None => continue,
            },
            Entry::Redacted | Entry::Resize { .. } | Entry::Marker(_) => continue,
        };
        if let Some(sum) = recorded.get_mut(place(direction)) {
            *sum = sum.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
    }
    let closed = closed.and_then(|closed| closed.channels.iter().find(|one| one.number == facts.channel));
    let direction = |direction: Direction| {
        let recorded = recorded.get(place(direction)).copied().unwrap_or_default();
        let said = said.get(place(direction)).cloned().unwrap_or_default();
        let counted = closed.map(|closed| counted(closed, direction));
        let bytes = counted.map_or_else(|| said.bytes.max(recorded), |counted| counted.bytes);
        let scrubbed = counted.map_or(0, |counted| counted.scrubbed);
        // What was typed last in a session that was interrupted has no count.
        let withheld =
            facts.withheld.filter(|_| direction == Direction::Stdin && (counted.is_none() || recorded < bytes));
        DirectionCoverage {
            recorded,
            bytes,
            withheld,
            sha256: said.sha256.filter(|(of, _)| *of == bytes).map(|(_, sha256)| sha256),
            scrubbed,
            in_full: recorded == bytes && scrubbed == 0 && withheld.is_none(),
        }
    };
    Ok(ChannelCoverage {
        number: facts.channel,
        class: facts.class,
        pty: facts.pty,
        stdin: direction(Direction::Stdin),
        stdout: direction(Direction::Stdout),
        stderr: direction(Direction::Stderr),
        scrubbed: closed.map_or(facts.scrubbed, |closed| closed.scrubbed),
        exit: closed.map_or(exit, |closed| closed.exit.clone()),
        failure: closed.and_then(|closed| closed.failure.clone()),
        given_up: closed.map(|closed| closed.given_up.clone()).unwrap_or_default(),
        gaps: closed.map(|closed| closed.gaps.clone()).unwrap_or_default(),
    })
}

/// What the recording says of bytes that it does not hold.
#[derive(Debug, Clone, Default)]
struct Said {
    bytes: u64,
    /// The last digest, and of how many bytes it is.
    sha256: Option<(u64, String)>,
}

impl Said {
    fn add(&mut self, digest: Digest) {
        self.bytes = self.bytes.max(digest.bytes);
        if let Some(sha256) = digest.sha256 {
            self.sha256 = Some((digest.bytes, sha256));
        }
    }
}

fn counted(closed: &ClosedChannel, direction: Direction) -> &Counted {
    match direction {
        Direction::Stdin => &closed.stdin,
        Direction::Stdout => &closed.stdout,
        Direction::Stderr => &closed.stderr,
    }
}

fn place(direction: Direction) -> usize {
    match direction {
        Direction::Stdin => 0,
        Direction::Stdout => 1,
        Direction::Stderr => 2,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cast::Writer;
    use crate::cast::tests::header;

    fn input(withheld: Option<Withheld>, entries: &[Entry], closed: Option<Counted>) -> DirectionCoverage {
        let mut header = header(true);
        header.doorward.withheld = withheld;
        let mut cast = Vec::new();
        let mut writer = Writer::new(&header, &mut cast);
        for entry in entries {
            writer.write(std::time::Duration::ZERO, entry, &mut cast);
        }
        let closed = closed.map(|stdin| {
            let channel = ClosedChannel { stdin, ..ClosedChannel::new(header.doorward.channel, None, true) };
            Closed::new(header.doorward.session.clone(), String::from("x"), Timestamp::from_millis(9), 9, vec![channel])
        });
        channel(cast.as_slice(), closed.as_ref()).unwrap().stdin
    }

    fn typed(text: &'static str) -> Entry {
        Entry::Input(Bytes::from_static(text.as_bytes()))
    }

    fn count(bytes: u64, sha256: Option<&str>) -> Entry {
        let sha256 = sha256.map(str::to_owned);
        Entry::Digest(Digest { direction: Direction::Stdin, bytes, sha256, last: true })
    }

    #[test]
    fn what_was_redacted_is_not_recorded_and_not_in_full() {
        let entries = [typed("ls\r"), Entry::Redacted, count(11, None)];
        let closed = Counted { bytes: 11, recorded: 3, withheld: Some(Withheld::Echoed), scrubbed: 0, missed: 0 };
        for closed in [Some(closed), None] {
            let found = input(Some(Withheld::Echoed), &entries, closed);
            assert_eq!((found.recorded, found.bytes, found.in_full), (3, 11, false));
            assert_eq!(found.withheld, Some(Withheld::Echoed));
        }
    }

    #[test]
    fn an_interrupted_session_never_claims_that_nothing_was_typed() {
        let found = input(Some(Withheld::Off), &[], None);
        assert_eq!((found.withheld, found.in_full), (Some(Withheld::Off), false));
        // Of one that was closed it is known.
        let found = input(Some(Withheld::Off), &[], Some(Counted::default()));
        assert_eq!((found.withheld, found.in_full), (None, true));
    }

    #[test]
    fn a_digest_of_a_part_is_not_given_for_the_whole() {
        let closed = Counted { bytes: 500, recorded: 0, withheld: Some(Withheld::Off), scrubbed: 0, missed: 0 };
        let found = input(Some(Withheld::Off), &[count(400, Some("aa")), count(500, None)], Some(closed));
        assert_eq!((found.bytes, found.sha256), (500, None));
        let closed = Counted { bytes: 400, ..Counted::default() };
        let found = input(None, &[count(400, Some("aa"))], Some(closed));
        assert_eq!((found.withheld, found.sha256.as_deref(), found.in_full), (None, Some("aa"), false));
    }
}
