//! `edit` in the bastion's own shell: a file of the target's, fetched, edited, shown as what differs, written back.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::bastion::ALICE;
use crate::fixture::process::{Running, Stdout};
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, holds, sha256, until};
use crate::require;
use crate::strict_shell::{House, access, prompts};

/// The shell's rule, with files in `open` and in `ro` that may be read, and in `open` alone that may be written to.
fn rules(grant: bool) -> String {
    let shell = access("strict", grant).replace("[\"shell\"]", "[\"shell\", \"sftp-read\", \"sftp-write\"]");
    format!("{shell}sftp = {{ read = [\"@folder/open/**\", \"@folder/ro/**\"], write = [\"@folder/open/**\"] }}\n")
}

/// A bastion at whose target `open/a` may be edited.
struct Desk {
    house: House,
    folder: PathBuf,
}

impl Desk {
    fn new() -> Self {
        Self::with(&[], false)
    }

    fn with(lines: &[&str], grant: bool) -> Self {
        let sshd = Sshd::with(lines);
        let folder = sshd.folder().to_owned();
        for below in ["ro", "open"] {
            std::fs::create_dir(folder.join(below)).unwrap();
        }
        std::fs::write(folder.join("open/a"), "what is open\n").unwrap();
        std::fs::write(folder.join("ro/file"), "read this\n").unwrap();
        let house = House::at(sshd, &rules(grant), |_| {});
        Self { house, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn terminal(&self) -> Terminal {
        let terminal = Terminal::start(&self.house.bastion.to(&self.house.sshd).ssh(&["-tt"], ""), 80, 24);
        terminal.shows("@db1:~> ");
        terminal
    }

    /// `edit` of this file, with its page on the screen.
    fn opened(&self, name: &str) -> Terminal {
        let terminal = self.terminal();
        self.open(&terminal, name);
        terminal
    }

    fn open(&self, terminal: &Terminal, name: &str) {
        terminal.line(&format!("edit {}", self.path(name)));
        page(terminal);
    }

    fn told_of(&self, what: &str) -> Vec<Value> {
        self.house.log("file").into_iter().filter(|row| row["what"] == what).collect()
    }
}

/// Waits for the page: what is typed before it stands there is not for it.
fn page(terminal: &Terminal) {
    until(LIMIT, "page", || terminal.rows().last().is_some_and(|row| row.contains("^S save")).then_some(()));
}

/// Asks for what stands in the page to be written, and waits for the question.
fn save(terminal: &Terminal, key: &str) {
    terminal.press(key);
    if key == "C-x" {
        terminal.shows("write the changes?");
        terminal.type_text("y");
    }
    until(LIMIT, "question", || {
        let rows = terminal.rows();
        rows.iter().rfind(|row| !row.is_empty())?.starts_with("write it? y").then_some(())
    });
}

#[test]
fn a_file_is_edited_and_written_back_and_all_of_it_is_on_record() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::new();
    let file = desk.folder.join("open/a");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (before, was) = (std::fs::metadata(&file).unwrap(), std::fs::read(&file).unwrap());
    let terminal = desk.terminal();
    terminal.line("help");
    terminal.shows("  edit FILE  ");
    terminal.line(&format!("cd {}", desk.path("open")));
    prompts(&terminal, "cd ", "0");
    terminal.line("edit ../open/a");
    page(&terminal);
    terminal.type_text("new: ");
    terminal.shows("(changed)");
    save(&terminal, "C-x");
    let screen = terminal.screen();
    assert!(screen.contains("-what is open\n") && screen.contains("+new: what is open\n"), "{screen}");
    // A paste is no yes, nor is what was typed before the question.
    terminal.type_text("yy");
    holds(Duration::from_millis(300), "a question", || desk.text("open/a") == "what is open\n");
    terminal.type_text("y");
    prompts(&terminal, "written  ", "0");
    assert_eq!(desk.text("open/a"), "new: what is open\n");
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!((before.ino(), before.mode(), before.uid()), (after.ino(), after.mode(), after.uid()));
    // Nothing was changed, nothing is written.
    desk.open(&terminal, "open/a");
    terminal.press("C-x");
    prompts(&terminal, "edit ", "0");
    terminal.line("exit");
    until(LIMIT, "end", || terminal.ended().then_some(()));
    desk.house.bastion.empties(LIMIT);
    let told = desk.told_of("edit");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["path"], file.canonicalize().unwrap().to_str().unwrap());
    let detail = told[0]["detail"].as_str().unwrap();
    let now = std::fs::read(&file).unwrap();
    let sums =
        [format!("before 13 bytes, SHA-256 {}", sha256(&was)), format!("after 18 bytes, SHA-256 {}", sha256(&now))];
    assert!(sums.iter().all(|sum| detail.contains(sum)), "{detail} {sums:?}");
    assert!(desk.told_of("put")[0]["detail"].as_str().unwrap().contains(&sha256(&now)));
    assert!(desk.house.ran().is_empty());
    let session = desk.house.bastion.only_recording();
    let kept = String::from_utf8_lossy(&desk.house.bastion.export(&session, "raw", &[])).into_owned();
    assert!(kept.contains("+new: what is open") && kept.contains("write it? y"), "{kept}");
    desk.house.bastion.opens(&session);
}

