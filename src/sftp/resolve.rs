//! Asks the target where paths lead, in the turn in which they are used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::gate::{Asked, Errand, Resolution};
use super::packet::{FAILED, FileKind, NO_SUCH_FILE, OwnAnswer, OwnAsked};
use super::paths::{Place, Way, split};
use super::{Broken, Conversation, Lines};
use crate::model::{ChannelEvent, FilePath};

/// The target has so long to say where the paths of a request lead, and so long to answer it.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// So many directories above a place that is not there are looked for.
const ABOVE_MAX: usize = 64;

/// Why a path was not resolved.
enum Unresolved {
    /// What the gate is to make of it.
    Not(Resolution),
    Broken(Broken),
}

impl From<Broken> for Unresolved {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Conversation {
    /// Resolves the paths of a request, has it judged, and if it goes to the target waits for the answer: all in one turn.
    pub(super) async fn run_errand(&self, errand: Errand, packet: &Bytes, lines: &Lines<'_>) -> Result<(), Broken> {
        // Nothing else is under way, so that neither a user who does not read nor a long copy is waited for in the turn, and
        // the request is the next thing that the target does.
        while self.gate().waiting() > 0 || self.passing.load(Ordering::SeqCst) {
            self.answered.notified().await;
        }
        let Some(mut turn) = self.turns.take().await else {
            let asked = self.gate().resolved(errand, Resolution::Busy);
            return self.pass(asked.map_err(Broken::User)?, packet, None, lines).await;
        };
        let resolving = timeout(ANSWER_MAX, self.resolve(&errand, lines));
        let resolution = resolving.await.map_err(|_| Broken::Silent)??;
        let asked = self.gate().resolved(errand, resolution).map_err(Broken::User)?;
        if !matches!(asked, Asked::Forward(..)) {
            drop(turn);
            return self.pass(asked, packet, None, lines).await;
        }
        let answering = async {
            self.pass(asked, packet, Some(&mut turn), lines).await?;
            while self.gate().waiting() > 0 {
                self.answered.notified().await;
            }
            Ok(())
        };
        timeout(ANSWER_MAX, answering).await.map_err(|_| Broken::Silent)??;
        turn.end();
        Ok(())
    }

    async fn resolve(&self, errand: &Errand, lines: &Lines<'_>) -> Result<Resolution, Broken> {
        let asking = Asking { conversation: self, lines };
        let mut places: Vec<Place> = Vec::new();
        for (path, way) in &errand.paths {
            match asking.place(path, *way, places.last()).await {
                Ok(place) => places.push(place),
                Err(Unresolved::Not(resolution)) => return Ok(resolution),
                Err(Unresolved::Broken(broken)) => return Err(broken),
            }
        }
        Ok(Resolution::At(places))
    }
}

/// Asks the target, in a turn.
struct Asking<'c> {
    conversation: &'c Conversation,
    lines: &'c Lines<'c>,
}

