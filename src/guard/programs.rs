//! What a line that was let run does with the terminal: fills the screen, asks for a password, opens a prompt of its own.

use crate::gate::verdict::Seen;

/// What a line does with the terminal while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Started {
    /// It is one program that fills the screen: while the alternate screen is shown, what is typed is for that program.
    pub fills_screen: bool,
    /// It may ask for a password.
    pub asks_password: bool,
    /// It opens a prompt of its own, by this name.
    pub nested: Option<String>,
}

/// Programs that show the alternate screen, from their manuals.
const FILL_SCREEN: &[&str] = &[
    "vi",
    "vim",
    "vim.basic",
    "vim.tiny",
    "rvim",
    "nvim",
    "view",
    "rview",
    "vimdiff",
    "less",
    "more",
    "most",
    "man",
    "nano",
    "rnano",
    "pico",
    "emacs",
    "mg",
    "joe",
    "ne",
    "micro",
    "top",
    "htop",
    "btop",
    "atop",
    "iotop",
    "iftop",
    "watch",
    "mc",
    "ranger",
    "dialog",
    "whiptail",
    "nmtui",
    "cfdisk",
    "tig",
    "ncdu",
    "journalctl",
    "systemctl",
    "git",
    "visudo",
    "vipw",
    "vigr",
    "crontab",
    "sudoedit",
    "info",
    "w3m",
    "lynx",
    "links",
    "mutt",
    "aptitude",
    "glances",
    "bmon",
    "nethogs",
    "alsamixer",
];

/// Programs that ask for a password or a passphrase.
const ASK_PASSWORD: &[&str] = &[
    "sudo",
    "su",
    "doas",
    "runuser",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "passwd",
    "mysql",
    "mysqldump",
    "mariadb",
    "psql",
    "pg_dump",
    "gpg",
    "openssl",
    "cryptsetup",
    "kinit",
    "docker",
    "podman",
    "git",
    "svn",
    "curl",
    "smbclient",
    "ldapsearch",
    "ldapmodify",
    "htpasswd",
    "vault",
    "ansible-vault",
    "ssh-keygen",
    "ssh-add",
    "ssh-copy-id",
    "adduser",
    "chage",
    "sudoedit",
    "redis-cli",
    "sqlplus",
    "unzip",
    "7z",
    "age",
];

/// Wrappers that start what stands behind them, on the same terminal.
const WRAPPERS: &[&str] =
    &["sudo", "doas", "env", "nice", "ionice", "timeout", "nohup", "stdbuf", "time", "command", "exec", "runuser"];

const SHELLS: &[&str] =
    &["sh", "bash", "rbash", "dash", "zsh", "ksh", "ksh93", "mksh", "fish", "ash", "yash", "csh", "tcsh"];
/// Interpreters and clients that ask for lines where they are given no program, file or statement.
const ASK_WITHOUT_OPERAND: &[&str] = &[
    "python",
    "node",
    "ruby",
    "irb",
    "perl",
    "php",
    "lua",
    "ipython",
    "tclsh",
    "wish",
    "guile",
    "ghci",
    "erl",
    "iex",
    "R",
    "scala",
    "jshell",
    "redis-cli",
    "virsh",
    "ftp",
    "telnet",
    "nslookup",
    "bpython",
    "expect",
];
/// Programs that ask for lines whatever they are given, but for what is said of them below.
const ASK: &[&str] = &[
    "mysql",
    "mariadb",
    "psql",
    "sqlite",
    "mongo",
    "mongosh",
    "sqlplus",
    "gdb",
    "lldb",
    "bc",
    "dc",
    "sftp",
    "lftp",
    "screen",
    "tmux",
    "script",
    "ed",
    "rlwrap",
    "minicom",
    "picocom",
    "cu",
    "clickhouse-client",
    "cqlsh",
    "fdisk",
    "parted",
    "gdisk",
];

/// Those of them in which a shell asks.
const HOLD_SHELLS: &[&str] = &["screen", "tmux", "script"];

