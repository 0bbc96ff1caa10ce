//! Port forwards with stock `ssh`: where they lead, what is on record of them, and what ends them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::fixture::bastion::{ALICE, Bastion, DB1, OPEN};
use crate::fixture::process::{Running, Stdout, cpu, memory};
use crate::fixture::route::Route;
use crate::fixture::{LIMIT, Sshd, free_port, holds, key, own, until};
use crate::require;

/// Rules that open these channels, with these forwards.
fn rules(channels: &str, forward: &str) -> String {
    let text = OPEN.replace(r#"channels  = ["shell", "exec"]"#, &format!("channels = [{channels}]"));
    assert_ne!(text, OPEN, "the rules have no such channels");
    format!("{}forward = {{ {forward} }}\n", text.trim_start())
}

/// A stream of either kind.
trait Stream: Read + Write + Send + 'static {
    fn end(&self);
}

impl Stream for TcpStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// Says `first`, echoes until the end of what comes, then says `bye`: what speaks first, both ways, half-closed.
fn echo(mut stream: impl Stream, first: &str) {
    let mut bytes = [0; 64 * 1024];
    let _ = stream.write_all(first.as_bytes());
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"bye");
    stream.end();
}

/// A service on a port of its own.
fn service(first: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || echo(stream, first));
        }
    });
    port
}

/// A service on a socket.
fn socket_service(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || echo(stream, "hello\n"));
        }
    });
}

/// Sends `text` and reads to the end; empty if nobody answers.
fn ask(mut stream: impl Stream, text: &[u8]) -> String {
    let mut told = String::new();
    if stream.write_all(text).is_ok() {
        stream.end();
    }
    match stream.read_to_string(&mut told) {
        Ok(_) => told,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => told,
        Err(error) => panic!("{error}"),
    }
}

fn connected(port: u16) -> TcpStream {
    let stream = until(LIMIT, "port that ssh listens on", || TcpStream::connect(("127.0.0.1", port)).ok());
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// `ssh -N` with these flags.
fn tunnel(route: &Route, flags: &[&str]) -> Running {
    Running::start(route.ssh(&[flags, &["-N"]].concat(), ""), Stdout::Gathered)
}

/// The forwards in the audit log: class and place.
fn on_record(bastion: &Bastion) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = bastion.rows(&["audit", "list", "--type", "forward"]);
    rows.iter().map(|row| (text(row, "class"), text(row, "place"))).collect()
}

/// The coverage statement's channels of the only recording.
fn channels(bastion: &Bastion) -> Vec<Value> {
    let session = bastion.only_recording();
    let bundle = bastion.scratch().join("bundle");
    let export = ["recording", "export", &session, "--proof", bundle.to_str().unwrap()];
    until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
    let coverage: Value = serde_json::from_slice(&std::fs::read(bundle.join("coverage.json")).unwrap()).unwrap();
    coverage["channels"].as_array().unwrap().clone()
}

