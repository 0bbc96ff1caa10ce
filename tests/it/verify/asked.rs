//! `verify --witness`: what a witness, or who answers in its place, can and cannot make of a verification.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use doorward::clock::Clock;
use doorward::tlog::{Checkpoint, Note, SigningKey};

use super::store::{Store, witness_key};

struct Verified {
    code: i32,
    said: String,
}

/// A witness that gives every call the same answer. It ends with the test's process.
fn answering(status: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut asked, mut chunk) = (Vec::new(), [0; 1024]);
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(len) if len > 0 => asked.extend_from_slice(&chunk[..len]),
                    _ => break,
                }
            }
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    url
}

fn witness() -> SigningKey {
    witness_key("w1.example", 1)
}

fn verify(store: &Store, url: &str, more: &[&str]) -> Verified {
    let key = witness().public().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["verify", "--store", store.path().to_str().unwrap(), "--witness-key", &key, "--witness", url])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Verified { code: output.status.code().unwrap(), said }
}

fn seconds_ago(seconds: i64) -> u64 {
    u64::try_from(Clock::system().now().as_millis() / 1000 - seconds).unwrap()
}

fn cosigned(note: &Note, ago: i64) -> Note {
    let mut note = note.clone();
    note.add(witness().cosign(note.unchecked_text(), seconds_ago(ago)).unwrap());
    note
}

#[test]
fn a_witness_that_was_asked_anchors_what_it_cosigned_and_its_age_is_told() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let url = answering("200 OK", &cosigned(&store.note(), 2 * 86_400).to_string());
    let told = verify(&store, &url, &["--require-witness", "1"]);
    assert!(told.code == 0 && told.said.contains("(2d") && told.said.contains("VERDICT: OK\n"), "{}", told.said);
    let told = verify(&store, &url, &["--max-age", "3d"]);
    assert_eq!(told.code, 0, "{}", told.said);
    let told = verify(&store, &url, &["--max-age", "1d"]);
    assert!(told.code == 6 && told.said.contains("UNANCHORED: the newest cosignature is"), "{}", told.said);
}

#[test]
fn a_witness_that_does_not_know_the_log_is_no_anchor() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let url = answering("404 Not Found", "");
    let told = verify(&store, &url, &[]);
    assert!(told.code == 6 && told.said.contains("w1.example has never seen this log"), "{}", told.said);
    // What it has signed itself stands beside the log.
    fs::write(store.path().join("log/checkpoint"), cosigned(&store.note(), 60).to_string()).unwrap();
    let told = verify(&store, &url, &[]);
    assert!(told.code == 6 && told.said.contains("w1.example denies a log that it cosigned"), "{}", told.said);
}

#[test]
fn an_old_answer_and_a_store_that_was_put_back_are_found() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let (yesterday, old) = (store.copy(), cosigned(&store.note(), 86_400));
    let bastion = store.bastion();
    bastion.session(&["two\r\n"]);
    bastion.stop();
    let new = cosigned(&store.note(), 60);
    let told = verify(&yesterday, &answering("200 OK", &new.to_string()), &[]);
    assert!(told.code == 5 && told.said.contains("ANCHOR: contradicted by witness w1.example"), "{}", told.said);
    // Who answers in the witness's place can only repeat what it said once.
    let replayed = answering("200 OK", &old.to_string());
    assert_eq!(verify(&yesterday, &replayed, &[]).code, 0, "its age is all that shows it");
    assert_eq!(verify(&yesterday, &replayed, &["--max-age", "1h"]).code, 6);
    fs::write(store.path().join("log/checkpoint"), new.to_string()).unwrap();
    let told = verify(&store, &replayed, &[]);
    assert!(told.code == 6 && told.said.contains("an old answer"), "{}", told.said);
}

#[test]
fn a_cosignature_from_the_future_does_not_count() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let url = answering("200 OK", &cosigned(&store.note(), -3600).to_string());
    let told = verify(&store, &url, &[]);
    assert!(told.code == 6 && told.said.contains("from the future"), "{}", told.said);
}

#[test]
fn a_witness_that_cannot_be_heard_or_answers_with_something_else_ends_the_verification() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = verify(&store, &format!("http://{closed}"), &[]);
    assert!(told.code == 1 && told.said.contains("nothing was verified"), "{}", told.said);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = verify(&store, &format!("http://{}", silent.local_addr().unwrap()), &[]);
    assert_eq!(told.code, 1, "{}", told.said);
    let text = store.note().unchecked_text().replacen("example.org/bastion\n", "example.org/bastian\n", 1);
    let size = Checkpoint::parse(&text).unwrap().size;
    assert!(size > 0);
    let mut foreign = Note::new(text).unwrap();
    foreign.add(witness().cosign(foreign.unchecked_text(), seconds_ago(60)).unwrap());
    let told = verify(&store, &answering("200 OK", &foreign.to_string()), &[]);
    assert_eq!(told.code, 1, "{}", told.said);
}

#[test]
fn plain_http_over_the_network_is_warned_of() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let here = answering("404 Not Found", "");
    assert!(!verify(&store, &here, &[]).said.contains("plain HTTP"));
    // Nobody answers there (RFC 6761 section 6.4).
    assert!(verify(&store, "http://witness.invalid", &[]).said.contains("plain HTTP"));
}
