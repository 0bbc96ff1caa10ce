mod bounds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cover::no_time;
use super::*;
use crate::document::Faults;
use crate::gate::effects::Table;
use crate::gate::verdict::{AlertLevel, Asker, By, Governed, Judgement, Seen, Ticket, judge};
use crate::model::{AccountName, Timestamp, UserName};

mod menus;

const PROGRAMS: &str = r#"
schema = 1
[[program]]
names = ["systemctl"]
manual = "test"
syntax = "gnu"
plain = "--no-pager"
[[program.sub]]
names = ["restart", "reload", "status", "stop"]
operands = ["service..."]
[[program]]
names = ["tail", "cat", "head", "ls"]
manual = "test"
syntax = "gnu"
plain = "-n= -f -F -# -l"
operands = ["read..."]
[[program]]
names = ["grep"]
manual = "test"
syntax = "gnu"
plain = "-i -n -E -c -r --recursive"
options = { "-f=" = "read" }
operands = ["nothing", "read..."]
[[program]]
names = ["rm"]
manual = "test"
syntax = "gnu"
plain = "-r -f"
operands = ["delete..."]
[[program]]
names = ["cp"]
manual = "test"
syntax = "gnu"
plain = "-r"
operands = ["read...", "write"]
[[program]]
names = ["curl"]
manual = "test"
syntax = "gnu"
plain = "-s"
options = { "-o=" = "write" }
operands = ["url..."]
[[program]]
names = ["less"]
manual = "test"
syntax = "gnu"
does = "interactive-escape"
operands = ["read..."]
[[program]]
names = ["echo", "true", "uptime", "cd", "id"]
manual = "test"
syntax = "none"
operands = ["nothing..."]
[[program]]
names = ["sh", "bash"]
manual = "test"
syntax = "posix"
plain = "-c"
does = "shell"
operands = ["shell", "arguments..."]
[[program.when]]
has = "-c"
operands = ["script", "arguments..."]
[[program]]
names = ["sudo"]
manual = "test"
syntax = "posix"
does = "privilege"
operands = ["command..."]
"#;

const WEB: &str = r#"
schema  = 1
mode    = "strict"
default = "deny"
shell   = "posix"

[[rule]]
id      = "web-restart"
effect  = "allow"
program = "/usr/bin/systemctl"
args    = ["{verb:restart|reload|status}", "{unit:nginx|php*-fpm}"]
reason  = "operators may restart the web tier"

[[rule]]
id      = "web-logs"
effect  = "allow"
program = ["/usr/bin/tail", "/bin/cat", "/bin/grep"]
reads   = ["/var/log/nginx/**"]
flags   = { tail = ["-n", "-f", "-F"], grep = ["-i", "-n", "-E", "-c"] }
pipe    = true

[[rule]]
id      = "drain-node"
effect  = "approve"
program = "/usr/local/bin/drain"
args    = ["{node:host}"]
approvers  = { group = "web-leads", count = 1, not_self = true, within = "10m" }
reason  = "draining takes capacity away"

[[rule]]
id      = "never-shell"
effect  = "deny"
effects = ["shell", "run-program", "interactive-escape", "load-code"]
alert   = "high"
reason  = "no shell from this account"

[[menu]]
name    = "cache"
title   = "Empty the page cache of one site"
run     = ["/usr/local/bin/purge", "--site", "{site}"]
site    = { pattern = "[a-z0-9-]{1,40}", help = "site name" }

[[test]]
expect = "allow web-restart"
lines  = ["systemctl restart nginx", "/usr/bin/systemctl status 'php8-fpm'"]

[[test]]
expect = "deny never-shell"
lines  = ["grep x /var/log/nginx/a | sh", "tail -f /var/log/nginx/a; bash", "$(echo systemctl) restart nginx"]

[[test]]
expect = "deny default"
lines  = ["systemctl restart sshd", "cat /var/log/nginx/../../../etc/shadow",
          "systemctl restart nginx > /etc/cron.d/x"]

[[test]]
expect = "approve drain-node"
as     = { groups = ["web"] }
lines  = ["drain web3"]
"#;

fn table() -> Table {
    Table::parse(&[("test.toml", PROGRAMS)]).unwrap()
}

