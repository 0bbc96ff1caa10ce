//! Mail, by a program of the operator's such as `sendmail -t -i`.

use super::{Letter, program};

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The sender's address.
    pub from: String,
    /// The domain behind the names of users.
    pub domain: String,
    /// Addresses that get each alert, whoever else does.
    pub alerts: Vec<String>,
}

impl MailSettings {
    /// Hands a message to the program.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn send(&self, message: &Letter<'_>) -> Result<(), String> {
        if self.recipients(message).is_empty() {
            return Err(String::from("there is nobody to send it to"));
        }
        program::hand(&self.command, self.mail(message))
    }

    fn recipients(&self, message: &Letter<'_>) -> Vec<String> {
        let alerts = self.alerts.iter().filter(|_| message.alert).cloned();
        message.to.iter().map(|user| format!("{user}@{}", self.domain)).chain(alerts).collect()
    }

    /// The message as mail (RFC 5322). Names of users are of harmless characters; other texts are of one line each.
    fn mail(&self, message: &Letter<'_>) -> String {
        let to = self.recipients(message);
        let Self { from, .. } = self;
        let Letter { id, subject, text, .. } = message;
        let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
        // Words that are not ASCII are encoded (RFC 2047), so that no header has other bytes.
        let subject = if subject.is_ascii() && !subject.contains("=?") {
            subject
        } else {
            use base64::Engine;
            let piece = |chars: &[char]| {
                let text: String = chars.iter().collect();
                format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
            };
            let chars: Vec<char> = subject.chars().collect();
            chars.chunks(12).map(piece).collect::<Vec<_>>().join("\n ")
        };
        format!(
            "From: {from}\nTo: {}\nSubject: [doorward] {subject}\nMessage-ID: <{id}@{}>\nAuto-Submitted: auto-generated\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n",
            to.join(",\n "),
            self.domain,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::model::{Timestamp, UserName};

    static BOB: LazyLock<UserName> = LazyLock::new(|| UserName::parse("bob").unwrap());

    fn message(subject: &str) -> Letter<'_> {
        Letter {
            id: "m-1",
            at: Timestamp::from_millis(0),
            event: "request.create",
            request: None,
            to: vec![&BOB],
            subject,
            text: "alice asks",
            alert: false,
            command: None,
        }
    }

    fn settings(command: &[&str]) -> MailSettings {
        MailSettings {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            from: String::from("doorward@example.org"),
            domain: String::from("example.org"),
            alerts: vec![String::from("security@example.org")],
        }
    }

    #[test]
    fn an_alert_goes_to_security_too() {
        let alert = Letter { alert: true, ..message("x") };
        assert!(settings(&[]).mail(&alert).contains("To: bob@example.org,\n security@example.org\n"));
        assert!(!settings(&[]).mail(&message("x")).contains("security"));
        let nobody = Letter { to: Vec::new(), ..message("x") };
        assert!(settings(&["/bin/true"]).send(&nobody).is_err());
    }

    #[test]
    fn no_text_of_a_user_makes_a_header() {
        let mail = settings(&[]).mail(&message("x\nBcc: mallory@example.com\r\n\r\nbody"));
        assert_eq!(mail.lines().filter(|line| line.starts_with("Bcc")).count(), 0, "{mail}");
        let mail = settings(&[]).mail(&message("Grüße, die lang genug sind, um umgebrochen zu werden, und länger"));
        let (head, _) = mail.split_once("\n\n").unwrap();
        assert!(head.is_ascii() && head.lines().all(|line| line.len() < 78), "{head}");
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_has_not_taken_it() {
        let send = |command: &[&str]| settings(command).send(&message("x"));
        assert_eq!(send(&["/bin/true"]), Ok(()));
        assert!(send(&["/bin/false"]).is_err());
        assert!(send(&["/nonexistent"]).is_err());
        assert!(send(&[]).is_err());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mail");
        assert_eq!(send(&["/usr/bin/tee", file.to_str().unwrap()]), Ok(()));
        assert!(
            std::fs::read_to_string(&file).unwrap().starts_with("From: doorward@example.org\nTo: bob@example.org\n")
        );
    }
}
