//! The table that is part of the program: the files of `policies/effects/`.

/// Their paths and texts.
pub(super) const FILES: &[(&str, &str)] = &[
    ("policies/effects/archives.toml", include_str!("../../../policies/effects/archives.toml")),
    ("policies/effects/containers.toml", include_str!("../../../policies/effects/containers.toml")),
    ("policies/effects/databases.toml", include_str!("../../../policies/effects/databases.toml")),
    ("policies/effects/development.toml", include_str!("../../../policies/effects/development.toml")),
    ("policies/effects/disks.toml", include_str!("../../../policies/effects/disks.toml")),
    ("policies/effects/editors.toml", include_str!("../../../policies/effects/editors.toml")),
    ("policies/effects/files.toml", include_str!("../../../policies/effects/files.toml")),
    ("policies/effects/languages.toml", include_str!("../../../policies/effects/languages.toml")),
    ("policies/effects/mail.toml", include_str!("../../../policies/effects/mail.toml")),
    ("policies/effects/network.toml", include_str!("../../../policies/effects/network.toml")),
    ("policies/effects/packages.toml", include_str!("../../../policies/effects/packages.toml")),
    ("policies/effects/privileges.toml", include_str!("../../../policies/effects/privileges.toml")),
    ("policies/effects/processes.toml", include_str!("../../../policies/effects/processes.toml")),
    ("policies/effects/services.toml", include_str!("../../../policies/effects/services.toml")),
    ("policies/effects/shells.toml", include_str!("../../../policies/effects/shells.toml")),
    ("policies/effects/text.toml", include_str!("../../../policies/effects/text.toml")),
    ("policies/effects/users.toml", include_str!("../../../policies/effects/users.toml")),
    ("policies/effects/wrappers.toml", include_str!("../../../policies/effects/wrappers.toml")),
];
