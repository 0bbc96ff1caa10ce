//! Menus: what is read, what runs, and what does not.

use proptest::prelude::*;

use super::*;
use crate::gate::canonical;

const MENU: &str = r#"
schema = 1
mode   = "menu"

[[menu]]
name  = "cache"
title = "Empty the page cache of one site"
run   = ["/usr/local/bin/purge", "--site", "{site}", "--depth={depth:number}", "--", "{file}"]
site  = { pattern = "[^;]*", help = "site name" }
depth = { default = "1" }
file  = { pattern = ".*", default = "all" }

[[menu]]
name      = "restart"
title     = "Restart a unit of the web tier"
run       = ["/usr/bin/sudo", "/usr/bin/systemctl", "restart", "{unit:nginx|php*-fpm}"]
effects   = ["privilege"]
effect    = "approve"
approvers = { group = "leads" }
groups    = ["web"]
reason    = "it drops connections"
pty       = true
alert     = "low"

[[menu]]
name  = "log"
title = "Show the end of a log"
run   = ["/usr/bin/tail", "-n", "{lines:number}", "{log:path}"]
lines = { default = "50" }
log   = { paths = ["/var/log/nginx/**"] }

[[menu]]
name  = "note"
title = "Write a line into the journal"
run   = ["/usr/bin/logger", "note of {who}: done"]
who   = { pattern = ".*", help = "your name" }

[[menu]]
name  = "as"
title = "Run something"
run   = ["/usr/bin/sudo", "{what}"]
what  = { pattern = ".*" }
effects = ["privilege"]

[[menu]]
name  = "open"
title = "Become somebody"
run   = ["/usr/bin/sudo", "/usr/bin/systemctl", "status", "nginx"]

[[rule]]
id      = "allowed"
effect  = "allow"
program = "/usr/bin/uptime"

[[rule]]
id      = "never-shell"
effect  = "deny"
effects = ["shell"]
alert   = "high"
reason  = "no shell"

[[rule]]
id      = "never-secret"
effect  = "deny"
reads   = ["/var/log/nginx/secret/**"]
reason  = "no secrets"

[[test]]
menu   = "cache"
with   = { site = "a b" }
expect = "allow cache"

[[test]]
menu   = "cache"
with   = { site = "-x" }
expect = "deny cache"

[[test]]
menu   = "restart"
with   = { unit = "nginx" }
as     = { groups = ["web"] }
expect = "approve restart"

[[test]]
menu   = "restart"
with   = { unit = "sshd" }
expect = "deny"
"#;

fn menu() -> [Governed; 1] {
    [governed(CommandMode::Menu, &[&set(MENU)])]
}

fn sent(line: &str) -> Option<String> {
    judged(line, &menu()).send
}

#[test]
fn an_entry_runs_as_the_policy_writes_it_with_the_values_in_their_places() {
    for (line, text) in [
        ("cache site=a", "'/usr/local/bin/purge' '--site' 'a' '--depth=1' '--' 'all'"),
        (
            "  cache   depth=7 site='a b' file=\"-rf it's\"\n",
            r#"'/usr/local/bin/purge' '--site' 'a b' '--depth=7' '--' '-rf it'"'"'s'"#,
        ),
        ("cache site='$(id)`x`|*'", "'/usr/local/bin/purge' '--site' '$(id)`x`|*' '--depth=1' '--' 'all'"),
        ("cache site=", "'/usr/local/bin/purge' '--site' '' '--depth=1' '--' 'all'"),
        ("log log=/var/log/nginx/a.log", "'/usr/bin/tail' '-n' '50' '/var/log/nginx/a.log'"),
        ("note who=ana", "'/usr/bin/logger' 'note of ana: done'"),
    ] {
        let judgement = judged(line, &menu());
        assert_eq!(judgement.send.as_deref(), Some(text), "{line}: {:?}", judgement.reason);
        assert_eq!((judgement.outcome, judgement.mode, judgement.pty), (Outcome::Allow, CommandMode::Menu, false));
        let name = line.split_whitespace().next().unwrap_or_default();
        assert_eq!((judgement.by.to_string().as_str(), judgement.set.as_deref()), (name, Some("a")));
        assert!(judgement.place.is_some() && !judgement.invocations.is_empty());
    }
}

