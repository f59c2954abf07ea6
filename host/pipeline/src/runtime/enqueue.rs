//! Events that producers hand over.

use std::fmt::Debug;
use std::sync::Arc;

use super::{Pending, Pipeline};
use crate::core::{Core, Refused};
use crate::event::NewEvent;
use crate::selector::Selector;
use crate::storage::{Safe, StorageError};

/// What became of events that were handed over.
#[derive(Default)]
pub struct EnqueueOutcome {
    /// Those that found room.
    pub accepted: usize,
    /// Those that found no room, by their place.
    pub refused: Vec<(usize, NewEvent)>,
    /// Ready when those accepted are safe; `None` when they are.
    safe: Option<Safe>,
}

impl Debug for EnqueueOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accepted, refused, .. } = self;
        let mut told = f.debug_struct("EnqueueOutcome");
        told.field("accepted", accepted).field("refused", refused).finish_non_exhaustive()
    }
}

impl EnqueueOutcome {
    /// What became of the next of the events.
    pub(super) fn note(&mut self, result: Result<(), Refused>) {
        match result {
            Ok(()) => self.accepted += 1,
            Err(Refused(event)) => {
                let place = self.accepted + self.refused.len();
                self.refused.push((place, event));
            }
        }
    }

    /// It is safe when all is that was accepted so far.
    pub(super) fn note_safe(&mut self, core: &Core) {
        self.safe = core.safe();
    }

    /// What became of the events behind these.
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

    /// Waits until what was accepted is safe, as far as the pipeline's storage makes
    /// it so; a producer is told no earlier.
    pub async fn safe(&mut self) -> Result<(), StorageError> {
        match self.safe.take() {
            Some(safe) => safe.await,
            None => Ok(()),
        }
    }
}

impl Pipeline {
    /// Hands events over. Those that find no room, or are too large, come back.
    pub fn enqueue(&self, mut events: Vec<NewEvent>) -> EnqueueOutcome {
        self.classify(&mut events);
        self.enqueue_keyed(events)
    }

    /// The same for events whose keys are known.
    pub(super) fn enqueue_keyed(&self, events: Vec<NewEvent>) -> EnqueueOutcome {
        let mut outcome = EnqueueOutcome::default();
        let mut pending = Pending::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            self.accept_inbox(&mut inner, now, &mut pending);
            let mut waiting = events.into_iter();
            while waiting.len() > 0 {
                for hash in inner.core.hash_keys(waiting.as_slice()) {
                    let Some(event) = waiting.next() else { break };
                    outcome.note(self.accept_one(&mut inner, event, hash, now));
                }
            }
            inner.core.dispatch_accepted(now);
            outcome.note_safe(&inner.core);
            pending.take(&mut inner.core);
        }
        self.deliver(&mut pending, None);
        outcome
    }

    /// Finds the keys and the selections of events in their JSON.
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
        // What is no JSON has no key, and is selected by those that want all.
        let json = std::str::from_utf8(&event.payload).unwrap_or_default();
        if let Some(pointer) = pointer {
            event.key = pointer.text(json).map(Into::into);
        }
        if self.selects {
            let wants = |selector: &Option<Arc<Selector>>| {
                selector.as_ref().is_none_or(|selector| selector.selects(json))
            };
            let bits = self.selectors.iter().enumerate().filter(|(_, selector)| wants(selector));
            event.selected = Some(bits.fold(0, |selected, (bit, _)| selected | 1 << bit));
        }
    }
}
