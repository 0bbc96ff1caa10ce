//! What is doubtful about rules that open desktops.

use super::{Finding, finding, may_meet};
use crate::gate::verdict::CommandMode;
use crate::model::ChannelClass;
use crate::policy::{InputMode, PolicySet, Rule};

/// Looks at every rule that opens a desktop.
pub(super) fn of_rules(set: &PolicySet, found: &mut Vec<Finding>) {
    for rule in set.rules().filter(|rule| rule.channels.contains(&ChannelClass::Desktop)) {
        if let Some(judging) = set.rules().find(|other| judges(other) && may_meet(rule, other)) {
            let message = format!("rule `{}` opens a desktop where rule `{}` judges commands", rule.id, judging.id);
            let hint =
                "what runs on a desktop is recorded and not judged: take desktop out, or give it accounts of its own";
            found.push(finding("unjudged-desktop", &rule.file, rule.line, "rule", message, hint));
        }
        if rule.recording.input == InputMode::Echoed && only_desktop(rule) {
            let message =
                format!("rule `{}` records what is echoed, and a desktop echoes nothing: no keys are", rule.id);
            let hint = "write input = \"full\" to record the keys, passwords too, or \"off\"";
            found.push(finding("desktop-keys", &rule.file, rule.line, "rule.recording.input", message, hint));
        }
    }
}

fn judges(rule: &Rule) -> bool {
    rule.commands.as_ref().is_some_and(|commands| commands.mode != CommandMode::Observe)
}

fn only_desktop(rule: &Rule) -> bool {
    rule.channels.iter().all(|class| *class == ChannelClass::Desktop)
}
