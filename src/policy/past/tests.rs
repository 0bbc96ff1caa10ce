use super::*;
use crate::policy::PolicyFile;

const ACCESS: &str = "schema = 1\n[[rule]]\nid = \"ops\"\nwho = { groups = [\"ops\"] }\nwhere = { labels = { env = \"prod\" } }\n\
                      accounts = [\"root\"]\nchannels = [\"exec\"]\ngrant = { required = false }\n";
const SET: &str = "schema = 1\nmode = \"strict\"\ndefault = \"deny\"\n[[rule]]\nid = \"look\"\neffect = \"allow\"\n\
                   program = \"/usr/bin/uptime\"\nargs = []\nreason = \"x\"\n[[rule]]\nid = \"who\"\neffect = \"approve\"\n\
                   program = \"/usr/bin/id\"\nargs = []\napprovers = { group = \"leads\", count = 1 }\nreason = \"x\"\n\
                   [[test]]\nexpect = \"allow look\"\nlines = [\"uptime\"]\n";

#[test]
fn what_a_session_opened_is_asked_again() {
    let known = known();
    for (rules, granted, now) in [
        (ACCESS.to_owned(), false, None),
        (ACCESS.replace("required = false", "required = true"), true, None),
        (ACCESS.replace("required = false", "required = true"), false, Some(Said::WithGrant)),
        (ACCESS.replace("prod", "dev"), false, Some(Said::Refused)),
        (ACCESS.replace("exec", "shell"), true, Some(Said::Refused)),
        (ACCESS.replace("grant =", "from = [\"10.0.0.0/8\"]\ngrant ="), false, Some(Said::Refused)),
    ] {
        let set = set(&[("access/a.toml", &rules)]);
        let mut rehearsal = Rehearsal::of(&set, &known);
        Then { granted, ..Then::default() }.take(&mut rehearsal, PastAsked::Channel(ChannelClass::Exec));
        let found = rehearsal.end();
        let told: Vec<Said> = found.differences.iter().map(|one| one.now).collect();
        assert_eq!(told, now.into_iter().collect::<Vec<_>>(), "{rules}");
        assert_eq!((found.decisions, found.same), (1, u64::from(now.is_none())));
    }
}

#[test]
fn a_command_is_judged_by_the_sets_of_the_rules_that_would_open_it() {
    let known = known();
    let access = format!("{ACCESS}commands = {{ mode = \"strict\", sets = [\"web\"] }}\n");
    let set = set(&[("access/a.toml", &access), ("commands/web.toml", SET)]);
    for (line, then, now, by) in [
        ("uptime", Said::Allowed, None, ""),
        ("uptime", Said::Refused, Some(Said::Allowed), "web: look"),
        ("id", Said::Allowed, Some(Said::WithApproval), "web: who"),
        ("sh", Said::Allowed, Some(Said::Refused), "web: default"),
        ("sh", Said::Refused, None, ""),
    ] {
        let mut rehearsal = Rehearsal::of(&set, &known);
        Then { then, ..Then::default() }.take(&mut rehearsal, PastAsked::Command(line));
        let found = rehearsal.end();
        let told: Vec<_> = found.differences.iter().map(|one| (one.then, one.now, one.by.as_str())).collect();
        assert_eq!(told, now.map(|now| (then, now, by)).into_iter().collect::<Vec<_>>(), "{line} {then:?}");
    }
}

#[test]
fn a_ticket_that_nobody_knows_any_more_counts_as_given() {
    let known = known();
    let access = format!("{ACCESS}commands = {{ mode = \"strict\", sets = [\"web\"] }}\n");
    let wanted = SET
        .replace("args = []\nreason", "args = []\nticket = \"CHG-[0-9]+\"\nreason")
        .replace("lines = [\"uptime\"]", "as = { ticket = \"CHG-1\" }\nlines = [\"uptime\"]");
    assert!(wanted.contains("ticket = \"CHG-[0-9]+\"") && wanted.contains("CHG-1"));
    let set = set(&[("access/a.toml", &access), ("commands/web.toml", &wanted)]);
    let mut rehearsal = Rehearsal::of(&set, &known);
    Then::default().take(&mut rehearsal, PastAsked::Command("uptime"));
    let found = rehearsal.end();
    assert_eq!((found.commands, found.same), (1, 1), "{found:?}");
}

