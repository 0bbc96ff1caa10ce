//! `doorward policy test`: the `[[test]]` tables of a folder, with reports for build servers.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Folder, xml};
use crate::cli::CliError;
use crate::cli::output::{say, say_line, show, show_line};
use crate::policy::{Fault, TestOutcome, run_tests};
use crate::screen::{counted, line};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,
    /// Write a JUnit report.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print TAP.
    #[arg(long, conflicts_with = "json")]
    tap: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Name the rules that no test expects; one makes the exit status 1.
    #[arg(long)]
    coverage: bool,
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let files = arguments.folder.files(file)?;
    let (outcomes, untested) = run_tests(&files)
        .map_err(|faults| CliError::of_faults("the policies do not load, so that no test was run", &faults))?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if let Some(path) = &arguments.junit {
        super::write(path, &junit(&outcomes))?;
    }
    if arguments.tap {
        show(tap(&outcomes));
    } else if arguments.json {
        let rows: Vec<Value> = outcomes.iter().map(row).collect();
        super::json(&json!(rows))?;
    } else {
        for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
            show_line(format!("{}:{}: {}", outcome.file, outcome.line, told(outcome)));
        }
    }
    say(format!("{}, {failed} failed", counted(outcomes.len(), "test")));
    if arguments.coverage {
        for Fault { file, line, message, .. } in &untested {
            say_line(format!("{file}:{}: {message}", line.unwrap_or(1)));
        }
        say(format!("{} without a test", counted(untested.len(), "rule")));
    }
    if failed > 0 || (arguments.coverage && !untested.is_empty()) {
        return Err(CliError::verdict(1));
    }
    Ok(())
}

fn told(TestOutcome { expected, got, about, near, .. }: &TestOutcome) -> String {
    if got.is_empty() {
        return format!("expected `{expected}`, and there is no such rule ({about})");
    }
    let near = near.as_ref().map_or_else(String::new, |near| format!("; {near}"));
    format!("expected `{expected}`, got `{got}` ({about}{near})")
}

fn row(outcome: &TestOutcome) -> Value {
    let TestOutcome { file, line, about, expected, got, near, passed } = outcome;
    json!({ "file": file, "line": line, "about": about, "expected": expected, "got": got, "near_miss": near, "passed": passed })
}

/// The Test Anything Protocol, version 13.
fn tap(outcomes: &[TestOutcome]) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", outcomes.len());
    for (at, outcome) in outcomes.iter().enumerate() {
        let not = if outcome.passed { "" } else { "not " };
        // A `#` would begin a directive.
        let plain = |text: &str| line(text).replace('#', "\\#");
        let (file, expected, about) = (plain(&outcome.file), plain(&outcome.expected), plain(&outcome.about));
        let number = at.saturating_add(1);
        let _ = writeln!(out, "{not}ok {number} - {file}:{} {expected}: {about}", outcome.line);
        if !outcome.passed {
            let _ = writeln!(out, "# {}", line(&told(outcome)));
        }
    }
    out
}

/// A JUnit report: a suite for each file.
fn junit(outcomes: &[TestOutcome]) -> String {
    let failed = |outcomes: &[&TestOutcome]| outcomes.iter().filter(|outcome| !outcome.passed).count();
    let all: Vec<&TestOutcome> = outcomes.iter().collect();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ =
        writeln!(out, "<testsuites name=\"doorward policy\" tests=\"{}\" failures=\"{}\">", all.len(), failed(&all));
    let mut files: Vec<&str> = outcomes.iter().map(|outcome| outcome.file.as_str()).collect();
    files.dedup();
    for file in files {
        let own: Vec<&TestOutcome> = all.iter().copied().filter(|outcome| outcome.file == file).collect();
        let name = xml(file);
        let _ = writeln!(out, "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\">", own.len(), failed(&own));
        for outcome in own {
            let case = xml(&format!("line {}: {} ({})", outcome.line, outcome.expected, outcome.about));
            let _ = write!(out, "    <testcase classname=\"{name}\" name=\"{case}\"");
            if outcome.passed {
                out.push_str("/>\n");
            } else {
                let _ = writeln!(out, "><failure message=\"{}\"/></testcase>", xml(&told(outcome)));
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<TestOutcome> {
        let outcome = |about: &str, passed| TestOutcome {
            file: "policies/commands/a.toml".into(),
            line: 3,
            about: about.into(),
            expected: "deny default".into(),
            near: None,
            got: if passed { "deny default".into() } else { "allow x".into() },
            passed,
        };
        vec![outcome("rm -rf / # all", true), outcome("echo \"<x>\" & \n", false)]
    }

    #[test]
    fn a_tap_report_has_a_line_for_each_test() {
        let report = tap(&outcomes());
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(
            lines[..3],
            ["TAP version 13", "1..2", "ok 1 - policies/commands/a.toml:3 deny default: rm -rf / \\# all"]
        );
        assert!(
            lines[3].starts_with("not ok 2 - ") && lines[4].starts_with("# expected `deny default`, got `allow x`")
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn no_word_of_a_test_makes_a_line_of_a_tap_report() {
        let forged = |field: &str| format!("{field}\nok 2 - forged # skip");
        let one = outcomes().remove(1);
        let outcome =
            TestOutcome { file: forged("a"), about: forged("b"), expected: forged("c"), got: forged("d"), ..one };
        let report = tap(&[outcome]);
        assert_eq!(report.lines().filter(|line| line.starts_with("ok ")).count(), 0, "{report}");
        assert_eq!(report.lines().count(), 4, "{report}");
    }

    #[test]
    fn a_junit_report_is_xml_whatever_the_lines_are() {
        let report = junit(&outcomes());
        assert!(report.contains("tests=\"2\" failures=\"1\""), "{report}");
        assert!(report.contains("echo &quot;&lt;x&gt;&quot; &amp;"), "{report}");
        assert_eq!(report.matches("<testcase").count(), 2);
        assert_eq!(report.matches("<failure").count(), 1);
    }
}
