//! What guard costs whoever types (section "Speed" of what it promises): a held Enter and other keys at a shell, in guard and
//! without it, in turn; and what its emulator costs under output that is made to cost (T24).

use std::time::{Duration, Instant};

use doorward::guard::Guard;
use doorward::screen::Size;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use crate::Scale;
use crate::fixture::bastion::ALICE;
use crate::fixture::own::{Own, block_on, read_until};
use crate::fixture::process::memory;
use crate::fixture::{Bastion, LIMIT, Sshd, scratch};
use crate::lanes::{Lane, Lanes};
use crate::measures::DOORWARD;
use crate::report::{Goal, Report, median, quantile};

/// The prompt; as it is set it is not itself in what is typed.
const PROMPT: &str = "<@>";
const SETTING: &str = "PS1='<''@>'\r";
/// Keys in one line.
const LINE: usize = 40;

/// A shell of the target's own, where keys are timed, in microseconds.
struct Desk {
    _client: Own,
    channel: Channel<Msg>,
    enters: Vec<f64>,
    keys: Vec<f64>,
}

impl Desk {
    async fn sit(bastion: &Bastion, login: &str) -> Self {
        let client = Own::connect(&bastion.login(login)).await;
        let mut channel = client.handle.channel_open_session().await.unwrap();
        channel.request_pty(true, "xterm-256color", 80, 24, 0, 0, &[]).await.unwrap();
        channel.request_shell(true).await.unwrap();
        channel.data_bytes(SETTING.as_bytes()).await.unwrap();
        read_until(&mut channel, PROMPT).await;
        Self { _client: client, channel, enters: Vec::new(), keys: Vec::new() }
    }

    /// Sends keys; what is shown first, and when.
    async fn press(&mut self, keys: &'static [u8]) -> (f64, Vec<u8>) {
        let start = Instant::now();
        self.channel.data_bytes(keys).await.unwrap();
        loop {
            match tokio::time::timeout(LIMIT, self.channel.wait()).await.unwrap() {
                Some(ChannelMsg::Data { data }) => return (start.elapsed().as_secs_f64() * 1e6, data.to_vec()),
                Some(_) => {}
                None => panic!("the shell ended"),
            }
        }
    }

    /// A line that does nothing, and Enter.
    async fn enter(&mut self) {
        self.press(b":").await;
        let (took, first) = self.press(b"\r").await;
        self.enters.push(took);
        if !String::from_utf8_lossy(&first).contains(PROMPT) {
            read_until(&mut self.channel, PROMPT).await;
        }
    }

    /// A line of keys that is given up.
    async fn line(&mut self) {
        // The first waits for the prompt to be over, as what is typed ahead does.
        self.press(b"a").await;
        for _ in 0..LINE {
            let (took, _) = self.press(b"a").await;
            self.keys.push(took);
        }
        self.press(b"\x15").await;
    }
}

/// Enter and other keys.
pub fn keys(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let chosen: Vec<Lane> = lanes.doorward().collect();
    if chosen.is_empty() || !crate::fixture::has("bash") {
        return;
    }
    let home = scratch();
    let sshd = Sshd::with(&[&format!("SetEnv HOME={} HISTFILE=", home.path().display())]);
    let bastion = bastion(&sshd);
    let desks = block_on(async {
        let mut desks = Vec::new();
        for lane in &chosen {
            let login = |kind: &str| format!("{}@{kind}-{}", sshd.account, lane.name());
            let pair = [Desk::sit(&bastion, &login("free")).await, Desk::sit(&bastion, &login("guard")).await];
            desks.push((*lane, pair));
        }
        // Small blocks, in turn: all share the machine's good and bad moments.
        for _ in 0..scale.keys.div_ceil(10) {
            for desk in desks.iter_mut().flat_map(|(_, pair)| pair) {
                for _ in 0..5 {
                    desk.enter().await;
                }
                desk.line().await;
            }
        }
        desks
    });
    type Which = fn(&Desk) -> &Vec<f64>;
    let kinds: [(&str, Which); 2] = [("Enter", |desk| &desk.enters), ("another key", |desk| &desk.keys)];
    for (name, of) in kinds {
        let at = |which: usize, part: f64| -> Vec<(Lane, f64)> {
            desks.iter().map(|(lane, pair)| (*lane, quantile(of(&pair[which]), part))).collect()
        };
        for part in [0.5, 0.99] {
            let (free, held) = (at(0, part), at(1, part));
            let percent = part * 100.0;
            report.row(format!("{name} at a shell p{percent}"), "us", &free, &[], &[]);
            report.row(format!("{name} at a shell in guard p{percent}"), "us", &held, &[], &[]);
            let pairs = free.iter().zip(&held);
            let added: Vec<(Lane, f64)> = pairs.map(|((lane, free), (_, held))| (*lane, (held - free) / 1e3)).collect();
            // Of other keys: what two runs of the same differ by.
            let goal = if name == "Enter" { Goal::AtMost("=", 0.2) } else { Goal::AtMost("=", 0.05) };
            let goals = if part < 0.9 { vec![goal] } else { Vec::new() };
            report.row(format!("added by guard to {name} p{percent}"), "ms", &added, &DOORWARD, &goals);
        }
    }
    // A line is on record before its key goes on: what of it is the disk's is told apart.
    let sync = median(&(0..100).map(|_| synced(&bastion)).collect::<Vec<_>>());
    let all: Vec<(Lane, f64)> = chosen.iter().map(|lane| (*lane, sync)).collect();
    report.row("one small record on that disk", "us", &all, &[], &[]);
}

