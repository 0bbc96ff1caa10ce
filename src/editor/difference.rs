//! What differs between two texts, line by line, as people read it.

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices, group_diff_ops};

use super::cells::safe;

/// So many lines that are the same stand around each change.
const CONTEXT: usize = 3;
/// Beyond so many lines between the first that differs and the last, all of them are shown as replaced: finding the
/// shortest way takes time that grows with the square of them.
const LINES_MAX: usize = 4000;

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `-`, `+`, a blank for a line of both, `@` for the place of a change, and `\` for the note that a line has no end.
    pub sign: char,
    /// The line, with nothing in it that steers a terminal.
    pub text: String,
}

/// What differs, as in a unified diff; nothing if they are the same to the byte.
pub fn difference(old: &str, new: &str) -> Vec<Line> {
    let (before, after): (Vec<&str>, Vec<&str>) = (rows(old), rows(new));
    let same = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (before.get(same..).unwrap_or_default(), after.get(same..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let old_middle = old_rest.get(..old_rest.len().saturating_sub(tail)).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len().saturating_sub(tail)).unwrap_or_default();
    if old_middle.is_empty() && new_middle.is_empty() {
        return Vec::new();
    }
    let mut ops = vec![DiffOp::Equal { old_index: 0, new_index: 0, len: same }];
    if old_middle.len().saturating_add(new_middle.len()) > LINES_MAX {
        let (old_len, new_len) = (old_middle.len(), new_middle.len());
        ops.push(DiffOp::Replace { old_index: same, old_len, new_index: same, new_len });
    } else {
        ops.extend(capture_diff_slices(Algorithm::Myers, old_middle, new_middle).into_iter().map(|op| moved(op, same)));
    }
    let (old_index, new_index) = (same.saturating_add(old_middle.len()), same.saturating_add(new_middle.len()));
    ops.push(DiffOp::Equal { old_index, new_index, len: tail });
    ops.retain(|op| !op.old_range().is_empty() || !op.new_range().is_empty());
    let mut lines = Vec::new();
    for group in group_diff_ops(ops, CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let place = |start: usize, end: usize| match end.saturating_sub(start) {
            // As diff(1) counts: an empty range stands behind the line before it.
            0 => format!("{start},0"),
            1 => format!("{}", start.saturating_add(1)),
            len => format!("{},{len}", start.saturating_add(1)),
        };
        let (was, is) = (
            place(first.old_range().start, last.old_range().end),
            place(first.new_range().start, last.new_range().end),
        );
        lines.push(Line { sign: '@', text: format!("@ -{was} +{is} @@") });
        for op in group {
            let (tag, was, is) = op.as_tag_tuple();
            let (was, is) = (before.get(was).unwrap_or_default(), after.get(is).unwrap_or_default());
            match tag {
                DiffTag::Equal => put(' ', was, &mut lines),
                DiffTag::Delete | DiffTag::Insert | DiffTag::Replace => {
                    put('-', was, &mut lines);
                    put('+', is, &mut lines);
                }
            }
        }
    }
    lines
}

/// The lines with their ends.
fn rows(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn moved(op: DiffOp, by: usize) -> DiffOp {
    let more = |index: usize| index.saturating_add(by);
    match op {
        DiffOp::Equal { old_index, new_index, len } => {
            DiffOp::Equal { old_index: more(old_index), new_index: more(new_index), len }
        }
        DiffOp::Delete { old_index, old_len, new_index } => {
            DiffOp::Delete { old_index: more(old_index), old_len, new_index: more(new_index) }
        }
        DiffOp::Insert { old_index, new_index, new_len } => {
            DiffOp::Insert { old_index: more(old_index), new_index: more(new_index), new_len }
        }
        DiffOp::Replace { old_index, old_len, new_index, new_len } => {
            DiffOp::Replace { old_index: more(old_index), old_len, new_index: more(new_index), new_len }
        }
    }
}

fn put(sign: char, rows: &[&str], lines: &mut Vec<Line>) {
    for row in rows {
        let (text, ended) = row.strip_suffix('\n').map_or((*row, false), |text| (text, true));
        lines.push(Line { sign, text: safe(text) });
        if !ended {
            lines.push(Line { sign: '\\', text: String::from(" No newline at end of file") });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(old: &str, new: &str) -> String {
        difference(old, new).iter().map(|line| format!("{}{}\n", line.sign, line.text)).collect()
    }

    #[test]
    fn what_differs_is_told_as_diff_does() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\nfive\n").replace("19\n20\n", "20\nend");
        assert_eq!(
            text(&old, &new),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -16,5 +16,5 @@\n 16\n 17\n 18\n-19\n 20\n+end\n\\ No newline at end of file\n"
        );
        assert_eq!(text("a\n", "a\n"), "");
        assert_eq!(text("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(text("a", "a\n"), "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
    }

    #[test]
    fn nothing_in_it_steers_a_terminal_or_hides() {
        assert_eq!(text("a\r\n", "a\tb\x1b[2J\u{202e}\n"), "@@ -1 +1 @@\n-a^M\n+a^Ib^[[2J<U+202E>\n");
    }

    #[test]
    fn texts_without_a_line_in_common_are_compared_in_time() {
        let lines = |from: usize| (from..from + 100_000).map(|n| format!("{n}\n")).collect::<String>();
        let all = difference(&lines(0), &lines(1_000_000));
        assert_eq!(all.len(), 200_001);
    }

    proptest! {
        // Whoever has the old text and the difference has the new one.
        #[test]
        fn the_lines_of_a_difference_are_all_that_differs(
            old in prop::collection::vec("[abc]", 0..30), new in prop::collection::vec("[abc]", 0..30),
        ) {
            let joined = |rows: &[String]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
            let lines = difference(&joined(&old), &joined(&new));
            let count = |signs: &[char]| lines.iter().filter(|line| signs.contains(&line.sign)).count();
            let untouched = old.len() - count(&['-', ' ']);
            prop_assert_eq!(untouched + count(&['+', ' ']), new.len());
            let only = |sign: char| lines.iter().filter(move |line| line.sign == sign).map(|line| line.text.clone());
            let mut was: Vec<String> = old.clone();
            for gone in only('-') {
                let at = was.iter().position(|row| *row == gone);
                prop_assert!(at.is_some());
                was.remove(at.unwrap());
            }
            was.extend(only('+'));
            was.sort();
            let mut is = new.clone();
            is.sort();
            prop_assert_eq!(was, is);
        }
    }
}
