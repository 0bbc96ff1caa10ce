//! A sealed recording with its proofs, as a tar archive.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::warn;

use super::super::Bastion;
use super::{Handout, PIECE_BYTES, PROGRESS_MAX, complain, pour};
use crate::audit::Audit;
use crate::listener::UserSink;
use crate::model::{SessionId, Timestamp};
use crate::store::describe;
use crate::verify::{self, BundleError, Content, Part, Settings, Verdict};
use crate::wire::channel::PeerGone;

/// What is read ahead of the user, in pieces; four of them at most.
const PIECES_MAX: usize = 4;

/// Sends the archive; returns the exit status: 1 if it is not whole, and then the user reads why.
///
/// # Errors
/// `PeerGone`.
pub async fn send(bastion: &Arc<Bastion>, handout: Handout, sink: &UserSink) -> Result<u32, PeerGone> {
    let Handout { session, place: _place, reader, .. } = handout;
    let (pieces, mut made) = mpsc::channel(PIECES_MAX);
    let (audit, store, of) = (Arc::clone(&bastion.audit), bastion.store.clone(), session.clone());
    let now = bastion.clock.now();
    let making = tokio::task::spawn_blocking(move || make(&audit, now, &store, &of, reader, pieces));
    while let Some(piece) = made.recv().await {
        pour(sink, piece, PROGRESS_MAX).await?;
    }
    let why = match making.await {
        Ok(Ok(())) => return Ok(0),
        Ok(Err(why)) => why,
        Err(failure) => Unmade::Failed(failure.to_string()),
    };
    let cause = if let Unmade::Failed(cause) = &why { cause } else { &why.to_string() };
    warn!(session = %session, error = cause, "A recording could not be handed out");
    complain(sink, &why.to_string()).await?;
    Ok(1)
}

/// Why there is no archive, or not all of it. Its text is for the user, who learns no paths.
#[derive(Debug)]
enum Unmade {
    /// That is said of the recording.
    Refused(Verdict),
    /// The log does not vouch for its end yet.
    NotEnded,
    /// Something went wrong here.
    Failed(String),
}

impl fmt::Display for Unmade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Verdict::Shredded) => f.write_str("this recording was erased: nobody can read it"),
            Self::Refused(Verdict::Expired) => f.write_str("this recording was removed when its time was over"),
            Self::Refused(verdict) => {
                write!(f, "this recording is {verdict}, so it is not handed out; tell the operator")
            }
            Self::NotEnded => f.write_str("this session has not ended yet; try again once it has"),
            Self::Failed(_) => {
                f.write_str("this recording cannot be handed out whole; try again in a moment, or tell the operator")
            }
        }
    }
}

impl From<BundleError> for Unmade {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Refused { verdict, .. } => Self::Refused(verdict),
            BundleError::NotEnded(_) => Self::NotEnded,
            error @ (BundleError::Log(_)
            | BundleError::Read(_)
            | BundleError::Recording { .. }
            | BundleError::Write { .. }
            | BundleError::NotEmpty(_)) => Self::Failed(describe(&error)),
        }
    }
}

/// Makes the archive. Blocks; gives `reader` back once it has read the log, before it waits for the user.
fn make(
    audit: &Audit,
    now: Timestamp,
    store: &Path,
    session: &SessionId,
    reader: OwnedSemaphorePermit,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), Unmade> {
    // What is on record of the session's end may not be under a checkpoint yet.
    audit.publish().map_err(|error| Unmade::Failed(describe(&error)))?;
    // It is judged there: what is not as the log has it is not handed out.
    let settings = Settings { key: Some(audit.key().clone()), now: Some(now), ..Settings::default() };
    let plan = verify::plan(store, session, &settings)?;
    let parts = plan.parts(store)?;
    drop(reader);
    let mut archive = tar::Builder::new(Pieces { pieces, piece: BytesMut::new() });
    for Part { name, content } in parts {
        let written = match content {
            Content::Bytes(bytes) => append(&mut archive, &name, bytes.len().try_into().unwrap_or(0), bytes.as_slice()),
            Content::File(path) => {
                let file = verify::open_part(&path).map_err(|error| Unmade::Failed(describe(&error)))?;
                let len = file.metadata().map_err(|error| Unmade::Failed(error.to_string()))?.len();
                append(&mut archive, &name, len, file.take(len))
            }
        };
        written.map_err(|error| Unmade::Failed(format!("{name}: {error}")))?;
    }
    archive.into_inner().and_then(|mut pieces| pieces.flush()).map_err(|error| Unmade::Failed(error.to_string()))
}

fn append(archive: &mut tar::Builder<Pieces>, name: &str, len: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(len);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, content)
}

/// Hands on what is written, and waits while the user does not take it.
struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
