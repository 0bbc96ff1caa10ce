//! What is said in words in a recording of a desktop: the records of the kind `Event`.

use serde::{Deserialize, Serialize};

/// One fact, in JSON `{"event": "...", ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Fact {
    /// What the desktop is; the first record of a recording.
    Session {
        /// Its width when the session opened, in pixels.
        width: u16,
        /// Its height.
        height: u16,
        /// The keyboard's layout (an input locale), by which keys are read as text.
        keyboard_layout: u32,
        /// What the user's program calls itself; not trusted.
        #[serde(default)]
        client_name: String,
        /// Whether keys are recorded.
        #[serde(default)]
        keys: bool,
    },
    /// The user's program asked for another size of the desktop.
    Resize {
        /// Its width, in pixels.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// A channel that one side wanted to open.
    Channel {
        /// Its name.
        name: String,
        /// Whether it is a dynamic one.
        #[serde(default)]
        dynamic: bool,
        /// Whether it may.
        allowed: bool,
    },
    /// Text or other data passed over the clipboard, or did not.
    Clipboard {
        /// To whom.
        to: Side,
        /// The format's number (MS-RDPECLIP section 1.3.1.2).
        format: u32,
        /// How many bytes it has.
        bytes: u64,
        /// The text, where it is text; at most [`TEXT_BYTES_MAX`] of it, and all of it is in the channel's own record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Names of files, where it is a list of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
        /// Why it did not pass; none if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// A device of the user's machine that was announced to the target.
    Device {
        /// Its name.
        name: String,
        /// What it is (MS-RDPEFS section 2.2.1.3).
        kind: String,
        /// Whether the target sees it.
        allowed: bool,
    },
    /// The target asked to open a file of the user's machine.
    File {
        /// The drive's number.
        device: u32,
        /// The path, as it was asked for.
        path: String,
        /// Whether the request was passed on.
        allowed: bool,
    },
    /// What passed on a channel whose bytes are not recorded.
    Passed {
        /// The channel.
        name: String,
        /// How many bytes to the user.
        to_user: u64,
        /// How many to the target.
        to_target: u64,
    },
    /// A message that is not let through.
    Dropped {
        /// The channel.
        name: String,
        /// Who sent it.
        from: Side,
        /// What is wrong with it.
        why: String,
    },
    /// Keys, mouse and clipboard were held back, or are let through again.
    Held {
        /// Whether they are held.
        on: bool,
    },
    /// It is over.
    Ended {
        /// Why.
        why: String,
    },
}

/// The most bytes of one clipboard text that stand in a fact.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// An end of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The bastion user's program.
    User,
    /// The target.
    Target,
}

impl Side {
    /// The one at the other end.
    pub fn other(self) -> Self {
        match self {
            Self::User => Self::Target,
            Self::Target => Self::User,
        }
    }
}

impl Fact {
    /// As it stands in a record.
    pub fn to_json(&self) -> Vec<u8> {
        // Maps with texts as keys and numbers that are finite: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What a record says; none if it is none of these.
    pub fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}
