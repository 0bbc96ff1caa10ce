//! Ways past the gate besides the keys of a terminal: commands, channels and settings that a client asks for.

use super::{EXACT, Place, filled};
use crate::fixture::process::Finished;
use crate::require;

/// What becomes of a way in strict and guard, and what in observe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is judged as a line: refused where the rules forbid it. In observe it runs.
    Judged,
    /// No rule opens this channel, so that it is refused in each mode.
    Closed,
    /// What it asks for does not come to the target, in any mode.
    Dropped,
}

struct Way {
    what: &'static str,
    /// Flags of `ssh`.
    flags: &'static [&'static str],
    command: &'static str,
    input: &'static str,
    fate: Fate,
}

const fn way(what: &'static str, flags: &'static [&'static str], command: &'static str, fate: Fate) -> Way {
    Way { what, flags, command, input: "", fate }
}

/// The rule opens shells and commands, and nothing else. `@made` and `@dir` are as in the other table.
const WAYS: &[Way] = &[
    way("a command", &[], "touch @made", Fate::Judged),
    way("a command with a terminal", &["-tt"], "touch @made", Fate::Judged),
    way("a second line of a command", &[], "echo a\ntouch @made", Fate::Judged),
    way("a command parted by Tabs", &[], "touch\t@made", Fate::Judged),
    way("a command that begins with a control character", &[], "\u{1}; touch @made", Fate::Judged),
    Way { input: "touch @made\n", ..way("a shell without a terminal", &["-T"], "", Fate::Judged) },
    Way { input: "touch @made\n", ..way("a shell that reads its input", &[], "bash", Fate::Judged) },
    way("a file by `scp -O`", &[], "scp -t @made", Fate::Closed),
    way("a file by rsync", &[], "rsync --server . @made", Fate::Closed),
    way("the subsystem `sftp`", &["-s"], "sftp", Fate::Closed),
    way("the subsystem `netconf`", &["-s"], "netconf", Fate::Closed),
    way("a forward to a port (`-W`)", &["-W", "127.0.0.1:22"], "", Fate::Closed),
    way(
        "a port that listens (`-R`)",
        &["-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:22"],
        "",
        Fate::Closed,
    ),
    way("`BASH_ENV`", &["-o", "SetEnv=BASH_ENV=@dir/start"], "echo a", Fate::Dropped),
    way("`ENV`", &["-o", "SetEnv=ENV=@dir/start"], "echo a", Fate::Dropped),
    way("`LD_PRELOAD`", &["-o", "SetEnv=LD_PRELOAD=@dir/start"], "echo a", Fate::Dropped),
    way(
        "a function from the environment",
        &["-o", "SetEnv=BASH_FUNC_echo%%=()\\ {\\ touch\\ @made;\\ }"],
        "echo a",
        Fate::Dropped,
    ),
];

fn tried(place: &Place, way: &Way) -> (bool, Finished) {
    let fill = |text: &str| filled(text, place.sshd.folder());
    let _ = std::fs::remove_file(place.made());
    let flags: Vec<String> = way.flags.iter().map(|flag| fill(flag)).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let told = place.bastion.to(&place.sshd).run_with(&flags, &fill(way.command), fill(way.input).as_bytes());
    (place.made().exists(), told)
}

#[test]
fn what_is_no_key_is_judged_closed_or_dropped_in_each_mode() {
    require!("sshd", "ssh", "bash");
    for mode in ["strict", "guard", EXACT, "observe"] {
        let place = Place::new("bash", mode);
        std::fs::write(place.sshd.folder().join("any/start"), filled("touch @made\n", place.sshd.folder())).unwrap();
        // Without a bastion these come to the target.
        let start = filled("SetEnv=BASH_ENV=@dir/start", place.sshd.folder());
        assert!(place.sshd.direct().with(&start).run("env").ok().out().contains("any/start"));
        for way in WAYS {
            let (made, told) = tried(&place, way);
            let runs = mode == "observe" && way.fate == Fate::Judged;
            assert_eq!(made, runs, "{mode}: {}: {told:?}", way.what);
            match way.fate {
                Fate::Closed => {
                    assert!(told.code != Some(0) && told.stdout.is_empty(), "{mode}: {}: {told:?}", way.what)
                }
                Fate::Dropped => {
                    assert_eq!(told.ok().out(), "a\n", "{mode}: {}", way.what);
                    let (_, told) = tried(&place, &Way { command: "env", ..*way });
                    let reached = ["any/start", "BASH_FUNC"].into_iter().any(|word| told.out().contains(word));
                    // In strict no rule allows `env`.
                    assert!((mode == "strict" || told.code == Some(0)) && !reached, "{mode}: {}: {told:?}", way.what);
                }
                Fate::Judged => assert!(runs || told.text().contains("doorward: "), "{mode}: {}: {told:?}", way.what),
            }
        }
        // A further channel of the same connection is judged as its first is.
        let master = place.bastion.to(&place.sshd).master(place.sshd.folder());
        let _ = std::fs::remove_file(place.made());
        assert_eq!(master.route.run("echo a").ok().out(), "a\n");
        let told = master.route.run(&filled("touch @made", place.sshd.folder()));
        assert_eq!(place.made().exists(), mode == "observe", "{mode}: {told:?}");
    }
}

/// The second table of what is published.
pub(super) fn table() -> String {
    let mut text = String::from(
        "\n## Besides the keys of a terminal\n\nTried by a test, too, where a rule opens shells and commands and nothing else. \
         **judged**: as a line that is typed: refused where the\nrules forbid it, and in `observe` it runs. **closed**: refused in \
         each mode, since the rule does not open it. **dropped**: it does not come\nto the target, in any mode; `[ssh] env` \
         names what does.\n\n| way | strict, guard, observe |\n| --- | --- |\n",
    );
    let further = ("a further channel of the same connection", Fate::Judged);
    for (what, fate) in WAYS.iter().map(|way| (way.what, way.fate)).chain([further]) {
        let word = match fate {
            Fate::Judged => "judged",
            Fate::Closed => "closed",
            Fate::Dropped => "dropped",
        };
        text.push_str(&format!("| {what} | {word} |\n"));
    }
    text
}
