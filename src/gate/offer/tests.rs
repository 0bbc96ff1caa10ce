use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::document::Faults;
use crate::gate::effects::Table;
use crate::gate::rules::CommandSet;
use crate::gate::verdict::{Ticket, judge};
use crate::model::{AccountName, RuleId, TargetName, Timestamp, UserName};

const SET: &str = r#"
schema = 1
mode = "strict"
default = "deny"

[[rule]]
id = "restart"
effect = "allow"
program = "/usr/bin/systemctl"
args = ["{verb:restart|reload|is-active}", "{unit:nginx|php*-fpm}"]
reason = "operators may restart the web tier"

[[rule]]
id = "logs"
effect = "allow"
program = ["/usr/bin/tail", "/usr/bin/cat"]
reads = ["/var/log/nginx/**", "/etc/motd"]
flags = { tail = ["-n=", "-f", "--lines=", "-#"] }
pipe = true
reason = "operators may read logs"

[[rule]]
id = "drain"
effect = "approve"
program = "/usr/local/bin/drain"
args = ["--node={node:host}", "{n:number}"]
approvers = { group = "leads" }
reason = "draining takes capacity away"

[[rule]]
id = "others"
effect = "allow"
program = "/usr/bin/uptime"
args = []
groups = ["none"]
reason = "r"

[[rule]]
id = "never"
effect = "deny"
program = "/usr/bin/rm"
reason = "r"
"#;

fn governed() -> Vec<Governed> {
    let mut faults = Faults::default();
    let set = CommandSet::read("a", "a.toml", SET, &mut faults).map(Arc::new);
    let told: Vec<String> = faults.into_sorted().iter().map(ToString::to_string).collect();
    let set = set.unwrap_or_else(|| panic!("{told:?}"));
    vec![Governed { rule: RuleId::parse("access").unwrap(), commands: Some((CommandMode::Strict, vec![set])) }]
}

fn asked<T>(with: impl FnOnce(&[Governed], &Asker<'_>) -> T) -> T {
    let (groups, labels) = (BTreeSet::new(), BTreeMap::new());
    let asker = Asker {
        user: &UserName::parse("ana").unwrap(),
        groups: &groups,
        target: &TargetName::parse("web1").unwrap(),
        labels: &labels,
        account: &AccountName::parse("ops").unwrap(),
        ticket: Ticket::Of(None),
        at: Timestamp::from_millis(1_795_000_000_000),
    };
    with(&governed(), &asker)
}

/// The words, those that go on with a `~`, and then the hints.
fn offered(line: &str) -> String {
    let offers = asked(|governed, asker| offers(line, line.len(), governed, asker));
    let words = offers.words.iter().map(|word| format!("{}{}", word.text, if word.open { "~" } else { "" }));
    let mut all: Vec<String> = words.collect();
    all.extend(offers.hints.iter().map(|hint| format!("({hint})")));
    all.join(" ")
}

#[test]
fn what_may_be_typed_next_is_offered_and_nothing_else() {
    for (line, wanted) in [
        ("", "cat drain systemctl tail"),
        ("s", "systemctl"),
        ("/usr/b", "/usr/bin/cat /usr/bin/systemctl /usr/bin/tail"),
        ("u", ""),
        ("r", ""),
        ("systemctl ", "is-active reload restart"),
        ("systemctl re", "reload restart"),
        ("  /usr/bin/systemctl 're'", "reload restart"),
        ("systemctl restart ", "nginx (UNIT: php*-fpm)"),
        ("systemctl restart n", "nginx"),
        ("systemctl restart php8", "(UNIT: php*-fpm)"),
        ("systemctl stop ", ""),
        ("systemctl restart nginx ", ""),
        ("systemctl restart nginx && t", "tail"),
        ("tail /var/log/nginx/a | ", "cat tail"),
        ("tail /a || ", "cat drain systemctl tail"),
        ("tail ", "/etc/motd /var/log/nginx/~"),
        ("tail -", "--lines=~ -f -n (-NUMBER)"),
        ("tail -n ", "(the value of -n)"),
        ("tail -n 5 -f /var/log/nginx/", "(PATH: /var/log/nginx/**)"),
        ("tail -x ", ""),
        ("tail -20 --lines=4 -fn5 /e", "/etc/motd"),
        ("cat -", ""),
        ("drain ", "--node=~"),
        ("drain --node=", "(--node=NODE: a host)"),
        ("drain --node=web1 ", "(N: a number)"),
        ("rm ", ""),
        ("tail > ", ""),
        ("nothing ", ""),
    ] {
        assert_eq!(offered(line), wanted, "{line}");
    }
    let offers = asked(|governed, asker| offers("systemctl restart nginx | 'ta", 29, governed, asker));
    assert_eq!((offers.start, offers.words.len()), (26, 1));
    assert_eq!(offers.words[0].help, "operators may read logs");
}

#[test]
fn each_form_is_listed_in_one_line() {
    let forms = asked(forms);
    let lines: Vec<String> =
        forms.iter().map(|form| format!("{}{}", if form.approve { "? " } else { "" }, form.usage)).collect();
    assert_eq!(
        lines,
        [
            "systemctl restart|reload|is-active nginx|php*-fpm",
            "tail [-n VALUE] [-f] [--lines=VALUE] [-NUMBER] ... (/var/log/nginx/** /etc/motd)",
            "cat ... (/var/log/nginx/** /etc/motd)",
            "? drain --node=NODE N",
        ]
    );
}

// What is offered as a whole line, word by word, is not refused.
#[test]
fn a_line_of_offers_is_allowed() {
    let table = Table::built_in();
    let mut lines = vec![String::new()];
    let mut whole = 0;
    while let Some(line) = lines.pop() {
        let offers = asked(|governed, asker| offers(&line, line.len(), governed, asker));
        if offers.words.is_empty() && offers.hints.is_empty() {
            let judgement = asked(|governed, asker| judge(line.trim(), governed, table, asker));
            assert_ne!(judgement.outcome, Outcome::Deny, "{line}: {:?}", judgement.reason);
            whole += 1;
        }
        if line.matches(' ').count() < 4 {
            let closed = offers.words.iter().filter(|word| !word.open);
            lines.extend(closed.map(|word| format!("{}{} ", &line[..offers.start], word.text)));
        }
    }
    assert!(whole >= 3, "{whole}");
}

proptest! {
    #[test]
    fn any_text_has_offers_in_bounds(line in "[a-z'\"\\\\|&;<>(){} \n/=\u{e4}-]{0,40}|systemctl \\PC{0,20}", at in 0_usize..60) {
        let offers = asked(|governed, asker| offers(&line, at, governed, asker));
        prop_assert!(offers.start <= at.max(line.len()));
        if line.is_char_boundary(at) {
            prop_assert!(line.get(offers.start..at).is_some() || at > line.len());
        }
    }
}