/// What a line starts that was judged to start these.
pub fn started(starts: &[Seen]) -> Started {
    let names: Vec<String> = starts.iter().map(|seen| name_of(first(seen))).collect();
    let is = |table: &[&str], name: &str| table.contains(&name);
    let asks_password = names.iter().any(|name| is(ASK_PASSWORD, name));
    let nested = starts.iter().enumerate().find_map(|(place, seen)| {
        let runs_another = starts.iter().any(|other| other.by == Some(place));
        opens_prompt(seen, runs_another).then(|| name_of(first(seen)))
    });
    let fills_screen = match names.split_last() {
        Some((last, before)) => is(FILL_SCREEN, last) && before.iter().all(|name| is(WRAPPERS, name)),
        None => false,
    };
    Started { fills_screen, asks_password, nested }
}

/// The name by which a program is known: without its directory, and without a version at its end.
pub fn name_of(program: &str) -> String {
    let base = program.rsplit('/').next().unwrap_or(program);
    let bare = base.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let bare = bare.strip_suffix('-').unwrap_or(bare);
    let versioned = ["python", "php", "lua", "ruby", "perl", "sqlite", "tclsh", "wish", "guile"];
    if versioned.contains(&bare) { bare.to_owned() } else { base.to_owned() }
}

fn first(seen: &Seen) -> &str {
    seen.argv.first().map_or("", String::as_str)
}

/// Whether a program asks for lines of its own. In doubt it does: then it takes a set of its own to be let run.
fn opens_prompt(seen: &Seen, runs_another: bool) -> bool {
    let name = name_of(first(seen));
    let words: Vec<&str> = seen.argv.iter().skip(1).map(String::as_str).collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let short = |letter: char| {
        words.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
    };
    let operands = words.iter().filter(|word| !word.starts_with('-')).count();
    match name.as_str() {
        "busybox" => {
            words.first().is_some_and(|word| SHELLS.contains(word)) && !runs_another && !short('c') && operands < 2
        }
        "su" => !short('c') && !has(&["--command", "--session-command"]),
        "sudo" | "doas" => !runs_another && (short('i') || short('s') || has(&["--login", "--shell"])),
        "pkexec" | "newgrp" | "sg" | "login" => !runs_another && !short('c'),
        "ssh" | "slogin" | "mosh" | "autossh" => !has(&["-V", "-G", "-Q"]) && ssh_operands(&words) < 2,
        "docker" | "podman" | "nerdctl" | "kubectl" | "oc" | "lxc" | "incus" | "crictl" => {
            has(&["attach", "shell", "console"])
                || (has(&["exec", "run", "debug", "start"])
                    && (short('i') || short('t') || has(&["--tty", "--interactive", "--stdin"])))
        }
        "machinectl" => has(&["shell", "login"]),
        "virsh" => operands == 0 || has(&["console"]),
        "chroot" => operands < 2,
        "nsenter" | "unshare" | "setpriv" | "runcon" => !runs_another && !has(&["--help", "--version"]),
        "mysql" | "mariadb" | "clickhouse-client" | "cqlsh" => {
            !short('e')
                && !words.iter().any(|word| word.starts_with("--execute") || word.starts_with("--query"))
                && !has(&["--version"])
        }
        "psql" => {
            !short('c')
                && !short('f')
                && !short('l')
                && !words.iter().any(|word| word.starts_with("--command") || word.starts_with("--file"))
        }
        "sqlite" => operands < 2,
        "tmux" | "screen" => !has(&["ls", "list-sessions", "-ls", "-list", "-V", "-v"]),
        "script" => !short('c') && !has(&["--command"]),
        "fdisk" | "parted" | "gdisk" => !has(&["-l", "--list", "print"]),
        shell if SHELLS.contains(&shell) => {
            short('i') || (!short('c') && operands == 0 && !has(&["--version", "--help"]))
        }
        other if ASK_WITHOUT_OPERAND.contains(&other) => {
            let given = short('c') || short('e') || short('m') || short('r') || has(&["--version", "--help", "-V"]);
            short('i') || (operands == 0 && !given)
        }
        other => ASK.contains(&other) && !has(&["--version", "--help"]),
    }
}

/// Options of `ssh` with a value, from its manual.
const SSH_VALUES: &str = "BbcDEeFIiJLlmOopQRSWw";

