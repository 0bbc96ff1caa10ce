//! Alarms that are told at once, and whose token goes where.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use super::*;

/// A server that answers 204 and keeps what it was sent.
fn server() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, said) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(String::new())));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &heard)));
    (port, said)
}

fn answer(mut stream: TcpStream, heard: &Mutex<String>) {
    let (mut text, mut piece) = (String::new(), [0_u8; 4096]);
    // The body of these messages ends with the bracket that it begins with.
    while !text.trim_end().ends_with('}') {
        let read = stream.read(&mut piece).unwrap_or(0);
        if read == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    heard.lock().unwrap().push_str(&text);
    let _ = stream.write_all(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

fn ways(hooks: &[(u16, Option<&str>)]) -> Arc<Ways> {
    let url = |port: u16| format!("http://127.0.0.1:{port}/");
    let webhooks = hooks.iter().map(|(port, _)| Webhook { url: url(*port), token: None, secret: None }).collect();
    let tokens =
        hooks.iter().filter_map(|(port, token)| token.map(|token| (url(*port), Secret::new(token.to_owned()))));
    let settings = NotifySettings { webhooks, ..NotifySettings::default() };
    let (agent, ringing) = (http::agent(CALL_MAX), AtomicUsize::new(0));
    let (tokens, secrets, node) = (tokens.collect(), BTreeMap::new(), String::from("bastion1"));
    Arc::new(Ways { settings, tokens, secrets, node, agent, ringing })
}

fn message(ways: &Ways) -> Message {
    let first = Delivery::Waiting { tries: 0, next: Timestamp::from_millis(0) };
    Message {
        id: String::from("m-1"),
        at: Timestamp::from_millis(0),
        event: String::from("breakglass.open"),
        request: RequestId::parse("r-1").unwrap(),
        to: BTreeSet::from([UserName::parse("bob").unwrap()]),
        subject: String::from("alice breaks the glass"),
        text: String::from("alice breaks the glass"),
        alert: true,
        command: None,
        ways: ways.settings.ways().into_iter().map(|way| (way, first.clone())).collect(),
    }
}

#[test]
fn each_webhook_gets_its_own_token_and_no_other() {
    let (one, two, three) = (server(), server(), server());
    let ways = ways(&[(one.0, Some("token-one")), (two.0, Some("token-two")), (three.0, None)]);
    assert_eq!(ways.ring(&message(&ways)).len(), 3);
    let tokens = |said: &Mutex<String>| {
        let said = said.lock().unwrap().to_lowercase();
        let all = said.lines().filter_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
        all.collect::<Vec<_>>()
    };
    assert_eq!(
        [&one.1, &two.1, &three.1].map(|said| tokens(said)),
        [vec![String::from("bearer token-one")], vec![String::from("bearer token-two")], vec![],]
    );
}

#[test]
fn an_alarm_waits_a_moment_for_a_way_that_does_not_answer_and_has_the_others() {
    let (quick, deaf) = (server(), TcpListener::bind("127.0.0.1:0").unwrap());
    let ways = ways(&[(quick.0, None), (deaf.local_addr().unwrap().port(), None)]);
    let began = Clock::system().instant();
    let taken = ways.ring(&message(&ways));
    assert!(began.elapsed() < CALL_MAX / 2, "{:?}", began.elapsed());
    assert_eq!(taken.into_iter().collect::<Vec<_>>(), [way_of(&format!("http://127.0.0.1:{}/", quick.0))]);
}
