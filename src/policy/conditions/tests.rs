use proptest::prelude::*;

use super::*;
use crate::policy::{PolicyFile, PolicySet};

const OFFICE: &str = "{ days = \"Mon-Fri\", hours = \"08:00-18:00\", zone = \"Europe/Paris\" }";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn window(text: &str) -> Window {
    Window::of_text(text).unwrap()
}

/// Asserts when a window is open: at the first moment, until before the second; and shut around it.
#[track_caller]
fn opens(window: &Window, from: &str, to: &str) {
    let (from, to, moment) = (at(from), at(to), Duration::from_millis(1));
    assert_eq!(window.open_until(from), Ok(Some(to)));
    assert_eq!(window.open_until(to.minus(moment)), Ok(Some(to)));
    assert!(window.open_until(from.minus(moment)).is_err(), "open before {from:?}");
    assert!(window.open_until(to).is_err(), "open at {to:?}");
}

#[test]
fn a_window_follows_the_wall_over_both_ends_of_summer_time() {
    let paris = window(OFFICE);
    // The Fridays and Mondays around 2026-03-29 and 2026-10-25.
    opens(&paris, "2026-03-27T08:00:00+01:00", "2026-03-27T18:00:00+01:00");
    opens(&paris, "2026-03-30T08:00:00+02:00", "2026-03-30T18:00:00+02:00");
    opens(&paris, "2026-10-23T08:00:00+02:00", "2026-10-23T18:00:00+02:00");
    opens(&paris, "2026-10-26T08:00:00+01:00", "2026-10-26T18:00:00+01:00");
    let york = window("{ days = \"Sun,Mon\", hours = \"01:00-09:30\", zone = \"America/New_York\" }");
    // Eight hours and a half by the wall: seven and a half where one is left out, nine and a half less the first of two
    // ones where one comes twice.
    opens(&york, "2026-03-08T01:00:00-05:00", "2026-03-08T09:30:00-04:00");
    opens(&york, "2026-03-09T01:00:00-04:00", "2026-03-09T09:30:00-04:00");
    opens(&york, "2026-11-01T01:00:00-05:00", "2026-11-01T09:30:00-05:00");
    opens(&york, "2026-11-02T01:00:00-05:00", "2026-11-02T09:30:00-05:00");
}

#[test]
fn of_an_hour_that_comes_twice_the_narrower_reading_counts() {
    let zone = "zone = \"Europe/Paris\"";
    let window = |hours: &str| window(&format!("{{ days = \"Sun\", hours = \"{hours}\", {zone} }}"));
    // It begins at the second 02:30.
    opens(&window("02:30-04:00"), "2026-10-25T02:30:00+01:00", "2026-10-25T04:00:00+01:00");
    // It ends at the first.
    opens(&window("01:00-02:30"), "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+02:00");
    // Within that hour it is open once.
    opens(&window("02:15-02:45"), "2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00");
    // The hour itself as an end is no hour within it, so it comes once.
    opens(&window("01:00-03:00"), "2026-10-25T01:00:00+02:00", "2026-10-25T03:00:00+01:00");
    // An hour that does not come: what begins or ends in it does so at the jump.
    opens(&window("02:30-04:00"), "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00");
    opens(&window("01:00-02:30"), "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00");
    let lost = window("02:15-02:45");
    for minute in 0..240 {
        let now = at("2026-03-29T00:00:00+01:00").plus(Duration::from_secs(60 * minute));
        assert!(lost.open_until(now).is_err(), "open at {now:?}");
    }
}

