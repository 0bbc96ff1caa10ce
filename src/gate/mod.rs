//! The command gate: what a command line would do, and what the policy says of it.
//!
//! ```text
//! line ── shell::parse ──▶ Script ── commands ──▶ [Command: argv, effects] ── rules ──▶ Judgement ── canonical ──▶ text
//! ```
//!
//! Everything here is pure: no await, no file, no clock. The proxy, the linter, the rehearsal over past commands, the
//! command line tool and the fuzzers call the same functions.
//!
//! What this module does **not** guard against: what an allowed program does by itself, beyond what the effects table
//! says of it; and on a shell of the target's own whatever was never given to it to judge.

pub mod canonical;
pub mod directory;
pub mod effects;
pub mod invocation;
pub mod learn;
pub mod offer;
pub mod rules;
pub mod shell;
pub mod sudoers;
pub mod verdict;

/// A command line longer than this is refused unread.
pub const LINE_BYTES_MAX: usize = 32 * 1024;
