//! `doorward doctor`: state, policy, clock and disk.

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{Form, json, show};
use crate::admin::api::{Health, Reply, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many disk syncs to time.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    syncs: u32,
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let Reply::Doctor { findings } = desk.ask(Request::Doctor { syncs: arguments.syncs })? else {
        return Err(unexpected());
    };
    if arguments.form.json {
        json(&findings)?;
    } else {
        for finding in &findings {
            let health = match finding.health {
                Health::Good => "good",
                Health::Warn => "warn",
                Health::Bad => "BAD",
            };
            show(format!("{health:4}  {:9}  {}", finding.what, finding.found));
            if let Some(hint) = &finding.hint {
                show(format!("{:15}  hint: {hint}", ""));
            }
        }
    }
    let bad = findings.iter().filter(|finding| finding.health == Health::Bad).count();
    if bad == 0 { Ok(()) } else { Err(CliError::failed(format!("{bad} of {} are bad", findings.len()))) }
}
