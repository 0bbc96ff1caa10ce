//! The desktop as it looks now: drawn beside the relay, from what is recorded, for whoever watches.
//!
//! The queue to it is bounded and its end is waited for, as everywhere: a target that draws faster than this machine can
//! slows its own desktop down.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::rdp::frame::BULK_BYTES_MAX;
use crate::rdp::picture::{Picture, Pointer};
use crate::rdp::record::Kind;

/// How many messages wait to be drawn; each has at most 64 KiB.
const QUEUE_MESSAGES: usize = 64;

/// What draws.
#[derive(Debug)]
pub(super) struct View {
    queue: mpsc::Sender<Work>,
}

#[derive(Debug)]
enum Work {
    Draw(Kind, Bytes),
    Show(oneshot::Sender<Option<Vec<u8>>>),
}

impl View {
    /// Begins to draw, on a thread of its own that ends with this.
    pub(super) fn new() -> Self {
        let (queue, work) = mpsc::channel(QUEUE_MESSAGES);
        // A thread that cannot be had leaves no picture, and the desktop as it is.
        let _ = std::thread::Builder::new().name("view".to_owned()).spawn(move || draw(work));
        Self { queue }
    }

    /// Draws what was recorded.
    pub(super) async fn draw(&self, kind: Kind, bytes: Bytes) {
        let _ = self.queue.send(Work::Draw(kind, bytes)).await;
    }

    /// The picture as PNG, with all that was recorded before; none before the first is drawn.
    pub(super) async fn picture(&self) -> Option<Vec<u8>> {
        let (answer, picture) = oneshot::channel();
        self.queue.send(Work::Show(answer)).await.ok()?;
        picture.await.ok().flatten()
    }
}

fn draw(mut work: mpsc::Receiver<Work>) {
    let mut picture = Picture::new(Pointer::Drawn);
    while let Some(next) = work.blocking_recv() {
        match next {
            Work::Draw(kind, bytes) => {
                picture.take(kind, &bytes);
            }
            // One that is larger than a frame is none: a giant desktop of noise.
            Work::Show(answer) => {
                let _ = answer.send(picture.png().filter(|png| png.len() <= BULK_BYTES_MAX));
            }
        }
    }
}
