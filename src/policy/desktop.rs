//! What passes beside picture, keys and mouse of a desktop: a rule's `desktop`.

use std::collections::BTreeSet;

use crate::document::{Fault, Faults, Node};
use crate::model::ChannelClass;
use crate::rdp::rules::{Clip, DesktopRules};

const CLIPS: &[(&str, Clip)] = &[("off", Clip::Off), ("text", Clip::Text), ("all", Clip::All)];

/// The most bytes of one paste where the rule does not say.
const CLIPBOARD_MAX: u64 = 1 << 20;
/// What a rule may allow at most: a paste is held in memory until it has been looked at.
const CLIPBOARD_MAX_MOST: u64 = 64 << 20;

/// Dynamic channels that no rule opens, with the reason.
const NEVER_OPENED: &[(&str, &str)] = &[
    ("Microsoft::Windows::RDS::Graphics", "pictures would pass in a form that the recording cannot show (MS-RDPEGFX)"),
    ("Microsoft::Windows::RDS::Video", "moving pictures would pass beside the recording (MS-RDPEVOR)"),
    ("Microsoft::Windows::RDS::Geometry", "moving pictures would pass beside the recording (MS-RDPEGT)"),
    ("Microsoft::Windows::RDS::Input", "touch and pen would pass beside the keys and the mouse (MS-RDPEI)"),
    ("Microsoft::Windows::RDS::CoreInput", "keys and mouse would pass beside those that are relayed (MS-RDPECI)"),
];

/// Reads a rule's `desktop`.
pub(super) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<DesktopRules> {
    let mut table = faults.keep(node.table())?;
    let clip = |node: &Node<'_>| node.word(CLIPS);
    let clipboard_in = table.read("clipboard_in", Clip::Off, faults, clip);
    let clipboard_out = table.read("clipboard_out", Clip::Off, faults, clip);
    let most = table.take("clipboard_max");
    if let Some(node) = most.as_ref().filter(|_| clipboard_in.max(clipboard_out) == Clip::Off) {
        faults.push(
            node.fault("has no effect: nothing passes over the clipboard").hint("write clipboard_in or clipboard_out"),
        );
    }
    let clipboard_bytes_max = match &most {
        Some(node) => faults.keep(node.size_in(1..=CLIPBOARD_MAX_MOST)),
        None => Some(CLIPBOARD_MAX),
    };
    let drives = table.read("drives", false, faults, Node::boolean);
    let printers = table.read("printers", false, faults, Node::boolean);
    let audio = table.read("audio", false, faults, Node::boolean);
    let dynamic = table.take("dynamic").map_or(Some(BTreeSet::new()), |node| read_dynamic(&node, faults));
    table.finish(&[], faults);
    Some(DesktopRules {
        clipboard_in,
        clipboard_out,
        clipboard_bytes_max: clipboard_bytes_max?,
        drives,
        printers,
        audio,
        dynamic: dynamic?,
    })
}

fn read_dynamic(node: &Node<'_>, faults: &mut Faults) -> Option<BTreeSet<String>> {
    let items = faults.keep(node.filled_list())?;
    // Two steps, so that a first bad one does not hide the second.
    let read: Vec<Option<String>> = items.iter().map(|item| faults.keep(read_name(item))).collect();
    read.into_iter().collect()
}

/// The name of a dynamic channel (MS-RDPEDYC section 2.2.2.1).
fn read_name(node: &Node<'_>) -> Result<String, Fault> {
    let name = node.filled_string()?;
    if name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("{name:?} is no name of a dynamic channel");
        return Err(node.fault(message).hint("at most 255 printable ASCII characters, such as \"ECHO\"; no patterns"));
    }
    if let Some((name, why)) = NEVER_OPENED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Err(node.fault(format!("{name} is never opened: {why}")));
    }
    Ok(name.to_owned())
}

