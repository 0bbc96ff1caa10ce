//! SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02, and the extensions in OpenSSH's PROTOCOL). Pure.
//!
//! A packet is understood to its last byte or not at all, so that the target cannot understand it differently.

use bytes::{BufMut, Bytes, BytesMut};

use crate::store::sha256_hex;

/// The version that is spoken (draft section 4).
pub const VERSION: u32 = 3;
/// The longest packet, without its length: OpenSSH's own bound.
pub const PACKET_BYTES_MAX: usize = 256 * 1024;
/// The longest path (Linux's `PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;
/// The longest handle (draft section 6.2).
const HANDLE_BYTES_MAX: usize = 256;

/// Why a packet is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Cuts a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: BytesMut,
}

impl Frames {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole packet, with its length in front.
    ///
    /// # Errors
    /// If its length cannot be.
    pub fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(length) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > PACKET_BYTES_MAX {
            return Err(Malformed("a packet's length is out of bounds"));
        }
        let whole = length.saturating_add(4);
        Ok((self.bytes.len() >= whole).then(|| self.bytes.split_to(whole).freeze()))
    }
}

/// What a user asks for; paths and handles as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'p> {
    /// Opens a file, for what these flags say (draft section 6.3); `set` says which attributes it gets if it is made.
    Open { path: &'p [u8], flags: u32, set: Set },
    /// Closes a file or a directory.
    Close { handle: &'p [u8] },
    /// Reads from a file.
    Read { handle: &'p [u8], offset: u64 },
    /// Writes to a file.
    Write { handle: &'p [u8], offset: u64, data: &'p [u8] },
    /// Begins a listing.
    OpenDir { path: &'p [u8] },
    /// Asks something about a path, and changes nothing.
    Look { what: Look, path: &'p [u8] },
    /// Asks something about a handle, or makes a file durable.
    LookAt { handle: &'p [u8] },
    /// Changes a path, or one and another; `set` says which attributes it gets.
    Change { what: Change, path: &'p [u8], to: Option<&'p [u8]>, set: Set },
    /// Changes the attributes of an open file.
    ChangeAt { handle: &'p [u8], set: Set },
    /// Copies on the target, from one open file to another.
    Copy { from: &'p [u8], to: &'p [u8] },
    /// Asks for the target's limits.
    Limits,
    /// What is not carried.
    Unknown { name: String },
}

/// What is asked about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Its attributes.
    Stat,
    /// The same; of a link, its own.
    LStat,
    /// The file system that it is on.
    StatVfs,
    /// Where it leads.
    RealPath,
    /// The same, `~` and `~user` understood.
    ExpandPath,
    /// What stands in a link.
    ReadLink,
}

impl Look {
    /// Its name on record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::LStat => "lstat",
            Self::StatVfs => "statvfs",
            Self::RealPath | Self::ExpandPath => "realpath",
            Self::ReadLink => "readlink",
        }
    }
}

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its attributes are set.
    SetStat,
    /// The same; of a link, its own.
    LSetStat,
    /// A file or a link is removed.
    Remove,
    /// An empty directory is removed.
    RemoveDir,
    /// A directory is made.
    MakeDir,
    /// It gets another name, which may be taken from what had it.
    Rename,
    /// It gets a second name.
    HardLink,
    /// A link is made.
    SymLink,
}

impl Change {
    /// Its name on record.
    pub fn word(self) -> &'static str {
        match self {
            Self::SetStat | Self::LSetStat => "setstat",
            Self::Remove => "remove",
            Self::RemoveDir => "rmdir",
            Self::MakeDir => "mkdir",
            Self::Rename => "rename",
            Self::HardLink => "hardlink",
            Self::SymLink => "symlink",
        }
    }
}

/// Attributes that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// In words.
    pub text: String,
    /// Whether the size is among them: what is in the file changes.
    pub resizes: bool,
    /// Whether there is more among them than what every new file has: none of its bytes, and who may read, write and run it.
    /// Setuid, setgid, the sticky bit and an owner are more; times, which every writer sets, are not.
    pub special: bool,
}

