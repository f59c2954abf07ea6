//! What became of the events of a pipeline.

use serde::{Serialize, Serializer};

use crate::event::DropReason;

/// What became of the events of a pipeline since it started, and how many are
/// in hand. At any instant
/// `accepted = done + failed + dropped + in_flight + buffered`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Taken from producers.
    pub accepted: u64,
    /// Refused, so that the producer kept them.
    pub rejected: u64,
    /// Handled by all stages.
    pub done: u64,
    /// Given up after a failure.
    pub failed: u64,
    /// Not handled, by reason in the order of [`DropReason::ALL`].
    #[serde(serialize_with = "by_reason")]
    pub dropped: [u64; DropReason::ALL.len()],
    /// Attempts that came to nothing and are made again.
    pub retried: u64,
    /// Waiting for a consumer, before all stages together.
    pub buffered: u64,
    /// With a consumer, in all stages together.
    pub in_flight: u64,
    /// Those of `buffered` that wait to be tried again.
    pub delayed: u64,
    /// The payloads in hand.
    pub bytes: u64,
    /// The keys in hand.
    pub keys: u64,
    /// Asked for by the consumers of the first stage, and not assigned.
    pub demand: u64,
}

impl Totals {
    /// All that was dropped.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether nothing was lost and nothing came from nowhere.
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
