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
    /// Say what other policies would have decided of the past, and where that differs.
    Replay(super::rehearse::Arguments),
    /// Draft a command set from what was run; nothing of it takes effect before you merge it.
    Learn(super::learn::Arguments),
    /// Draft access rules and command sets from a sudoers file, as `cvtsudoers -e -f json` prints it.
    FromSudoers(super::sudoers::Arguments),
}

pub(super) fn reload(desk: &Desk) -> Result<(), CliError> {
    desk.tell(Request::PolicyReload {})
}
