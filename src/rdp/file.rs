//! What a user's program is told: an `.rdp` file, and the words for `xfreerdp`. Pure.
//!
//! What a rule does not let through is turned off here too, so that a program does not offer what would be refused.

use super::rules::{Clip, DesktopRules};

/// Where a user's program connects to, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Invitation<'a> {
    /// The bastion's `host:port`, as the user's machine reaches it.
    pub address: &'a str,
    /// The ticket's name.
    pub user: &'a str,
    /// The SHA-256 of the bastion's certificate, in lower-case hex.
    pub certificate: &'a str,
    /// What may pass.
    pub rules: &'a DesktopRules,
}

/// The text of an `.rdp` file. The secret is not in it: the program asks for it.
pub fn text(invitation: &Invitation<'_>) -> String {
    let Invitation { address, user, rules, .. } = invitation;
    let on = |on: bool| if on { "1" } else { "0" };
    let clipboard = rules.clipboard_in.max(rules.clipboard_out) != Clip::Off;
    let drives = if rules.drives { "*" } else { "" };
    let sound = if rules.audio { "0" } else { "2" };
    let lines = [
        format!("full address:s:{address}"),
        format!("username:s:{user}"),
        String::from("enablecredsspsupport:i:1"),
        String::from("authentication level:i:2"),
        String::from("prompt for credentials:i:1"),
        String::from("negotiate security layer:i:1"),
        // Only what is decoded can be shown to who watches and who audits.
        String::from("session bpp:i:32"),
        String::from("autoreconnection enabled:i:0"),
        String::from("redirectsmartcards:i:0"),
        String::from("redirectwebauthn:i:0"),
        String::from("redirectcomports:i:0"),
        String::from("redirectposdevices:i:0"),
        String::from("camerastoredirect:s:"),
        String::from("audiocapturemode:i:0"),
        format!("audiomode:i:{sound}"),
        format!("redirectclipboard:i:{}", on(clipboard)),
        format!("redirectprinters:i:{}", on(rules.printers)),
        format!("drivestoredirect:s:{drives}"),
    ];
    lines.map(|line| line + "\r\n").concat()
}

/// The command for FreeRDP. It asks for the password itself, so that the secret is in no list of processes.
pub fn xfreerdp(invitation: &Invitation<'_>) -> String {
    let Invitation { address, user, certificate, rules } = invitation;
    let clipboard = rules.clipboard_in.max(rules.clipboard_out) != Clip::Off;
    let mut words = vec![
        String::from("xfreerdp"),
        format!("/v:{address}"),
        format!("/u:{user}"),
        String::from("/sec:nla"),
        format!("/cert:fingerprint:sha256:{}", pairs(certificate)),
        String::from("/dynamic-resolution"),
        String::from(if clipboard { "+clipboard" } else { "-clipboard" }),
    ];
    words.extend(rules.drives.then(|| String::from("/drive:home,$HOME")));
    words.extend(rules.printers.then(|| String::from("/printer")));
    words.extend(rules.audio.then(|| String::from("/sound")));
    words.join(" ")
}

/// A fingerprint as FreeRDP compares it: pairs of digits with colons between them.
fn pairs(hex: &str) -> String {
    let digits: Vec<char> = hex.chars().collect();
    digits.chunks(2).map(|pair| pair.iter().collect::<String>()).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(rules: &DesktopRules) -> Invitation<'_> {
        Invitation { address: "bastion.example:3389", user: "t-7f3a", certificate: "ab12", rules }
    }

    #[test]
    fn what_a_rule_does_not_let_through_is_off_in_the_file_and_on_the_line() {
        let none = DesktopRules::default();
        let file = text(&invitation(&none));
        for line in [
            "full address:s:bastion.example:3389\r\n",
            "username:s:t-7f3a\r\n",
            "enablecredsspsupport:i:1\r\n",
            "redirectclipboard:i:0\r\n",
            "redirectprinters:i:0\r\n",
            "drivestoredirect:s:\r\n",
            "audiomode:i:2\r\n",
        ] {
            assert!(file.contains(line), "{line:?} is not in {file}");
        }
        let line = xfreerdp(&invitation(&none));
        assert!(line.contains("-clipboard") && line.contains("/cert:fingerprint:sha256:ab:12"), "{line}");
        assert!(
            !line.contains("/drive") && !line.contains("/printer") && !line.contains("/sound") && !line.contains("/p:")
        );
        let all = DesktopRules {
            clipboard_out: Clip::Text,
            drives: true,
            printers: true,
            audio: true,
            ..DesktopRules::default()
        };
        let (file, line) = (text(&invitation(&all)), xfreerdp(&invitation(&all)));
        for line in ["redirectclipboard:i:1", "redirectprinters:i:1", "drivestoredirect:s:*", "audiomode:i:0"] {
            assert!(file.contains(line), "{line:?} is not in {file}");
        }
        assert!(line.contains("+clipboard") && line.contains("/drive:home,$HOME") && line.contains("/sound"), "{line}");
    }
}
