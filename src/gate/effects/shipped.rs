//! The table that is part of the program: the files of `policies/effects/`.

/// Their paths and texts.
pub(super) const FILES: &[(&str, &str)] = &[
    ("policies/effects/shells.toml", include_str!("../../../policies/effects/shells.toml")),
    ("policies/effects/wrappers.toml", include_str!("../../../policies/effects/wrappers.toml")),
];
