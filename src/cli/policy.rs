//! `doorward policy`.

use super::CliError;
use super::desk::Desk;
use crate::admin::api::Request;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put the policy files in force and judge live sessions by them; faulty files leave the old rules in force.
    Reload,
    /// Write the manifest of the policy files, which signers sign.
    Manifest(super::manifest::Arguments),
}

pub(super) fn reload(desk: &Desk) -> Result<(), CliError> {
    desk.tell(Request::PolicyReload {})
}