#[test]
fn a_local_forward_leads_where_a_rule_says_and_nowhere_else() {
    // Threats T6.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (open, closed) = (service("hello\n"), service("secret\n"));
    bastion.policy(&rules(r#""local-forward""#, &format!(r#"to = ["localhost:{open}"]"#)));
    bastion.serve();
    let route = bastion.to(&sshd);
    let (here, there) = (free_port(), free_port());
    let to = |port: u16, far: u16| format!("{port}:127.0.0.1:{far}");
    let ssh = tunnel(&route, &["-L", &to(here, open), "-L", &to(there, closed)]);
    assert_eq!(ask(connected(here), b"one way\n"), "hello\none way\nbye");
    assert_eq!(ask(connected(there), b"and back\n"), "");
    let many: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let writing = connected(here);
    let mut reading = writing.try_clone().unwrap();
    let told = std::thread::spawn(move || {
        let mut told = Vec::new();
        reading.read_to_end(&mut told).map(|_| told)
    });
    (&writing).write_all(&many).unwrap();
    writing.end();
    let told = told.join().unwrap().unwrap();
    assert!(told == [b"hello\n", &many[..], b"bye"].concat(), "{} bytes came back", told.len());
    // A shell and a command are other channels.
    assert_ne!(route.run("echo no").code, Some(0));
    drop(ssh);
    bastion.empties(LIMIT);

    let place = format!("127.0.0.1:{open}");
    let expected = ("local-forward".to_owned(), place.clone());
    assert_eq!(on_record(&bastion), [expected.clone(), expected]);
    let log = bastion.audit();
    assert!(log.contains(&format!("local-forward 127.0.0.1:{closed}: no rule's `forward` names")), "{log}");
    let all = channels(&bastion);
    let forwards: Vec<&Value> = all.iter().filter(|channel| channel["class"] == "local-forward").collect();
    assert_eq!(forwards.len(), 2);
    let (up, down) = (&forwards[0]["stdin"], &forwards[0]["stdout"]);
    assert_eq!((&up["bytes"], &up["recorded"], &up["in_full"]), (&8.into(), &0.into(), &false.into()), "{up}");
    assert_eq!((&down["bytes"], &down["recorded"]), (&17.into(), &0.into()), "{down}");
    assert_eq!(forwards[1]["stdin"]["bytes"], 3_000_000);
    let text = String::from_utf8(bastion.export(&bastion.only_recording(), "v3", &["--channel", "1"])).unwrap();
    assert!(text.contains(&format!("local-forward {place}, asked for by")), "{text}");
    assert!(!text.contains("hello"), "{text}");
}

#[test]
fn a_name_is_looked_up_once_and_only_for_networks_that_a_rule_names() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let open = service("hello\n");
    bastion.policy(&rules(r#""local-forward""#, &format!(r#"to = ["127.0.0.0/8:{open}"]"#)));
    bastion.serve();
    let (here, there) = (free_port(), free_port());
    let flags = [format!("{here}:localhost:{open}"), format!("{there}:no-such-host.invalid:{open}")];
    let ssh = tunnel(&bastion.to(&sshd), &["-L", &flags[0], "-L", &flags[1]]);
    assert_eq!(ask(connected(here), b"x"), "hello\nxbye");
    assert_eq!(ask(connected(there), b"x"), "");
    drop(ssh);
    bastion.empties(LIMIT);
    let log = bastion.audit();
    let told = format!("local-forward no-such-host.invalid:{open}: its name has no address");
    assert!(log.contains(&told), "{log}");
    // The target was given the address.
    assert_eq!(on_record(&bastion), [("local-forward".to_owned(), format!("127.0.0.1:{open}"))]);
}

#[test]
fn a_dynamic_forward_goes_by_the_same_rules() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (open, closed) = (service("hello\n"), service("secret\n"));
    bastion.policy(&rules(r#""exec", "local-forward""#, &format!(r#"to = ["localhost:{open}"]"#)));
    bastion.serve();
    let here = free_port();
    let ssh = tunnel(&bastion.to(&sshd), &["-D", &here.to_string()]);
    // SOCKS 5 (RFC 1928), by name.
    let through = |port: u16| {
        let mut stream = connected(here);
        let [high, low] = port.to_be_bytes();
        let asking = [&[5, 1, 0, 5, 1, 0, 3, 9][..], b"localhost", &[high, low]].concat();
        stream.write_all(&asking).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map(|()| stream)
    };
    assert_eq!(ask(through(open).unwrap(), b"socks"), "hello\nsocksbye");
    assert_eq!(through(closed).map(|stream| ask(stream, b"")).unwrap_or_default(), "");
    drop(ssh);
    bastion.empties(LIMIT);
}

#[test]
fn sockets_are_forwarded_both_ways_where_a_rule_names_them() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    sshd.open_folder();
    let mut bastion = Bastion::furnished(&sshd);
    let folder = sshd.folder().display().to_string();
    bastion.policy(&rules(
        r#""local-forward-unix", "remote-forward-unix""#,
        &format!(r#"sockets = ["{folder}/open-*.sock"], listen_sockets = ["{folder}/back.sock"]"#),
    ));
    bastion.serve();
    let at = |name: &str| sshd.folder().join(name);
    socket_service(&at("open-1.sock"));
    socket_service(&at("closed.sock"));
    socket_service(&bastion.scratch().join("mine.sock"));
    let near = |name: &str| bastion.scratch().join(name);
    let to = |here: &str, there: &str| format!("{}:{}", near(here).display(), at(there).display());
    let back = |there: &str| format!("{}:{}", at(there).display(), near("mine.sock").display());
    let flags = [to("a", "open-1.sock"), to("b", "closed.sock"), back("back.sock")];
    let ssh = tunnel(&bastion.to(&sshd), &["-L", &flags[0], "-L", &flags[1], "-R", &flags[2]]);
    let connect = |path: &Path| until(LIMIT, "socket", || UnixStream::connect(path).ok());
    assert_eq!(ask(connect(&near("a")), b"local"), "hello\nlocalbye");
    assert_eq!(ask(connect(&near("b")), b"local"), "");
    assert_eq!(ask(connect(&at("back.sock")), b"remote"), "hello\nremotebye");
    drop(ssh);
    bastion.empties(LIMIT);
    let other = tunnel(&bastion.to(&sshd), &["-o", "ExitOnForwardFailure=yes", "-R", &back("other.sock")]);
    assert_eq!(other.wait(LIMIT).code, Some(255));
    assert!(!at("other.sock").exists());
}

#[test]
fn a_remote_forward_listens_where_a_rule_says_and_ends_with_its_session() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (mine, far, other) = (service("hello\n"), free_port(), free_port());
    bastion.policy(&rules(r#""exec", "remote-forward""#, &format!(r#"listen = ["localhost:{far}", "localhost:0"]"#)));
    bastion.serve();
    let route = bastion.to(&sshd).with("ExitOnForwardFailure=yes");
    let back = |port: u16| format!("{port}:127.0.0.1:{mine}");
    let ssh = tunnel(&route, &["-R", &back(far)]);
    assert_eq!(ask(connected(far), b"back"), "hello\nbackbye");
    // A port that the target chooses.
    let shared = route.master(bastion.scratch());
    let flags = ["-O", "forward", "-R", &back(0)];
    let chosen = shared.route.run_with(&flags, "", b"").ok();
    let chosen: u16 = chosen.out().trim().parse().unwrap();
    assert_eq!(ask(connected(chosen), b"chosen"), "hello\nchosenbye");
    let spec = back(0);
    shared.route.run_with(&["-O", "cancel", "-R", &spec], "", b"").ok();
    until(LIMIT, "end of listening", || TcpStream::connect(("127.0.0.1", chosen)).is_err().then_some(()));
    // Not a port that no rule names; not for everybody who reaches the target.
    for wrong in [back(other), format!("0.0.0.0:{far}:127.0.0.1:{mine}")] {
        assert_eq!(tunnel(&route, &["-R", &wrong]).wait(LIMIT).code, Some(255));
    }
    drop(shared);
    until(LIMIT, "end of the other sessions", || (bastion.sessions().len() == 1).then_some(()));
    let live = bastion.only_session();
    bastion.doorward(&["session", "kill", &live]).ok();
    until(LIMIT, "end of listening", || TcpStream::connect(("127.0.0.1", far)).is_err().then_some(()));
    drop(ssh);
    bastion.empties(LIMIT);
    let places: Vec<String> = on_record(&bastion).into_iter().map(|(_, place)| place).collect();
    assert!(places.contains(&format!("localhost:{far}")) && places.contains(&"localhost:0".to_owned()), "{places:?}");
}

#[test]
fn ssh_inside_a_forward_is_ended_by_its_first_line() {
    // Threats T6.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (quiet, late) = (service(""), service("welcome\r\nSSH-2.0-late\r\n"));
    bastion.policy(&rules(r#""local-forward""#, r#"to = ["localhost:*"]"#));
    bastion.serve();
    let (here, there, third) = (free_port(), free_port(), free_port());
    let to = |port: u16, far: u16| format!("{port}:127.0.0.1:{far}");
    let ssh =
        tunnel(&bastion.to(&sshd), &["-L", &to(here, sshd.port), "-L", &to(there, quiet), "-L", &to(third, late)]);
    connected(here);
    let inner = Route::new(&sshd.account, here, &sshd.key).run("echo inside");
    assert_eq!((inner.code, inner.out().as_str()), (Some(255), ""), "{inner:?}");
    assert_eq!(ask(connected(there), b"SSH-2.0-mine\r\n"), "");
    assert_eq!(ask(connected(third), b""), "");
    assert_eq!(ask(connected(there), b"no SSH-2.0\r\n"), "no SSH-2.0\r\nbye");
    drop(ssh);
    bastion.empties(LIMIT);
    let log = bastion.audit();
    for port in [sshd.port, quiet, late] {
        assert!(log.contains(&format!("SSH inside local-forward 127.0.0.1:{port}")), "{log}");
    }
}

#[test]
fn a_grant_that_ends_ends_its_forwards() {
    // Promise P3; threats T7.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (open, far) = (service("hello\n"), free_port());
    let forward = format!(r#"to = ["localhost:{open}"], listen = ["localhost:{far}"]"#);
    let text = rules(r#""local-forward", "remote-forward""#, &forward).replace("required = false", "required = true");
    bastion.policy(&text);
    bastion.serve();
    let grant = bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), "1h", "CHG-1");
    let here = free_port();
    let flags = [format!("{here}:127.0.0.1:{open}"), format!("{far}:127.0.0.1:{open}")];
    let ssh = tunnel(&bastion.to(&sshd), &["-L", &flags[0], "-R", &flags[1]]);
    let mut stream = connected(here);
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).unwrap();
    let mut back = connected(far);
    back.read_exact(&mut hello).unwrap();
    bastion.doorward(&["grant", "revoke", &grant]).ok();
    bastion.empties(Duration::from_secs(5));
    for mut stream in [stream, back] {
        assert!(matches!(stream.read(&mut hello), Ok(0) | Err(_)));
    }
    assert_eq!(ssh.wait(LIMIT).code, Some(255));
    until(LIMIT, "end of listening", || TcpStream::connect(("127.0.0.1", far)).is_err().then_some(()));
    let again = tunnel(&bastion.to(&sshd), &["-L", &flags[0]]);
    assert_eq!(ask(connected(here), b""), "");
    drop(again);
}

#[test]
fn a_forward_that_nobody_reads_stalls_alone() {
    // Promise P9.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flood = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while stream.write_all(&[b'x'; 65_536]).is_ok() {});
        }
    });
    let open = service("hello\n");
    bastion.policy(&rules(r#""exec", "local-forward""#, r#"to = ["localhost:*"]"#));
    bastion.serve();
    let (here, there) = (free_port(), free_port());
    let flags = [format!("{here}:127.0.0.1:{flood}"), format!("{there}:127.0.0.1:{open}")];
    let ssh = tunnel(&bastion.to(&sshd), &["-L", &flags[0], "-L", &flags[1]]);
    assert_eq!(ask(connected(there), b"warm"), "hello\nwarmbye");
    let before = memory(bastion.pid(), "status", "VmRSS");
    let unread: Vec<TcpStream> = (0..3).map(|_| connected(here)).collect();
    // Once it stands still, nothing is spent on it.
    let mut spent = cpu(bastion.pid());
    until(LIMIT, "forwards that stand still", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = cpu(bastion.pid());
        (now - std::mem::replace(&mut spent, now) < Duration::from_millis(20)).then_some(())
    });
    holds(Duration::from_secs(3), "a neighbour who gets through", || {
        let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
        assert!(grown < 64 << 10, "grown by {grown} KiB");
        ask(connected(there), b"beside") == "hello\nbesidebye"
    });
    drop((unread, ssh));
    bastion.empties(LIMIT);
}

#[test]
fn one_user_cannot_use_up_the_forwards_of_others() {
    // Promise P9.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let open = service("");
    bastion.policy(&rules(r#""exec", "local-forward""#, r#"to = ["localhost:*"]"#));
    let bob = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "dba", &bob);
    bastion.serve();
    let route = bastion.to(&sshd);
    own::block_on(async {
        let mut clients = Vec::new();
        let mut channels = Vec::new();
        let mut refused = 0;
        for _ in 0..3 {
            let client = own::Own::connect(&route).await;
            for _ in 0..60 {
                match client.handle.channel_open_direct_tcpip("127.0.0.1", open.into(), "127.0.0.1", 1).await {
                    Ok(channel) => channels.push(channel),
                    Err(_) => refused += 1,
                }
            }
            clients.push(client);
        }
        assert_eq!((channels.len(), refused), (128, 52));
        let other = own::Own::connect(&route.key(&bob)).await;
        assert!(other.handle.channel_open_direct_tcpip("127.0.0.1", open.into(), "127.0.0.1", 1).await.is_ok());
    });
    bastion.empties(LIMIT);
    assert!(bastion.audit().contains("too many forwards"));
}

#[test]
fn who_connects_where_the_target_listens_neither_fills_the_log_nor_ends_the_session() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (mine, far) = (service("hello\n"), free_port());
    bastion.policy(&rules(r#""exec", "remote-forward""#, &format!(r#"listen = ["localhost:{far}"]"#)));
    bastion.serve();
    let shared = bastion.to(&sshd).master(bastion.scratch());
    let spec = format!("{far}:127.0.0.1:{mine}");
    let stop = Arc::new(AtomicBool::new(false));
    let strangers: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    drop(TcpStream::connect(("127.0.0.1", far)));
                }
            })
        })
        .collect();
    // Many connect at the moment at which the target stops listening.
    for _ in 0..20 {
        shared.route.run_with(&["-O", "forward", "-R", &spec], "", b"").ok();
        shared.route.run_with(&["-O", "cancel", "-R", &spec], "", b"").ok();
    }
    assert_eq!(shared.route.run("echo still here").ok().out(), "still here\n");
    shared.route.run_with(&["-O", "forward", "-R", &spec], "", b"").ok();
    until(LIMIT, "more than a minute may have", || {
        bastion.audit().contains("too many forwards in one minute").then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    strangers.into_iter().for_each(|stranger| stranger.join().unwrap());
    assert_eq!(shared.route.run("echo still here").ok().out(), "still here\n");
    // Should it have taken longer than a minute, another share had begun.
    let listed = on_record(&bastion).len();
    assert!((600..=1200).contains(&listed), "{listed} forwards are on record");
    drop(shared);
    bastion.empties(LIMIT);
}