fn read(text: &str) -> Result<Arc<CommandSet>, String> {
    let mut faults = Faults::default();
    let set = CommandSet::read("a", "a.toml", text, &mut faults);
    let told: String = faults.into_sorted().iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect();
    set.map(Arc::new).ok_or(told)
}

fn set(text: &str) -> Arc<CommandSet> {
    read(text).unwrap()
}

/// A set in guard that lets through what no rule names.
fn guard(rules: &str) -> Arc<CommandSet> {
    set(&format!("schema = 1\nmode = \"guard\"\ndefault = \"allow\"\n{rules}"))
}

fn strict(rules: &str) -> Arc<CommandSet> {
    set(&format!("schema = 1\nmode = \"strict\"\n{rules}"))
}

fn governed(mode: CommandMode, sets: &[&Arc<CommandSet>]) -> Governed {
    Governed {
        rule: RuleId::parse("access").unwrap(),
        commands: Some((mode, sets.iter().map(|set| Arc::clone(set)).collect())),
    }
}

fn judged_at(line: &str, governed: &[Governed], at: Timestamp) -> Judgement {
    let (groups, labels) = (BTreeSet::new(), BTreeMap::new());
    let asker = Asker {
        user: &UserName::parse("ana").unwrap(),
        groups: &groups,
        target: &crate::model::TargetName::parse("web1").unwrap(),
        labels: &labels,
        account: &AccountName::parse("ops").unwrap(),
        ticket: Ticket::Of(None),
        at,
    };
    judge(line, governed, &table(), &asker)
}

fn judged(line: &str, governed: &[Governed]) -> Judgement {
    judged_at(line, governed, no_time())
}

/// `deny RULE` and the like.
fn said(line: &str, governed: &[Governed]) -> String {
    let Judgement { outcome, by, .. } = judged(line, governed);
    format!("{outcome} {by}")
}

#[track_caller]
fn says(governed: &[Governed], expected: &[(&str, &str)]) {
    for (line, wanted) in expected {
        assert_eq!(said(line, governed), *wanted, "{line}: {:?}", judged(line, governed).reason);
    }
}

#[test]
fn a_forbidden_read_is_found_below_the_directory_that_is_named() {
    let set = guard(
        "[[rule]]\nid = \"no\"\neffect = \"deny\"\nreads = [\"/etc/ssl/private/**\", \"/**/*.key\"]\nreason = \"r\"\n",
    );
    let governed = [governed(CommandMode::Guard, &[&set])];
    says(
        &governed,
        &[
            ("cat /etc/ssl/private", "deny no"),
            ("cat /etc/ssl", "deny no"),
            ("cat /", "deny no"),
            ("cat /proc/1/root/etc/ssl/private/x", "deny no"),
            ("cat /srv", "allow default"),
            ("cat /srv/*.log", "allow default"),
            ("grep x /srv/*", "deny no"),
            ("grep x /srv/*.log", "allow default"),
            ("grep -i x /srv", "allow default"),
            ("grep -r x /srv", "deny no"),
            ("grep --recu x /srv", "deny no"),
            ("grep -nr x", "deny no"),
            ("cp -r /srv /tmp", "deny no"),
            ("cp /srv/a /tmp/a", "allow default"),
        ],
    );
}

#[test]
fn what_searches_where_it_runs_is_let_through_nowhere_by_name() {
    let set = strict(
        "[[rule]]\nid = \"search\"\neffect = \"allow\"\nprogram = \"/bin/grep\"\nreads = [\"/srv/**\"]\nreason = \"r\"\n",
    );
    let governed = [governed(CommandMode::Strict, &[&set])];
    says(
        &governed,
        &[
            ("grep -r x /srv/a", "allow search"),
            ("grep -r x", "deny default"),
            ("grep --rec x", "deny default"),
            ("grep -r -f /srv/a", "deny default"),
        ],
    );
}

#[test]
fn the_example_of_the_design_passes_its_own_tests() {
    let web = set(WEB);
    let results = web.run_tests(&table());
    assert_eq!(results.len(), 9);
    for result in results {
        assert!(result.passed(), "{}: {} {:?}", result.command, result.got, result.judgement.reason);
    }
    assert!(web.untested().any(|rule| rule.id.as_str() == "web-logs"));
}

