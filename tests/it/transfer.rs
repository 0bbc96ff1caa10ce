//! Files by the old protocol of `scp` and by `rsync`: known by their whole command line, judged by the rights to files, and
//! on record one by one.

use std::path::Path;
use std::process::Command;

use doorward::model::transfer::{Transfer, quoted, words};
use doorward::sftp::shown;

use crate::fixture::bastion::Bastion;
use crate::fixture::process::{Finished, Running, Stdout, run};
use crate::fixture::{LIMIT, Route, Sshd, until};
use crate::require;
use crate::sftp::{files, noise, rule, sha256};

const BOTH: &str = r#"["sftp-read", "sftp-write"]"#;

/// A bastion whose rule has these channels and no others.
fn bastion(sshd: &Sshd, channels: &str) -> Bastion {
    let mut bastion = Bastion::furnished(sshd);
    bastion.policy(&rule(channels));
    bastion.serve();
    bastion
}

fn scp(route: &Route, arguments: &[&str]) -> Finished {
    run(route.copier("scp", &[&["-O"], arguments].concat()), b"", LIMIT)
}

fn rsync(route: &Route, arguments: &[&str]) -> Finished {
    let ssh = route.ssh(&[], "");
    let words: Vec<String> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut rsync = Command::new("rsync");
    // rsync adds the host itself.
    rsync.arg("-e").arg(format!("ssh {}", words[..words.len() - 1].join(" ")));
    rsync.args(arguments.iter().map(|argument| argument.replace("{}", "127.0.0.1")));
    run(rsync, b"", LIMIT)
}

/// Everything below a folder that can differ: names, modes, sizes, times of files, and content.
fn listing(folder: &Path) -> String {
    let mut find = Command::new("sh");
    let script = "cd \"$0\" && find . -type f -printf '%P %m %s %Ts\\n' -exec sha256sum {} + | sort; find . -type d -o -type l | sort";
    find.args(["-c", script]).arg(folder);
    run(find, b"", LIMIT).ok().out()
}

fn texts(bastion: &Bastion, session: &str) -> String {
    String::from_utf8(bastion.export(session, "txt", &["--channel", "1"])).unwrap()
}

/// A folder with names that quoting and protocols stumble over.
fn tree(at: &Path) {
    std::fs::create_dir_all(at.join("deep/er")).unwrap();
    for (name, bytes) in [
        ("empty", 0),
        ("small", 100),
        ("deep/large", 9_000_000),
        ("deep/er/odd name ü", 33_000),
        ("deep/it's \"quoted\" $(id) `id` \\ *", 10),
        ("a\nline", 5),
        ("-dash", 3),
    ] {
        std::fs::write(at.join(name), noise(bytes)).unwrap();
    }
}

#[test]
fn scp_and_rsync_move_trees_as_they_do_directly() {
    require!("sshd", "ssh", "scp", "rsync");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let here = bastion.scratch().join("tree");
    tree(&here);
    std::os::unix::fs::symlink("small", here.join("link")).unwrap();
    let many = bastion.scratch().join("many");
    std::fs::create_dir(&many).unwrap();
    (0..3000).for_each(|number| std::fs::write(many.join(format!("file {number}")), noise(number % 50)).unwrap());
    let mut told = Vec::new();
    for route in [sshd.direct(), bastion.to(&sshd)] {
        let (there, back) = (sshd.folder().join("x y"), bastion.scratch().join("back"));
        for folder in [&there, &back] {
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir(folder).unwrap();
        }
        // Of `scp -O` the shell at the target cuts the path into words.
        let far = format!("{{}}:{}", there.display().to_string().replace(' ', "\\ "));
        let (tree, up, down) =
            (here.display().to_string(), format!("{}/", there.display()), back.display().to_string());
        scp(&route, &["-r", "-p", &tree, &far]).ok();
        told.push(listing(&there));
        scp(&route, &["-r", "-p", &format!("{far}/tree"), &down]).ok();
        told.push(listing(&back));
        let seen = scp(&route, &["{}:/no/such/file", &down]);
        told.push(format!("{:?} {}", seen.code, seen.err().contains("No such file")));

        let far = format!("{{}}:{up}");
        rsync(&route, &["-a", "--delete", &format!("{tree}/"), &far]).ok();
        assert!(!there.join("tree").exists(), "--delete left something there");
        told.push(listing(&there));
        rsync(&route, &["-az", "--checksum", "--inplace", "--numeric-ids", &format!("{}/", many.display()), &far]).ok();
        told.push(listing(&there));
        let seen =
            rsync(&route, &["-az", "--delete-after", "--stats", "--exclude=empty", &format!("{far}/"), &down]).ok();
        told.push(format!("{} {}", listing(&back), seen.out().contains("Number of files")));
        let seen = rsync(&route, &["--list-only", &far]).ok();
        told.push(seen.out());
    }
    let (direct, through) = told.split_at(told.len() / 2);
    assert!(direct == through, "direct: {direct:?}\nthrough: {through:?}");
    bastion.empties(LIMIT);
    assert!(bastion.rows(&["audit", "list", "--type", "channel.refused"]).is_empty());
}