#[test]
fn a_file_is_edited_only_where_it_may_be_read_and_written_to() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::new();
    symlink("../closed", desk.folder.join("open/out")).unwrap();
    symlink("..", desk.folder.join("open/up")).unwrap();
    let terminal = desk.terminal();
    for (name, told) in [
        ("closed", "no rule lets you read it"),
        ("open/../closed", "no rule lets you read it"),
        ("open/out", "no rule lets you read it"),
        ("open/up/closed", "no rule lets you read it"),
        ("ro/file", "no rule lets you write to it"),
    ] {
        terminal.line("cd");
        prompts(&terminal, "cd", "0");
        terminal.line(&format!("edit {}", desk.path(name)));
        let screen = prompts(&terminal, name, "126");
        let flat = screen.replace("\n         ", " ").replace('\n', "");
        assert!(flat.matches(told).count() >= 1, "{name}: {screen}");
        assert!(!screen.contains("what is closed"), "{screen}");
    }
    until(LIMIT, "refusals on record", || (desk.house.log("file.refused").len() == 5).then_some(()));
    terminal.line("why");
    terminal.shows("asked    sftp at ");
    assert!(desk.told_of("edit").is_empty() && desk.told_of("put").is_empty());
    assert_eq!((desk.text("closed"), desk.text("ro/file")), ("what is closed\n".into(), "read this\n".into()));

    // A right to no file says what to ask for, and is not offered.
    let house = House::at(Sshd::start(), &access("strict", false), |_| {});
    let terminal = house.terminal();
    terminal.line("help");
    let screen = terminal.shows("Ctrl-Z");
    assert!(!screen.contains("edit FILE"), "{screen}");
    terminal.line("edit /etc/hostname");
    let screen = prompts(&terminal, "hostname", "126");
    assert!(screen.contains("sftp-read and sftp-write"), "{screen}");
}

#[test]
fn a_file_that_changed_meanwhile_is_written_only_after_another_look() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::new();
    let terminal = desk.opened("open/a");
    terminal.type_text("mine: ");
    std::fs::write(desk.folder.join("open/a"), "theirs\n").unwrap();
    save(&terminal, "C-x");
    terminal.type_text("y");
    terminal.shows("NOT written: it changed meanwhile");
    assert_eq!(desk.text("open/a"), "theirs\n");
    // Nothing of what was typed is lost, and what differs is told from what is there now.
    save(&terminal, "C-s");
    let screen = terminal.screen();
    assert!(screen.contains("-theirs\n") && screen.contains("+mine: what is open\n"), "{screen}");
    terminal.type_text("y");
    until(LIMIT, "writing", || (desk.text("open/a") == "mine: what is open\n").then_some(()));
    // Removed, and made by somebody else.
    std::fs::remove_file(desk.folder.join("open/a")).unwrap();
    terminal.type_text("again ");
    save(&terminal, "C-s");
    terminal.type_text("y");
    terminal.shows("NOT written: it changed meanwhile");
    assert!(!desk.folder.join("open/a").exists());
    save(&terminal, "C-x");
    terminal.type_text("y");
    prompts(&terminal, "written  ", "0");
    assert_eq!(desk.text("open/a"), "mine: again what is open\n");
}

#[test]
fn what_the_target_does_not_write_is_kept_for_its_user() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::with(&["Subsystem sftp internal-sftp -R"], false);
    let terminal = desk.opened("open/a");
    terminal.type_text("lost? ");
    save(&terminal, "C-x");
    terminal.type_text("y");
    let screen = terminal.shows("NOT written: the account may not write to it");
    assert!(screen.contains("lost? what is open") && screen.contains("(changed)"), "{screen}");
    // Nor by saying no.
    save(&terminal, "C-s");
    terminal.type_text("n");
    terminal.shows("NOT written: as you said");
    terminal.press("C-x");
    terminal.shows("write the changes?");
    terminal.type_text("n");
    prompts(&terminal, "edit ", "0");
    assert_eq!(desk.text("open/a"), "what is open\n");
    assert!(desk.told_of("edit").is_empty());
}