#[test]
fn strict_sends_the_argv_that_was_judged_by_full_paths() {
    let web = [governed(CommandMode::Strict, &[&set(WEB)])];
    let sent = |line| judged(line, &web).send;
    assert_eq!(sent("systemctl  restart \"nginx\"").as_deref(), Some("'/usr/bin/systemctl' 'restart' 'nginx'"));
    assert_eq!(
        sent("grep -n x /var/log/nginx/a | tail -n 5 && /bin/cat /var/log/nginx/b").as_deref(),
        Some("'/bin/grep' '-n' 'x' '/var/log/nginx/a' | '/usr/bin/tail' '-n' '5' && '/bin/cat' '/var/log/nginx/b'")
    );
    assert_eq!(sent("bash"), None);
    let drain = judged("drain web3", &web);
    assert_eq!(drain.send.as_deref(), Some("'/usr/local/bin/drain' 'web3'"));
    let need = drain.approval.unwrap();
    assert_eq!((need.approvers.to_string().as_str(), need.within.as_secs()), ("1 of web-leads", 600));
}

#[test]
fn strict_refuses_whatever_is_not_plain() {
    let all = strict(
        "[[rule]]\nid = \"all\"\neffect = \"allow\"\nprogram = [\"/bin/cat\", \"/bin/echo\", \"/bin/true\"]\nreads = [\"/srv/**\"]\neffects = [\"unknown\"]\n",
    );
    let all = [governed(CommandMode::Strict, &[&all])];
    says(
        &all,
        &[
            ("cat /srv/a; echo x", "allow all"),
            ("cat $f", "deny default"),
            ("cat /srv/$f", "deny default"),
            ("cat ~/a", "deny default"),
            ("cat /srv/{a,b}", "deny default"),
            ("cat /srv/*", "deny default"),
            ("cat $'/srv/a'", "deny default"),
            ("cat /srv/a | cat", "deny default"),
            ("cat /srv/a &", "deny default"),
            ("(cat /srv/a)", "deny default"),
            ("if true; then echo x; fi", "deny default"),
            ("f() { echo x; }", "deny default"),
            ("X=1 echo x", "deny default"),
            ("X=1", "deny default"),
            ("echo $((1+1))", "deny default"),
            ("echo $(echo x)", "deny default"),
            ("echo <(echo x)", "deny default"),
            ("! echo x", "deny default"),
            ("echo x > /srv/a", "deny default"),
            ("cat <> /srv/a", "deny default"),
            ("/usr/bin/cat /srv/a", "deny default"),
            ("./cat /srv/a", "deny default"),
            ("", "deny default"),
            ("echo 'x", "deny not-understood"),
        ],
    );
}

#[test]
fn in_strict_streams_lead_where_a_rule_says_so_and_nowhere_else() {
    let all = strict(
        "[[rule]]\nid = \"all\"\neffect = \"allow\"\nprogram = [\"/bin/cat\", \"/bin/echo\"]\nreads = [\"/srv/**\"]\n\
         writes = [\"/tmp/**\", \"/dev/**\"]\npipe = true\n",
    );
    let all = [governed(CommandMode::Strict, &[&all])];
    for (line, sent) in [
        ("cat < /srv/a", "'/bin/cat' < '/srv/a'"),
        ("2>/dev/null cat /srv/a >>'/tmp/x y' ", "'/bin/cat' '/srv/a' 2> '/dev/null' >> '/tmp/x y'"),
        ("cat /srv/a 2>&1 | cat > /tmp/b", "'/bin/cat' '/srv/a' 2>&1 | '/bin/cat' > '/tmp/b'"),
    ] {
        assert_eq!(judged(line, &all).send.as_deref(), Some(sent), "{line}");
    }
    says(
        &all,
        &[
            ("cat < /etc/shadow", "deny default"),
            ("echo x > /srv/a", "deny default"),
            ("echo x > /tmp/../etc/cron.d/x", "deny default"),
            ("echo x > tmp", "deny default"),
            ("echo x > /tmp/*", "deny default"),
            ("echo x > \"/tmp/$x\"", "deny default"),
            ("echo x > /dev/tcp/h/80", "deny default"),
            ("echo x > /dev/sda", "deny default"),
            ("echo x > /tmp/a | cat", "deny default"),
            ("echo x > /tmp/a > /tmp/b", "deny default"),
            ("echo x &> /tmp/a", "deny default"),
            ("> /tmp/a", "deny default"),
        ],
    );
}

