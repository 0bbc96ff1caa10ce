//! `doorward verify` against every attacker that it claims to find.

mod attacks;
mod bundles;
mod bytes;
mod cli;
mod rules;
pub mod store;
