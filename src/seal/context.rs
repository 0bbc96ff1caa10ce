//! Compressors, lent while a frame is open.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::zstd_safe::{
    CCtx, CParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, compress_bound, get_error_name,
};

use super::SealError;

/// The fastest level: a record's compression is on the way of each keystroke.
const LEVEL: i32 = 1;

/// Frames refer back at most 2^17 bytes, so that writing and reading need little memory.
pub(super) const WINDOW_LOG: u32 = 17;

/// Compressors that nobody uses just now. Each takes about half a MiB, so a channel that is idle gives its own back.
pub struct ContextPool {
    idle: Mutex<Vec<CCtx<'static>>>,
    idle_max: usize,
}

impl ContextPool {
    /// Keeps at most `idle_max` of those that were given back.
    pub fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::new(Vec::new()), idle_max })
    }

    /// Lends one, made new if there is none.
    pub(super) fn lend(self: &Arc<Self>) -> Result<Compressor, SealError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let context = match idle {
            Some(context) => context,
            None => make().map_err(failed)?,
        };
        Ok(Compressor { context: Some(context), pool: Arc::clone(self) })
    }

    fn give_back(&self, mut context: CCtx<'static>) {
        // What is left of a frame is dropped, so that nothing of one session gets into another's.
        if context.reset(ResetDirective::SessionOnly).is_err() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.idle_max {
            idle.push(context);
        }
    }

    /// How many are there to be lent.
    pub fn idle(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl fmt::Debug for ContextPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextPool({} of {} idle)", self.idle(), self.idle_max)
    }
}

fn make() -> Result<CCtx<'static>, ErrorCode> {
    // 0 is no error code of zstd's: its name is "No error detected", and there is none but want of memory.
    let mut context = CCtx::try_create().ok_or(0_usize)?;
    context.set_parameter(CParameter::CompressionLevel(LEVEL))?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    Ok(context)
}

fn failed(code: ErrorCode) -> SealError {
    let why = if code == 0 { "out of memory" } else { get_error_name(code) };
    SealError::Compress { why }
}

/// A compressor with an open frame; goes back to its pool when dropped.
pub(super) struct Compressor {
    context: Option<CCtx<'static>>,
    pool: Arc<ContextPool>,
}

impl Compressor {
    /// Appends `plain`, compressed and flushed to a block's end, to `out`.
    pub(super) fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let context = self.context.as_mut().ok_or(SealError::Over)?;
        let mut input = InBuffer::around(plain);
        // With room for all of it at once, no smaller copy of the plaintext is left behind by a growing `Vec`.
        out.reserve(room_for(plain.len()));
        while input.pos() < plain.len() {
            write(out, |output| context.compress_stream(output, &mut input))?;
        }
        while write(out, |output| context.flush_stream(output))? > 0 {}
        Ok(())
    }

    /// Appends what closes the frame to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        let context = self.context.as_mut().ok_or(SealError::Over)?;
        while write(out, |output| context.end_stream(output))? > 0 {}
        Ok(())
    }

    /// What it takes in memory, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.context.as_ref().map_or(0, CCtx::sizeof)
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            self.pool.give_back(context);
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

/// At most what `plain` bytes become: zstd's bound, and the header of a frame.
fn room_for(plain: usize) -> usize {
    compress_bound(plain).saturating_add(32)
}

fn write(
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> Result<usize, ErrorCode>,
) -> Result<usize, SealError> {
    // Each step has room to get on, so that the loops around it end.
    out.reserve(32);
    let at = out.len();
    step(&mut OutBuffer::around_pos(out, at)).map_err(failed)
}
