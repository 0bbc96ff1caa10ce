//! `doorward verify` against every attacker that it claims to find.

mod attacks;
mod bytes;
mod rules;
mod store;
