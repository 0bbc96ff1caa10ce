//! The process that carries one desktop: started with the user's socket, spoken to in frames, gone when it is over.
//!
//! It parses what strangers send, so nothing that it says is trusted: a frame that is too long, of no kind or of the wrong
//! kind ends it, and with it this one session. It holds both sockets; when it is killed they are closed.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use super::opening::words;
use crate::desktop::frames;
use crate::rdp::control::{FromProcess, ToProcess};
use crate::rdp::frame::{Fault, HEAD_BYTES, Head};

/// Frames that were read and not answered yet: each may hold a record of some megabytes.
const READ_MAX: usize = 2;
/// Frames that the process has not taken yet. One that takes none is killed.
const UNSENT_MAX: usize = 64;
/// A process whose sockets are closed has so long to go.
const GONE_AFTER: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// Why a process is not spoken to any more.
#[derive(Debug)]
pub enum Broken {
    /// It is gone without having said that it ends.
    Gone,
    /// It has said something that is none of what it may say.
    Frame(Fault),
    /// It has said something that it may not say now.
    Unexpected(&'static str),
    /// It does not take what it is told.
    Deaf,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the desktop's process is gone"),
            Self::Frame(fault) => write!(f, "the desktop's process said what nobody may say: {fault}"),
            Self::Unexpected(what) => write!(f, "the desktop's process said {what} when it may not"),
            Self::Deaf => f.write_str("the desktop's process does not take what it is told"),
        }
    }
}

impl std::error::Error for Broken {}

/// What a process is told, and a socket that it gets with it.
#[derive(Debug)]
pub struct Told {
    what: ToProcess,
    socket: Option<OwnedFd>,
}

impl From<ToProcess> for Told {
    fn from(what: ToProcess) -> Self {
        Self { what, socket: None }
    }
}

/// A process as it was started: it, the way to it, and what it has for the log.
type Started = (Child, StdUnixStream, Option<ChildStderr>);

#[derive(Debug)]
struct Job {
    client: TcpStream,
    started: oneshot::Sender<io::Result<Started>>,
}

/// Starts processes, all from one thread that lasts as long as this: the kernel ends such a process when the thread that
/// started it is gone (`PR_SET_PDEATHSIG`, prctl(2)).
#[derive(Debug)]
pub struct Starter(mpsc::Sender<Job>);

/// Connections that wait for their process.
const JOBS_MAX: usize = 64;

impl Starter {
    /// Will start this program.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn new(program: PathBuf) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(JOBS_MAX);
        std::thread::Builder::new().name("desktops".to_owned()).spawn(move || {
            while let Some(Job { client, started }) = waiting.blocking_recv() {
                // Who asked may have gone: what was started goes, too.
                if let Err(Ok((child, ..))) = started.send(start(&program, client)) {
                    kill(child);
                }
            }
        })?;
        Ok(Self(jobs))
    }

    /// Starts a process for a person's socket.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn start(&self, client: TcpStream) -> io::Result<Process> {
        let (started, starting) = oneshot::channel();
        let gone = || io::Error::other("nothing starts processes any more");
        self.0.send(Job { client, started }).await.map_err(|_| gone())?;
        Process::of(starting.await.map_err(|_| gone())??)
    }
}

/// Starts `program desktop`, with the person's socket as its input and the way to us as its output.
fn start(program: &Path, client: TcpStream) -> io::Result<Started> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut child = Command::new(program)
        .arg("desktop")
        // Nothing of ours is in its surroundings.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(client)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        // Not our own: it would write lines into the log that look like ours.
        .stderr(Stdio::piped())
        .spawn()?;
    let log = child.stderr.take();
    Ok((child, ours, log))
}

/// A process that carries a desktop. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    said: mpsc::Receiver<Result<FromProcess, Broken>>,
    told: mpsc::Sender<Told>,
    _tasks: JoinSet<()>,
}

impl Process {
    fn of((child, ours, log): Started) -> io::Result<Self> {
        if let Some(log) = log {
            tokio::spawn(note(pipe::Receiver::from_owned_fd(OwnedFd::from(log))?, child.id()));
        }
        Ok(Self::over(Some(child), UnixStream::from_std(ours)?))
    }

    fn over(child: Option<Child>, ours: UnixStream) -> Self {
        let (reader, writer) = ours.into_split();
        let ((heard, said), (told, telling)) = (mpsc::channel(READ_MAX), mpsc::channel(UNSENT_MAX));
        let mut tasks = JoinSet::new();
        tasks.spawn(read(reader, heard));
        tasks.spawn(write(writer, telling));
        Self { child, said, told, _tasks: tasks }
    }

