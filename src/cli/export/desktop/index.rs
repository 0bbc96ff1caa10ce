//! Pictures of a recorded desktop on the way through it, kept in a file, so that a later moment is not drawn from the start.
//!
//! ```text
//! "doorward desktop index 1\n"  block*  directory  length of the directory u64
//! ```
//!
//! A block is a [`Keyframe`], compressed and sealed ([`IndexKey`]); the directory is JSON, sealed alike: for each block
//! the moment, the place and the length. Numbers are little endian. It is made from the
//! recording alone, and is made anew where it is not of that recording; what it shows is no evidence.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::super::{ExportError, Source};
use crate::cast::{Entry, Timed};
use crate::cli::output::{Progress, say};
use crate::cli::recorded::RecordedChannel;
use crate::rdp::keyframe::{Keyframe, Keyframes};
use crate::screen::{counted, line};
use crate::seal::{IndexKey, SealError};

const MAGIC: &[u8] = b"doorward desktop index 1\n";
/// The directory's number; blocks have theirs from 0.
const DIRECTORY: u32 = u32::MAX;
/// A directory of a million keyframes has less.
const DIRECTORY_BYTES_MAX: usize = 256 << 20;
/// A picture of the largest desktop, and what is kept with it.
const KEYFRAME_BYTES_MAX: usize = (8192 * 8192 * 3) + (8 << 20);

/// Where a keyframe is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    at_us: u64,
    from: u64,
    length: u64,
}

/// An index that was read, or has just been made.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    key: IndexKey,
    places: Vec<Place>,
}

/// What is wrong with an index.
#[derive(Debug)]
pub enum IndexError {
    /// The recording goes on, or was not closed.
    NotClosed,
    /// The file is there, and is none.
    NotAnIndex,
    /// The file system failed.
    Io(io::Error),
    /// It cannot be sealed.
    Seal(SealError),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotClosed => f.write_str("a recording that was not closed has no index"),
            Self::NotAnIndex => f.write_str("the file is no index of a desktop, and is left as it is"),
            Self::Io(_) => f.write_str("the index cannot be read or written"),
            Self::Seal(_) => f.write_str("the index cannot be sealed"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Seal(error) => Some(error),
            Self::NotClosed | Self::NotAnIndex => None,
        }
    }
}