#[test]
fn hours_may_cross_midnight_and_days_that_meet_are_one_window() {
    let night = window("{ days = \"Fri\", hours = \"22:00-06:00\", zone = \"Europe/Paris\" }");
    opens(&night, "2026-11-20T22:00:00+01:00", "2026-11-21T06:00:00+01:00");
    let nightly = window("{ hours = \"22:00-06:00\", zone = \"Europe/Paris\" }");
    // Over the ends of summer time it lasts seven hours, and nine.
    opens(&nightly, "2026-03-28T22:00:00+01:00", "2026-03-29T06:00:00+02:00");
    opens(&nightly, "2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00+01:00");
    let week = window("{ days = \"Mon-Fri\", zone = \"Europe/Paris\" }");
    opens(&week, "2026-11-16T00:00:00+01:00", "2026-11-21T00:00:00+01:00");
    // Where midnight itself comes twice, days that meet are not parted by it.
    let havana = window("{ days = \"Sat-Mon\", zone = \"America/Havana\" }");
    opens(&havana, "2026-10-31T00:00:00-04:00", "2026-11-03T00:00:00-05:00");
    let sunday = window("{ days = \"Sun\", zone = \"America/Havana\" }");
    opens(&sunday, "2026-11-01T00:00:00-05:00", "2026-11-02T00:00:00-05:00");
    let always = window("{ days = \"Wed-Tue\", hours = \"00:00-24:00\", zone = \"UTC\" }");
    assert_eq!(always.open_until(at("2026-11-22T08:00:00Z")), Ok(None));
    let late = window("{ days = \"Mon\", hours = \"20:00-00:00\", zone = \"UTC\" }");
    opens(&late, "2026-11-23T20:00:00Z", "2026-11-24T00:00:00Z");
}

/// Seconds of two years, half of them on the days on which the clocks of Paris, New York or Havana are set.
fn seconds() -> impl Strategy<Value = i64> {
    let set = ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T05:00:00Z"];
    let near = prop::sample::select(set.to_vec()).prop_map(|set| at(set).as_millis() / 1000);
    let near = (near, -43_200_i64..43_200).prop_map(|(set, away)| set + away);
    prop_oneof![near, 1_767_225_600_i64..1_830_297_600]
}

proptest! {
    #[test]
    fn it_is_open_just_before_its_end_and_shut_at_it(
        second in seconds(), days in 1_usize..128, from in 0_i64..1440, span in 1_i64..1440,
        zone in prop::sample::select(vec!["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Havana"]),
    ) {
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let days: Vec<&str> = names.iter().enumerate().filter(|(at, _)| days >> at & 1 == 1).map(|(_, day)| *day).collect();
        let clock = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let hours = format!("{}-{}", clock(from), clock((from + span) % 1440));
        let window = window(&format!("{{ days = \"{}\", hours = \"{hours}\", zone = \"{zone}\" }}", days.join(",")));
        let now = Timestamp::from_millis(second * 1000);
        if let Ok(Some(end)) = window.open_until(now) {
            prop_assert!(now < end);
            prop_assert_eq!(window.open_until(end.minus(Duration::from_millis(1))), Ok(Some(end)));
            let again = window.open_until(end);
            prop_assert!(again.is_err(), "{} {}: open again at {:?} until {:?}", hours, zone, end, again);
        }
    }

    // What the wall shows while it is open is always within the hours.
    #[test]
    fn it_is_never_open_at_an_hour_that_it_does_not_name(second in seconds()) {
        let window = window("{ days = \"Sun-Fri\", hours = \"01:30-02:30\", zone = \"Europe/Paris\" }");
        let now = Timestamp::from_millis(second * 1000);
        if window.open_until(now).is_ok() {
            let paris = jiff::tz::TimeZone::get("Europe/Paris").unwrap();
            let wall = jiff::Timestamp::from_second(second).unwrap().to_zoned(paris);
            let minutes = i64::from(wall.hour()) * 60 + i64::from(wall.minute());
            prop_assert!((90..150).contains(&minutes) && wall.weekday() != jiff::civil::Weekday::Saturday, "{wall}");
        }
    }
}

