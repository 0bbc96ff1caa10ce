//! Doors on loopback before the bastion and before the target, that note what passes, and when.
//!
//! Both legs are TLS, so a message on one leg is found on the other by its place: what the bastion relays keeps its length, and
//! so do the sums of what the TLS records hold, from a moment when nothing was on its way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fixture::{LIMIT, until};

/// A door before another.
pub struct Tap {
    pub port: u16,
    /// From the user to the target.
    pub up: Arc<Way>,
    /// From the target to the user.
    pub down: Arc<Way>,
}

/// One direction.
#[derive(Default)]
pub struct Way {
    bytes: AtomicU64,
    noted: Mutex<Noted>,
}

/// Since the last `begin`.
#[derive(Default)]
struct Noted {
    /// What the whole records held, in bytes.
    plain: u64,
    /// The same sum at each chunk that ended a record, and when it came.
    passed: Vec<(u64, Instant)>,
}

impl Tap {
    /// Before this port.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Self { port: listener.local_addr().unwrap().port(), up: Arc::default(), down: Arc::default() };
        let (up, down) = (Arc::clone(&tap.up), Arc::clone(&tap.down));
        std::thread::spawn(move || {
            for user in listener.incoming().flatten() {
                let Ok(target) = TcpStream::connect(("127.0.0.1", port)) else { return };
                for (from, to, way) in [(&user, &target, &up), (&target, &user, &down)] {
                    to.set_nodelay(true).unwrap();
                    let (from, to, way) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(way));
                    std::thread::spawn(move || way.carry(from, to));
                }
            }
        });
        tap
    }

    /// What has passed both ways.
    pub fn bytes(&self) -> u64 {
        self.up.bytes.load(Ordering::Relaxed) + self.down.bytes.load(Ordering::Relaxed)
    }

    /// Waits until nothing has passed for a while.
    pub fn until_quiet(&self) {
        let mut last = (self.bytes(), Instant::now());
        until(LIMIT, "quiet desktop", || {
            if self.bytes() != last.0 {
                last = (self.bytes(), Instant::now());
            }
            (last.1.elapsed() > Duration::from_secs(1)).then_some(())
        });
    }

    /// Counts from here.
    pub fn begin(&self) {
        for way in [&self.up, &self.down] {
            *way.noted.lock().unwrap() = Noted::default();
        }
    }
}

impl Way {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let (mut buffer, mut records) = (vec![0; 64 << 10], Records::default());
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // Before it is passed on: what the tap itself takes is the bastion's loss.
            let came = Instant::now();
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            let plain = records.push(&buffer[..length]);
            if plain > 0 {
                let mut noted = self.noted.lock().unwrap();
                noted.plain += plain;
                let sum = noted.plain;
                noted.passed.push((sum, came));
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// How long the bastion had each message, in milliseconds, sorted: from when the last of it came, to when the last of it was
/// out again.
///
/// # Panics
/// If not all that came went out unchanged: then nothing is known.
pub fn held(came: &Way, left: &Way) -> Vec<f64> {
    let (came, left) = (came.noted.lock().unwrap(), left.noted.lock().unwrap());
    assert!(came.plain == left.plain && came.plain > 0, "{} bytes came, {} left", came.plain, left.plain);
    let mut sources = came.passed.iter().peekable();
    let mut all: Vec<f64> = left
        .passed
        .iter()
        .map(|(sum, out)| {
            while sources.peek().is_some_and(|(source, _)| source < sum) {
                sources.next();
            }
            out.duration_since(sources.peek().unwrap().1).as_secs_f64() * 1e3
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The records of one direction of a connection that begins with X.224 and goes on in TLS.
struct Records {
    head: Vec<u8>,
    /// How much of the record is still to come.
    left: usize,
    /// What the record holds, in bytes.
    plain: u64,
    has_changed: bool,
    /// What the seal adds to each record.
    seal: u64,
}

impl Default for Records {
    fn default() -> Self {
        // TLS 1.3 with any of its usual ciphers: one byte of type, and the tag.
        Self { head: Vec::new(), left: 0, plain: 0, has_changed: false, seal: 17 }
    }
}

impl Records {
    /// How much the records hold that end here.
    fn push(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ended = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.head.push(*first);
                bytes = rest;
                self.begin();
                continue;
            }
            let part = self.left.min(bytes.len());
            self.left -= part;
            bytes = &bytes[part..];
            if self.left == 0 {
                ended += self.plain;
            }
        }
        ended
    }

    /// Reads a head that is whole.
    fn begin(&mut self) {
        const CHANGE_CIPHER_SPEC: u8 = 20;
        const HANDSHAKE: u8 = 22;
        const DATA: u8 = 23;
        let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
        match *self.head.as_slice() {
            // TPKT, whose length is that of its head, too.
            [3, _, high, low] => (self.left, self.plain) = (length(high, low) - 4, 0),
            [kind @ CHANGE_CIPHER_SPEC..=DATA, _, _, high, low] => {
                self.left = length(high, low);
                self.has_changed |= kind == CHANGE_CIPHER_SPEC;
                // Only up to TLS 1.2 a handshake goes on in sealed records of its own type: AES-GCM adds a nonce and a tag.
                if kind == HANDSHAKE && self.has_changed {
                    self.seal = 24;
                }
                self.plain = if kind == DATA { self.left as u64 - self.seal } else { 0 };
            }
            _ => return,
        }
        self.head.clear();
    }
}