#[test]
fn patterns_for_file_names_pass_in_strict_where_a_rule_says_so() {
    let globs = strict(
        "[[rule]]\nid = \"logs\"\neffect = \"allow\"\nprogram = \"/bin/cat\"\nreads = [\"/srv/**\"]\nglobs = true\n",
    );
    let globs = [governed(CommandMode::Strict, &[&globs])];
    says(
        &globs,
        &[
            ("cat /srv/*.log", "allow logs"),
            ("cat *", "deny default"),
            ("cat /srv/.*/x", "deny default"),
            ("cat /*/x", "deny default"),
        ],
    );
    assert_eq!(judged("cat /srv/*.log", &globs).send.as_deref(), Some("'/bin/cat' '/srv/'*'.log'"));
}

#[test]
fn an_allow_rule_covers_every_effect_or_nothing() {
    let rules = strict(
        "[[rule]]\nid = \"copy\"\neffect = \"allow\"\nprogram = \"/bin/cp\"\nreads = [\"/srv/in/**\"]\nwrites = [\"/srv/out/**\"]\n\
         [[rule]]\nid = \"fetch\"\neffect = \"allow\"\nprogram = \"/usr/bin/curl\"\nhosts = [\"*.example.org\"]\n\
         [[rule]]\nid = \"page\"\neffect = \"allow\"\nprogram = \"/usr/bin/less\"\nreads = [\"/srv/**\"]\n\
         [[rule]]\nid = \"any\"\neffect = \"allow\"\nprogram = \"/opt/tool\"\n\
         [[rule]]\nid = \"root\"\neffect = \"allow\"\nprogram = \"/usr/bin/sudo\"\neffects = [\"privilege\"]\n",
    );
    let rules = [governed(CommandMode::Strict, &[&rules])];
    says(
        &rules,
        &[
            ("cp /srv/in/a /srv/out/a", "allow copy"),
            ("cp /srv/in/a /srv/in/b", "deny default"),
            ("cp /etc/shadow /srv/out/a", "deny default"),
            ("cp a /srv/out/a", "deny default"),
            ("cp -x /srv/in/a /srv/out/a", "deny default"),
            ("curl https://a.example.org/x", "allow fetch"),
            ("curl https://example.com/x", "deny default"),
            ("curl -o /etc/x https://a.example.org/x", "deny default"),
            ("less /srv/a", "deny default"),
            ("/opt/tool", "deny default"),
            ("sudo /bin/cp /srv/in/a /srv/out/b", "allow root"),
            ("sudo cp /srv/in/a /srv/out/b", "deny default"),
            ("sudo /bin/rm /srv/in/a", "deny default"),
        ],
    );
}

#[test]
fn deny_beats_approve_beats_allow_beats_default_whatever_the_order() {
    let rule = |id: &str, effect: &str, more: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\nprogram = \"/bin/cat\"\nreads = [\"/srv/**\"]\nreason = \"r\"\n{more}\n"
        )
    };
    let deny = guard(&rule("no", "deny", ""));
    let ask = guard(&rule("ask", "approve", "approvers = { users = [\"bob\"] }"));
    let allow = strict(&rule("yes", "allow", ""));
    let one = |mode, set: &Arc<CommandSet>| governed(mode, &[set]);
    let plain = Governed { rule: RuleId::parse("plain").unwrap(), commands: None };
    let (g, s) = (CommandMode::Guard, CommandMode::Strict);
    let cases: Vec<(Vec<Governed>, &str)> = vec![
        (vec![one(s, &allow), one(g, &ask), one(g, &deny), plain.clone()], "deny no"),
        (vec![one(s, &allow), one(g, &ask), plain.clone()], "approve ask"),
        (vec![one(s, &allow), plain.clone()], "allow yes"),
        (vec![one(s, &allow)], "allow yes"),
        (vec![plain], "allow no-sets"),
        (vec![], "deny no-sets"),
    ];
    for (mut scopes, wanted) in cases {
        assert_eq!(said("cat /srv/a", &scopes), wanted);
        scopes.reverse();
        assert_eq!(said("cat /srv/a", &scopes), wanted, "reversed");
    }
    let both = guard(&format!("{}{}", rule("yes", "allow", ""), rule("no", "deny", "")));
    assert_eq!(said("cat /srv/a", &[one(g, &both)]), "deny no");
}

