//! The bastion at a target's files in the place of a user's client, for what it does for them by itself.
//!
//! INVARIANT: what it asks goes the way of any client's requests: by `inspect`, which resolves paths, judges them, and puts on
//! record what becomes of each file. So nobody reaches here what `sftp` would not let them reach.
//!
//! One request is under way at a time. Of a session that stands still nothing goes to the target.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::packet::{
    Fields, Frames, KIND, Malformed, NEW, OVER, READING, UNSUPPORTED, WRITING, framed, init, put_string,
};
use super::{Conversation, Terms, inspect};
use crate::inspect::{Book, EVENTS_MAX, Inspected, Note};
use crate::model::{ChannelEvent, FilePath};
use crate::relay::Pause;
use crate::wire::channel::{Credit, Sink, Source};

/// A target that says nothing for so long is given up. Longer than a request that names a path may wait for its turn.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// So much is read or written at once: what every server takes (draft section 3).
const CHUNK_BYTES: usize = 32 * 1024;
/// The target takes nothing more after so long.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// By this an answer of the gate is known from one of the target.
const OWN_WORDS: &str = "doorward: ";

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// No rule lets the user do it.
    Denied,
    /// The target did not do it, and its status (draft section 7).
    Status(u32),
    /// The conversation is over: the target closed it, does not answer, or what it does could not be put on record.
    Lost,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its size in bytes, if the target tells.
    pub size: Option<u64>,
    /// What kind of file it is (inode(7), `S_IFMT`), if the target tells.
    kind: Option<u32>,
}

impl Found {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Some(0o040_000)
    }

    /// Whether it may be a plain file: no device, and no pipe that nobody might ever write to.
    pub fn is_plain(&self) -> bool {
        self.kind.is_none_or(|kind| kind == 0o100_000)
    }
}

/// What becomes of what is at the path that is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// Nothing is there, or it fails.
    New,
    /// It stays the same file, with other content.
    Over,
}

/// A conversation with a target's files.
pub struct Client<K> {
    requests: mpsc::Sender<ChannelEvent>,
    asked: Inspected,
    answered: Inspected,
    sink: K,
    conversation: Arc<Conversation>,
    pause: Pause,
    frames: Frames,
    last: u32,
    /// Whether the target makes files durable when asked to.
    syncs: bool,
}

/// What the gate takes as a user's.
struct Requests(mpsc::Receiver<ChannelEvent>);

/// Nobody's window.
struct NoCredit;

impl Credit for NoCredit {
    fn consumed(&self, _: usize) {}
}

impl Source for Requests {
    async fn next(&mut self) -> Option<ChannelEvent> {
        self.0.recv().await
    }

    fn credit(&self) -> impl Credit + 'static {
        NoCredit
    }
}

impl<K: Sink> Client<K> {
    /// On a channel at whose other end SFTP is spoken.
    pub fn new(target: impl Source + 'static, sink: K, terms: Terms, book: Book, pause: Pause) -> Self {
        let (requests, given) = mpsc::channel(EVENTS_MAX);
        let (asked, answered, conversation) = inspect(Requests(given), target, terms, book);
        Self { requests, asked, answered, sink, conversation, pause, frames: Frames::default(), last: 0, syncs: false }
    }

