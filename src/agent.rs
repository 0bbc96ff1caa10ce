//! SSH agent messages (draft-miller-ssh-agent; OpenSSH's PROTOCOL.agent) between a target and a user's own agent: each is
//! understood to its last byte, or refused.
//!
//! Let through is the list of keys, a signature for a login (RFC 4252 section 7), and the binding of the agent to a
//! connection. All else - keys added or removed, locks, smart cards, signatures of other things - is refused.
//!
//! What this does **not** guard against: whoever is root on the target can use the keys that are lent for logins to other
//! machines, for as long as they are lent. Which machine a signature is for, only a login that names the host key tells.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ssh_key::{Certificate, HashAlg, PublicKey};

#[cfg(test)]
mod tests;

/// The longest message, without its length: OpenSSH's own bound.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const SHORT: Malformed = Malformed("a message ends within a field");
const LONG: Malformed = Malformed("more bytes than the message has fields");

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message, with its length in front.
    ///
    /// # Errors
    /// `Malformed` if its length is none; nothing after it can be read.
    pub fn take(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > MESSAGE_BYTES_MAX {
            return Err(Malformed("a message's length is out of bounds"));
        }
        let whole = length.saturating_add(4);
        Ok((self.0.len() >= whole).then(|| self.0.split_to(whole).freeze()))
    }
}

// Message numbers (draft-miller-ssh-agent section 5.1).
const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
const EXTENSION_FAILURE: u8 = 28;

const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

/// What a target asks of a user's agent.
#[derive(Debug)]
pub enum Request {
    /// Which keys there are.
    List,
    /// A signature.
    Sign(Box<Signing>),
    /// To know which connection it is asked on (OpenSSH's PROTOCOL.agent section 1).
    Bind(Host),
    /// Something that is not let through, in words.
    Other(String),
}

/// A signature for a login.
#[derive(Debug)]
pub struct Signing {
    /// The key, as it is named to the agent.
    pub blob: Vec<u8>,
    /// The key.
    pub key: Key,
    /// As whom the login is, printable, cut.
    pub account: String,
    /// The machine that the login names, if it does.
    pub host: Option<Host>,
    session: Vec<u8>,
}

/// A public key, by itself or in a certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key itself.
    pub plain: PublicKey,
    /// The certificate that it came in.
    pub certificate: Option<Box<Certificate>>,
}

impl Key {
    /// Reads a key; `None` for kinds that are not known, and for what is not in its one form.
    pub fn read(blob: &[u8]) -> Option<Self> {
        let mut rest = Fields(blob);
        let kind = rest.string().ok()?;
        let (plain, certificate, bytes) = if kind.ends_with(b"-cert-v01@openssh.com") {
            let certificate = Certificate::from_bytes(blob).ok()?;
            let (plain, bytes) = (PublicKey::from(certificate.public_key().clone()), certificate.to_bytes().ok()?);
            (plain, Some(Box::new(certificate)), bytes)
        } else {
            let plain = PublicKey::from_bytes(blob).ok()?;
            let bytes = plain.to_bytes().ok()?;
            (plain, None, bytes)
        };
        let data = plain.key_data();
        let known = !data.is_certificate() && !data.is_dsa() && !data.is_other();
        (known && bytes == blob).then_some(Self { plain, certificate })
    }

    /// The key's fingerprint, also of one in a certificate: `SHA256:` and base64.
    pub fn fingerprint(&self) -> String {
        self.plain.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Whether it is this key, in a certificate or not, or is certified by it.
    fn is_of(&self, key: &PublicKey) -> bool {
        let signer = self.certificate.as_ref().map(|certificate| certificate.signature_key());
        self.plain.key_data() == key.key_data() || signer == Some(key.key_data())
    }
}

/// The machine that a login or a binding is for.
#[derive(Debug)]
pub struct Host {
    key: Key,
    session: Vec<u8>,
}

impl Host {
    /// The host key's fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }
}

/// What is the bastion's own: no signature may be for it.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Its host key, and the key that certifies that.
    pub keys: Vec<PublicKey>,
    /// The session identifier of the leg.
    pub session: Option<Vec<u8>>,
}

impl Own {
    fn refuses(&self, session: &[u8], host: Option<&Key>) -> Option<&'static str> {
        if self.session.as_deref() == Some(session) {
            return Some("for the bastion's own connection to the target");
        }
        let own = host.is_some_and(|host| self.keys.iter().any(|key| host.is_of(key)));
        own.then_some("for a login at the bastion itself")
    }
}

