//! Listings: aligned columns for people, JSON for programs.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::CliError;
use crate::clock::Clock;
use crate::screen::{json_line, line, padded};
use crate::verify::Step;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Form {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Rows under a heading.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|name| (*name).to_owned()).collect()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { line(&cell) }).collect());
    }

    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            // The last one is not filled up: one long cell would make all rows as long.
            let last = row.len().saturating_sub(1);
            let width = |(at, width): (usize, usize)| if at == last { 0 } else { width };
            let widths = widths.iter().copied().enumerate().map(width);
            let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Prints a listing: `rows` as JSON, or `table`; `nothing` is said when it is empty.
pub(super) fn listing<R: Serialize>(form: Form, rows: &[R], table: &Table, nothing: &str) -> Result<(), CliError> {
    if form.json {
        json(&rows)
    } else if rows.is_empty() {
        eprintln!("{nothing}");
        Ok(())
    } else {
        print(&table.text())
    }
}

/// Words for the operator, on standard error. What data they carry cannot steer the terminal.
pub(super) fn say(text: impl AsRef<str>) {
    for one in text.as_ref().lines() {
        eprintln!("{}", line(one));
    }
}

/// Data for the operator, on standard output. It cannot steer the terminal.
pub(super) fn show(text: impl AsRef<str>) {
    for one in text.as_ref().lines() {
        put(&line(one));
    }
}

/// Writes a line. Whoever reads no further, such as `head`, is no error: the exit status still tells what was found.
fn put(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One line of data for the operator, on standard output; a line break in it makes no second one.
pub(super) fn show_line(text: impl AsRef<str>) {
    put(&line(text.as_ref()));
}

/// One line of words for the operator, on standard error; a line break in it makes no second one.
pub(super) fn say_line(text: impl AsRef<str>) {
    eprintln!("{}", line(text.as_ref()));
}

/// A progress bar on standard error, if that is a terminal, once there is something to wait for.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    clock: Clock,
    words: &'static str,
    shown: bool,
}

/// What is done sooner shows no bar.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len}, {eta} left") {
            bar.set_style(style);
        }
        let clock = Clock::system();
        Self { bar, begun: clock.instant(), clock, words: "", shown: false }
    }

    /// So many of so many are done. `words` say of what.
    pub(super) fn at(&mut self, words: &'static str, done: u64, total: u64) {
        let elapsed = self.clock.instant().saturating_duration_since(self.begun);
        if !self.shown && elapsed >= PROGRESS_AFTER {
            self.shown = true;
            // It stays hidden if that is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.words != words {
            self.words = words;
            self.bar.set_message(words);
            self.bar.reset_eta();
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Leaves { done, total } => self.at("leaves", done, total),
            Step::Sessions { done, total } => self.at("sessions", done, total),
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Runs what may take its time; a terminal is shown that it goes on.
pub(super) fn waiting<T>(words: &'static str, run: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::new_spinner().with_message(words);
    bar.enable_steady_tick(Duration::from_millis(250));
    let done = run();
    bar.finish_and_clear();
    done
}

pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| CliError::of(&error))?;
    text.push('\n');
    print(&json_line(&text))
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    print_on(text).map(drop)
}

/// Writes to standard output, and says whether the reader wants more.
pub(super) fn print_on(text: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::failed("cannot write to standard output").because(&error)),
    }
}

/// At most `max` characters of a text, so that one long cell does not widen its whole column.
pub(super) fn clipped(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_are_seen() {
        let mut table = Table::new(&["USER", "GROUPS", "STATE"]);
        table.row(["alice".to_owned(), String::new(), "active".to_owned()]);
        assert_eq!(table.text(), "USER   GROUPS  STATE\nalice  -       active\n");
    }

    #[test]
    fn a_hostile_reason_does_not_reach_the_terminal() {
        let mut table = Table::new(&["REASON"]);
        table.row(["\u{1b}]0;x\u{7}\u{202e}text".to_owned()]);
        assert!(!table.text().contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }

    #[test]
    fn only_long_cells_are_clipped() {
        assert_eq!((clipped("the user left", 13).as_str(), clipped("éééé", 3).as_str()), ("the user left", "éé…"));
    }
}