#[test]
fn no_part_of_a_line_slips_past_what_another_access_rule_lets_through() {
    let ask = strict(
        "[[rule]]\nid = \"ask\"\neffect = \"approve\"\nprogram = \"/bin/drain\"\nargs = [\"{n}\"]\nreason = \"r\"\napprovers = { users = [\"bob\"] }\n",
    );
    let plain = Governed { rule: RuleId::parse("plain").unwrap(), commands: None };
    let scopes = [governed(CommandMode::Strict, &[&ask]), plain];
    says(
        &scopes,
        &[
            ("drain a", "approve ask"),
            ("drain a; echo", "approve ask"),
            ("drain $a", "approve ask"),
            ("echo; echo", "allow unjudged"),
        ],
    );
    // What a weaker rule lets through goes as it was typed.
    let mixed = judged("drain a;  echo x", &scopes);
    assert_eq!((mixed.mode, mixed.send.as_deref()), (CommandMode::Observe, Some("drain a;  echo x")));
    // A line that nobody understands may mean what a rule wants a yes for.
    says(&scopes, &[("drain 'a", "deny not-understood"), ("$x a", "deny default")]);
}

#[test]
fn guard_passes_what_is_not_known_but_never_an_unknown_program() {
    let rules = guard(
        "[[rule]]\nid = \"no-rm\"\neffect = \"deny\"\ndeletes = [\"/srv/**\", \"/etc/**\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"no-secrets\"\neffect = \"deny\"\nreads = [\"/etc/shadow\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"no-shell\"\neffect = \"deny\"\neffects = [\"shell\"]\nreason = \"r\"\nalert = \"high\"\non_match = \"end\"\n\
         [[rule]]\nid = \"no-stop\"\neffect = \"deny\"\nprogram = \"systemctl\"\nargs = [\"stop\", \"...\"]\nreason = \"r\"\n",
    );
    let rules = [governed(CommandMode::Guard, &[&rules])];
    says(
        &rules,
        &[
            ("echo $x", "allow default"),
            ("for f in a b; do echo $f; done", "allow default"),
            ("rm -r /tmp/x", "allow default"),
            ("rm -r /srv/a", "deny no-rm"),
            ("rm -r /srv", "deny no-rm"),
            ("rm -r /tmp/../srv/a", "deny no-rm"),
            ("rm -r $x", "deny no-rm"),
            ("rm -r /s*", "deny no-rm"),
            ("cd /srv && rm -r a", "deny no-rm"),
            ("cd $x && rm -r a", "deny no-rm"),
            ("rm a", "allow default"),
            ("/usr/local/bin/rm /srv/a", "deny no-rm"),
            ("sudo rm /srv/a", "deny no-rm"),
            ("cat /etc/shadow", "deny no-secrets"),
            ("cat < /etc/shadow", "deny no-secrets"),
            ("cat notes", "allow default"),
            ("cat /etc", "deny no-secrets"),
            ("cat /srv", "allow default"),
            ("cat \"$f\"", "deny no-secrets"),
            ("sh", "deny no-shell"),
            ("sh -c 'rm /srv/a'", "deny no-shell"),
            ("echo $(bash)", "deny no-shell"),
            ("$'\\x73h'", "deny no-shell"),
            ("$s x", "deny not-understood"),
            ("/bin/s? x", "deny not-understood"),
            ("echo 'x", "deny not-understood"),
            ("systemctl --no-pager stop nginx", "deny no-stop"),
            ("/bin/systemctl st\"op\" nginx", "deny no-stop"),
            ("systemctl status nginx", "allow default"),
        ],
    );
    let shell = judged("sh", &rules);
    assert_eq!((shell.alert, shell.on_match), (Some(AlertLevel::High), Some(OnMatch::End)));
    assert_eq!((shell.send, shell.reason.as_deref(), shell.place), (None, Some("r"), Some(("a.toml".into(), 14))));
    let fine = judged("echo  $x", &rules);
    assert_eq!((fine.send.as_deref(), fine.mode), (Some("echo  $x"), CommandMode::Guard));
    // Without a rule that could be meant, the default decides of what nobody understands.
    assert_eq!(said("echo 'x", &[governed(CommandMode::Guard, &[&guard("")])]), "allow default");
}

