//! A command line becomes a file transfer by `scp -O` or `rsync`, or is none. Pure.
//!
//! The whole line is understood or none of it: nothing goes by how a line begins. What runs at the target is not the
//! user's text but [`Transfer::line`], written anew from what was understood, so that the words that run are the words
//! that were judged.
//!
//! What this module does **not** guard against: what a target's own `scp` or `rsync` does otherwise than OpenSSH's and
//! the rsync project's, and what the account's shell makes of these names.

mod rsync;
mod words;

use std::collections::BTreeSet;

use super::ChannelClass;
pub use words::{quoted, words};

/// The longest line that is looked at, in bytes: quoted anew it stays below the 128 KiB that Linux takes for one word.
const LINE_BYTES_MAX: usize = 24 * 1024;

/// A file transfer by a program of the target's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// As it was called: the bare name, or that in `/usr/bin`.
    program: String,
    tool: Tool,
    way: Way,
    /// The words between the program and the paths.
    options: Vec<String>,
    /// INVARIANT: at least one; none is empty or has a control character.
    paths: Vec<String>,
}

/// Which program moves the files, and what must be known of its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// The old protocol of `scp`.
    Scp(Scp),
    /// rsync.
    Rsync(Rsync),
}

/// What must be known of `scp`'s options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scp {
    /// `-r`: directories too.
    pub recursive: bool,
    /// `-d`: the path that is written to must be a directory.
    pub into_directory: bool,
}

/// What must be known of `rsync`'s options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rsync {
    /// The letters of all short options.
    pub letters: String,
    /// The long options, with their values.
    pub long: Vec<String>,
}

/// Which way the files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the user.
    FromTarget,
    /// To the target.
    ToTarget,
}

impl Transfer {
    /// Understands a command line, as a POSIX shell would read it; `None` is every line that is not a transfer and nothing
    /// else, which is a command like any other.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= LINE_BYTES_MAX)?;
        let words = words(line)?;
        let (program, rest) = words.split_first()?;
        match program.as_str() {
            "scp" | "/usr/bin/scp" => scp(program, rest),
            "rsync" | "/usr/bin/rsync" => rsync::parse(program, rest),
            _ => None,
        }
    }

    /// The command line that is run in place of the user's.
    pub fn line(&self) -> Vec<u8> {
        let words = [&self.program].into_iter().chain(&self.options).chain(&self.paths);
        words.map(|word| quoted(word)).collect::<Vec<String>>().join(" ").into_bytes()
    }

    /// The program, and what must be known of its options.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The words between the program and the paths, in their order.
    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// Which way the files go.
    pub fn way(&self) -> Way {
        self.way
    }

    /// What is read or written, as the user named it; never empty.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// `scp` or `rsync`.
    pub fn name(&self) -> &'static str {
        match self.tool {
            Tool::Scp(_) => "scp",
            Tool::Rsync(_) => "rsync",
        }
    }

    /// The classes that it needs, all of them.
    ///
    /// rsync compares what it writes with what is there, and shows the user checksums of it, and lines of files that a
    /// filter names: who may not read cannot write with it.
    pub fn classes(&self) -> &'static [ChannelClass] {
        match (&self.tool, self.way) {
            (Tool::Scp(_) | Tool::Rsync(_), Way::FromTarget) => &[ChannelClass::SftpRead],
            (Tool::Scp(_), Way::ToTarget) => &[ChannelClass::SftpWrite],
            (Tool::Rsync(_), Way::ToTarget) => &[ChannelClass::SftpWrite, ChannelClass::SftpRead],
        }
    }
}

