//! Fetching a sealed recording, or an answer, from a bastion, with one's own `ssh`: its keys, agent, known hosts and
//! configuration are one's own to set up, and Doorward does not do it again.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use super::CliError;
use super::output::say_line;
use crate::model::{SessionId, UserName};
use crate::policy::size_of;

/// An archive with more files is not a recording.
const FILES_MAX: usize = 2_000_000;
/// A file, and each directory that it may be the first in, takes so much of a disk at least.
const FILE_BYTES: u64 = 4096;
/// One's `ssh` carries this one command: no agent, no display, no forward and no local command of one's own
/// configuration is within a hostile bastion's reach.
const BARE: &[&str] = &["-T", "-a", "-x", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"];
/// Of what `ssh` says, and through it the bastion, so many bytes are shown, in lines of so many at most.
const WORDS_BYTES_MAX: usize = 16 * 1024;
const LINE_BYTES_MAX: u64 = 1024;
/// What `ssh` has said last is waited for so long after its end: a process that it left behind may hold the pipe.
const WORDS_WAIT: Duration = Duration::from_secs(2);

/// Reads the bound on what is fetched, such as `64GiB`.
///
/// # Errors
/// What to write instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    size_of(text).ok_or_else(|| format!("`{text}` is not a size: write 512MiB, 64GiB or a number of bytes"))
}

/// A bastion that is asked: `ssh://[USER@]HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    user: Option<UserName>,
    host: String,
    port: Option<u16>,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not ssh://[USER@]HOST[:PORT]");
        let rest = text.strip_prefix("ssh://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(UserName::parse(user).map_err(|error| error.to_string())?), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                let _: std::net::Ipv6Addr = host.parse().map_err(|_| wrong())?;
                (
                    host,
                    port.strip_prefix(':')
                        .map_or_else(|| if port.is_empty() { Ok(None) } else { Err(wrong()) }, |port| Ok(Some(port)))?,
                )
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        // What begins with a minus sign would be an option of `ssh`; a host may be an alias of its configuration.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
            return Err(wrong());
        }
        let port = port.map(|port| port.parse::<u16>().map_err(|_| wrong())).transpose()?;
        Ok(Self { user, host: host.to_owned(), port })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "ssh://{user}{host}{port}")
    }
}

impl Source {
    /// Fetches a recording of at most `bytes_max` bytes into `to`, an empty directory; nothing of it is checked yet.
    ///
    /// # Errors
    /// If `ssh` cannot be run, the bastion refuses, or what it sends is no archive of a recording, or a larger one.
    pub fn fetch(&self, session: &SessionId, to: &Path, bytes_max: u64) -> Result<(), CliError> {
        let (mut running, said) = self.start(&["recording", "get", session.as_str()])?;
        let unpacked = running.stdout.take().map_or(Ok(()), |stdout| unpack(stdout, to, bytes_max));
        if unpacked.is_err() {
            // It would wait for us to read on.
            let _ = running.kill();
        }
        let succeeded = ended(running, said)?;
        unpacked.map_err(|error| CliError::failed(format!("what `{self}` sent is not a recording")).because(&error))?;
        if succeeded {
            return Ok(());
        }
        Err(CliError::failed(format!("`{self}` did not hand out recording `{session}`"))
            .hint("what `ssh` said stands above")
            .hint(format!("`ssh {}{} recording list` shows what you may fetch", self.port_option(), self.login())))
    }

    /// Asks the bastion by a verb, and reads its answer of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// If `ssh` cannot be run, the bastion refuses, or its answer is longer.
    pub fn ask(&self, words: &[&str], bytes_max: u64) -> Result<Vec<u8>, CliError> {
        let (mut running, said) = self.start(words)?;
        let mut answer = Vec::new();
        let limit = bytes_max.saturating_add(1);
        let read = running.stdout.take().map_or(Ok(0), |stdout| stdout.take(limit).read_to_end(&mut answer));
        let too_long = u64::try_from(answer.len()).unwrap_or(u64::MAX) > bytes_max;
        if too_long || read.is_err() {
            // It would wait for us to read on.
            let _ = running.kill();
        }
        let succeeded = ended(running, said)?;
        if too_long {
            return Err(CliError::failed(format!("`{self}` sends more than an answer")));
        }
        read.map_err(|error| CliError::failed(format!("`{self}` did not answer")).because(&error))?;
        match succeeded {
            true => Ok(answer),
            false => Err(CliError::failed(format!("`{self}` refused `{}`", words.join(" ")))
                .hint("what `ssh` said stands above")
                .hint(format!("`ssh {}{} why` tells more", self.port_option(), self.login()))),
        }
    }

