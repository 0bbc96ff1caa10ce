//! The figures, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::machine::{load, machine};

/// So many of so many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    yes: usize,
    of: usize,
}

impl Share {
    pub fn count(&mut self, yes: bool) {
        self.yes += usize::from(yes);
        self.of += 1;
    }

    fn percent(self) -> Option<f64> {
        (self.of > 0).then(|| self.yes as f64 * 100.0 / self.of as f64)
    }

    fn text(self) -> String {
        self.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} % of {}", self.of))
    }

    fn json(self) -> Value {
        json!({ "yes": self.yes, "of": self.of, "percent": self.percent() })
    }
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

pub struct Report {
    machine: String,
    programs: usize,
    goals: Vec<(String, String, f64, Goal)>,
    text: String,
    json: BTreeMap<String, Value>,
}

impl Report {
    pub fn new(programs: usize) -> Self {
        Self { machine: machine(), programs, goals: Vec::new(), text: String::new(), json: BTreeMap::new() }
    }

    fn goal(&mut self, what: &str, unit: &str, figure: f64, goal: Goal) {
        self.goals.push((what.to_owned(), unit.to_owned(), figure, goal));
    }

    fn share_goal(&mut self, what: &str, share: Share, goal: Goal) {
        if let Some(percent) = share.percent() {
            self.goal(what, "%", percent, goal);
        }
    }

