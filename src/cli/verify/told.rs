//! What `doorward verify` tells people.

use super::super::CliError;
use super::super::output::{Table, print, say, say_line, show, show_line};
use super::super::times;
use super::Arguments;
use crate::clock::Clock;
use crate::screen::{counted, span_short};
use crate::verify::{self, BundleReport, KeyOrigin, LogVerdict, Report, Verdict, WitnessAnchor};

/// More lines about sessions are not printed: whoever wrote the files chooses how many there are.
const ROWS_MAX: usize = 2000;

/// Prints a report.
///
/// # Errors
/// If it cannot be printed.
pub(super) fn tell(report: &Report, arguments: &Arguments) -> Result<(), CliError> {
    let shown = |verdict: Verdict| !matches!(verdict, Verdict::Ok | Verdict::OkUnanchored);
    let mut table = Table::new(&["SESSION", "VERDICT", "WHERE", "WHAT"]);
    let (mut rows, mut more) = (0_usize, 0_u64);
    for session in &report.sessions {
        let named = arguments.session.is_some();
        if !shown(session.verdict) && session.notes.is_empty() && !named {
            continue;
        }
        if rows >= ROWS_MAX {
            more = more.saturating_add(1);
            continue;
        }
        let id = session.session.to_string();
        let verdict = session.verdict.to_string();
        let mut lines = session.findings.iter().map(|one| (place(one), one.why.clone())).collect::<Vec<_>>();
        lines.extend(session.notes.iter().map(|note| (String::from("note"), note.clone())));
        if lines.is_empty() {
            lines.push((String::new(), String::new()));
        }
        if session.findings.more() > 0 {
            lines.push((String::new(), format!("and {} more", session.findings.more())));
        }
        for (at, why) in lines {
            rows = rows.saturating_add(1);
            table.row([id.clone(), verdict.clone(), at, why]);
        }
    }
    if rows > 0 {
        print(&table.text())?;
    }
    if more > 0 {
        say(format!("warning: {more} more sessions are not listed here; --json lists all"));
    }
    tell_findings(report);
    show_line(counts(report));
    show_line(log_line(report));
    anchor_lines(report, arguments).iter().for_each(show_line);
    if let Some(opened) = report.opened {
        show(format!("OPENED: {} read in full, {} sealed for others", opened.read, opened.sealed_for_others));
        if report.is_unread() {
            say("hint: --identity opens none of these recordings, so that no line was read; was another meant?");
        }
    }
    show(format!("VERDICT: {}", report.outcome()));
    if !report.is_log_believed() {
        say("hint: keep log and recordings as evidence; restore the newest copy elsewhere and compare");
    }
    Ok(())
}

/// What was found beside the sessions.
fn tell_findings(report: &Report) {
    for finding in report.log.findings.iter() {
        show_line(format!("LOG TAMPERED: {finding}"));
    }
    for finding in report.directories.iter() {
        show_line(format!("STORE TAMPERED: {finding}"));
    }
    for finding in report.policies.findings.iter() {
        show(format!("POLICY TAMPERED: {finding}"));
    }
    for finding in report.policies.missing.iter() {
        show(format!("POLICY MISSING: {finding}"));
    }
    for warning in report.log.warnings.iter().chain(report.unexpected.iter()) {
        say_line(format!("warning: {warning}"));
    }
    for (words, more) in [
        ("findings about the log", report.log.findings.more()),
        ("findings about the store", report.directories.more()),
        ("warnings", report.log.warnings.more()),
        ("unexpected files", report.unexpected.more()),
    ] {
        if more > 0 {
            say(format!("warning: and {more} more {words}"));
        }
    }
}

fn place(finding: &verify::Finding) -> String {
    match finding.offset {
        Some(offset) => format!("{} at byte {offset}", finding.place),
        None => finding.place.clone(),
    }
}

fn counts(report: &Report) -> String {
    let all = [
        Verdict::Ok,
        Verdict::OkUnanchored,
        Verdict::Interrupted,
        Verdict::Shredded,
        Verdict::Expired,
        Verdict::Missing,
        Verdict::Tampered,
    ];
    let counted = all.into_iter().map(|verdict| (verdict, report.count(verdict))).filter(|(_, count)| *count > 0);
    let words: Vec<String> = counted.map(|(verdict, count)| format!("{count} {verdict}")).collect();
    match (report.sessions.len(), report.is_log_believed()) {
        (0, false) => String::from("SESSIONS: none was judged, for the log cannot be believed"),
        (0, true) => String::from("SESSIONS: none"),
        (number, false) => {
            format!("SESSIONS: {number}, judged by a log that cannot be believed: {}", words.join(", "))
        }
        (number, true) => format!("SESSIONS: {number}: {}", words.join(", ")),
    }
}

