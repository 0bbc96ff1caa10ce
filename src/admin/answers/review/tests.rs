use super::*;
use crate::policy::{PolicyFile, PolicySet};

fn rule(text: &str) -> Rule {
    let text = format!("schema = 1\n[[rule]]\nid = \"dba\"\naccounts = [\"root\"]\n{text}");
    let set = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text }]).unwrap();
    set.rules().next().unwrap().clone()
}

fn line(rule: &Rule) -> String {
    let says = RuleSays::of(rule, Covered::default());
    let (user, account) = (UserName::parse("alice").unwrap(), AccountName::parse("root").unwrap());
    id_of(&says.said(&user, &account).hash().unwrap())
}

const ONE: &str = "who = { users = [\"alice\"] }\nwhere = { labels = { env = \"prod\" } }\nchannels = [\"shell\"]\n";

#[test]
fn an_id_stays_for_as_long_as_the_line_says_the_same() {
    let id = line(&rule(ONE));
    assert_eq!(id.len(), ID_LETTERS);
    // Who else it is for, and where it stands, is not what the line says.
    assert_eq!(line(&rule(&ONE.replace("[\"alice\"]", "[\"alice\", \"bob\"]"))), id);
    for other in [
        ONE.replace("prod", "test"),
        ONE.replace("[\"shell\"]", "[\"shell\", \"exec\"]"),
        format!("{ONE}grant = {{ required = false }}\n"),
        format!("{ONE}grant = {{ approvers = {{ group = \"leads\" }} }}\n"),
        format!("{ONE}key = {{ touch = true }}\n"),
    ] {
        assert_ne!(line(&rule(&other)), id, "{other}");
    }
}

#[test]
fn a_long_list_of_targets_is_shown_short_and_counts_whole() {
    let names = |last: &str| {
        let names: Vec<String> = (0..20).map(|n| format!("\"db{n:02}\"")).chain([format!("\"{last}\"")]).collect();
        rule(&format!(
            "who = {{ users = [\"alice\"] }}\nwhere = {{ targets = [{}] }}\nchannels = [\"shell\"]\n",
            names.join(", ")
        ))
    };
    let [one, other] = ["zz1", "zz2"].map(names);
    let shown = RuleSays::of(&one, Covered::default()).shown;
    assert!(shown.ends_with("db07 and 13 more"), "{shown}");
    assert_ne!(line(&one), line(&other));
}

#[test]
fn what_takes_a_right_away_is_said_for_each_way_into_the_rule() {
    let alice = UserName::parse("alice").unwrap();
    let groups = |names: &[&str]| names.iter().map(|name| GroupName::parse(name).unwrap()).collect::<BTreeSet<_>>();
    let told = |who: &str, own: &[&str]| {
        let rule = rule(&ONE.replace("users = [\"alice\"]", who));
        let own = groups(own);
        let by: Vec<&GroupName> = rule.who.groups.intersection(&own).collect();
        removal(&rule, &alice, &own, &by, 3).join("\n")
    };
    let by_name = told("users = [\"alice\"]", &["web"]);
    assert!(by_name.contains("a.toml:2: take \"alice\" out of `who.users` of rule `dba`"), "{by_name}");
    assert!(!by_name.contains("group"), "{by_name}");
    let by_group = told("groups = [\"dba\"]", &["dba", "web"]);
    assert!(by_group.contains("out of group dba") && by_group.contains("--group web"), "{by_group}");
    assert!(!by_group.contains("who.users"), "{by_group}");
    let by_both = told("users = [\"alice\"], groups = [\"dba\"]", &["dba"]);
    assert!(by_both.contains("who.users") && by_both.contains("who.groups"), "{by_both}");
    let every = told("users = [\"*\"]", &[]);
    assert!(every.contains("for every user") && every.contains("2 others"), "{every}");
}

#[test]
fn the_last_use_is_the_newest_on_one_of_the_targets() {
    let place = |text: &str| crate::model::Destination::parse(text).unwrap();
    let (alice, root) = (UserName::parse("alice").unwrap(), AccountName::parse("root").unwrap());
    let time = Timestamp::from_millis;
    let by_place = [("root@db1", 5), ("root@db2", 7), ("root@web1", 9), ("postgres@db1", 11)]
        .map(|(there, ms)| ((alice.clone(), place(there)), time(ms)));
    let uses = Uses::of(LastUses { by_place: BTreeMap::from(by_place), since: None });
    let [db1, db2, db3] = ["db1", "db2", "db3"].map(|name| TargetName::parse(name).unwrap());
    let last = |places: &[&TargetName]| uses.last(&alice, &root, &places.iter().copied().collect());
    assert_eq!((last(&[&db1, &db2]), last(&[&db1]), last(&[&db3])), (Some(time(7)), Some(time(5)), None));
}
