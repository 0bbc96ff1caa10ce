//! Secrets that the bastion itself knows do not stay in a recording, should the target print one or a user type it.
//!
//! Known are the password that logs the session in, and the lines of the file of its private key that hold a part of
//! the secret. What is recorded is searched entry by entry, channels' headers and markers too, for a command line and
//! what was refused carry a user's words. It is searched in the record alone: the user's own stream is neither
//! changed nor held back, for a delay would tell that a secret began there. So a secret that comes in two pieces is not
//! found, nor one in another form, such as base64 of a password. Sessions do not know each other's secrets.

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use memchr::memmem;

use super::ChannelFacts;
use crate::cast::Entry;
use crate::model::Exit;
use crate::secret::Secret;

/// A shorter secret would be found where there is none.
const SECRET_BYTES_MIN: usize = 8;

/// What must not stay in a recording.
#[derive(Debug, Default)]
pub(super) struct Scrubber(RwLock<Vec<Known>>);

#[derive(Debug)]
struct Known {
    secret: Secret<String>,
    /// What stands in its place.
    name: String,
}

impl Scrubber {
    /// From now on `[vault:NAME]` stands in the place of `secret`, unless it is shorter than 8 bytes.
    pub(super) fn add(&self, secret: Secret<String>, name: &str) {
        if secret.expose().len() >= SECRET_BYTES_MIN {
            let known = Known { secret, name: format!("[vault:{name}]") };
            self.0.write().unwrap_or_else(PoisonError::into_inner).push(known);
        }
    }

    /// The entry without what must not stay in it, and how many times something was replaced.
    pub(super) fn scrubbed(&self, entry: Entry) -> (Entry, u64) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Entry::Output { output, bytes } => {
                let (bytes, count) = replaced(bytes, &all);
                (Entry::Output { output, bytes }, count)
            }
            Entry::Input(bytes) => {
                let (bytes, count) = replaced(bytes, &all);
                (Entry::Input(bytes), count)
            }
            Entry::Marker(mut text) => {
                let count = scrub_text(&mut text, &all);
                (Entry::Marker(text), count)
            }
            Entry::Exit(Exit::Signal { mut name, core_dumped, mut message }) => {
                let count = scrub_text(&mut name, &all).saturating_add(scrub_text(&mut message, &all));
                (Entry::Exit(Exit::Signal { name, core_dumped, message }), count)
            }
            // A desktop shows a secret as a picture, if at all: what is in its messages is left as it is.
            other @ (Entry::Redacted
            | Entry::Resize { .. }
            | Entry::Digest(_)
            | Entry::Exit(Exit::Status(_))
            | Entry::Record { .. }) => (other, 0),
        }
    }

    /// A text without what must not stay in it.
    pub(super) fn without(&self, text: &str) -> String {
        let mut text = text.to_owned();
        scrub_text(&mut text, &self.0.read().unwrap_or_else(PoisonError::into_inner));
        text
    }

    /// Takes what must not stay out of what a channel's header will say; tells how many times something was replaced.
    pub(super) fn scrub_channel(&self, facts: &mut ChannelFacts) -> u64 {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0_u64;
        if let Some(command) = &mut facts.command {
            let (without, found) = replaced(Bytes::copy_from_slice(command), &all);
            if found > 0 {
                *command = without.to_vec();
            }
            count = count.saturating_add(found);
        }
        let variables = facts.environment.iter_mut().flat_map(|(name, value)| [name, value]);
        let others = facts.terminal.as_mut().map(|terminal| &mut terminal.term).into_iter().chain(&mut facts.forward);
        for text in variables.chain(others) {
            count = count.saturating_add(scrub_text(text, &all));
        }
        count
    }
}

fn scrub_text(text: &mut String, all: &[Known]) -> u64 {
    let (without, count) = replaced(Bytes::copy_from_slice(text.as_bytes()), all);
    if count > 0 {
        *text = String::from_utf8_lossy(&without).into_owned();
    }
    count
}

fn replaced(mut bytes: Bytes, all: &[Known]) -> (Bytes, u64) {
    let mut count = 0_u64;
    for Known { secret, name } in all {
        let secret = secret.expose().as_bytes();
        // A key has up to some fifty lines; what is typed and echoed is shorter than any of them.
        if bytes.len() < secret.len() {
            continue;
        }
        let found: Vec<usize> = memmem::find_iter(&bytes, secret).collect();
        if found.is_empty() {
            continue;
        }
        count = count.saturating_add(found.len().try_into().unwrap_or(u64::MAX));
        let mut without = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for at in found {
            without.extend_from_slice(bytes.get(rest..at).unwrap_or_default());
            without.extend_from_slice(name.as_bytes());
            rest = at.saturating_add(secret.len());
        }
        without.extend_from_slice(bytes.get(rest..).unwrap_or_default());
        bytes = Bytes::from(without);
    }
    (bytes, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelClass, ChannelNumber, Output};

    fn scrubbed(secrets: &[&str], text: &str) -> String {
        let scrubber = Scrubber::default();
        for secret in secrets {
            scrubber.add(Secret::new((*secret).to_owned()), "root@db1");
        }
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let (Entry::Output { bytes, .. }, _) = scrubber.scrubbed(Entry::Output { output: Output::Stdout, bytes })
        else {
            panic!("another entry")
        };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_known_secret_is_replaced_wherever_it_stands() {
        let text = "s3cret-word\nx s3cret-words3cret-word s3cret";
        assert_eq!(scrubbed(&["s3cret-word"], text), "[vault:root@db1]\nx [vault:root@db1][vault:root@db1] s3cret");
        assert_eq!(scrubbed(&["another-one", "s3cret-word"], "s3cret-word"), "[vault:root@db1]");
    }

    #[test]
    fn a_secret_is_replaced_in_a_channels_header_and_in_markers_too() {
        let scrubber = Scrubber::default();
        scrubber.add(Secret::new(String::from("s3cret-word")), "root@db1");
        let mut facts = ChannelFacts {
            number: ChannelNumber(1),
            class: ChannelClass::Exec,
            terminal: None,
            command: Some(b"echo s3cret-word \xff s3cret-word".to_vec()),
            forward: Some(String::from("s3cret-word:22")),
            environment: vec![(String::from("LC_A"), String::from("s3cret-word"))],
            pixels: None,
        };
        assert_eq!(scrubber.scrub_channel(&mut facts), 4);
        assert_eq!(facts.forward.as_deref(), Some("[vault:root@db1]:22"));
        assert_eq!(facts.command.unwrap(), b"echo [vault:root@db1] \xff [vault:root@db1]");
        assert_eq!(facts.environment, [(String::from("LC_A"), String::from("[vault:root@db1]"))]);
        let (marker, count) = scrubber.scrubbed(Entry::Marker(String::from("refused: a forward to s3cret-word:1")));
        assert_eq!((marker, count), (Entry::Marker(String::from("refused: a forward to [vault:root@db1]:1")), 1));
        let message = String::from("s3cret-word");
        let exit = Exit::Signal { name: String::from("HUP"), core_dumped: false, message };
        let (Entry::Exit(Exit::Signal { message, .. }), 1) = scrubber.scrubbed(Entry::Exit(exit)) else { panic!() };
        assert_eq!(message, "[vault:root@db1]");
    }

    #[test]
    fn a_short_secret_is_left_alone() {
        assert_eq!(scrubbed(&["secret7"], "secret7"), "secret7");
        assert_eq!(scrubbed(&[], "nothing known"), "nothing known");
    }
}
