//! What the gate says of a line under the policies of this bench.
//!
//! They are written here on effects, not as command sets, so that the table is measured and not a set of rules. `reason`
//! is the one place that asks the gate.

use doorward::gate::effects::{Effect, EffectKind, Table, normal_path};
use doorward::gate::invocation::{Construct, Invocation, Reading, read};
use doorward::gate::shell;
use doorward::gate::shell::word::{Part, Word};

/// The policies that are measured: one strict, and a guard for each family of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing but read-only programs with words that are known.
    Strict,
    /// Nothing that gives a shell, a program of the user's choice, or other rights.
    NoShell,
    /// No reading of what people and programs log in with.
    NoSecretRead,
    /// No change of what belongs to the system.
    NoSystemWrite,
    /// No file to or from another machine.
    NoTransfer,
    /// Denies what guard lets pass with an alert: what the table does not know.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    Asked,
    Denied,
    Panicked,
}

/// Programs that only show things, for the allow-list.
const READ_ONLY: &[&str] = &[
    "ls",
    "cat",
    "grep",
    "egrep",
    "fgrep",
    "find",
    "sed",
    "awk",
    "cut",
    "sort",
    "uniq",
    "head",
    "tail",
    "wc",
    "tr",
    "nl",
    "tac",
    "rev",
    "fold",
    "fmt",
    "column",
    "paste",
    "join",
    "comm",
    "diff",
    "cmp",
    "od",
    "xxd",
    "hexdump",
    "strings",
    "file",
    "stat",
    "readlink",
    "realpath",
    "basename",
    "dirname",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "cksum",
    "sum",
    "base64",
    "du",
    "df",
    "ps",
    "top",
    "free",
    "uptime",
    "who",
    "w",
    "id",
    "groups",
    "whoami",
    "logname",
    "users",
    "last",
    "lastlog",
    "date",
    "cal",
    "uname",
    "arch",
    "hostname",
    "nproc",
    "lscpu",
    "lsblk",
    "lsof",
    "lsmod",
    "lspci",
    "lsusb",
    "mount",
    "findmnt",
    "pgrep",
    "pstree",
    "pidof",
    "vmstat",
    "iostat",
    "mpstat",
    "dmesg",
    "journalctl",
    "systemctl",
    "ss",
    "netstat",
    "ip",
    "ifconfig",
    "route",
    "getent",
    "printenv",
    "pwd",
    "echo",
    "printf",
    "true",
    "false",
    "test",
    "seq",
    "tree",
    "zcat",
    "jq",
    "tty",
    "locale",
];

/// What holds secrets, for `no-secret-read`.
const SECRET: &[&str] = &["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers"];
const SECRET_BELOW: &[&str] = &["/etc/ssl/private", "/root", "/etc/sudoers.d", "/proc"];
const SECRET_NAMES: &[&str] = &[".ssh", "id_rsa", "id_ed25519", ".aws", ".netrc", ".pgpass", ".my.cnf"];

/// What belongs to the system, for `no-system-write`.
const SYSTEM: &[&str] = &[
    "/etc",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/root",
    "/var/spool/cron",
];

/// Connects, but moves no file: for `no-transfer`.
const PROBES: &[&str] = &[
    "ping",
    "ping4",
    "ping6",
    "traceroute",
    "traceroute6",
    "tracepath",
    "mtr",
    "dig",
    "host",
    "nslookup",
    "whois",
    "nmap",
    "nping",
    "finger",
];

pub struct Gate {
    table: &'static Table,
}

impl Gate {
    pub fn new() -> Self {
        Self { table: Table::built_in() }
    }

    /// How many names the table has.
    pub fn programs(&self) -> usize {
        self.table.names().len()
    }

    pub fn knows(&self, program: &str) -> bool {
        self.table.knows(program)
    }

    pub fn judge(&self, policy: Policy, line: &str) -> Answer {
        if self.reason(policy, line).is_some() { Answer::Denied } else { Answer::Allowed }
    }

    /// What kind of thing decided, never which program.
    pub fn kind(&self, policy: Policy, line: &str) -> String {
        self.reason(policy, line).unwrap_or_else(|| self.shape(line))
    }

    fn reason(&self, policy: Policy, line: &str) -> Option<String> {
        let script = match shell::parse(line) {
            Ok(script) => script,
            Err(why) => return Some(format!("not understood: {}", why.reason)),
        };
        let reading = read(&script, self.table);
        if policy == Policy::Strict {
            return strict(&reading);
        }
        reading.invocations.iter().find_map(|invocation| {
            let nameless = invocation.argv.first().is_some_and(|program| program.literal().is_none());
            if nameless && policy != Policy::Unknown {
                return Some("a program that only the target knows".to_owned());
            }
            let effect = invocation.effects.iter().find(|effect| forbidden(policy, invocation, effect))?;
            Some(format!("{:?}{}", effect.kind, self.place(invocation)))
        })
    }

