use super::*;

#[test]
fn commands_become_a_strict_set_and_a_rule_that_uses_it() {
    let draft = draft(&spec(
        r#"{"username":"alice"},{"usergroup":"ops"}"#,
        r#"{"hostname":"web1"}"#,
        r#"{"command":"/usr/bin/systemctl restart nginx"},{"command":"/usr/bin/id \"\""},{"command":"/usr/bin/psql"}"#,
    ))
    .unwrap();
    assert_eq!(draft.left_out, [""; 0]);
    for part in [
        "who      = { users = [\"alice\"], groups = [\"ops\"] }",
        "where    = { targets = [\"web1\"] }",
        "accounts = [\"root\"]",
        "commands = { mode = \"strict\", sets = [\"sudo-1\"] }",
    ] {
        assert!(draft.access.contains(part), "{part}:\n{}", draft.access);
    }
    let [(name, set)] = draft.sets.as_slice() else { panic!("{:?}", draft.sets) };
    assert_eq!(name, "sudo-1");
    for part in [
        "mode    = \"strict\"\ndefault = \"deny\"\n",
        "program = \"/usr/bin/systemctl\"\nargs    = [\"restart\", \"nginx\"]\n",
        "program = \"/usr/bin/id\"\nargs    = []\n",
        "program = \"/usr/bin/psql\"\nargs    = [\"...\"]\n",
    ] {
        assert!(set.contains(part), "{part}:\n{set}");
    }
}

#[test]
fn a_star_matches_one_word_only() {
    let draft = draft(&one(r#"{"command":"/usr/bin/tail -f /var/log/*"}"#)).unwrap();
    assert!(draft.sets[0].1.contains("args    = [\"-f\", \"{arg2:/var/log/*}\"]"), "{:?}", draft.sets);
}

#[test]
fn all_but_some_is_guard_and_all_is_no_limit() {
    let most = draft(&one(r#"{"command":"ALL"},{"command":"/bin/su","negated":true},{"command":"/bin/ls"}"#)).unwrap();
    assert!(most.access.contains("mode = \"guard\""), "{}", most.access);
    assert!(most.sets[0].1.contains("default = \"allow\"\n"), "{:?}", most.sets);
    assert!(most.sets[0].1.contains("effect  = \"deny\"\nprogram = \"/bin/su\""), "{:?}", most.sets);
    assert!(!most.sets[0].1.contains("/bin/ls"), "{:?}", most.sets);
    let all = draft(&one(r#"{"command":"ALL"}"#)).unwrap();
    assert!(all.sets.is_empty());
    assert!(all.access.contains("shells among them") && !all.access.contains("commands"), "{}", all.access);
}

#[test]
fn what_has_no_form_that_gives_no_more_is_left_out_and_told() {
    for (command, why) in [
        (r#"{"command":"/opt/tools/"}"#, "does not name one program"),
        (r#"{"command":"/opt/*/run"}"#, "does not name one program"),
        (r#"{"command":"list"}"#, "does not name one program"),
        (r#"{"command":"sudoedit /etc/hosts"}"#, "sftp-write"),
        (r#"{"command":"/bin/kill -[0-9]"}"#, "no exact form"),
        (r#"{"command":"/bin/passwd ^[a-z]+$"}"#, "no exact form"),
        (r#"{"command":"/bin/x a\\ b"}"#, "no exact form"),
        (r#"{"command":"/bin/ls","sha256":"00"}"#, "has a condition, sha256"),
    ] {
        let draft = draft(&one(command)).unwrap();
        assert!(draft.sets.is_empty() && !draft.access.contains("[[rule]]"), "{command}: {draft:?}");
        assert!(draft.left_out[0].contains(why), "{why}: {:?}", draft.left_out);
    }
    for (users, hosts, why) in [
        (r#"{"usergroup":"ops"},{"username":"bob","negated":true}"#, r#"{"hostname":"a"}"#, "leaves somebody out"),
        (r#"{"userid":1000}"#, r#"{"hostname":"a"}"#, "userid 1000"),
        (r#"{"username":"bob"}"#, r#"{"networkaddr":"10.0.0.0/8"}"#, "networkaddr"),
        (r#"{"username":"bob"}"#, r#"{"hostname":"ALL"},{"hostname":"a","negated":true}"#, "leaves a host out"),
        (r#"{"username":"b\"]\n"}"#, r#"{"hostname":"a"}"#, "user name"),
    ] {
        let draft = draft(&spec(users, hosts, r#"{"command":"/bin/ls"}"#)).unwrap();
        assert!(!draft.access.contains("[[rule]]"), "{users}: {draft:?}");
        assert!(draft.left_out[0].contains(why), "{why}: {:?}", draft.left_out);
    }
}

#[test]
fn without_what_it_forbids_nothing_of_a_list_is_kept() {
    let draft = draft(&one(r#"{"command":"ALL"},{"command":"/bin/x ^a$","negated":true}"#)).unwrap();
    assert!(!draft.access.contains("[[rule]]") && draft.left_out[0].contains("all of it"), "{draft:?}");
}

#[test]
fn anything_else_is_refused() {
    assert!(draft("alice ALL = ALL").is_err());
}

fn one(commands: &str) -> String {
    spec(r#"{"username":"alice"}"#, r#"{"hostname":"ALL"}"#, commands)
}

fn spec(users: &str, hosts: &str, commands: &str) -> String {
    format!(
        r#"{{"User_Specs":[{{"User_List":[{users}],"Host_List":[{hosts}],"Cmnd_Specs":[{{"Commands":[{commands}]}}]}}]}}"#
    )
}