#[test]
fn nothing_but_an_entry_and_values_that_it_takes_runs() {
    for (line, wanted) in [
        ("", "deny default"),
        ("uptime", "deny default"),
        ("/usr/local/bin/purge --site a", "deny default"),
        ("cache", "deny cache"),
        ("cache a", "deny default"),
        ("cache site=a; sh", "deny never-shell"),
        ("cache site=a;", "deny default"),
        ("cache site=a &", "deny default"),
        ("cache site=a # x", "deny default"),
        ("cache site=a\nid", "deny default"),
        ("cache site=a | id", "deny default"),
        ("cache site=a > /x", "deny default"),
        ("x=1 cache site=a", "deny default"),
        ("! cache site=a", "deny default"),
        ("(cache site=a)", "deny default"),
        ("cache site=$(id)", "deny default"),
        ("cache site=$x", "deny default"),
        ("cache site=*", "deny default"),
        ("cache site=~", "deny default"),
        ("cache site=a site=b", "deny default"),
        ("cache site='a", "deny not-understood"),
        ("cache site=a\0", "deny not-understood"),
        ("cache site=a\u{1b}", "deny not-understood"),
        ("cache site='a;b'", "deny cache"),
        ("cache site='a\tb'", "deny cache"),
        ("cache site=-oX", "deny cache"),
        ("cache site='--x'", "deny cache"),
        ("cache site=a depth=-1", "deny cache"),
        ("cache site=a depth='1 2'", "deny cache"),
        ("cache site=a other=b", "deny cache"),
        ("log log=/var/log/nginx/../../../etc/shadow", "deny log"),
        ("log log=/etc/shadow", "deny log"),
        ("log log=-f", "deny log"),
        ("log log=/var/log/nginx/a lines=-f", "deny log"),
        ("log log=/var/log/nginx/secret/a", "deny never-secret"),
        ("note who='a: b'", "deny note"),
        ("note who=-x", "deny note"),
        ("as what=id", "deny as"),
        ("as what=sh", "deny never-shell"),
        ("open", "deny open"),
        // It is there for others.
        ("restart unit=nginx", "deny default"),
    ] {
        assert_eq!(said(line, &menu()), wanted, "{line}: {:?}", judged(line, &menu()).reason);
        assert_eq!(sent(line), None, "{line}");
        assert!(judged(line, &menu()).mode == CommandMode::Menu);
    }
    let long = format!("cache site={}", "a".repeat(VALUE_BYTES_MAX + 1));
    assert_eq!(said(&long, &menu()), "deny cache");
    assert_eq!(said(&"a".repeat(40_000), &menu()), "deny not-understood");
}

#[test]
fn whoever_asks_for_what_is_not_there_reads_what_is_and_nothing_of_others() {
    let reason = judged("cach site=a", &menu()).reason.unwrap();
    assert!(reason.contains("no entry cach") && reason.contains("cache site=... [depth=...] [file=...]"), "{reason}");
    assert!(!reason.contains("restart"), "{reason}");
    // What a line looks like raises the alarm all the same.
    let judgement = judged("uptime; bash", &menu());
    assert_eq!((judgement.by.to_string().as_str(), judgement.alert), ("never-shell", Some(AlertLevel::High)));
    assert_eq!(judged("uptime", &menu()).alert, None);
}