/// The index of a channel in the file at `path`; made there if there is none that is of this recording.
///
/// # Errors
/// `Index`; `Damaged`, for a recording that cannot be read to its end has no index.
pub(super) fn of(channel: &dyn RecordedChannel, path: &Path) -> Result<Index, ExportError> {
    let key = channel.index_key().map_err(IndexError::Seal).map_err(ExportError::Index)?;
    let key = key.ok_or(ExportError::Index(IndexError::NotClosed))?;
    let key = match File::open(path) {
        Ok(file) => match Index::read(file, key).map_err(ExportError::Index)? {
            Ok(index) => return Ok(index),
            Err(key) => {
                say(format!(
                    "note: {} is not of this recording as it is: it is made anew",
                    line(&path.display().to_string())
                ));
                key
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => key,
        Err(error) => return Err(ExportError::Index(error.into())),
    };
    Index::make(channel, path, key)
}

impl Index {
    /// The last keyframe up to the moment `at`, else the last one; none if there is none.
    pub(super) fn keyframe(&mut self, at: Option<Duration>) -> Option<Keyframe> {
        let is_before = |place: &&Place| at.is_none_or(|at| Duration::from_micros(place.at_us) <= at);
        let (number, place) = (0..).zip(&self.places).take_while(|(_, place)| is_before(place)).last()?;
        let Place { from, length, .. } = *place;
        let sealed = self.bytes(from, length).ok()?;
        Keyframe::from_bytes(&self.key.open(number, &sealed, KEYFRAME_BYTES_MAX)?)
    }

    /// The index in a file; gives the key back if it is none of this recording.
    fn read(file: File, key: IndexKey) -> Result<Result<Self, IndexKey>, IndexError> {
        let mut index = Self { file, key, places: Vec::new() };
        let mut magic = Vec::new();
        Read::by_ref(&mut index.file).take(MAGIC.len().try_into().unwrap_or(u64::MAX)).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Err(IndexError::NotAnIndex);
        }
        match index.directory() {
            Some(places) => Ok(Ok(Self { places, ..index })),
            None => Ok(Err(index.key)),
        }
    }

    fn directory(&mut self) -> Option<Vec<Place>> {
        let end = self.file.seek(SeekFrom::End(-8)).ok()?;
        let mut length = [0; 8];
        self.file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        let sealed = self.bytes(end.checked_sub(length)?, length).ok()?;
        serde_json::from_slice(&self.key.open(DIRECTORY, &sealed, DIRECTORY_BYTES_MAX)?).ok()
    }

    fn bytes(&mut self, from: u64, length: u64) -> io::Result<Vec<u8>> {
        let most = DIRECTORY_BYTES_MAX.max(KEYFRAME_BYTES_MAX);
        if usize::try_from(length).map_or(true, |length| length > most) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        self.file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut self.file).take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn make(channel: &dyn RecordedChannel, path: &Path, key: IndexKey) -> Result<Self, ExportError> {
        let failed = |error: io::Error| ExportError::Index(error.into());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // One that nobody else may read, and that is there only when it is whole.
        let mut made =
            Made { file: NamedTempFile::new_in(directory).map_err(failed)?, key, places: Vec::new(), end: 0 };
        made.put(MAGIC).map_err(failed)?;
        let (mut source, mut keyframes) = (Source::open(channel), Keyframes::default());
        let (total, mut progress) = (channel.length().unwrap_or_default().as_secs(), Progress::new());
        while let Some(Timed { at, entry }) = source.next() {
            let Entry::Record { kind, bytes } = entry else { continue };
            if let Some(keyframe) = keyframes.take(at, kind, &bytes) {
                made.add(&keyframe).map_err(ExportError::Index)?;
                progress.at("seconds indexed", at.as_secs(), total);
            }
        }
        if let Some(keyframe) = keyframes.finish() {
            made.add(&keyframe).map_err(ExportError::Index)?;
        }
        progress.finish();
        source.finish()?;
        made.finish(path).map_err(ExportError::Index)
    }
}

/// An index that is being made.
struct Made {
    file: NamedTempFile,
    key: IndexKey,
    places: Vec<Place>,
    /// How long it is.
    end: u64,
}

impl Made {
    fn add(&mut self, keyframe: &Keyframe) -> Result<(), IndexError> {
        let bytes = keyframe.to_bytes();
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let sealed = self.key.seal(number, &bytes).map_err(IndexError::Seal)?;
        let at_us = u64::try_from(keyframe.at.as_micros()).unwrap_or(u64::MAX);
        let length = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        self.places.push(Place { at_us, from: self.end, length });
        Ok(self.put(&sealed)?)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end = self.end.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.file.write_all(bytes)
    }

    fn finish(mut self, path: &Path) -> Result<Index, IndexError> {
        let directory = serde_json::to_vec(&self.places).map_err(io::Error::from)?;
        let sealed = self.key.seal(DIRECTORY, &directory).map_err(IndexError::Seal)?;
        self.put(&sealed)?;
        self.put(&u64::try_from(sealed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        let Self { file, key, places, end } = self;
        let file = file.persist(path).map_err(|error| error.error)?;
        let pictures = counted(places.len().try_into().unwrap_or(u64::MAX), "picture");
        say(format!(
            "note: {} has {pictures} in {end} bytes, sealed as the recording is",
            line(&path.display().to_string())
        ));
        Ok(Index { file, key, places })
    }
}

#[cfg(test)]
mod tests;
