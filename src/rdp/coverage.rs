//! The coverage table of a desktop: every channel and kind of message that RDP has, and what becomes of it.
//!
//! What is not in it is refused and on record, as in the table of SSH ([`crate::coverage`]).

use std::fmt;

use serde::Serialize;

use crate::coverage::{Fate, Peer, Row, row_of};

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// How a connection is set up.
    Handshake,
    /// A message of the I/O channel, or on the fast path.
    Message,
    /// A static virtual channel (MS-RDPBCGR section 3.1.5.2).
    Channel,
    /// A dynamic virtual channel (MS-RDPEDYC).
    Dynamic,
    /// A message of a channel.
    Part,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Handshake => "hello",
            Self::Message => "message",
            Self::Channel => "channel",
            Self::Dynamic => "dynamic",
            Self::Part => "part",
        })
    }
}

/// Every channel and message of MS-RDPBCGR and its extensions.
#[rustfmt::skip]
pub const TABLE: &[Row<Kind>] = {
    use Fate::{Empty, Metadata, Recorded, Refused};
    use Kind::{Channel, Dynamic, Handshake, Message, Part};
    use Peer::{Target, User};
    &[
        row_of(User, Handshake, "negotiation", Empty, None, "NLA or TLS; standard RDP security is refused", "MS-RDPBCGR 2.2.1.1"),
        row_of(User, Handshake, "CredSSP", Metadata, None, "ended here; the secret of a one-time ticket is nowhere on record", "MS-CSSP"),
        row_of(User, Handshake, "Client Info", Metadata, None, "ended here; never recorded, for it holds a password", "MS-RDPBCGR 2.2.1.11"),
        row_of(User, Handshake, "conference create", Empty, None, "cut down to what is known; no other pictures, no second connection", "MS-RDPBCGR 2.2.1.3"),
        row_of(User, Message, "Confirm Active", Recorded, None, "cut down to forms that can be drawn from the record", "MS-RDPBCGR 2.2.1.13.2"),
        row_of(User, Message, "keyboard", Recorded, None, "with recording = { input = \"full\" }; else it passes and is not kept", "MS-RDPBCGR 2.2.8.1"),
        row_of(User, Message, "mouse", Recorded, None, "with the keys: under `input = \"full\"` alone", "MS-RDPBCGR 2.2.8.1"),
        row_of(User, Message, "Suppress Output", Refused, None, "dropped: a recording would have holes", "MS-RDPBCGR 2.2.11.3"),
        row_of(User, Message, "Refresh Rect", Recorded, None, "", "MS-RDPBCGR 2.2.11.2"),
        row_of(User, Message, "Shutdown Request", Recorded, None, "", "MS-RDPBCGR 2.2.2.2"),
        row_of(User, Message, "auto-reconnect cookie", Refused, None, "who comes back proves again who they are", "MS-RDPBCGR 2.2.4"),
        row_of(Target, Handshake, "licensing", Metadata, None, "at most eight messages, counted and not kept, for they hold keys", "MS-RDPELE"),
        row_of(Target, Message, "Demand Active", Recorded, None, "", "MS-RDPBCGR 2.2.1.13.1"),
        row_of(Target, Message, "Deactivate All", Recorded, None, "", "MS-RDPBCGR 2.2.3.1"),
        row_of(Target, Message, "bitmap update", Recorded, None, "", "MS-RDPBCGR 2.2.9.1"),
        row_of(Target, Message, "palette update", Recorded, None, "", "MS-RDPBCGR 2.2.9.1"),
        row_of(Target, Message, "surface commands", Recorded, None, "raw and RemoteFX", "MS-RDPBCGR 2.2.9.2"),
        row_of(Target, Message, "pointer update", Recorded, None, "", "MS-RDPBCGR 2.2.9.1"),
        row_of(Target, Message, "drawing orders", Refused, None, "not offered to the target, and end the session", "MS-RDPEGDI"),
        row_of(Target, Message, "bulk compression", Refused, None, "not offered to the target", "MS-RDPBCGR 3.1.8"),
        row_of(Target, Message, "Save Session Info", Metadata, None, "without its cookie", "MS-RDPBCGR 2.2.10.1"),
        row_of(Target, Message, "Server Redirection", Refused, None, "ends the session: a target does not choose another", "MS-RDPBCGR 2.2.13"),
        row_of(Target, Message, "multitransport", Refused, None, "not offered: no second connection over UDP", "MS-RDPBCGR 2.2.15"),
        row_of(User, Channel, "cliprdr", Recorded, Some("clipboard_in, clipboard_out"), "each way by itself: nothing, text, or all", "MS-RDPECLIP"),
        row_of(User, Part, "cliprdr format list", Recorded, Some("clipboard_in"), "cut down to formats that may pass", "MS-RDPECLIP 2.2.3.1"),
        row_of(User, Part, "cliprdr data", Recorded, Some("clipboard_in"), "only what was asked for, up to clipboard_max", "MS-RDPECLIP 2.2.5.2"),
        row_of(User, Part, "cliprdr file contents", Recorded, Some("clipboard_in = \"all\""), "", "MS-RDPECLIP 2.2.5.4"),
        row_of(User, Part, "cliprdr temporary directory", Refused, None, "dropped: it names a folder of the user's machine", "MS-RDPECLIP 2.2.2.3"),
        row_of(Target, Part, "cliprdr format list", Recorded, Some("clipboard_out"), "cut down to formats that may pass", "MS-RDPECLIP 2.2.3.1"),
        row_of(Target, Part, "cliprdr data", Recorded, Some("clipboard_out"), "only what was asked for, up to clipboard_max", "MS-RDPECLIP 2.2.5.2"),
        row_of(Target, Part, "cliprdr file contents", Recorded, Some("clipboard_out = \"all\""), "", "MS-RDPECLIP 2.2.5.4"),
        row_of(User, Channel, "rdpdr", Recorded, Some("drives, printers"), "devices by their kind", "MS-RDPEFS"),
        row_of(User, Part, "rdpdr drive", Recorded, Some("drives"), "what is opened also in words", "MS-RDPEFS 2.2.3.1"),
        row_of(User, Part, "rdpdr printer", Recorded, Some("printers"), "", "MS-RDPEPC"),
        row_of(User, Part, "rdpdr smart card", Refused, None, "", "MS-RDPESC"),
        row_of(User, Part, "rdpdr port", Refused, None, "serial and parallel", "MS-RDPESP"),
        row_of(User, Channel, "rdpsnd", Metadata, Some("audio"), "how many bytes", "MS-RDPEA"),
        row_of(User, Channel, "drdynvc", Recorded, None, "each dynamic channel by its name", "MS-RDPEDYC"),
        row_of(User, Part, "drdynvc compression", Refused, None, "not offered", "MS-RDPEDYC 2.2.3.3"),
        row_of(User, Part, "drdynvc soft sync", Refused, None, "not offered: no second connection", "MS-RDPEDYC 2.2.5"),
        row_of(User, Channel, "rail", Refused, None, "single programs' windows", "MS-RDPERP"),
        row_of(User, Channel, "remdesk", Refused, None, "remote assistance", "MS-RA"),
        row_of(User, Channel, "encomsp", Refused, None, "desktops that several people share", "MS-RDPEMC"),
        row_of(User, Channel, "tsmf", Refused, None, "films, whose pictures no record would show", "MS-RDPEV"),
        row_of(User, Channel, "RDPDR_DVC", Refused, None, "", "MS-RDPEFS"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::DisplayControl", Recorded, None, "up to 8192 pixels each way", "MS-RDPEDISP"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::Graphics", Refused, None, "pictures in forms that are not drawn from the record", "MS-RDPEGFX"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::Video::Control::v08.01", Refused, None, "the same", "MS-RDPEVOR"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::Video::Data::v08.01", Refused, None, "the same", "MS-RDPEVOR"),
        row_of(Target, Dynamic, "AUDIO_PLAYBACK_DVC", Recorded, Some("audio"), "", "MS-RDPEA"),
        row_of(Target, Dynamic, "AUDIO_PLAYBACK_LOSSY_DVC", Recorded, Some("audio"), "", "MS-RDPEA"),
        row_of(Target, Dynamic, "AUDIO_INPUT", Recorded, Some("dynamic"), "the user's microphone; refused unless named", "MS-RDPEAI"),
        row_of(Target, Dynamic, "URBDRC", Recorded, Some("dynamic"), "USB devices; refused unless named", "MS-RDPEUSB"),
        row_of(Target, Dynamic, "RDCamera_Device_Enumerator", Recorded, Some("dynamic"), "refused unless named", "MS-RDPECAM"),
        row_of(Target, Dynamic, "WebAuthN_Channel", Recorded, Some("dynamic"), "refused unless named", "MS-RDPEWA"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::Input", Refused, None, "touch and pen: a freeze would not hold them", "MS-RDPEI"),
        row_of(Target, Dynamic, "Microsoft::Windows::RDS::CoreInput", Refused, None, "keys and mouse beside those that are relayed", "MS-RDPECI"),
        row_of(Target, Dynamic, "ECHO", Recorded, Some("dynamic"), "refused unless named", "MS-RDPEECO"),
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::channel::Channels;
    use super::super::rules::{Clip, DesktopRules};
    use super::*;

    fn static_names() -> Vec<String> {
        TABLE.iter().filter(|row| row.kind == Kind::Channel).map(|row| row.name.to_owned()).collect()
    }

    fn open(rules: &DesktopRules) -> BTreeSet<String> {
        let names = static_names();
        let channels = Channels::new(&names, rules);
        names
            .into_iter()
            .zip(channels.offered())
            .filter(|(name, offered)| name == offered)
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn each_thing_stands_once() {
        for row in TABLE {
            let same = |other: &&Row<Kind>| (other.from, other.kind, other.name) == (row.from, row.kind, row.name);
            assert_eq!(TABLE.iter().filter(same).count(), 1, "{row:?}");
        }
    }

    #[test]
    fn the_table_says_what_the_channels_do() {
        let all = DesktopRules {
            clipboard_in: Clip::All,
            clipboard_out: Clip::All,
            drives: true,
            printers: true,
            audio: true,
            ..DesktopRules::default()
        };
        let rows = || TABLE.iter().filter(|row| row.kind == Kind::Channel);
        let named = |keep: &dyn Fn(&Row<Kind>) -> bool| -> BTreeSet<String> {
            rows().filter(|row| keep(row)).map(|row| row.name.to_owned()).collect()
        };
        assert_eq!(open(&all), named(&|row| row.fate != Fate::Refused));
        assert_eq!(open(&DesktopRules::default()), named(&|row| row.fate != Fate::Refused && row.switch.is_none()));
    }

    #[test]
    fn what_no_rule_opens_is_refused_in_the_table() {
        for never in super::super::channel::NEVER {
            let row = TABLE.iter().find(|row| row.kind == Kind::Dynamic && row.name == never);
            assert!(row.is_none_or(|row| row.fate == Fate::Refused), "{never}");
        }
        let refused = TABLE.iter().filter(|row| row.kind == Kind::Dynamic && row.fate == Fate::Refused);
        assert!(refused.clone().count() > 0);
        for row in refused {
            assert!(super::super::channel::NEVER.contains(&row.name), "{}", row.name);
        }
    }
}
