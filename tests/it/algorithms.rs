//! What is agreed on with clients and targets.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixture::bastion::{Bastion, DB1};
use crate::fixture::process::run;
use crate::fixture::{LIMIT, Sshd, key, until};
use crate::require;

/// Where `make readers` puts ssh-audit.
fn ssh_audit() -> Option<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_BIN_EXE_doorward")).parent()?.parent()?.join("readers/ssh-audit");
    if !folder.is_dir() {
        crate::fixture::left_out(&folder);
    }
    folder.is_dir().then_some(folder)
}

#[test]
fn ssh_audit_finds_no_fault_but_classical_key_exchange() {
    let Some(folder) = ssh_audit() else { return };
    let bastion = {
        let mut bastion = Bastion::init();
        bastion.serve();
        bastion
    };
    let mut audit = Command::new("python3");
    audit.env("PYTHONPATH", folder).args(["-m", "ssh_audit", "--json", "--skip-rate-test"]);
    audit.args(["-p", &bastion.port.to_string(), "127.0.0.1"]);
    let told = run(audit, b"", LIMIT).out();
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let mut warned = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        let all = told[kind].as_array().unwrap();
        assert!(!all.is_empty(), "{told}");
        for one in all {
            assert!(one["notes"]["fail"].is_null(), "{one}");
            if !one["notes"]["warn"].is_null() {
                warned.push(one["algorithm"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(warned, ["curve25519-sha256", "curve25519-sha256@libssh.org"], "{told}");
}

/// The record of what a session was.
pub fn facts(bastion: &Bastion, session: &str) -> String {
    let bundle = bastion.scratch().join(session);
    let export = ["recording", "export", session, "--proof", bundle.to_str().unwrap()];
    until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
    std::fs::read_to_string(bundle.join("channel-0.cast")).unwrap()
}

#[test]
fn old_gear_is_reached_only_where_an_operator_says_so() {
    require!("sshd", "ssh");
    let keys = tempfile::tempdir().unwrap();
    let (host, login) = (key(keys.path(), "host", "rsa", ""), key(keys.path(), "login", "rsa", ""));
    let sshd = Sshd::with(&[
        &format!("HostKey {}", host.display()),
        "HostKeyAlgorithms ssh-rsa",
        "KexAlgorithms diffie-hellman-group14-sha1",
        "Ciphers aes128-cbc",
        "MACs hmac-sha1",
        "PubkeyAcceptedAlgorithms ssh-rsa",
    ]);
    sshd.accept(&login.with_extension("pub"));
    let mut bastion = Bastion::furnished(&sshd);
    bastion.doorward(&["target", "set", DB1, "--host-key", host.with_extension("pub").to_str().unwrap()]).ok();
    bastion.set_key(&format!("{}@{DB1}", sshd.account), &login);
    bastion.serve();
    let route = bastion.to(&sshd);
    let refused = route.run("echo in");
    assert_eq!((refused.code, refused.out().as_str()), (Some(255), ""), "{refused:?}");
    assert!(refused.err().contains("no secure connection"), "{refused:?}");
    assert!(!bastion.doorward(&["target", "scan", DB1]).out().contains("ssh-rsa"));
    bastion.doorward(&["target", "set", DB1, "--insecure-algorithms", "true"]).ok();
    assert_eq!(route.run("echo in").ok().out(), "in\n");
    assert!(bastion.doorward(&["target", "scan", DB1]).out().contains("ssh-rsa"));
    assert!(bastion.doorward(&["target", "list"]).ok().out().contains("INSECURE"));
    assert!(bastion.audit().contains("insecure algorithms: true"));
    let facts = facts(&bastion, bastion.recordings().last().unwrap()["session"].as_str().unwrap());
    assert!(facts.contains("diffie-hellman-group14-sha1 ssh-rsa aes128-cbc hmac-sha1"), "{facts}");
    assert!(facts.contains("lets this target use insecure algorithms"), "{facts}");
}

#[test]
fn who_speaks_and_what_was_agreed_on_is_in_the_recording() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    let facts = facts(&bastion, &bastion.only_recording());
    assert!(facts.contains("the user's client: SSH-2.0-OpenSSH_"), "{facts}");
    assert!(facts.contains("the target: SSH-2.0-OpenSSH_"), "{facts}");
    assert!(facts.contains(", curve25519-sha256 ssh-ed25519 aes128-gcm@openssh.com"), "{facts}");
}

/// The key exchanges that whoever is at the other end of a fresh connection offers, in their order (RFC 4253 section 7.1).
fn offered(mut stream: std::net::TcpStream) -> Vec<String> {
    use std::io::{BufRead, BufReader, Read, Write};
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut String::new()).unwrap();
    let mut four = [0; 4];
    reader.read_exact(&mut four).unwrap();
    let mut packet = vec![0; u32::from_be_bytes(four) as usize];
    reader.read_exact(&mut packet).unwrap();
    // Padding's length, the message's number, 16 bytes of cookie, a list of names.
    assert_eq!(packet[1], 20, "no KEXINIT");
    let length = u32::from_be_bytes(packet[18..22].try_into().unwrap()) as usize;
    std::str::from_utf8(&packet[22..22 + length]).unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn a_post_quantum_key_exchange_is_offered_first_on_both_legs() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bastion.add_target_at("pq", target.local_addr().unwrap().port(), &sshd.host_key());
    bastion.set_key(&format!("{}@pq", sshd.account), &sshd.key);
    bastion.serve();
    let to_users = offered(std::net::TcpStream::connect(("127.0.0.1", bastion.port)).unwrap());
    let _route = bastion.login(&format!("{}@pq", sshd.account)).start(&["-n"], "true");
    let to_targets = offered(target.accept().unwrap().0);
    for leg in [to_users, to_targets] {
        assert_eq!(leg[..2], ["mlkem768x25519-sha256", "curve25519-sha256"], "{leg:?}");
    }
}
