//! The connections of a server, to be closed from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outbox::Outbox;
use crate::wire::CloseReason;

/// The open connections by their number.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<u64, Arc<Outbox>>>);

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Asks all of them to close with 1012.
    pub fn close_all(&self) {
        for outbox in self.lock().values() {
            outbox.close(CloseReason::Restarting);
        }
    }

    pub(crate) fn insert(&self, connection: u64, outbox: &Arc<Outbox>) {
        self.lock().insert(connection, Arc::clone(outbox));
    }

    pub(crate) fn remove(&self, connection: u64) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Outbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
