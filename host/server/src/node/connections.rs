//! The connections of a server, to be closed from elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_session::Identity;
use millrace_wire::CloseReason;

use super::Client;
use crate::outbox::Outbox;

/// The open connections by their number.
#[derive(Debug, Default)]
pub struct Connections(Mutex<Open>);

/// Connections that are drained at once.
const MIN_BATCH: usize = 100;
/// Into no more batches is the time divided.
const MAX_BATCHES: usize = 50;

/// Connections that are looked at under one lock.
const AT_A_TIME: usize = 1_000;

/// A client for which something waits.
#[derive(Clone, Debug)]
pub(crate) struct WaitingClient {
    pub(crate) connection: u64,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    /// In order, to be looked at page by page.
    clients: BTreeMap<u64, Arc<Client>>,
    /// The connections of each user id.
    users: HashMap<Arc<str>, BTreeSet<u64>>,
    /// All were asked to close, and whoever comes late is too.
    closing: bool,
}

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().clients.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().clients.is_empty()
    }

    /// Asks them to finish their calls and close with 1012, in batches over this
    /// time; a few at once. Those that open later close too.
    pub(crate) async fn drain(&self, over: Duration) {
        let outboxes: Vec<_> = {
            let mut open = self.lock();
            open.closing = true;
            open.clients.values().map(|client| Arc::clone(&client.outbox)).collect()
        };
        let batches = outboxes.len().div_ceil(MIN_BATCH).clamp(1, MAX_BATCHES);
        let size = outboxes.len().div_ceil(batches).max(1);
        // Of no time at all there would be no interval.
        let pause = (over / u32::try_from(batches).unwrap_or(1)).max(Duration::from_millis(1));
        let mut pause = tokio::time::interval(pause);
        for batch in outboxes.chunks(size) {
            pause.tick().await;
            batch.iter().for_each(|outbox| outbox.drain());
        }
    }

    /// Asks all of them to close with 1012 at once, and those that open later.
    pub fn close_all(&self) {
        let mut open = self.lock();
        open.closing = true;
        for client in open.clients.values() {
            client.outbox.close(CloseReason::Restarting);
        }
    }

    /// Asks the connections of a user to close with 1001; how many there are.
    pub fn disconnect(&self, user_id: &str) -> usize {
        let open = self.lock();
        let Some(connections) = open.users.get(user_id) else { return 0 };
        for client in connections.iter().filter_map(|number| open.clients.get(number)) {
            client.outbox.close(CloseReason::Disconnected);
        }
        connections.len()
    }

    /// Those for which something waits.
    pub(crate) fn waiting(&self) -> Vec<WaitingClient> {
        let mut waiting = Vec::new();
        self.each(|client| {
            let (connection, bytes) = (client.connection, client.outbox.bytes());
            if bytes > 0 {
                let user_id = client.user_id.clone();
                waiting.push(WaitingClient { connection, user_id, bytes });
            }
        });
        waiting
    }

    /// What waits in all of them to be handled, in bytes.
    pub(crate) fn pending_bytes(&self) -> usize {
        let mut bytes = 0;
        self.each(|client| bytes += client.pending_bytes());
        bytes
    }

    /// Looks at all of them, some at a time: whoever answers a message of another
    /// connection needs the same lock. It is let go of before those of outboxes are
    /// taken.
    fn each(&self, mut look: impl FnMut(&Client)) {
        let mut from = 0;
        loop {
            let some: Vec<_> = {
                let open = self.lock();
                open.clients.range(from..).take(AT_A_TIME).map(|(_, c)| Arc::clone(c)).collect()
            };
            some.iter().for_each(|client| look(client));
            match some.last() {
                Some(last) if some.len() == AT_A_TIME => from = last.connection + 1,
                _ => return,
            }
        }
    }

    /// The ways to some connections for which nothing waits, from all over.
    pub(crate) fn some_idle(&self, most: usize) -> Vec<Arc<Outbox>> {
        let all: Vec<_> = self.lock().clients.values().map(Arc::clone).collect();
        let step = all.len().div_ceil(most.max(1)).max(1);
        let some = all.iter().step_by(step).filter(|client| client.outbox.bytes() == 0);
        some.map(|client| Arc::clone(&client.outbox)).collect()
    }

    /// How many connections there are, or a user has, and those from a number on,
    /// at most `max` of them, in order.
    pub(crate) fn page(
        &self,
        user_id: Option<&str>,
        from: u64,
        max: usize,
    ) -> (usize, Vec<Arc<Client>>) {
        let open = self.lock();
        let Some(user_id) = user_id else {
            let page = open.clients.range(from..).take(max).map(|(_, client)| Arc::clone(client));
            return (open.clients.len(), page.collect());
        };
        let Some(numbers) = open.users.get(user_id) else { return (0, Vec::new()) };
        let page = numbers.range(from..).take(max).filter_map(|n| open.clients.get(n).cloned());
        (numbers.len(), page.collect())
    }

    /// The connection of this number.
    pub(crate) fn client(&self, connection: u64) -> Option<Arc<Client>> {
        self.lock().clients.get(&connection).cloned()
    }

    /// The way to one connection.
    pub(crate) fn outbox(&self, connection: u64) -> Option<Arc<Outbox>> {
        self.lock().clients.get(&connection).map(|client| Arc::clone(&client.outbox))
    }

    pub(crate) fn insert(&self, identity: &Identity, outbox: &Arc<Outbox>) -> Arc<Client> {
        let Identity { connection, ref user_id, .. } = *identity;
        let client = Arc::new(Client::new(identity, outbox));
        let mut open = self.lock();
        if let Some(user_id) = user_id {
            open.users.entry(Arc::clone(user_id)).or_default().insert(connection);
        }
        if open.closing {
            outbox.drain();
        }
        open.clients.insert(connection, Arc::clone(&client));
        client
    }

    pub(crate) fn remove(&self, identity: &Identity) {
        let Identity { connection, ref user_id, .. } = *identity;
        let mut open = self.lock();
        open.clients.remove(&connection);
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
