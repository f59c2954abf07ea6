//! Events that producers enqueue.

use std::fmt::Debug;
use std::sync::Arc;

use super::{Pending, Pipeline};
use crate::core::{Core, Refused};
use crate::event::NewEvent;
use crate::selector::Selector;
use crate::storage::{Safe, StorageError};

/// How many of some events were accepted, and which were refused.
#[derive(Default)]
pub struct EnqueueOutcome {
    /// The number of events that were accepted.
    pub accepted: usize,
    /// The events that found no room or are too large, each with its place among all, counted
    /// from 0.
    pub refused: Vec<(usize, NewEvent)>,
    /// Ready when the storage has made the accepted events safe; `None` when it has already.
    safe: Option<Safe>,
}

impl Debug for EnqueueOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accepted, refused, .. } = self;
        let mut shown = f.debug_struct("EnqueueOutcome");
        shown.field("accepted", accepted).field("refused", refused).finish_non_exhaustive()
    }
}

impl EnqueueOutcome {
    /// Adds the result for the next event.
    pub(super) fn note(&mut self, result: Result<(), Refused>) {
        match result {
            Ok(()) => self.accepted += 1,
            Err(Refused(event)) => {
                let place = self.accepted + self.refused.len();
                self.refused.push((place, event));
            }
        }
    }

    /// Waits, in [`Self::safe`], for all that the core has accepted so far.
    pub(super) fn note_safe(&mut self, core: &Core) {
        self.safe = core.safe();
    }

    /// Adds the outcome for the events behind these.
    pub(super) fn add(&mut self, next: Self) {
        let places = self.accepted + self.refused.len();
        self.accepted += next.accepted;
        self.refused.extend(next.refused.into_iter().map(|(place, event)| (places + place, event)));
        self.safe = match (self.safe.take(), next.safe) {
            (Some(first), Some(next)) => Some(Box::pin(async move {
                first.await?;
                next.await
            })),
            (first, next) => first.or(next),
        };
    }

    /// Waits until the pipeline's storage has made the accepted events safe. A producer is to be
    /// told only then that they were accepted. A storage in memory makes nothing safe, and this
    /// is ready at once.
    ///
    /// # Errors
    ///
    /// When the storage cannot keep one of the events.
    pub async fn safe(&mut self) -> Result<(), StorageError> {
        match self.safe.take() {
            Some(safe) => safe.await,
            None => Ok(()),
        }
    }
}

impl Pipeline {
    /// Enqueues events. Those that find no room, or are larger than
    /// [`Self::max_event_bytes`], come back in the outcome.
    pub fn enqueue(&self, mut events: Vec<NewEvent>) -> EnqueueOutcome {
        self.classify(&mut events);
        self.enqueue_classified(events)
    }

    /// [`Self::enqueue`] for events that were classified.
    pub(super) fn enqueue_classified(&self, events: Vec<NewEvent>) -> EnqueueOutcome {
        let mut outcome = EnqueueOutcome::default();
        self.with_core(&mut Pending::default(), |inner, now, pending| {
            self.accept_inbox(inner, now, pending);
            let mut waiting = events.into_iter();
            while waiting.len() > 0 {
                for hash in inner.core.hash_keys(waiting.as_slice()) {
                    let Some(event) = waiting.next() else { break };
                    outcome.note(self.accept_one(inner, event, hash, now));
                }
            }
            inner.core.dispatch_accepted(now);
            outcome.note_safe(&inner.core);
        });
        outcome
    }

    /// Sets the key of each event (`partition_by`) and the workers that select it, as far as
    /// the pipeline is configured to find them in the JSON of the payload.
    pub(super) fn classify(&self, events: &mut [NewEvent]) {
        if self.partition_by.is_some() || self.selects {
            events.iter_mut().for_each(|event| self.classify_one(event));
        }
    }

    fn classify_one(&self, event: &mut NewEvent) {
        let pointer = self.partition_by.as_ref().filter(|_| event.key.is_none());
        if pointer.is_none() && !self.selects {
            return;
        }
        // A payload that is not JSON has no key, and only workers without a selector get it.
        let json = std::str::from_utf8(&event.payload).unwrap_or_default();
        if let Some(pointer) = pointer {
            event.key = pointer.text(json).map(Into::into);
        }
        if self.selects {
            let selects = |selector: &Option<Arc<Selector>>| {
                selector.as_ref().is_none_or(|selector| selector.selects(json))
            };
            let bits = self.selectors.iter().enumerate().filter(|(_, selector)| selects(selector));
            event.selected = Some(bits.fold(0, |selected, (bit, _)| selected | 1 << bit));
        }
    }
}
