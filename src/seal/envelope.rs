//! A session's secret, sealed for auditors: an age file.
//!
//! An envelope is the one thing of a recording that may be destroyed: without it nobody can read the segments, and
//! they still verify.

use std::fmt;
use std::io::{Read, Write};

use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::Dek;
use crate::auditor::{Identity, Recipient};

/// An envelope has at most so many bytes: each of the recipients needs about 100.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Most auditors of one session: their stanzas, of 98 bytes each, fit a header.
pub const RECIPIENTS_MAX: usize = 128;
/// The header of an age file has at most so many bytes: reading one takes time that grows faster than its length.
pub const AGE_HEADER_BYTES_MAX: usize = 16 * 1024;
/// What a header has beside the stanzas: its first and last line, and what age programs add so that others do not choke
/// on what they do not know.
const HEADER_BYTES_BESIDE: usize = 1024;
const STANZA_BYTES: usize = 98;

/// For whom a session is sealed: at least one auditor, each once, in the order of their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Those of `all`; `None` if there is none, or more than [`RECIPIENTS_MAX`].
    pub fn of(all: impl IntoIterator<Item = Recipient>) -> Option<Self> {
        let mut all: Vec<Recipient> = all.into_iter().collect();
        all.sort_by_cached_key(Recipient::to_string);
        all.dedup();
        (1..=RECIPIENTS_MAX).contains(&all.len()).then_some(Self(all))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.0.iter()
    }

    /// The first 8 bytes of the SHA-256 of their texts, one a line: what each segment's header says of them.
    pub fn digest(&self) -> [u8; 8] {
        let lines: String = self.0.iter().map(|recipient| format!("{recipient}\n")).collect();
        let whole = digest(&SHA256, lines.as_bytes());
        whole.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// Seals a session's secret for all of them.
    ///
    /// # Errors
    /// `Seal`.
    pub fn wrap(&self, dek: &Dek) -> Result<Vec<u8>, EnvelopeError> {
        let failed = |why: String| EnvelopeError::Seal { why };
        let keys = self.0.iter().map(|recipient| -> &dyn age::Recipient { recipient.key() });
        let encryptor = age::Encryptor::with_recipients(keys).map_err(|error| failed(error.to_string()))?;
        let mut envelope = Vec::new();
        let mut writer = encryptor.wrap_output(&mut envelope).map_err(|error| failed(error.to_string()))?;
        writer
            .write_all(dek.expose())
            .and_then(|()| writer.finish().map(|_| ()))
            .map_err(|error| failed(error.to_string()))?;
        Ok(envelope)
    }
}

