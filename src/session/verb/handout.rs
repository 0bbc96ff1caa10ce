//! A sealed recording with its proofs, as a tar archive.

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
use crate::verify::{self, Content, Part, Settings};
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
        Err(failure) => failure.to_string(),
    };
    warn!(session = %session, error = %why, "A recording could not be handed out");
    complain(sink, "this recording cannot be handed out whole; try again in a moment, or tell the operator").await?;
    Ok(1)
}

/// Makes the archive. Blocks; gives `reader` back once it has read the log, before it waits for the user.
fn make(
    audit: &Audit,
    now: Timestamp,
    store: &Path,
    session: &SessionId,
    reader: OwnedSemaphorePermit,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), String> {
    // What is on record of the session's end may not be under a checkpoint yet.
    audit.publish().map_err(|error| describe(&error))?;
    // It is judged there: what is not as the log has it is not handed out.
    let settings = Settings { key: Some(audit.key().clone()), now: Some(now), ..Settings::default() };
    let plan = verify::plan(store, session, &settings).map_err(|error| describe(&error))?;
    let parts = plan.parts(store).map_err(|error| describe(&error))?;
    drop(reader);
    let mut archive = tar::Builder::new(Pieces { pieces, piece: BytesMut::new() });
    for Part { name, content } in parts {
        let written = match content {
            Content::Bytes(bytes) => append(&mut archive, &name, bytes.len().try_into().unwrap_or(0), bytes.as_slice()),
            Content::File(path) => {
                let file = verify::open_part(&path).map_err(|error| describe(&error))?;
                let len = file.metadata().map_err(|error| error.to_string())?.len();
                append(&mut archive, &name, len, file.take(len))
            }
        };
        written.map_err(|error| format!("{name}: {error}"))?;
    }
    archive.into_inner().and_then(|mut pieces| pieces.flush()).map_err(|error| error.to_string())
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
