//! Command sets beside access rules, and rules that forbid.

use super::*;

/// Access rules, and command sets beside them.
fn with_sets(access: &str, sets: &[(&str, &str)]) -> Result<PolicySet, String> {
    let file = |path: String, text: &str| PolicyFile { path, text: text.to_owned() };
    let mut files = vec![file("policies/access/a.toml".to_owned(), &format!("schema = 1\n{access}"))];
    files.extend(
        sets.iter().map(|(name, text)| file(format!("policies/commands/{name}.toml"), &format!("schema = 1\n{text}"))),
    );
    let told =
        |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect::<String>();
    PolicySet::parse(&files).map_err(told)
}

fn ops(more: &str) -> String {
    format!(
        "[[rule]]\nid = \"ops\"\nwho = {{ users = [\"ana\"] }}\nwhere = {{ targets = [\"*\"] }}\naccounts = [\"root\", \"ops\"]\n\
         grant = {{ required = false }}\n{more}\n"
    )
}

const STRICT: (&str, &str) = (
    "look",
    "mode = \"strict\"\n[[rule]]\nid = \"look\"\neffect = \"allow\"\nprogram = \"/bin/uptime\"\n[[test]]\nexpect = \"allow look\"\nlines = [\"uptime\"]\n",
);
const GUARD: (&str, &str) = ("slips", "mode = \"guard\"\ndefault = \"allow\"\n");

#[test]
fn commands_name_sets_that_are_there_and_fit_their_mode() {
    let exec = |commands: &str| ops(&format!("channels = [\"exec\"]\ncommands = {commands}"));
    let good = with_sets(&exec("{ mode = \"strict\", sets = [\"look\"] }"), &[STRICT]).unwrap();
    assert!(
        good.hash() != with_sets(&exec("{ mode = \"strict\", sets = [\"look\"] }"), &[STRICT, GUARD]).unwrap().hash()
    );
    for (commands, told) in [
        ("{ mode = \"strict\", sets = [\"lok\"] }", "there is no command set `lok`"),
        ("{ mode = \"strict\", sets = [] }", "is empty"),
        ("{ mode = \"strict\", sets = [\"slips\"] }", "lets through what no rule names"),
        ("{ mode = \"guard\", sets = [\"look\"] }", "is a set for strict"),
        ("{ mode = \"guard\", sets = [\"bare\"] }", "nothing says what becomes"),
        ("{ mode = \"wall\", sets = [\"look\"] }", "\"wall\" is not in this version"),
        ("{ mode = \"strict\", sets = [\"look\"], shell = \"unjudged\" }", "the mode is strict"),
        ("{ sets = [\"look\"] }", "`mode` is missing"),
    ] {
        let faults = with_sets(&exec(commands), &[STRICT, GUARD, ("bare", "")]).expect_err(commands);
        assert!(faults.contains(told) && faults.contains("access/a.toml:"), "{commands}: {faults}");
    }
    // A broken set is told once, by its own faults; a failed test is one.
    let broken = with_sets(&exec("{ mode = \"strict\", sets = [\"look\"] }"), &[("look", "mode = 1\n")]).unwrap_err();
    assert!(broken.contains("commands/look.toml:2: mode") && !broken.contains("no command set"), "{broken}");
    let failed = STRICT.1.replace("allow look", "deny default");
    let failed = with_sets(&exec("{ mode = \"strict\", sets = [\"look\"] }"), &[("look", &failed)]).unwrap_err();
    assert!(failed.contains("expected `deny default`, got `allow look`"), "{failed}");
    let without_exec = ops("channels = [\"sftp-read\"]\ncommands = { mode = \"strict\", sets = [\"look\"] }");
    assert!(with_sets(&without_exec, &[STRICT]).unwrap_err().contains("has neither exec nor shell"));
}

