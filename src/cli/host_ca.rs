//! `doorward host-ca`: the line of `known_hosts` for `ssh -J`; `doorward rdp-certificate`: what programs for desktops compare.

use super::CliError;
use super::desk::Desk;
use super::output::{print, say};
use crate::admin::api::Request;

pub(super) fn run(desk: &Desk) -> Result<(), CliError> {
    let line = desk.fetch(Request::HostCa {})?;
    if line.is_empty() {
        say("there are no targets yet, so there is no line; `doorward target add` makes one");
    }
    print(&line)
}

/// The fingerprint of the bastion's certificate for RDP.
pub(super) fn rdp_certificate(desk: &Desk) -> Result<(), CliError> {
    print(&desk.fetch(Request::RdpCertificate {})?)
}
