//! The counts of a pipeline's events.

use serde::{Serialize, Serializer};

use crate::event::DropReason;

/// The numbers of a pipeline's events: what became of them since the start, and how many are in
/// hand now. At any instant `accepted = done + failed + dropped + in_flight + buffered`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events that were accepted, with those that a full buffer dropped at once.
    pub accepted: u64,
    /// Events that were refused; their producers kept them.
    pub rejected: u64,
    /// Events that all stages have handled.
    pub done: u64,
    /// Events that were given up after a failure.
    pub failed: u64,
    /// Events that were dropped, by reason in the order of [`DropReason::ALL`].
    #[serde(serialize_with = "by_reason")]
    pub dropped: [u64; DropReason::ALL.len()],
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Events that wait for a consumer now, in all stages together.
    pub buffered: u64,
    /// Events that consumers have now, in all stages together.
    pub in_flight: u64,
    /// Events among `buffered` that wait to be tried again.
    pub delayed: u64,
    /// The size of the payloads in hand, in bytes.
    pub bytes: u64,
    /// The number of keys that events in hand have.
    pub keys: u64,
    /// Events that the consumers of the first stage have asked for and were not assigned.
    pub demand: u64,
}

impl Totals {
    /// The number of events that were dropped, for whatever reason.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether the counts add up: no event was lost, and none counted twice.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let ended = self.done + self.failed + self.all_dropped();
        self.accepted == ended + self.in_flight + self.buffered
    }

    pub(super) fn drop_one(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

fn by_reason<S: Serializer>(counts: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(DropReason::ALL.iter().map(|reason| reason.as_str()).zip(counts))
}
