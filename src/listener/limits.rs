//! How many strangers may be at the door at once (the like of OpenSSH's `MaxStartups`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections that have not logged in yet.
#[derive(Debug, Clone)]
pub struct Limits {
    all_max: usize,
    per_address_max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place at the door; given back when dropped.
#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Limits {
    /// At most `all_max` strangers, at most `per_address_max` of one address.
    pub fn new(all_max: usize, per_address_max: usize) -> Self {
        Self { all_max, per_address_max, counts: Arc::default() }
    }

    /// Takes a place, or `None` if there is none.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = origin(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let of_address = counts.get(&address).copied().unwrap_or(0);
        if all >= self.all_max || of_address >= self.per_address_max {
            return None;
        }
        counts.insert(address, of_address.saturating_add(1));
        Some(Place { address, counts: Arc::clone(&self.counts) })
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

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get(&self.address).copied() {
            Some(count) if count > 1 => counts.insert(self.address, count.saturating_sub(1)),
            Some(_) | None => counts.remove(&self.address),
        };
    }
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
