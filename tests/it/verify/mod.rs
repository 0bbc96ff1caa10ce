//! `doorward verify` against every attacker that it claims to find.

mod attacks;
mod bundles;
mod bytes;
mod cli;
mod policies;
mod removals;
mod rewraps;
mod rules;
mod store;
