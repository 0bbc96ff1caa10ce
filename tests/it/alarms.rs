//! Alerts of the command gate, by each way that a machine is told: at once, and after a restart where nobody took them.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::commands::House;
use crate::fixture::process::run;
use crate::fixture::{LIMIT, until};
use crate::requests::Hook;
use crate::require;

const SECRET: &str = "a-secret-of-the-hook";

/// What a webhook, a collector and a program were told that can each be out of order.
struct Receivers {
    hook: Hook,
    /// What the webhook took.
    taken: Arc<Mutex<Vec<String>>>,
    up: Arc<AtomicBool>,
    collector: Option<UnixDatagram>,
    collected: Mutex<String>,
    folder: PathBuf,
}

impl Receivers {
    fn new() -> Self {
        let (up, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_up, takes) = (Arc::clone(&up), Arc::clone(&taken));
        let hook = Hook::start(move |text| {
            if !is_up.load(Ordering::SeqCst) {
                return 503;
            }
            takes.lock().unwrap().push(text.to_owned());
            204
        });
        Self { hook, taken, up, collector: None, collected: Mutex::default(), folder: PathBuf::new() }
    }

    fn house(&mut self) -> House {
        House::prepared("strict", |bastion| {
            self.folder = bastion.scratch().to_owned();
            let secret = self.folder.join("secret");
            std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
            bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/\"]", self.hook.port));
            bastion.configure("notify", &format!("webhook_secret = {secret:?}"));
            bastion.configure("notify", &format!("syslog = [\"unix:{}\"]", self.folder.join("collector").display()));
            let script = "test -e \"$0/up\" && cat >> \"$0/told\"";
            let words = format!("alert_command = [\"/bin/sh\", \"-c\", {script:?}, {:?}]", self.folder);
            bastion.configure("notify", &words);
        })
    }

    /// From now on each of them takes what it is told.
    fn begin(&mut self) {
        let collector = UnixDatagram::bind(self.folder.join("collector")).unwrap();
        collector.set_nonblocking(true).unwrap();
        self.collector = Some(collector);
        std::fs::write(self.folder.join("up"), "").unwrap();
        self.up.store(true, Ordering::SeqCst);
    }

    /// Those that have been told this.
    fn told(&self, text: &str) -> [bool; 3] {
        let mut piece = [0_u8; 65536];
        let mut collected = self.collected.lock().unwrap();
        while let Some(Ok(length)) = self.collector.as_ref().map(|collector| collector.recv(&mut piece)) {
            collected.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        let program = std::fs::read_to_string(self.folder.join("told")).unwrap_or_default();
        [
            self.taken.lock().unwrap().iter().any(|one| one.contains(text)),
            collected.contains(text),
            program.contains(text),
        ]
    }

    /// Whether what the webhook took is what the holder of its secret has signed.
    #[track_caller]
    fn is_signed(&self) {
        for text in self.taken.lock().unwrap().iter() {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(["dgst", "-sha256", "-hmac", SECRET]);
            let signed = run(openssl, body.as_bytes(), LIMIT).ok().out();
            let hash = signed.trim().rsplit(' ').next().unwrap();
            assert!(head.to_lowercase().contains(&format!("doorward-signature: sha256={hash}")), "{hash}: {head}");
        }
    }
}

#[test]
fn an_alert_is_at_a_webhook_a_collector_and_a_program_within_a_second() {
    require!("sshd", "ssh", "openssl");
    let mut receivers = Receivers::new();
    let house = receivers.house();
    receivers.begin();
    let folder = house.bastion.scratch().to_owned();
    let master = house.alice().master(&folder);
    for number in 0..3 {
        let line = format!("sh -c {number}");
        assert_eq!(master.route.run(&line).code, Some(126));
        // The refusal is read after the decision: what is left of the second is less.
        let refused = Instant::now();
        until(Duration::from_secs(1), "alerts", || (receivers.told(&line) == [true; 3]).then_some(()));
        assert!(refused.elapsed() < Duration::from_secs(1));
    }
    receivers.is_signed();
    assert_eq!(receivers.told("\"event\":\"command.refused\""), [true; 3]);
}

#[test]
fn an_alert_that_nobody_takes_is_kept_over_a_restart() {
    require!("sshd", "ssh", "openssl");
    let mut receivers = Receivers::new();
    let mut house = receivers.house();
    assert_eq!(house.alice().run("sh -c kept").code, Some(126));
    until(LIMIT, "try", || (receivers.hook.heard("sh -c kept") > 0).then_some(()));
    house.bastion.crash();
    assert_eq!(receivers.told("sh -c kept"), [false; 3]);
    receivers.begin();
    house.bastion.serve();
    until(LIMIT, "alerts", || (receivers.told("sh -c kept") == [true; 3]).then_some(()));
    receivers.is_signed();
}