impl Dek {
    /// Opens an envelope with the first of `identities` that it was sealed for.
    ///
    /// # Errors
    /// `NotForYou`, `Malformed`.
    pub fn from_envelope(envelope: &[u8], identities: &[Identity]) -> Result<Self, EnvelopeError> {
        let malformed = |why: &str| EnvelopeError::Malformed { why: why.to_owned() };
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        if !age_header_ends(envelope) {
            return Err(malformed("its header is too long, or does not end"));
        }
        let decryptor = age::Decryptor::new(envelope).map_err(|error| malformed(&error.to_string()))?;
        let keys = identities.iter().map(|identity| -> &dyn age::Identity { identity.key() });
        let mut reader = match decryptor.decrypt(keys) {
            Ok(reader) => reader.take(33),
            Err(age::DecryptError::NoMatchingKeys) => return Err(EnvelopeError::NotForYou),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        let mut secret = Zeroizing::new(Vec::with_capacity(64));
        reader.read_to_end(&mut secret).map_err(|error| malformed(&error.to_string()))?;
        let secret: &[u8; 32] =
            secret.as_slice().try_into().map_err(|_| malformed("it does not hold a session's secret"))?;
        Ok(Self::from_bytes(secret))
    }
}

/// Whether the header of an age file, of which this is the beginning, ends within [`AGE_HEADER_BYTES_MAX`].
///
/// Source: <https://c2sp.org/age>, "Header": its last line begins with `---`.
pub fn age_header_ends(beginning: &[u8]) -> bool {
    let within = beginning.get(..AGE_HEADER_BYTES_MAX).unwrap_or(beginning);
    within.windows(5).any(|window| window == b"\n--- ")
}

/// What follows the header of an envelope: a nonce, the secret, a tag.
const PAYLOAD_BYTES: usize = 16 + 32 + 16;

/// Checks what can be checked of an envelope without a key: that it has the form of an age file that holds a session's
/// secret for so many recipients. Whom it is for, and what it holds, shows only to them.
///
/// # Errors
/// `Malformed`.
///
/// Source: <https://c2sp.org/age>, "Header", "X25519 recipient stanza" and "Payload".
pub fn check_form(envelope: &[u8], recipients: usize) -> Result<(), EnvelopeError> {
    let malformed = |why: String| Err(EnvelopeError::Malformed { why });
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return malformed(String::from("it is too long"));
    }
    let Some((header, payload)) = envelope.split_at_checked(envelope.len().saturating_sub(PAYLOAD_BYTES)) else {
        return malformed(String::from("it is too short"));
    };
    debug_assert!(payload.len() <= PAYLOAD_BYTES);
    let most = recipients.saturating_mul(STANZA_BYTES).saturating_add(HEADER_BYTES_BESIDE);
    if header.len() > most.min(AGE_HEADER_BYTES_MAX) {
        return malformed(format!("its header is longer than {recipients} recipients need"));
    }
    let Some(text) = std::str::from_utf8(header).ok().and_then(|text| text.strip_suffix('\n')) else {
        return malformed(String::from("it does not hold a session's secret"));
    };
    let mut lines = text.split('\n');
    if lines.next() != Some("age-encryption.org/v1") {
        return malformed(String::from("it is no age file"));
    }
    let (mut found, mut ended) = (0_usize, false);
    for line in lines {
        if ended {
            return malformed(String::from("it does not hold a session's secret"));
        }
        match line.strip_prefix("-> ") {
            Some(stanza) if stanza.starts_with("X25519 ") => found = found.saturating_add(1),
            // What age programs add so that others do not choke on what they do not know.
            Some(stanza) if stanza.split(' ').next().is_some_and(|kind| kind.ends_with("-grease")) => {}
            Some(_) => return malformed(String::from("it is sealed for a recipient of another kind")),
            None => ended = line.starts_with("--- "),
        }
    }
    if !ended {
        return malformed(String::from("its header does not end"));
    }
    if found != recipients {
        return malformed(format!("it is sealed for {found} recipients, and {recipients} are named"));
    }
    Ok(())
}