/// Whether an open with these flags can read: sftp-server opens for reading whatever is not for writing alone.
pub fn reads(flags: u32) -> bool {
    flags & 1 != 0 || flags & 2 == 0
}

/// Whether an open with these flags changes anything, or lets it be changed: all flags but reading.
pub fn changes(flags: u32) -> bool {
    flags & !1 != 0
}

/// Whether an open with these flags may make the file.
pub fn makes(flags: u32) -> bool {
    flags & 8 != 0
}

/// Whether what an open with these flags gives can be written to.
pub fn writes(flags: u32) -> bool {
    flags & 2 != 0
}

/// To read a file.
pub const READING: u32 = 1;
/// To write to a file that is there.
pub const WRITING: u32 = 2;
/// To write to it, and to nothing of what was there.
pub const OVER: u32 = WRITING | 16;
/// To make it, if nothing is there.
pub const NEW: u32 = WRITING | 8 | 32;
/// The target appends, whatever the offset.
pub const APPEND: u32 = 4;
/// What was there is gone: the file is cut, or it must be new.
pub const AFRESH: u32 = 16 | 32;

/// What an open with these flags is for.
pub fn purpose(flags: u32) -> String {
    let mut words = vec![match (reads(flags), writes(flags)) {
        (true, true) => "to read and write",
        (false, true) => "to write",
        (_, false) => "to read",
    }];
    let more = [(APPEND, "appending"), (8, "making it"), (16, "cutting it"), (32, "only if it is new")];
    words.extend(more.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| word));
    words.join(", ")
}

/// A user's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromUser<'p> {
    /// The first.
    Init { version: u32 },
    /// Every other.
    Request { id: u32, request: Request<'p> },
}

/// A target's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTarget<'p> {
    /// The first: its version, and its extensions by name and data.
    Version { version: u32, extensions: Vec<(&'p [u8], &'p [u8])> },
    /// How a request ended (draft section 7): 0 is well, 1 the end of a file.
    Status { id: u32, code: u32 },
    /// A new handle.
    Handle { id: u32, handle: &'p [u8] },
    /// What was read.
    Data { id: u32, data: &'p [u8] },
    /// Names, attributes, or the answer to an extension.
    Other { id: u32 },
}

/// Extensions that are carried, with what they ask.
const EXTENSIONS: [&[u8]; 9] = [
    b"posix-rename@openssh.com",
    b"statvfs@openssh.com",
    b"fstatvfs@openssh.com",
    b"hardlink@openssh.com",
    b"fsync@openssh.com",
    b"lsetstat@openssh.com",
    b"limits@openssh.com",
    b"expand-path@openssh.com",
    b"copy-data",
];

/// Whether a target's extension is carried.
pub fn is_carried(extension: &[u8]) -> bool {
    EXTENSIONS.contains(&extension)
}

/// Reads a user's packet, its length in front.
///
/// # Errors
/// `Malformed`.
pub fn from_user(packet: &[u8]) -> Result<FromUser<'_>, Malformed> {
    let mut rest = Fields::of(packet)?;
    let kind = rest.byte()?;
    if kind == 1 {
        // What follows in it are extensions of the user's, of which there are none (OpenSSH's PROTOCOL).
        return Ok(FromUser::Init { version: rest.number()? });
    }
    let id = rest.number()?;
    let request = match kind {
        3 => {
            let (path, flags) = (rest.path()?, rest.number()?);
            Request::Open { path, flags, set: rest.attributes()? }
        }
        4 => Request::Close { handle: rest.handle()? },
        5 => {
            let (handle, offset) = (rest.handle()?, rest.long()?);
            rest.number()?;
            Request::Read { handle, offset }
        }
        6 => Request::Write { handle: rest.handle()?, offset: rest.long()?, data: rest.string()? },
        7 => Request::Look { what: Look::LStat, path: rest.path()? },
        8 | 12 => Request::LookAt { handle: rest.handle()? },
        9 => {
            let path = rest.path()?;
            Request::Change { what: Change::SetStat, path, to: None, set: rest.attributes()? }
        }
        10 => {
            let handle = rest.handle()?;
            Request::ChangeAt { handle, set: rest.attributes()? }
        }
        11 => Request::OpenDir { path: rest.path()? },
        13 => rest.removal(Change::Remove)?,
        14 => {
            let path = rest.path()?;
            Request::Change { what: Change::MakeDir, path, to: None, set: rest.attributes()? }
        }
        15 => rest.removal(Change::RemoveDir)?,
        16 => Request::Look { what: Look::RealPath, path: rest.path()? },
        17 => Request::Look { what: Look::Stat, path: rest.path()? },
        18 => rest.change(Change::Rename)?,
        19 => Request::Look { what: Look::ReadLink, path: rest.path()? },
        // OpenSSH has the target of the link first, other than the draft says (its PROTOCOL, section 4.1).
        20 => {
            let (to, path) = (rest.path()?, rest.path()?);
            Request::Change { what: Change::SymLink, path, to: Some(to), set: Set::default() }
        }
        200 => return extended(id, rest),
        _ => return Ok(FromUser::Request { id, request: Request::Unknown { name: format!("request {kind}") } }),
    };
    rest.end()?;
    Ok(FromUser::Request { id, request })
}

