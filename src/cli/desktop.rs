//! `doorward desktop`: the process of one desktop. The server starts it; it is in no help.
//!
//! Its standard input is the socket of a user's program, its standard output the way to the bastion, and what it writes
//! to its standard error is a line in the server's log. It is confined before it reads anything.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::{CliError, serve};
use crate::clock::Clock;
use crate::config::{LogFormat, LogLevel};
use crate::desktop::{self, confine};

/// Carries one connection, until it is over.
///
/// # Errors
/// If it was not started by a server.
pub(super) fn run() -> Result<(), CliError> {
    crate::telemetry::init(LogFormat::Text, LogLevel::Warn)
        .map_err(|_| CliError::failed("cannot start the log: it is started already"))?;
    serve::harden();
    let sockets = sockets().map_err(|_| CliError::usage("`doorward desktop` is started by the server alone"));
    let (user, bastion) = sockets?;
    prepare().map_err(|error| CliError::of(&error))?;
    let clock = Clock::system();
    // INVARIANT: from here on nothing of the system is within reach, and no byte of a peer was read before.
    confine::confine().map_err(|error| CliError::of(&error))?;
    // One thread carries both ways: what it hands from task to task wakes no other. Drawing has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::of(&error))?;
    let carried = runtime.block_on(async {
        let user = tokio::net::TcpStream::from_std(user)?;
        let bastion = tokio::net::UnixStream::from_std(bastion)?;
        Ok::<_, io::Error>(desktop::run(user, bastion, &clock).await)
    });
    runtime.shutdown_background();
    // The bastion was told why, where there is one.
    carried.map(drop).map_err(|error| CliError::of(&error))
}

/// What libraries take from the system once and keep, and could not have any more: the C library sets a handler with the
/// first thread, and the runtime makes a pair of sockets on which it hears of signals. The thread is gone on return.
fn prepare() -> io::Result<()> {
    let first = std::thread::Builder::new().spawn(|| {})?;
    first.join().map_err(|_| io::Error::other("the first thread failed"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build().map(drop)
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
