//! Connections from bastion users: accept, limits, handshake, login.

mod accept;
mod attempts;
mod environment;
mod jump;
mod limits;
pub mod ssh;

pub use accept::accept;
pub use environment::EnvPattern;
pub use jump::{HostKeys, ca_line};
pub use limits::{IDLE_MAX, Limits, Place};
pub use ssh::{
    ChannelStart, Connection, FailedLogin, ForwardStart, LendStart, ListenStart, Opener, Originator, Outlets, Request,
    Settings, UserSink, UserSource, Wanted, serve,
};