fn extended(id: u32, mut rest: Fields<'_>) -> Result<FromUser<'_>, Malformed> {
    let name = rest.string()?;
    let request = match name {
        b"posix-rename@openssh.com" => rest.change(Change::Rename)?,
        b"hardlink@openssh.com" => rest.change(Change::HardLink)?,
        b"statvfs@openssh.com" => Request::Look { what: Look::StatVfs, path: rest.path()? },
        b"expand-path@openssh.com" => Request::Look { what: Look::ExpandPath, path: rest.path()? },
        b"fstatvfs@openssh.com" | b"fsync@openssh.com" => Request::LookAt { handle: rest.handle()? },
        b"lsetstat@openssh.com" => {
            let path = rest.path()?;
            Request::Change { what: Change::LSetStat, path, to: None, set: rest.attributes()? }
        }
        b"limits@openssh.com" => Request::Limits,
        b"copy-data" => {
            let from = rest.handle()?;
            rest.long()?;
            rest.long()?;
            let to = rest.handle()?;
            rest.long()?;
            Request::Copy { from, to }
        }
        _ => {
            let name = format!("the extension {}", shown(name.get(..64).unwrap_or(name)));
            return Ok(FromUser::Request { id, request: Request::Unknown { name } });
        }
    };
    rest.end()?;
    Ok(FromUser::Request { id, request })
}

/// Reads a target's packet, its length in front.
///
/// # Errors
/// `Malformed`.
pub fn from_target(packet: &[u8]) -> Result<FromTarget<'_>, Malformed> {
    let mut rest = Fields::of(packet)?;
    let kind = rest.byte()?;
    let number = rest.number()?;
    match kind {
        2 => {
            let mut extensions = Vec::new();
            while !rest.0.is_empty() {
                extensions.push((rest.string()?, rest.string()?));
            }
            Ok(FromTarget::Version { version: number, extensions })
        }
        101 => Ok(FromTarget::Status { id: number, code: rest.number()? }),
        102 => Ok(FromTarget::Handle { id: number, handle: rest.handle()? }),
        103 => Ok(FromTarget::Data { id: number, data: rest.string()? }),
        104 | 105 | 201 => Ok(FromTarget::Other { id: number }),
        _ => Err(Malformed("an answer of an unknown type")),
    }
}

