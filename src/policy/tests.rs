mod commands;

use proptest::prelude::*;

use super::*;
use crate::model::{Asked, Presence};

const RULE: &str = r#"
schema = 1

[[rule]]
id       = "dba-prod-root"
who      = { groups = ["dba"] }
where    = { labels = { env = "prod", tier = "db" } }
accounts = ["root", "postgres"]
channels = ["shell", "exec"]

[[test]]
given  = { user = "alice", groups = ["dba"], target = "db1", labels = { env = "prod", tier = "db" }, account = "root" }
expect = "needs-grant dba-prod-root"
"#;

#[test]
fn a_rule_asks_for_a_grant_and_records_strictly_unless_it_says_otherwise() {
    let set = parse(RULE).unwrap();
    let rule = set.rules().next().unwrap();
    assert_eq!(rule.grant, GrantRule::REQUIRED);
    assert_eq!(rule.recording, RecordingPolicy::default());
    assert_eq!(rule.line, 4);
    assert!(set.warnings().is_empty());
}

#[test]
fn the_empty_set_denies() {
    assert_eq!(ask(&PolicySet::empty(), "alice", &["dba"], "db1", &[], "root", None), "deny");
    let set = PolicySet::parse(&[]).unwrap();
    assert_eq!(ask(&set, "alice", &["dba"], "db1", &[], "root", None), "deny");
    assert_eq!(set.warnings().len(), 1);
}

#[test]
fn each_part_of_a_rule_must_match() {
    let set = parse(RULE).unwrap();
    let labels = [("env", "prod"), ("tier", "db"), ("more", "x")];
    assert_eq!(ask(&set, "alice", &["dba", "staff"], "db1", &labels, "root", None), "needs-grant dba-prod-root");
    for denied in [
        ask(&set, "alice", &["staff"], "db1", &labels, "root", None),
        ask(&set, "alice", &[], "db1", &labels, "root", None),
        ask(&set, "alice", &["dba"], "db1", &[("env", "prod")], "root", None),
        ask(&set, "alice", &["dba"], "db1", &[("env", "prod"), ("tier", "web")], "root", None),
        ask(&set, "alice", &["dba"], "db1", &labels, "oracle", None),
    ] {
        assert_eq!(denied, "deny");
    }
}

#[test]
fn a_person_matches_by_name_or_by_group() {
    let set = parse(&rule("a", "users = ['bob'], groups = ['dba']", "targets = ['db1']", "")).unwrap();
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "root", None), "needs-grant a");
    assert_eq!(ask(&set, "eve", &["dba"], "db1", &[], "root", None), "needs-grant a");
    assert_eq!(ask(&set, "eve", &[], "db1", &[], "root", None), "deny");
}

#[test]
fn a_target_matches_by_name_and_by_labels() {
    let set = parse(&rule("a", "users = ['*']", "targets = ['db1'], labels = { env = 'dev' }", "")).unwrap();
    assert_eq!(ask(&set, "bob", &[], "db1", &[("env", "dev")], "root", None), "needs-grant a");
    assert_eq!(ask(&set, "bob", &[], "db1", &[("env", "prod")], "root", None), "deny");
    assert_eq!(ask(&set, "bob", &[], "db2", &[("env", "dev")], "root", None), "deny");
}

#[test]
fn a_star_is_everyone_and_every_target() {
    let set = parse(&rule("a", "users = ['*']", "targets = ['*']", "")).unwrap();
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "root", None), "needs-grant a");
}

#[test]
fn the_users_own_account_is_open_to_that_user_only() {
    let text = rule("own", "users = ['*']", "targets = ['*']", "").replace("'root'", "'$user'");
    let set = parse(&text).unwrap();
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "bob", None), "needs-grant own");
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "alice", None), "deny");
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "root", None), "deny");
}

#[test]
fn a_standing_right_beats_one_that_needs_a_grant_for_its_own_channel_only() {
    let asks = rule("asks", "users = ['bob']", "targets = ['db1']", "");
    let stands = rule("stands", "users = ['bob']", "targets = ['db1']", "grant = { required = false }")
        .replace("['shell', 'exec']", "['exec']");
    let set = parse_all(&[&asks, &stands]).unwrap();
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "root", Some(ChannelClass::Exec)), "allow stands");
    assert_eq!(ask(&set, "bob", &[], "db1", &[], "root", Some(ChannelClass::Shell)), "needs-grant asks");
    let Decision::Allow(any) = decide_for(&set, "bob", &[], "db1", &[], "root", None) else { panic!("not allowed") };
    assert_eq!(any.channels, BTreeSet::from([ChannelClass::Exec]));
}

