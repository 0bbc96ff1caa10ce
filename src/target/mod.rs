//! The leg to a target: dial, check the host key, log in, open channels.

mod forward;
mod handler;
pub mod ssh;

pub use forward::Incoming;
pub use ssh::{Algorithms, DialError, Leg, Settings, scan};
