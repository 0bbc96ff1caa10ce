//! What a desktop costs: `cargo bench --bench rdp`. Real programs: FreeRDP's shadow server with a film before it, and
//! `xfreerdp` on a screen of its own. `BENCH_QUICK=1` makes it short.
//!
//! CPU and memory are those of Doorward's own processes: its server, which records, and the process of each desktop, which
//! relays and draws along. Bytes are counted between the user's program and the bastion.
//!
//! What is added to a message is the time from when it came to the bastion until it was out again, as seen by taps on loopback
//! on both sides of it: beside the target's own 30 ms and more for a picture, a difference of two whole ways would say
//! nothing. Under `strict`, the default, what is shown waits until its record is on disk; under `bounded` it does not.
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
mod tap;

use std::io::Write;
use std::time::{Duration, Instant};

use fixture::Bastion;
use fixture::bastion::ALICE;
use fixture::desktops::{desktop_of, furnished, prepared, ticket};
use fixture::process::{Running, Stdout, cpu_of_threads, descendants, memory};
use fixture::rdp::{Shadow, Viewer};
use fixture::screen::Colour;
use machine::{Bound, Figures};
use tap::{Tap, held};

const GREEN: Colour = Colour(0x20, 0xa0, 0x40);

/// The goal for what the bastion adds to a message, in milliseconds.
const ADDED: Bound = Bound::AtMost(0.5);

