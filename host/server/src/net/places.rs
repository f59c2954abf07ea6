//! Places for connections that are not served: few, and few for one address, so that no
//! stranger takes all of them.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addresses::{AddressSlot, Addresses};

/// So many places.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

/// One of them; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressSlot>,
}

impl Places {
    /// `all` of them, `of_address` for one address.
    pub(crate) fn new(all: usize, of_address: usize) -> Self {
        let addresses = Arc::new(Addresses::new(of_address));
        Self { all: Arc::new(Semaphore::new(all)), addresses }
    }

    /// A place for an address, if there is one.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let slot = Addresses::slot(&self.addresses, address)?;
        Some(Place { _permit: permit, _address: Some(slot) })
    }

    /// A place for one who asks for others, if there is one.
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
