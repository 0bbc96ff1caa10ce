//! Fetching a sealed recording from a bastion, with the auditor's own `ssh`: its keys, agent, known hosts and
//! configuration are theirs to set up, and Doorward does not do it again.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};
use std::process::{Command, Stdio};
use std::str::FromStr;

use super::CliError;
use crate::model::{SessionId, UserName};

/// An archive with more files is not a recording.
const FILES_MAX: usize = 2_000_000;
/// An archive with more bytes is not taken: a hostile bastion must not fill the auditor's disk.
const BYTES_MAX: u64 = 256 << 30;

/// Where a recording is fetched from: `ssh://[USER@]HOST[:PORT]`.
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
    /// Fetches a recording into `to`, an empty directory; nothing of it is checked yet.
    ///
    /// # Errors
    /// If `ssh` cannot be run, the bastion refuses, or what it sends is no archive of a recording.
    pub fn fetch(&self, session: &SessionId, to: &Path) -> Result<(), CliError> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-T");
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            ssh.args(["-l", user.as_str()]);
        }
        ssh.args(["--", &self.host, "recording", "get", &session.to_string()]);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = ssh
            .spawn()
            .map_err(|error| CliError::failed("cannot run `ssh`").because(&error).hint("install OpenSSH's client"))?;
        let unpacked = running.stdout.take().map_or(Ok(()), |stdout| unpack(stdout, to));
        if unpacked.is_err() {
            // It would wait for us to read on.
            let _ = running.kill();
        }
        let status = running.wait().map_err(|error| CliError::failed("cannot run `ssh`").because(&error))?;
        unpacked.map_err(|error| CliError::failed(format!("what `{self}` sent is not a recording")).because(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(CliError::failed(format!("`{self}` did not hand out recording `{session}`"))
            .hint("what `ssh` said stands above")
            .hint(format!("`ssh {}{} recording list` shows what you may fetch", self.port_option(), self.login())))
    }

    fn login(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }

    fn port_option(&self) -> String {
        self.port.map_or(String::new(), |port| format!("-p {port} "))
    }
}

/// Unpacks an archive of plain files with plain names; whatever else is in it is refused.
fn unpack(archive: impl Read, to: &Path) -> io::Result<()> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut archive = tar::Archive::new(archive);
    let (mut files, mut bytes) = (0_usize, 0_u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        files = files.saturating_add(1);
        bytes = bytes.saturating_add(entry.size());
        if files > FILES_MAX || bytes > BYTES_MAX {
            return Err(refused("it is too large"));
        }
        if !entry.header().entry_type().is_file() {
            return Err(refused("it holds something that is not a plain file"));
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
            assert!(unpack(archive(name, kind, link).as_slice(), &inside).is_err(), "{name}");
        }
        assert!(!outside.exists());
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
        unpack(archive("rec/1/a", tar::EntryType::Regular, None).as_slice(), &inside).unwrap();
        assert_eq!(std::fs::read(inside.join("rec/1/a")).unwrap(), b"abc");
        // Nothing is overwritten, not even by the same archive.
        assert!(unpack(archive("rec/1/a", tar::EntryType::Regular, None).as_slice(), &inside).is_err());
        assert!(unpack(&b"this is no archive"[..], &inside).is_err());
        let whole = archive("cut", tar::EntryType::Regular, None);
        assert!(unpack(whole.get(..513).unwrap(), &inside).is_err());
    }
}