/// Why an envelope cannot be made or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The age library failed.
    Seal {
        /// What it says.
        why: String,
    },
    /// It was sealed for others.
    NotForYou,
    /// It is not what was written.
    Malformed {
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal { why } => write!(f, "the session's key cannot be sealed for its auditors: {why}"),
            Self::NotForYou => f.write_str("the recording is sealed for other auditors"),
            Self::Malformed { why } => write!(f, "the envelope is damaged: {why}"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_its_auditors_can_open_an_envelope_and_nobody_else() {
        let auditors: Vec<Identity> = (0..3).map(|_| Identity::generate()).collect();
        let recipients = Recipients::of(auditors.iter().map(Identity::recipient)).unwrap();
        let dek = Dek::random().unwrap();
        let envelope = recipients.wrap(&dek).unwrap();
        for auditor in &auditors {
            let opened = Dek::from_envelope(&envelope, &[Identity::generate(), auditor.clone()]).unwrap();
            assert_eq!(opened.expose(), dek.expose());
        }
        let other = Dek::from_envelope(&envelope, &[Identity::generate()]);
        assert_eq!(other.unwrap_err(), EnvelopeError::NotForYou);
    }

    #[test]
    fn an_envelope_with_any_byte_changed_does_not_open() {
        let auditor = Identity::generate();
        let recipients = Recipients::of([auditor.recipient()]).unwrap();
        let envelope = recipients.wrap(&Dek::random().unwrap()).unwrap();
        for at in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[at] ^= 1;
            assert!(Dek::from_envelope(&changed, std::slice::from_ref(&auditor)).is_err(), "byte {at}");
            assert!(Dek::from_envelope(&envelope[..at], std::slice::from_ref(&auditor)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn without_a_key_an_envelope_is_told_from_what_is_none() {
        let auditors: Vec<Identity> = (0..3).map(|_| Identity::generate()).collect();
        for count in 1..=3 {
            let recipients = Recipients::of(auditors.iter().take(count).map(Identity::recipient)).unwrap();
            let envelope = recipients.wrap(&Dek::random().unwrap()).unwrap();
            assert_eq!(check_form(&envelope, count), Ok(()));
            for wrong in [0, count + 1] {
                assert!(check_form(&envelope, wrong).is_err(), "{wrong} in the place of {count}");
            }
            for len in 0..envelope.len() {
                assert!(check_form(&envelope[..len], count).is_err(), "cut at {len}");
            }
            assert!(check_form(&[&envelope[..], b"x"].concat(), count).is_err());
        }
        // What holds more than a secret.
        let keys = auditors.iter().map(|one| -> &dyn age::Recipient { Box::leak(Box::new(one.recipient())).key() });
        let encryptor = age::Encryptor::with_recipients(keys.take(1)).unwrap();
        let mut longer = Vec::new();
        let mut writer = encryptor.wrap_output(&mut longer).unwrap();
        writer.write_all(&[7; 33]).unwrap();
        writer.finish().unwrap();
        assert!(check_form(&longer, 1).is_err());
        for garbage in [&b""[..], b"age-encryption.org/v1\n", &[0; 300], &[b'\n'; 300]] {
            assert!(check_form(garbage, 0).is_err() && check_form(garbage, 1).is_err());
        }
    }

    #[test]
    fn as_many_auditors_as_there_may_be_have_room_and_more_than_they_need_is_refused_before_it_is_read() {
        let auditors: Vec<Identity> = (0..RECIPIENTS_MAX).map(|_| Identity::generate()).collect();
        let recipients = Recipients::of(auditors.iter().map(Identity::recipient)).unwrap();
        let dek = Dek::random().unwrap();
        let envelope = recipients.wrap(&dek).unwrap();
        assert_eq!(check_form(&envelope, RECIPIENTS_MAX), Ok(()));
        assert_eq!(Dek::from_envelope(&envelope, &auditors[..1]).unwrap().expose(), dek.expose());
        let one = Recipients::of([auditors[0].recipient()]).unwrap().wrap(&dek).unwrap();
        let line = one.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let grease = |count: usize| {
            let stanza = format!("-> x-grease\n{}\n", "A".repeat(8));
            [&one[..line], stanza.repeat(count).as_bytes(), &one[line..]].concat()
        };
        assert_eq!(check_form(&grease(1), 1), Ok(()));
        assert!(check_form(&grease(60), 1).is_err());
        // Not by what age says of it, which would take its time.
        let long = grease(AGE_HEADER_BYTES_MAX / 20);
        assert!(long.len() < ENVELOPE_BYTES_MAX && !age_header_ends(&long));
        let told = Dek::from_envelope(&long, &auditors[..1]).unwrap_err().to_string();
        assert!(told.contains("too long"), "{told}");
    }

    #[test]
    fn the_digest_depends_on_who_they_are_and_not_on_their_order() {
        let [one, two] = [Identity::generate().recipient(), Identity::generate().recipient()];
        let both = Recipients::of([one.clone(), two.clone()]).unwrap();
        assert_eq!(both.digest(), Recipients::of([two.clone(), one.clone(), two]).unwrap().digest());
        assert_ne!(both.digest(), Recipients::of([one]).unwrap().digest());
        assert_eq!(Recipients::of([]), None);
    }
}
