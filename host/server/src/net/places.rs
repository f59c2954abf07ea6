//! A limited number of connections that are not served, in total and for each address, so that no
//! stranger takes all places.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addresses::{AddressSlot, Addresses};

/// The places, in total and by address.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

/// One place; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressSlot>,
}

impl Places {
    /// Makes `all` places, of which one address may have `of_address`.
    pub(crate) fn new(all: usize, of_address: usize) -> Self {
        let addresses = Arc::new(Addresses::new(of_address));
        Self { all: Arc::new(Semaphore::new(all)), addresses }
    }

    /// Takes a place for an address; `None` if there is no place left.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let slot = Addresses::slot(&self.addresses, address)?;
        Some(Place { _permit: permit, _address: Some(slot) })
    }

    /// Takes a place for a proxy, which has no limit of its own; `None` if there is no place left.
    pub(crate) fn take_for_many(&self) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _permit: permit, _address: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all() {
        let places = Places::new(3, 2);
        let take = |address: &str| places.take(address.parse().unwrap());
        let (first, _second) = (take("10.0.0.1").unwrap(), take("10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none());
        let _third = take("10.0.0.2").unwrap();
        assert!(take("10.0.0.3").is_none(), "there are three");
        drop(first);
        assert!(take("10.0.0.3").is_some());
    }
}