#[test]
fn observing_prevents_nothing_and_says_what_would_be() {
    let deny = "[[rule]]\nid = \"no\"\neffect = \"deny\"\nprogram = \"rm\"\nreason = \"r\"\nalert = \"low\"\n";
    let seen = judged("rm /srv/a", &[governed(CommandMode::Observe, &[&guard(deny)])]);
    assert_eq!(
        (seen.outcome, seen.send.as_deref(), seen.alert),
        (Outcome::Allow, Some("rm /srv/a"), Some(AlertLevel::Low))
    );
    assert_eq!(
        (seen.would.len(), seen.would[0].outcome, seen.would[0].by.to_string()),
        (1, Outcome::Deny, "no".to_owned())
    );
    let strict_set = judged("uptime", &[governed(CommandMode::Observe, &[&strict("")])]);
    assert_eq!((strict_set.outcome, &strict_set.would[0].by), (Outcome::Allow, &By::Default));
    // A single rule that is only watched.
    let watched = guard(&format!("{deny}observe = true\n"));
    let seen = judged("rm /srv/a", &[governed(CommandMode::Guard, &[&watched])]);
    assert_eq!((seen.outcome, seen.would.len(), seen.alert), (Outcome::Allow, 1, None));
    assert_eq!(said("rm 'x", &[governed(CommandMode::Guard, &[&watched])]), "allow default");
}

#[test]
fn a_rule_holds_when_and_for_whom_it_says() {
    let rules = strict(
        "[[rule]]\nid = \"old\"\neffect = \"allow\"\nprogram = \"/bin/uptime\"\nexpires = \"2026-06-01\"\n\
         [[rule]]\nid = \"dba\"\neffect = \"allow\"\nprogram = \"/bin/true\"\ngroups = [\"dba\"]\n\
         [[rule]]\nid = \"prod\"\neffect = \"allow\"\nprogram = \"/bin/true\"\nlabels = { env = \"prod\" }\n\
         [[rule]]\nid = \"ticket\"\neffect = \"allow\"\nprogram = \"/bin/true\"\nticket = \"CHG-[0-9]+\"\n\
         [[rule]]\nid = \"night\"\neffect = \"allow\"\nprogram = \"/bin/true\"\nwhen = { hours = \"22:00-06:00\", zone = \"UTC\" }\n\
         [[rule]]\nid = \"guarded\"\neffect = \"allow\"\nprogram = \"/bin/true\"\nmode = [\"guard\", \"strict\"]\n",
    );
    let scopes = [governed(CommandMode::Strict, &[&rules])];
    let at = |text| Timestamp::parse(text).unwrap();
    assert_eq!(judged_at("uptime", &scopes, at("2026-05-31T23:59:59Z")).outcome, Outcome::Allow);
    let expired = judged_at("uptime", &scopes, at("2026-06-01T00:00:00Z"));
    assert_eq!(expired.outcome, Outcome::Deny);
    let noon = at("2026-05-31T12:00:00Z");
    let misses: Vec<(String, String)> = {
        let (groups, labels) = (BTreeSet::new(), BTreeMap::new());
        let asker = Asker {
            user: &UserName::parse("ana").unwrap(),
            groups: &groups,
            target: &crate::model::TargetName::parse("web1").unwrap(),
            labels: &labels,
            account: &AccountName::parse("ops").unwrap(),
            ticket: Ticket::Of(None),
            at: noon,
        };
        let misses = near_misses("true x", &scopes, &table(), &asker);
        misses.into_iter().map(|miss| (miss.rule.to_string(), miss.why)).collect()
    };
    let wanted = [
        ("dba", "it is for other groups"),
        ("prod", "it is for targets with other labels"),
        ("ticket", "it wants another ticket"),
        ("night", "it holds at other hours"),
    ];
    assert_eq!(misses, wanted.map(|(id, why)| (id.to_owned(), why.to_owned())));
    assert_eq!(judged_at("true", &scopes, noon).by.to_string(), "guarded");
}

