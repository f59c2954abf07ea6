//! The pings of one client that wait for their reply.

use std::time::Instant;

/// A fixed number of pings in flight. Each has a place, and a ref that names it. So replies may
/// come in any order, and a reply that no ping waits for is noticed.
#[derive(Debug)]
pub struct InFlight {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    reference: u64,
    sent: Option<Instant>,
}

impl InFlight {
    /// Makes `count` pings, all sent at `now`. Their refs begin above zero, which is the ref of the
    /// join.
    #[must_use]
    pub fn new(count: usize, now: Instant) -> Self {
        let count = count.max(1) as u64;
        let places =
            (count..2 * count).map(|reference| Place { reference, sent: Some(now) }).collect();
        Self { places }
    }

    /// The refs of the pings in flight.
    pub fn refs(&self) -> impl Iterator<Item = u64> {
        self.places.iter().filter(|place| place.sent.is_some()).map(|place| place.reference)
    }

    /// Takes a reply, and returns when its ping was sent; `None` if no such ping waits.
    pub fn answer(&mut self, reference: u64) -> Option<Instant> {
        let place = self.place(reference)?;
        if place.reference == reference { place.sent.take() } else { None }
    }

    /// Sends the next ping from the place of an answered one, and returns its ref.
    pub fn again(&mut self, answered: u64, now: Instant) -> u64 {
        let next = answered + self.places.len() as u64;
        if let Some(place) = self.place(next) {
            *place = Place { reference: next, sent: Some(now) };
        }
        next
    }

    fn place(&mut self, reference: u64) -> Option<&mut Place> {
        let at = reference % self.places.len() as u64;
        self.places.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ref_is_answered_once_in_any_order() {
        let now = Instant::now();
        let mut pings = InFlight::new(3, now);
        assert_eq!(pings.refs().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(pings.answer(5), Some(now));
        assert_eq!(pings.answer(5), None);
        assert_eq!(pings.again(5, now), 8);
        assert_eq!(pings.answer(5), None);
        assert_eq!(pings.answer(3), Some(now));
        assert_eq!(pings.answer(8), Some(now));
        assert_eq!(pings.answer(11), None);
        assert_eq!(pings.answer(0), None);
        assert_eq!(pings.refs().collect::<Vec<_>>(), [4]);
    }
}
