//! The leg to a target: dial, check the host key, log in, open channels.

pub mod certificate;
mod forward;
mod handler;
mod loan;
pub mod ssh;

pub use forward::Incoming;
pub use loan::{Lent, Loan};
pub use ssh::{Algorithms, Binding, DialError, Leg, Settings, Started, Wishes, scan};