#[test]
fn every_fault_of_a_set_is_told_with_its_line() {
    let told = read(
        "schema = 1\nmode = \"strict\"\ndefault = \"allow\"\nunknown = 1\n\
         [[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"cat\"\n\
         [[rule]]\nid = \"b\"\neffect = \"deny\"\n\
         [[rule]]\nid = \"c\"\neffect = \"approve\"\nprogram = \"/bin/x\"\nreason = \"r\"\n\
         [[rule]]\nid = \"c\"\neffect = \"allow\"\nprogram = \"/bin/x\"\nargs = [\"...\", \"x\"]\nreads = [\"srv\"]\nflags = [\"n\"]\n\
         [[rule]]\nid = \"d\"\neffect = \"allow\"\nprogram = \"/bin/x\"\neffects = [\"fly\"]\nexpires = \"soon\"\nticket = \"(\"\n\
         [[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"/bin/x\", \"{y}\"]\n\
         [[test]]\nexpect = \"maybe\"\nlines = []\n",
    )
    .unwrap_err();
    for fault in [
        "a.toml:3: default: is never",
        "a.toml:4: unknown: unknown key",
        "a.toml:8: rule.program: \"cat\" is not a full path",
        "a.toml:9: rule: `reason` is missing",
        "a.toml:9: rule: names neither a program nor an effect",
        "a.toml:12: rule: `approvers` is missing",
        "a.toml:17: rule: `...` is the last",
        "a.toml:22: rule.reads: \"srv\" is not a path",
        "a.toml:23: rule.flags: \"n\" is no option",
        "a.toml:28: rule.effects: \"fly\" is not in this version",
        "a.toml:29: rule.expires: \"soon\" is no time",
        "a.toml:30: rule.ticket",
        "a.toml:34: menu.run: has {y}",
        "a.toml:36: test.expect: \"maybe\" is not an outcome",
        "a.toml:37: test.lines: is empty",
    ] {
        assert!(told.contains(fault), "{fault} is missing in\n{told}");
    }
    for (text, wanted) in [
        ("schema = 1\nmode = \"guard\"\n", "`default` is missing"),
        ("schema = 1\ndefault = \"allow\"\n", "`mode` is missing"),
        ("schema = 2\n", "schema 2 is not known"),
        ("mode = \"strict\"\n", "`schema` is missing"),
        (
            "schema = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/bin/x\"\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/bin/y\"\n",
            "already the id",
        ),
        (
            "schema = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/bin/x\"\non_match = \"shadow\"\n",
            "rule.on_match: \"shadow\" is not in this version; known: pause, end",
        ),
        (
            "schema = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/bin/x\"\neffects = [\"read\"]\nreads = [\"/srv\"]\n",
            "has no effect",
        ),
    ] {
        let told = read(text).expect_err(text);
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

#[test]
fn what_is_shown_of_a_line_steers_no_terminal() {
    let rules = [governed(CommandMode::Guard, &[&guard("")])];
    let seen = judged("cat 'a\nb' $x | grep é", &rules);
    let argv: Vec<Vec<String>> = seen.invocations.iter().map(|seen| seen.argv.clone()).collect();
    assert_eq!(argv, [vec!["cat", "a\\nb", "$x"], vec!["grep", "é"]]);
    assert_eq!(seen.invocations[0].known, [true, true, false]);
    let words: Vec<String> = seen.invocations.iter().map(Seen::words).collect();
    assert_eq!(words, ["cat 'a\\nb' $x", "grep é"]);
    let spaced = judged("cat 'a b' ''", &rules);
    assert_eq!(spaced.invocations[0].words(), "cat 'a b' ''");
    assert!(seen.invocations[0].effects.iter().any(|effect| effect.starts_with("read ")), "{seen:?}");
}

#[test]
fn a_line_that_starts_more_than_anybody_reads_is_refused() {
    let line = "true;".repeat(600);
    let rules = [governed(
        CommandMode::Guard,
        &[&guard("[[rule]]\nid = \"no\"\neffect = \"deny\"\nprogram = \"rm\"\nreason = \"r\"\n")],
    )];
    assert_eq!(said(&line, &rules), "deny not-understood");
    assert_eq!(said(&"x".repeat(40_000), &rules), "deny not-understood");
}

fn judged_in(directory: &str, line: &str, governed: &[Governed]) -> Judgement {
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
    let directory = crate::gate::directory::Directory::parse(directory).unwrap();
    crate::gate::verdict::judge_in(&directory, line, governed, &table(), &asker)
}

// Whoever chooses the directory must not choose what a rule is about.
#[test]
fn relative_paths_are_judged_from_the_directory_in_which_a_line_starts() {
    let set = strict(
        "[[rule]]\nid = \"logs\"\neffect = \"allow\"\nprogram = [\"/usr/bin/cat\", \"/usr/bin/ls\", \"/usr/bin/grep\"]\n\
         reads = [\"/var/log/**\"]\nwrites = [\"/tmp/out/**\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"notes\"\neffect = \"allow\"\nprogram = \"/usr/bin/head\"\nargs = [\"notes.txt\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"issue\"\neffect = \"allow\"\nprogram = \"/usr/bin/tail\"\nargs = [\"/etc/issue\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"make\"\neffect = \"allow\"\nprogram = \"/usr/bin/make\"\nargs = [\"deploy\"]\n\
         effects = [\"run-program\", \"load-code\", \"unknown\"]\nreason = \"r\"\n\
         [[rule]]\nid = \"id\"\neffect = \"allow\"\nprogram = \"/usr/bin/id\"\nreason = \"r\"\n\
         [[rule]]\nid = \"key\"\neffect = \"deny\"\nreads = [\"/var/log/private/**\"]\nreason = \"r\"\n",
    );
    let governed = [governed(CommandMode::Strict, &[&set])];
    let says = |directory: &str, line: &str| {
        let Judgement { outcome, by, .. } = judged_in(directory, line, &governed);
        format!("{outcome} {by}")
    };
    for (directory, line, expected) in [
        ("/var/log/nginx", "cat access.log", "allow logs"),
        ("/var/log/nginx", "cat ./a//b.log", "allow logs"),
        ("/var/log/nginx", "cat /var/log/x", "allow logs"),
        // Whatever climbs may be what is forbidden.
        ("/var/log/nginx", "cat ../../../etc/shadow", "deny key"),
        ("/etc", "cat shadow", "deny default"),
        ("/etc", "cat /var/log/x", "allow logs"),
        ("/var/log", "cat private/key", "deny key"),
        ("/var/log/private", "cat key", "deny key"),
        ("/var/log/private", "grep x key", "deny key"),
        ("/var/log/nginx", "cat x > out", "deny default"),
        // A redirection says its whole path.
        ("/tmp/out", "cat /var/log/x > y", "deny default"),
        ("/", "cat var/log/x", "allow logs"),
        // What it looks at without a name is the directory.
        ("/var/log/nginx", "ls", "allow logs"),
        ("/etc", "ls", "deny default"),
        ("/etc", "ls -l", "deny default"),
        ("/etc", "ls /var/log/nginx", "allow logs"),
        // Known only by its word: at home it is one file, here it is another.
        ("/etc", "head notes.txt", "deny default"),
        ("/var/log/nginx", "head notes.txt", "deny default"),
        ("/srv", "tail /etc/issue", "allow issue"),
        // What it finds decides what it does.
        ("/tmp", "make deploy", "deny default"),
        ("/tmp", "id", "allow id"),
    ] {
        assert_eq!(
            says(directory, line),
            expected,
            "{directory}: {line}: {:?}",
            judged_in(directory, line, &governed).reason
        );
    }
    assert_eq!(said("make deploy", &governed), "allow make");
    assert_eq!(said("head notes.txt", &governed), "allow notes");
    let told = judged_in("/etc", "cat shadow", &governed).reason.unwrap();
    assert!(told.contains("in /etc"), "{told}");
}