#[test]
fn what_scp_moves_is_on_record_file_by_file() {
    require!("sshd", "ssh", "scp", "sha256sum");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let (here, there) = (bastion.scratch().join("sent"), sshd.folder().join("there"));
    std::fs::write(&here, noise(200 << 20)).unwrap();
    std::fs::create_dir(&there).unwrap();
    let far = there.display().to_string();
    let route = bastion.to(&sshd);
    scp(&route, &["-p", here.to_str().unwrap(), &format!("{{}}:{far}/one")]).ok();
    assert!(std::fs::read(there.join("one")).unwrap() == noise(200 << 20), "what arrived differs");
    bastion.empties(LIMIT);
    let sum = sha256(&here);
    let session = bastion.only_recording();
    let told = texts(&bastion, &session);
    let line = format!("scp: put {far}/one: 209715200 bytes, SHA-256 {sum}");
    assert!(told.contains(&line) && told.contains("sent as sent"), "no `{line}` in {told}");
    let log = files(&bastion);
    let whats: Vec<&str> = log.iter().map(|row| row["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["open", "put"], "{log:?}");
    assert!(log.iter().all(|row| row["path"].as_str() == Some(&format!("{far}/one"))), "{log:?}");
    assert!(log[1]["detail"].as_str().unwrap().contains(&sum), "{log:?}");

    let back = bastion.scratch().join("back");
    scp(&route, &[&format!("{{}}:{far}/one"), back.to_str().unwrap()]).ok();
    assert_eq!(sha256(&back), sum);
    bastion.empties(LIMIT);
    let got = files(&bastion).into_iter().find(|row| row["what"] == "get").unwrap();
    assert!(got["detail"].as_str().unwrap().contains(&sum), "{got}");
}

#[test]
fn what_rsync_moves_is_on_record_before_it_goes_and_counted_after() {
    require!("sshd", "ssh", "rsync");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let (here, there) = (bastion.scratch().join("tree"), sshd.folder().join("there"));
    tree(&here);
    let far = there.display().to_string();
    rsync(&bastion.to(&sshd), &["-a", here.to_str().unwrap(), &format!("{{}}:{far}")]).ok();
    bastion.empties(LIMIT);
    let session = bastion.only_recording();
    let told = texts(&bastion, &session);
    assert!(told.contains(&format!("rsync: put {far} by rsync --server")), "{told}");
    assert!(told.contains("stdin: from byte 0 on, count and SHA-256 only"), "{told}");
    let log = files(&bastion);
    let whats: Vec<&str> = log.iter().map(|row| row["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["open", "put"], "{log:?}");
    let bytes = log[1]["detail"].as_str().unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(bytes > 9_000_000, "{log:?}");
}

/// What `find` has below a folder: path, kind, mode, size (but for directories), time.
fn found(folder: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    let format = "%P\\t%y\\t%m\\t%s\\t%Ts\\n\\0";
    find.arg(folder).args(["-mindepth", "1", "-printf", format]);
    let all = run(find, b"", LIMIT).ok().stdout;
    let line = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.strip_suffix(b"\n").unwrap_or(line).rsplitn(5, |byte| *byte == b'\t').collect();
        let [time, size, mode, kind, path] = fields[..] else { panic!("{}", line.escape_ascii()) };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (kind, size) = match kind {
            b"f" => ("file", text(size)),
            b"d" => ("directory", String::from("-")),
            b"l" => ("link", text(size)),
            b"p" => ("pipe", text(size)),
            other => panic!("{}", other.escape_ascii()),
        };
        format!("{} {kind} mode {:0>4} size {size} time {}", shown(path), text(mode), text(time))
    };
    sorted(all.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(line).collect())
}

/// What the recording says was listed; of a directory the size says nothing, and of a link where it leads.
fn listed(told: &str, below: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| line.split_once("rsync: list ").map(|(_, rest)| rest));
    let line = |line: &str| {
        let line = line.strip_suffix(']').unwrap_or(line).strip_prefix(below)?;
        let (name, rest) = line.rsplit_once(" mode ")?;
        let name = match name.rsplit_once(" link to \"") {
            Some((name, to)) if to.ends_with('"') => format!("{name} link"),
            Some(_) | None => name.strip_suffix(" hard link").unwrap_or(name).to_owned(),
        };
        let (mode, rest) = rest.split_once(" size ")?;
        let (size, time) = rest.split_once(" time ")?;
        let size = if name.ends_with(" directory") { "-" } else { size };
        Some(format!("{name} mode {mode} size {size} time {time}"))
    };
    sorted(lines.filter_map(line).filter(|line| !line.starts_with(". directory ")).collect())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// What the recording says was sent, or removed.
fn told_of(told: &str, what: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| line.split_once(&format!("rsync: {what} ")).map(|(_, rest)| rest));
    let plain = |line: &&str| !line.contains(" by rsync --server") && !line.contains(" bytes to the target, ");
    sorted(lines.filter(plain).map(|line| line.strip_suffix(']').unwrap_or(line).to_owned()).collect())
}

/// What the client itself says was sent (`--out-format=%i %n`): other changes than those of content begin otherwise.
fn client_said(seen: &Finished, verb: &str) -> Vec<String> {
    let sent = if verb == "put" { "<f" } else { ">f" };
    let lines = seen.out();
    sorted(
        lines
            .lines()
            .filter(|line| line.starts_with(sent))
            .filter_map(|line| Some(line.split_once(' ')?.1.to_owned()))
            .collect(),
    )
}

#[test]
fn the_recording_lists_what_rsync_lists_and_which_of_it_is_sent_or_removed() {
    require!("sshd", "ssh", "rsync", "find");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let (here, there) = (bastion.scratch().join("tree"), sshd.folder().join("there"));
    let back = bastion.scratch().join("back");
    tree(&here);
    std::os::unix::fs::symlink("small", here.join("link")).unwrap();
    std::fs::hard_link(here.join("small"), here.join("deep/hard")).unwrap();
    std::fs::create_dir_all(here.join("many/empty/folders")).unwrap();
    std::fs::create_dir_all(here.join("deep.x/a.b")).unwrap();
    std::fs::create_dir_all(here.join(format!("deep.x/{}", "long".repeat(60)))).unwrap();
    for number in 0..1500 {
        std::fs::write(here.join(format!("many/{number}")), noise(number % 7)).unwrap();
        let long = "l".repeat(usize::try_from(number % 200).unwrap());
        std::fs::write(here.join(format!("deep.x/a.b/{long}{number}")), noise(9)).unwrap();
    }
    let (tree, far) = (format!("{}/", here.display()), format!("{{}}:{}/", there.display()));
    let down = format!("{}/", back.display());
    let route = bastion.to(&sshd);
    let mut seen_sessions = Vec::new();
    let mut number = 0;
    for options in [
        &["-a"][..],
        &["-aHz", "--delete"],
        &["-ac", "--no-inc-recursive", "--delete-after"],
        &["-rlt", "--whole-file", "--numeric-ids", "--compress-choice=lz4"],
        &["-aHUc", "--checksum-choice=xxh3,md5", "--delete-excluded"],
        &["-aHz", "--protocol=30", "--no-inc-recursive"],
        &["-az", "--new-compress", "--inplace", "--no-whole-file"],
        // What would be done is not told as done.
        &["-az", "--delete", "-n"],
    ] {
        // Something is new, something is changed, and something is there that is not here.
        number += 1;
        std::fs::write(here.join(format!("deep/new {number}")), noise(number)).unwrap();
        std::fs::write(here.join("deep/large"), [noise(9_000_000), noise(number)].concat()).unwrap();
        for folder in [&there, &back] {
            std::fs::create_dir_all(folder.join(format!("gone {number}"))).unwrap();
            std::fs::write(folder.join(format!("gone {number}/file")), "x").unwrap();
        }
        for (ours, theirs, verb) in [(&tree, &far, "put"), (&far, &down, "get")] {
            let given = [options, &["--8-bit-output", "--out-format=%i %n", ours, theirs]].concat();
            let does = !options.contains(&"-n");
            let removes = does && verb == "put" && options.iter().any(|option| option.starts_with("--delete"));
            // What is sent is what is not at the other end, so that the list is that of the one it is read from.
            let wanted = if verb == "put" { found(&here) } else { found(&there) };
            let seen = rsync(&route, &given).ok();
            bastion.empties(LIMIT);
            bastion.recordings();
            let session = bastion.recordings_at_all().into_iter().find(|id| !seen_sessions.contains(id)).unwrap();
            let told = texts(&bastion, &session);
            seen_sessions.push(session);
            assert!(!told.contains("cannot be read"), "{options:?}: {told}");
            assert_eq!(listed(&told, ""), wanted, "{options:?} {verb}");
            // Names that are shown otherwise are left out.
            let plain = |names: Vec<String>| names.into_iter().filter(|name| !name.contains('\\')).collect::<Vec<_>>();
            let is_file = |name: &String| wanted.iter().any(|line| line.starts_with(&format!("{name} file ")));
            let sent = if does { client_said(&seen, verb) } else { Vec::new() };
            let sent: Vec<String> = plain(sent).into_iter().filter(is_file).collect();
            assert_eq!(plain(told_of(&told, verb)), sent, "{options:?} {verb}");
            assert!(
                options.contains(&"-n") || sent.iter().any(|name| name == &format!("deep/new {number}")),
                "{sent:?}"
            );
            let removed = told_of(&told, "remove");
            assert_eq!(!removed.is_empty(), removes, "{options:?} {verb}: {removed:?}");
            let folder = format!("gone {number} directory");
            assert!(!removes || removed.contains(&folder), "{options:?}: {removed:?}");
            assert!(told.contains("listed, ") && !told.contains("not whole"), "{options:?} {verb}");
        }
    }
}

#[test]
fn a_list_of_a_form_that_is_not_known_is_said_to_be_unread_and_the_transfer_goes_on() {
    require!("sshd", "ssh", "rsync");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let (here, there) = (bastion.scratch().join("tree"), sshd.folder().join("there"));
    tree(&here);
    let (from, to) = (format!("{}/", here.display()), format!("{{}}:{}", there.display()));
    rsync(&bastion.to(&sshd), &["-aX", &from, &to]).ok();
    assert_eq!(listing(&there), listing(&here));
    bastion.empties(LIMIT);
    let told = texts(&bastion, &bastion.only_recording());
    assert!(told.contains("the list cannot be read from here on: its form with the option -X is not known"), "{told}");
    assert!(told.contains("0 listed, the list not read to its end, 0 sent"), "{told}");
}

#[test]
fn t9_who_may_read_cannot_write_and_who_may_write_cannot_read() {
    require!("sshd", "ssh", "scp", "rsync");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, r#"["sftp-read"]"#);
    let (file, new) = (sshd.folder().join("file"), sshd.folder().join("new"));
    std::fs::write(&file, "as it was").unwrap();
    std::fs::write(bastion.scratch().join("sent"), "changed").unwrap();
    let (sent, got) = (bastion.scratch().join("sent"), bastion.scratch().join("got"));
    let (sent, got) = (sent.to_str().unwrap(), got.to_str().unwrap());
    let (far, far_new) = (format!("{{}}:{}", file.display()), format!("{{}}:{}", new.display()));
    let route = bastion.to(&sshd);
    let read = || {
        let _ = std::fs::remove_file(got);
        let by = [scp(&route, &[&far, got]), rsync(&route, &[&far, got])];
        (by, std::fs::read_to_string(got).unwrap_or_default())
    };
    let write = || {
        let to_new = [scp(&route, &[sent, &far_new]), rsync(&route, &[sent, &far_new])];
        let to_old = [scp(&route, &[sent, &far]), rsync(&route, &["-c", sent, &far])];
        [to_new, to_old].concat()
    };
    let (seen, text) = read();
    assert!(text == "as it was" && seen.iter().all(|seen| seen.code == Some(0)), "{seen:?}");
    for seen in write() {
        assert!(seen.code != Some(0) && seen.err().contains("access denied"), "{seen:?}");
    }
    assert!(!new.exists() && std::fs::read_to_string(&file).unwrap() == "as it was");

    bastion.policy(&rule(r#"["sftp-write"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    let (seen, text) = read();
    assert!(text.is_empty() && seen.iter().all(|seen| seen.err().contains("access denied")), "{seen:?}");
    // rsync shows checksums of what is there, so that it needs both.
    let seen = write();
    let done: Vec<bool> = seen.iter().map(|seen| seen.code == Some(0)).collect();
    assert_eq!(done, [true, false, true, false], "{seen:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "changed");

    bastion.policy(&rule(r#"["shell", "exec"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    let (seen, _) = read();
    for seen in [write(), seen.to_vec()].concat() {
        assert!(seen.code != Some(0) && seen.err().contains("access denied"), "{seen:?}");
    }
}

#[test]
fn t9_a_line_that_is_more_than_a_transfer_is_a_command() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let folder = sshd.folder().display().to_string();
    let made = sshd.folder().join("made");
    let route = bastion.to(&sshd);
    let lines = [
        format!("scp -t {folder}; touch {folder}/made"),
        format!("scp -t {folder}&touch {folder}/made"),
        format!("scp -t {folder}\ntouch {folder}/made"),
        format!("scp -t $(touch {folder}/made)"),
        format!("scp -t `touch {folder}/made`"),
        format!("scp -t \"$(touch {folder}/made)\""),
        format!("scp -f {folder}/* >{folder}/made"),
        format!("scp -S {folder}/prog -t {folder}"),
        String::from("scp -f ~/.ssh"),
        format!("sh -c 'touch {folder}/made' scp -t {folder}"),
        format!("touch {folder}/made"),
        format!("rsync --server -e.iLsfxCIvu --log-file={folder}/made . {folder}"),
        format!("rsync --server --sender -s . {folder}"),
        format!("rsync --server -e 'touch {folder}/made' . {folder}"),
        format!("rsync --server --daemon --config={folder}/c ."),
        format!("rsync -e 'touch {folder}/made' x:y {folder}"),
        format!("rsync --server --sender --remove-source-files -r . {folder}"),
    ];
    for line in &lines {
        let seen = run(route.ssh(&[], line), b"", LIMIT);
        assert!(seen.code == Some(126) && seen.err().contains("access denied"), "{line}: {seen:?}");
        assert!(!made.exists(), "{line}");
    }
    // A terminal is not opened for a transfer, whoever asks for one.
    let seen = run(route.ssh(&["-tt"], &format!("scp -f {folder}/none")), b"\0", LIMIT);
    assert!(!seen.out().contains("recorded"), "{seen:?}");

    bastion.policy(&rule(r#"["exec"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    for line in ["true; scp -t x", "touch"].map(|line| format!("{line} {folder}/made")) {
        let seen = run(route.ssh(&[], &line), b"", LIMIT);
        assert!(!seen.err().contains("access denied"), "{line}: {seen:?}");
    }
    assert!(made.exists());
}

/// Says `input` to a transfer at the target, with the input left open; gives what came.
fn say(route: &Route, line: &str, input: &[u8]) -> Finished {
    let mut ssh = Running::start(route.ssh(&[], line), Stdout::Gathered);
    let mut stdin = ssh.stdin();
    // One that was sent away may not take it all.
    let _ = std::io::Write::write_all(&mut stdin, input);
    ssh.wait_with_open_stdin(LIMIT)
}

#[test]
fn t10_a_user_who_breaks_the_protocol_of_scp_reaches_nothing() {
    require!("sshd", "ssh", "scp");
    let sshd = Sshd::start();
    let bastion = bastion(&sshd, BOTH);
    let inside = sshd.folder().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("here"), "text").unwrap();
    let (route, folder) = (bastion.to(&sshd), inside.display().to_string());
    for bad in [
        &b"C0644 1 ../x\nx\0"[..],
        b"C0644 1 a/x\nx\0",
        b"C0644 1 ..\nx\0",
        b"C0644 1 x\0y\nx\0",
        b"C0644 99999999999999999999 x\nx\0",
        b"C0644 -1 x\nx\0",
        b"D0755 0 d\nE\nE\nC0644 1 x\nx\0",
        b"touch x\n",
        &[b'C'; 100_000],
    ] {
        let seen = say(&route, &format!("scp -t {folder}"), bad);
        assert!(seen.err().contains("the user sent"), "{}: {seen:?}", bad[..bad.len().min(40)].escape_ascii());
        let there = std::fs::read_dir(&inside).unwrap().count();
        assert!(there == 1 && !sshd.folder().join("x").exists(), "{}", bad.escape_ascii());
    }
    // Of a size that lies, what comes is the file's and what is missing is told.
    let route_of = |line: &str, input: &[u8]| run(route.ssh(&[], line), input, LIMIT);
    route_of(&format!("scp -t {folder}"), b"C0644 9 short\nabc");
    // Who reads has nothing to say but answers.
    for bad in [&b"C0644 1 x\n"[..], b"\0\0\0D0755 0 x\nE\n", b"\x01no end"] {
        let seen = run(route.ssh(&[], &format!("scp -f {folder}/here")), bad, LIMIT);
        assert!(!inside.join("x").exists(), "{seen:?}");
    }
    bastion.empties(LIMIT);
    let log = files(&bastion);
    let put = log.iter().find(|row| row["what"] == "put").unwrap();
    assert!(
        put["detail"].as_str().unwrap().starts_with("3 bytes") && put.to_string().contains("not all of 9"),
        "{put}"
    );
    // Who sends all at once, as some libraries do, is understood.
    route_of(&format!("scp -qrt {folder}"), b"T1 0 1 0\nC0600 3 early\nabc\0").ok();
    assert_eq!(std::fs::read_to_string(inside.join("early")).unwrap(), "abc");
}

#[test]
fn t10_a_target_that_breaks_the_protocol_of_scp_writes_nowhere() {
    require!("sshd", "ssh", "scp");
    for (told, said) in [
        ("C0644 1 ../x\\nx\\0", "a name that leads elsewhere"),
        ("C0644 1 /tmp/x\\nx\\0", "a name that leads elsewhere"),
        ("D0755 0 d\\n", "a directory that was not asked for"),
        ("Welcome to this machine\\n", "a line that is not of this protocol"),
        ("%0100000d", "a line that does not end"),
    ] {
        let sshd = Sshd::with(&[&format!("ForceCommand printf '{told}' 1; exec sleep 300")]);
        let bastion = bastion(&sshd, BOTH);
        let folder = bastion.scratch().join("got");
        std::fs::create_dir(&folder).unwrap();
        let seen = scp(&bastion.to(&sshd), &["{}:/some/file", folder.to_str().unwrap()]);
        assert!(seen.code == Some(1) && seen.err().contains(&format!("the target sent {said}")), "{told}: {seen:?}");
        assert!(std::fs::read_dir(&folder).unwrap().next().is_none() && !bastion.scratch().join("x").exists());
        bastion.empties(LIMIT);
        assert!(texts(&bastion, &bastion.only_recording()).contains("ended: the target sent"), "{told}");
    }
}

#[test]
fn who_loses_the_right_to_files_loses_the_transfer() {
    require!("sshd", "ssh", "scp");
    let sshd = Sshd::start();
    for (line, kept) in [
        ("scp -t x", r#"["sftp-read", "exec"]"#),
        ("scp -f x", r#"["sftp-write", "exec"]"#),
        ("rsync --server -r . x", r#"["sftp-write", "exec"]"#),
        ("rsync --server -r . x", r#"["sftp-read", "exec"]"#),
    ] {
        let bastion = bastion(&sshd, r#"["sftp-read", "sftp-write", "exec"]"#);
        let mut ssh = Running::start(bastion.to(&sshd).ssh(&[], line), Stdout::Gathered);
        let stdin = ssh.stdin();
        until(LIMIT, "the session", || (!bastion.sessions().is_empty()).then_some(()));
        bastion.policy(&rule(kept));
        bastion.doorward(&["policy", "reload"]).ok();
        assert_ne!(ssh.wait_with_open_stdin(LIMIT).code, Some(0), "{line}");
        drop(stdin);
        bastion.empties(LIMIT);
    }
}

/// What a shell makes of the words behind `scp` in a line; none if it finds a fault.
fn shell_words(shell: &str, lines: &[String]) -> Vec<Vec<String>> {
    use std::fmt::Write;

    let mut script = String::from("scp() { for word do printf '%s\\0' \"$word\"; done; printf '\\001\\0'; }\n");
    lines.iter().for_each(|line| writeln!(script, "{line}").unwrap());
    // From a file: from a pipe a shell reads byte by byte.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
    let mut sh = Command::new(shell);
    sh.arg(file.path()).env("LC_ALL", "C.UTF-8");
    let told = run(sh, b"", LIMIT).ok().out();
    let mut all = vec![Vec::new()];
    for word in told.split_terminator('\0') {
        match word {
            "\u{1}" => all.push(Vec::new()),
            word => all.last_mut().unwrap().push(word.to_owned()),
        }
    }
    all.pop();
    all
}

#[test]
fn t9_a_line_has_the_words_that_shells_find_in_it() {
    const PIECES: &[&str] = &[
        "a", "B9", "-", "_", ".", "/", ":", ",", "@", "%", "+", "=", " ", "  ", "'", "\"", "\\", "\\\\", "\\'", "\\\"",
        "''", "\"\"", "' '", "\" \"", "'a b'", "'\\'", "\"\\a\"", "\"\\\\\"", "\"\\$\"", "\"\\`\"", "\"'\"", "'\"'",
        "'$x'", "'*'", "\"*\"", "\\*", "\\ ", "\\$", "\\!", "'!'", "\\~", "'~'", "'#'", "\\#", "\";\"", "';'", "\\;",
        "\\&", "ü", "\u{3000}", "'ü'", "\\ü", "$", "*", "~", "#", "!", ";", "{", "}", "[", "(", "`", "^", "\"$x\"",
        "\\\n", "\n", "\t",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % limit
    };
    let mut lines = Vec::new();
    while lines.len() < 4000 {
        let pieces = 1 + below(12);
        let line: String = (0..pieces).map(|_| PIECES[below(PIECES.len())]).collect();
        let line = format!("scp -f {line}");
        if words(&line).is_some() {
            lines.push(line);
        }
    }
    let ours: Vec<Vec<String>> = lines.iter().map(|line| words(line).unwrap().split_off(1)).collect();
    let again: Vec<String> =
        ours.iter().map(|words| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")).collect();
    let again: Vec<String> = again.iter().map(|words| format!("scp {words}")).collect();
    let known = ["sh", "dash", "bash", "busybox", "ksh", "mksh", "zsh", "yash"];
    let shells = known.iter().filter(|shell| Path::new("/bin").join(shell).exists() && **shell != "busybox");
    for shell in shells {
        for lines in [&lines, &again] {
            let theirs = shell_words(shell, lines);
            assert_eq!(theirs.len(), ours.len(), "{shell} finds a fault");
            for ((line, theirs), ours) in lines.iter().zip(theirs).zip(&ours) {
                assert_eq!(&theirs, ours, "{shell}: {line}");
            }
        }
    }
    // What is run has the words that were judged.
    let transfers: Vec<Transfer> = lines.iter().filter_map(|line| Transfer::parse(line.as_bytes())).collect();
    assert!(transfers.len() > 1000, "{}", transfers.len());
    for transfer in transfers {
        assert_eq!(Transfer::parse(&transfer.line()).as_ref(), Some(&transfer));
    }
}
