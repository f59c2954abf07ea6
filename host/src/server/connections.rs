//! The connections of a server, to be closed from elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::outbox::Outbox;
use crate::session::Identity;
use crate::wire::CloseReason;

/// The open connections by their number.
#[derive(Debug, Default)]
pub struct Connections(Mutex<Open>);

/// Connections that are drained at once.
const MIN_BATCH: usize = 100;
/// Into no more batches is the time divided.
const MAX_BATCHES: usize = 50;

/// One connection.
#[derive(Clone, Debug)]
struct Entry {
    outbox: Arc<Outbox>,
    user_id: Option<Arc<str>>,
}

/// A client for which something waits.
#[derive(Clone, Debug)]
pub(crate) struct WaitingClient {
    pub(crate) connection: u64,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    outboxes: HashMap<u64, Entry>,
    /// The connections of each user id.
    users: HashMap<Arc<str>, HashSet<u64>>,
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

    /// Asks them to finish their calls and close with 1012, in batches over this
    /// time; a few at once. Those that open later close too.
    pub(crate) async fn drain(&self, over: Duration) {
        let outboxes: Vec<_> = {
            let mut open = self.lock();
            open.closing = true;
            open.outboxes.values().map(|entry| Arc::clone(&entry.outbox)).collect()
        };
        let batches = outboxes.len().div_ceil(MIN_BATCH).clamp(1, MAX_BATCHES);
        let size = outboxes.len().div_ceil(batches).max(1);
        let mut pause = tokio::time::interval(over / u32::try_from(batches).unwrap_or(1));
        for batch in outboxes.chunks(size) {
            pause.tick().await;
            batch.iter().for_each(|outbox| outbox.drain());
        }
    }

    /// Asks all of them to close with 1012 at once, and those that open later.
    pub fn close_all(&self) {
        let mut open = self.lock();
        open.closing = true;
        for entry in open.outboxes.values() {
            entry.outbox.close(CloseReason::Restarting);
        }
    }

    /// Asks the connections of a user to close with 1001; how many there are.
    pub fn disconnect(&self, user_id: &str) -> usize {
        let open = self.lock();
        let Some(connections) = open.users.get(user_id) else { return 0 };
        for entry in connections.iter().filter_map(|number| open.outboxes.get(number)) {
            entry.outbox.close(CloseReason::Disconnected);
        }
        connections.len()
    }

    /// Those for which something waits.
    pub(crate) fn waiting(&self) -> Vec<WaitingClient> {
        // The lock is let go of before those of the outboxes are taken.
        let all: Vec<_> = self.lock().outboxes.iter().map(|(n, e)| (*n, e.clone())).collect();
        let waiting = all.into_iter().filter_map(|(connection, Entry { outbox, user_id })| {
            let bytes = outbox.bytes();
            (bytes > 0).then_some(WaitingClient { connection, user_id, bytes })
        });
        waiting.collect()
    }

    /// The way to one connection.
    pub(crate) fn outbox(&self, connection: u64) -> Option<Arc<Outbox>> {
        self.lock().outboxes.get(&connection).map(|entry| Arc::clone(&entry.outbox))
    }

    pub(crate) fn insert(&self, identity: &Identity, outbox: &Arc<Outbox>) {
        let Identity { connection, ref user_id, .. } = *identity;
        let mut open = self.lock();
        if let Some(user_id) = user_id {
            open.users.entry(Arc::clone(user_id)).or_default().insert(connection);
        }
        if open.closing {
            outbox.drain();
        }
        let entry = Entry { outbox: Arc::clone(outbox), user_id: user_id.clone() };
        open.outboxes.insert(connection, entry);
    }

    pub(crate) fn remove(&self, identity: &Identity) {
        let Identity { connection, ref user_id, .. } = *identity;
        let mut open = self.lock();
        open.outboxes.remove(&connection);
        let Some(user_id) = user_id else { return };
        if let Some(connections) = open.users.get_mut(user_id) {
            connections.remove(&connection);
            if connections.is_empty() {
                open.users.remove(user_id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