    /// Starts `ssh` with words for the bastion; what it says is shown. The other end of what comes second is gone once all
    /// of it was.
    fn start(&self, words: &[&str]) -> Result<(Child, Option<mpsc::Receiver<()>>), CliError> {
        let mut ssh = Command::new("ssh");
        ssh.args(BARE);
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            ssh.args(["-l", user.as_str()]);
        }
        ssh.args(["--", &self.host]).args(words);
        // `ssh` asks for passphrases and host keys on the terminal itself; what comes here may be the bastion's words.
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = ssh
            .spawn()
            .map_err(|error| CliError::failed("cannot run `ssh`").because(&error).hint("install OpenSSH's client"))?;
        let said = running.stderr.take().map(|stderr| {
            let (ended, said) = mpsc::channel::<()>();
            std::thread::spawn(move || {
                let _ended = ended;
                tell(stderr, |words| say_line(format!("ssh: {words}")));
            });
            said
        });
        Ok((running, said))
    }

    fn login(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }

    fn port_option(&self) -> String {
        self.port.map_or(String::new(), |port| format!("-p {port} "))
    }
}

/// Waits for the end of `ssh`, and until what it said stands above what we say of it; says whether it went well.
fn ended(mut running: Child, said: Option<mpsc::Receiver<()>>) -> Result<bool, CliError> {
    let status = running.wait().map_err(|error| CliError::failed("cannot run `ssh`").because(&error))?;
    let _ = said.map(|said| said.recv_timeout(WORDS_WAIT));
    Ok(status.success())
}

/// Hands on words that came from elsewhere, line by line and not without end; reads all of them, so that nobody waits.
fn tell(words: impl Read, mut say: impl FnMut(&str)) {
    let mut words = BufReader::new(words);
    let (mut left, mut one) = (Some(WORDS_BYTES_MAX), Vec::new());
    loop {
        one.clear();
        match words.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut one) {
            Ok(0) | Err(_) => return,
            Ok(len) => {
                let Some(before) = left else { continue };
                left = before.checked_sub(len);
                let words = String::from_utf8_lossy(&one);
                say(if left.is_some() { words.trim_end() } else { "[more than this is not shown]" });
            }
        }
    }
}

