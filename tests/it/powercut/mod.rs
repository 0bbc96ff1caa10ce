//! The power is cut: what was acknowledged is there, on a real file system.
//!
//! A writer works in a file system on a loop device. It is stopped, the device is copied as it is, and the copy is
//! mounted, which replays its journal. What the writer had acknowledged must be found in it: nothing that is only in
//! the kernel's memory survives a power cut, and nothing of that is in the copy. The same with syncs that lie must
//! lose what was acknowledged: else these tests would prove nothing.

mod found;
mod program;
mod server;
mod writer;