fn main() {
    for program in ["Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot", "ffplay", "xterm", "xdotool"] {
        if !fixture::has(program) {
            return;
        }
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let mut figures = Figures::new("rdp");
    for durability in ["strict", "bounded"] {
        let scene = Scene::set(durability);
        if durability == "strict" {
            figures.row("a sync of the recording's disk, p50", "ms", scene.sync(), Bound::None);
        }
        scene.typing(if quick { 40 } else { 250 }, &mut figures);
        scene.film(if quick { 5 } else { 20 }, &mut figures);
    }
    crowd(if quick { 4 } else { 20 }, &mut figures);
    figures.write();
}

/// One desktop of 800x600, through a bastion with a tap on each side.
struct Scene {
    durability: &'static str,
    viewer: Viewer,
    bastion: Bastion,
    shadow: Shadow,
    near: Tap,
    far: Tap,
}

impl Scene {
    fn set(durability: &'static str) -> Self {
        let mut shadow = Shadow::start(GREEN);
        let far = Tap::before(shadow.port);
        shadow.port = far.port;
        let rule = format!("recording = {{ durability = \"{durability}\" }}\n");
        let (mut bastion, port) = prepared(&shadow, &shadow.fingerprint, &rule);
        bastion.serve();
        bastion.grant(ALICE, &desktop_of(&shadow), "1h", "CHG-1");
        let near = Tap::before(port);
        let (name, secret) = ticket(&bastion, &shadow);
        let viewer = Viewer::xfreerdp(near.port, "nla", &name, &secret, &[]);
        viewer.screen.until_painted(GREEN, 50);
        Self { durability, viewer, bastion, shadow, near, far }
    }

    /// How long the disk takes for a few bytes, in milliseconds.
    fn sync(&self) -> f64 {
        let mut file = std::fs::File::create(self.bastion.data().join("bench-sync")).unwrap();
        let mut all: Vec<f64> = (0..100)
            .map(|_| {
                file.write_all(&[0; 256]).unwrap();
                let start = Instant::now();
                file.sync_data().unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        all.sort_by(f64::total_cmp);
        at(&all, 0.5)
    }

    /// Keys into a terminal, that draws each: what the bastion adds on either way.
    fn typing(&self, keys: usize, figures: &mut Figures) {
        let _terminal = self.shadow.terminal();
        // The program takes keys once the pointer is over it.
        self.viewer.screen.type_text("");
        self.begin();
        let mut xdotool = self.viewer.screen.command("xdotool");
        xdotool.args(["type", "--delay", "60", &"abcdefghij".repeat(keys / 10)]);
        fixture::process::run(xdotool, b"", fixture::LIMIT).ok();
        self.near.until_quiet();
        let (up, down) = (held(&self.near.up, &self.far.up), held(&self.far.down, &self.near.down));
        assert!(up.len() > keys && down.len() > keys / 10, "{} keys, {} pictures", up.len(), down.len());
        self.row_added("key typed", &up, ADDED, figures);
        self.row_added("screen that answers it", &down, self.goal(), figures);
    }

    /// A film of 25 pictures a second, relayed, recorded and drawn.
    fn film(&self, seconds: u64, figures: &mut Figures) {
        self.begin();
        let before = self.near.bytes();
        let film = Running::start(self.film_program(), Stdout::Gathered);
        fixture::until(fixture::LIMIT, "film", || (self.near.bytes() > before + 1_000_000).then_some(()));
        let (start, bytes, cpu) = (Instant::now(), self.near.bytes(), Spent::by(&self.bastion));
        std::thread::sleep(Duration::from_secs(seconds));
        let (seconds, bytes) = (start.elapsed().as_secs_f64(), (self.near.bytes() - bytes) as f64 / 1e6);
        let Spent { server, carried, drawn } = Spent::by(&self.bastion).since(&cpu);
        drop(film);
        self.near.until_quiet();
        if self.durability == "strict" {
            let mut row = |name, spent: f64, goal| figures.row(name, "ms", spent * 1e3 / bytes, goal);
            row("film: relayed, without drawing, CPU per MB", carried, Bound::AtMost(4.0));
            row("film: drawn along, CPU per MB", drawn, Bound::None);
            row("film: recorded by the server, CPU per MB", server, Bound::None);
            let all = server + carried + drawn;
            row("film: relayed, recorded and drawn, CPU per MB", all, Bound::None);
            figures.row("film: relayed", "MB/s", bytes / seconds, Bound::None);
            let part = all * 100.0 / seconds;
            figures.row("film: relayed, recorded and drawn, of one core", "%", part, Bound::AtMost(10.0));
        }
        self.row_added("film", &held(&self.far.down, &self.near.down), self.goal(), figures);
    }

    fn film_program(&self) -> std::process::Command {
        let mut ffplay = self.shadow.screen.command("ffplay");
        ffplay.args(["-loglevel", "error", "-noborder", "-f", "lavfi", "-i", "testsrc2=size=800x600:rate=25"]);
        ffplay
    }

    /// Counts from here, where nothing is on its way.
    fn begin(&self) {
        self.near.until_quiet();
        self.near.begin();
        self.far.begin();
    }

    /// What is shown may wait for the disk, if the rule wants that; then the disk is measured.
    fn goal(&self) -> Bound {
        if self.durability == "strict" { Bound::None } else { ADDED }
    }

    fn row_added(&self, what: &str, sorted: &[f64], goal: Bound, figures: &mut Figures) {
        let name = |part: &str| format!("{what}: added, {}, {part}", self.durability);
        figures.row(&name("p50"), "ms", at(sorted, 0.5), goal);
        figures.row(&name("p99"), "ms", at(sorted, 0.99), Bound::None);
    }
}

/// CPU time in seconds.
struct Spent {
    /// Recording: compressing, sealing, writing, the store; and whatever else the server does.
    server: f64,
    /// A desktop's process without its thread that draws: both legs' TLS, judging each message, handing its record to the server.
    carried: f64,
    /// Drawing for those who watch.
    drawn: f64,
}

impl Spent {
    fn by(bastion: &Bastion) -> Self {
        let own = processes(bastion);
        assert!(own.len() > 1, "there is no process of a desktop");
        let of = |pids: &[u32], is_meant: &dyn Fn(&str) -> bool| {
            pids.iter().map(|pid| cpu_of_threads(*pid, is_meant).as_secs_f64()).sum::<f64>()
        };
        Self {
            server: of(&own[..1], &|_| true),
            carried: of(&own[1..], &|name| name != "view"),
            drawn: of(&own[1..], &|name| name == "view"),
        }
    }

    fn since(self, then: &Self) -> Self {
        let Self { server, carried, drawn } = self;
        Self { server: server - then.server, carried: carried - then.carried, drawn: drawn - then.drawn }
    }
}

/// The figure that this part of all is at most.
fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
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