#[test]
fn a_channel_that_no_rule_names_is_denied_with_its_name() {
    let text = rule("a", "users = ['bob']", "targets = ['db1']", "").replace("'shell', ", "");
    let denied = decide_for(&parse(&text).unwrap(), "bob", &[], "db1", &[], "root", Some(ChannelClass::Shell));
    assert_eq!(denied, Decision::Deny(DenyReason::NoRuleForChannel(ChannelClass::Shell)));
}

#[test]
fn the_strictest_recording_of_all_matching_rules_counts() {
    let loose = "grant = { required = false }\nrecording = { durability = 'bounded', stdin = 'digest', exec_cap = 10 }";
    let capped = "recording = { durability = 'bounded', exec = 'digest', exec_cap = '1MiB' }";
    let (who, place) = ("users = ['bob']", "targets = ['db1']");
    let set = parse_all(&[&rule("a", who, place, loose), &rule("b", who, place, capped)]).unwrap();
    let Decision::Allow(allowed) = decide_for(&set, "bob", &[], "db1", &[], "root", None) else { panic!("denied") };
    let expected = RecordingPolicy { durability: Durability::Bounded, exec_cap: 1 << 20, ..Default::default() };
    assert_eq!(allowed.recording, expected);
    assert_eq!((allowed.rule.as_str(), allowed.file.as_str()), ("a", "policies/access/0.toml"));
}

#[test]
fn what_would_make_a_rule_wider_than_it_reads_is_refused() {
    let good = rule("a", "users = ['bob']", "targets = ['db1']", "grant = { required = true }");
    assert!(parse(&good).is_ok());
    let cases = [
        ("users = ['bob']", "users = []", "rule.who.users: is empty"),
        ("users = ['bob']", "groups = []", "rule.who.groups: is empty"),
        ("users = ['bob']", "", "rule.who: names nobody"),
        ("users = ['bob']", "users = ['*', 'bob']", "\"*\" beside other names"),
        ("users = ['bob']", "groups = ['*']", "\"*\" is not a valid group name"),
        ("targets = ['db1']", "", "rule.where: names no target"),
        ("targets = ['db1']", "targets = []", "rule.where.targets: is empty"),
        ("targets = ['db1']", "targets = ['db*']", "\"db*\" is not a valid target name"),
        ("targets = ['db1']", "labels = {}", "rule.where.labels: is empty"),
        ("targets = ['db1']", "labels = { env = '*' }", "no pattern"),
        ("targets = ['db1']", "labels = { env = '' }", "rule.where.labels.env: is empty"),
        ("['root']", "[]", "rule.accounts: is empty"),
        ("['root']", "['*']", "\"*\" is not a valid account name"),
        ("['root']", "['$group']", "\"$group\" is not a valid account name"),
        ("['shell', 'exec']", "[]", "rule.channels: is empty"),
        ("['shell', 'exec']", "['tun']", "\"tun\" is not in this version; known: shell, exec, sftp-read, sftp-write"),
        ("required = true", "required = 'no'", "expected true or false"),
        ("required = true", "max = '2h'", "there is no `approvers`"),
        ("grant = {", "commands = {}\ngrant = {", "rule.commands: `mode` is missing"),
        ("grant = {", "approvers = {}\ngrant = {", "rule.approvers: not supported in this version"),
        ("grant = {", "wehn = {}\ngrant = {", "rule.wehn: unknown key"),
        (
            "grant = {",
            "recording = { input = 'some' }\ngrant = {",
            "\"some\" is not in this version; known: off, echoed, full",
        ),
        ("grant = {", "recording = { exec_cap = 0 }\ngrant = {", "rule.recording.exec_cap: is zero"),
        ("grant = {", "recording = { exec_cap = '64MB' }\ngrant = {", "\"64MB\" is not a size"),
        ("accounts =", "acounts =", "`accounts` is missing"),
        ("schema = 1", "schema = 2", "schema 2 is not known"),
        ("schema = 1", "", "`schema` is missing"),
        ("schema = 1", "schema = 1\ntarget = 'db1'", "target: unknown key"),
    ];
    for (from, to, message) in cases {
        assert!(good.contains(from), "{from} is not in the rule");
        let text = faults_of(&good.replace(from, to));
        assert!(text.contains(message), "{to}: {text}");
    }
}

