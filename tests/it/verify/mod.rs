//! `doorward verify` against every attacker that it claims to find.

mod asked;
mod attacks;
mod backups;
mod bundles;
mod bytes;
mod cli;
mod excuses;
mod interrupted;
mod policies;
mod removals;
mod rewraps;
mod rules;
pub mod store;
mod suspects;