fn ssh_operands(words: &[&str]) -> usize {
    let (mut operands, mut value) = (0, false);
    for word in words {
        if std::mem::take(&mut value) {
            continue;
        }
        match word.strip_prefix('-') {
            Some(letters) => {
                value =
                    letters.chars().last().is_some_and(|last| SSH_VALUES.contains(last)) && letters.chars().count() == 1
            }
            None => operands += 1,
        }
    }
    operands
}

/// Whether a line ends the program of this name, which reads it. What ends a client is no command in a shell, which then
/// goes on with a prompt that may look like the one outside.
pub(super) fn ends_program(name: &str, line: &str) -> bool {
    let word = line.trim().trim_end_matches([';', ')', '(']);
    let of_shells = matches!(word, "exit" | "logout");
    let client = (ASK.contains(&name) || ASK_WITHOUT_OPERAND.contains(&name)) && !HOLD_SHELLS.contains(&name);
    of_shells
        || (client && matches!(word, "quit" | "\\q" | ".exit" | ".quit" | "q" | "bye"))
        || line.trim().strip_prefix("exit ").is_some_and(|rest| rest.trim().bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a prompt asks for a secret, in the words of programs that do.
pub(super) fn looks_like_password(prompt: &str) -> bool {
    let text = prompt.trim_end().to_lowercase();
    let asks = [
        "password",
        "passphrase",
        "passcode",
        "passwort",
        "mot de passe",
        "verification code",
        "one-time",
        "pin",
        "contrase",
    ];
    text.ends_with([':', '>', '?', ')']) && asks.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::verdict::{By, Outcome};

    fn seen(line: &str, by: Option<usize>) -> Seen {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let known = vec![true; argv.len()];
        Seen { argv, known, effects: Vec::new(), by, at: 0..0, outcome: Outcome::Allow, decided: By::Default }
    }

    #[test]
    fn prompts_of_their_own_are_known_by_the_words_that_open_them() {
        for line in [
            "su",
            "su - postgres",
            "/bin/su",
            "sudo -i",
            "sudo -s",
            "ssh db1",
            "ssh -p 22 root@db1",
            "docker exec -it web sh",
            "bash",
            "bash -i",
            "python3",
            "/usr/bin/python3.11",
            "python3 -i x.py",
            "mysql -u root shop",
            "psql",
            "tmux",
            "kubectl exec -ti pod",
            "busybox sh",
            "sqlite3 x.db",
            "chroot /mnt",
        ] {
            assert!(started(&[seen(line, None)]).nested.is_some(), "{line}");
        }
        for line in [
            "ls",
            "su -c id",
            "sudo -l",
            "ssh db1 uptime",
            "docker exec web ls",
            "bash -c id",
            "bash x.sh",
            "python3 x.py",
            "python3 -c 1",
            "mysql -e select",
            "psql -c x",
            "tmux ls",
            "sqlite3 x.db .tables",
        ] {
            assert_eq!(started(&[seen(line, None)]).nested, None, "{line}");
        }
        assert_eq!(started(&[seen("sudo mysql", None), seen("mysql", Some(0))]).nested.as_deref(), Some("mysql"));
        assert_eq!(started(&[seen("python3.11", None)]).nested.as_deref(), Some("python"));
    }

    #[test]
    fn a_program_fills_the_screen_only_where_nothing_runs_beside_it() {
        assert!(started(&[seen("vim x", None)]).fills_screen);
        assert!(started(&[seen("sudo vim x", None), seen("vim x", Some(0))]).fills_screen);
        assert!(!started(&[seen("vim x", None), seen("printf x", None)]).fills_screen);
        assert!(!started(&[seen("printf x", None), seen("vim x", None)]).fills_screen);
        assert!(!started(&[]).fills_screen);
    }

    #[test]
    fn a_line_that_leaves_its_program_running_does_not_end_it() {
        for line in ["exit", "exit 3", " logout;"] {
            assert!(ends_program("bash", line) && ends_program("mysql", line), "{line}");
        }
        for line in ["\\q", "quit;", "quit()", "bye", ".exit"] {
            assert!(ends_program("mysql", line), "{line}");
            assert!(["bash", "su", "ssh", "docker", "tmux"].iter().all(|shell| !ends_program(shell, line)), "{line}");
        }
        for line in ["exit 1 | cat", "exit 1 &", "exit 1 2", "exec", "exit-now", "echo exit"] {
            assert!(!ends_program("bash", line), "{line}");
        }
    }
}
