//! `doorward policy learn`: a draft of a command set from what was run.

use std::collections::BTreeSet;

use super::CliError;
use super::past::{Which, each};
use crate::cli::desk::Desk;
use crate::cli::output::{print, say};
use crate::gate::learn::learn;
use crate::screen::counted;

/// More different lines are not one job.
const LINES_MAX: usize = 100_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let mut lines: BTreeSet<String> = BTreeSet::new();
    let mut more = false;
    each(desk, &arguments.which, &mut |page| {
        for line in page.iter().filter_map(|decided| decided.ran()) {
            more |= lines.len() >= LINES_MAX;
            if !more && !lines.contains(line) {
                lines.insert(line.to_owned());
            }
        }
    })?;
    if more {
        say(format!("warning: there are more than {LINES_MAX} different lines, and the rest is left out"));
    }
    let folder = &desk.config().policies;
    let set = super::draft(&super::read(folder)?, folder)?;
    let learnt = learn(lines.iter().map(String::as_str), set.effects());
    print(&learnt.text)?;
    say(format!("{} from {}", counted(learnt.rules, "rule"), counted(lines.len(), "command line")));
    for (line, why) in &learnt.left_out {
        say(format!("left out: {line}: {why}"));
    }
    Ok(())
}
