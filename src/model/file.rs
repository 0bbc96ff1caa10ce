//! What may be done with a file on a target, and which file.

use std::fmt;

use super::{ChannelClass, InvalidName};

/// What SFTP does with a path, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileAction {
    /// What is in a file is read.
    Read,
    /// A directory is listed, or where a link leads is told.
    List,
    /// A file is made or written to, or a directory is made.
    Write,
    /// A file, a link or an empty directory is removed, or another takes its name.
    Delete,
    /// A name is given up for another one, or gets a second one.
    Rename,
    /// Mode, owner, times or size are set.
    Setstat,
    /// A link is made, or one leads there.
    Symlink,
}

impl FileAction {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::List, Self::Write, Self::Delete, Self::Rename, Self::Setstat, Self::Symlink];

    /// The channels in which it may be done.
    pub fn classes(self) -> &'static [ChannelClass] {
        match self {
            Self::Read => &[ChannelClass::SftpRead],
            Self::List => &[ChannelClass::SftpRead, ChannelClass::SftpWrite],
            Self::Write | Self::Delete | Self::Rename | Self::Setstat | Self::Symlink => &[ChannelClass::SftpWrite],
        }
    }

    /// Its name in rules.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Setstat => "setstat",
            Self::Symlink => "symlink",
        }
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The path of a file in its one form: absolute, without empty parts, `.` and `..`; any bytes but NUL, 4096 at most.
///
/// That no part of it is a link is for whoever makes one to see to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Vec<u8>);

/// The longest path (Linux's `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

impl FilePath {
    /// Takes a path that is in that form.
    ///
    /// # Errors
    /// `InvalidName` says what a path must be.
    pub fn parse(path: &[u8]) -> Result<Self, InvalidName> {
        let invalid = |why| Err(InvalidName { kind: "file path", why });
        let Some(rest) = path.strip_prefix(b"/") else { return invalid("a file's path begins with `/`") };
        if path.len() > PATH_BYTES_MAX || path.contains(&0) {
            return invalid("a file's path has at most 4096 bytes, and none is NUL");
        }
        if !rest.is_empty() && rest.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return invalid("a file's path has no empty part, no `.` and no `..`");
        }
        Ok(Self(path.to_vec()))
    }

    /// One below this one.
    ///
    /// # Errors
    /// `InvalidName` if `name` is no single part, or the whole is too long.
    pub fn join(&self, name: &[u8]) -> Result<Self, InvalidName> {
        if name.contains(&b'/') {
            return Err(InvalidName { kind: "file name", why: "a file's name has no `/`" });
        }
        let parent = self.0.strip_suffix(b"/").unwrap_or(&self.0);
        Self::parse(&[parent, b"/", name].concat())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What stands between its slashes; nothing for `/`.
    pub fn parts(&self) -> Vec<&[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in String::from_utf8_lossy(&self.0).chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// How much of what is at a path is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// What is there.
    Itself,
    /// It, and everything that may be below it.
    Whole,
    /// It, or anything that may be below it.
    Part,
}

/// What is asked of a rule about a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileAsked {
    /// What is done.
    pub action: FileAction,
    /// Where.
    pub path: FilePath,
    /// To how much of it.
    pub extent: Extent,
}

impl fmt::Display for FileAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = match self.extent {
            Extent::Itself => "",
            Extent::Whole => " and all below",
            Extent::Part => " or something below",
        };
        write!(f, "{} {}{extent}", self.action, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_has_one_form() {
        for good in [&b"/"[..], b"/a", b"/a/b c", b"/\xff/\xc3\xbc", b"/..."] {
            assert_eq!(FilePath::parse(good).unwrap().as_bytes(), good);
        }
        let long = [b"/".as_slice(), &[b'a'; 4096]].concat();
        for bad in [&b""[..], b"a", b"//", b"/a/", b"/a//b", b"/.", b"/a/..", b"/a/./b", b"/a\0b", b"~", &long] {
            assert!(FilePath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_joined_to_its_folder_and_leads_nowhere_else() {
        let join = |folder: &[u8], name: &[u8]| FilePath::parse(folder).unwrap().join(name);
        assert_eq!(join(b"/", b"a").unwrap().as_bytes(), b"/a");
        assert_eq!(join(b"/a", b"b").unwrap().as_bytes(), b"/a/b");
        for bad in [&b""[..], b".", b"..", b"a/b", b"/"] {
            assert!(join(b"/a", bad).is_err(), "{bad:?}");
        }
    }
}