#[test]
fn the_same_difference_is_counted_and_some_sessions_are_named() {
    let (known, set) = (known(), set(&[("access/a.toml", &ACCESS.replace("prod", "dev"))]));
    let mut rehearsal = Rehearsal::of(&set, &known);
    for at in 0..5 {
        Then { at, ..Then::default() }.take(&mut rehearsal, PastAsked::Command("uptime"));
    }
    let found = rehearsal.end();
    let [one] = found.differences.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.times, one.last, one.sessions.len()), (5, Timestamp::from_millis(4), SESSIONS_MAX));
    assert_eq!((found.commands, found.same, found.unknown), (5, 0, 0));
}

#[test]
fn parts_of_a_rehearsal_together_are_the_whole() {
    let (known, set) = (known(), set(&[("access/a.toml", &ACCESS.replace("prod", "dev"))]));
    let lines: Vec<String> = (0..50).map(|n| format!("echo {}", n % 7)).collect();
    let rehearse = |lines: &[String]| {
        let mut rehearsal = Rehearsal::of(&set, &known);
        lines.iter().for_each(|line| Then::default().take(&mut rehearsal, PastAsked::Command(line)));
        rehearsal
    };
    let (first, second) = lines.split_at(20);
    assert_eq!(rehearse(first).and(rehearse(second)).end(), rehearse(&lines).end());
}

#[test]
fn what_differs_in_countless_ways_is_counted() {
    let (known, set) = (known(), set(&[("access/a.toml", &ACCESS.replace("prod", "dev"))]));
    let half = |from: usize| {
        let mut rehearsal = Rehearsal::of(&set, &known);
        for n in from..from + KINDS_MAX - 10 {
            Then::default().take(&mut rehearsal, PastAsked::Command(&format!("echo {n}")));
        }
        rehearsal
    };
    let found = half(0).and(half(KINDS_MAX)).end();
    assert_eq!((found.differences.len(), found.unlisted), (KINDS_MAX, (KINDS_MAX - 20).try_into().unwrap()));
}

#[test]
fn who_is_gone_cannot_be_asked_for() {
    let set = set(&[("access/a.toml", ACCESS)]);
    let nobody = Known::default();
    let mut rehearsal = Rehearsal::of(&set, &nobody);
    Then::default().take(&mut rehearsal, PastAsked::Command("uptime"));
    let found = rehearsal.end();
    assert_eq!((found.unknown, found.differences.len()), (1, 0));
}

struct Then {
    granted: bool,
    then: Said,
    at: i64,
}

impl Default for Then {
    fn default() -> Self {
        Self { granted: false, then: Said::Allowed, at: 0 }
    }
}

impl Then {
    fn take(&self, rehearsal: &mut Rehearsal<'_>, asked: PastAsked<'_>) {
        let (user, destination) = (UserName::parse("alice").unwrap(), Destination::parse("root@web1").unwrap());
        let session = SessionId::from_parts(Timestamp::from_millis(1), 1);
        rehearsal.take(&Past {
            user: &user,
            destination: &destination,
            at: Timestamp::from_millis(self.at),
            source: Some("192.0.2.1".parse().unwrap()),
            session: &session,
            granted: self.granted,
            asked,
            then: self.then,
        });
    }
}

fn known() -> Known {
    let ops = GroupName::parse("ops").unwrap();
    Known {
        groups: [(UserName::parse("alice").unwrap(), [ops].into_iter().collect())].into_iter().collect(),
        labels: [(TargetName::parse("web1").unwrap(), [("env".into(), "prod".into())].into_iter().collect())]
            .into_iter()
            .collect(),
    }
}

fn set(files: &[(&str, &str)]) -> PolicySet {
    let file = |(path, text): &(&str, &str)| PolicyFile { path: format!("policies/{path}"), text: (*text).to_owned() };
    PolicySet::parse(&files.iter().map(file).collect::<Vec<_>>()).unwrap()
}
