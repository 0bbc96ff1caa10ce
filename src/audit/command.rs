//! Events of the command gate: what was judged, what ran, what waited for somebody's yes.

use serde::{Deserialize, Serialize, Serializer};

use super::facts::{bounded, bounded_detail, bounded_text};
use crate::model::{Destination, RequestId, RuleId, SessionId, UserName};

/// Of a command line so many characters are on record. All of one that runs stands in its recording.
const LINE_CHARS_MAX: usize = 1500;
/// So many of the programs that a line would start are on record, each with so many characters of its words.
const STARTS_MAX: usize = 8;
const START_CHARS_MAX: usize = 160;
/// And so many effects of each.
const EFFECTS_MAX: usize = 6;

/// What the gate said of a command line. On record before the command starts, if it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandJudged {
    /// The decision, by which people speak of it.
    pub decision: RequestId,
    /// The session.
    pub session: SessionId,
    /// The channel's number; none where no channel was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// `observe`, `guard` or `strict`.
    pub mode: String,
    /// What the rules say: `allow`, `approve` or `deny`. Where it is observed only, a `deny` ran all the same.
    pub verdict: String,
    /// The rule that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// What decided, in words.
    #[serde(serialize_with = "bounded_text")]
    pub because: String,
    /// The hash of the policy set that was asked.
    pub policy: String,
    /// The line as it was typed, without what the vault keeps.
    #[serde(serialize_with = "bounded_line")]
    pub line: String,
    /// What the target is sent, where that is not the line as it was typed.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "bounded_lines")]
    pub sent: Option<String>,
    /// How far the line is to be trusted, where it was read from a terminal: `keys`, `screen` or `exact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// The programs that it would start, each with what it would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "bounded_starts")]
    pub starts: Vec<CommandStart>,
    /// `low`, `medium` or `high`, if somebody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The second of the session's recording at which it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<u64>,
    /// Who said yes to it, where that was needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<UserName>,
    /// How many others like it before are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "bounded_some")]
    pub note: Option<String>,
}

/// A program that a command line would start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandStart {
    /// Its words, as far as they are known before it starts.
    pub words: String,
    /// What it would do, such as `read /etc/hosts`.
    pub effects: Vec<String>,
    /// The rule that decided of it alone, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
}

/// A command waits for somebody's yes. On record before anybody is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandWaits {
    /// What was judged.
    #[serde(flatten)]
    pub judged: CommandJudged,
    /// Whose yes it takes.
    #[serde(serialize_with = "bounded_text")]
    pub quorum: String,
    /// The first moment at which nobody may say yes any more.
    pub expires: crate::model::Timestamp,
    /// What the yes is for: SHA-256 of the session, of what is sent and of the policy, in hexadecimal.
    pub bound: String,
}

/// What became of a command that waits: somebody said yes or no, or it will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandStep {
    /// The decision that waits.
    pub decision: RequestId,
    /// The session.
    pub session: SessionId,
    /// Whose command.
    pub user: UserName,
    /// `approved`, `denied`, `withdrawn`, `expired` or `refused`.
    pub result: String,
    /// In the words of who did it, or why.
    #[serde(serialize_with = "bounded_detail")]
    pub note: String,
    /// Who did it, by what proof, and from where; `the bastion`.
    #[serde(serialize_with = "bounded_text")]
    pub by: String,
}

fn bounded_line<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bounded(value, LINE_CHARS_MAX))
}

fn bounded_lines<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| bounded(value, LINE_CHARS_MAX)).serialize(to)
}

fn bounded_some<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| bounded(value, START_CHARS_MAX)).serialize(to)
}

fn bounded_starts<S: Serializer>(starts: &[CommandStart], to: S) -> Result<S::Ok, S::Error> {
    let short = |text: &String| bounded(text, START_CHARS_MAX);
    to.collect_seq(starts.iter().take(STARTS_MAX).map(|CommandStart { words, effects, rule }| CommandStart {
        words: short(words),
        effects: effects.iter().take(EFFECTS_MAX).map(|effect| bounded(effect, START_CHARS_MAX / 4)).collect(),
        rule: rule.clone(),
    }))
}

/// Something through which a line may have run that nobody has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandGap {
    /// The session.
    pub session: SessionId,
    /// The channel's number.
    pub channel: u32,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// Which, in one word.
    pub gap: String,
    /// What becomes of the session: `alert`, `approve` or `end`; `none` where nothing does.
    pub done: String,
    /// What has happened.
    #[serde(serialize_with = "bounded_text")]
    pub note: String,
}

/// From now on the lines of a shell in guard are read in this way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReading {
    /// The session.
    pub session: SessionId,
    /// The channel's number.
    pub channel: u32,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// `guard:exact` or `guard:screen`.
    pub reads: String,
    /// Why.
    #[serde(serialize_with = "bounded_text")]
    pub note: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audit::AuditEvent;
    use crate::model::Timestamp;
    use crate::tlog::ENTRY_BYTES_MAX;

    pub fn judged(line: &str) -> CommandJudged {
        CommandJudged {
            decision: RequestId::parse("d-7k2mq4x9").unwrap(),
            session: SessionId::from_parts(Timestamp::from_millis(1), 1),
            channel: None,
            user: UserName::parse("alice").unwrap(),
            destination: Destination::parse("root@db1").unwrap(),
            mode: String::from("strict"),
            verdict: String::from("deny"),
            rule: None,
            because: String::from("no rule allows it"),
            policy: "0".repeat(64),
            line: line.to_owned(),
            sent: Some(line.to_owned()),
            confidence: None,
            starts: vec![CommandStart { words: line.to_owned(), effects: vec![line.to_owned()], rule: None }],
            alert: Some(String::from("high")),
            second: None,
            approved_by: Vec::new(),
            note: None,
        }
    }

    #[test]
    fn the_longest_command_line_of_the_widest_characters_fits_a_leaf() {
        for c in ['\u{1b}', '\u{10ffff}', '"'] {
            let line = c.to_string().repeat(crate::gate::LINE_BYTES_MAX);
            let rule = Some(RuleId::parse(&"r".repeat(64)).unwrap());
            let start = CommandStart { words: line.clone(), effects: vec![line.clone(); 2 * EFFECTS_MAX], rule };
            let waits = CommandWaits {
                judged: CommandJudged { starts: vec![start; 2 * STARTS_MAX], ..judged(&line) },
                quorum: line.clone(),
                expires: Timestamp::from_millis(1),
                bound: String::new(),
            };
            let parts = AuditEvent::CommandWaits(Box::new(waits)).parts().unwrap();
            let bytes = serde_json::to_string(&parts.hidden).unwrap().len() * 4 / 3 + 1024;
            assert!(bytes < ENTRY_BYTES_MAX, "{bytes} of {c:?}");
        }
    }
}
