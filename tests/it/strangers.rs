//! Threat T23: whoever has not logged in costs little, is sent away by a limit, and keeps nobody else out.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command};
use std::time::Duration;

use crate::fixture::process::{memory, run};
use crate::fixture::route::line;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, until};
use crate::require;

/// A bastion that strangers are at, with somebody at work and somebody who comes from another address.
struct Siege {
    sshd: Sshd,
    bastion: Bastion,
    worker: Running,
    input: ChildStdin,
    output: ChildStdout,
    resident: u64,
}

/// Longer than any test: what ends before, another limit has ended.
const FOR_EVER: &str = "login_grace = \"600s\"";

impl Siege {
    /// `settings` are lines of the section `[ssh]`.
    fn begin(settings: &str) -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        let text = std::fs::read_to_string(bastion.config()).unwrap();
        std::fs::write(bastion.config(), text.replace("max_unauthenticated_per_address = 100\n", "")).unwrap();
        bastion.configure("ssh", settings);
        bastion.serve();
        let (mut worker, output) = bastion.to(&sshd).start_ready(&[], "cat");
        let input = worker.stdin();
        let resident = memory(bastion.pid(), "status", "VmRSS");
        Self { sshd, bastion, worker, input, output, resident }
    }

    /// A stranger at the door, who has read the bastion's own identification.
    fn stranger(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.bastion.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        assert!(line(&mut stream).starts_with("SSH-2.0-"), "no greeting");
        stream
    }

    /// A stranger who has identified themselves, and read the bastion's first packet.
    fn identified(&self) -> TcpStream {
        let mut stream = self.stranger();
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
        assert_eq!(packet(&mut stream).first(), Some(&KEXINIT));
        stream
    }

    /// Asserts that others go on, and that the server has grown by at most `kib`.
    #[track_caller]
    fn stands(&mut self, kib: u64) {
        let grown = memory(self.bastion.pid(), "status", "VmRSS").saturating_sub(self.resident);
        assert!(grown < kib, "grown by {grown} KiB");
        self.input.write_all(b"at work\n").unwrap();
        assert_eq!(line(&mut self.output), "at work\n");
        let elsewhere = self.bastion.to(&self.sshd).with("BindAddress=127.0.0.2");
        assert_eq!(elsewhere.run("echo in").out(), "in\n");
        assert!(!self.worker.ended());
    }
}

/// Asserts that the server ends a connection by itself.
#[track_caller]
fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "still open after {LIMIT:?}: {error}"),
    }
}

/// Writes `bytes` again and again until the server hangs up.
#[track_caller]
fn floods(mut stream: TcpStream, bytes: &[u8]) {
    // Far more than any buffer on the way takes.
    for _ in 0..(1 << 30) / bytes.len() {
        match stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "still open: {error}");
                return;
            }
        }
    }
    panic!("a gibibyte was read");
}

/// SSH_MSG_KEXINIT (RFC 4253 section 7.1).
const KEXINIT: u8 = 20;
/// SSH_MSG_KEX_ECDH_INIT, and its reply (RFC 5656 section 7.1).
const ECDH_INIT: u8 = 30;
const ECDH_REPLY: u8 = 31;

/// A packet before there are keys (RFC 4253 section 6).
fn sealed(payload: &[u8]) -> Vec<u8> {
    let padding = 8 + 7 - (payload.len() + 4) % 8;
    let length = u32::try_from(payload.len() + 1 + padding).unwrap();
    [&length.to_be_bytes()[..], &[padding as u8], payload, &vec![0; padding]].concat()
}

/// Reads one, and gives its payload.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
    let mut rest = vec![0; length - 1];
    stream.read_exact(&mut rest).unwrap();
    rest.truncate(length - 1 - usize::from(head[4]));
    rest
}

