//! Asking a witness: one blocking call at a time, bounded in time and size, its answer checked.

use std::fmt;
use std::time::Duration;

use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::origin_id;
use crate::http;
use crate::tlog::{
    AddCheckpoint, Algorithm, Checkpoint, MalformedKey, NOTE_BYTES_MAX, Note, NoteError, Signature, VerifyingKey,
};

/// How long a call may take in all.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a refusal's text is kept, in characters.
const SAID_CHARS_MAX: usize = 200;
/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 1024;

/// Where a witness answers: `http://` or `https://`, a host, perhaps a port and a path; no `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessUrl(String);

/// A text is no address of a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidAddress {
    /// What is wrong with it.
    pub why: &'static str,
}

impl WitnessUrl {
    /// Parses the prefix that stands before `/add-checkpoint`, such as `https://witness.example/doorward`.
    ///
    /// # Errors
    /// `InvalidAddress`.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |why| InvalidAddress { why };
        if text.len() > URL_BYTES_MAX {
            return Err(invalid("a URL has at most 1024 bytes"));
        }
        let url: Uri = text.parse().map_err(|_| invalid("it is no URL"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(invalid("it begins with neither http:// nor https://"));
        }
        if url.host().is_none_or(str::is_empty) {
            return Err(invalid("it names no host"));
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(invalid("a witness asks for no user name and no password"));
        }
        if text.contains(['?', '#']) {
            return Err(invalid("calls are appended to it, so it has no `?` and no `#`"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A witness: where it answers, and the key by which its signatures are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAddress {
    url: WitnessUrl,
    key: VerifyingKey,
}

impl WitnessAddress {
    /// The witness at `url` with `key`.
    ///
    /// # Errors
    /// `MalformedKey` if the key is a log's.
    pub fn new(url: WitnessUrl, key: VerifyingKey) -> Result<Self, MalformedKey> {
        match key.algorithm() {
            Algorithm::Cosignature => Ok(Self { url, key }),
            Algorithm::Note => Err(MalformedKey { why: "it is the key of a log, not of a witness" }),
        }
    }

    /// Where it answers.
    pub fn url(&self) -> &WitnessUrl {
        &self.url
    }

    /// Its key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

/// The newest checkpoint of a log that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its note, which the log and the witness have signed.
    pub note: Note,
    /// When the witness signed, in seconds since 1970, by its clock.
    pub time: u64,
}

/// Asks witnesses, and keeps connections to them open for a while. Calls block; each ends within ten seconds.
///
/// It connects directly, whatever proxy the environment names. For `https` the system's trusted roots count. What
/// a witness says is believed by its signature only.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client without connections.
    pub fn new() -> Self {
        Self { agent: http::agent(CALL_TIMEOUT) }
    }

    /// Sends a checkpoint, and gives the witness's cosignature of it, which is checked.
    ///
    /// # Errors
    /// `Conflict` has the size that the witness signed last: make the proof from there, if it is not beyond the log.
    ///
    /// Source: <https://c2sp.org/tlog-witness>, "add-checkpoint".
    pub fn add_checkpoint(&self, witness: &WitnessAddress, request: &AddCheckpoint) -> Result<Signature, ClientError> {
        let url = format!("{}/add-checkpoint", witness.url.0);
        let sent = self.agent.post(&url).content_type("text/plain; charset=utf-8").send(request.to_string());
        let (status, body) = taken(&url, sent)?;
        match status {
            200 => cosignature(&url, witness, &request.checkpoint, &body),
            409 => match body.strip_suffix('\n').and_then(|size| size.parse().ok()) {
                Some(size) => Err(ClientError::Conflict { size }),
                None => Err(ClientError::Answer { url, why: "the size that it signed last is no number" }),
            },
            status => Err(ClientError::Refused { url, status, said: said(&body) }),
        }
    }

    /// Asks for the newest checkpoint of the log with the key `log` that the witness cosigned, and checks both
    /// signatures; `None` if it says that there is none, as a witness does too that is not Doorward's.
    ///
    /// # Errors
    /// Any but `Conflict`.
    pub fn newest(&self, witness: &WitnessAddress, log: &VerifyingKey) -> Result<Option<Newest>, ClientError> {
        let url = format!("{}/checkpoint/{}", witness.url.0, origin_id(log.name()));
        let (status, body) = taken(&url, self.agent.get(&url).call())?;
        match status {
            200 => both_signed(&url, witness, log, &body).map(Some),
            404 => Ok(None),
            status => Err(ClientError::Refused { url, status, said: said(&body) }),
        }
    }
}

/// The status and the body of an answer, which is text.
fn taken(url: &str, sent: Result<Response<Body>, ureq::Error>) -> Result<(u16, String), ClientError> {
    let away = |error| ClientError::Away { url: url.to_owned(), source: Box::new(error) };
    let mut response = sent.map_err(away)?;
    let limit = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
    let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(away)?;
    let body = String::from_utf8(body)
        .map_err(|_| ClientError::Answer { url: url.to_owned(), why: "it is not UTF-8 text" })?;
    Ok((response.status().as_u16(), body))
}

/// The witness's signature in an answer; lines of other keys are passed over.
fn cosignature(url: &str, witness: &WitnessAddress, note: &Note, body: &str) -> Result<Signature, ClientError> {
    let none = || ClientError::Answer { url: url.to_owned(), why: "it has no signature by the witness's key" };
    let lines = body.strip_suffix('\n').ok_or_else(none)?.split('\n');
    let signature = lines.filter_map(|line| Signature::parse(line).ok()).find(|one| witness.key.made(one));
    let signature = signature.ok_or_else(none)?;
    let forged = |source| ClientError::Signature { url: url.to_owned(), source };
    let mut alone = Note::new(note.unchecked_text().to_owned()).map_err(|_| none())?;
    alone.add(signature.clone());
    alone.check(&[&witness.key]).map_err(forged)?;
    Ok(signature)
}

fn both_signed(url: &str, witness: &WitnessAddress, log: &VerifyingKey, body: &str) -> Result<Newest, ClientError> {
    let bad = |why| ClientError::Answer { url: url.to_owned(), why };
    let forged = |source| ClientError::Signature { url: url.to_owned(), source };
    let note = Note::parse(body.as_bytes()).map_err(|error| bad(error.why))?;
    note.check(&[log]).map_err(forged)?;
    let cosigned = note.check(&[&witness.key]).map_err(forged)?;
    let time =
        cosigned.signers().first().and_then(|(_, time)| *time).ok_or_else(|| bad("its signature has no time"))?;
    let checkpoint = Checkpoint::parse(cosigned.text()).map_err(|error| bad(error.why))?;
    if &checkpoint.origin != log.name() {
        return Err(bad("it is another log's checkpoint"));
    }
    Ok(Newest { checkpoint, note, time })
}

/// The beginning of what a peer says, without what could steer a terminal.
fn said(body: &str) -> String {
    body.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect()
}

/// Why a witness gave nothing.
#[derive(Debug)]
pub enum ClientError {
    /// It cannot be reached, or does not answer in time.
    Away {
        /// What was asked.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It signed another checkpoint last: the one sent does not start there, or is another of the same size.
    Conflict {
        /// Of this size.
        size: u64,
    },
    /// It refuses.
    Refused {
        /// What was asked.
        url: String,
        /// The status: 400, 403, 404 and 422 have a meaning in the specification.
        status: u16,
        /// The beginning of what it says.
        said: String,
    },
    /// Its answer is none.
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Its answer is not signed as it must be.
    Signature {
        /// What was asked.
        url: String,
        /// Why.
        source: NoteError,
    },
}

impl ClientError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { status: 404, .. } => {
                Some("have its operator run `doorward witness add` with this log's key, and look at `url`")
            }
            Self::Refused { status: 403, .. } => Some("have its operator add this log's key, if it has changed"),
            Self::Signature { .. } => Some("look whether `key` is the key that this witness has"),
            Self::Away { .. } | Self::Conflict { .. } | Self::Refused { .. } | Self::Answer { .. } => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { url, .. } => write!(f, "the witness at `{url}` does not answer"),
            Self::Conflict { size } => write!(f, "the witness signed another checkpoint last, of size {size}"),
            Self::Refused { url, status, said } => {
                write!(f, "the witness at `{url}` refuses with status {status}: {said}")
            }
            Self::Answer { url, why } => write!(f, "the answer of the witness at `{url}` is none: {why}"),
            Self::Signature { url, .. } => write!(f, "the answer of `{url}` is not signed as it must be"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Away { source, .. } => Some(source.as_ref()),
            Self::Signature { source, .. } => Some(source),
            Self::Conflict { .. } | Self::Refused { .. } | Self::Answer { .. } => None,
        }
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for InvalidAddress {}

impl fmt::Display for WitnessUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