#[test]
fn every_fault_of_every_file_is_told_at_once_with_its_line() {
    let one = "schema = 1\n[[rule]]\nid = 'a'\nwho = { users = ['Bob', 'eve'] }\nwhere = {}\naccounts = [1]\n";
    let two = "schema = 1\n[[rule]\n";
    let faults = parse_all(&[one, two]).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_str(), fault.line, fault.key.as_str())).collect();
    let first = "policies/access/0.toml";
    let expected = [
        (first, Some(2), "rule"), // `channels` is missing
        (first, Some(4), "rule.who.users"),
        (first, Some(5), "rule.where"),
        (first, Some(6), "rule.accounts"),
        ("policies/access/1.toml", Some(2), ""),
    ];
    assert_eq!(places, expected);
}

#[test]
fn an_id_that_stands_in_two_files_is_refused_with_both_places() {
    let text = rule("a", "users = ['bob']", "targets = ['db1']", "");
    let faults = parse_all(&[&text, &text]).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "policies/access/1.toml:3: rule.id: `a` is already the id of the rule at policies/access/0.toml:3"
    );
}

#[test]
fn a_test_that_fails_refuses_the_set_and_says_what_came_out() {
    assert!(faults_of(&RULE.replace("expect = \"needs-grant", "expect = \"allow")).contains(
        "policies/access/0.toml:11: test: expected `allow dba-prod-root`, got `needs-grant dba-prod-root` (alice to root@db1, any channel)"
    ));
    let renamed = RULE.replace("\"needs-grant dba-prod-root\"", "\"needs-grant dba\"");
    assert!(faults_of(&renamed).contains("test.expect: there is no rule `dba`"));
    let garbled = RULE.replace("\"needs-grant dba-prod-root\"", "\"maybe\"");
    assert!(faults_of(&garbled).contains("test.expect: \"maybe\" is not an outcome"));
    let later = RULE.replace("account = \"root\"", "account = \"root\", grant = true");
    assert!(faults_of(&later).contains("test.given.grant: not supported in this version"));
}

#[test]
fn tests_judge_the_whole_set_not_their_own_file() {
    let test = "schema = 1\n[[test]]\ngiven = { user = 'bob', target = 'db1', account = 'root', channel = 'shell' }\n\
                expect = 'needs-grant a'\n";
    let set = parse_all(&[test, &rule("a", "users = ['bob']", "targets = ['db1']", "")]).unwrap();
    assert!(set.warnings().is_empty());
}

#[test]
fn a_rule_without_a_test_is_warned_about() {
    let set = parse(&rule("a", "users = ['bob']", "targets = ['db1']", "")).unwrap();
    assert_eq!(set.warnings()[0].to_string(), "policies/access/0.toml:3: rule: no test expects rule `a`");
}

#[test]
fn only_named_roles_may_go_on_unrecorded() {
    let recording = "recording = { durability = 'best-effort' }";
    let named = rule("glass", "groups = ['break-glass']", "targets = ['db1']", recording);
    assert_eq!(parse(&named).unwrap().rules().next().unwrap().recording.durability, Durability::BestEffort);
    let everyone = rule("glass", "users = ['*']", "targets = ['db1']", recording);
    assert!(faults_of(&everyone).contains("this rule is for everyone"));
    // Another rule that matches too takes it back.
    assert_eq!(
        RecordingPolicy { durability: Durability::BestEffort, ..RecordingPolicy::default() }
            .strictest(&RecordingPolicy { durability: Durability::Bounded, ..RecordingPolicy::default() })
            .durability,
        Durability::Bounded
    );
}

const AUDIT: &str = r#"
schema = 1

[[audit]]
id     = "dev-auditors"
who    = { groups = ["auditors"] }
where  = { labels = { env = "dev" } }
rights = ["get"]

[[test]]
given  = { user = "eve", groups = ["auditors"], target = "web1", labels = { env = "dev" }, right = "get" }
expect = "allow dev-auditors"

[[test]]
given  = { user = "eve", groups = ["auditors"], target = "db1", labels = { env = "prod" }, right = "get" }
expect = "deny"
"#;

#[test]
fn an_auditor_may_do_only_what_a_rule_says_and_only_where() {
    let set = parse(AUDIT).unwrap();
    let dev = BTreeMap::from([("env".to_owned(), "dev".to_owned())]);
    let may = |groups: &[&str], labels: &BTreeMap<String, String>, right| {
        let question = AuditQuestion {
            user: &UserName::parse("eve").unwrap(),
            groups: &groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
            target: &TargetName::parse("web1").unwrap(),
            labels,
            right,
        };
        decide_audit(&set, &question).is_some()
    };
    assert!(may(&["auditors"], &dev, AuditRight::Get));
    assert!(!may(&["auditors"], &dev, AuditRight::Watch));
    assert!(!may(&["auditors"], &BTreeMap::new(), AuditRight::Get));
    assert!(!may(&["dba"], &dev, AuditRight::Get));
}

