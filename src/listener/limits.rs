//! How many strangers may be at the door at once (the like of OpenSSH's `MaxStartups`).

use std::collections::HashMap;
use std::net::IpAddr;
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
        let address = address.to_canonical();
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
}
