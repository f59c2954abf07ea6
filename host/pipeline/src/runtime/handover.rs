//! Events that producers hand over.

use std::fmt::Debug;
use std::sync::Arc;

use super::{Aftermath, Pipeline};
use crate::core::{Core, Refused};
use crate::event::NewEvent;
use crate::selector::Selector;
use crate::storage::{Safe, StorageError};

/// What became of events that were handed over.
#[derive(Default)]
pub struct Handover {
    /// Those that found room.
    pub accepted: usize,
    /// Those that found no room, by their place.
    pub refused: Vec<(usize, NewEvent)>,
    /// Ready when those accepted are safe; `None` when they are.
    safe: Option<Safe>,
}

impl Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accepted, refused, .. } = self;
        let mut told = f.debug_struct("Handover");
        told.field("accepted", accepted).field("refused", refused).finish_non_exhaustive()
    }
}

impl Handover {
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
    pub(super) fn keep_safe(&mut self, core: &Core) {
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
    pub fn enqueue(&self, mut events: Vec<NewEvent>) -> Handover {
        self.look_into(&mut events);
        self.hand_over(events)
    }

    /// The same for events whose keys are known.
    pub(super) fn hand_over(&self, events: Vec<NewEvent>) -> Handover {
        let mut handover = Handover::default();
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            self.take_inbox(&mut inner, now, &mut aftermath);
            let mut waiting = events.into_iter();
            while waiting.len() > 0 {
                for hash in inner.core.hash_keys(waiting.as_slice()) {
                    let Some(event) = waiting.next() else { break };
                    handover.note(self.accept_one(&mut inner, event, hash, now));
                }
            }
            inner.core.accepted(now);
            handover.keep_safe(&inner.core);
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
        handover
    }

    /// Finds the keys and the selections of events in their JSON.
    pub(super) fn look_into(&self, events: &mut [NewEvent]) {
        if self.partition_by.is_some() || self.selects {
            events.iter_mut().for_each(|event| self.look_into_one(event));
        }
    }

    fn look_into_one(&self, event: &mut NewEvent) {
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
