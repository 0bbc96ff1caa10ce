//! What lies beyond what is read, and paths that may lie anywhere.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::paths::{Below, PathPattern, Paths, Place, Start};
use super::*;

/// By the table that ships.
fn outcome(line: &str, sets: &[&Arc<CommandSet>]) -> String {
    let (groups, labels) = (BTreeSet::new(), BTreeMap::new());
    let asker = Asker {
        user: &UserName::parse("ana").unwrap(),
        groups: &groups,
        target: &crate::model::TargetName::parse("web1").unwrap(),
        labels: &labels,
        account: &AccountName::parse("ops").unwrap(),
        ticket: Ticket::Of(None),
        at: no_time(),
    };
    let Judgement { outcome, by, .. } = judge(line, &[governed(CommandMode::Guard, sets)], Table::built_in(), &asker);
    format!("{outcome} {by}")
}

const NO_RM: &str = "[[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\ndeletes = [\"/srv/data/keep\"]\nreason = \"r\"\n\
                     [[rule]]\nid = \"no-sh\"\neffect = \"deny\"\neffects = [\"shell\"]\nreason = \"r\"\n";

#[test]
fn what_is_forbidden_hides_neither_behind_many_wrappers_nor_behind_many_words() {
    let rules = guard(NO_RM);
    let deep = |wrapper: &str| format!("{}rm -rf /srv/data/keep", wrapper.repeat(40));
    let long = |word: &str| format!("rm -rf {}/srv/data/keep", word.repeat(1_100));
    for line in [deep("nice "), deep("env A=b "), deep("timeout 5 "), long("x "), format!("{}; rm x", long("x "))] {
        assert_eq!(outcome(&line, &[&rules]), "deny not-understood", "{line}");
    }
    // What is forbidden already says more; and where nothing is forbidden nothing can hide.
    assert_eq!(outcome(&format!("{}; sh", long("x ")), &[&rules]), "deny no-sh");
    let free = guard("[[rule]]\nid = \"ls\"\neffect = \"allow\"\nprogram = \"/usr/bin/ls\"\nreason = \"r\"\n");
    assert_eq!(outcome(&long("x "), &[&free]), "allow default");
}

#[test]
fn a_forbidden_path_below_what_is_named_is_found_where_nobody_knows_the_directory() {
    let rules = guard(NO_RM);
    let many: String = (0..20).map(|at| format!("cd /a{at}; ")).collect();
    for line in ["cd $d && rm -rf data", "cd /srv && rm -rf data", "rm -rf ../srv/data", &format!("{many}rm -rf data")]
    {
        assert_eq!(outcome(line, &[&rules]), "deny no-rm", "{line}");
    }
    assert_eq!(outcome("cd $d && rm -rf build", &[&rules]), "allow default");
}

#[test]
fn a_relative_path_is_found_wherever_the_line_has_changed_to() {
    let rules = guard("[[rule]]\nid = \"look\"\neffect = \"deny\"\nreads = [\"/etc/shadow\"]\nreason = \"r\"\n");
    for line in [
        "env -iC /etc cat shadow",
        "env -vC /etc cat shadow",
        "env --ch=/etc cat shadow",
        "sudo -nD /etc cat shadow",
        "sudo --chd=/etc cat shadow",
        "find /etc/passwd -execdir cat shadow ';'",
        "cd /home/ops /etc; cat shadow",
        "OLDPWD=/etc; cd -; cat shadow",
        "HOME=/etc cd; cat shadow",
        "popd; cat shadow",
        "chdir /etc; cat shadow",
        "/etc; cat shadow",
        "..; cat shadow",
        "cat /proc/self/root/../etc/shadow",
        "cat /proc/self/root/proc/self/root/etc/shadow",
        "cat /proc/self/cwd/../../etc/shadow",
        "cat /var/run/../etc/shadow",
        "cd /proc/self/root; cat etc/shadow",
        "cat a/../../etc/shadow",
        "nsenter -t 1 --wd=/etc cat shadow",
    ] {
        assert_eq!(outcome(line, &[&rules]), "deny look", "{line}");
    }
    for line in
        ["cd /srv; cat a", "env -i cat a", "cat /srv/a/../b", "sudo -n cat a", "/usr/bin/id; cat a", "tar xzf a.tgz"]
    {
        assert_eq!(outcome(line, &[&rules]), "allow default", "{line}");
    }
    let writes = guard("[[rule]]\nid = \"put\"\neffect = \"deny\"\nwrites = [\"/etc/**\"]\nreason = \"r\"\n");
    for line in ["tar -xC /etc -f /tmp/x.tar", "tar xCf /etc x.tar", "tar --dir=/etc -xf x", "cpio -iD/etc -F x"] {
        assert_eq!(outcome(line, &[&writes]), "deny put", "{line}");
    }
}