#[test]
fn an_entry_that_takes_a_yes_says_whose() {
    let set = set(MENU);
    let groups = BTreeSet::from([crate::model::GroupName::parse("web").unwrap()]);
    let labels = BTreeMap::new();
    let asker = Asker {
        user: &UserName::parse("ana").unwrap(),
        groups: &groups,
        target: &crate::model::TargetName::parse("web1").unwrap(),
        labels: &labels,
        account: &AccountName::parse("ops").unwrap(),
        ticket: Ticket::Of(None),
        at: no_time(),
    };
    let governed = [governed(CommandMode::Menu, &[&set])];
    let judgement = judge("restart unit=php8-fpm", &governed, &table(), &asker);
    assert_eq!((judgement.outcome, judgement.by.to_string().as_str()), (Outcome::Approve, "restart"));
    assert_eq!((judgement.pty, judgement.alert), (true, Some(AlertLevel::Low)));
    assert!(judgement.approval.is_some_and(|need| need.approvers.to_string().contains("leads")));
    assert_eq!(judgement.send.as_deref(), Some("'/usr/bin/sudo' '/usr/bin/systemctl' 'restart' 'php8-fpm'"));
    let names = |governed: &[Governed], asker: &Asker<'_>| {
        offered(governed, asker).iter().map(|offered| offered.entry.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&governed, &asker), ["as", "cache", "log", "note", "open", "restart"]);
    let nobody = Asker { groups: &BTreeSet::new(), ..asker };
    assert_eq!(names(&governed, &nobody), ["as", "cache", "log", "note", "open"]);
}

#[test]
fn the_hardest_mode_wins() {
    let web = set(WEB);
    let plain = Governed { rule: RuleId::parse("plain").unwrap(), commands: None };
    let free = governed(CommandMode::Guard, &[&guard("")]);
    let few = governed(CommandMode::Strict, &[&web]);
    let [menu] = menu();
    for beside in [plain, free, few] {
        let both = [beside, menu.clone()];
        says(
            &both,
            &[("cache site=a", "allow cache"), ("uptime", "deny default"), ("systemctl restart nginx", "deny default")],
        );
    }
    // What is forbidden beside it is forbidden in it.
    let never = guard("[[rule]]\nid = \"no\"\neffect = \"deny\"\nprogram = \"purge\"\nreason = \"r\"\n");
    assert_eq!(said("cache site=a", &[menu.clone(), governed(CommandMode::Guard, &[&never])]), "deny no");
    // Observed only, it says what it would do.
    let observed = judged("uptime", &[governed(CommandMode::Observe, &[&set(MENU)])]);
    assert_eq!((observed.outcome, observed.would[0].outcome), (Outcome::Allow, Outcome::Deny));
    // In strict an entry is nothing.
    says(&[governed(CommandMode::Strict, &[&web])], &[("cache site=a", "deny default")]);
}

#[test]
fn two_entries_of_one_name_that_do_different_things_run_neither() {
    let entry =
        |program: &str| set(&format!("schema = 1\n[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"{program}\"]\n"));
    let (one, other) =
        (governed(CommandMode::Menu, &[&entry("/bin/a")]), governed(CommandMode::Menu, &[&entry("/bin/b")]));
    assert_eq!(said("m", &[one.clone(), one.clone()]), "allow m");
    assert_eq!(said("m", &[one, other]), "deny default");
}

#[test]
fn a_menus_tests_are_run_and_what_they_name_is_there() {
    let menu = set(MENU);
    let results = menu.run_tests(&table());
    assert_eq!(results.iter().filter(|result| result.passed()).count(), 4, "{results:?}");
    let untested: Vec<&str> = menu.untested_entries().map(|entry| entry.name.as_str()).collect();
    assert_eq!(untested, ["log", "note", "as", "open"]);
    let wrong = set(&MENU.replace("expect = \"deny\"", "expect = \"approve restart\""));
    assert_eq!(wrong.run_tests(&table()).iter().filter(|result| !result.passed()).count(), 1);
}

