//! How soon many live sessions are over once the grant that they rest on is revoked (promise P3).

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use russh::keys::load_secret_key;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, Pty};

use crate::Scale;
use crate::fixture::bastion::{ALICE, DB1, GRANTED};
use crate::fixture::own::{Own, block_on, read_until};
use crate::fixture::{Bastion, LIMIT, key, scratch, until};
use crate::lanes::{Lane, Lanes};
use crate::report::{Goal, Report, quantile};

/// As the goal has it.
const SESSIONS: usize = 500;

/// A target that costs next to nothing: it lets everybody in, says `ready`, and takes what comes. It notes when each of its
/// connections ends.
struct Sink {
    ended: Arc<Mutex<Vec<Instant>>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ended.lock().unwrap().push(Instant::now());
    }
}

impl server::Handler for Sink {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: server::VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        session.data(channel, &b"ready"[..])
    }
}

/// Listens with the host key of this file; the port.
async fn sink(host_key: &Path, ended: Arc<Mutex<Vec<Instant>>>) -> u16 {
    let keys = vec![load_secret_key(host_key, None).unwrap()];
    let config = Arc::new(server::Config { keys, inactivity_timeout: None, ..server::Config::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (config, ended) = (Arc::clone(&config), Arc::clone(&ended));
            tokio::spawn(async move {
                if let Ok(running) = server::run_stream(config, stream, Sink { ended }).await {
                    let _ = running.await;
                }
            });
        }
    });
    port
}

/// Opens sessions, revokes the grant, and waits for the end of both legs of each.
pub fn revoke(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    if lanes.doorward().next().is_none() {
        return;
    }
    let count = if scale.sessions < 200 { 50 } else { SESSIONS };
    let folder = scratch();
    let host_key = key(folder.path(), "sink", "ed25519", "");
    let mut bastion = Bastion::init();
    bastion.policy(GRANTED);
    bastion.configure("ssh", "max_connections_per_user = 2000");
    let (user, target) = block_on(async {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let port = sink(&host_key, Arc::clone(&ended)).await;
        let account = crate::fixture::own_account();
        let place = format!("{account}@{DB1}");
        let grant = tokio::task::block_in_place(|| {
            bastion.add_user(ALICE, "dba", &bastion.key);
            bastion.add_target_at(DB1, port, &host_key.with_extension("pub"));
            bastion.set_key(&place, &bastion.key);
            bastion.serve();
            bastion.grant(ALICE, &place, "1h", "CHG-1")
        });
        let route = bastion.login(&place);
        let mut people = tokio::task::JoinSet::new();
        for _ in 0..count {
            let client = Own::connect(&route).await;
            let mut channel = client.exec_on_pty("sink", 80, 24).await;
            read_until(&mut channel, "ready").await;
            people.spawn(async move {
                while channel.wait().await.is_some() {}
                let at = Instant::now();
                drop(client);
                at
            });
        }
        ended.lock().unwrap().clear();
        let start = Instant::now();
        tokio::task::block_in_place(|| bastion.doorward(&["grant", "revoke", &grant]).ok());
        let user: Vec<f64> = people.join_all().await.iter().map(|at| since(start, *at)).collect();
        tokio::task::block_in_place(|| {
            until(LIMIT, "end of all legs", || (ended.lock().unwrap().len() >= count).then_some(()));
        });
        let target: Vec<f64> = ended.lock().unwrap().iter().map(|at| since(start, *at)).collect();
        (user, target)
    });
    for (leg, took) in [("user", user), ("target", target)] {
        let at = |part: f64| vec![(Lane::Strict, quantile(&took, part))];
        let name = |part: &str| format!("revoke to the {leg}'s leg closed {part}, {count} sessions");
        report.row(name("p50"), "ms", &at(0.5), &[], &[]);
        report.row(name("p99"), "ms", &at(0.99), &[Lane::Strict], &[Goal::AtMost("=", 1000.0)]);
    }
}

fn since(start: Instant, at: Instant) -> f64 {
    at.saturating_duration_since(start).max(Duration::ZERO).as_secs_f64() * 1e3
}