#[test]
fn a_rule_says_what_becomes_of_gaps_and_which_sets_are_for_other_prompts() {
    let rule = |commands: &str| ops(&format!("channels = [\"shell\"]\ncommands = {commands}"));
    let read = |commands: &str| {
        let set = with_sets(&rule(commands), &[STRICT, GUARD]).expect(commands);
        let rule = set.rules().next().unwrap().commands.clone().unwrap();
        rule.guarded
    };
    assert_eq!(read("{ mode = \"guard\", sets = [\"slips\"] }"), Guarded::default());
    assert_eq!(Guarded::default().on_gap, OnGap::Alert);
    let off = read("{ mode = \"guard\", sets = [\"slips\"], integration = \"off\" }");
    assert_eq!((off.integration, Guarded::default().integration), (Integration::Off, Integration::On));
    let all = read("{ mode = \"guard\", sets = [\"slips\"], on_gap = \"end\", nested = { mysql = [\"slips\"] } }");
    assert_eq!(all.on_gap, OnGap::End);
    assert_eq!(all.nested.keys().collect::<Vec<_>>(), ["mysql"]);
    for (commands, told) in [
        ("{ mode = \"guard\", sets = [\"slips\"], on_gap = \"ignore\" }", "\"ignore\" is not in this version"),
        ("{ mode = \"observe\", sets = [\"slips\"], on_gap = \"end\" }", "is for shells in guard"),
        ("{ mode = \"observe\", sets = [\"slips\"], integration = \"off\" }", "is for shells in guard"),
        ("{ mode = \"guard\", sets = [\"slips\"], integration = \"maybe\" }", "\"maybe\" is not in this version"),
        ("{ mode = \"observe\", sets = [\"slips\"], nested = { su = [\"slips\"] } }", "is for shells in guard"),
        ("{ mode = \"guard\", sets = [\"slips\"], nested = { su = [\"sips\"] } }", "there is no command set `sips`"),
        ("{ mode = \"guard\", sets = [\"slips\"], nested = { su = [\"look\"] } }", "is a set for strict"),
        (
            "{ mode = \"guard\", sets = [\"slips\"], nested = { \"python3.11\" = [\"slips\"] } }",
            "without its directory",
        ),
        ("{ mode = \"guard\", sets = [\"slips\"], nested = { \"/bin/su\" = [\"slips\"] } }", "without its directory"),
    ] {
        let faults = with_sets(&rule(commands).replace("\"shell\"", "\"shell\", \"exec\""), &[STRICT, GUARD])
            .expect_err(commands);
        assert!(faults.contains(told), "{commands}: {faults}");
    }
}

#[test]
fn a_rule_that_forbids_beats_every_one_that_allows() {
    let deny = |more: &str| {
        format!(
            "{}[[rule]]\nid = \"never\"\neffect = \"deny\"\nwho = {{ users = [\"*\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             reason = \"frozen\"\n{more}\n",
            ops("channels = [\"shell\", \"exec\"]")
        )
    };
    let tests = |expect: &str, channel: &str| {
        format!(
            "[[test]]\ngiven = {{ user = \"ana\", target = \"db1\", account = \"ops\"{channel} }}\nexpect = \"{expect}\"\n\
             [[test]]\ngiven = {{ user = \"ana\", target = \"db2\", account = \"ops\"{channel} }}\nexpect = \"allow ops\"\n"
        )
    };
    for (more, expect, channel) in [
        ("", "deny never", ""),
        ("", "deny never", ", channel = \"exec\""),
        ("", "deny", ", channel = \"exec\""),
        ("channels = [\"shell\"]", "deny never", ", channel = \"shell\""),
        ("channels = [\"shell\"]", "allow ops", ", channel = \"exec\""),
        ("channels = [\"shell\"]", "allow ops", ""),
        ("channels = [\"shell\", \"exec\"]", "deny never", ""),
        ("accounts = [\"root\"]", "allow ops", ""),
        ("accounts = [\"ops\"]", "deny never", ""),
    ] {
        let set = with_sets(&format!("{}{}", deny(more), tests(expect, channel)), &[]);
        assert_eq!(set.err(), None, "{more} {expect} {channel}");
    }
    let failed = with_sets(&format!("{}{}", deny(""), tests("allow ops", "")), &[]).unwrap_err();
    assert!(failed.contains("expected `allow ops`, got `deny never`"), "{failed}");
    for (more, told) in [
        ("when = { days = \"Mon\", zone = \"UTC\" }", "has no conditions"),
        ("recording = {}", "unknown key"),
        ("channels = []", "is empty"),
    ] {
        assert!(with_sets(&deny(more), &[]).unwrap_err().contains(told), "{more}");
    }
    assert!(
        with_sets(&deny("").replace("reason = \"frozen\"\n", ""), &[]).unwrap_err().contains("`reason` is missing")
    );
    assert!(with_sets(&deny("").replace("\"deny\"", "\"forbid\""), &[]).unwrap_err().contains("\"forbid\" is not in"));
}