#[test]
fn faults_of_entries_are_told() {
    let entry = |run: &str, more: &str| {
        read(&format!("schema = 1\n[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [{run}]\n{more}\n"))
    };
    for (run, more, wanted) in [
        ("\"purge\"", "", "begins with the full path"),
        ("\"/bin/x {y}\"", "", "begins with the full path"),
        ("\"/bin/x\", \"{y}\"", "", "nothing says what that takes"),
        ("\"/bin/x\", \"{y:number}\"", "z = { pattern = \"a\" }", "`run` has no {z}"),
        ("\"/bin/x\", \"{y:path}\"", "", "nothing says which paths"),
        ("\"/bin/x\", \"{y:number}\"", "y = { paths = [\"/a\"] }", "with `paths`"),
        ("\"/bin/x\", \"{y:number}\", \"{y:host}\"", "", "of two kinds"),
        ("\"/bin/x\", \"{y:number}\"", "y = { default = \"a\" }", "does not take its own default"),
        ("\"/bin/x\", \"-{y:number}\"", "", "would be any option"),
        ("\"/bin/x\", \"{y:a|-*}\"", "", "would be any option"),
        ("\"/bin/x\", \"...\"", "", "says every word"),
        ("\"/bin/x\"", "effect = \"deny\"", "\"deny\" is not in this version"),
        ("\"/bin/x\"", "effect = \"approve\"", "`approvers` is missing"),
        ("\"/bin/x\"", "approvers = { group = \"a\" }", "is of rules with effect"),
        ("\"/bin/x\"", "mode = \"strict\"", "`mode` is of rules"),
        ("\"/bin/x\"", "pipe = true", "a key here is a parameter's name"),
        ("\"/bin/x\"", "[[rule]]\nid = \"m\"\neffect = \"allow\"\nprogram = \"/bin/x\"", "already the name"),
        ("\"/bin/x\"", "[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"/bin/x\"]", "already the name"),
        ("\"/bin/x\"", "[[menu]]\nname = \"if\"\ntitle = \"t\"\nrun = [\"/bin/x\"]", "no name that can be typed"),
        ("\"/bin/x\"", "[[test]]\nmenu = \"m\"\nlines = [\"a\"]\nexpect = \"allow m\"", "unknown key"),
        ("\"/bin/x\"", "[[test]]\nwith = { a = \"b\" }\nlines = [\"a\"]\nexpect = \"deny\"", "is of tests with `menu`"),
    ] {
        let told = entry(run, more).expect_err(&format!("{run} {more}"));
        assert!(told.contains(wanted), "{run} {more}: {told}");
    }
    entry("\"/bin/x\", \"{y:-a|-b}\", \"--z={z:host}\"", "").unwrap();
    let guarded = "schema = 1\nmode = \"guard\"\ndefault = \"allow\"\n[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"/bin/x\"]\n";
    assert!(read(guarded).unwrap_err().contains("in guard there is no menu"));
}

proptest! {
    #[test]
    fn a_request_reads_back_from_its_line(
        with in prop::collection::btree_map("[a-z]{1,4}", "([^\\p{C}\u{2800}]|[-'\\\\~=!*$#;&|<>(){}\" ]){0,12}", 0..4)
    ) {
        let visible = |text: &String| text.chars().all(|c| crate::gate::shell::text::fault(c).is_none());
        prop_assume!(with.values().all(visible));
        let request = MenuRequest { name: String::from("m"), with };
        prop_assert_eq!(MenuRequest::parse(&request.line()), Ok(request));
    }

    /// Whatever the value: the target reads back the argv that the entry writes with it, or nothing goes out.
    #[test]
    fn a_value_is_one_part_of_one_word(value in "([^\\p{C}]|[-'\\\\~=!*$#;&|<>(){}\"\n\t ]){0,16}") {
        let request = MenuRequest {
            name: String::from("cache"),
            with: BTreeMap::from([(String::from("site"), value.clone()), (String::from("file"), value.clone())]),
        };
        let judgement = judged(&request.line(), &menu());
        let Some(text) = judgement.send else { return Ok(()) };
        prop_assert!(!value.starts_with('-') && !value.contains([';', '\n', '\t']));
        let argv = ["/usr/local/bin/purge", "--site", &value, "--depth=1", "--", &value].map(str::to_owned);
        let words: Vec<String> = argv.iter().map(|word| canonical::quoted(word)).collect();
        let read = |line: &str| {
            let script = crate::gate::shell::parse(line).unwrap();
            let mut words = Vec::new();
            script.each_word(&mut |word| words.push(word.literal().unwrap().into_owned()));
            words
        };
        prop_assert_eq!(read(&text), argv.to_vec());
        prop_assert_eq!(read(&words.join(" ")), argv.to_vec());
    }
}
