//! `doorward coverage`: what becomes of every SSH channel and request, and of every channel and message of a desktop.

use super::CliError;
use super::output::{Form, json, show};
use crate::coverage::{Row, TABLE};
use crate::rdp::coverage as desktop;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.form.json {
        let (ssh, rdp) = (TABLE.iter().map(Either::Ssh), desktop::TABLE.iter().map(Either::Rdp));
        return json(&ssh.chain(rdp).collect::<Vec<_>>());
    }
    let line = |from: &str, kind: &str, name: &str, fate: &str, switch: &str, note: &str| {
        show(format!("{from:6}  {kind:7}  {name:38}  {fate:8}  {switch:21}  {note}").trim_end());
    };
    line("FROM", "KIND", "NAME", "FATE", "CHANNELS", "");
    for Row { from, kind, name, fate, switch, note, .. } in TABLE {
        line(&from.to_string(), &kind.to_string(), name, &fate.to_string(), switch.unwrap_or_default(), note);
    }
    show("");
    line("FROM", "KIND", "DESKTOP (RDP)", "FATE", "DESKTOP", "");
    for desktop::Row { from, kind, name, fate, switch, note, .. } in desktop::TABLE {
        line(&from.to_string(), &kind.to_string(), name, &fate.to_string(), switch.unwrap_or_default(), note);
    }
    show("Anything else is refused, and that is on record.");
    Ok(())
}

/// A line of either table.
#[derive(serde::Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
enum Either {
    Ssh(&'static Row),
    Rdp(&'static desktop::Row),
}