#[test]
fn an_audit_rule_is_tested_and_read_as_strictly_as_any() {
    let told = |from: &str, to: &str| faults_of(&AUDIT.replacen(from, to, 1));
    assert!(told("expect = \"deny\"", "expect = \"allow dev-auditors\"").contains("got `deny` (eve, get of db1)"));
    assert!(told("rights = [\"get\"]", "rights = [\"read\"]").contains("rights"));
    assert!(told("rights = [\"get\"]", "rights = []").contains("rights"));
    assert!(told("rights = [\"get\"]", "").contains("rights"));
    assert!(told("id     =", "idea   =").contains("idea"));
    assert!(told("right = \"get\"", "right = \"get\", account = \"root\"").contains("account"));
    let twin = format!("{AUDIT}{}", RULE.replace("schema = 1", "").replace("dba-prod-root", "dev-auditors"));
    assert!(faults_of(&twin).contains("already the id"));
    // A rule with other faults still has its id.
    let slip = twin.replace("rights", "right");
    let faults = faults_of(&slip);
    assert!(faults.contains("already the id") && faults.contains("unknown key"), "{faults}");
    let untested = parse(AUDIT.split("[[test]]").next().unwrap()).unwrap();
    assert!(untested.warnings().iter().any(|warning| warning.fault.message.contains("no rule")));
}

#[test]
fn no_file_has_characters_that_a_reviewer_does_not_see() {
    for hidden in ["\u{202e}", "\u{200b}", "\u{feff}", "\u{a0}"] {
        let text = RULE.replace("schema = 1", &format!("schema = 1 # a{hidden}b"));
        let faults = faults_of(&text);
        assert!(faults.contains(":2: has ") && faults.contains("cannot be seen"), "{hidden:?}: {faults}");
    }
    assert!(parse(&RULE.replace("schema = 1", "schema = 1 # für alle")).is_ok());
}

