//! What a permit says of a desktop.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asker, permit};
use crate::model::{AccountName, Asked, ChannelClass, TargetName, Timestamp, UserName};
use crate::policy::{Circumstances, PolicyFile, PolicySet, Question};

fn rule(id: &str, required: bool, desktop: &str) -> String {
    format!(
        "[[rule]]\nid = '{id}'\nwho = {{ users = ['ana'] }}\nwhere = {{ targets = ['win1'] }}\naccounts = ['root']\n\
         channels = ['desktop']\ndesktop = {{ {desktop} }}\ngrant = {{ required = {required} }}\n"
    )
}

#[test]
fn what_passes_is_what_the_rule_of_the_permit_says_and_no_other() {
    let text = ["schema = 1\n", &rule("wide", true, "drives = true"), &rule("narrow", false, "audio = true")].concat();
    let set = PolicySet::parse(&[PolicyFile { path: String::from("p/access/a.toml"), text }]).unwrap();
    let user = UserName::parse("ana").unwrap();
    let (asker, asked) = (Asker::plain(&user, "key"), Asked::from(ChannelClass::Desktop));
    let question = Question {
        user: &user,
        groups: &BTreeSet::new(),
        target: &TargetName::parse("win1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("root").unwrap(),
        asked: Some(&asked),
        presence: asker.presence,
        circumstances: Circumstances::BEST,
    };
    let permit = permit(&set, &question, "key", &[], Timestamp::from_millis(0)).unwrap();
    assert_eq!(permit.rule().as_str(), "narrow");
    assert_eq!(permit.desktop().words(), ["audio"]);
}