/// A KEXINIT that the bastion can agree with but for what is said here.
fn kexinit(kex: &str, compression: &str) -> Vec<u8> {
    let cipher = "aes256-gcm@openssh.com";
    let lists =
        [kex, "ssh-ed25519", cipher, cipher, "hmac-sha2-256", "hmac-sha2-256", compression, compression, "", ""];
    let mut payload = vec![KEXINIT; 17];
    for list in lists {
        payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    sealed(&payload)
}

/// Whether the server goes on to agree on keys.
fn agrees(stream: &mut TcpStream) -> bool {
    let point = [&[ECDH_INIT][..], &32_u32.to_be_bytes(), &[9; 32]].concat();
    stream.write_all(&sealed(&point)).is_ok() && packet(stream).first() == Some(&ECDH_REPLY)
}

#[test]
fn t23_hundreds_of_half_open_connections_cost_little_and_keep_nobody_else_out() {
    require!("sshd", "ssh");
    const STRANGERS: u64 = 300;
    let mut siege =
        Siege::begin(&format!("{FOR_EVER}\nmax_unauthenticated = 400\nmax_unauthenticated_per_address = {STRANGERS}"));
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..STRANGERS {
        // As far as a login comes without one: to the address, to the line, to the keys.
        open.push(match number % 3 {
            0 => siege.stranger(),
            1 => siege.identified(),
            _ => {
                let mut stream = siege.identified();
                stream.write_all(&kexinit("curve25519-sha256", "none")).unwrap();
                stream
            }
        });
    }
    siege.stands(STRANGERS * 96);
    // One more from there is not greeted.
    let beyond = TcpStream::connect(("127.0.0.1", siege.bastion.port)).unwrap();
    beyond.set_read_timeout(Some(LIMIT)).unwrap();
    ends(beyond);
    // Who leaves makes room.
    open.truncate(10);
    until(LIMIT, "room for one more", || {
        let mut next = TcpStream::connect(("127.0.0.1", siege.bastion.port)).ok()?;
        next.set_read_timeout(Some(LIMIT)).unwrap();
        line(&mut next).starts_with("SSH-2.0-").then_some(())
    });
    siege.stands(STRANGERS * 96);
}

#[test]
fn t23_silence_ends_with_the_login_grace_and_noise_at_once() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin("login_grace = \"3s\"\nmax_unauthenticated_per_address = 10");
    ends(siege.identified());
    let mut strangers: Vec<TcpStream> = Vec::new();
    for number in 0..200_usize {
        let mut stranger = TcpStream::connect(("127.0.0.1", siege.bastion.port)).unwrap();
        let noise = match number % 4 {
            0 => Vec::new(),
            1 => vec![b'x'; 100_000],
            2 => [&b"SSH-2.0-x\r\n"[..], &[0xff; 5000]].concat(),
            _ => [&b"SSH-2.0-x\r\n"[..], &[0, 0, 0, 12, 10, 20], &[0; 200]].concat(),
        };
        // The server may have hung up already: that is its right.
        let _ = stranger.write_all(&noise);
        strangers.push(stranger);
    }
    siege.stands(32 << 10);
    // The grace over, a login from their own address works though they still hold their ends.
    until(LIMIT, "login beside strangers", || {
        (siege.bastion.to(&siege.sshd).run("echo in").out() == "in\n").then_some(())
    });
    drop(strangers);
}

#[test]
fn t23_a_line_that_comes_byte_by_byte_ends_with_the_login_grace() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin("login_grace = \"2s\"");
    let slow = |mut stream: TcpStream, bytes: Vec<u8>| {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut bytes = bytes.into_iter();
        until(LIMIT, "end of a slow connection", || {
            let _ = bytes.next().map(|byte| stream.write_all(&[byte]));
            match stream.read(&mut [0; 4096]) {
                Ok(0) => Some(()),
                Ok(_) => None,
                Err(error) => (error.kind() == ErrorKind::ConnectionReset).then_some(()),
            }
        });
    };
    let line = [b"SSH-2.0-".to_vec(), vec![b'x'; 200]].concat();
    let strangers = [(siege.stranger(), line), (siege.identified(), kexinit("curve25519-sha256", "none"))];
    let threads: Vec<_> =
        strangers.into_iter().map(|(stream, bytes)| std::thread::spawn(move || slow(stream, bytes))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    siege.stands(16 << 10);
}

#[test]
fn t23_what_is_no_greeting_ends_at_once() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin(FOR_EVER);
    let long = vec![b'x'; 4096];
    for noise in [&b"welcome to this client\r\n"[..], b"\n", &long, &[0; 512], b"SSH-1.5-x\r\n", b"GET / HTTP/1.1\r\n"]
    {
        floods(siege.stranger(), noise);
    }
    siege.stands(16 << 10);
}

#[test]
fn t23_lengths_that_lie_end_the_connection_or_are_bounded() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin(&format!("{FOR_EVER}\nmax_unauthenticated_per_address = 90"));
    for length in [0, 1, 4, 7, 1 << 20, 0x7fff_ffff, u32::MAX] {
        let mut stream = siege.identified();
        stream.write_all(&[&length.to_be_bytes()[..], &[4; 64]].concat()).unwrap();
        ends(stream);
    }
    // More padding than packet, and none at all.
    for padding in [0, 255] {
        let mut stream = siege.identified();
        stream.write_all(&[&12_u32.to_be_bytes()[..], &[padding], &[KEXINIT; 27]].concat()).unwrap();
        ends(stream);
    }
    // As long as a packet may be, which never comes.
    let waiting: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = siege.identified();
            stream.write_all(&[&(256_u32 << 10).to_be_bytes()[..], &[4; 64]].concat()).unwrap();
            stream
        })
        .collect();
    siege.stands(80 * (256 + 96));
    drop(waiting);
}

