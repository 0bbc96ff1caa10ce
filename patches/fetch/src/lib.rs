//! Empty: this package only pins russh by checksum, see Cargo.toml.