    /// The greeting. Comes before all else.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn greet(&mut self) -> Result<(), Failed> {
        let answer = self.round(init()).await?;
        let mut fields = Fields::of(&answer).map_err(lost)?;
        if fields.byte().map_err(lost)? != 2 {
            return Err(Failed::Lost);
        }
        fields.number().map_err(lost)?;
        while let (Ok(name), Ok(_)) = (fields.string(), fields.string()) {
            self.syncs |= name == b"fsync@openssh.com";
        }
        Ok(())
    }

    /// Where a path leads.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn real_path(&mut self, path: &[u8]) -> Result<Vec<u8>, Failed> {
        let answer = self.ask(16, |body| put_string(body, path)).await?;
        match answer {
            Answer::Name(name) => Ok(name),
            Answer::Status(code) => Err(Failed::Status(code)),
            Answer::Handle(_) | Answer::Data(_) | Answer::Found(_) => Err(Failed::Lost),
        }
    }

    /// What is at a path to its end.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn look(&mut self, path: &[u8]) -> Result<Found, Failed> {
        match self.ask(17, |body| put_string(body, path)).await? {
            Answer::Found(found) => Ok(found),
            Answer::Status(code) => Err(Failed::Status(code)),
            Answer::Handle(_) | Answer::Data(_) | Answer::Name(_) => Err(Failed::Lost),
        }
    }

    /// All of a file; no more than `most` bytes and one.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn read(&mut self, path: &[u8], most: usize) -> Result<Vec<u8>, Failed> {
        let handle = self.open(path, READING).await?;
        let read = self.read_all(&handle, most).await;
        let closed = if read == Err(Failed::Lost) { Ok(()) } else { self.done(4, &handle).await };
        read.and_then(|content| closed.map(|()| content))
    }

    async fn read_all(&mut self, handle: &[u8], most: usize) -> Result<Vec<u8>, Failed> {
        let mut content = Vec::new();
        loop {
            let room = most.saturating_add(1).saturating_sub(content.len()).min(CHUNK_BYTES);
            if room == 0 {
                return Ok(content);
            }
            let (offset, room) = (long(content.len()), u32::try_from(room).unwrap_or(0));
            let asked = self.ask(5, |body| {
                put_string(body, handle);
                body.put_u64(offset);
                body.put_u32(room);
            });
            match asked.await? {
                Answer::Data(data) if data.is_empty() => return Err(Failed::Lost),
                Answer::Data(data) => content.extend(data),
                // The end of the file.
                Answer::Status(1) => return Ok(content),
                Answer::Status(code) => return Err(Failed::Status(code)),
                Answer::Handle(_) | Answer::Name(_) | Answer::Found(_) => return Err(Failed::Lost),
            }
        }
    }

    /// Whether a file may be written to, as far as the rules go. What they refuse is on record as refused.
    ///
    /// # Errors
    /// `Denied`, `Lost`.
    pub async fn may_write(&mut self, path: &[u8]) -> Result<(), Failed> {
        let allowed = FilePath::parse(path).is_ok_and(|path| self.conversation.gate().lets_write(&path));
        if allowed {
            return Ok(());
        }
        // The gate says so itself, where it says so to every client.
        match self.open(path, WRITING).await {
            Ok(handle) => self.done(4, &handle).await,
            Err(Failed::Status(_)) => Ok(()),
            Err(failed @ (Failed::Denied | Failed::Lost)) => Err(failed),
        }
    }

    /// Writes a whole file: on the target's disk on return, where it tells.
    ///
    /// # Errors
    /// `Failed`: what is there now is anything between both.
    pub async fn write(&mut self, path: &[u8], make: Make, content: &[u8]) -> Result<(), Failed> {
        let flags = match make {
            Make::New => NEW,
            Make::Over => OVER,
        };
        let handle = self.open(path, flags).await?;
        let written = self.write_all(&handle, content).await;
        let closed = if written == Err(Failed::Lost) { Ok(()) } else { self.done(4, &handle).await };
        written.and(closed)
    }

    async fn write_all(&mut self, handle: &[u8], content: &[u8]) -> Result<(), Failed> {
        for (at, chunk) in content.chunks(CHUNK_BYTES).enumerate() {
            let offset = long(at.saturating_mul(CHUNK_BYTES));
            let asked = self.ask(6, |body| {
                put_string(body, handle);
                body.put_u64(offset);
                put_string(body, chunk);
            });
            asked.await?.done()?;
        }
        if !self.syncs {
            return Ok(());
        }
        let synced = self.ask(200, |body| {
            put_string(body, b"fsync@openssh.com");
            put_string(body, handle);
        });
        match synced.await?.done() {
            Err(Failed::Status(UNSUPPORTED)) => Ok(()),
            told => told,
        }
    }

    /// Puts on record what was done, beyond what the gate does.
    ///
    /// # Errors
    /// `Lost` if it could not be.
    pub async fn note(&self, note: Note) -> Result<(), Failed> {
        self.conversation.write(Some(note)).await.map_err(|_| Failed::Lost)
    }

    /// Closes the channel, and puts on record what became of files that nobody closed.
    pub async fn close(self) {
        let Self { requests, mut asked, answered, sink, conversation, .. } = self;
        // Its turn at the target ends with what it was for: broken off, others would wait for what might still be under way.
        drop(requests);
        let _ = timeout(CLOSE_MAX, async { while asked.next().await.is_some() {} }).await;
        let _ = timeout(CLOSE_MAX, sink.send(ChannelEvent::Close)).await;
        drop((asked, answered));
        conversation.finish().await;
    }

    async fn open(&mut self, path: &[u8], flags: u32) -> Result<Vec<u8>, Failed> {
        let asked = self.ask(3, |body| {
            put_string(body, path);
            body.put_u32(flags);
            // No attributes: what is made has what the target gives it.
            body.put_u32(0);
        });
        match asked.await? {
            Answer::Handle(handle) => Ok(handle),
            Answer::Status(code) => Err(Failed::Status(code)),
            Answer::Data(_) | Answer::Name(_) | Answer::Found(_) => Err(Failed::Lost),
        }
    }

    /// Asks for something of a handle that is answered by a status.
    async fn done(&mut self, kind: u8, handle: &[u8]) -> Result<(), Failed> {
        self.ask(kind, |body| put_string(body, handle)).await?.done()
    }

    async fn ask(&mut self, kind: u8, fields: impl FnOnce(&mut BytesMut)) -> Result<Answer, Failed> {
        self.last = self.last.wrapping_add(1);
        let mut body = BytesMut::new();
        body.put_u8(kind);
        body.put_u32(self.last);
        fields(&mut body);
        let answer = self.round(framed(&body)).await?;
        Answer::read(&answer, self.last)
    }

    /// Has a packet go out, and takes the one that comes back.
    async fn round(&mut self, packet: Bytes) -> Result<Bytes, Failed> {
        self.requests.send(ChannelEvent::Data(packet)).await.map_err(|_| Failed::Lost)?;
        loop {
            if let Some(answer) = self.frames.next().map_err(lost)? {
                return Ok(answer);
            }
            let moved = tokio::select! {
                event = self.asked.next() => Moved::Out(event),
                event = self.answered.next() => Moved::In(event),
                () = tokio::time::sleep(SILENCE_MAX) => return Err(Failed::Lost),
            };
            match moved {
                Moved::Out(Some(ChannelEvent::Data(bytes))) => {
                    let count = bytes.len();
                    self.pause.over().await;
                    let sent = timeout(SILENCE_MAX, self.sink.send(ChannelEvent::Data(bytes))).await;
                    sent.map_err(|_| Failed::Lost)?.map_err(|_| Failed::Lost)?;
                    self.asked.credit().consumed(count);
                }
                Moved::In(Some(ChannelEvent::Data(bytes))) => {
                    self.answered.credit().consumed(bytes.len());
                    self.frames.push(&bytes);
                }
                // What a server says beside is for its own log.
                Moved::In(Some(ChannelEvent::Stderr(bytes))) => self.answered.credit().consumed(bytes.len()),
                Moved::Out(_) | Moved::In(_) => return Err(Failed::Lost),
            }
        }
    }
}