    /// Which part of the language an effect comes from, as far as that is no program.
    fn place(&self, invocation: &Invocation) -> String {
        const LANGUAGE: [&str; 20] = [
            "awk", "sed", "alias", "export", "declare", "set", "read", "printf", "test", "[", "trap", "eval", "bind",
            "complete", "source", ".", "exec", "shopt", "history", "unset",
        ];
        match invocation.argv.first().and_then(Word::literal) {
            None => " of an assignment or a redirection".to_owned(),
            Some(name) if LANGUAGE.contains(&&*name) => format!(" of {name}"),
            Some(name) if self.table.knows(&name) => " of an entry".to_owned(),
            Some(_) => " guessed".to_owned(),
        }
    }

    /// The shape of a line that was let pass: what effects it had.
    fn shape(&self, line: &str) -> String {
        let Ok(script) = shell::parse(line) else { return "not understood".to_owned() };
        let reading = read(&script, self.table);
        let mut kinds: Vec<String> = reading
            .invocations
            .iter()
            .flat_map(|each| &each.effects)
            .map(|effect| format!("{:?}", effect.kind))
            .collect();
        kinds.sort();
        kinds.dedup();
        let words = reading.invocations.first().map_or(0, |each| each.argv.len());
        format!("passed with {} in {words} words", kinds.join(" "))
    }
}

fn strict(reading: &Reading) -> Option<String> {
    if let Some(construct) = reading.constructs.keys().find(|construct| **construct != Construct::Redirection) {
        return Some(format!("{construct:?}"));
    }
    reading.invocations.iter().find_map(|invocation| {
        let name = invocation.argv.first().and_then(Word::literal);
        let name =
            name.as_deref().map(|name| name.strip_prefix("/usr/bin/").or(name.strip_prefix("/bin/")).unwrap_or(name));
        if !name.is_some_and(|name| READ_ONLY.contains(&name)) {
            return Some("not in the list".to_owned());
        }
        if invocation.argv.iter().any(|word| word.literal().is_none()) {
            return Some("a word that only the target knows".to_owned());
        }
        let harmless = |effect: &Effect| {
            effect.kind == EffectKind::Read
                && effect.on.as_ref().is_none_or(|word| normal_path(word).is_some_and(|path| !is_secret(&path)))
        };
        invocation.effects.iter().find(|effect| !harmless(effect)).map(|effect| format!("{:?}", effect.kind))
    })
}

fn forbidden(policy: Policy, invocation: &Invocation, effect: &Effect) -> bool {
    use EffectKind::*;
    match policy {
        Policy::Strict => false,
        Policy::NoShell => match effect.kind {
            RunProgram | Shell | InteractiveEscape | LoadCode | Privilege => true,
            Write => on(effect, is_rights, RIGHTS),
            Read | Delete | NetOut | NetIn | Credential | Service | Unknown => false,
        },
        Policy::NoSecretRead => match effect.kind {
            Read | Shell | LoadCode | RunProgram | Unknown => on(effect, is_secret, SECRET),
            Credential => true,
            Write | Delete | NetOut | NetIn | Service | Privilege | InteractiveEscape => false,
        },
        Policy::NoSystemWrite => match effect.kind {
            Write | Delete => on(effect, is_system, SYSTEM),
            _ => false,
        },
        Policy::NoTransfer => {
            let name = invocation.argv.first().and_then(Word::literal).unwrap_or_default().into_owned();
            matches!(effect.kind, NetOut | NetIn) && !PROBES.contains(&name.as_str())
        }
        Policy::Unknown => effect.kind == Unknown,
    }
}

/// Whether the word that an effect falls on is such a path, or a pattern that may become one.
fn on(effect: &Effect, is: fn(&str) -> bool, places: &[&str]) -> bool {
    let Some(word) = &effect.on else { return false };
    if let Some(path) = normal_path(word) {
        return is(&path);
    }
    let Some(Part::Literal(head)) = word.parts.first() else { return false };
    is(head.trim_end_matches('/'))
        || (word.is_glob() && head.len() > 2 && places.iter().any(|place| place.starts_with(head)))
}

fn is_secret(path: &str) -> bool {
    SECRET.contains(&path)
        || SECRET_BELOW.iter().any(|place| below(path, place) && !path.starts_with("/proc/") || environ(path))
        || path.split('/').any(|name| SECRET_NAMES.contains(&name))
        || path.ends_with("_key") && path.starts_with("/etc/ssh/")
}

/// What says who may do what, and what the system runs by itself: who writes it needs no shell.
const RIGHTS: &[&str] =
    &["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/sudoers.d", "/etc/pam.d", "/etc/doas.conf"];

fn is_rights(path: &str) -> bool {
    RIGHTS.iter().any(|place| below(path, place)) || path.starts_with("/etc/cron") || path.contains("/.ssh/")
}

fn environ(path: &str) -> bool {
    path.starts_with("/proc/") && (path.ends_with("/environ") || path.ends_with("/mem"))
}

fn is_system(path: &str) -> bool {
    SYSTEM.iter().any(|place| below(path, place))
}

fn below(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
