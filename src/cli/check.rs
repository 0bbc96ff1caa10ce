//! `doorward check`: every fault of configuration and policies at once. Binds nothing, opens no state.

use std::path::Path;

use super::output::{say, show};
use super::{CliError, desk};
use crate::config::{Config, LoadedPolicy, load_policy, read_policies, read_trust};
use crate::model::join;
use crate::policy::{Fault, PolicySet};
use crate::requests::can_alarm;
use crate::screen::counted;

pub(super) fn run(file: Option<&Path>) -> Result<(), CliError> {
    let place = desk::place(file)?;
    let mut faults = Vec::new();
    match Config::load(&place) {
        Ok(config) => {
            let lists = read_trust(&config.login);
            faults.extend(lists.faults().map(|fault| Fault::in_file(place.display().to_string(), fault)));
            match load_policy(&config) {
                Ok(LoadedPolicy { set, signed }) => {
                    set.warnings().iter().for_each(|found| tell_warning(&found.fault));
                    if set.rules().any(|rule| rule.glass.is_some()) && !can_alarm(&config.notify.ways()) {
                        say(
                            "warning: rules have `break_glass`, and nobody can break it: [notify] has no two ways to tell",
                        );
                        say("people that do not fail together. Webhooks on one host are one way, and mail is another");
                    }
                    show(format!("configuration {} is good", place.display()));
                    show(format!(
                        "policies {} are good: {}, hash {}",
                        config.policies.display(),
                        counted(set.rules().count(), "rule"),
                        set.hash()
                    ));
                    if let Some((by, serial)) = signed {
                        show(format!("they are edition {serial}, signed by {}", join(&by)));
                    }
                    say("not looked at: whether the users, groups and targets that rules name exist;");
                    say("`doorward policy reload` names those that do not");
                }
                Err(found) => faults.extend(found),
            }
        }
        Err(found) => {
            faults.extend(found);
            // Where the configuration is at fault the policies are looked for where they usually are.
            let usual = place.parent().unwrap_or(Path::new(".")).join("policies");
            if usual.is_dir() {
                faults
                    .extend(read_policies(&usual).and_then(|files| PolicySet::parse(&files)).err().unwrap_or_default());
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let noun = if faults.len() == 1 { "fault" } else { "faults" };
    Err(CliError::of_faults(format!("{} {noun}", faults.len()), &faults))
}

fn tell_warning(warning: &Fault) {
    say(format!("warning: {warning}"));
    if let Some(hint) = &warning.hint {
        say(format!("hint: {hint}"));
    }
}
