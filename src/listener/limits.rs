//! How many may be here at once: strangers at the door (the like of OpenSSH's `MaxStartups`), and users inside.
//!
//! Every connection holds a file descriptor; without a bound on them one user could end everybody's sessions.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Counts connections, in all and of each `Key`.
#[derive(Debug, Clone)]
pub struct Limits<Key> {
    all_max: usize,
    each_max: usize,
    counts: Arc<Mutex<HashMap<Key, usize>>>,
}

/// A place among the connections; given back when dropped.
#[derive(Debug)]
pub struct Place<Key: Eq + Hash> {
    key: Key,
    counts: Arc<Mutex<HashMap<Key, usize>>>,
}

impl<Key: Eq + Hash + Clone> Limits<Key> {
    /// At most `all_max` connections, at most `each_max` of one key.
    pub fn new(all_max: usize, each_max: usize) -> Self {
        Self { all_max, each_max, counts: Arc::default() }
    }

    /// Takes a place, or `None` if there is none.
    pub fn take(&self, key: &Key) -> Option<Place<Key>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let of_key = counts.get(key).copied().unwrap_or(0);
        if all >= self.all_max || of_key >= self.each_max {
            return None;
        }
        counts.insert(key.clone(), of_key.saturating_add(1));
        Some(Place { key: key.clone(), counts: Arc::clone(&self.counts) })
    }
}

impl Limits<IpAddr> {
    /// Takes a place for a stranger from `address`, or `None` if there is none.
    pub fn enter(&self, address: IpAddr) -> Option<Place<IpAddr>> {
        self.take(&origin(address))
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, for a host has all addresses in it (RFC 4291
/// section 2.5.4), and of an IPv4 address that is mapped into IPv6 the IPv4 address.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

impl<Key: Eq + Hash> Drop for Place<Key> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => drop(counts.remove(&self.key)),
        }
    }
}

/// A connection on which so long nothing has been started since the login is ended.
pub const IDLE_MAX: Duration = Duration::from_secs(600);

/// How far a connection that has logged in has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing has been started on it.
    Idle,
    /// Something is being started: a target is dialled, say.
    Starting,
    /// Something has been started.
    Started,
}

/// Ready when a connection has been idle for `limit`; never once something has been started.
pub async fn idle(mut progress: watch::Receiver<Progress>, limit: Duration) {
    loop {
        let seen = *progress.borrow_and_update();
        let changed = match seen {
            Progress::Started => break,
            Progress::Starting => progress.changed().await,
            Progress::Idle => match timeout(limit, progress.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            break;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let limits = Limits::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = limits.enter(a).unwrap();
        let _second = limits.enter(a).unwrap();
        assert!(limits.enter(a).is_none());
        let _other = limits.enter(b).unwrap();
        assert!(limits.enter(b).is_none());
        drop(first);
        assert!(limits.enter(a).is_some());
    }

    #[test]
    fn one_user_cannot_take_every_connection() {
        let limits = Limits::new(3, 2);
        let alice: Vec<_> = (0..10).filter_map(|_| limits.take(&"alice")).collect();
        assert_eq!(alice.len(), 2);
        let bob: Vec<_> = (0..10).filter_map(|_| limits.take(&"bob")).collect();
        assert_eq!(bob.len(), 1);
        drop(alice);
        assert!(limits.take(&"bob").is_some());
    }

    #[test]
    fn a_connection_on_which_nothing_starts_becomes_idle() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limit = Duration::from_millis(20);
        let ends = |steps: &[Progress]| {
            let (sender, receiver) = watch::channel(Progress::Idle);
            let steps = steps.to_vec();
            runtime.block_on(async {
                let walk = async {
                    for step in steps {
                        sender.send(step).unwrap();
                        tokio::task::yield_now().await;
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = idle(receiver, limit) => true,
                    () = walk => false,
                    () = tokio::time::sleep(limit * 10) => false,
                }
            })
        };
        assert!(ends(&[]));
        assert!(ends(&[Progress::Starting, Progress::Idle]));
        assert!(!ends(&[Progress::Starting]));
        assert!(!ends(&[Progress::Starting, Progress::Started]));
    }

    #[test]
    fn a_host_with_a_network_of_ipv6_addresses_counts_as_one() {
        let limits = Limits::new(10, 1);
        let enter = |address: &str| limits.enter(address.parse().unwrap());
        let _first = enter("2001:db8:0:1::1").unwrap();
        assert!(enter("2001:db8:0:1:ffff::2").is_none());
        let _other = enter("2001:db8:0:2::1").unwrap();
        let _mapped = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let _neighbour = enter("::ffff:192.0.2.2").unwrap();
    }
}
