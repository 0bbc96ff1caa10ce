//! What a desktop costs: `cargo bench --bench rdp`. Real programs: FreeRDP's shadow server with a film before it, and
//! `xfreerdp` on a screen of its own. `BENCH_QUICK=1` makes it short.
//!
//! CPU and memory are those of Doorward's own processes: its server, which records, and the process of each desktop, which
//! relays and draws along. Bytes are counted between the user's program and the bastion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement that stops at the first surprise, with its text, is what these are for"
)]

#[allow(unused_imports, unused_macros, reason = "the tests use the rest")]
#[path = "../../tests/it/fixture/mod.rs"]
mod fixture;
#[path = "../ssh/machine.rs"]
mod machine;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fixture::Bastion;
use fixture::desktops::{furnished, ticket};
use fixture::process::{Running, Stdout, cpu, descendants, memory};
use fixture::rdp::{Shadow, Viewer};
use fixture::screen::Colour;
use machine::{Bound, Figures};

const GREEN: Colour = Colour(0x20, 0xa0, 0x40);

fn main() {
    for program in ["Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot", "ffplay"] {
        if !fixture::has(program) {
            return;
        }
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let mut figures = Figures::new("rdp");
    film(if quick { 5 } else { 20 }, &mut figures);
    crowd(if quick { 4 } else { 20 }, &mut figures);
    figures.write();
}

/// A film of 25 pictures a second on a desktop of 800x600, relayed, recorded and drawn.
fn film(seconds: u64, figures: &mut Figures) {
    let shadow = Shadow::start(GREEN);
    let (bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let counted = Counted::before(port);
    let (name, secret) = ticket(&bastion, &shadow);
    let viewer = Viewer::xfreerdp(counted.port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(GREEN, 50);
    let mut ffplay = shadow.screen.command("ffplay");
    ffplay.args(["-loglevel", "error", "-noborder", "-f", "lavfi", "-i", "testsrc2=size=800x600:rate=25"]);
    let before = counted.bytes();
    let _film = Running::start(ffplay, Stdout::Gathered);
    fixture::until(fixture::LIMIT, "film", || (counted.bytes() > before + 1_000_000).then_some(()));
    let own = processes(&bastion);
    assert!(own.len() > 1, "there is no process of a desktop");
    let spent = || own.iter().map(|pid| (*pid, cpu(*pid).as_secs_f64())).collect::<Vec<_>>();
    let (start, bytes, cpu) = (Instant::now(), counted.bytes(), spent());
    std::thread::sleep(Duration::from_secs(seconds));
    let (seconds, bytes) = (start.elapsed().as_secs_f64(), (counted.bytes() - bytes) as f64 / 1e6);
    let used: Vec<f64> = spent().iter().zip(&cpu).map(|((_, now), (_, then))| now - then).collect();
    let (server, all) = (used[0], used.iter().sum::<f64>());
    figures.row("film: relayed", "MB/s", bytes / seconds, Bound::None);
    figures.row("film: a desktop's process, CPU per MB", "ms", (all - server) * 1e3 / bytes, Bound::None);
    figures.row("film: relayed, recorded and drawn, CPU per MB", "ms", all * 1e3 / bytes, Bound::None);
    figures.row("film: relayed, recorded and drawn, of one core", "%", all * 100.0 / seconds, Bound::AtMost(10.0));
}

/// Desktops that stand open at once.
fn crowd(desktops: usize, figures: &mut Figures) {
    let shadow = Shadow::start(GREEN);
    let (bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let pss = || processes(&bastion).iter().map(|pid| memory(*pid, "smaps_rollup", "Pss")).sum::<u64>() as f64;
    let empty = pss();
    let viewers: Vec<Viewer> = (0..desktops)
        .map(|_| {
            let (name, secret) = ticket(&bastion, &shadow);
            let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
            viewer.screen.until_painted(GREEN, 50);
            viewer
        })
        .collect();
    let all = pss();
    let name = format!("memory of {desktops} desktops and the server");
    figures.row(&name, "MiB", all / 1024.0, Bound::AtMost(1024.0));
    figures.row("memory of one desktop more", "MiB", (all - empty) / 1024.0 / desktops as f64, Bound::None);
    drop(viewers);
}

/// The server first, and the processes of desktops.
fn processes(bastion: &Bastion) -> Vec<u32> {
    [vec![bastion.pid()], descendants(bastion.pid())].concat()
}

/// A door before another on loopback, that counts what passes both ways.
struct Counted {
    port: u16,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, bytes) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&bytes);
        std::thread::spawn(move || {
            for user in listener.incoming().flatten() {
                let Ok(bastion) = TcpStream::connect(("127.0.0.1", port)) else { return };
                let ends = [(&user, &bastion), (&bastion, &user)];
                for (from, to) in ends.map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap())) {
                    let count = Arc::clone(&count);
                    std::thread::spawn(move || copy(from, to, &count));
                }
            }
        });
        Self { port: own, bytes }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
