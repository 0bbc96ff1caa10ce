//! What may stand in a place, as a list.

use super::cells::{cells, width};
use super::{Candidate, Completion, Tone};
use crate::screen::Size;

/// So many rows are listed at most.
const ROWS_MAX: usize = 60;
/// A text is cut after so many columns, so that helps stand below each other.
const TEXT_COLS_MAX: usize = 40;

/// What all candidates begin with.
pub fn common(candidates: &[Candidate]) -> &str {
    let Some((first, others)) = candidates.split_first() else { return "" };
    let mut end = first.text.len();
    for other in others {
        let same = first.text.char_indices().zip(other.text.chars()).find(|((_, a), b)| a != b);
        let same = same.map_or(first.text.len().min(other.text.len()), |((at, _), _)| at);
        end = end.min(same);
    }
    first.text.get(..end).unwrap_or_default()
}

/// The candidates in columns, or each in a row with its help, and the hints behind them.
pub fn listed(completion: &Completion, size: Size) -> String {
    let cols = |text: &str| width(&cells(text, Tone::Plain));
    let all = &completion.candidates;
    let longest = all.iter().map(|one| cols(&one.text)).max().unwrap_or(0);
    let mut rows: Vec<String> = Vec::new();
    if all.iter().any(|one| !one.help.is_empty()) {
        let pad = longest.min(TEXT_COLS_MAX);
        for one in all {
            let blank = pad.saturating_sub(cols(&one.text));
            rows.push(format!("  {}{:blank$}  {}", one.text, "", one.help).trim_end().to_owned());
        }
    } else if !all.is_empty() {
        let column = longest.saturating_add(2);
        let across = (size.cols.saturating_sub(2) / column).max(1);
        let down = all.len().div_ceil(across);
        for row in 0..down.min(ROWS_MAX.saturating_add(1)) {
            let mut line = String::from("  ");
            for one in all.iter().skip(row).step_by(down.max(1)) {
                line.push_str(&format!("{}{:blank$}", one.text, "", blank = column.saturating_sub(cols(&one.text))));
            }
            rows.push(line.trim_end().to_owned());
        }
    }
    let more = rows.len().saturating_sub(ROWS_MAX);
    if more > 0 {
        rows.truncate(ROWS_MAX);
        rows.push(String::from("  ... and more: type a letter of it"));
    }
    rows.extend(completion.hints.iter().take(ROWS_MAX).map(|hint| format!("  ({hint})")));
    rows.join("\n")
}
