//! What a client says of the display that it lends (RFC 4254 section 6.3.1).

use crate::secret::Secret;

/// A display that a user lends, as their client names it.
#[derive(Debug)]
pub struct Display {
    /// Whether one connection to it is all that is wanted.
    pub single: bool,
    /// How a program proves itself to it, such as `MIT-MAGIC-COOKIE-1`.
    pub protocol: String,
    /// By what: in hexadecimal, made up by the client for this. Whoever knows it can use the display while it is lent.
    pub cookie: Secret<String>,
    /// The number of its screen.
    pub screen: u32,
}

/// The longest name of a protocol, and the longest cookie: what X clients have is far shorter.
const PROTOCOL_BYTES_MAX: usize = 64;
const COOKIE_BYTES_MAX: usize = 512;

impl Display {
    /// What a client sent; `None` if a target could take it for something else than a name and a cookie: `xauth` reads
    /// both there, line by line.
    pub fn new(single: bool, protocol: &str, cookie: &str, screen: u32) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = (1..=PROTOCOL_BYTES_MAX).contains(&protocol.len()) && protocol.chars().all(plain);
        let proven = (1..=COOKIE_BYTES_MAX).contains(&cookie.len()) && cookie.chars().all(|c| c.is_ascii_hexdigit());
        let (protocol, cookie) = (protocol.to_owned(), Secret::new(cookie.to_owned()));
        (named && !protocol.starts_with('-') && proven).then_some(Self { single, protocol, cookie, screen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_is_a_name_and_a_cookie_and_nothing_that_a_target_could_run() {
        let display = Display::new(true, "MIT-MAGIC-COOKIE-1", "00ffAB", 0).unwrap();
        assert!(!format!("{display:?}").contains("00ffAB"));
        for (protocol, cookie) in [
            ("", "00"),
            ("MIT-MAGIC-COOKIE-1", ""),
            ("MIT MAGIC", "00"),
            ("MIT\nadd", "00"),
            ("-x", "00"),
            ("MIT-MAGIC-COOKIE-1", "00\n"),
            ("MIT-MAGIC-COOKIE-1", "0x"),
            ("MIT-MAGIC-COOKIE-1", &"0".repeat(513)),
        ] {
            assert!(Display::new(false, protocol, cookie, 0).is_none(), "{protocol:?} {cookie:?}");
        }
    }
}