#[test]
fn a_page_is_as_large_as_its_window_and_what_is_no_text_is_refused() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::new();
    std::fs::write(desk.folder.join("open/binary"), b"\x00\xff\xfe").unwrap();
    std::fs::write(desk.folder.join("open/large"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    let rows: String = (1..=100).map(|n| format!("row {n}\n")).collect();
    std::fs::write(desk.folder.join("open/rows"), &rows).unwrap();
    let terminal = desk.terminal();
    for (name, told) in [
        ("open/below", "edit: it is a directory"),
        ("open/binary", "edit: it is no text in UTF-8: byte 1"),
        ("open/large", "edit: it has more than 1 MiB"),
        ("open/none/new", "edit: "),
    ] {
        terminal.line("cd");
        prompts(&terminal, "cd", "0");
        terminal.line(&format!("edit {}", desk.path(name)));
        let screen = prompts(&terminal, name, "1");
        assert!(screen.contains(told), "{name}: {screen}");
    }
    desk.open(&terminal, "open/rows");
    terminal.resize(60, 12);
    until(LIMIT, "smaller page", || {
        let rows = terminal.rows();
        (rows.len() == 12 && rows[11].starts_with("^S save") && rows[1] == "row 1").then_some(())
    });
    terminal.resize(100, 40);
    until(LIMIT, "larger page", || {
        let rows = terminal.rows();
        (rows.len() == 40 && rows[39].starts_with("^S save") && rows[36] == "row 36").then_some(())
    });
    terminal.press("C-x");
    prompts(&terminal, "edit ", "0");
    // What is not there is new.
    desk.open(&terminal, "open/new");
    terminal.shows("(new)");
    terminal.type_text("first");
    save(&terminal, "C-x");
    terminal.type_text("y");
    prompts(&terminal, "written  ", "0");
    assert_eq!((desk.text("open/new").as_str(), desk.text("open/rows")), ("first", rows));
    assert!(desk.told_of("edit")[0]["detail"].as_str().unwrap().starts_with("before nothing; after 5 bytes"));

    // Without a screen it says what it needs.
    let told = desk.house.script(&format!("edit {}\n", desk.path("open/a")));
    assert_eq!((told.code, told.out().as_str()), (Some(1), ""), "{told:?}");
    assert!(told.err().contains("edit needs a terminal"), "{told:?}");
    let mut dumb = desk.house.bastion.to(&desk.house.sshd).ssh(&["-tt"], "");
    dumb.env("TERM", "dumb");
    let mut ssh = Running::start(dumb, Stdout::Unread);
    let mut stdout = std::io::BufReader::new(ssh.stdout());
    let mut told = Vec::new();
    // What is typed before the prompt does not run by itself.
    std::io::BufRead::read_until(&mut stdout, b'~', &mut told).unwrap();
    std::io::Write::write_all(&mut ssh.stdin(), format!("edit {}\r", desk.path("open/a")).as_bytes()).unwrap();
    std::io::Read::read_to_end(&mut stdout, &mut told).unwrap();
    assert!(String::from_utf8_lossy(&told).contains("edit needs a terminal"), "{}", String::from_utf8_lossy(&told));
    drop(ssh.wait(LIMIT));
}

#[test]
fn a_right_that_ends_while_its_user_edits_writes_nothing_and_a_pause_holds_the_page() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::with(&[], true);
    let destination = format!("{}@db1", desk.house.sshd.account);
    let grant = desk.house.bastion.grant(ALICE, &destination, "1h", "CHG-2 a test");
    let terminal = desk.opened("open/a");
    let session = desk.house.bastion.only_session();
    terminal.type_text("half ");
    save(&terminal, "C-s");
    desk.house.bastion.doorward(&["session", "freeze", &session]).ok();
    terminal.shows("this session is paused");
    terminal.type_text("y");
    holds(Duration::from_millis(600), "a pause", || desk.text("open/a") == "what is open\n");
    desk.house.bastion.doorward(&["session", "unfreeze", &session]).ok();
    until(LIMIT, "writing", || (desk.text("open/a") == "half what is open\n").then_some(()));
    until(LIMIT, "page", || terminal.rows().last().is_some_and(|row| row.contains("^S save")).then_some(()));
    terminal.type_text("never ");
    save(&terminal, "C-s");
    desk.house.bastion.doorward(&["grant", "revoke", &grant]).ok();
    until(Duration::from_secs(5), "end", || terminal.ended().then_some(()));
    desk.house.bastion.empties(LIMIT);
    assert_eq!(desk.text("open/a"), "half what is open\n");
    assert_eq!(desk.told_of("edit").len(), 1);
    let session = desk.house.bastion.only_recording();
    desk.house.bastion.opens(&session);
}

#[test]
fn a_file_service_that_is_dead_says_so() {
    require!("sshd", "ssh", "tmux");
    let desk = Desk::with(&["Subsystem sftp /bin/false"], false);
    let terminal = desk.terminal();
    terminal.line(&format!("edit {}", desk.path("open/a")));
    let screen = prompts(&terminal, "edit ", "1");
    assert!(screen.contains("file service (SFTP) has ended"), "{screen}");
    terminal.line("printf 'still-%s' here");
    terminal.shows("still-here");
}