/// The options that `scp` gives to the `scp` at the other end; `-q` comes from libraries. In bundles, as libssh2 has them.
fn scp(program: &str, words: &[String]) -> Option<Transfer> {
    let mut letters = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let Some(bundle) = word.strip_prefix('-') else { break };
        rest = after;
        if bundle == "-" {
            break;
        }
        // `-` alone would be a path to some, and an option to others.
        if bundle.is_empty() || !bundle.chars().all(|c| "vrpdqtf".contains(c)) {
            return None;
        }
        letters.extend(bundle.chars());
    }
    let has = |letter| letters.contains(&letter);
    let way = match (has('t'), has('f')) {
        (true, false) => Way::ToTarget,
        (false, true) => Way::FromTarget,
        (true, true) | (false, false) => return None,
    };
    // Several paths can be read, but not written to (sink() in OpenSSH's scp.c).
    if rest.is_empty() || rest.iter().any(String::is_empty) || (way == Way::ToTarget && rest.len() > 1) {
        return None;
    }
    // What is sent names only the last part of a path, which must tell from which of several it comes.
    let mut names = BTreeSet::new();
    let mut tells = |path: &String| {
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        !["", ".", ".."].contains(&name) && names.insert(name.to_owned())
    };
    if rest.len() > 1 && !rest.iter().all(&mut tells) {
        return None;
    }
    let mut options: Vec<String> =
        ['v', 'q', 'r', 'p', 'd', 't', 'f'].into_iter().filter(|c| has(*c)).map(|c| format!("-{c}")).collect();
    // Only where it is needed, for there are servers that read this line themselves and do not know it.
    if rest.iter().any(|path| path.starts_with('-')) {
        options.push(String::from("--"));
    }
    let tool = Tool::Scp(Scp { recursive: has('r'), into_directory: has('d') });
    Some(Transfer { program: program.to_owned(), tool, way, options, paths: rest.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<String> {
        Transfer::parse(text.as_bytes()).map(|transfer| String::from_utf8(transfer.line()).unwrap())
    }

    #[test]
    fn what_clients_send_is_understood_and_written_anew() {
        for (asked, run) in [
            ("scp -t /tmp/x", "scp -t /tmp/x"),
            ("scp -r -p -d -t .", "scp -r -p -d -t ."),
            ("scp -v -f 'a b'", "scp -v -f 'a b'"),
            ("scp -f a\\ b c", "scp -f 'a b' c"),
            ("scp -qprt \"/a/b c\"", "scp -q -r -p -t '/a/b c'"),
            ("/usr/bin/scp -f -- -x", "/usr/bin/scp -f -- -x"),
            ("  'scp'  -t -- x ", "scp -t x"),
            ("rsync --server -logDtpre.iLsfxCIvu . /tmp/a\\ b", "rsync --server -logDtpre.iLsfxCIvu . '/tmp/a b'"),
            ("rsync --server --sender -de.LsfxCIvu . /etc x", "rsync --server --sender -de.LsfxCIvu . /etc x"),
            (
                "rsync --server -blHogDtpAXre.iLsfxCIvu -B1 --suffix=.x --usermap=\\*:a --timeout=5 --delete . ./-x",
                "rsync --server -blHogDtpAXre.iLsfxCIvu -B1 --suffix=.x '--usermap=*:a' --timeout=5 --delete . ./-x",
            ),
            (
                "rsync --server -vvlogDtprze31.14iLsfxCIvu --log-format=%i%I --compress-choice=zstd -@-1 --append --append . .",
                "rsync --server -vvlogDtprze31.14iLsfxCIvu --log-format=%i%I --compress-choice=zstd -@-1 --append --append . .",
            ),
        ] {
            assert_eq!(line(asked).as_deref(), Some(run), "{asked}");
            assert_eq!(line(run).as_deref(), Some(run), "{run} is not understood as itself");
        }
    }

    #[test]
    fn what_is_more_than_a_transfer_is_none() {
        for asked in [
            // What is sent would not tell which of them it is.
            "scp -f /none/shadow /etc/shadow",
            "scp -r -f /a/etc/ /etc",
            "scp -f . /etc",
            "scp -f /a /",
            "",
            "scp",
            "scp -t",
            "scp /tmp",
            "scp -t -f /tmp",
            "scp -t /tmp /etc",
            "scp -t ''",
            "scp -t /tmp; id",
            "scp -t /tmp;id",
            "scp -t /tmp && id",
            "scp -t /tmp|sh",
            "scp -t /tmp&",
            "scp -t $(id)",
            "scp -t `id`",
            "scp -t \"$(id)\"",
            "scp -t \"`id`\"",
            "scp -t \"$HOME\"",
            "scp -t ~/x",
            "scp -f *.log",
            "scp -f a?",
            "scp -f [a]",
            "scp -f {a,b}",
            "scp -f x >/etc/passwd",
            "scp -f x < y",
            "scp -f x # y",
            "scp -f 'x",
            "scp -f \"x",
            "scp -f x\\",
            "scp -t /tmp\nid",
            "scp -t '/tmp\nid'",
            "scp -t '/tmp\u{1b}[2J'",
            "scp -t '/tmp\u{9b}2J'",
            "scp -t\t/tmp",
            "scp -S prog -t /tmp",
            "scp -tS prog",
            "scp -o ProxyCommand=id -t /tmp",
            "scp -3 -t /tmp",
            "scp -t - /tmp",
            "scp --t /tmp",
            "PATH=/x scp -t /tmp",
            "./scp -t /tmp",
            "/tmp/scp -t /tmp",
            "/usr/bin/../../tmp/scp -t /tmp",
            "sudo scp -t /tmp",
            "exec scp -t /tmp",
            "scpx -t /tmp",
            "scp -f x\0; id",
            "rsync",
            "rsync -a /etc /tmp",
            "rsync --server",
            "rsync --server .",
            "rsync --server . /tmp /x",
            "rsync --server /tmp",
            "rsync --sender --server . /tmp",
            "rsync --server . -x",
            "rsync --server . --log-file=/x",
            "rsync --server --daemon .",
            "rsync --server --daemon --config=/x .",
            "rsync --server --sender -slogDtpre.iLsfxCIvu",
            "rsync --server -s . /tmp",
            "rsync --server -lsr . /tmp",
            "rsync --server -e id . /tmp",
            "rsync --server -eid . /tmp",
            "rsync --server -e.i/x . /tmp",
            "rsync --server -e'.i;id' . /tmp",
            "rsync --server -M--log-file=/x . /tmp",
            "rsync --server -f merge . /tmp",
            "rsync --server --rsh=id . /tmp",
            "rsync --server --log-file=/x . /tmp",
            "rsync --server --log-file /x . /tmp",
            "rsync --server --temp-dir /x . /tmp",
            "rsync --server -T /x . /tmp",
            "rsync --server --backup-dir /x . /tmp",
            "rsync --server --partial-dir /x . /tmp",
            "rsync --server --compare-dest /x . /tmp",
            "rsync --server --link-dest=/x . /tmp",
            "rsync --server --copy-dest /x . /tmp",
            "rsync --server --files-from=/x . /tmp",
            "rsync --server --sender --files-from=- . /tmp",
            "rsync --server --write-batch=/x . /tmp",
            "rsync --server --only-write-batch=X . /tmp",
            "rsync --server --read-batch=/x . /tmp",
            "rsync --server --sender --remove-source-files . /tmp",
            "rsync --server --sender --remove-sent-files . /tmp",
            "rsync --server --write-devices . /tmp",
            "rsync --server --copy-devices . /tmp",
            "rsync --server --suffix=/x . /tmp",
            "rsync --server --password-file=/x . /tmp",
            "rsync --server --unknown . /tmp",
            "rsync --server --dele . /tmp",
            "rsync --server --delete=x . /tmp",
            "rsync --server --log-format=%n%f . /tmp",
            "rsync --server . ''",
        ] {
            assert_eq!(line(asked), None, "{asked}");
        }
        // What would not be on record whole.
        let paths = (0..300).map(|n| format!("/p{n}")).collect::<Vec<_>>().join(" ");
        assert!(line(&format!("rsync --server --sender -r . {paths}")).is_none());
        assert!(line(&format!("scp -t {}", "a".repeat(LINE_BYTES_MAX))).is_none());
        assert!(Transfer::parse(b"scp -t \xff").is_none());
    }

    #[test]
    fn what_reads_needs_reading_and_what_writes_needs_writing() {
        use ChannelClass::{SftpRead, SftpWrite};
        for (asked, classes) in [
            ("scp -f /x", &[SftpRead][..]),
            ("scp -t /x", &[SftpWrite]),
            ("rsync --server --sender -r . /x", &[SftpRead]),
            // Its checksums tell what is there.
            ("rsync --server -r . /x", &[SftpWrite, SftpRead]),
        ] {
            assert_eq!(Transfer::parse(asked.as_bytes()).unwrap().classes(), classes, "{asked}");
        }
    }
}
