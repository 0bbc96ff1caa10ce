//! `doorward desktop`: the process of one desktop. The server starts it; it is in no help.
//!
//! Its standard input is the socket of a user's program, its standard output the way to the bastion.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use tracing::info;

use super::{CliError, serve};
use crate::clock::Clock;
use crate::config::{LogFormat, LogLevel};
use crate::desktop;

/// Carries one connection, until it is over.
///
/// # Errors
/// If it was not started by a server.
pub(super) fn run() -> Result<(), CliError> {
    crate::telemetry::init(LogFormat::Text, LogLevel::Info)
        .map_err(|_| CliError::failed("cannot start the log: it is started already"))?;
    serve::harden();
    let sockets = sockets().map_err(|_| CliError::usage("`doorward desktop` is started by the server alone"));
    let (user, bastion) = sockets?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| CliError::of(&error))?;
    let why = runtime.block_on(async {
        let user = tokio::net::TcpStream::from_std(user)?;
        let bastion = tokio::net::UnixStream::from_std(bastion)?;
        Ok::<_, io::Error>(desktop::run(user, bastion, &Clock::system()).await)
    });
    runtime.shutdown_background();
    info!(why = %why.map_err(|error| CliError::of(&error))?, "Desktop ended");
    Ok(())
}

/// The two sockets, under numbers of their own; the first ones are closed with the process.
fn sockets() -> io::Result<(TcpStream, UnixStream)> {
    let user = TcpStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let bastion = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // Neither has a peer unless it is a socket.
    user.peer_addr()?;
    bastion.peer_addr()?;
    user.set_nonblocking(true)?;
    bastion.set_nonblocking(true)?;
    Ok((user, bastion))
}
