//! RDP: what the two ends of a relayed desktop are told, what is recorded of it, and how a picture is made from that.
//!
//! Nothing here reads a socket or a clock. What the pictures and keys of a desktop make its programs do is not judged:
//! a desktop is recorded, watched and ended, and there is no command gate in it.

pub mod active;
pub mod channel;
pub mod connect;
pub mod control;
pub mod coverage;
pub mod fact;
mod fields;
pub mod file;
pub mod frame;
pub mod info;
pub mod keyframe;
pub mod keys;
pub mod licence;
pub mod nego;
mod packets;
pub mod pdu;
pub mod picture;
pub mod record;
pub mod rules;
pub mod share;
pub mod story;
mod surface;