/// What the disk takes for a small record that must not be lost, in microseconds.
fn synced(bastion: &Bastion) -> f64 {
    use std::io::Write as _;
    let path = bastion.data().join("bench-sync");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let start = Instant::now();
    file.write_all(&[b'x'; 100]).unwrap();
    file.sync_data().unwrap();
    start.elapsed().as_secs_f64() * 1e6
}

/// A bastion with a target for each way to carry a shell.
fn bastion(sshd: &Sshd) -> Bastion {
    let mut bastion = Bastion::init();
    bastion.add_user(ALICE, "dba", &bastion.key);
    let mut policy = String::from("schema = 1\n");
    for durability in ["strict", "bounded"] {
        for (kind, commands) in
            [("free", ""), ("guard", "commands = { mode = \"guard\", sets = [\"no-destruction\"] }\n")]
        {
            let name = format!("{kind}-{durability}");
            policy += &format!(
                "[[rule]]\nid = \"{name}\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ labels = {{ kind = \"{name}\" }} }}\n\
                 accounts = [\"{}\"]\nchannels = [\"shell\"]\ngrant = {{ required = false }}\n\
                 recording = {{ durability = \"{durability}\" }}\n{commands}",
                sshd.account
            );
            bastion.add_target(&name, sshd);
            bastion.doorward(&["target", "set", &name, "--label", &format!("kind={name}")]).ok();
            bastion.set_key(&format!("{}@{name}", sshd.account), &sshd.key);
        }
    }
    bastion.policy(&policy);
    bastion.serve();
    bastion
}

/// What a target sends to have its emulator work or grow, each again and again.
const HOSTILE: [(&str, &[u8]); 10] = [
    ("text", b"Nov 21 09:14:07 db1 postgres[4242]: LOG: checkpoint complete\r\n"),
    ("no line ends", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("wide characters", "\u{6f22}\u{5b57}".as_bytes()),
    ("repeat", b"x\x1b[65535b"),
    ("erase", b"\x1b[2J"),
    ("insert lines", b"\x1b[H\x1b[9999L"),
    ("other screen", b"\x1b[?1049h\x1b[?1049l"),
    ("alignment", b"\x1b#8"),
    ("no end of a sequence", b"\x1b]0;xxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("no text", b"\x9b\xff\xfe\x80\x1b[;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;"),
];

/// How long guard's reading takes, and whether the second half of such output costs more than the first, in time or memory.
pub fn emulator(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let half = usize::try_from(scale.bulk >> 10).unwrap();
    // The largest window, where a whole screen costs most.
    let size = Size::bounded(500, 200);
    let pid = std::process::id();
    let (mut slowest, mut worst, mut grown) = ((f64::MAX, ""), (0.0_f64, ""), (0.0_f64, ""));
    for (name, piece) in HOSTILE {
        let chunk: Vec<u8> = piece.iter().copied().cycle().take(4096).collect();
        let mut guard = Guard::new(size);
        let mut feed = |bytes: usize| {
            let start = Instant::now();
            for _ in 0..bytes / chunk.len() {
                guard.shown(&chunk, start.elapsed());
                while guard.step(start.elapsed()).is_some() {}
            }
            start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
        };
        // What the first bytes of a kind cost is not what a further one costs.
        feed(half / 8);
        let first = feed(half);
        let before = memory(pid, "status", "VmRSS");
        let second = feed(half);
        let more = (memory(pid, "status", "VmRSS") as f64 - before as f64) / 1024.0;
        let speed = half as f64 / f64::from(1 << 20) / second;
        eprintln!("    {name}: {speed:.2} MiB/s");
        if speed < slowest.0 {
            slowest = (speed, name);
        }
        if second / first > worst.0 {
            worst = (second / first, name);
        }
        if more > grown.0 {
            grown = (more, name);
        }
    }
    let all = |figure: f64| -> Vec<(Lane, f64)> { lanes.doorward().map(|lane| (lane, figure)).collect() };
    report.row(format!("emulator, slowest of 10: {}", slowest.1), "MiB/s", &all(slowest.0), &[], &[]);
    let linear = [Goal::AtMost("=", 1.5)];
    report.row(format!("second half to first: {}", worst.1), "times", &all(worst.0), &DOORWARD, &linear);
    report.row(
        format!("grown by the second half: {}", grown.1),
        "MiB",
        &all(grown.0),
        &DOORWARD,
        &[Goal::AtMost("=", 2.0)],
    );
}