/// A request with other paths in the place of its own, in the order in which they stand in it; every other byte as it came.
///
/// # Errors
/// `Malformed` if it has not so many paths.
pub fn with_paths(packet: &[u8], paths: &[&[u8]]) -> Result<Bytes, Malformed> {
    let mut rest = Fields::of(packet)?;
    let mut body = BytesMut::new();
    let kind = rest.byte()?;
    body.put_u8(kind);
    body.put_u32(rest.number()?);
    if kind == 200 {
        put_string(&mut body, rest.string()?);
    }
    for path in paths {
        rest.string()?;
        put_string(&mut body, path);
    }
    body.put_slice(rest.0);
    Ok(framed(&body))
}

/// What the bastion asks the target by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnAsked<'p> {
    /// Where a path leads.
    RealPath(&'p [u8]),
    /// The same, `~` and `~user` understood.
    ExpandPath(&'p [u8]),
    /// What is at a path; of a link, the link.
    LStat(&'p [u8]),
}

/// A request of the bastion's own.
pub fn own(id: u32, asked: OwnAsked<'_>) -> Bytes {
    let mut body = BytesMut::new();
    let (kind, path) = match asked {
        OwnAsked::RealPath(path) => (16, path),
        OwnAsked::ExpandPath(path) => (200, path),
        OwnAsked::LStat(path) => (7, path),
    };
    body.put_u8(kind);
    body.put_u32(id);
    if kind == 200 {
        put_string(&mut body, b"expand-path@openssh.com");
    }
    put_string(&mut body, path);
    framed(&body)
}

/// What the target answers to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnAnswer {
    /// A path.
    Path(Vec<u8>),
    /// What kind of file it is (stat(2), `st_mode`), if the target tells.
    Kind(Option<FileKind>),
    /// It could not, with a status (draft section 7).
    Failed(u32),
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A link.
    Link,
    /// Something else.
    Other,
}

/// Reads an answer to a request of the bastion's own, its length in front.
///
/// # Errors
/// `Malformed`, also if it answers something else.
pub fn own_answer(packet: &[u8]) -> Result<OwnAnswer, Malformed> {
    let mut rest = Fields::of(packet)?;
    let kind = rest.byte()?;
    rest.number()?;
    match kind {
        101 => Ok(OwnAnswer::Failed(rest.number()?)),
        104 => match rest.number()? {
            1 => Ok(OwnAnswer::Path(rest.string()?.to_vec())),
            _ => Err(Malformed("one path too many, or none")),
        },
        105 => {
            let flags = rest.number()?;
            if flags & 1 != 0 {
                rest.long()?;
            }
            if flags & 2 != 0 {
                rest.long()?;
            }
            if flags & 4 == 0 {
                return Ok(OwnAnswer::Kind(None));
            }
            Ok(OwnAnswer::Kind(match rest.number()? & KIND {
                // Some targets tell the permissions and no more.
                0 => None,
                0o040_000 => Some(FileKind::Directory),
                0o120_000 => Some(FileKind::Link),
                _ => Some(FileKind::Other),
            }))
        }
        _ => Err(Malformed("an answer of the wrong type")),
    }
}

/// The user's first packet, as it goes to the target.
pub fn init() -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(1);
    body.put_u32(VERSION);
    framed(&body)
}

/// The target's first packet, with the extensions that are carried.
pub fn version(extensions: &[(&[u8], &[u8])]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(2);
    body.put_u32(VERSION);
    for (name, data) in extensions.iter().filter(|(name, _)| is_carried(name)) {
        put_string(&mut body, name);
        put_string(&mut body, data);
    }
    framed(&body)
}

/// A refusal (draft section 7): `SSH_FX_PERMISSION_DENIED`.
pub const DENIED: u32 = 3;
/// `SSH_FX_NO_SUCH_FILE`.
pub const NO_SUCH_FILE: u32 = 2;
/// `SSH_FX_FAILURE`.
pub const FAILED: u32 = 4;
/// `SSH_FX_OP_UNSUPPORTED`.
pub const UNSUPPORTED: u32 = 8;

/// An answer of the bastion's own.
pub fn status(id: u32, code: u32, text: &str) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(101);
    body.put_u32(id);
    body.put_u32(code);
    put_string(&mut body, text.as_bytes());
    put_string(&mut body, b"en");
    framed(&body)
}