impl Asking<'_> {
    async fn place(&self, path: &[u8], way: Way, before: Option<&Place>) -> Result<Place, Unresolved> {
        let at = |path| Ok(Place { path, kind: None });
        match way {
            Way::Whole => at(self.whole(path).await?),
            Way::Making => at(self.made(path).await?),
            Way::Expanding => match self.ask(OwnAsked::ExpandPath(path)).await? {
                Ok(found) => at(found),
                Err(code) => Err(Unresolved::Not(Resolution::Nowhere { nearest: None, code })),
            },
            Way::Name if names_nothing(split(path).1) => at(self.whole(path).await?),
            Way::Name | Way::Entry => at(self.entry(path).await?),
            Way::NoLink => {
                let entry = self.entry(path).await?;
                // A link leads elsewhere, or is still there when it leads nowhere.
                match self.ask(OwnAsked::RealPath(entry.as_bytes())).await? {
                    Ok(whole) if whole == entry => {}
                    Ok(_) | Err(_) => return Err(unclear("it is a link, or not there")),
                }
                match self.kind(&entry).await? {
                    Ok(Some(FileKind::Link)) => Err(unclear("it is a link")),
                    Ok(Some(FileKind::Directory | FileKind::Other) | None) | Err(_) => at(entry),
                }
            }
            Way::Moved => {
                let path = self.entry(path).await?;
                match self.kind(&path).await? {
                    Ok(kind) => Ok(Place { path, kind }),
                    Err(code) => Err(self.nowhere(path.as_bytes(), code).await?),
                }
            }
            Way::Goal => {
                let Some(link) = before else { return Err(unclear("a link without a place")) };
                let (folder, _) = split(link.path.as_bytes());
                let goal = if path.starts_with(b"/") { path.to_vec() } else { [folder, b"/", path].concat() };
                at(self.whole(&goal).await?)
            }
        }
    }

    /// Where a path leads to its end.
    async fn whole(&self, path: &[u8]) -> Result<FilePath, Unresolved> {
        match self.ask(OwnAsked::RealPath(path)).await? {
            Ok(found) => Ok(found),
            Err(code) => Err(self.nowhere(path, code).await?),
        }
    }

    /// The same, where a file may be made. Not every target says where a path leads whose last part is not there.
    async fn made(&self, path: &[u8]) -> Result<FilePath, Unresolved> {
        if let Ok(found) = self.ask(OwnAsked::RealPath(path)).await? {
            return Ok(found);
        }
        let entry = self.entry(path).await?;
        match self.kind(&entry).await? {
            Err(NO_SUCH_FILE) => Ok(entry),
            // A link that leads nowhere would be followed, and the file made where it leads.
            Err(_) | Ok(_) => Err(unclear("it cannot be said where it leads")),
        }
    }

    /// What a path names: its last part in the directory to which the rest leads.
    async fn entry(&self, path: &[u8]) -> Result<FilePath, Unresolved> {
        let (folder, name) = split(path);
        if names_nothing(name) {
            return Err(unclear("it ends in `/`, `.` or `..`"));
        }
        let folder = match self.ask(OwnAsked::RealPath(folder)).await? {
            Ok(folder) => folder,
            Err(code) => return Err(self.nowhere(folder, code).await?),
        };
        folder.join(name).map_err(|_| unclear("its path is too long"))
    }

    async fn kind(&self, path: &FilePath) -> Result<Result<Option<FileKind>, u32>, Unresolved> {
        match self.answer(OwnAsked::LStat(path.as_bytes())).await? {
            OwnAnswer::Kind(kind) => Ok(Ok(kind)),
            OwnAnswer::Failed(code) => Ok(Err(code)),
            OwnAnswer::Path(_) => Err(unclear("the target answers something else")),
        }
    }

    /// The nearest place on the way that is there: who may know of that place may know that the rest is not there.
    async fn nowhere(&self, path: &[u8], code: u32) -> Result<Unresolved, Unresolved> {
        let mut above = path;
        let mut nearest = None;
        for _ in 0..ABOVE_MAX {
            let (folder, _) = split(above);
            if folder.len() >= above.len() {
                break;
            }
            above = folder;
            if let Ok(found) = self.ask(OwnAsked::RealPath(above)).await? {
                nearest = Some(found);
                break;
            }
        }
        Ok(Unresolved::Not(Resolution::Nowhere { nearest, code }))
    }

    /// A path of the target's, in its one form; or the target's status.
    async fn ask(&self, asked: OwnAsked<'_>) -> Result<Result<FilePath, u32>, Unresolved> {
        match self.answer(asked).await? {
            OwnAnswer::Path(path) => {
                FilePath::parse(&path).map(Ok).map_err(|_| unclear("the target gives no canonical path"))
            }
            OwnAnswer::Failed(code) if code != 0 => Ok(Err(code)),
            OwnAnswer::Failed(_) => Ok(Err(FAILED)),
            OwnAnswer::Kind(_) => Err(unclear("the target answers something else")),
        }
    }

    async fn answer(&self, asked: OwnAsked<'_>) -> Result<OwnAnswer, Unresolved> {
        let packet = self.conversation.gate().own(asked);
        self.lines.credit.own(packet.len());
        self.lines.to_target.send(ChannelEvent::Data(packet)).await.map_err(|_| Broken::Gone)?;
        loop {
            if let Some(answer) = self.conversation.gate().own_answer() {
                return Ok(answer);
            }
            self.conversation.answered.notified().await;
        }
    }
}

fn unclear(why: &'static str) -> Unresolved {
    Unresolved::Not(Resolution::Unclear(why))
}

fn names_nothing(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..")
}
