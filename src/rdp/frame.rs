//! Frames of [`super::control`]: made, and read with a limit for each kind.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::control::{FromProcess, ToProcess};
use super::record::RECORD_BYTES_MAX;
use crate::secret::Secret;

/// How long the head of a frame is: the length of its body, and its kind.
pub const HEAD_BYTES: usize = 5;

/// The most bytes in the body of a frame that carries a record or a picture.
pub const BULK_BYTES_MAX: usize = RECORD_BYTES_MAX + 64;

/// The most bytes in the body of any other frame: a certificate authority and the names of dynamic channels fit well.
pub const WORDS_BYTES_MAX: usize = 256 << 10;

/// Why a frame cannot be made or read. The one who sent it is not to be trusted any further.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// No frame is of this kind.
    Kind(u8),
    /// Its body is longer than its kind may be.
    Length(usize),
    /// Its body is not what its kind says.
    Body(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "no frame has the kind {kind}"),
            Self::Length(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Body(kind) => write!(f, "the body of a frame of kind {kind} is malformed"),
        }
    }
}

impl std::error::Error for Fault {}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What its body is.
    pub kind: u8,
    /// How many bytes of body follow.
    pub length: usize,
}

impl Head {
    /// Reads a head, before any memory is set aside for its body.
    ///
    /// # Errors
    /// `Length` if the body would be longer than its kind may be; which kinds there are is seen by `decode`.
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, Fault> {
        let [a, b, c, d, kind] = bytes;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > bytes_max(kind) { Err(Fault::Length(length)) } else { Ok(Self { kind, length }) }
    }
}

const RECORD: u8 = 6;
const PICTURE: u8 = 7;

