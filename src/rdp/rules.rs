//! What a rule lets through beside picture, keys and mouse; all of it is off unless a rule names it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What may go one way over the clipboard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// Nothing.
    #[default]
    Off,
    /// Text in the formats `CF_TEXT`, `CF_OEMTEXT` and `CF_UNICODETEXT` (MS-RDPECLIP section 1.3.1.2).
    Text,
    /// Every format, files among them.
    All,
}

/// What a rule lets through beside picture, keys and mouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesktopRules {
    /// From the user to the target.
    pub clipboard_in: Clip,
    /// From the target to the user.
    pub clipboard_out: Clip,
    /// The most bytes that one paste may have, each way.
    pub clipboard_bytes_max: u64,
    /// Drives of the user's machine (MS-RDPEFS).
    pub drives: bool,
    /// Printers of the user's machine (MS-RDPEPC).
    pub printers: bool,
    /// Sound from the target (MS-RDPEA).
    pub audio: bool,
    /// Dynamic channels by name, beside the one that changes the desktop's size (MS-RDPEDISP).
    pub dynamic: BTreeSet<String>,
}
