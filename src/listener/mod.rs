//! Connections from bastion users: accept, limits, handshake, login.

mod attempts;
mod environment;
mod jump;
mod limits;
pub mod ssh;

pub use environment::EnvPattern;
pub use jump::{HostKeys, ca_line};
pub use limits::{Limits, Place};
pub use ssh::{ChannelStart, Connection, FailedLogin, Outlets, Request, Settings, UserSink, UserSource, Wanted, serve};
