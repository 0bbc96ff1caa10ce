//! Numbers and strings as rsync writes them (io.c: `read_int()` to `read_ndx()`).

use std::borrow::Cow;

/// Why the list cannot be read from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost(pub Cow<'static, str>);

/// Why nothing more is read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not all of it has come.
    More,
    /// What came is not understood.
    Lost(Lost),
}

/// Something is not as rsync sends it.
pub(super) const fn lost(why: &'static str) -> Stop {
    Stop::Lost(Lost(Cow::Borrowed(why)))
}

/// Bytes that are read from their beginning. Whoever finds too few of them starts anew when more have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Stop::More)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Stop> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Stop::More)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn int(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_le_bytes)
    }

    /// `read_varint()`: the ones at the top of the first byte count the bytes behind it.
    pub(super) fn varint(&mut self) -> Result<i32, Stop> {
        let (mut low, mut value) = (0_u32, [0; 5]);
        let [first] = self.array()?;
        let more = bytes_behind(first);
        if more >= value.len() {
            return Err(lost("a number that is too long"));
        }
        for (byte, place) in self.take(more)?.iter().copied().chain([top(first, more)]).zip(&mut value) {
            *place = byte;
        }
        for byte in value.iter().take(4).rev() {
            low = (low << 8) | u32::from(*byte);
        }
        Ok(i32::from_le_bytes(low.to_le_bytes()))
    }

    /// `read_varlong()`: the same, of which at least `bytes_min` bytes are there.
    pub(super) fn varlong(&mut self, bytes_min: usize) -> Result<i64, Stop> {
        let (first, least) = self.take(bytes_min)?.split_first().ok_or(Stop::More)?;
        let more = bytes_behind(*first);
        if bytes_min.saturating_add(more) > 9 {
            return Err(lost("a number that is too long"));
        }
        let behind = self.take(more)?;
        let mut value = [0; 9];
        for (byte, place) in least.iter().chain(behind).copied().chain([top(*first, more)]).zip(&mut value) {
            *place = byte;
        }
        let [a, b, c, d, e, f, g, h, _] = value;
        Ok(i64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// `read_vstring()`, of fewer than `bytes_end` bytes.
    pub(super) fn vstring(&mut self, bytes_end: usize) -> Result<&'b [u8], Stop> {
        let first = usize::from(self.byte()?);
        let count = if first & 0x80 == 0 { first } else { ((first & 0x7f) << 8) | usize::from(self.byte()?) };
        if count >= bytes_end {
            return Err(lost("a string that is too long"));
        }
        self.take(count)
    }
}

/// `int_byte_extra` of io.c.
fn bytes_behind(first: u8) -> usize {
    match first {
        0x00..=0x7f => 0,
        0x80..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfb => 5,
        0xfc..=0xff => 6,
    }
}

/// What the first byte has of the number's highest bits.
fn top(first: u8, more: usize) -> u8 {
    if more == 0 { first } else { first & (0xff_u8 >> more) }
}

/// Reads indexes of files, each as its distance from the one before (`read_ndx()`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexes {
    positive: i32,
    negative: i32,
}

impl Indexes {
    pub(super) fn new() -> Self {
        Self { positive: -1, negative: 1 }
    }

    /// -1 is the end of something.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<i32, Stop> {
        let mut first = cursor.byte()?;
        if first == 0 {
            return Ok(-1);
        }
        let negative = first == 0xff;
        if negative {
            first = cursor.byte()?;
        }
        let before = if negative { self.negative } else { self.positive };
        let index = if first == 0xfe {
            let [high, low] = cursor.array()?;
            if high & 0x80 == 0 {
                before.wrapping_add(i32::from(high) << 8).wrapping_add(i32::from(low))
            } else {
                let [second, third] = cursor.array()?;
                i32::from_le_bytes([low, second, third, high & 0x7f])
            }
        } else {
            before.wrapping_add(first.into())
        };
        if index < 0 {
            return Err(lost("an index that is too large"));
        }
        if negative {
            self.negative = index;
            Ok(index.wrapping_neg())
        } else {
            self.positive = index;
            Ok(index)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `write_varint()`.
    fn varint(number: i32) -> Vec<u8> {
        varlong(u32::from_le_bytes(number.to_le_bytes()).into(), 1, 4)
    }

    /// `write_varlong()`, of a number of at most `bytes_max` bytes.
    fn varlong(number: u64, bytes_min: usize, bytes_max: usize) -> Vec<u8> {
        let bytes = number.to_le_bytes();
        let mut count = bytes_max;
        while count > bytes_min && bytes[count - 1] == 0 {
            count -= 1;
        }
        let bit = 1_u8 << (7 - (count - bytes_min));
        let last = bytes[count - 1];
        let (first, behind) = if last >= bit {
            (!(bit - 1), count)
        } else if count > bytes_min {
            (last | !(bit * 2 - 1), count - 1)
        } else {
            (last, count - 1)
        };
        [&[first], &bytes[..behind]].concat()
    }

    proptest! {
        #[test]
        fn numbers_read_back(small in any::<i32>(), large in any::<i64>(), bytes_min in 3_usize..5) {
            let large = large >> (large & 63);
            prop_assert_eq!(Cursor::new(&varint(small)).varint(), Ok(small));
            let written = varlong(u64::from_le_bytes(large.to_le_bytes()), bytes_min, 8);
            let mut cursor = Cursor::new(&written);
            prop_assert_eq!(cursor.varlong(bytes_min), Ok(large));
            prop_assert!(cursor.rest().is_empty());
        }
    }

    #[test]
    fn indexes_are_distances() {
        // As `write_ndx()` has 0, 1, 300, -101, -102, 299, 70000, -1.
        let written = [
            &[1, 1][..],
            &[0xfe, 1, 43],
            &[0xff, 100, 0xff, 1],
            &[0xfe, 0x80, 43, 1, 0],
            &[0xfe, 0x80, 0x70, 0x11, 1],
            &[0],
        ];
        let written = written.concat();
        let (mut cursor, mut indexes) = (Cursor::new(&written), Indexes::new());
        let read: Vec<i32> = (0..8).map(|_| indexes.read(&mut cursor).unwrap()).collect();
        assert_eq!(read, [0, 1, 300, -101, -102, 299, 70000, -1]);
    }
}
