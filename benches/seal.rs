//! What recording costs: `cargo bench --bench seal`. Sealing alone, and the whole way of a record to the disk.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "the store is made by the tests' code")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

#[path = "ssh/machine.rs"]
mod machine;
#[path = "../tests/it/verify/store.rs"]
mod store;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use doorward::model::ChannelNumber;
use doorward::seal::{ContextPool, Dek, EndReason, Item, Opener, Scanner, Sealer, SessionKeys, Source, Stream, scan};
use machine::{Bound, Figures};
use ring::digest::{SHA256, digest};

const BATCH: usize = 64 * 1024;
const BATCHES: usize = 4096;

/// CPU time that one record may take, in microseconds.
const RECORD: Bound = Bound::AtMost(30.0);

fn main() {
    let mut figures = Figures::new("seal");
    let lines = log_text(8 * 1024 * 1024);
    let pool = ContextPool::new(1);
    let dek = Dek::random().unwrap();

    let mut bytes = Vec::with_capacity(BATCH * BATCHES / 2);
    let mut sealer = start(&dek, 1, &pool, &mut bytes);
    let plain = BATCH * BATCHES;
    let secs = timed(|| {
        for number in 0..BATCHES {
            let at = (number * BATCH) % (lines.len() - BATCH);
            sealer.record(&lines[at..at + BATCH], &mut bytes).unwrap();
        }
    });
    sealer.end(EndReason::Closed, &mut bytes).unwrap();
    let ratio = plain as f64 / bytes.len() as f64;
    figures.row("seal, log text, records of 64 KiB", "MB/s", rate(plain, secs), Bound::None);
    figures.row("that text, to what is stored of it", "x", ratio, Bound::None);

    let noise = noise(8 * 1024 * 1024);
    let mut stored = Vec::with_capacity((BATCH + 64) * BATCHES);
    let mut sealer = start(&dek, 2, &pool, &mut stored);
    let secs = timed(|| {
        for number in 0..BATCHES {
            let at = (number * BATCH) % noise.len();
            sealer.record(&noise[at..at + BATCH], &mut stored).unwrap();
        }
    });
    sealer.end(EndReason::Closed, &mut stored).unwrap();
    figures.row("seal, noise, records of 64 KiB", "MB/s", rate(plain, secs), Bound::None);

    let mut small = Vec::new();
    let mut sealer = start(&dek, 3, &pool, &mut small);
    let records = 200_000;
    let secs = timed(|| {
        for number in 0..records {
            let at = (number * 100) % (lines.len() - 100);
            sealer.record(&lines[at..at + 100], &mut small).unwrap();
        }
    });
    sealer.end(EndReason::Closed, &mut small).unwrap();
    figures.row("seal, log text, records of 100 B", "us", secs * 1e6 / records as f64, RECORD);

    let secs = timed(|| {
        black_box(digest(&SHA256, &stored));
    });
    figures.row("SHA-256 alone", "MB/s", rate(stored.len(), secs), Bound::None);
    for (name, bytes) in [("64 KiB of noise", &stored), ("64 KiB of text", &bytes), ("100 B of text", &small)] {
        let secs = timed(|| assert!(scan(bytes).end.is_ok()));
        figures.row(&format!("scan, records of {name}"), "MB/s", rate(bytes.len(), secs), Bound::None);
    }
    let mut out = Vec::new();
    let secs = timed(|| open(&dek, &bytes, &mut out));
    figures.row("open, log text, records of 64 KiB", "MB/s", rate(plain, secs), Bound::None);
    record_path(&mut figures);
    figures.write();
}

/// The whole way of a small record in strict durability: queue, line, seal, write, sync, receipt. CPU time of all
/// threads, in the kernel too. Where syncs cost nothing it is the path's own; on the disk its syncs are in it.
fn record_path(figures: &mut Figures) {
    let places = [("in memory", Some(Path::new("/dev/shm")), RECORD), ("on the disk", None, Bound::None)];
    for (place, folder, bound) in places {
        let folder = match folder.map(tempfile::tempdir_in) {
            Some(Ok(folder)) => folder,
            Some(Err(_)) | None => tempfile::tempdir().unwrap(),
        };
        let store = store::Store::made_at(folder.path());
        let bastion = store.bastion();
        let live: Vec<store::Live> = (0..4).map(|_| bastion.open(&[])).collect();
        let records = 20_000_usize;
        let line = "Nov 21 09:12:01 db1 sshd[412]: Accepted publickey for alice from 10.0.3.7 port 52144 ssh2\r\n";
        let before = machine::cpu();
        std::thread::scope(|scope| {
            for live in &live {
                scope.spawn(|| bastion.show(live, 1, &vec![line; records]));
            }
        });
        let each = (machine::cpu() - before) * 1e6 / (records * live.len()) as f64;
        figures.row(&format!("record path of 90 B, strict, {place}, CPU"), "us", each, bound);
    }
}

fn start(dek: &Dek, channel: u32, pool: &std::sync::Arc<ContextPool>, out: &mut Vec<u8>) -> Sealer {
    let source = Source { stream: Stream::Cast3, session: [1; 16], recipients_digest: [2; 8] };
    let key = SessionKeys::new(dek).unwrap().channel(ChannelNumber(channel)).unwrap();
    Sealer::start(source, key, 0, pool.clone(), out).unwrap()
}

fn open(dek: &Dek, bytes: &[u8], out: &mut Vec<u8>) {
    let (mut scanner, mut opener, mut segment) = (Scanner::new(), Opener::new(dek.clone()), None);
    let mut input = bytes;
    while let Some(item) = scanner.read(&mut input).unwrap() {
        match item {
            Item::Header(header) => segment = Some(opener.segment(&header).unwrap()),
            Item::Record(record) => {
                out.clear();
                segment.as_mut().unwrap().record(&record, out).unwrap();
            }
        }
    }
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn rate(bytes: usize, secs: f64) -> f64 {
    bytes as f64 / secs / 1e6
}

/// Lines of asciicast that show a log.
fn log_text(len: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut state = 1_u64;
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (ms, pid, ip) = (state >> 54, (state >> 40) & 0x7fff, (state >> 32) & 0xff);
        text.push_str(&format!(
            "[0.{ms:03},\"o\",\"Nov 21 09:12:{:02} db1 sshd[{pid}]: Accepted publickey for alice from 10.0.3.{ip} port {} ssh2\\r\\n\"]\n",
            ms % 60,
            state >> 48
        ));
    }
    text.into_bytes()
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
