//! The connections of a server, to be closed from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outbox::Outbox;
use crate::wire::CloseReason;

/// The open connections by their number.
#[derive(Debug, Default)]
pub struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    outboxes: HashMap<u64, Arc<Outbox>>,
    /// All were asked to close, and whoever comes late is too.
    closing: bool,
}

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().outboxes.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().outboxes.is_empty()
    }

    /// Asks all of them to close with 1012, and those that open later.
    pub fn close_all(&self) {
        let mut open = self.lock();
        open.closing = true;
        for outbox in open.outboxes.values() {
            outbox.close(CloseReason::Restarting);
        }
    }

    pub(crate) fn insert(&self, connection: u64, outbox: &Arc<Outbox>) {
        let mut open = self.lock();
        if open.closing {
            outbox.close(CloseReason::Restarting);
        }
        open.outboxes.insert(connection, Arc::clone(outbox));
    }

    pub(crate) fn remove(&self, connection: u64) {
        self.lock().outboxes.remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