fn bytes_max(kind: u8) -> usize {
    if matches!(kind, RECORD | PICTURE) { BULK_BYTES_MAX } else { WORDS_BYTES_MAX }
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Words(#[serde(with = "super::control::secret_text")] Secret<String>);

impl FromProcess {
    /// The whole frame.
    ///
    /// # Errors
    /// `Length` if it is longer than its reader takes. It holds a secret where `Login` carries a password.
    pub fn encode(&self) -> Result<Secret<Vec<u8>>, Fault> {
        match self {
            Self::Hello { security } => json(1, security),
            Self::Ticket { name } => json(2, name),
            Self::Login(login) => json(3, login),
            Self::Checked { certificate } => json(4, certificate),
            Self::WrongCertificate { got } => json(5, got),
            Self::Record(record) => framed(RECORD, record),
            Self::Picture(png) => framed(PICTURE, png.as_deref().unwrap_or_default()),
            Self::LoggedIn(outcome) => json(8, outcome),
            Self::Ended { why } => json(9, why),
            Self::Active => framed(10, &[]),
        }
    }

    /// What a frame says.
    ///
    /// # Errors
    /// If no frame is of that kind, or its body is malformed.
    pub fn decode(kind: u8, body: Vec<u8>) -> Result<Self, Fault> {
        Ok(match kind {
            1 => Self::Hello { security: parsed(kind, body)? },
            2 => Self::Ticket { name: parsed(kind, body)? },
            3 => Self::Login(parsed(kind, body)?),
            4 => Self::Checked { certificate: parsed(kind, body)? },
            5 => Self::WrongCertificate { got: parsed(kind, body)? },
            RECORD => Self::Record(body),
            PICTURE => Self::Picture(if body.is_empty() { None } else { Some(body) }),
            8 => Self::LoggedIn(parsed(kind, body)?),
            9 => Self::Ended { why: parsed(kind, body)? },
            10 if body.is_empty() => Self::Active,
            10 => return Err(Fault::Body(kind)),
            unknown => return Err(Fault::Kind(unknown)),
        })
    }
}

impl ToProcess {
    /// The whole frame; most of them hold a secret.
    ///
    /// # Errors
    /// `Length` if it is longer than its reader takes.
    pub fn encode(&self) -> Result<Secret<Vec<u8>>, Fault> {
        match self {
            Self::Start(start) => json(65, start),
            Self::TicketSecret(secret) => json(66, &Words(secret.clone())),
            Self::Permitted(permitted) => json(67, permitted),
            Self::Credential(credential) => json(68, credential),
            Self::Refused(refused) => json(69, refused),
            Self::Durable { through } => json(70, through),
            Self::Look => framed(71, &[]),
            Self::Hold(held) => json(72, held),
            Self::End(refused) => json(73, refused),
        }
    }

    /// What a frame says.
    ///
    /// # Errors
    /// If no frame is of that kind, or its body is malformed.
    pub fn decode(kind: u8, body: Vec<u8>) -> Result<Self, Fault> {
        Ok(match kind {
            65 => Self::Start(parsed(kind, body)?),
            66 => Self::TicketSecret(parsed::<Words>(kind, body)?.0),
            67 => Self::Permitted(parsed(kind, body)?),
            68 => Self::Credential(parsed(kind, body)?),
            69 => Self::Refused(parsed(kind, body)?),
            70 => Self::Durable { through: parsed(kind, body)? },
            71 if body.is_empty() => Self::Look,
            71 => return Err(Fault::Body(kind)),
            72 => Self::Hold(parsed(kind, body)?),
            73 => Self::End(parsed(kind, body)?),
            unknown => return Err(Fault::Kind(unknown)),
        })
    }
}

fn json<T: Serialize>(kind: u8, value: &T) -> Result<Secret<Vec<u8>>, Fault> {
    // Serialised once for its length and once into a buffer that never grows: one that grows leaves a copy behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_err(|_| Fault::Body(kind))?;
    let mut frame = headed(kind, length.0)?;
    serde_json::to_writer(&mut frame, value).map_err(|_| Fault::Body(kind))?;
    Ok(Secret::new(frame))
}

fn framed(kind: u8, body: &[u8]) -> Result<Secret<Vec<u8>>, Fault> {
    let mut frame = headed(kind, body.len())?;
    frame.extend_from_slice(body);
    Ok(Secret::new(frame))
}

/// The head of a frame, in a buffer with room for the rest.
fn headed(kind: u8, body_bytes: usize) -> Result<Vec<u8>, Fault> {
    let length = u32::try_from(body_bytes).ok().filter(|_| body_bytes <= bytes_max(kind));
    let length = length.ok_or(Fault::Length(body_bytes))?;
    let mut frame = Vec::with_capacity(HEAD_BYTES.saturating_add(body_bytes));
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(kind);
    Ok(frame)
}

fn parsed<T: DeserializeOwned>(kind: u8, body: Vec<u8>) -> Result<T, Fault> {
    // It may hold a secret, so it is wiped once it is read.
    let body = Secret::new(body);
    serde_json::from_slice(body.expose()).map_err(|_| Fault::Body(kind))
}

/// Counts what is written to it.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::control::{Credential, Login, Permitted, Pin, Proof, Refused, Security, Start};
    use super::super::rules::DesktopRules;
    use super::*;

    fn split(frame: &Secret<Vec<u8>>) -> (u8, Vec<u8>) {
        let (head, body) = frame.expose().split_at(HEAD_BYTES);
        let head = Head::read(head.try_into().unwrap()).unwrap();
        assert_eq!(head.length, body.len());
        (head.kind, body.to_vec())
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn every_from() -> Vec<FromProcess> {
        let login = Login {
            proof: Proof::Password { login: "alice+administrator@win1".into(), password: secret("p\u{e9}\"x") },
            client_name: "laptop".into(),
            client_build: 22621,
            keyboard_layout: 0x40c,
            width: 1024,
            height: 768,
        };
        vec![
            FromProcess::Hello { security: vec![Security::Nla, Security::Tls] },
            FromProcess::Ticket { name: "t-7f3a".into() },
            FromProcess::Login(login),
            FromProcess::Checked { certificate: "ab".into() },
            FromProcess::WrongCertificate { got: "cd".into() },
            FromProcess::Record(vec![1, 2, 3]),
            FromProcess::Picture(None),
            FromProcess::Picture(Some(vec![9])),
            FromProcess::LoggedIn(Err("no".into())),
            FromProcess::Ended { why: "closed".into() },
            FromProcess::Active,
        ]
    }

    fn every_to() -> Vec<ToProcess> {
        let permitted = Permitted {
            session: "01J9".into(),
            address: "10.0.0.5:3389".into(),
            pin: Pin::Authority { pem: "---".into(), name: "win1".into() },
            allow_tls_only: false,
            rules: DesktopRules::default(),
            wait_for_disk: true,
            record_keys: true,
        };
        let start = Start {
            certificate: vec![0x30],
            key: Secret::new(vec![1, 2]),
            offered: vec![Security::Nla],
            handshake_ms: 10_000,
            source: "::1".parse().unwrap(),
        };
        let credential = Credential { account: "a".into(), domain: String::new(), password: secret("q") };
        vec![
            ToProcess::Start(start),
            ToProcess::TicketSecret(secret("s")),
            ToProcess::Permitted(Box::new(permitted)),
            ToProcess::Credential(credential),
            ToProcess::Refused(Refused { code: 5, why: "w".into() }),
            ToProcess::Durable { through: u64::MAX },
            ToProcess::Look,
            ToProcess::Hold(true),
            ToProcess::End(Refused { code: 1, why: "w".into() }),
        ]
    }

    #[test]
    fn every_frame_reads_back_as_it_was_written() {
        for said in every_from() {
            let frame = said.encode().unwrap();
            let (kind, body) = split(&frame);
            let again = FromProcess::decode(kind, body).unwrap();
            assert_eq!(again.encode().unwrap().expose(), frame.expose(), "{said:?}");
            assert!(ToProcess::decode(kind, Vec::new()).is_err(), "a kind of both ways: {kind}");
        }
        for told in every_to() {
            let frame = told.encode().unwrap();
            let (kind, body) = split(&frame);
            let again = ToProcess::decode(kind, body).unwrap();
            assert_eq!(again.encode().unwrap().expose(), frame.expose(), "{told:?}");
            assert!(FromProcess::decode(kind, Vec::new()).is_err(), "a kind of both ways: {kind}");
        }
    }

    #[test]
    fn a_frame_with_a_secret_is_made_in_one_piece() {
        let told = ToProcess::TicketSecret(secret(&"s".repeat(1000)));
        let frame = told.encode().unwrap();
        assert_eq!(frame.expose().len(), frame.expose().capacity());
    }

    #[test]
    fn a_length_is_refused_before_memory_is_set_aside() {
        let head = |length: usize, kind| {
            let [a, b, c, d] = u32::try_from(length).unwrap().to_le_bytes();
            Head::read([a, b, c, d, kind])
        };
        assert!(head(WORDS_BYTES_MAX, 1).is_ok() && head(BULK_BYTES_MAX, RECORD).is_ok());
        assert_eq!(head(WORDS_BYTES_MAX + 1, 1), Err(Fault::Length(WORDS_BYTES_MAX + 1)));
        assert_eq!(head(BULK_BYTES_MAX + 1, RECORD), Err(Fault::Length(BULK_BYTES_MAX + 1)));
        assert!(FromProcess::Record(vec![0; BULK_BYTES_MAX + 1]).encode().is_err());
        assert!(matches!(FromProcess::decode(200, Vec::new()), Err(Fault::Kind(200))));
    }

    proptest! {
        #[test]
        fn no_frame_makes_a_reader_panic(kind: u8, body: Vec<u8>) {
            let _ = FromProcess::decode(kind, body.clone());
            let _ = ToProcess::decode(kind, body);
        }
    }
}