#[test]
fn t23_a_client_that_insists_on_compression_is_sent_away() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin(FOR_EVER);
    for compression in ["zlib", "zlib@openssh.com", "zlib@openssh.com,zlib"] {
        let mut stream = siege.identified();
        stream.write_all(&kexinit("curve25519-sha256", compression)).unwrap();
        ends(stream);
    }
    // One that can do without is served, and so is stock `ssh -C`.
    let mut stream = siege.identified();
    stream.write_all(&kexinit("curve25519-sha256", "zlib,none")).unwrap();
    assert!(agrees(&mut stream));
    let seen = siege.bastion.to(&siege.sshd).with("Compression=yes").with("LogLevel=DEBUG1").run("echo in");
    assert!(seen.out() == "in\n" && !seen.err().contains("compression: zlib"), "{seen:?}");
    siege.stands(16 << 10);
}

#[test]
fn t23_the_largest_offers_of_algorithms_cost_little() {
    require!("sshd", "ssh");
    let mut siege = Siege::begin(&format!("{FOR_EVER}\nmax_unauthenticated_per_address = 90"));
    // Nothing that the bastion knows, in as many names as a packet takes; and what it knows behind as many as it reads.
    let strange = "a,".repeat(127 << 10);
    let late = format!("{}curve25519-sha256", "unheard-of-name,".repeat(900));
    let mut late_ones = Vec::new();
    for _ in 0..40 {
        let mut stream = siege.identified();
        stream.write_all(&kexinit(&strange, "none")).unwrap();
        ends(stream);
        // They agree, late as it is.
        let mut stream = siege.identified();
        stream.write_all(&kexinit(&late, "none")).unwrap();
        assert!(agrees(&mut stream));
        late_ones.push(stream);
    }
    siege.stands(40 * 512);
    // Asked for new keys again and again before the first are there, it hangs up.
    floods(siege.identified(), &kexinit("curve25519-sha256", "none"));
}

#[test]
fn t23_who_logs_in_without_end_is_sent_away_and_on_record_once() {
    require!("sshd", "ssh", "python3-paramiko");
    let mut siege = Siege::begin(FOR_EVER);
    let told = |what: &str| stranger(&siege.bastion, what);
    // paramiko asks for the login before each key; bounded all the same.
    assert_eq!(told("again"), "accept 6 alive\n");
    assert_eq!(told("services"), "accept 11 cut\n");
    assert_eq!(told("service"), "cut\n");
    assert_eq!(told("methods"), "accept 1 failure 10 cut\n");
    assert_eq!(told("offers"), "accept 1 failure 10 cut\n");
    assert_eq!(told("unasked"), "accept 1 failure 10 cut\n");
    until(LIMIT, "the failed login on record", || {
        let log = siege.bastion.audit();
        let failed: Vec<&str> = log.lines().filter(|line| line.contains("\"auth.failed\"")).collect();
        assert!(failed.len() < 2, "{failed:?}");
        failed.first().map(|line| assert!(line.contains("10 tried: no user has key SHA256:"), "{line}"))
    });
    siege.stands(16 << 10);
}

#[test]
fn t23_answers_that_are_none_are_refused_and_on_record() {
    // One packet of these ended the process of a library's users once: CVE-2026-42189.
    require!("sshd", "ssh", "python3-paramiko");
    let mut siege = Siege::begin(FOR_EVER);
    siege.bastion.stop();
    siege.bastion.configure("login", "passwords = true");
    siege.bastion.serve();
    let told = |what: &str| stranger(&siege.bastion, what);
    assert_eq!(told("count"), "accept 1 failure 1 question 1 alive\n");
    assert_eq!(told("short"), "accept 1 question 1 cut\n");
    assert_eq!(told("more"), "accept 1 question 1 cut\n");
    until(LIMIT, "the malformed answer on record", || {
        siege.bastion.audit().contains("a malformed answer").then_some(())
    });
    assert_eq!(siege.bastion.to(&siege.sshd).run("echo in").out(), "in\n");
    assert!(siege.worker.ended(), "the first server's session");
}

/// Lets a stranger who has agreed on keys do `what`; gives what they were told.
#[track_caller]
fn stranger(bastion: &Bastion, what: &str) -> String {
    let mut command = Command::new("/usr/bin/python3");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile_stranger.py");
    command.args([program, &bastion.port.to_string(), what]);
    run(command, b"", LIMIT * 2).ok().out()
}
