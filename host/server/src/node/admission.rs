//! Admission: limits of connections (in total and for each address), of connects per second
//! (likewise) and of joins per second.
//!
//! A limit is only spent on what can succeed: a request that is not a handshake, or a join that
//! would be refused anyway, does not get here.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace_telemetry::TokenBucket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::SocketConfig;
use crate::net::{AddressSlot, Addresses, RateLimited, Rates, lock};

/// The limits of what clients may open.
#[derive(Debug)]
pub(crate) struct Admission {
    /// One permit for each of `socket.max_connections`.
    permits: Arc<Semaphore>,
    max_connections: u32,
    addresses: Arc<Addresses>,
    connects: Rates,
    joins: Mutex<TokenBucket>,
}

/// A connection that was admitted. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permit: OwnedSemaphorePermit,
    /// The place among the connections of the client's address, once that is known; behind a proxy,
    /// each handshake names the address.
    address: Mutex<Option<AddressSlot>>,
    /// Whether `address` is from the last handshake, and not from the connection itself.
    is_of_handshake: AtomicBool,
    /// The number of handshakes on this connection that were refused.
    refusals: AtomicU32,
}

/// The reason why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// `socket.max_connections` are open.
    Full,
    /// Its address has as many as `socket.max_connections_per_address` allows.
    AddressFull,
    /// The server has little memory left (`memory.max_bytes`).
    OutOfMemory,
}

/// The handshakes of one connection that may be refused before it is closed.
const MAX_REFUSALS: u32 = 10;

impl Admission {
    pub(crate) fn new(config: &SocketConfig) -> Self {
        let max = config.max_connections.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let max_connections = u32::try_from(max).unwrap_or(u32::MAX);
        let addresses = Addresses::new(config.max_connections_per_address);
        let bucket = |rate| Mutex::new(TokenBucket::new(f64::from(rate), Instant::now()));
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max_connections,
            addresses: Arc::new(addresses),
            connects: Rates::new(
                config.max_connects_per_second,
                config.max_connects_per_second_per_address,
            ),
            joins: bucket(config.max_joins_per_second),
        }
    }

    /// Admits a connection, among those of an address if that is known.
    pub(crate) fn connection(&self, address: Option<IpAddr>) -> Result<Admitted, AdmissionError> {
        let permit =
            Arc::clone(&self.permits).try_acquire_owned().map_err(|_| AdmissionError::Full)?;
        let admitted = Admitted {
            _permit: permit,
            address: Mutex::default(),
            is_of_handshake: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
        };
        match address {
            Some(address) => self.admit_address(&admitted, address, false).map(|()| admitted),
            None => Ok(admitted),
        }
    }

    /// Counts a connection among those of its client's address, once that is known. `by_handshake`
    /// says that a handshake has named the address: a proxy may send one for another client on the
    /// same connection later.
    pub(crate) fn admit_address(
        &self,
        admitted: &Admitted,
        address: IpAddr,
        by_handshake: bool,
    ) -> Result<(), AdmissionError> {
        if self.addresses.are_unlimited() {
            return Ok(());
        }
        let mut slot = lock(&admitted.address);
        if slot.as_ref().is_none_or(|slot| !slot.is_of(address)) {
            // The connection was counted for another client of the same proxy, which was refused.
            *slot = None;
            let of_client = Addresses::slot(&self.addresses, address);
            *slot = Some(of_client.ok_or(AdmissionError::AddressFull)?);
            admitted.is_of_handshake.store(by_handshake, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a connect for an address. If there is none, the error says when to try again.
    pub(crate) fn connect(&self, address: IpAddr) -> Result<(), RateLimited> {
        self.connects.take(address, Instant::now())
    }

    /// Takes a join. If there is none, the error says after how long to try again.
    pub(crate) fn join(&self) -> Result<(), Duration> {
        lock(&self.joins).take(Instant::now())
    }

    /// Waits until no connection is left.
    pub(crate) async fn empty(&self) {
        // An error only if the semaphore were closed, and it never is.
        let _ = self.permits.acquire_many(self.max_connections).await;
    }
}

impl Admitted {
    /// Frees the place of the last handshake's client, when that handshake has failed.
    pub(crate) fn forget_handshake(&self) {
        if self.is_of_handshake.load(Ordering::Relaxed) {
            *lock(&self.address) = None;
        }
    }

    /// Counts a refused handshake. Returns whether the connection has to be closed.
    pub(crate) fn refuse(&self) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_REFUSALS
    }
}

impl AdmissionError {
    /// The reason in one word, for metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address_full",
            Self::OutOfMemory => "memory",
        }
    }
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
        let at = |text: &str| admission.connection(Some(text.parse().unwrap()));
        let first = at("10.0.0.1").unwrap();
        assert_eq!(at("10.0.0.1").unwrap_err(), AdmissionError::AddressFull);
        assert_eq!(at("::ffff:10.0.0.1").unwrap_err(), AdmissionError::AddressFull);
        let _other = at("10.0.0.2").unwrap();
        let _six = at("2001:db8::1").unwrap();
        assert_eq!(at("2001:db8::2:1").unwrap_err(), AdmissionError::AddressFull);
        drop(first);
        assert!(at("10.0.0.1").is_ok());
    }

    fn rates(of_all: u32, of_one: Option<u32>) -> Admission {
        Admission::new(&SocketConfig {
            max_connects_per_second: of_all,
            max_connects_per_second_per_address: of_one,
            ..Default::default()
        })
    }

    #[test]
    fn one_address_takes_no_more_than_half_of_the_connects() {
        let admission = rates(10, None);
        let connect = |text: &str| admission.connect(text.parse().unwrap());
        let reason = |text: &str| connect(text).unwrap_err().reason;
        for _ in 0..5 {
            assert_eq!(connect("2001:db8::1"), Ok(()));
        }
        assert_eq!(reason("2001:db8::2"), "address_rate");
        for _ in 0..5 {
            assert_eq!(connect("10.0.0.1"), Ok(()));
        }
        assert_eq!((reason("10.0.0.1"), reason("10.0.0.2")), ("address_rate", "rate"));
    }

    #[test]
    fn this_machine_is_bounded_if_the_configuration_says_so() {
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let of_loopback = |of_one| {
                let admission = rates(10, of_one);
                (0..10).filter(|_| admission.connect(own.parse().unwrap()).is_ok()).count()
            };
            assert_eq!([None, Some(0), Some(3)].map(of_loopback), [10, 10, 3], "{own}");
        }
    }

    #[test]
    fn all_together_are_bounded() {
        let admission = admission(1, 0);
        let one = admission.connection(Some("10.0.0.1".parse().unwrap())).unwrap();
        assert_eq!(
            admission.connection(Some("10.0.0.2".parse().unwrap())).unwrap_err(),
            AdmissionError::Full
        );
        drop(one);
        assert!(admission.connection(Some("10.0.0.1".parse().unwrap())).is_ok());
    }
}