pub(super) fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(0));
    out.put_slice(text);
}

pub(super) fn framed(body: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(body.len().saturating_add(4));
    put_string(&mut packet, body);
    packet.freeze()
}

/// A longer path is cut in the middle, for the log keeps no more.
const SHOWN_CHARS_MAX: usize = 4000;

/// A path or a name as it can be shown: no byte of it moves a cursor, ends a line or turns the direction of writing, and no
/// two are shown alike.
pub fn shown(path: &[u8]) -> String {
    let mut shown = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || turns || c == '\\' { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    let count = shown.chars().count();
    if count <= SHOWN_CHARS_MAX {
        return shown;
    }
    let part = SHOWN_CHARS_MAX / 2 - 100;
    let first: String = shown.chars().take(part).collect();
    let last: String = shown.chars().skip(count.saturating_sub(part)).collect();
    format!("{first} [... of the path with SHA-256 {} ...] {last}", sha256_hex(path))
}

/// What is left of a packet.
pub(super) struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    pub(super) fn of(packet: &'p [u8]) -> Result<Self, Malformed> {
        packet.get(4..).map(Self).ok_or(SHORT)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'p [u8], Malformed> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let (string, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(string)
    }

    fn path(&mut self) -> Result<&'p [u8], Malformed> {
        let path = self.string()?;
        // A C string ends at the first NUL: the target would take another path than the one that is judged.
        if path.len() > PATH_BYTES_MAX || path.contains(&0) {
            return Err(Malformed("a path is too long, or has a NUL byte"));
        }
        Ok(path)
    }

    fn removal(&mut self, what: Change) -> Result<Request<'p>, Malformed> {
        Ok(Request::Change { what, path: self.path()?, to: None, set: Set::default() })
    }

    /// A change of one path to another.
    fn change(&mut self, what: Change) -> Result<Request<'p>, Malformed> {
        Ok(Request::Change { what, path: self.path()?, to: Some(self.path()?), set: Set::default() })
    }

    fn handle(&mut self) -> Result<&'p [u8], Malformed> {
        let handle = self.string()?;
        if handle.len() > HANDLE_BYTES_MAX { Err(Malformed("a handle is too long")) } else { Ok(handle) }
    }

    /// Attributes (draft section 5), in words.
    fn attributes(&mut self) -> Result<Set, Malformed> {
        let flags = self.number()?;
        if flags & !(1 | 2 | 4 | 8 | EXTENDED) != 0 {
            return Err(Malformed("attributes of an unknown kind"));
        }
        let mut set = Vec::new();
        let mut special = flags & !(1 | 4 | 8) != 0;
        if flags & 1 != 0 {
            let size = self.long()?;
            special |= size != 0;
            set.push(format!("size={size}"));
        }
        if flags & 2 != 0 {
            set.push(format!("owner={}:{}", self.number()?, self.number()?));
        }
        if flags & 4 != 0 {
            let mode = self.number()?;
            // Some clients tell here, too, what kind of file it is.
            special |= mode & !(KIND | 0o777) != 0;
            set.push(format!("mode={mode:o}"));
        }
        if flags & 8 != 0 {
            set.push(format!("times={}:{}", self.number()?, self.number()?));
        }
        if flags & EXTENDED != 0 {
            let count = self.number()?;
            for _ in 0..count {
                self.string()?;
                self.string()?;
            }
            set.push(format!("{count} more"));
        }
        Ok(Set { text: set.join(" "), resizes: flags & 1 != 0, special })
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("more bytes than the packet has fields")) }
    }
}

/// What of a mode says what kind of file it is (inode(7), `S_IFMT`).
pub(super) const KIND: u32 = 0o170_000;
const SHORT: Malformed = Malformed("a packet ends within a field");
/// Attributes that have names (draft section 5).
const EXTENDED: u32 = 0x8000_0000;
