//! `doorward policy check`: every fault and every doubt, with the line that it is about.

use std::path::Path;

use serde_json::{Value, json};

use super::Folder;
use crate::cli::CliError;
use crate::cli::output::{say, show, show_line};
use crate::clock::Clock;
use crate::config::read_policies;
use crate::policy::{CHECKS, Fault, Finding, PolicyFile, PolicySet, lint};
use crate::screen::counted;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,
    /// Print JSON.
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, which forges show beside the changed lines.
    #[arg(long)]
    sarif: bool,
    /// Doubts, too, make the exit status 1.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let folder = arguments.folder.path(file)?;
    let (files, read) = match read_policies(&folder) {
        Ok(files) => {
            let read = PolicySet::parse(&files);
            (files, read)
        }
        Err(faults) => (Vec::new(), Err(faults)),
    };
    let (faults, doubts) = match read {
        Ok(set) => (Vec::new(), lint(&set, Clock::system().now())),
        Err(faults) => (faults, Vec::new()),
    };
    let faults: Vec<Finding> = faults.into_iter().map(|fault| Finding { check: "fault", fault }).collect();
    let all = || faults.iter().map(|found| ("error", found)).chain(doubts.iter().map(|found| (level(found), found)));
    if arguments.sarif {
        super::json(&sarif(all(), &folder))?;
    } else if arguments.json {
        let rows: Vec<Value> = all().map(|(level, found)| row(level, found)).collect();
        super::json(&json!(rows))?;
    } else {
        for (level, found) in all() {
            tell(level, found, &files);
        }
        let notes = doubts.iter().filter(|found| level(found) == NOTE).count();
        let doubts = counted(doubts.len().saturating_sub(notes), "doubt");
        let (faults, notes) = (counted(faults.len(), "fault"), counted(notes, "note"));
        say(format!("{}: {faults}, {doubts}, {notes} in {}", folder.display(), counted(files.len(), "file")));
    }
    if !faults.is_empty() {
        return Err(CliError::verdict(2));
    }
    if arguments.strict && doubts.iter().any(|found| level(found) != NOTE) {
        return Err(CliError::verdict(1));
    }
    Ok(())
}

/// What is told for information alone.
const NOTE: &str = "note";

/// How grave a finding is that is no fault. A set that waits for its use does no harm.
fn level(Finding { check, .. }: &Finding) -> &'static str {
    if *check == "unused-set" { NOTE } else { "warning" }
}

fn row(level: &str, Finding { check, fault }: &Finding) -> Value {
    let Fault { file, line, key, message, hint } = fault;
    json!({ "level": level, "check": check, "file": file, "line": line, "key": key, "message": message, "hint": hint })
}

/// A longer line is no help, and one that has many findings would be shown with each of them.
const LINE_BYTES_MAX: usize = 1000;

/// The finding, the line that it is about with carets under what is meant, and what to do.
fn tell(level: &str, Finding { check, fault }: &Finding, files: &[PolicyFile]) {
    show_line(format!("{level}[{check}]: {fault}"));
    let line = fault.line.and_then(|line| source(files, &fault.file, line).map(|text| (line, text)));
    if let Some((number, text)) = line.filter(|(_, text)| text.len() <= LINE_BYTES_MAX) {
        let (from, len) = meant(text, &fault.key);
        let margin = number.to_string();
        show_line(format!("  {margin} | {text}"));
        show_line(format!("  {} | {}{}", " ".repeat(margin.len()), " ".repeat(from), "^".repeat(len.max(1))));
    }
    if let Some(hint) = &fault.hint {
        show(format!("  hint: {hint}"));
    }
}

fn source<'f>(files: &'f [PolicyFile], file: &str, line: usize) -> Option<&'f str> {
    let file = files.iter().find(|known| known.path == file)?;
    file.text.lines().nth(line.checked_sub(1)?).map(|text| text.trim_end())
}

/// Where in a line what is meant stands, and how long it is, in characters: the value of the key, or all of the line.
fn meant(text: &str, key: &str) -> (usize, usize) {
    let name = key.rsplit('.').next().unwrap_or(key);
    let at = text.find(name).filter(|_| !name.is_empty()).unwrap_or_else(|| text.len() - text.trim_start().len());
    let (before, rest) = text.split_at_checked(at).unwrap_or(("", text));
    (before.chars().count(), rest.trim_end().chars().count())
}

/// Where a file lies, seen from where the folder was named, as a URI reference (RFC 3986, section 2).
fn uri(file: &str, folder: &Path) -> String {
    let root = folder.file_name().map_or("policies".into(), |name| name.to_string_lossy());
    let path = match file.strip_prefix(&*root).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) => folder.join(rest).display().to_string(),
        None => file.to_owned(),
    };
    let encoded = path.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}

fn sarif<'f>(all: impl Iterator<Item = (&'static str, &'f Finding)>, folder: &Path) -> Value {
    let rules: Vec<Value> =
        CHECKS.iter().map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } })).collect();
    let results: Vec<Value> = all
        .map(|(level, Finding { check, fault })| {
            let text =
                fault.hint.as_ref().map_or_else(|| fault.message.clone(), |hint| format!("{}. {hint}", fault.message));
            let text = if fault.key.is_empty() { text } else { format!("{}: {text}", fault.key) };
            json!({
                "ruleId": check,
                "level": level,
                "message": { "text": text },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": uri(&fault.file, folder) },
                    "region": { "startLine": fault.line.unwrap_or(1) },
                } }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "doorward", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carets_stand_under_what_is_meant() {
        assert_eq!(meant("program = \"cat\"", "rule.program"), (0, 15));
        assert_eq!(meant("  id = \"é\" ", "rule.id"), (2, 8));
        assert_eq!(meant("  [[rule]]", ""), (2, 8));
        assert_eq!(meant("", "rule.x"), (0, 0));
    }

    #[test]
    fn a_sarif_report_names_file_and_line() {
        let fault = Fault {
            file: "policies/access/a.toml".into(),
            line: Some(7),
            key: "rule.id".into(),
            message: "is bad".into(),
            hint: Some("mend it".into()),
        };
        let found = Finding { check: "fault", fault };
        let report = sarif([("error", &found)].into_iter(), Path::new("etc/doorward/policies"));
        let result = &report["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "fault");
        assert_eq!(result["message"]["text"], "rule.id: is bad. mend it");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(
            (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
            (&json!("etc/doorward/policies/access/a.toml"), &json!(7))
        );
        assert_eq!(uri("my rules/access/é#1.toml", Path::new("my rules")), "my%20rules/access/%C3%A9%231.toml");
        let ids = report["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(ids.iter().any(|rule| rule["id"] == "fault"));
    }
}
