//! The transparency log before other people's eyes: a Go program on `golang.org/x/mod/sumdb` verifies it, without a
//! line of ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use doorward::clock::Clock;
use doorward::log::{Leaf, Log, LogSettings, Opened};
use doorward::secret::Secret;
use doorward::tlog::{Algorithm, KeyName, SigningKey};

/// Where Debian's `golang-golang-x-mod-dev` puts Go packages.
const GO_PATH: &str = "/usr/share/gocode";

/// What is done to the bytes of a file.
type Change = fn(&mut Vec<u8>);

/// A byte of an entry, of a full and of a partial tile, and the size.
const CHANGES: [(&str, Change); 4] = [
    ("tile/entries/001", |bytes| bytes[40] ^= 1),
    ("tile/0/001", |bytes| bytes[40] ^= 1),
    ("tile/0/003.p/232", |bytes| bytes[40] ^= 1),
    ("checkpoint", |bytes| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replacen("\n1000\n", "\n999\n", 1).into_bytes();
    }),
];

#[test]
fn a_go_program_verifies_the_log_and_finds_what_was_changed() {
    crate::require!("go");
    if !has_package() {
        return;
    }
    let folder = crate::fixture::scratch();
    let program = build(folder.path());
    for leaves in [1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000] {
        let directory = folder.path().join(leaves.to_string());
        write_log(&directory, leaves);
        let verified = run(&program, &directory);
        assert!(verified.status.success(), "{}", words(&verified));
        assert_eq!(words(&verified), format!("verified: {leaves} entries\n"));
    }

    let directory = folder.path().join("1000");
    for (file, change) in CHANGES {
        let path = directory.join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(bad, good);
        std::fs::write(&path, bad).unwrap();
        let refused = run(&program, &directory);
        assert_eq!(refused.status.code(), Some(1), "{file}: {}", words(&refused));
        assert!(words(&refused).starts_with("not verified: "), "{file}: {}", words(&refused));
        std::fs::write(&path, good).unwrap();
    }
    assert!(run(&program, &directory).status.success());
}

#[test]
fn a_go_program_verifies_the_log_of_a_bastion() {
    crate::require!("go", "sshd", "ssh");
    if !has_package() {
        return;
    }
    let folder = crate::fixture::scratch();
    let program = build(folder.path());
    let sshd = crate::fixture::Sshd::start();
    let mut bastion = crate::fixture::Bastion::serving(&sshd);
    for _ in 0..3 {
        assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    }
    bastion.crash();
    bastion.serve();
    let (key, last) = (bastion.log_key(), bastion.rows(&["audit", "list"]).len());
    let directory = bastion.data().join("log");
    bastion.stop();
    let verify = || Command::new(&program).arg(&directory).arg(&key).output().unwrap();
    let verified = words(&verify());
    // Beside what was listed: the stop.
    assert_eq!(verified, format!("verified: {} entries\n", last + 1));
    let checkpoint = directory.join("checkpoint");
    let text = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, text.replacen(&format!("\n{}\n", last + 1), &format!("\n{last}\n"), 1)).unwrap();
    assert!(words(&verify()).starts_with("not verified: "));
}

/// Whether the Go packages are installed. Prints that the test is skipped if not.
fn has_package() -> bool {
    if Path::new(GO_PATH).join("src/golang.org/x/mod/sumdb/tlog").is_dir() {
        return true;
    }
    let must = std::env::var_os("REQUIRE_OPENSSH").is_some_and(|value| value == "1");
    assert!(!must, "the Go packages of golang-golang-x-mod-dev are missing; `make install-tools` installs them");
    println!("skipped: the Go packages of golang-golang-x-mod-dev are missing");
    false
}

fn build(folder: &Path) -> PathBuf {
    let program = folder.join("verify-log");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/verify-log/main.go");
    // Debian's packages lie in a GOPATH; nothing is fetched.
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH), ("GOFLAGS", ""), ("GOPROXY", "off")])
        .env("GOCACHE", folder.join("cache"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn run(program: &Path, directory: &Path) -> Output {
    Command::new(program).arg(directory).arg(key().public().to_string()).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn key() -> SigningKey {
    let name = KeyName::parse("bastion.example/n1").unwrap();
    SigningKey::from_seed(name, Algorithm::Note, Secret::new([5; 32])).unwrap()
}

/// Writes a log of so many leaves, published in unequal parts.
fn write_log(directory: &Path, leaves: u64) {
    let settings = LogSettings {
        directory: directory.to_owned(),
        node: String::from("n1"),
        key: key(),
        clock: Clock::system(),
        floor: None,
    };
    let Opened { log, .. } = Log::open(settings).unwrap();
    let mut receipts = Vec::new();
    for n in 0..leaves {
        let fields = [(String::from("n"), n.into())].into_iter().collect();
        receipts.push(log.submit(Leaf::new("test.leaf", fields).unwrap()).unwrap());
        if n % 30_000 == 300 {
            log.publish().unwrap();
        }
    }
    receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
    log.publish().unwrap();
    assert_eq!(log.published().unwrap().size, leaves);
}
