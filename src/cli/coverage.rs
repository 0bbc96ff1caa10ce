//! `doorward coverage`: what becomes of every SSH channel and request.

use super::CliError;
use super::output::{Form, json, show};
use crate::coverage::{Row, TABLE};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.form.json {
        return json(&TABLE);
    }
    let line = |from: &str, kind: &str, name: &str, fate: &str, switch: &str, note: &str| {
        show(format!("{from:6}  {kind:7}  {name:38}  {fate:8}  {switch:21}  {note}").trim_end());
    };
    line("FROM", "KIND", "NAME", "FATE", "CHANNELS", "");
    for Row { from, kind, name, fate, switch, note, .. } in TABLE {
        line(&from.to_string(), &kind.to_string(), name, &fate.to_string(), switch.unwrap_or_default(), note);
    }
    show("Anything else is refused, and that is on record.");
    Ok(())
}
