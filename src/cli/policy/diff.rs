//! `doorward policy diff`: what becomes wider and what narrower, in words.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::{say, show_line};
use crate::policy::{Difference, Way, compare};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The folder as it was.
    old: PathBuf,
    /// The folder as it shall be.
    new: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Whatever widens, or may, makes the exit status 1: for a second reviewer.
    #[arg(long)]
    fail_on_widening: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let set = |folder: &PathBuf| {
        let files = super::read(folder)?;
        super::draft(&files, folder)
    };
    let differences = compare(&set(&arguments.old)?, &set(&arguments.new)?);
    if arguments.json {
        let rows: Vec<Value> =
            differences.iter().map(|one| json!({ "way": word(one.way), "text": one.text })).collect();
        super::json(&json!(rows))?;
    } else {
        for Difference { way, text } in &differences {
            show_line(format!("{:10} {text}", word(*way)));
        }
        if differences.is_empty() {
            say("both say the same");
        }
    }
    let widens = differences.iter().any(|one| one.way != Way::Narrows);
    if arguments.fail_on_widening && widens { Err(CliError::verdict(1)) } else { Ok(()) }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Widens => "widens",
        Way::MayWiden => "may widen",
        Way::Narrows => "narrows",
    }
}
