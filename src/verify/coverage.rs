//! What a recording holds of what happened, and what it does not: the coverage statement.

use std::io::{BufReader, Read};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::cast::{Direction, Entry, ReadError, Reader};
use crate::model::{
    ChannelClass, ChannelNumber, Destination, Exit, GrantId, Output, RuleId, SessionId, Timestamp, UserName,
};
use crate::store::{Closed, ClosedChannel, Counted, Opening, hex};

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
    /// What the user sent, as far as the policy has it recorded.
    pub stdin: DirectionCoverage,
    /// Standard output.
    pub stdout: DirectionCoverage,
    /// Standard error.
    pub stderr: DirectionCoverage,
    /// How the program ended, where the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why the recording stopped, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What of one direction was captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionCoverage {
    /// How many bytes the recording holds.
    pub recorded: u64,
    /// How many went by.
    pub bytes: u64,
    /// SHA-256 over all that went by, where the recording does not hold it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether it holds all.
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
    let mut hashes = [(); 3].map(|()| Context::new(&SHA256));
    let mut said: [Counted; 3] = Default::default();
    let mut exit = None;
    for timed in reader.by_ref() {
        let (direction, bytes) = match timed?.entry {
            Entry::Output { output: Output::Stdout, bytes } => (Direction::Stdout, bytes),
            Entry::Output { output: Output::Stderr, bytes } => (Direction::Stderr, bytes),
            Entry::Input(bytes) => (Direction::Stdin, bytes),
            Entry::Digest(digest) => {
                if let Some(counted) = said.get_mut(place(digest.direction)) {
                    *counted = Counted { bytes: digest.bytes, sha256: Some(digest.sha256) };
                }
                continue;
            }
            Entry::Exit(found) => {
                exit = Some(found);
                continue;
            }
            Entry::Resize { .. } | Entry::Marker(_) => continue,
        };
        if let Some(sum) = recorded.get_mut(place(direction)) {
            *sum = sum.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        if let Some(hash) = hashes.get_mut(place(direction)) {
            hash.update(&bytes);
        }
    }
    let hashes = hashes.map(|hash| hex(hash.finish().as_ref()));
    let closed = closed.and_then(|closed| closed.channels.iter().find(|one| one.number == facts.channel));
    let direction = |direction: Direction| {
        let recorded = recorded.get(place(direction)).copied().unwrap_or_default();
        let said = said.get(place(direction)).cloned().unwrap_or_default();
        let counted = closed.map_or(&said, |closed| counted(closed, direction)).clone();
        let bytes = counted.bytes.max(recorded);
        // What was scrubbed is not what passed, however long that is which stands in its place.
        let same = counted.sha256.is_none() || counted.sha256.as_ref() == hashes.get(place(direction));
        let exact = closed.is_none() || counted.bytes == recorded && same;
        DirectionCoverage { recorded, bytes, in_full: exact && recorded == bytes, sha256: counted.sha256 }
    };
    Ok(ChannelCoverage {
        number: facts.channel,
        class: facts.class,
        pty: facts.pty,
        stdin: direction(Direction::Stdin),
        stdout: direction(Direction::Stdout),
        stderr: direction(Direction::Stderr),
        exit: closed.map_or(exit, |closed| closed.exit.clone()),
        failure: closed.and_then(|closed| closed.failure.clone()),
    })
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
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::cast::{Facts, Header, Writer};
    use crate::model::{AccountName, ChannelNumber, TargetName};
    use crate::store::sha256_hex;

    #[test]
    fn what_stands_in_the_place_of_a_secret_is_not_taken_for_it_however_long_it_is() {
        let of = |recorded: &str, passed: &str| {
            let number = ChannelNumber(1);
            let mut one = ClosedChannel::new(number, Some(ChannelClass::Exec), false);
            one.stdout =
                Counted { bytes: u64::try_from(passed.len()).unwrap(), sha256: Some(sha256_hex(passed.as_bytes())) };
            let closed = Closed::new(session(), "done".into(), Timestamp::from_millis(0), 0, vec![one]);
            channel(cast(recorded).as_slice(), Some(&closed)).unwrap().stdout
        };
        assert!(of("the same", "the same").in_full);
        for recorded in ["shorter", "as long as that", "even longer than that was"] {
            assert!(!of(recorded, "a secret passed").in_full, "{recorded}");
        }
        // Of one that did not end, the digest is of an earlier moment.
        assert!(channel(cast("the same").as_slice(), None).unwrap().stdout.in_full);
    }

    fn cast(text: &str) -> Vec<u8> {
        let header =
            Header { cols: 80, rows: 24, term: None, timestamp: 0, title: None, command: None, doorward: facts() };
        let mut lines = Vec::new();
        let mut writer = Writer::new(&header, &mut lines);
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        writer.write(Duration::ZERO, &Entry::Output { output: Output::Stdout, bytes }, &mut lines);
        lines
    }

    fn session() -> SessionId {
        SessionId::from_parts(Timestamp::from_millis(7), 9)
    }

    fn facts() -> Facts {
        Facts {
            session: session(),
            user: UserName::parse("alice").unwrap(),
            account: AccountName::parse("root").unwrap(),
            target: TargetName::parse("db1").unwrap(),
            grant: None,
            reason: None,
            policy: "00".repeat(32),
            rule: RuleId::parse("rule").unwrap(),
            source: String::from("192.0.2.1:4000"),
            channel: ChannelNumber(1),
            class: Some(ChannelClass::Exec),
            pty: false,
            command_base64: None,
            seg: 0,
            t0: 0,
        }
    }
}