#[test]
fn a_window_that_cannot_be_is_a_fault_of_its_line() {
    for (when, told) in [
        ("{ zone = \"Europe/Paris\" }", "says no time"),
        ("{ days = \"Mon-Fri\" }", "`zone` is missing"),
        ("{ days = \"Mon-Fri\", zone = \"Europe/Atlantis\" }", "install tzdata"),
        ("{ days = \"Mon-Fri\", zone = \"Etc/Unknown\" }", "is no time zone"),
        ("{ days = \"Mon-Fri\", zone = \"\" }", "is no time zone"),
        ("{ days = \"Mon-Fri\", zone = \"../../etc/hosts\" }", "is no time zone"),
        ("{ days = \"Monday\", zone = \"UTC\" }", "no day of the week"),
        ("{ days = \"\", zone = \"UTC\" }", "no day of the week"),
        ("{ days = \"Mon-Wed,Tue\", zone = \"UTC\" }", "a day twice"),
        ("{ hours = \"08:00-08:00\", zone = \"UTC\" }", "is empty"),
        ("{ hours = \"24:00-06:00\", zone = \"UTC\" }", "are no hours"),
        ("{ hours = \"8-18\", zone = \"UTC\" }", "are no hours"),
        ("{ hours = \"08:00-24:01\", zone = \"UTC\" }", "are no hours"),
        ("{ hours = \"08:60-18:00\", zone = \"UTC\" }", "are no hours"),
        ("{ hours = \"08:00-18:00\", zone = \"UTC\", live = \"maybe\" }", "known: end, keep"),
        ("{ hours = \"08:00-18:00\", zone = \"UTC\", until = \"9\" }", "unknown key"),
        ("\"Mon-Fri\"", "expected a table"),
    ] {
        let faults = Window::of_text(when).expect_err(when);
        assert!(faults.contains(told) && faults.contains("a.toml:1: when"), "{when}: {faults}");
    }
}

fn rule(conditions: &str) -> Result<Conditions, String> {
    let text = format!(
        "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
         accounts = [\"root\"]\nchannels = [\"shell\"]\n{conditions}\n"
    );
    let set = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]);
    let told =
        |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect::<String>();
    set.map(|set| set.rules().next().unwrap().conditions.clone()).map_err(told)
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (conditions, told) in [
        ("from = []", "never means all"),
        ("from = [\"10.0.0.1/8\"]", "did you mean 10.0.0.0/8?"),
        ("from = [\"home\"]", "is no network"),
        ("mfa = {}", "`within` is missing"),
        ("mfa = { within = \"0s\" }", "out of range"),
        ("limits = {}", "limits nothing"),
        ("limits = { sessions = 0 }", "out of range"),
        ("limits = { idle = \"25h\" }", "out of range"),
        ("consent = \" \"", "is empty"),
        ("consent = \"a\\u001b[2J\"", "steer a terminal"),
    ] {
        let faults = rule(conditions).expect_err(conditions);
        assert!(faults.contains(told) && faults.contains("a.toml:8"), "{conditions}: {faults}");
    }
    assert_eq!(rule(""), Ok(Conditions::default()));
}

fn now(text: &str) -> Circumstances<'static> {
    Circumstances { now: Some(at(text)), ..Circumstances::BEST }
}