enum Moved {
    Out(Option<ChannelEvent>),
    In(Option<ChannelEvent>),
}

/// What comes back.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Status(u32),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Name(Vec<u8>),
    Found(Found),
}

impl Answer {
    fn read(packet: &[u8], id: u32) -> Result<Self, Failed> {
        let read = || {
            let mut fields = Fields::of(packet)?;
            let (kind, own) = (fields.byte()?, fields.number()? == id);
            Ok(match kind {
                _ if !own => None,
                101 => {
                    let code = fields.number()?;
                    let text = String::from_utf8_lossy(fields.string().unwrap_or_default()).into_owned();
                    return Ok(Some((Self::Status(code), text)));
                }
                102 => Some(Self::Handle(fields.string()?.to_vec())),
                103 => Some(Self::Data(fields.string()?.to_vec())),
                104 if fields.number()? == 1 => Some(Self::Name(fields.string()?.to_vec())),
                105 => Some(Self::Found(found(&mut fields)?)),
                _ => None,
            }
            .map(|answer| (answer, String::new())))
        };
        match read().map_err(lost)? {
            // A target that uses the gate's words has refused it all the same.
            Some((Self::Status(_), text)) if text.starts_with(OWN_WORDS) => Err(Failed::Denied),
            Some((answer, _)) => Ok(answer),
            None => Err(Failed::Lost),
        }
    }

    fn done(self) -> Result<(), Failed> {
        match self {
            Self::Status(0) => Ok(()),
            Self::Status(code) => Err(Failed::Status(code)),
            Self::Handle(_) | Self::Data(_) | Self::Name(_) | Self::Found(_) => Err(Failed::Lost),
        }
    }
}

/// Attributes (draft section 5), as far as they are needed.
fn found(fields: &mut Fields<'_>) -> Result<Found, Malformed> {
    let flags = fields.number()?;
    let size = if flags & 1 != 0 { Some(fields.long()?) } else { None };
    if flags & 2 != 0 {
        fields.long()?;
    }
    let mode = if flags & 4 != 0 { Some(fields.number()?) } else { None };
    Ok(Found { size, kind: mode.map(|mode| mode & KIND).filter(|kind| *kind != 0) })
}

fn lost(_: Malformed) -> Failed {
    Failed::Lost
}

fn long(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::packet::{DENIED, status};
    use super::*;

    fn attributes(fields: &[u8]) -> Vec<u8> {
        framed(&[&[105, 0, 0, 0, 7][..], fields].concat()).to_vec()
    }

    #[test]
    fn what_the_gate_refuses_is_told_from_what_the_target_does() {
        assert_eq!(Answer::read(&status(7, DENIED, "doorward: no"), 7), Err(Failed::Denied));
        assert_eq!(Answer::read(&status(7, DENIED, "no"), 7), Ok(Answer::Status(DENIED)));
        assert_eq!(Answer::read(&status(8, 0, ""), 7), Err(Failed::Lost), "an answer to something else");
        assert_eq!(Answer::read(b"\0\0\0\x01\x65", 7), Err(Failed::Lost));
    }

    #[test]
    fn a_file_is_what_the_target_says_it_is() {
        let found = |bytes: &[u8]| match Answer::read(&attributes(bytes), 7) {
            Ok(Answer::Found(found)) => found,
            other => panic!("{other:?}"),
        };
        let whole = [&[0, 0, 0, 7][..], &[0; 7], &[9], &[0; 8], &[0, 0, 0o100 << 1, 0]].concat();
        let file = found(&whole);
        assert_eq!((file.size, file.is_plain(), file.is_directory()), (Some(9), true, false));
        assert!(found(&[0, 0, 0, 4, 0, 0, 0x41, 0xed]).is_directory());
        // A pipe, to which nobody may ever write.
        assert!(!found(&[0, 0, 0, 4, 0, 0, 0x10, 0]).is_plain());
        assert!(found(&[0, 0, 0, 0]).is_plain(), "a target that does not tell");
    }
}
