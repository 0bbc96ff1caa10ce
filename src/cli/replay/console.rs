//! The auditor's terminal: raw mode, keys, and everything put back on the way out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::screen::{ENTER, LEAVE, Size};

use super::player::Key;

/// The terminal while the player has it. Dropping it puts the terminal back as it was.
pub struct Console {
    tty: File,
    before: Termios,
    keys: Receiver<Key>,
    /// Ends the threads.
    left: CancellationToken,
}

impl Console {
    /// Takes the controlling terminal.
    ///
    /// # Errors
    /// If there is none, or its modes cannot be set.
    pub fn open() -> io::Result<Self> {
        let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Reads return after a tenth of a second, so that the thread that waits for keys can end.
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 1;
        let left = CancellationToken::new();
        let (sender, keys) = sync_channel(64);
        spawn_signals(sender.clone(), left.clone())?;
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        // From here on the drop puts the modes back.
        let reader = tty.try_clone();
        tty.write_all(ENTER.as_bytes()).and_then(|()| tty.flush()).ok();
        let console = Self { tty, before, keys, left };
        spawn_keys(reader?, sender, console.left.clone())?;
        Ok(console)
    }

    /// The terminal's size now.
    pub fn size(&self) -> Size {
        tcgetwinsize(&self.tty).map_or(Size::bounded(80, 24), |size| {
            if size.ws_col == 0 || size.ws_row == 0 {
                return Size::bounded(80, 24);
            }
            Size::bounded(size.ws_col.into(), size.ws_row.into())
        })
    }

    /// The next key, if one comes within `wait`. The end of the terminal is `Quit`.
    pub fn key(&self, wait: Duration) -> Option<Key> {
        match self.keys.recv_timeout(wait) {
            Ok(key) => Some(key),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Key::Quit),
        }
    }

    /// Writes what a painter made.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn write(&mut self, out: &str) -> io::Result<()> {
        self.tty.write_all(out.as_bytes())?;
        self.tty.flush()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.left.cancel();
        self.tty.write_all(LEAVE.as_bytes()).ok();
        tcsetattr(&self.tty, OptionalActions::Drain, &self.before).ok();
    }
}

fn spawn_keys(mut tty: File, sender: SyncSender<Key>, left: CancellationToken) -> io::Result<()> {
    thread::Builder::new().name(String::from("keys")).spawn(move || {
        let mut buffer = [0; 64];
        while !left.is_cancelled() {
            match tty.read(&mut buffer) {
                Ok(count) => {
                    for key in keys(buffer.get(..count).unwrap_or_default()) {
                        if sender.send(key).is_err() {
                            return;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    sender.send(Key::Quit).ok();
                    return;
                }
            }
        }
    })?;
    Ok(())
}

/// SIGTERM, SIGHUP and SIGINT leave as `q` does: the default action would leave the terminal raw.
fn spawn_signals(sender: SyncSender<Key>, left: CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(String::from("signals")).spawn(move || {
        runtime.block_on(async {
            let kinds =
                (signal(SignalKind::terminate()), signal(SignalKind::hangup()), signal(SignalKind::interrupt()));
            let (Ok(mut terminate), Ok(mut hangup), Ok(mut interrupt)) = kinds else { return };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                    _ = interrupt.recv() => {}
                    () = left.cancelled() => return,
                }
                // Never waits: if the queue is full, the loop comes back.
                sender.try_send(Key::Quit).ok();
            }
        });
    })?;
    Ok(())
}

/// The keys in what one read returned; what is not a key of ours is dropped.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        keys.extend(match first {
            b' ' => Some(Key::Pause),
            b'+' | b'=' => Some(Key::Faster),
            b'-' | b'_' => Some(Key::Slower),
            b'.' => Some(Key::Step),
            b'q' | b'Q' | 0x03 => Some(Key::Quit),
            0x1b => match tail {
                [b'[' | b'O', code, after @ ..] => {
                    rest = after;
                    match code {
                        b'C' => Some(Key::Forward),
                        b'D' => Some(Key::Back),
                        b'H' => Some(Key::Start),
                        b'F' => Some(Key::End),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_arrows_are_read() {
        assert_eq!(
            keys(b" +\x1b[C\x1bOD.\x1b[Hxq\x03\x1b"),
            [Key::Pause, Key::Faster, Key::Forward, Key::Back, Key::Step, Key::Start, Key::Quit, Key::Quit]
        );
    }
}
