//! Asks a ticket system whether a ticket counts. No answer, or any but a 2xx, is a no.

use std::time::Duration;

use super::{host_of, told};
use crate::clock::Clock;
use crate::grant::TicketSaid;
use crate::http;
use crate::model::{Destination, UserName};
use crate::requests::TicketCheck;

/// Whoever asks for a grant waits for it.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Asks by GET `url`, in which `{ticket}`, `{user}`, `{target}` and `{account}` stand for what is asked about.
pub fn ticket_check(url: String) -> TicketCheck {
    let agent = http::agent(CALL_MAX);
    Box::new(move |ticket, user, destination| {
        let asked = filled(&url, ticket, user, destination);
        let status = agent.get(&asked).call().map_err(|error| told(&error))?.status();
        let said =
            || TicketSaid { host: host_of(&asked).to_owned(), status: status.as_u16(), at: Clock::system().now() };
        if status.is_success() { Ok(said()) } else { Err(format!("the ticket system answers {}", status.as_u16())) }
    })
}

fn filled(url: &str, ticket: &str, user: &UserName, destination: &Destination) -> String {
    let Destination { account, target } = destination;
    [("{ticket}", ticket), ("{user}", user.as_str()), ("{target}", target.as_str()), ("{account}", account.as_str())]
        .into_iter()
        .fold(url.to_owned(), |url, (name, value)| url.replace(name, &escaped(value)))
}

/// Only unreserved characters stay (RFC 3986 section 2.3): a ticket adds nothing to the URL but itself. Braces go too, so that
/// one value does not bring in another.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_adds_nothing_to_the_url_but_itself() {
        let (user, place) = (UserName::parse("alice").unwrap(), Destination::parse("root@db1").unwrap());
        let url = |ticket| filled("https://t.example/api/{ticket}?by={user}&at={target}", ticket, &user, &place);
        assert_eq!(url("CHG-1"), "https://t.example/api/CHG-1?by=alice&at=db1");
        assert_eq!(
            url("../x?by=bob#{user}"),
            "https://t.example/api/%2E%2E%2Fx%3Fby%3Dbob%23%7Buser%7D?by=alice&at=db1"
        );
    }
}
