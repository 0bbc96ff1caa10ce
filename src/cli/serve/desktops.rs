//! The door for desktops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::ServeError;
use crate::authn::Logins;
use crate::config::{Config, RdpSettings};
use crate::desktop::confine::{self, Files, Kernel};
use crate::listener::{FailedLogin, Limits};
use crate::session::Bastion;
use crate::session::desktop::{self, Desktops, Door, House, Starter};
use crate::vault::Vault;
use crate::wire::Cut;

/// Our own program, whatever has become of its file since.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What sessions and verbs know of desktops.
pub(super) fn of(config: &Config, vault: &Vault) -> Result<Desktops, ServeError> {
    let Some(RdpSettings { address, .. }) = &config.rdp else { return Ok(Desktops::default()) };
    let certificate = vault.desktop_identity().map_err(ServeError::Vault)?.fingerprint();
    Ok(Desktops { door: Some(Door { address: address.clone(), certificate }), ..Desktops::default() })
}

/// Listens on every address of `[rdp]`; returns them as they were bound.
pub(super) async fn listen(
    config: &Config,
    logins: &Logins,
    bastion: &Arc<Bastion>,
    stop: &Cut,
    failed: mpsc::Sender<FailedLogin>,
) -> Result<Vec<SocketAddr>, ServeError> {
    let Some(rdp) = &config.rdp else { return Ok(Vec::new()) };
    let house = Arc::new(House {
        identity: bastion.vault.desktop_identity().map_err(ServeError::Vault)?,
        offered: rdp.offered.clone(),
        handshake: rdp.handshake,
        logins: logins.clone(),
        strangers: Limits::new(rdp.max_unauthenticated, rdp.max_unauthenticated_per_address),
        users: Limits::new(rdp.max_desktops, rdp.max_desktops_per_user),
        failed,
        starter: Starter::new(PathBuf::from(OWN_PROGRAM)).map_err(ServeError::System)?,
    });
    tell(confine::kernel());
    let mut bound = Vec::new();
    for address in &rdp.listen {
        let failed = |error| ServeError::Listen(*address, error);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        bound.push(socket.local_addr().map_err(failed)?);
        tokio::spawn(desktop::serve(socket, Arc::clone(&house), Arc::clone(bastion), stop.clone()));
    }
    Ok(bound)
}

/// Tells of what this kernel lacks, once: each process finds the same.
fn tell(Kernel { files, calls }: Kernel) {
    match files {
        Files::All => {}
        Files::Some => {
            warn!("This kernel has an old Landlock: of what keeps a desktop's process to itself, some is missing")
        }
        Files::Nothing => {
            warn!("This kernel has no Landlock: the filter of system calls alone confines a desktop's process")
        }
    }
    if !calls {
        error!("This kernel does not say that it filters system calls (seccomp): without that, desktops are refused");
    }
}
