//! What a desktop's own process and the bastion say to each other.
//!
//! One process carries one connection: it parses what both peers send and holds no key but the one credential of its
//! session, which it gets after the permit, the recording and the check of the target's certificate. What it says is
//! as little trusted as its peers: the bastion decides, records and logs.
//!
//! ```text
//! process -> bastion                 bastion -> process
//!   Hello                              Start                  who it is: certificate, listener's policy
//!   Ticket { name }                    TicketSecret | Refused     only with NLA
//!   Login                              Permitted | Refused        permit, recording and a way to the target are there
//!   Checked { certificate }            Credential | Refused       the target is who it should be
//!   Record ...                         Durable { through }        what was shown is on disk first
//!   Picture                            Look
//!   Active
//!   Ended                              End, Hold
//! ```
//! A frame is `length u32 little endian, kind u8, body`, where the length is the body's: JSON, but for `Record`, whose
//! body is a record of [`super::record`] as it is stored, and `Picture`, whose body is a PNG or empty. Frames are made
//! and read in [`super::frame`]. With `Permitted` comes a socket on which the target has taken the connection.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::rules::DesktopRules;
use crate::secret::Secret;

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// CredSSP with a one-time ticket, over TLS (MS-CSSP).
    Nla,
    /// A password inside TLS.
    Tls,
}

/// What a process is told first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// The listener's certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 in DER.
    #[serde(with = "secret_bytes")]
    pub key: Secret<Vec<u8>>,
    /// What the listener offers, the better first.
    pub offered: Vec<Security>,
    /// How long a handshake may take, in milliseconds.
    pub handshake_ms: u64,
    /// Where the user comes from.
    pub source: IpAddr,
}

/// What the process asks with a name and a proof.
#[derive(Debug, Serialize, Deserialize)]
pub struct Login {
    /// The proof.
    pub proof: Proof,
    /// What the user's program said of itself: a name of at most 15 characters, not trusted.
    pub client_name: String,
    /// Its build number.
    pub client_build: u32,
    /// The keyboard's layout (an input locale), which names the keys in the recording.
    pub keyboard_layout: u32,
    /// The desktop's width, in pixels.
    pub width: u16,
    /// Its height.
    pub height: u16,
}

/// What was proven.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// CredSSP ended well with this ticket's secret.
    Ticket(String),
    /// What was typed; the bastion checks it.
    Password {
        /// `alice+administrator@win1`.
        login: String,
        /// The password, with the one-time code after it where the user has one.
        #[serde(with = "secret_text")]
        password: Secret<String>,
    },
}

/// A session that may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Permitted {
    /// Its id, for the user.
    pub session: String,
    /// The target's address, `host:port`, which names it in TLS and CredSSP.
    pub address: String,
    /// What its certificate is checked against.
    pub pin: Pin,
    /// Whether a target without NLA may be logged in to.
    pub allow_tls_only: bool,
    /// What may pass beside picture, keys and mouse.
    pub rules: DesktopRules,
    /// Whether what is shown waits until its record is on disk.
    pub wait_for_disk: bool,
    /// Whether keys are recorded.
    pub record_keys: bool,
}

/// Which certificate is the target's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// The SHA-256 of its whole certificate, in lower-case hex; one of these.
    Fingerprints(Vec<String>),
    /// One that this authority signed for this name; PEM.
    Authority {
        /// The authority's certificate.
        pem: String,
        /// The name in the target's certificate.
        name: String,
    },
}

/// How to log in to a target.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credential {
    /// The account.
    pub account: String,
    /// Its domain; empty for one of the machine.
    pub domain: String,
    /// Its password.
    #[serde(with = "secret_text")]
    pub password: Secret<String>,
}

/// Why there is no session, for the user and their program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The code of a Set Error Info PDU (MS-RDPBCGR section 2.2.5.1.1).
    pub code: u32,
    /// In words, for the log.
    pub why: String,
}

/// What the process says.
#[derive(Debug)]
pub enum FromProcess {
    /// The first bytes came: what was asked for.
    Hello {
        /// What the user's program offers to speak.
        security: Vec<Security>,
    },
    /// CredSSP named a ticket.
    Ticket {
        /// Its name.
        name: String,
    },
    /// The handshake is done.
    Login(Login),
    /// The target's certificate is one that was asked for.
    Checked {
        /// Its SHA-256, in lower-case hex.
        certificate: String,
    },
    /// The target's certificate is another: nothing was sent to it.
    WrongCertificate {
        /// Its SHA-256, in lower-case hex.
        got: String,
    },
    /// The target took the credential, or not.
    LoggedIn(Result<(), String>),
    /// One record of `rdp1`.
    Record(Vec<u8>),
    /// The picture that was asked for, as PNG; none before the first is drawn.
    Picture(Option<Vec<u8>>),
    /// The person pressed a key or moved the mouse, and it passed. Said at most once a second.
    Active,
    /// It is over.
    Ended {
        /// Why.
        why: String,
    },
}

/// What the process is told.
#[derive(Debug)]
pub enum ToProcess {
    /// What it needs.
    Start(Start),
    /// The secret of the ticket that was named.
    TicketSecret(Secret<String>),
    /// The session may be.
    Permitted(Box<Permitted>),
    /// The credential.
    Credential(Credential),
    /// No.
    Refused(Refused),
    /// So many records, from the first, are on disk.
    Durable {
        /// How many.
        through: u64,
    },
    /// Send a picture.
    Look,
    /// Let no keys and no clipboard through; or let them again.
    Hold(bool),
    /// End it, and say why.
    End(Refused),
}

/// A secret text in a frame, which only ever crosses the socket pair between the two processes.
pub(super) mod secret_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// Secret bytes in a frame; see [`secret_text`].
mod secret_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<Vec<u8>>, D::Error> {
        Vec::<u8>::deserialize(from).map(Secret::new)
    }
}