#[test]
fn the_hash_depends_on_every_byte_and_not_on_the_order() {
    let file = |path: &str, text: &str| PolicyFile { path: path.to_owned(), text: text.to_owned() };
    let hash = |files: &[PolicyFile]| PolicySet::parse(files).unwrap().hash().clone();
    let (a, b) = (file("a", "schema = 1"), file("b", "schema = 1 "));
    assert_eq!(hash(&[a.clone(), b.clone()]), hash(&[b.clone(), a.clone()]));
    assert_ne!(hash(std::slice::from_ref(&a)), hash(&[file("a", "schema = 1 ")]));
    assert_ne!(hash(std::slice::from_ref(&a)), hash(&[a, b]));
    assert_eq!(PolicySet::empty().hash().as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn the_starter_policies_load_and_every_rule_of_theirs_is_tested() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = Vec::new();
    for entry in ["access", "commands"].into_iter().flat_map(|kind| std::fs::read_dir(root.join(kind)).unwrap()) {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        files.push(PolicyFile { path: path.display().to_string(), text });
    }
    let set = PolicySet::parse(&files)
        .unwrap_or_else(|faults| panic!("{}", crate::model::join(faults).replace(", /", "\n/")));
    assert!(set.rules().count() > 0);
    assert_eq!(set.warnings(), []);
    assert_eq!(set.command_sets().count(), 5);
    let doubts = lint(&set, crate::model::Timestamp::from_millis(0));
    assert!(doubts.iter().all(|found| found.check == "unused-set"), "{doubts:?}");
    let governed = set.rules().find(|rule| rule.id.as_str() == "web-operators").map(|rule| set.governs(rule)).unwrap();
    assert_eq!(governed.commands.unwrap().1.len(), 2);
}

#[test]
fn a_rule_that_demands_a_key_opens_for_such_logins_only() {
    let (who, place) = ("users = ['alice']", "targets = ['db1']");
    let set =
        parse(&rule("strict", who, place, "grant = { required = false }\nkey = { touch = true, pin = true }")).unwrap();
    let asked = |touch, pin| {
        let question = Question {
            user: &UserName::parse("alice").unwrap(),
            groups: &BTreeSet::new(),
            target: &TargetName::parse("db1").unwrap(),
            labels: &BTreeMap::new(),
            account: &AccountName::parse("root").unwrap(),
            asked: Some(&ChannelClass::Shell.into()),
            presence: Presence { touch, pin },
            circumstances: Circumstances::BEST,
        };
        decide(&set, &question).to_string()
    };
    let answers = [asked(false, false), asked(true, false), asked(false, true), asked(true, true)];
    assert_eq!(answers, ["deny", "deny", "deny", "allow strict"]);
}

#[test]
fn a_test_says_what_the_login_is() {
    let rule = rule("strict", "users = ['alice']", "targets = ['db1']", "key = { touch = true }");
    let test = |key: &str, expect: &str| {
        let given = format!("given = {{ user = 'alice', target = 'db1', account = 'root'{key} }}");
        parse(&format!("{rule}[[test]]\n{given}\nexpect = '{expect}'\n"))
    };
    assert!(test(", key = { touch = true }", "needs-grant strict").is_ok());
    assert!(test(", key = { touch = true, pin = true }", "needs-grant strict").is_ok());
    assert!(test(", key = { pin = true }", "deny").is_ok() && test("", "deny").is_ok());
    assert!(test("", "needs-grant strict").is_err());
}

#[test]
fn a_demand_for_a_key_is_understood_whole_or_refused() {
    let faults = |key: &str| faults_of(&rule("r", "users = ['alice']", "targets = ['db1']", key));
    assert!(faults("key = {}").contains("rule.key: demands nothing"));
    assert!(faults("key = { touch = false }").contains("demands nothing"));
    assert!(faults("key = { tuch = true }").contains("rule.key.tuch: unknown key"));
    assert!(faults("key = { touch = 'yes' }").contains("rule.key.touch: expected true or false"));
    assert!(faults("key = 'touch'").contains("rule.key: expected a table"));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_without_a_panic(text in ".*") {
        let _ = parse(&text);
    }

    #[test]
    fn a_damaged_policy_parses_or_is_refused_without_a_panic(
        cut in 0usize..RULE.len(), length in 0usize..40, insert in "[\\[\\]{}='\"*$a-z0-9.,\\n -]{0,12}",
    ) {
        let text: String = RULE.chars().take(cut).chain(insert.chars()).chain(RULE.chars().skip(cut + length)).collect();
        let _ = parse(&text);
    }

    #[test]
    fn the_empty_set_denies_every_question(user in "[a-z]{1,8}", target in "[a-z]{1,8}", account in "[a-z]{1,8}") {
        prop_assert_eq!(ask(&PolicySet::empty(), &user, &["dba"], &target, &[("env", "prod")], &account, None), "deny");
    }

    #[test]
    fn a_further_rule_never_takes_a_right_away(grants in proptest::collection::vec(any::<bool>(), 0..6)) {
        let (who, place) = ("users = ['bob']", "targets = ['db1']");
        let texts: Vec<String> = grants.iter().enumerate().map(|(index, required)| {
            rule(&format!("r{index}"), who, place, &format!("grant = {{ required = {required} }}"))
        }).collect();
        let rank = |texts: &[&str]| match decide_for(&parse_all(texts).unwrap(), "bob", &[], "db1", &[], "root", None) {
            Decision::Deny(_) => 0,
            Decision::NeedsGrant(_) => 1,
            Decision::Allow(_) => 2,
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for end in 1..=texts.len() {
            prop_assert!(rank(&texts[..end]) >= rank(&texts[..end - 1]));
        }
    }
}

#[test]
fn a_rule_without_a_terminal_opens_shells_and_commands_that_ask_for_none() {
    let bots = rule("bots", "users = ['bot']", "targets = ['db1']", "terminal = false");
    let with = |more: &str| format!("{bots}{more}");
    let given = "user = \"bot\", target = \"db1\", account = \"root\"";
    let test = |channel: &str, expect: &str| {
        format!("[[test]]\ngiven = {{ {given}, channel = {channel} }}\nexpect = \"{expect}\"\n")
    };
    let parse = |text: String| parse(&text);
    let (open, denied) = (test("\"exec\"", "needs-grant bots"), test("\"exec\", terminal = true", "deny"));
    parse(with(&format!("{open}{denied}"))).unwrap();
    assert!(parse(with(&test("\"shell\", terminal = true", "needs-grant bots"))).is_err());
    let odd = parse(with(&test("\"sftp-read\", terminal = true", "deny"))).unwrap_err();
    assert!(odd.iter().any(|fault| fault.to_string().contains("neither shell nor exec")), "{odd:?}");
    let odd = parse(bots.replace("'shell', 'exec'", "'sftp-read'")).unwrap_err();
    assert!(odd.iter().any(|fault| fault.to_string().contains("has no effect")), "{odd:?}");
}

fn rule(id: &str, who: &str, place: &str, more: &str) -> String {
    format!(
        "schema = 1\n\n[[rule]]\nid = '{id}'\nwho = {{ {who} }}\nwhere = {{ {place} }}\n\
         accounts = ['root']\nchannels = ['shell', 'exec']\n{more}\n"
    )
}

fn parse(text: &str) -> Result<PolicySet, Vec<Fault>> {
    parse_all(&[text])
}

fn parse_all(texts: &[&str]) -> Result<PolicySet, Vec<Fault>> {
    let file = |(index, text): (usize, &&str)| PolicyFile {
        path: format!("policies/access/{index}.toml"),
        text: (*text).to_owned(),
    };
    PolicySet::parse(&texts.iter().enumerate().map(file).collect::<Vec<_>>())
}

fn faults_of(text: &str) -> String {
    parse(text).unwrap_err().iter().map(|fault| format!("{fault}\n")).collect()
}

fn ask(
    set: &PolicySet,
    user: &str,
    groups: &[&str],
    target: &str,
    labels: &[(&str, &str)],
    account: &str,
    channel: Option<ChannelClass>,
) -> String {
    decide_for(set, user, groups, target, labels, account, channel).to_string()
}

fn decide_for(
    set: &PolicySet,
    user: &str,
    groups: &[&str],
    target: &str,
    labels: &[(&str, &str)],
    account: &str,
    channel: Option<ChannelClass>,
) -> Decision {
    let asked = channel.map(Asked::from);
    let question = Question {
        user: &UserName::parse(user).unwrap(),
        groups: &groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
        target: &TargetName::parse(target).unwrap(),
        labels: &labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        account: &AccountName::parse(account).unwrap(),
        asked: asked.as_ref(),
        presence: Presence::NONE,
        circumstances: Circumstances::BEST,
    };
    decide(set, &question)
}

const FORWARDS: &str = r#"
schema = 1
[[rule]]
id       = "tunnels"
who      = { users = ["alice"] }
where    = { targets = ["db1"] }
accounts = ["root"]
channels = ["local-forward", "remote-forward-unix"]
forward  = { to = ["localhost:5432", "[fd00::/8]:1-9"], listen_sockets = ["/run/*.sock"] }
grant    = { required = false }
"#;

#[test]
fn a_forward_leads_where_its_rule_says() {
    let test = |given: &str, expect: &str| {
        let given = format!("user = \"alice\", target = \"db1\", account = \"root\", {given}");
        parse(&format!("{FORWARDS}[[test]]\ngiven = {{ {given} }}\nexpect = \"{expect}\"\n"))
    };
    for (given, expect) in [
        (r#"channel = "local-forward", forward = "localhost:5432""#, "allow tunnels"),
        (r#"channel = "local-forward", forward = "[fd00::1]:9""#, "allow tunnels"),
        (r#"channel = "local-forward", forward = "localhost:5433""#, "deny"),
        (r#"channel = "local-forward", forward = "[fd00::1]:10""#, "deny"),
        (r#"channel = "local-forward""#, "allow tunnels"),
        (r#"channel = "remote-forward-unix", forward = "/run/a.sock""#, "allow tunnels"),
        (r#"channel = "remote-forward-unix", forward = "/run/a/b.sock""#, "deny"),
        (r#"channel = "remote-forward", forward = "localhost:5432""#, "deny"),
        (r#"channel = "local-forward-unix", forward = "/run/a.sock""#, "deny"),
        (r#"channel = "shell""#, "deny"),
    ] {
        test(given, expect).unwrap_or_else(|faults| panic!("{given}: {faults:?}"));
    }
    for odd in [r#"forward = "localhost:1""#, r#"channel = "shell", forward = "localhost:1""#] {
        assert!(test(odd, "deny").unwrap_err()[0].message.contains("`channel` is none"), "{odd}");
    }
    for odd in ["127.1:80", "localhost", "localhost:99999", "/run/../x"] {
        let fault = &test(&format!(r#"channel = "local-forward", forward = "{odd}""#), "deny").unwrap_err()[0];
        assert!(fault.message.contains("is no place for a forward") && fault.hint.is_some(), "{fault}");
    }
}

#[test]
fn a_slip_in_forward_is_told_with_its_line() {
    for (from, to, told) in [
        (", listen_sockets = [\"/run/*.sock\"]", "", "0.toml:3: rule.forward: `channels` has remote-forward-unix"),
        ("\"localhost:5432\"", "\"localhost\"", "\"localhost\" is not a host and a port"),
        ("\"/run/*.sock\"", "\"run/*.sock\"", "\"run/*.sock\" is not a path"),
        ("to = [\"localhost:5432\", \"[fd00::/8]:1-9\"]", "to = []", "is empty"),
        ("channels = [\"local-forward\", ", "channels = [", "rule.forward.to: has no effect"),
        ("forward  = {", "forward  = { from = [\"x\"],", "from"),
        ("forward  = {", "forward  = { ssh = \"record\",", "record"),
        ("[\"local-forward\", ", "[", "0.toml:3: rule.forward.to: has no effect"),
    ] {
        let text = FORWARDS.replace(from, to);
        assert_ne!(text, FORWARDS, "{from}");
        let faults: Vec<String> = parse(&text).unwrap_err().iter().map(Fault::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(told)), "{told} is not in {faults:?}");
    }
}

const FILES: &str = r#"
schema = 1
[[rule]]
id       = "drop"
who      = { users = ["alice"] }
where    = { targets = ["db1"] }
accounts = ["root"]
channels = ["sftp-read", "sftp-write"]
sftp     = { read = ["/srv/out/*.csv"], list = ["/srv", "/srv/**"], write = ["/srv/in/**"] }
grant    = { required = false }
"#;

#[test]
fn a_file_is_reached_where_its_rule_says() {
    let test = |given: &str, expect: &str| {
        let given = format!("user = \"alice\", target = \"db1\", account = \"root\", {given}");
        parse(&format!("{FILES}[[test]]\ngiven = {{ {given} }}\nexpect = \"{expect}\"\n"))
    };
    for (given, expect) in [
        (r#"channel = "sftp-read", file = { read = "/srv/out/a.csv" }"#, "allow drop"),
        (r#"channel = "sftp-read", file = { read = "/srv/out/a" }"#, "deny"),
        (r#"channel = "sftp-read", file = { list = "/srv" }"#, "allow drop"),
        (r#"channel = "sftp-write", file = { list = "/srv/in" }"#, "allow drop"),
        (r#"channel = "sftp-write", file = { write = "/srv/in/a/b" }"#, "allow drop"),
        (r#"channel = "sftp-write", file = { write = "/etc/shadow" }"#, "deny"),
        (r#"channel = "sftp-write", file = { delete = "/srv/in/a" }"#, "deny"),
        (r#"channel = "sftp-write""#, "allow drop"),
    ] {
        test(given, expect).unwrap_or_else(|faults| panic!("{given}: {faults:?}"));
    }
    for (odd, told) in [
        (r#"file = { read = "/a" }"#, "`channel` is not sftp-read"),
        (r#"channel = "shell", file = { read = "/a" }"#, "`channel` is not sftp-read"),
        (r#"channel = "sftp-read", file = { write = "/a" }"#, "`channel` is not sftp-write"),
        (r#"channel = "sftp-read", file = {}"#, "one action"),
        (r#"channel = "sftp-read", file = { read = "/a", list = "/a" }"#, "one action"),
        (r#"channel = "sftp-read", file = { read = "/a/../b" }"#, "is no file's path"),
        (r#"channel = "sftp-read", file = { chmod = "/a" }"#, "unknown key"),
    ] {
        let faults: Vec<String> = test(odd, "deny").unwrap_err().iter().map(Fault::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(told)), "{told} is not in {faults:?}");
    }
}

#[test]
fn a_slip_in_sftp_is_told_with_its_line() {
    for (from, to, told) in [
        (", \"sftp-write\"", "", "0.toml:3: rule.sftp.write: has no effect: `channels` does not have sftp-write"),
        (", write = [\"/srv/in/**\"]", "", "`channels` has sftp-write, and no path is named for it"),
        ("[\"sftp-read\", \"sftp-write\"]", "[\"shell\"]", "rule.sftp.list: has no effect"),
        ("\"/srv\"", "\"srv\"", "\"srv\" is not a path"),
        ("\"/srv\"", "\"/srv/../etc\"", "is not a path"),
        ("\"/srv\"", "\"/**/x\"", "is not a path"),
        ("[\"/srv\", \"/srv/**\"]", "[]", "is empty"),
        (
            "{ read = [\"/srv/out/*.csv\"], list = [\"/srv\", \"/srv/**\"], write = [\"/srv/in/**\"] }",
            "{}",
            "names no path",
        ),
        ("sftp     = {", "sftp     = { chmod = [\"/x\"],", "chmod"),
    ] {
        let text = FILES.replace(from, to);
        assert_ne!(text, FILES, "{from}");
        let faults: Vec<String> = parse(&text).unwrap_err().iter().map(Fault::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(told)), "{told} is not in {faults:?}");
    }
}

// Rules only allow: what one of them names is open, and one that names no paths opens all.
#[test]
fn of_several_rules_any_may_name_the_file() {
    let test = |more: &str, given: &str, expect: &str| {
        let given = format!("user = \"alice\", target = \"db1\", account = \"root\", {given}");
        parse(&format!("{FILES}{more}[[test]]\ngiven = {{ {given} }}\nexpect = \"{expect}\"\n"))
            .unwrap_or_else(|faults| panic!("{given}: {faults:?}"));
    };
    let second = |channels: &str, rest: &str| {
        format!(
            "[[rule]]\nid = \"more\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = {channels}\n{rest}grant = {{ required = false }}\n"
        )
    };
    let (write, read) =
        (r#"channel = "sftp-write", file = { write = "/x" }"#, r#"channel = "sftp-read", file = { read = "/x" }"#);
    let named = second("[\"sftp-write\"]", "sftp = { write = [\"/x\"] }\n");
    test(&named, write, "allow more");
    test(&named, read, "deny");
    test(&second("[\"sftp-read\"]", ""), read, "allow more");
    test(&second("[\"sftp-read\"]", ""), write, "deny");
    test(&second("[\"shell\"]", ""), read, "deny");
}

#[test]
fn the_example_with_paths_that_users_read_loads_and_is_tested() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let example = text.split("```").find(|block| block.starts_with("toml") && block.contains("[rule.sftp]")).unwrap();
    let set = parse(example.strip_prefix("toml").unwrap()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!((set.rules().count(), set.warnings()), (1, &[][..]));
}

#[test]
fn every_whole_file_that_users_read_as_an_example_loads() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let examples: Vec<&str> = text.split("```").filter_map(|block| block.strip_prefix("toml\n")).collect();
    let whole = examples.iter().filter(|example| example.starts_with("schema = 1"));
    let loaded = whole.map(|example| parse(example).unwrap_or_else(|faults| panic!("{faults:#?}\n{example}")));
    assert!(loaded.count() >= 4);
}

/// An agent's keys, by fingerprint.
const LENT: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "SHA256:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn t22_an_agent_is_lent_with_the_keys_that_its_rule_names() {
    let rules = |agent: &str| {
        format!(
            "{}\n{agent}\n",
            rule("a", "users = ['bob']", "targets = ['db1']", "grant = { required = false }")
                .replace("'shell', 'exec'", "'shell', 'agent', 'x11'")
        )
    };
    let test = |agent: &str, given: &str, expect: &str| {
        let given = format!("user = 'bob', target = 'db1', account = 'root', {given}");
        parse(&format!("{}[[test]]\ngiven = {{ {given} }}\nexpect = '{expect}'\n", rules(agent)))
    };
    let named = format!("agent = {{ keys = ['{LENT}'] }}");
    for (agent, given, expect) in [
        ("", "channel = 'agent'".to_owned(), "allow a"),
        ("", format!("channel = 'agent', agent_key = '{OTHER}'"), "allow a"),
        (&named, "channel = 'agent'".to_owned(), "allow a"),
        (&named, "channel = 'x11'".to_owned(), "allow a"),
        (&named, format!("channel = 'agent', agent_key = '{LENT}'"), "allow a"),
        (&named, format!("channel = 'agent', agent_key = '{OTHER}'"), "deny"),
        (&named, "channel = 'exec'".to_owned(), "deny"),
    ] {
        test(agent, &given, expect).unwrap_or_else(|faults| panic!("{agent} {given}: {faults:?}"));
    }
    for odd in [
        "agent = {}",
        "agent = { keys = [] }",
        "agent = { keys = ['MD5:00'] }",
        "agent = { keys = ['SHA256:x'] }",
        "agent = 1",
    ] {
        assert!(parse(&rules(odd)).is_err(), "{odd}");
    }
    assert!(parse(&rules(&named).replace("'agent', ", "")).unwrap_err()[0].message.contains("has no effect"));
    assert!(test("", &format!("channel = 'shell', agent_key = '{LENT}'"), "deny").is_err());
}
