//! A numbered list, and lines with a number. Pure.

use super::super::verb::own::{NOWHERE, columns};
use crate::ledger::Offers;
use crate::model::{Destination, Timestamp};

/// A longer line has no number in it.
const LINE_BYTES_MAX: usize = 32;

/// What the list says before a line is read.
pub const PROMPT: &str = "number: ";

/// The list, with a number for each destination from 1.
pub fn numbered(offers: &Offers, now: Timestamp) -> String {
    if offers.list.is_empty() {
        return format!("{NOWHERE}\n");
    }
    let width = offers.list.len().to_string().len();
    let row = |(at, offer): (usize, &crate::ledger::Offer)| {
        let number = format!("{:>width$}", at.saturating_add(1));
        [number, offer.destination.to_string(), offer.state(now).into_owned(), offer.channels()]
    };
    let rows: Vec<[String; 4]> = offers.list.iter().enumerate().map(row).collect();
    let more = "(there are more than can be listed: ssh ACCOUNT@TARGET@BASTION goes there too)\n";
    columns(rows.iter()) + if offers.more { more } else { "" }
}

/// The destination of this number.
pub fn numbered_by(offers: &Offers, line: &str) -> Option<Destination> {
    let number: usize = line.trim().parse().ok()?;
    offers.list.get(number.checked_sub(1)?).map(|offer| offer.destination.clone())
}

/// Puts lines together from bytes.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    /// A longer one is none.
    bytes_max: usize,
    too_long: bool,
    /// The last byte was a carriage return: a line feed belongs to it.
    returned: bool,
}

/// What one byte brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing to see.
    Nothing,
    /// A character more.
    Char(char),
    /// A character less.
    Erased,
    /// A whole line; empty if it was too long, or no text.
    Line(String),
    /// Ctrl-C or Ctrl-D.
    Leave,
}

impl Default for Lines {
    fn default() -> Self {
        Self::of(LINE_BYTES_MAX)
    }
}

impl Lines {
    /// Of lines of so many bytes.
    pub fn of(bytes_max: usize) -> Self {
        Self { line: Vec::new(), bytes_max, too_long: false, returned: false }
    }

    /// Takes a byte; `keys` says whether it was typed at a terminal, where some are keys.
    pub fn byte(&mut self, byte: u8, keys: bool) -> Typed {
        let returned = std::mem::replace(&mut self.returned, byte == b'\r');
        match byte {
            b'\n' if returned => Typed::Nothing,
            b'\r' | b'\n' => {
                let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap_or_default();
                Typed::Line(if std::mem::take(&mut self.too_long) { String::new() } else { line })
            }
            0x03 | 0x04 if keys => Typed::Leave,
            0x08 | 0x7f if keys => self.line.pop().map_or(Typed::Nothing, |_| Typed::Erased),
            _ if self.line.len() >= self.bytes_max => {
                self.too_long = true;
                Typed::Nothing
            }
            _ => {
                self.line.push(byte);
                let shown = byte.is_ascii_graphic() || byte == b' ';
                if shown { Typed::Char(char::from(byte)) } else { Typed::Nothing }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::grant::Access;
    use crate::ledger::Offer;
    use crate::model::ChannelClass;

    fn offers() -> Offers {
        let offer = |number: usize| Offer {
            destination: Destination::parse(&format!("root@db{number}")).unwrap(),
            access: Access::Open,
            ready: true,
            open: BTreeSet::from([ChannelClass::Shell]),
            with_grant: BTreeSet::new(),
            may_ask: false,
            operators_may: true,
            with_key: BTreeSet::new(),
        };
        Offers { list: (1..=10).map(offer).collect(), more: false }
    }

    #[test]
    fn each_destination_has_the_number_that_leads_to_it() {
        let text = numbered(&offers(), Timestamp::from_millis(0));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[9]), (" 1  root@db1   open  shell", "10  root@db10  open  shell"));
        for (line, expected) in [("1", Some("root@db1")), (" 10 ", Some("root@db10")), ("+1", Some("root@db1"))] {
            let destination = numbered_by(&offers(), line).map(|destination| destination.to_string());
            assert_eq!(destination.as_deref(), expected);
        }
        for none in ["", "0", "11", "-1", "db1", "1 2", "99999999999999999999999", "1;id"] {
            assert_eq!(numbered_by(&offers(), none), None, "{none}");
        }
        assert_eq!(numbered(&Offers::default(), Timestamp::from_millis(0)), format!("{NOWHERE}\n"));
    }

    fn lines(bytes: &[u8], keys: bool) -> Vec<String> {
        let mut lines = Lines::default();
        let line = |typed| if let Typed::Line(line) = typed { Some(line) } else { None };
        bytes.iter().filter_map(|byte| line(lines.byte(*byte, keys))).collect()
    }

    #[test]
    fn lines_end_as_terminals_and_pipes_end_them_and_are_bounded() {
        assert_eq!(lines(b"1\n22\r\n3\r4\n\n", false), ["1", "22", "3", "4", ""]);
        assert_eq!(lines(b"12\x7f3\r", true), ["13"]);
        assert_eq!(lines(b"\xff\xc3\n1\n", false), ["", "1"]);
        let long = [vec![b'1'; 100_000], b"\n1\n".to_vec()].concat();
        assert_eq!(lines(&long, false), ["", "1"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..400), keys: bool) {
            let mut lines = Lines::default();
            for byte in bytes {
                if let Typed::Char(c) = lines.byte(byte, keys) {
                    prop_assert!(c.is_ascii() && !c.is_control());
                }
                prop_assert!(lines.line.len() <= LINE_BYTES_MAX);
            }
        }
    }
}