#[test]
fn each_condition_is_looked_at_and_the_best_of_circumstances_meets_all() {
    let all = format!(
        "when = {OFFICE}\nfrom = [\"10.0.0.0/8\"]\nmfa = {{ within = \"15m\" }}\nlimits = {{ length = \"8h\" }}\n\
         consent = \"You are recorded.\""
    );
    let rule = rule(&all).unwrap();
    assert_eq!(rule.holds(&Circumstances::BEST), Ok(None));
    let (mfa, agreed) = (Mfa::Ago(Duration::from_secs(900)), BTreeSet::from(["You are recorded.".into()]));
    let source = Some("::ffff:10.1.2.3".parse().unwrap());
    let met = Circumstances { source, mfa, consents: Consents::These(&agreed), ..now("2026-11-23T09:00:00+01:00") };
    let until = Bound { at: at("2026-11-23T17:00:00+01:00"), by: BoundBy::Length };
    assert_eq!(rule.holds(&met), Ok(Some(until)));
    let later = Circumstances { now: Some(at("2026-11-23T11:00:00+01:00")), ..met };
    let until = Bound { at: at("2026-11-23T18:00:00+01:00"), by: BoundBy::Hours };
    assert_eq!(rule.holds(&later), Ok(Some(until)));
    let too_old = Mfa::Ago(Duration::from_secs(901));
    for (lacking, unmet) in [
        (Circumstances { now: Some(at("2026-11-22T09:00:00+01:00")), ..met }, Unmet::Hours),
        (Circumstances { since: Some(at("2026-11-23T01:00:00+01:00")), ..met }, Unmet::Length),
        (Circumstances { source: Some("192.0.2.7".parse().unwrap()), ..met }, Unmet::Source),
        (Circumstances { mfa: too_old, ..met }, Unmet::Mfa),
        (Circumstances { mfa: Mfa::Never, ..met }, Unmet::Mfa),
        (Circumstances { consents: Consents::These(&BTreeSet::new()), ..met }, Unmet::Consent),
    ] {
        assert_eq!(rule.holds(&lacking), Err(unmet));
    }
}

#[test]
fn a_rule_may_want_a_clock_that_is_kept_right_when_a_session_begins() {
    let (careful, careless) = (rule("synced_clock = true").unwrap(), rule("synced_clock = false").unwrap());
    let doubted = Circumstances { synced: false, ..Circumstances::BEST };
    assert_eq!((careful.holds(&doubted), careless.holds(&doubted)), (Err(Unmet::Clock), Ok(None)));
    assert_eq!(careful.holds(&Circumstances::BEST), Ok(None));
    let begun = Circumstances { since: Some(at("2026-11-23T17:00:00Z")), ..doubted };
    assert_eq!(careful.holds(&begun), Ok(None));
}

#[test]
fn live_sessions_go_on_after_the_hours_only_where_the_rule_says_so() {
    let kept = rule("when = { hours = \"08:00-18:00\", zone = \"UTC\", live = \"keep\" }").unwrap();
    let ended = rule("when = { hours = \"08:00-18:00\", zone = \"UTC\" }").unwrap();
    let begun = Circumstances { since: Some(at("2026-11-23T17:00:00Z")), ..now("2026-11-23T18:00:00Z") };
    assert_eq!((kept.holds(&begun), ended.holds(&begun)), (Ok(None), Err(Unmet::Hours)));
    for rule in [kept, ended] {
        assert_eq!(rule.holds(&now("2026-11-23T18:00:00Z")), Err(Unmet::Hours));
        assert!(rule.holds(&now("2026-11-23T17:59:59Z")).is_ok());
    }
}

#[test]
fn tests_of_a_policy_ask_about_conditions() {
    let tested = |given: &str, expect: &str| {
        rule(&format!(
            "grant = {{ required = false }}\nwhen = {OFFICE}\nfrom = [\"10.0.0.0/8\"]\nmfa = {{ within = \"5m\" }}\n\
             [[test]]\ngiven = {{ user = \"alice\", target = \"db1\", account = \"root\"{given} }}\nexpect = \"{expect}\""
        ))
    };
    for (given, expect) in [
        ("", "allow dba"),
        (", at = \"2026-11-23T09:00:00+01:00\"", "allow dba"),
        (", at = \"2026-11-23T07:59:59+01:00\"", "deny"),
        (", at = \"2026-11-23T17:00:00Z\"", "deny"),
        (", from = \"10.1.2.3\", mfa = \"5m\"", "allow dba"),
        (", from = \"192.0.2.7\"", "deny"),
        (", mfa = \"6m\"", "deny"),
        (", mfa = \"never\"", "deny"),
    ] {
        tested(given, expect).unwrap();
        let other = if expect == "deny" { "allow dba" } else { "deny" };
        assert!(tested(given, other).unwrap_err().contains("got"), "{given}");
    }
    assert!(tested(", at = \"2026-11-23T09:00:00\"", "deny").unwrap_err().contains("RFC 3339"));
}