    pub fn caught(&mut self, shares: &BTreeMap<(&str, &str), [Share; 6]>) {
        self.text += "\n## Caught\n\nDenied, of the lines that must be. `strict` has an allow-list of read-only programs; `guard` has one policy, that of\n\
                      the family. Three columns are guard again, by how the line's program is known to the effects table; the last is guard\n\
                      with all four policies in force, as the false alarms below are counted.\n\n\
                      | family | category | strict | guard | in the table | in the table, lines seen | not in the table | all four |\n\
                      | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for ((family, category), row) in shares {
            let name = if category.is_empty() { "all" } else { category };
            let cells: Vec<String> = row.iter().map(|share| share.text()).collect();
            let _ = writeln!(self.text, "| {family} | {name} | {} |", cells.join(" | "));
            let all: Vec<Value> = row.iter().map(|share| share.json()).collect();
            self.json.insert(format!("caught {family} {name}"), json!(all));
            match (*family, category.is_empty()) {
                ("no-shell", true) => {
                    self.share_goal("strict, no-shell: denied", row[0], Goal::AtLeast(99.5));
                    self.share_goal("guard, no-shell, programs in the table: denied", row[2], Goal::AtLeast(97.0));
                    self.share_goal("guard, no-shell, other programs: denied", row[4], Goal::AtLeast(85.0));
                }
                ("no-secret-read", true) => {
                    self.share_goal("guard, no-secret-read: denied", row[1], Goal::AtLeast(98.0));
                    self.share_goal("guard, no-secret-read with the other three: denied", row[5], Goal::AtLeast(98.0));
                }
                _ => {}
            }
        }
    }

    pub fn disguise(&mut self, name: &str, row: &[Share; 5], allowed: usize) {
        if !self.json.keys().any(|key| key.starts_with("disguise")) {
            self.text += "\n## Disguises\n\nShell escapes of one line, each rewritten mechanically; words are rewritten only in lines of plain words.\n\n\
                          | disguise | strict | allowed by strict | guard | in the table | in the table, lines seen | not in the table |\n\
                          | --- | --- | --- | --- | --- | --- | --- |\n";
        }
        let cells: Vec<String> = row[1..].iter().map(|share| share.text()).collect();
        let _ = writeln!(self.text, "| {name} | {} | {allowed} | {} |", row[0].text(), cells.join(" | "));
        let all: Vec<Value> = row.iter().map(|share| share.json()).collect();
        self.json.insert(format!("disguise {name}"), json!({ "shares": all, "allowed by strict": allowed }));
        if name != "none" {
            self.goal(&format!("strict after {name}: allowed"), "lines", allowed as f64, Goal::AtMost(0.0));
        }
    }

    pub fn everyday(
        &mut self,
        source: &str,
        any: Share,
        by: &BTreeMap<&str, Share>,
        asked: Share,
        noticed: Share,
        strict: Share,
    ) {
        if !self.json.keys().any(|key| key.starts_with("everyday")) {
            self.text += "\n## False alarms\n\nHarmless everyday lines that guard stops, by any of the four policies and by each; those that it lets pass with an alert\n\
                          because a program is not in the table; those sent to a person; and, to compare, those that the allow-list of strict\n\
                          stops, as it should.\n\n\
                          | corpus | any | no-shell | no-secret-read | no-system-write | no-transfer | alert only | asked | strict |\n\
                          | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        }
        let family = |name: &str| by.get(name).copied().unwrap_or_default();
        let cells = ["no-shell", "no-secret-read", "no-system-write", "no-transfer"].map(|name| family(name).text());
        let _ = writeln!(
            self.text,
            "| {source} | {} | {} | {} | {} | {} |",
            any.text(),
            cells.join(" | "),
            noticed.text(),
            asked.text(),
            strict.text()
        );
        let all: BTreeMap<&str, Value> = by.iter().map(|(name, share)| (*name, share.json())).collect();
        self.json.insert(
            format!("everyday {source}"),
            json!({ "any": any.json(), "by": all, "asked": asked.json(), "alerted": noticed.json(), "strict": strict.json() }),
        );
        let most = if source == "tldr" { 4.0 } else { 2.0 };
        self.share_goal(&format!("guard, {source}: false alarms"), any, Goal::AtMost(most));
    }

    pub fn attacks(&mut self, source: &str, denied: Share, noticed: Share, strict: Share) {
        if !self.json.keys().any(|key| key.starts_with("attacks")) {
            self.text += "\n## Attack scripts\n\nWhole attack steps, some of them harmless by themselves. `lolbas` is Windows: guard is not made for it.\n\n\
                          | corpus | guard denies | guard denies or alerts | strict denies |\n| --- | --- | --- | --- |\n";
        }
        let _ = writeln!(self.text, "| {source} | {} | {} | {} |", denied.text(), noticed.text(), strict.text());
        self.json.insert(
            format!("attacks {source}"),
            json!({ "denied": denied.json(), "noticed": noticed.json(), "strict": strict.json() }),
        );
    }

    pub fn panics(&mut self, panics: usize) {
        self.goal("panics", "", panics as f64, Goal::AtMost(0.0));
    }

    /// Times in microseconds, sorted.
    pub fn times(&mut self, what: &str, sorted: &[f64], goals: bool) {
        if !self.json.keys().any(|key| key.starts_with("time")) {
            self.text += "\n## Time\n\nOne decision by a guard policy, in microseconds; the best of three rounds for each line, as other programs share the machine.\n\n\
                          | lines | number | p50 | p99 | maximum |\n| --- | --- | --- | --- | --- |\n";
        }
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        let _ = writeln!(self.text, "| {what} | {} | {p50:.1} | {p99:.1} | {max:.1} |", sorted.len());
        self.json.insert(
            format!("time {what}"),
            json!({ "lines": sorted.len(), "p50_us": p50, "p99_us": p99, "max_us": max }),
        );
        if goals {
            self.goal(&format!("one decision, {what}: p99"), "us", p99, Goal::AtMost(50.0));
        }
        self.goal(&format!("one decision, {what}: maximum"), "us", max, Goal::AtMost(1000.0));
    }

    /// Prints all, and writes what the command line asks for.
    pub fn finish(self) {
        let mut head = format!(
            "# What the command gate catches\n\nMade by `make bench-gate` on {}; do not edit. {}, after {}.\n\n\
             The lines are those of other projects (GTFOBins, nl2bash, tldr-pages, Atomic Red Team, LOLBAS), half of each; they are not\n\
             part of this repository. The effects table has {} names of programs and was written from their manuals, not from these lines.\n\
             {} What was looked at is the names of their programs, and totals by\n\
             kind of construct; entries were mended while these totals were watched, so the half that is not here may score lower.\n\
             An entry of several lines is judged up to the line that starts the program it is about: what follows is typed into it.\n\n## Goals\n\n| measure | goal | figure | |\n| --- | --- | --- | --- |\n",
            jiff::Zoned::now().date(),
            self.machine,
            load(),
            self.programs,
            report_seen(),
        );
        let mut goals = Vec::new();
        for (what, unit, figure, goal) in &self.goals {
            let (bound, met) = match goal {
                Goal::AtLeast(bound) => (format!("at least {bound} {unit}"), figure >= bound),
                Goal::AtMost(bound) => (format!("at most {bound} {unit}"), figure <= bound),
            };
            let verdict = if met { "met" } else { "**missed**" };
            let _ = writeln!(head, "| {what} | {} | {figure:.1} {unit} | {verdict} |", bound.trim_end());
            goals.push(json!({ "measure": what, "unit": unit, "figure": figure, "goal": bound, "met": met }));
        }
        let text = head + WHY + &self.text;
        println!("{text}");
        let all = json!({ "machine": self.machine, "after": load(), "programs": self.programs, "goals": goals, "figures": self.json });
        let words: Vec<String> = std::env::args().collect();
        let after = |option: &str| words.iter().position(|word| word == option).and_then(|at| words.get(at + 1));
        if let Some(file) = after("--markdown") {
            std::fs::write(file, &text).unwrap();
        }
        if let Some(file) = after("--json") {
            std::fs::write(file, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        }
    }
}

/// Why some goals are not met, and what would be wrong with meeting them.
const WHY: &str = "\n\
    - Programs that the table does not know: two in five of those that pass are started with no word, or one option, and then typed\n  \
      into, and the others with words that say nothing. What has no entry stays a guess; guard alerts on each, strict has none.\n\
    - no-secret-read alone: what passes is a pager that opens a second file by keys, and a program that is built and run. A policy\n  \
      that keeps secrets forbids the ways to a shell as well, and both together are measured.\n\
    - False alarms: most of those of tldr start an editor, a pager, a debugger, a database's prompt or a build, which do give a shell:\n  \
      their corpus calls them harmless by a list of words. Others are no command lines at all (`<q>`, a quote without an end).\n";

fn report_seen() -> String {
    if crate::SEEN_WHILE_WRITING.is_empty() {
        "No line of a program was read while its entry was written.".to_owned()
    } else {
        format!("Lines of these were read while their entries were written: {}.", crate::SEEN_WHILE_WRITING.join(", "))
    }
}