impl Signing {
    /// Why nobody may have it, if so.
    pub fn refused(&self, own: &Own) -> Option<&'static str> {
        own.refuses(&self.session, self.host.as_ref().map(|host| &host.key))
    }
}

impl Host {
    /// Why the agent may not be bound to it, if so.
    pub fn refused(&self, own: &Own) -> Option<&'static str> {
        own.refuses(&self.session, Some(&self.key))
    }
}

/// Reads what a target sends: a message with its length in front.
pub fn request(message: &[u8]) -> Request {
    read_request(message).unwrap_or_else(|Malformed(why)| Request::Other(why.to_owned()))
}

fn read_request(message: &[u8]) -> Result<Request, Malformed> {
    let mut rest = Fields(message.get(4..).ok_or(SHORT)?);
    match rest.byte()? {
        REQUEST_IDENTITIES => {
            rest.end()?;
            Ok(Request::List)
        }
        SIGN_REQUEST => {
            let (blob, data, flags) = (rest.string()?, rest.string()?, rest.number()?);
            rest.end()?;
            signing(blob, data, flags).map(|signing| Request::Sign(Box::new(signing)))
        }
        EXTENSION => match rest.string()? {
            SESSION_BIND => {
                let (host, session, _signature) = (rest.string()?, rest.string()?, rest.string()?);
                let _forwarding = rest.boolean()?;
                rest.end()?;
                let key = Key::read(host).ok_or(Malformed("a host key that is none"))?;
                Ok(Request::Bind(Host { key, session: session.to_vec() }))
            }
            name => Ok(Request::Other(format!("the extension {}", printable(name)))),
        },
        number => Ok(Request::Other(format!("{} (message {number})", name_of(number)))),
    }
}

/// What a message that is not let through asks for.
fn name_of(number: u8) -> &'static str {
    match number {
        17 | 25 => "adding a key",
        18 => "removing a key",
        19 => "removing all keys",
        20 | 26 => "adding a smart card",
        21 => "removing a smart card",
        22 => "locking the agent",
        23 => "unlocking the agent",
        1..=9 | 24 => "version 1 of the protocol",
        0 | 10..=16 | 27..=u8::MAX => "an unknown request",
    }
}

const USERAUTH_REQUEST: u8 = 50;
/// A session identifier is a hash (RFC 4253 section 7.2): SHA-1 to SHA-512.
const SESSION_BYTES: std::ops::RangeInclusive<usize> = 20..=64;

const NOT_A_LOGIN: Malformed = Malformed("a signature of something else than a login");

/// A signature for a login, whose data is what the key signs (RFC 4252 section 7; OpenSSH's PROTOCOL section 1.9).
fn signing(blob: &[u8], data: &[u8], flags: u32) -> Result<Signing, Malformed> {
    let not = |_| NOT_A_LOGIN;
    let key = Key::read(blob).ok_or(Malformed("a signature by a key of an unknown kind"))?;
    let mut rest = Fields(data);
    let session = rest.string().map_err(not)?;
    let number = rest.byte().map_err(not)?;
    let account = rest.string().map_err(not)?;
    let service = rest.string().map_err(not)?;
    let method = rest.string().map_err(not)?;
    let signs = rest.boolean().map_err(not)?;
    let (algorithm, inner) = (rest.string().map_err(not)?, rest.string().map_err(not)?);
    let login = number == USERAUTH_REQUEST && service == b"ssh-connection" && signs;
    if !SESSION_BYTES.contains(&session.len()) || !login {
        return Err(NOT_A_LOGIN);
    }
    let host = match method {
        b"publickey" => None,
        b"publickey-hostbound-v00@openssh.com" => {
            let key = Key::read(rest.string().map_err(not)?).ok_or(Malformed("a host key that is none"))?;
            Some(Host { key, session: session.to_vec() })
        }
        _ => return Err(NOT_A_LOGIN),
    };
    rest.end().map_err(not)?;
    if inner != blob {
        return Err(Malformed("a signature for a login with another key"));
    }
    if !flags_fit(&key, algorithm, flags) {
        return Err(Malformed("a signature by an algorithm that does not fit its key, or by SHA-1"));
    }
    let session = session.to_vec();
    Ok(Signing { blob: blob.to_vec(), key, account: printable(account), host, session })
}

