//! `doorward policy replay`: what other policies would have said of the past. Nothing is changed.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::CliError;
use super::past::{Decided, Which, each, known};
use crate::cli::desk::Desk;
use crate::cli::output::{Form, Progress, json, print, say};
use crate::cli::times;
use crate::config::read_policies;
use crate::policy::PolicySet;
use crate::policy::past::{Difference, Known, Rehearsal, Rehearsed, Said};
use crate::screen::line;

/// Pages that wait to be rehearsed.
const PAGES_MAX: usize = 8;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The directory of the policies to try.
    #[arg(long, value_name = "DIR")]
    new: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Exit with status 1 if anything would have been refused that was not.
    #[arg(long)]
    fail_on_refusals: bool,
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let set = read_policies(&arguments.new).and_then(|files| PolicySet::parse(&files));
    let set = set.map_err(|faults| CliError::of_faults("the new policies would not load", &faults))?;
    let known = known(desk)?;
    let found = rehearse(desk, &arguments.which, &set, &known)?;
    if arguments.form.json {
        json(&found)?;
    } else {
        print(&report(&found))?;
    }
    let refused = found.differences.iter().any(|one| one.now == Said::Refused);
    match arguments.fail_on_refusals && refused {
        true => Err(CliError::failed("the new policies would have refused what was allowed")),
        false => Ok(()),
    }
}

/// Reads on one thread and judges on as many as there are processors.
fn rehearse(desk: &Desk, which: &Which, set: &PolicySet, known: &Known) -> Result<Rehearsed, CliError> {
    let (send, receive) = sync_channel::<Vec<Decided>>(PAGES_MAX);
    let receive = Mutex::new(receive);
    let mut progress = Progress::new();
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let judging: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(&receive, set, known))).collect();
        let mut done = 0_u64;
        let read = each(desk, which, &mut |page| {
            done = done.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            progress.at("decisions", done, done);
            // Nobody takes it only if all of them have panicked, which is told below.
            let _ = send.send(page);
        });
        drop(send);
        let parts: Vec<_> = judging.into_iter().map(thread::ScopedJoinHandle::join).collect();
        progress.finish();
        read?;
        let mut all = Rehearsal::of(set, known);
        for part in parts {
            all = all.and(part.map_err(|_| CliError::failed("a rehearsal has panicked"))?);
        }
        Ok(all.end())
    })
}

fn work<'s>(pages: &Mutex<Receiver<Vec<Decided>>>, set: &'s PolicySet, known: &'s Known) -> Rehearsal<'s> {
    let mut rehearsal = Rehearsal::of(set, known);
    loop {
        let page = pages.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(page) = page else { return rehearsal };
        page.iter().for_each(|decided| rehearsal.take(&decided.past()));
    }
}

fn report(found: &Rehearsed) -> String {
    let Rehearsed { decisions, commands, same, unknown, unlisted, differences } = found;
    let mut text = format!("{decisions} decisions, of them {commands} commands: {same} as they were\n");
    if *unknown > 0 {
        text.push_str(&format!("{unknown} by users or on targets that there are no longer\n"));
    }
    let mut heading = "";
    for one in differences {
        let now = heading_of(one);
        if now != heading {
            heading = now;
            text.push_str(&format!("\n{heading}\n"));
        }
        text.push_str(&row(one));
    }
    if *unlisted > 0 {
        text.push_str(&format!("\nand {unlisted} more that differ, in too many ways to be listed\n"));
    }
    if differences.is_empty() {
        say("nothing would have been decided in another way");
    }
    text
}

fn heading_of(one: &Difference) -> &'static str {
    match (one.then, one.now) {
        (_, Said::Refused) => "newly refused:",
        (Said::Refused, _) => "newly allowed:",
        (_, Said::WithApproval) => "newly needing somebody's yes:",
        (_, Said::WithGrant) => "newly needing a grant:",
        (Said::WithApproval | Said::WithGrant | Said::Allowed, Said::Allowed) => "no longer needing anything:",
    }
}

fn row(one: &Difference) -> String {
    let Difference { user, destination, what, by, times, last, sessions, .. } = one;
    let where_to = sessions.first().map(|(session, _)| format!("  session {session}")).unwrap_or_default();
    let (what, by) = (line(what), line(by));
    format!(
        "  {times:>6} x  {user} as {destination}: {what}\n            by {by}; last {}{where_to}\n",
        times::shown(*last)
    )
}