    /// One that is played by a test.
    #[cfg(test)]
    pub(super) fn played() -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self::over(None, ours), theirs)
    }

    /// What it says next. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// `Gone` or `Frame`.
    pub async fn next(&mut self) -> Result<FromProcess, Broken> {
        self.said.recv().await.unwrap_or(Err(Broken::Gone))
    }

    /// Tells it something, without waiting for it.
    ///
    /// # Errors
    /// `Deaf` if it has not taken what it was told before, `Gone` if it is gone.
    pub fn tell(&self, what: ToProcess) -> Result<(), Broken> {
        self.queue(what.into())
    }

    /// Tells it something, and hands it a socket with that. Ours is closed.
    ///
    /// # Errors
    /// As `tell`.
    pub fn hand(&self, what: ToProcess, socket: OwnedFd) -> Result<(), Broken> {
        self.queue(Told { what, socket: Some(socket) })
    }

    fn queue(&self, told: Told) -> Result<(), Broken> {
        self.told.try_send(told).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Broken::Deaf,
            mpsc::error::TrySendError::Closed(_) => Broken::Gone,
        })
    }

    /// What tells it, for a task that may wait for it.
    pub fn teller(&self) -> mpsc::Sender<Told> {
        self.told.clone()
    }

    /// Closes the way to it, lets it go by itself for a moment, and then kills it. Returns once it is gone.
    pub async fn end(mut self) {
        self.said.close();
        self._tasks.shutdown().await;
        let Some(mut child) = self.child.take() else { return };
        let mut waited = Duration::ZERO;
        while waited < GONE_AFTER {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            sleep(LOOK).await;
            waited = waited.saturating_add(LOOK);
        }
        kill(child);
    }

    /// Kills it now.
    pub fn kill(mut self) {
        if let Some(child) = self.child.take() {
            kill(child);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            kill(child);
        }
    }
}

/// Kills a process, and waits for it elsewhere, so that it leaves no zombie.
fn kill(mut child: Child) {
    if let Err(error) = child.kill() {
        warn!(error = %error, "A desktop's process cannot be killed");
    }
    let waiting = move || {
        let _ = child.wait();
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(waiting)),
        Err(_) => drop(std::thread::spawn(waiting)),
    }
}

/// What a process may write to the log: a few lines. The rest is read, so that it does not wait, and forgotten.
const LOG_BYTES_MAX: usize = 8 << 10;

/// Puts what a process says of itself into the log, each line as a field of a line of ours.
async fn note(mut log: pipe::Receiver, pid: u32) {
    let (mut said, mut rest) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = log.read(&mut rest).await {
        let room = LOG_BYTES_MAX.saturating_sub(said.len()).min(count);
        said.extend_from_slice(rest.get(..room).unwrap_or_default());
    }
    for line in String::from_utf8_lossy(&said).lines().filter(|line| !line.trim().is_empty()) {
        warn!(pid, line = %words(line), "A desktop's process says");
    }
}

async fn read(mut from: OwnedReadHalf, heard: mpsc::Sender<Result<FromProcess, Broken>>) {
    loop {
        let (frame, over) = match read_frame(&mut from).await {
            Ok(frame) => (Ok(frame), false),
            Err(broken) => (Err(broken), true),
        };
        if heard.send(frame).await.is_err() || over {
            return;
        }
    }
}

async fn read_frame(from: &mut OwnedReadHalf) -> Result<FromProcess, Broken> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await.map_err(|_| Broken::Gone)?;
    let head = Head::read(head).map_err(Broken::Frame)?;
    let mut body = vec![0; head.length];
    from.read_exact(&mut body).await.map_err(|_| Broken::Gone)?;
    FromProcess::decode(head.kind, body).map_err(Broken::Frame)
}

async fn write(mut to: OwnedWriteHalf, mut telling: mpsc::Receiver<Told>) {
    while let Some(Told { what, socket }) = telling.recv().await {
        let Ok(frame) = what.encode() else { return };
        let mut rest = frame.expose().as_slice();
        if let Some(socket) = socket {
            let way = to.as_ref();
            let handed = way.async_io(Interest::WRITABLE, || frames::hand(way, rest, socket.as_fd())).await;
            let Ok(written) = handed else { return };
            rest = rest.get(written..).unwrap_or_default();
        }
        if to.write_all(rest).await.is_err() {
            return;
        }
    }
}
