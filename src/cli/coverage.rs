//! `doorward coverage`: what becomes of every SSH channel and request, and of every channel and message of a desktop.

use std::fmt::Display;

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
    rows("NAME", "CHANNELS", TABLE);
    show("");
    rows("DESKTOP (RDP)", "DESKTOP", desktop::TABLE);
    show("Anything else is refused, and that is on record.");
    Ok(())
}

fn rows<K: Display>(name: &str, switch: &str, table: &[Row<K>]) {
    line("FROM", "KIND", name, "FATE", switch, "");
    for Row { from, kind, name, fate, switch, note, .. } in table {
        line(from, kind, name, fate, switch.unwrap_or_default(), note);
    }
}

fn line(from: impl Display, kind: impl Display, name: &str, fate: impl Display, switch: &str, note: &str) {
    show(format!("{from:6}  {kind:7}  {name:38}  {fate:8}  {switch:21}  {note}").trim_end());
}

/// A line of either table.
#[derive(serde::Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
enum Either {
    Ssh(&'static Row),
    Rdp(&'static Row<desktop::Kind>),
}
