//! What is tried at the door: what was refused, for the record, and the questions to whoever comes with a password.

use russh::server::{Auth, Response};

use crate::authn::{AuthnError, Typed};
use crate::secret::Secret;

/// What a connection has tried to log in with.
#[derive(Default)]
pub(super) struct Attempts {
    count: u32,
    login: String,
    /// The last key that nobody has: clients try all that they have.
    unknown: Option<AuthnError>,
    /// What else was refused, and why.
    refused: Vec<AuthnError>,
}

impl Attempts {
    /// One more that was not accepted.
    pub(super) fn failed(&mut self, login: &str, error: AuthnError) {
        self.count = self.count.saturating_add(1);
        self.login = login.chars().take(LOGIN_CHARS_MAX).collect();
        if matches!(error, AuthnError::UnknownKey { .. }) {
            self.unknown = Some(error);
        } else if !self.refused.contains(&error) && self.refused.len() < REFUSED_MAX {
            self.refused.push(error);
        }
    }

    /// The login name as it came last, and why nothing of it was accepted; once.
    pub(super) fn take(&mut self) -> Option<(String, String)> {
        let Self { count, login, unknown, refused } = std::mem::take(self);
        let why: Vec<String> = refused.iter().chain(&unknown).map(ToString::to_string).collect();
        (!why.is_empty()).then(|| (login, format!("{count} tried: {}", why.join("; "))))
    }
}

/// So many reasons of one connection are kept.
const REFUSED_MAX: usize = 3;
/// So much of a login name that was not accepted is kept.
const LOGIN_CHARS_MAX: usize = 256;

/// What is asked of whoever wants to log in by a password: both, without echo (RFC 4256 section 3.2).
pub(super) fn questions() -> Auth {
    let prompts = [("Password: ".into(), false), ("One-time code: ".into(), false)];
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.to_vec().into() }
}

/// The answers, if there are as many as questions.
pub(super) fn answers(response: Response<'_>) -> Option<Typed> {
    // One more is looked at, so that too many are found without reading them all.
    let mut texts = response.take(3).map(|bytes| Some(Secret::new(std::str::from_utf8(&bytes).ok()?.to_owned())));
    match (texts.next(), texts.next(), texts.next()) {
        (Some(Some(password)), Some(Some(code)), None) => Some(Typed { password, code }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_told_and_keys_that_nobody_has_once() {
        let unknown = |number: u32| AuthnError::UnknownKey { fingerprint: format!("SHA256:{number}") };
        let wrong = AuthnError::Password { user: None, why: "wrong".to_owned() };
        let mut attempts = Attempts::default();
        for error in [unknown(1), wrong.clone(), unknown(2), wrong] {
            attempts.failed("alice", error);
        }
        let (login, why) = attempts.take().unwrap();
        assert_eq!(
            (login.as_str(), why.as_str()),
            ("alice", "4 tried: nobody by password: wrong; no user has key SHA256:2")
        );
        assert_eq!(attempts.take(), None);
    }

    #[test]
    fn a_stranger_cannot_make_the_reasons_long() {
        let mut attempts = Attempts::default();
        for number in 0..1000 {
            attempts.failed(&"x".repeat(1000), AuthnError::Password { user: None, why: format!("{number}") });
        }
        let (login, why) = attempts.take().unwrap();
        assert!(login.len() == LOGIN_CHARS_MAX && why.len() < 200, "{why}");
    }
}
