//! The grammar of shell command lines: text becomes a tree, or is not understood.

pub mod tree;
pub mod word;