#[test]
fn a_path_of_more_parts_than_anybody_has_is_taken_for_each_that_is_forbidden() {
    let rules = guard("[[rule]]\nid = \"look\"\neffect = \"deny\"\nreads = [\"/etc/shadow\"]\nreason = \"r\"\n");
    assert_eq!(outcome(&format!("cat x{}", "/b".repeat(64)), &[&rules]), "deny look");
    assert_eq!(outcome(&format!("cat x{}", "/b".repeat(60)), &[&rules]), "allow default");
}

#[test]
fn a_path_that_is_longer_than_any_is_covered_by_no_rule_and_taken_for_each_that_is_forbidden() {
    let path = format!("/srv{}", "/a".repeat(2_100));
    let rules = guard("[[rule]]\nid = \"look\"\neffect = \"deny\"\nreads = [\"/etc/shadow\"]\nreason = \"r\"\n");
    assert_eq!(outcome(&format!("cat {path}"), &[&rules]), "deny look");
    let allowed = strict(
        "[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/bin/cat\"\nreads = [\"/srv/**\"]\nreason = \"r\"\n",
    );
    assert_eq!(said(&format!("cat {path}"), &[governed(CommandMode::Strict, &[&allowed])]), "deny default");
}

proptest! {
    /// Many paths are looked up at once; nothing may come of it but what comes of each alone.
    #[test]
    fn paths_looked_up_together_are_those_looked_up_one_by_one(
        patterns in prop::collection::vec("(/(a|b|x|\\*|x\\*|\\*\\*)){1,4}", 1..6),
        path in "(/?)((a|b|x|xy|\\.\\.|proc|1|root|cwd|\u{1}|x\u{1})/){0,6}(a|b|x|)",
        below in prop::sample::select(vec![Below::No, Below::Named, Below::All]),
        anywhere: bool,
    ) {
        let patterns: Vec<PathPattern> = patterns.iter().filter_map(|text| PathPattern::parse(text).ok()).collect();
        let parts: Vec<Cow<'_, str>> =
            path.split('/').filter(|part| !part.is_empty()).map(Cow::Borrowed).collect();
        let behind = parts.iter().rposition(|part| part == "..").map(|last| parts[last + 1..].to_vec());
        let place = match (path.starts_with('/'), behind) {
            (true, None) => Place::Absolute(parts),
            (true, Some(behind)) => Place::Unfolded(parts, behind),
            (false, _) => Place::Relative(parts),
        };
        let start = Start { home: vec![String::from("a")], anywhere, ..Start::default() };
        let alone = |pattern: &PathPattern| {
            // The same, written so that it is not looked up by name.
            let mut text = pattern.text().to_owned();
            if text.starts_with("/**/") { text.insert_str(0, "/**") }
            Paths::of(vec![PathPattern::parse(&text).unwrap()]).may_be(&place, &start, below)
        };
        prop_assert_eq!(Paths::of(patterns.clone()).may_be(&place, &start, below), patterns.iter().any(alone));
    }
}
