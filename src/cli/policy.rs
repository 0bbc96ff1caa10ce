//! `doorward policy`.

use super::CliError;
use super::desk::Desk;
use crate::admin::api::Request;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put the policy files in force and judge live sessions by them; faulty files leave the old rules in force.
    Reload,
}

pub(super) fn reload(desk: &Desk) -> Result<(), CliError> {
    desk.tell(Request::PolicyReload {})
}