/// Unpacks an archive of plain files with plain names; whatever else is in it is refused.
fn unpack(archive: impl Read, to: &Path, bytes_max: u64) -> io::Result<()> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut archive = tar::Archive::new(archive);
    let (mut files, mut bytes) = (0_usize, 0_u64);
    // Raw: the library would read a long name or other extension whole into memory before it is asked what it is.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        files = files.saturating_add(1);
        let places = u64::try_from(entry.path_bytes().split(|byte| *byte == b'/').count()).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(entry.size()).saturating_add(places.saturating_mul(FILE_BYTES));
        if !entry.header().entry_type().is_file() {
            return Err(refused("it holds something that is not a plain file"));
        }
        if files > FILES_MAX {
            return Err(refused("it holds too many files"));
        }
        if bytes > bytes_max {
            return Err(refused(&format!(
                "it is larger than {bytes_max} bytes; give a higher --max-size if you want it"
            )));
        }
        let name = entry.path()?.into_owned();
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.components().count() > 8 {
            return Err(refused("it holds a file outside of a recording"));
        }
        let path = to.join(&name);
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::copy(&mut entry, &mut file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_host_and_never_an_option() {
        let parse = |text: &str| text.parse::<Source>().map(|source| source.to_string());
        for good in ["ssh://bastion", "ssh://eve@bastion.example.org:2222", "ssh://eve@[2001:db8::1]:22", "ssh://[::1]"]
        {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        assert_eq!(parse("ssh://bastion/").as_deref(), Ok("ssh://bastion"));
        for bad in [
            "bastion",
            "https://bastion",
            "ssh://",
            "ssh://-oProxyCommand=id",
            "ssh://eve@-oProxyCommand=id",
            "ssh://-l@bastion",
            "ssh://Eve@bastion",
            "ssh://bastion:0x16",
            "ssh://bastion:99999",
            "ssh://[::1]x",
            "ssh://[bastion]",
            "ssh://bastion/path",
            "ssh://a b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_archive_writes_plain_files_below_its_directory_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        let archive = |name: &str, kind: tar::EntryType, link: Option<&str>| {
            let mut header = tar::Header::new_gnu();
            header.set_size(if kind.is_file() { 3 } else { 0 });
            header.set_entry_type(kind);
            // As a hostile bastion would: the library itself refuses to write such names.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(link) = link {
                header.set_link_name(link).unwrap();
            }
            header.set_cksum();
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&header, if kind.is_file() { &b"abc"[..] } else { &[][..] }).unwrap();
            builder.into_inner().unwrap()
        };
        for (name, kind, link) in [
            ("../outside", tar::EntryType::Regular, None),
            ("/tmp/outside", tar::EntryType::Regular, None),
            ("rec/../../outside", tar::EntryType::Regular, None),
            ("a/b/c/d/e/f/g/h/i", tar::EntryType::Regular, None),
            ("link", tar::EntryType::Symlink, Some("/etc/passwd")),
            ("link", tar::EntryType::Link, Some("/etc/passwd")),
            ("pipe", tar::EntryType::Fifo, None),
            ("dir", tar::EntryType::Directory, None),
        ] {
            assert!(unpack(archive(name, kind, link).as_slice(), &inside, 1 << 20).is_err(), "{name}");
        }
        assert!(!outside.exists());
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
        unpack(archive("rec/1/a", tar::EntryType::Regular, None).as_slice(), &inside, 1 << 20).unwrap();
        assert_eq!(std::fs::read(inside.join("rec/1/a")).unwrap(), b"abc");
        // Nothing is overwritten, not even by the same archive.
        assert!(unpack(archive("rec/1/a", tar::EntryType::Regular, None).as_slice(), &inside, 1 << 20).is_err());
        assert!(unpack(&b"this is no archive"[..], &inside, 1 << 20).is_err());
        let whole = archive("cut", tar::EntryType::Regular, None);
        assert!(unpack(whole.get(..513).unwrap(), &inside, 1 << 20).is_err());
        let bound = unpack(archive("large", tar::EntryType::Regular, None).as_slice(), &inside, 514).unwrap_err();
        assert!(bound.to_string().contains("--max-size"), "{bound}");
    }

    /// Bytes without end, and how many were taken.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.0 += u64::try_from(buffer.len()).unwrap();
            Ok(buffer.len())
        }
    }

    #[test]
    fn an_archive_does_not_fill_the_memory_with_what_only_describes_its_files() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [b'L', b'K', b'x', b'g', b'S', b'7'].map(tar::EntryType::new) {
            let mut header = tar::Header::new_gnu();
            header.set_path("long").unwrap();
            header.set_size(8 << 30);
            header.set_entry_type(kind);
            header.set_cksum();
            let mut endless = Endless(0);
            let sent = io::Read::chain(&header.as_bytes()[..], &mut endless).take(64 << 20);
            let refused = unpack(sent, dir.path(), u64::MAX).unwrap_err();
            assert!(refused.to_string().contains("plain file"), "{kind:?}: {refused}");
            assert!(endless.0 < 1 << 20, "{kind:?}: {} bytes were read", endless.0);
        }
    }

    #[test]
    fn a_bastion_cannot_talk_without_end() {
        let mut said = Vec::new();
        tell(&b"one\r\n\x1b]52;c;aGVsbG8=\x07two"[..], |words| said.push(words.to_owned()));
        assert_eq!(said, ["one", "\x1b]52;c;aGVsbG8=\x07two"]);
        let (mut count, mut bytes) = (0, 0);
        let mut endless = Endless(0);
        tell((&mut endless).take(1 << 20), |words| {
            count += 1;
            bytes += words.len();
        });
        assert!(count == 17 && bytes <= WORDS_BYTES_MAX + 100, "{count} lines, {bytes} bytes");
        assert_eq!(endless.0, 1 << 20, "somebody would wait for us to read on");
    }

    #[test]
    fn sizes_have_a_unit_that_means_one_thing() {
        assert_eq!(parse_size("64GiB"), Ok(64 << 30));
        assert!(parse_size("64GB").is_err());
    }
}
