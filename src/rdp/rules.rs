//! What a rule lets through beside picture, keys and mouse; all of it is off unless a rule names it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What may go one way over the clipboard.
///
/// Ordered: the stricter is the smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl DesktopRules {
    /// Whether nothing passes by these that does not pass by the others.
    pub fn is_within(&self, others: &Self) -> bool {
        let pastes = self.clipboard_in.max(self.clipboard_out) != Clip::Off;
        self.clipboard_in <= others.clipboard_in
            && self.clipboard_out <= others.clipboard_out
            && (!pastes || self.clipboard_bytes_max <= others.clipboard_bytes_max)
            && self.drives <= others.drives
            && self.printers <= others.printers
            && self.audio <= others.audio
            && self.dynamic.is_subset(&others.dynamic)
    }

    /// What passes, in words, for lists; empty where nothing does.
    pub fn words(&self) -> Vec<String> {
        let clip = |way: &str, clip: Clip| match clip {
            Clip::Off => None,
            Clip::Text => Some(format!("clipboard {way} (text)")),
            Clip::All => Some(format!("clipboard {way}")),
        };
        let switch = |word: &str, on: bool| on.then(|| String::from(word));
        let clips = [clip("in", self.clipboard_in), clip("out", self.clipboard_out)];
        let switches = [switch("drives", self.drives), switch("printers", self.printers), switch("audio", self.audio)];
        let dynamic = self.dynamic.iter().cloned();
        clips.into_iter().chain(switches).flatten().chain(dynamic).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_more_through_is_not_within_what_lets_less() {
        let none = DesktopRules::default();
        let text = DesktopRules { clipboard_in: Clip::Text, clipboard_bytes_max: 100, ..DesktopRules::default() };
        let all = DesktopRules { clipboard_in: Clip::All, clipboard_bytes_max: 200, ..DesktopRules::default() };
        let named = DesktopRules { dynamic: BTreeSet::from([String::from("ECHO")]), ..DesktopRules::default() };
        assert!(none.is_within(&text) && text.is_within(&all) && none.is_within(&named));
        assert!(!text.is_within(&none) && !all.is_within(&text) && !named.is_within(&all) && !all.is_within(&named));
        for wider in [
            DesktopRules { drives: true, ..DesktopRules::default() },
            DesktopRules { printers: true, ..DesktopRules::default() },
            DesktopRules { audio: true, ..DesktopRules::default() },
            DesktopRules { clipboard_out: Clip::Text, ..DesktopRules::default() },
        ] {
            assert!(!wider.is_within(&none), "{wider:?}");
        }
        // How large a paste may be says nothing where none passes.
        let large = DesktopRules { clipboard_bytes_max: 1 << 30, ..DesktopRules::default() };
        assert!(large.is_within(&none));
    }
}