/// What is said of desktops where no desktop is opened.
pub(super) fn refuse_odd(
    channels: &BTreeSet<ChannelClass>,
    fault: &dyn Fn(&str, String) -> Fault,
    faults: &mut Faults,
) {
    if !channels.contains(&ChannelClass::Desktop) {
        let message = String::from("has no effect: `channels` does not have desktop");
        faults.push(fault("rule.desktop", message).hint("add \"desktop\" to channels, or remove it"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timestamp, join};
    use crate::policy::{PolicyFile, PolicySet, Way, compare, lint};

    fn rule(id: &str, channels: &str, more: &str) -> String {
        format!(
            "[[rule]]\nid = '{id}'\nwho = {{ users = ['ana'] }}\nwhere = {{ targets = ['win1'] }}\naccounts = ['root']\n\
             channels = [{channels}]\ngrant = {{ required = false }}\n{more}\n"
        )
    }

    fn set(rules: &[String]) -> Result<PolicySet, Vec<Fault>> {
        let text = format!("schema = 1\n{}", rules.concat());
        PolicySet::parse(&[PolicyFile { path: String::from("policies/access/a.toml"), text }])
    }

    fn rules_of(text: &str) -> DesktopRules {
        set(&[rule("a", "'desktop'", text)]).unwrap().rules().next().unwrap().desktop.clone()
    }

    #[test]
    fn nothing_passes_beside_the_picture_that_a_rule_does_not_name() {
        assert_eq!(rules_of(""), DesktopRules::default());
        let some = rules_of("desktop = { clipboard_in = 'text', dynamic = ['ECHO'], audio = true }");
        assert_eq!((some.clipboard_in, some.clipboard_out, some.clipboard_bytes_max), (Clip::Text, Clip::Off, 1 << 20));
        assert_eq!((some.drives, some.printers, some.audio), (false, false, true));
        assert_eq!(some.words(), ["clipboard in (text)", "audio", "ECHO"]);
        assert_eq!(rules_of("desktop = { clipboard_out = 'all', clipboard_max = '2KiB' }").clipboard_bytes_max, 2048);
    }

    #[test]
    fn a_slip_in_desktop_is_told_with_its_line() {
        for (text, wanted) in [
            ("desktop = { clipboard = 'text' }", "unknown key"),
            ("desktop = { clipboard_in = 'yes' }", "known: off, text, all"),
            ("desktop = { clipboard_max = '1KiB' }", "has no effect: nothing passes over the clipboard"),
            ("desktop = { clipboard_in = 'text', clipboard_max = '1GiB' }", "out of range"),
            ("desktop = { drives = 'c:' }", "expected true or false"),
            ("desktop = { dynamic = [] }", "empty"),
            ("desktop = { dynamic = ['a b'] }", "is no name of a dynamic channel"),
            ("desktop = { dynamic = ['microsoft::windows::rds::graphics'] }", "is never opened"),
        ] {
            let faults = set(&[rule("a", "'desktop'", text)]).unwrap_err();
            assert_eq!(faults[0].line, Some(9), "{text}");
            assert!(join(&faults).contains(wanted), "{text}: {}", join(&faults));
        }
        let faults = set(&[rule("a", "'shell'", "desktop = { audio = true }")]).unwrap_err();
        assert!(join(faults).contains("`channels` does not have desktop"));
    }

    #[test]
    fn a_comparison_weighs_what_passes() {
        let plain = set(&[rule("a", "'desktop'", "")]).unwrap();
        let text = set(&[rule("a", "'desktop'", "desktop = { clipboard_in = 'text' }")]).unwrap();
        let sound = set(&[rule("a", "'desktop'", "desktop = { audio = true }")]).unwrap();
        let way = |old, new| compare(old, new).iter().map(|difference| difference.way).collect::<Vec<_>>();
        assert_eq!(way(&plain, &text), [Way::Widens]);
        assert_eq!(way(&text, &plain), [Way::Narrows]);
        assert_eq!(way(&text, &sound), [Way::MayWiden]);
        assert_eq!(way(&text, &text), []);
    }

    #[test]
    fn a_desktop_where_commands_are_judged_is_doubtful() {
        let commands = "mode = 'strict'\nschema = 1\n[[rule]]\nid = 'id'\neffect = 'allow'\nprogram = '/usr/bin/id'\n";
        let found = |desktop: String| {
            let judged = rule("ops", "'exec'", "commands = { mode = 'strict', sets = ['a'] }");
            let file = |path: &str, text: String| PolicyFile { path: path.to_owned(), text };
            let files = [
                file("p/access/a.toml", format!("schema = 1\n{judged}{desktop}")),
                file("p/commands/a.toml", commands.to_owned()),
            ];
            let set = PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{}", join(faults)));
            lint(&set, Timestamp::from_millis(0)).iter().map(|found| found.check).collect::<BTreeSet<_>>()
        };
        assert!(found(rule("d", "'desktop'", "")).contains("unjudged-desktop"));
        assert!(!found(rule("d", "'desktop'", "").replace("'root'", "'other'")).contains("unjudged-desktop"));
        assert!(!found(rule("d", "'shell'", "")).contains("unjudged-desktop"));
        assert!(found(rule("d", "'desktop'", "recording = { input = 'echoed' }")).contains("desktop-keys"));
        assert!(!found(rule("d", "'desktop'", "recording = { input = 'full' }")).contains("desktop-keys"));
    }
}
