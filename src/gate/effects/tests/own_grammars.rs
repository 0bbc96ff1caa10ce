//! Programs that read their options in ways of their own: what is taken for a value, and is none, would not be judged.

use super::*;

/// Whether the shipped table tells this of the line.
fn tells(line: &str, effect: &str) -> bool {
    let told = told(Table::built_in(), line);
    told.split(' ').any(|one| one == effect)
}

#[test]
fn in_pairs_two_letters_may_be_one_option() {
    let entry = "syntax = \"pairs\"\nplain = \"-r -q -T\"\noptions = { \"-TT=\" = \"script\", \"-o=\" = \"write\" }\n\
                 operands = [\"read...\"]\n";
    check(
        entry,
        &[
            ("p -rTT id x", "read(x) <id>"),
            ("p -rTTid x", "read(x) <id>"),
            ("p -TT id x", "read(x) <id>"),
            ("p -rT id x", "read(id) read(x)"),
            ("p -TrT id", "read(id)"),
            ("p -rTo y x", "write(y) read(x)"),
            ("p -rTTé x", "read(x) <é>"),
            ("p -rX x", "read(x) unknown(-rX)"),
        ],
    );
}

#[test]
fn a_command_in_a_bundle_of_zip_is_seen() {
    for line in ["zip -rTT id x.zip f", "zip -TT id x.zip f", "zip -qTTid x.zip f", "zip --unzip-command id x.zip f"] {
        assert!(tells(line, "run-program(id)"), "{line}: {}", told(Table::built_in(), line));
    }
    assert!(!tells("zip -rT x.zip f", "run-program(x.zip)"));
    assert_eq!(variables::effect("ZIPOPT", None), Some(EffectKind::LoadCode));
}

#[test]
fn a_switch_of_7z_takes_no_word_but_its_own() {
    for switch in ["-p", "-o", "-t", "-v", "-m", "-x", "-si", "-w"] {
        let line = format!("7z a x.7z {switch} /etc/shadow");
        assert!(tells(&line, "read(/etc/shadow)"), "{line}: {}", told(Table::built_in(), &line));
    }
    for (line, effect) in [
        ("7z x x.7z -o/srv", "write(/srv)"),
        ("7z x x.7z", "write"),
        ("7z a x.7z @list", "unknown(@list)"),
        ("7z a x.7z -i@/etc/shadow", "read(/etc/shadow)"),
        ("7z a x.7z f -SDEL", "unknown(-SDEL)"),
        ("unzip x.zip", "write"),
        ("unrar x -df a.rar", "delete"),
        ("unrar x -unheard a.rar", "unknown(-unheard)"),
        ("lsof -D b/tmp/x", "write(b/tmp/x)"),
        ("groff -F /tmp/x -T evil", "load-code(/tmp/x)"),
        ("groff -l x", "run-program"),
        ("nroff -F /tmp/x", "unknown(-F)"),
        ("m4", "load-code"),
    ] {
        assert!(tells(line, effect), "{line}: {}", told(Table::built_in(), line));
    }
    for line in ["unzip -l x.zip", "unzip -p x.zip", "unzip -d /srv x.zip", "7z x x.7z -so", "7z a x.7z f", "7z l x.7z"]
    {
        assert!(!tells(line, "write"), "{line}: {}", told(Table::built_in(), line));
    }
    // What another program says of `--help` is its own.
    assert_eq!(told(Table::built_in(), "ls --help"), "");
}

#[test]
fn what_git_and_its_kind_start_open_and_reach_is_told() {
    for (line, effect) in [
        ("git log --help", "interactive-escape"),
        ("git --help log", "interactive-escape"),
        ("git status --help", "interactive-escape"),
        ("git --help status", "interactive-escape"),
        ("git log -1", "interactive-escape"),
        ("git diff", "interactive-escape"),
        ("git revert HEAD", "interactive-escape"),
        ("git add -p", "interactive-escape"),
        ("git checkout -p HEAD", "interactive-escape"),
        ("git am -i x.mbox", "interactive-escape"),
        ("git hash-object -w /srv/a", "write"),
        ("git remote update", "net-out"),
        ("git remote show origin", "net-out"),
        ("git remote add -f x https://x.example/", "net-out"),
        ("git grep -L -Oid x", "run-program(id)"),
        ("git grep x", "interactive-escape"),
        ("git blame f", "interactive-escape"),
        ("git branch -a", "interactive-escape"),
        ("git tag", "interactive-escape"),
        ("git tag -m x -e v1", "interactive-escape"),
        ("git shortlog HEAD", "interactive-escape"),
        ("git config --list", "interactive-escape"),
        ("git config --rename-section color core", "load-code"),
        ("git config remote.o.uploadpack /tmp/x", "load-code"),
        ("git commit", "interactive-escape"),
        ("git commit -c HEAD", "interactive-escape"),
        ("git merge b", "interactive-escape"),
        ("git pull", "interactive-escape"),
        ("git rebase --continue", "interactive-escape"),
        ("git cherry-pick -s -e b", "interactive-escape"),
        ("git revert --no-edit -s --edit HEAD", "interactive-escape"),
        ("git revert -X --no-edit HEAD", "interactive-escape"),
        ("git am -s -i x.mbox", "interactive-escape"),
        ("git diff-tree -p --output=/srv/p a b", "write(/srv/p)"),
        ("git shortlog --output=/srv/p HEAD", "write(/srv/p)"),
        ("git mailinfo /srv/a /srv/b", "write"),
        ("git archive --remote ssh://h/x HEAD", "net-out(ssh://h/x)"),
        ("git archive -o /srv/a.tar HEAD", "write(/srv/a.tar)"),
        ("git imap-send", "net-out"),
        ("bat /srv/a", "interactive-escape"),
        ("gpg --search-keys mallory", "net-out"),
    ] {
        assert!(tells(line, effect), "{line}: {}", told(Table::built_in(), line));
    }
    for line in [
        "git --no-pager log -1",
        "git --no-pager diff",
        "git revert --no-edit HEAD",
        "git add -A",
        "git apply -p1 x.diff",
        "git remote -v",
        "git --no-pager grep -L x",
        "git --no-pager branch",
        "git branch -d old",
        "git commit -m x",
        "git merge --ff-only b",
        "git cherry-pick -x b",
        "git diff-tree -p a b",
        "git config user.name x",
        "git remote get-url origin",
        "bat -P /srv/a",
    ] {
        for effect in ["interactive-escape", "net-out", "unknown"] {
            assert!(!tells(line, effect), "{line}: {}", told(Table::built_in(), line));
        }
    }
}
