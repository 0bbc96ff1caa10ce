use super::*;

fn learnt(lines: &[&str]) -> Learnt {
    learn(lines.iter().copied(), Table::built_in())
}

#[test]
fn a_command_that_was_run_becomes_a_rule_for_just_that() {
    let learnt = learnt(&["uptime -p"]);
    assert_eq!((learnt.rules, learnt.left_out.len()), (1, 0), "{learnt:?}");
    for part in [
        "id      = \"draft-uptime-1\"",
        "program = \"/usr/bin/uptime\"",
        "args    = [\"-p\"]",
        "lines  = [\"uptime -p\"]",
    ] {
        assert!(learnt.text.contains(part), "{part}:\n{}", learnt.text);
    }
}

#[test]
fn numbers_and_files_of_one_directory_are_generalised_and_words_are_listed() {
    let files = learnt(&["tail -n 5 /var/log/a", "tail -n 6 /var/log/b", "tail -n 7 /var/log/c"]);
    assert_eq!(files.rules, 1, "{files:?}");
    assert!(files.text.contains("args    = [\"-n\", \"{number2:number}\", \"{file3:path}\"]"), "{}", files.text);
    assert!(files.text.contains("reads   = [\"/var/log/*\"]"), "{}", files.text);
    let two = learnt(&["cat /var/log/a", "cat /etc/hosts"]);
    assert!(two.text.contains("{word1:/etc/hosts|/var/log/a}"), "{}", two.text);
    let words = learnt(&["id alice", "id bob"]);
    assert!(words.text.contains("{word1:alice|bob}"), "{}", words.text);
    let climbing = learnt(&["cat /var/log/a", "cat /var/log/b", "cat /var/log/../shadow"]);
    assert!(!climbing.text.contains("reads"), "{}", climbing.text);
}

#[test]
fn a_pipeline_is_learnt_command_by_command() {
    let learnt = learnt(&["cat /var/log/a | wc -l > /tmp/count"]);
    assert_eq!(learnt.rules, 2, "{learnt:?}");
    assert_eq!(learnt.text.matches("pipe    = true").count(), 2);
    assert!(learnt.text.contains("writes  = [\"/tmp/count\"]"), "{}", learnt.text);
    assert!(!learnt.text.contains("[[test]]"), "a test names one rule");
}

#[test]
fn what_opens_a_way_to_other_programs_is_never_learnt() {
    for line in [
        "sh",
        "bash -c id",
        "vim /etc/hosts",
        "sudo id",
        "less /etc/hosts",
        "find / -exec id ;",
        "no-such-program-here x",
    ] {
        let learnt = learnt(&[line]);
        assert_eq!((learnt.rules, learnt.left_out.len()), (0, 1), "{line}: {}", learnt.text);
    }
}

#[test]
fn what_strict_does_not_have_is_told() {
    for (line, why) in [
        ("id $USER", "known only on the target"),
        ("id; for a in b; do id; done", "loops"),
        ("id &", "background"),
        ("A=1 id", "variables"),
        ("id $(id)", "substitutions"),
        ("./run", "a path from a directory"),
        ("id a\\|b", "characters that patterns"),
        ("id > out", "no full path"),
        ("id 'a", "not understood"),
    ] {
        let learnt = learnt(&[line]);
        assert!(learnt.left_out.iter().any(|(_, told)| told.contains(why)), "{line}: {:?}", learnt.left_out);
        assert_eq!(learnt.rules, 0, "{line}: {}", learnt.text);
    }
}