fn log_line(report: &Report) -> String {
    let log = &report.log;
    let key = match log.key_from {
        KeyOrigin::Pinned => "key: pinned",
        KeyOrigin::Beside => "key: from the store itself, not pinned",
    };
    let origin = log.origin.as_deref().unwrap_or("unknown");
    let newest = log.newest.map_or_else(String::new, |at| format!(", the newest of {}", times::shown(at)));
    let unsigned = if log.unsigned > 0 { format!(", {} more not signed yet", log.unsigned) } else { String::new() };
    let verdict = match log.verdict() {
        LogVerdict::Ok => "OK",
        LogVerdict::Tampered => "TAMPERED",
        LogVerdict::Unsigned => {
            return format!("LOG: UNSIGNED: no checkpoint, so nothing vouches for any leaf{unsigned}; {key}");
        }
    };
    format!("LOG: {verdict}: {origin}, {}{newest}{unsigned}; {key}", counted(log.size, "leaf"))
}

/// What vouches for the log, and what should and does not.
fn anchor_lines(report: &Report, arguments: &Arguments) -> Vec<String> {
    let anchor = &report.anchor;
    let given = arguments.from.len().saturating_add(arguments.witnesses.len());
    let mut lines: Vec<String> =
        anchor.contradicted.iter().map(|one| format!("ANCHOR: contradicted by {}: {}", one.from, one.why)).collect();
    if !anchor.kept.is_empty() || !anchor.witnesses.is_empty() {
        let mut words: Vec<String> =
            anchor.kept.iter().map(|kept| format!("{} by {}", counted(kept.leaves, "leaf"), kept.from)).collect();
        words.extend(anchor.witnesses.iter().map(cosigned));
        lines.push(format!("ANCHOR: {}; {} beyond the anchor", words.join(", "), counted(anchor.beyond, "leaf")));
    } else if !report.is_log_believed() && lines.is_empty() && given > 0 {
        lines.push(String::from("ANCHOR: not compared: the log is not what its own checkpoint signs"));
    } else if lines.is_empty() && arguments.trust.witness_keys.is_empty() {
        lines.push(format!(
            "ANCHOR: none, {} beyond it: that nobody made log and recordings anew, with the log's key, cannot be \
             told from them alone (give --from with a checkpoint that you kept, or --witness-key)",
            counted(anchor.beyond, "leaf")
        ));
    } else if lines.is_empty() {
        lines.push(format!(
            "ANCHOR: none, {} beyond it: no witness whose key was given has cosigned a checkpoint that is kept",
            counted(anchor.beyond, "leaf")
        ));
    }
    lines.extend(anchor.lacking.iter().map(|words| format!("UNANCHORED: {words}")));
    if report.required_witnesses > 0 {
        let required = report.required_witnesses;
        let beyond = report.sessions.iter().filter(|session| !session.anchored).count();
        if anchor.cosigned == 0 {
            lines.push(too_few(required));
        } else if beyond > 0 {
            let rest = if beyond == 1 { "session rests" } else { "sessions rest" };
            lines.push(format!(
                "UNANCHORED: {beyond} {rest} on leaves beyond the {} that {} cosigned",
                anchor.cosigned,
                counted(required, "witness")
            ));
        }
    }
    lines
}

fn too_few(required: usize) -> String {
    let are = if required == 1 { "is" } else { "are" };
    let witnesses = counted(required, "witness");
    format!("UNANCHORED: {witnesses} {are} required, and so many have not cosigned")
}

/// A witness, and when it cosigned, and how long ago that is.
fn cosigned(witness: &WitnessAnchor) -> String {
    let ago = span_short(witness.at.until(Clock::system().now()));
    format!("witness {} at {} ({ago} ago)", witness.name, times::shown(witness.at))
}

/// Prints what is said of a bundle.
pub(super) fn tell_bundle(report: &BundleReport) {
    let origin = report.origin.as_deref().unwrap_or("unknown");
    let key = match report.key_from {
        KeyOrigin::Pinned => "key: pinned",
        KeyOrigin::Beside => "UNPINNED: the key is from the bundle itself, which proves nothing; give --vkey",
    };
    show_line(format!("LOG: {origin}, {}; {key}", counted(report.size, "leaf")));
    let witnesses: Vec<String> = report.witnesses.iter().map(cosigned).collect();
    let anchor = if witnesses.is_empty() { String::from("none") } else { witnesses.join(", ") };
    show_line(format!("ANCHOR: {anchor}"));
    if report.witnesses.len() < report.required_witnesses {
        show(too_few(report.required_witnesses));
    }
    show(match (report.casts, report.casts_compared) {
        (false, _) => "CASTS: none",
        (true, true) => "CASTS: they are what the segments hold",
        (true, false) => "CASTS UNCHECKED: they may show anything; give --identity",
    });
    show(format!("VERDICT: {}", report.outcome()));
}
