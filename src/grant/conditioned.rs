//! Permits under conditions.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{HOUR, grant};
use super::*;
use crate::model::{AccountName, TargetName};
use crate::policy::PolicyFile;

const CONDITIONS: &str = "when = { hours = \"08:00-18:00\", zone = \"UTC\" }\nfrom = [\"10.0.0.0/8\"]\n\
                          mfa = { within = \"15m\" }\nlimits = { length = \"2h\" }\nconsent = \"agreed\"\n";

fn conditioned(more: &str) -> PolicySet {
    let text = format!(
        "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
         accounts = [\"root\"]\nchannels = [\"shell\"]\n{CONDITIONS}{more}"
    );
    PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]).unwrap()
}

/// Asks at this hour of the first day.
fn ask_at(set: &PolicySet, grants: &[Grant], hour: i64, circumstances: Circumstances<'_>) -> Result<Permit, Denial> {
    let now = Timestamp::from_millis(hour * HOUR);
    let question = Question {
        user: &UserName::parse("alice").unwrap(),
        groups: &BTreeSet::new(),
        target: &TargetName::parse("db1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("root").unwrap(),
        asked: Some(&ChannelClass::Shell.into()),
        presence: Presence::NONE,
        circumstances: Circumstances { now: Some(now), ..circumstances },
    };
    permit(set, &question, "SHA256:own", grants, now)
}

#[test]
fn a_permit_ends_with_the_first_of_the_grant_the_hours_and_the_longest_session() {
    let set = conditioned("");
    let ends = |until, hour| {
        let permit = ask_at(&set, &[grant("g-1", 0, until)], hour, Circumstances::BEST).unwrap();
        permit.bound().map(|bound| (bound.at.as_millis(), bound.by)).unwrap()
    };
    assert_eq!(ends(10 * HOUR, 9), (10 * HOUR, BoundBy::Grant));
    assert_eq!(ends(20 * HOUR, 9), (11 * HOUR, BoundBy::Length));
    assert_eq!(ends(20 * HOUR, 17), (18 * HOUR, BoundBy::Hours));
}

#[test]
fn what_is_not_met_is_told_to_those_who_lack_nothing_else() {
    let (set, grants, none) = (conditioned(""), [grant("g-1", 0, 20 * HOUR)], BTreeSet::new());
    let (best, nowhere) = (Circumstances::BEST, Some("192.0.2.7".parse().unwrap()));
    let (never, unasked) = (Mfa::Never, Consents::These(&none));
    let told = |hour, circumstances| match ask_at(&set, &grants, hour, circumstances) {
        Err(Denial::NeedsMfa { .. }) => "mfa",
        Err(Denial::NeedsConsent { .. }) => "consent",
        Err(Denial::Unmet { unmet: Unmet::Hours, .. }) => "hours",
        Err(Denial::Unmet { unmet: Unmet::Source, .. }) => "source",
        other => panic!("{other:?}"),
    };
    assert_eq!(told(9, Circumstances { mfa: never, ..best }), "mfa");
    assert_eq!(told(9, Circumstances { mfa: never, consents: unasked, ..best }), "mfa");
    assert_eq!(told(9, Circumstances { consents: unasked, ..best }), "consent");
    assert_eq!(told(7, Circumstances { mfa: never, source: nowhere, ..best }), "hours");
    assert_eq!(told(9, Circumstances { mfa: never, source: nowhere, ..best }), "source");
    // Without a grant nothing of it is told.
    for circumstances in [best, Circumstances { mfa: never, source: nowhere, consents: unasked, ..best }] {
        let denial = ask_at(&set, &[], 7, circumstances).unwrap_err();
        assert_eq!(denial.public_text(), Denial::UnknownTarget.public_text());
    }
    let keyed = conditioned("key = { touch = true }\n");
    let denial = ask_at(&keyed, &grants, 9, Circumstances { mfa: never, ..best });
    assert!(matches!(denial, Err(Denial::NeedsKey { .. })), "{denial:?}");
}