const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// Whether the agent is asked for the algorithm that the login names (draft-miller-ssh-agent section 4.5.1). An RSA key
/// without a flag would sign with SHA-1.
fn flags_fit(key: &Key, algorithm: &[u8], flags: u32) -> bool {
    let certified = key.certificate.is_some();
    let with = |plain: &str, certificate: &str| algorithm == if certified { certificate } else { plain }.as_bytes();
    if key.plain.key_data().is_rsa() {
        return match flags {
            RSA_SHA2_256 => with("rsa-sha2-256", "rsa-sha2-256-cert-v01@openssh.com"),
            RSA_SHA2_512 => with("rsa-sha2-512", "rsa-sha2-512-cert-v01@openssh.com"),
            _ => false,
        };
    }
    let own = key.plain.algorithm();
    flags == 0 && with(own.as_str(), &own.to_certificate_type())
}

/// A key of the user's agent.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The key as the agent names it.
    pub blob: Vec<u8>,
    comment: Vec<u8>,
}

/// Reads the list of an agent's keys; `None` if it has none to tell of.
///
/// # Errors
/// `Malformed` if it is none.
pub fn identities(message: &[u8]) -> Result<Option<Vec<Identity>>, Malformed> {
    let mut rest = Fields(message.get(4..).ok_or(SHORT)?);
    match rest.byte()? {
        IDENTITIES_ANSWER => {}
        FAILURE => return rest.end().map(|()| None),
        _ => return Err(Malformed("no answer to what was asked")),
    }
    let count = rest.number()?;
    let mut identities = Vec::new();
    for _ in 0..count {
        identities.push(Identity { blob: rest.string()?.to_vec(), comment: rest.string()?.to_vec() });
    }
    rest.end()?;
    Ok(Some(identities))
}

/// The list of these keys, as an agent tells it.
pub fn list_of(identities: &[Identity]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(IDENTITIES_ANSWER);
    body.put_u32(u32::try_from(identities.len()).unwrap_or(0));
    for Identity { blob, comment } in identities {
        put_string(&mut body, blob);
        put_string(&mut body, comment);
    }
    framed(&body)
}

/// Whether an agent has signed.
///
/// # Errors
/// `Malformed` if it is no answer.
pub fn has_signed(message: &[u8]) -> Result<bool, Malformed> {
    let mut rest = Fields(message.get(4..).ok_or(SHORT)?);
    let signed = match rest.byte()? {
        SIGN_RESPONSE => !rest.string()?.is_empty(),
        FAILURE => false,
        _ => return Err(Malformed("no answer to what was asked")),
    };
    rest.end().map(|()| signed)
}

/// Whether an agent has been bound.
///
/// # Errors
/// `Malformed` if it is no answer.
pub fn is_bound(message: &[u8]) -> Result<bool, Malformed> {
    let mut rest = Fields(message.get(4..).ok_or(SHORT)?);
    let bound = match rest.byte()? {
        SUCCESS => true,
        FAILURE | EXTENSION_FAILURE => false,
        _ => return Err(Malformed("no answer to what was asked")),
    };
    rest.end().map(|()| bound)
}

/// The answer to what is not let through.
pub fn failure() -> Bytes {
    framed(&[FAILURE])
}

/// Tells an agent that it is asked on from the other end of a connection, so that it can keep to what its user allowed for
/// a key (`ssh-add -h`).
pub fn forwarded(host_key: &[u8], session: &[u8], signature: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(EXTENSION);
    for field in [SESSION_BIND, host_key, session, signature] {
        put_string(&mut body, field);
    }
    body.put_u8(1);
    framed(&body)
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(0));
    out.put_slice(text);
}

fn framed(body: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(body.len().saturating_add(4));
    put_string(&mut message, body);
    message.freeze()
}

/// What a peer sent, with what moves no cursor only, cut.
fn printable(text: &[u8]) -> String {
    text.iter().take(64).map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

/// What is left of a message (RFC 4251 section 5).
struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        let bytes = self.0.first_chunk::<4>().ok_or(SHORT)?;
        let number = u32::from_be_bytes(*bytes);
        self.0.advance(4);
        Ok(number)
    }

    fn string(&mut self) -> Result<&'m [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(text)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(LONG) }
    }
}
