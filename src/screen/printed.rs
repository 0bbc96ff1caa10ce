//! What output prints, apart from the sequences that say how.

use std::ops::Range;

use avt::Parser;
use avt::parser::Function;

use super::chars::REPLACEMENT;

/// The text that output prints, and where in the output each part of it stands.
#[derive(Debug, Default)]
pub struct Printed {
    /// The characters, with the ends of lines between them. What is not UTF-8 is U+FFFD.
    pub text: String,
    runs: Vec<Run>,
}

/// A part of the text that stands together in the output.
#[derive(Debug)]
struct Run {
    /// Where it begins in the text.
    text: usize,
    /// Where it is in the output.
    output: Range<usize>,
}

impl Printed {
    /// Reads all of a stream's output: what moves the cursor, colours or names a window is left out.
    pub fn of(output: &[u8]) -> Self {
        let mut parser = Parser::new();
        Self::by(output, |c| match parser.feed(c) {
            Some(Function::Print(c)) => Some(c),
            Some(Function::Ht) => Some('\t'),
            Some(Function::Lf | Function::Nel) => Some('\n'),
            Some(_) | None => None,
        })
    }

    /// Reads all of it as it is.
    pub fn whole(output: &[u8]) -> Self {
        Self::by(output, Some)
    }

    fn by(output: &[u8], mut printed_as: impl FnMut(char) -> Option<char>) -> Self {
        let (mut printed, mut at) = (Self::default(), 0_usize);
        for chunk in output.utf8_chunks() {
            for c in chunk.valid().chars() {
                if let Some(shown) = printed_as(c) {
                    printed.push(shown, at, c.len_utf8());
                }
                at = at.saturating_add(c.len_utf8());
            }
            if !chunk.invalid().is_empty() {
                printed.push(REPLACEMENT, at, chunk.invalid().len());
                at = at.saturating_add(chunk.invalid().len());
            }
        }
        printed
    }

    fn push(&mut self, c: char, at: usize, length: usize) {
        let (text, end) = (self.text.len(), at.saturating_add(length));
        self.text.push(c);
        match self.runs.last_mut() {
            // One byte of the text is one of the output in a run, but for what is not UTF-8, which is a run of its own.
            Some(run)
                if run.output.end == at
                    && c.len_utf8() == length
                    && text.checked_sub(run.text) == Some(run.output.len()) =>
            {
                run.output.end = end;
            }
            Some(_) | None => self.runs.push(Run { text, output: at..end }),
        }
    }

    /// Where in the output a part of the text stands: more than one place, if something is between.
    pub fn places(&self, part: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.runs.partition_point(|run| run.text <= part.start).saturating_sub(1);
        let mut places = Vec::new();
        for (index, run) in self.runs.iter().enumerate().skip(first) {
            if run.text >= part.end {
                break;
            }
            let next = index.checked_add(1).and_then(|next| self.runs.get(next));
            let length = next.map_or(self.text.len(), |next| next.text).saturating_sub(run.text);
            let (from, to) = (part.start.saturating_sub(run.text), part.end.saturating_sub(run.text).min(length));
            if from >= to {
                continue;
            }
            places.push(match length == run.output.len() {
                true => run.output.start.saturating_add(from)..run.output.start.saturating_add(to),
                false => run.output.clone(),
            });
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_found_in_the_output_with_the_sequences_left_out() {
        let output = b"\x1b]0;title\x07pass\x1b[1mword\x1b[0m: caf\xc3\xa9\xff\xfe!\r\nnext\tline";
        let printed = Printed::of(output);
        assert_eq!(printed.text, "password: caf\u{e9}\u{fffd}\u{fffd}!\nnext\tline");
        for word in ["pass", "password", "caf\u{e9}", "\u{fffd}!", "next\tline", "!\nnext", "d"] {
            let at = printed.text.find(word).unwrap();
            let found: Vec<u8> =
                printed.places(&(at..at + word.len())).into_iter().flat_map(|place| output[place].to_vec()).collect();
            assert_eq!(String::from_utf8_lossy(&found).replace('\r', ""), word, "{word:?}");
        }
        assert_eq!(printed.places(&(0..8)).len(), 2, "the bold is between");
        let whole = Printed::whole(output);
        assert_eq!(whole.text, String::from_utf8_lossy(output));
        let at = whole.text.find("next").unwrap();
        assert_eq!(output[whole.places(&(at..at + 4)).pop().unwrap()], *b"next");
        assert!(Printed::of(b"").places(&(0..0)).is_empty());
    }
}
