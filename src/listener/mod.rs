//! Connections from bastion users: accept, limits, handshake, login.

mod limits;
pub mod ssh;

pub use limits::Limits;
pub use ssh::{ChannelStart, Connection, FailedLogin, Outlets, Request, Settings, UserSink, UserSource, Wanted, serve};
