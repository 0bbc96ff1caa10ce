//! Threat T5: two hundred login names that could be taken for others. None is let in as anybody, and none as another.

use std::collections::BTreeSet;
use std::sync::Arc;

use doorward::model::Login;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fixture::bastion::{ALICE, Bastion, DB1};
use crate::fixture::own::{Own, block_on, finish};
use crate::fixture::{LIMIT, Route, Sshd};
use crate::require;

/// Whether a name is no login name at all, or a good one of somebody or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bad,
    OfOthers,
}

/// Characters of one class, each put at the beginning, in the middle and at the end of the user, account or target.
const CLASSES: &[(&str, &str)] = &[
    ("controls", "\0\u{1}\u{7}\u{8}\t\n\r\u{1b}\u{7f}\u{85}\u{9b}"),
    ("letters that look like others", "ıéаѕｒßⅠﬁ\u{301}😀"),
    (
        "direction and what is not seen",
        "\u{202a}\u{202e}\u{2066}\u{2069}\u{200b}\u{200d}\u{200e}\u{200f}\u{2060}\u{feff}\u{ad}",
    ),
    ("separators", ":#/%,;=\\ +@"),
    ("a shell's", "`|&<>(){}[]'\"*?!~^"),
];

/// Names of one kind each; `A` stands for the account that Alice may use, `L` and `XL` for very many letters.
const WHOLE: &[(&str, Form, &[&str])] = &[
    (
        "empty parts",
        Form::Bad,
        &[
            "@",
            "+",
            "+@",
            "@db1",
            "A@",
            "alice+@db1",
            "+A@db1",
            "alice+A@",
            "alice++A@db1",
            "A@@db1",
            "++@",
            "alice+",
            "+A",
        ],
    ),
    (
        "too long",
        Form::Bad,
        &["L", "XL", "L@db1", "XL@db1", "A@L", "A@XL", "L+A@db1", "XL+A@db1", "alice+L@db1", "alice+A@XL"],
    ),
    (
        "several separators",
        Form::Bad,
        &[
            "alice@A@db1",
            "alice+bob+A@db1",
            "A@db1@db1",
            "A@db1:22",
            "alice:A@db1",
            "A%alice@db1",
            "A#22@db1",
            "A@db1@",
        ],
    ),
    (
        "paths",
        Form::Bad,
        &[
            "../A@db1",
            "A@../db1",
            "/etc/passwd@db1",
            "..@db1",
            "A@..",
            "A/../root@db1",
            "~A@db1",
            "A@db1/..",
            "C:\\A@db1",
            "A@.db1",
        ],
    ),
    (
        "commands",
        Form::Bad,
        &["$(id)@db1", "`id`@db1", "A;id@db1", "A|id@db1", "A@db1;id", "A@$(id)", "A@db1&&id", "A\nid@db1"],
    ),
    ("options", Form::Bad, &["-oProxyCommand=id@db1", "-A@db1", "A@-db1", "--help", "-l root@db1", "-alice+A@db1"]),
    ("formats", Form::Bad, &["%s@db1", "%n%n@db1", "{}@db1", "{0}+A@db1", "A@%s", "${jndi:ldap://x}@db1", "A@{{7*7}}"]),
    (
        "queries",
        Form::Bad,
        &[
            "' OR 1=1--@db1",
            "A'--@db1",
            "A\";DROP TABLE users@db1",
            "A@db1'--",
            "*)(uid=*@db1",
            "A@db1 UNION SELECT",
            "A@db%",
        ],
    ),
    ("capitals", Form::Bad, &["ALICE+A@db1", "Alice+A@db1", "A@DB1", "A@Db1", "alice+A@dB1", "ALICE"]),
    (
        "names of others",
        Form::OfOthers,
        &[
            "bob",
            "bob+A@db1",
            "nobody+A@db1",
            "alice2+A@db1",
            "alic+A@db1",
            "a+A@db1",
            "alice.+A@db1",
            "alice-+A@db1",
            "alice+A@db2",
            "A@db",
            "A@db10",
            "A@db1.",
            "A@localhost",
            "A@127.0.0.1",
            "A@0",
            "A@elsewhere",
            "alice+somebody@db1",
            "somebody@db1",
            "A2@db1",
            "_@db1",
        ],
    ),
];

/// All of them, each once.
fn names(account: &str) -> Vec<(String, Form)> {
    let mut all = Vec::new();
    for (_, form, names) in WHOLE {
        for name in *names {
            let filled = name.replace("XL", &"x".repeat(20_000)).replace('L', &"l".repeat(65));
            // Where letters count, as in `ALICE`, a capital is one.
            let filled = match name.to_uppercase().contains("ALICE") && !name.contains("alice") {
                true => name.replace("+A@", &format!("+{account}@")),
                false => filled.replace('A', account),
            };
            all.push((filled, *form));
        }
    }
    for (_, characters) in CLASSES {
        for (at, c) in characters.chars().enumerate() {
            let parts = [ALICE, account, DB1];
            let spoiled = |part: &str| match at % 3 {
                0 => format!("{c}{part}"),
                1 => format!("{}{c}{}", &part[..1], &part[1..]),
                _ => format!("{part}{c}"),
            };
            for which in 0..parts.len() {
                let [user, account, target] =
                    std::array::from_fn(|n| if n == which { spoiled(parts[n]) } else { parts[n].to_owned() });
                all.push((format!("{user}+{account}@{target}"), Form::Bad));
            }
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|(name, _)| seen.insert(name.clone()));
    all
}

#[test]
fn t05_no_bad_name_parses_and_there_are_two_hundred() {
    let all = names("root");
    assert!(all.len() >= 200, "{}", all.len());
    for (name, form) in all {
        let taken = Login::parse(&name).is_ok();
        assert_eq!(taken, form == Form::OfOthers, "{name:?}");
    }
}

#[test]
fn t05_two_hundred_bad_names_let_nobody_in_and_nobody_as_another() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("ssh", "max_unauthenticated = 200");
    bastion.serve();
    let all = names(&sshd.account);
    let turns = Arc::new(Semaphore::new(24));
    block_on(async {
        let mut tries = JoinSet::new();
        for (name, _) in all {
            let (route, turns) = (bastion.login(&name), Arc::clone(&turns));
            tries.spawn(async move {
                let _turn = turns.acquire().await;
                (tried(&route).await, route.login)
            });
        }
        while let Some(tried) = tries.join_next().await {
            let (told, name) = tried.unwrap();
            assert_eq!(told, Ok(()), "{name:?}");
        }
    });
    assert!(bastion.lives());
    assert_eq!(bastion.recordings_at_all(), [""; 0]);
    assert!(bastion.rows(&["audit", "list", "--type", "session.start"]).is_empty());
    // Whatever they said, the log is lines of what it is, and Alice is Alice.
    let text = bastion.doorward(&["audit", "list"]).ok().out();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    assert_eq!(bastion.login(&format!("{ALICE}+{}@{DB1}", sshd.account)).run("echo in").out(), "in\n");
}

/// Tries to run something with Alice's key and this name; what it said if anything ran.
async fn tried(route: &Route) -> Result<(), String> {
    let Ok(mut own) = Own::connect_without_login(route.port).await else { return Ok(()) };
    if !own.login(route).await {
        return Ok(());
    }
    let Ok(mut channel) = own.handle.channel_open_session().await else { return Ok(()) };
    if channel.exec(true, "echo ran").await.is_err() {
        return Ok(());
    }
    let told = finish(&mut channel, LIMIT).await;
    if told.stdout.is_empty() && told.status != Some(0) { Ok(()) } else { Err(format!("{told:?}")) }
}
