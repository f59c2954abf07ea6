//! Who may come in: connections in total and of one address, connects and joins
//! in a second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::Bucket;
use crate::config::SocketConfig;

/// The bounds on what comes in.
#[derive(Debug)]
pub struct Admission {
    /// One for each of `socket.max_connections`.
    permits: Arc<Semaphore>,
    max_connections: u32,
    addresses: Arc<Addresses>,
    connects: Mutex<Bucket>,
    joins: Mutex<Bucket>,
}

/// One connection that may be there. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressSlot>,
}

/// Why a connection may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// There are `socket.max_connections`.
    Full,
    /// Its address has `socket.max_connections_per_address`.
    AddressFull,
    /// The server has little memory left (`memory.max_bytes`).
    OutOfMemory,
}

#[derive(Debug)]
struct Addresses {
    /// 0 is without bound.
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

#[derive(Debug)]
struct AddressSlot {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(config: &SocketConfig) -> Self {
        let max = config.max_connections.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let max_connections = u32::try_from(max).unwrap_or(u32::MAX);
        let addresses =
            Addresses { max: config.max_connections_per_address, open: Mutex::default() };
        let bucket = |rate| Mutex::new(Bucket::new(f64::from(rate), Instant::now()));
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max_connections,
            addresses: Arc::new(addresses),
            connects: bucket(config.max_connects_per_second),
            joins: bucket(config.max_joins_per_second),
        }
    }

    /// Room for a connection of an address.
    pub(crate) fn connection(&self, address: IpAddr) -> Result<Admitted, Turned> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Turned::Full)?;
        let slot = match self.addresses.max {
            0 => None,
            _ => Some(Addresses::slot(&self.addresses, address).ok_or(Turned::AddressFull)?),
        };
        Ok(Admitted { _permit: permit, _address: slot })
    }

    /// Whether a client may connect now; if not, when to try again.
    pub(crate) fn connect(&self) -> Result<(), Duration> {
        lock(&self.connects).take(Instant::now())
    }

    /// Whether a topic may be joined now; if not, when to try again.
    pub(crate) fn join(&self) -> Result<(), Duration> {
        lock(&self.joins).take(Instant::now())
    }

    /// Ready when no connection is left.
    pub(crate) async fn empty(&self) {
        // An error only if the semaphore were closed, and it never is.
        let _ = self.permits.acquire_many(self.max_connections).await;
    }
}

impl Turned {
    /// One word for metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address_full",
            Self::OutOfMemory => "memory",
        }
    }
}

impl Addresses {
    fn slot(addresses: &Arc<Self>, address: IpAddr) -> Option<AddressSlot> {
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

/// What counts as one address: of IPv6 the first 64 bits, which is what one
/// household has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, max_connections_per_address: usize) -> Admission {
        let config =
            SocketConfig { max_connections, max_connections_per_address, ..Default::default() };
        Admission::new(&config)
    }

    #[test]
    fn addresses_are_bounded_and_make_room_again() {
        let admission = admission(10, 1);
        let at = |text: &str| admission.connection(text.parse().unwrap());
        let first = at("10.0.0.1").unwrap();
        assert_eq!(at("10.0.0.1").unwrap_err(), Turned::AddressFull);
        assert_eq!(at("::ffff:10.0.0.1").unwrap_err(), Turned::AddressFull);
        let _other = at("10.0.0.2").unwrap();
        let _six = at("2001:db8::1").unwrap();
        assert_eq!(at("2001:db8::2:1").unwrap_err(), Turned::AddressFull);
        drop(first);
        assert!(at("10.0.0.1").is_ok());
    }

    #[test]
    fn all_together_are_bounded() {
        let admission = admission(1, 0);
        let one = admission.connection("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(admission.connection("10.0.0.2".parse().unwrap()).unwrap_err(), Turned::Full);
        drop(one);
        assert!(admission.connection("10.0.0.1".parse().unwrap()).is_ok());
    }
}
