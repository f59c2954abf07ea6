//! Limits by address: how often something may be done, and how many connections may be open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_telemetry::TokenBucket;

/// The refusal of a connect that came too soon after others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimited {
    /// The time after which to try again.
    pub(crate) after: Duration,
    /// The limit that was reached, in one word for metrics.
    pub(crate) reason: &'static str,
}

/// Limits of a rate: in total, and for each address.
#[derive(Debug)]
pub(crate) struct Rates {
    all: Mutex<TokenBucket>,
    /// The rate of one address, per second; 0 means no limit.
    rate: u32,
    /// Whether the limit also applies to loopback addresses, which proxies and benchmarks have.
    limits_loopback: bool,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    of: HashMap<IpAddr, TokenBucket>,
    /// The time when full buckets were forgotten last.
    swept: Instant,
}

/// The addresses that have a bucket of their own at the same time. Further ones are limited by the
/// total rate only. They take a few megabytes.
const MAX_ADDRESSES: usize = 65_536;
/// The time between two searches for addresses that may be forgotten.
const SWEEP_AFTER: Duration = Duration::from_millis(100);

/// The number of open connections, by address.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The most connections of one address; callers take 0 as no limit.
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct AddressSlot {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Rates {
    /// Allows `of_all` per second in total, and `of_one` per second for one address, or half of the
    /// total if `None`. 0 means no limit.
    pub(crate) fn new(of_all: u32, of_one: Option<u32>) -> Self {
        let rate = of_one.unwrap_or(of_all.div_ceil(2));
        let now = Instant::now();
        let buckets = Mutex::new(Buckets { of: HashMap::new(), swept: now });
        let all = Mutex::new(TokenBucket::new(f64::from(of_all), now));
        Self { all, rate, limits_loopback: of_one.is_some(), buckets }
    }

    /// Takes one token for an address. If there is none, the error says when to try again.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), RateLimited> {
        let of_address = self.take_for_address(address, now);
        of_address.map_err(|after| RateLimited { after, reason: "address_rate" })?;
        lock(&self.all).take(now).map_err(|after| RateLimited { after, reason: "rate" })
    }

    fn take_for_address(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let is_own = address.to_canonical().is_loopback();
        if self.rate == 0 || (is_own && !self.limits_loopback) {
            return Ok(());
        }
        let address = network(address);
        let mut buckets = lock(&self.buckets);
        if let Some(bucket) = buckets.of.get_mut(&address) {
            return bucket.take(now);
        }
        buckets.make_room(now);
        if buckets.of.len() >= MAX_ADDRESSES {
            return Ok(());
        }
        let bucket = TokenBucket::new(f64::from(self.rate), now);
        buckets.of.entry(address).or_insert(bucket).take(now)
    }
}

impl Buckets {
    /// Forgets the addresses whose buckets are full: they may do as much as a new address.
    fn make_room(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP_AFTER {
            self.swept = now;
            self.of.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

impl Addresses {
    /// Allows at most `max` connections of one address.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// Whether an address may have any number of connections.
    pub(crate) fn are_unlimited(&self) -> bool {
        self.max == 0
    }

    /// Counts a connection of an address; `None` if the address has as many as it may have.
    pub(crate) fn slot(addresses: &Arc<Self>, address: IpAddr) -> Option<AddressSlot> {
        let address = network(address);
        let mut open = lock(&addresses.open);
        let connections = open.entry(address).or_default();
        if *connections >= addresses.max {
            return None;
        }
        *connections += 1;
        Some(AddressSlot { addresses: Arc::clone(addresses), address })
    }
}

impl AddressSlot {
    /// Whether the connection is counted for the network of this address.
    pub(crate) fn is_of(&self, address: IpAddr) -> bool {
        self.address == network(address)
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut open = lock(&self.addresses.open);
        if let Some(connections) = open.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// The network that counts as one address: for IPv6 the first 64 bits, which is what one household
/// has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Locks a mutex. A panic of another holder is ignored: what these mutexes guard is valid at any
/// time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_forgotten_when_they_may_do_all_again() {
        let rates = Rates::new(0, Some(2));
        let start = Instant::now();
        for host in 0..200 {
            assert_eq!(rates.take([10, 0, 0, host].into(), start), Ok(()));
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(rates.take([10, 0, 1, 1].into(), later), Ok(()));
        assert_eq!(lock(&rates.buckets).of.len(), 1);
    }
}
