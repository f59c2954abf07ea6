//! The open connections of a server, which others look up and close.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_session::Identity;
use millrace_wire::CloseReason;

use super::Client;
use crate::outbox::Outbox;

/// The open connections by their number.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<Open>);

/// The fewest connections in one batch of a drain.
const MIN_BATCH: usize = 100;
/// The most batches of a drain.
const MAX_BATCHES: usize = 50;

/// The connections that are copied under one lock.
const CLIENTS_PER_LOCK: usize = 1_000;

/// A client that has bytes waiting in its outbox.
#[derive(Clone, Debug)]
pub(crate) struct WaitingClient {
    pub(crate) connection: u64,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    /// The clients in the order of their numbers, so that they can be read page by page.
    clients: BTreeMap<u64, Arc<Client>>,
    /// The connections of each user id.
    users: HashMap<Arc<str>, BTreeSet<u64>>,
    /// Whether all were asked to close; connections that open later are asked too.
    closing: bool,
}

impl Connections {
    /// The number of open connections.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.lock().clients.len()
    }

    /// Asks all connections to finish their calls and close with 1012, in batches over the time
    /// `over`. Connections that open later are asked too.
    pub(crate) async fn drain(&self, over: Duration) {
        let outboxes: Vec<_> = {
            let mut open = self.lock();
            open.closing = true;
            open.clients.values().map(|client| Arc::clone(&client.outbox)).collect()
        };
        let batches = outboxes.len().div_ceil(MIN_BATCH).clamp(1, MAX_BATCHES);
        let size = outboxes.len().div_ceil(batches).max(1);
        // An interval of zero would panic.
        let pause = (over / u32::try_from(batches).unwrap_or(1)).max(Duration::from_millis(1));
        let mut pause = tokio::time::interval(pause);
        for batch in outboxes.chunks(size) {
            pause.tick().await;
            batch.iter().for_each(|outbox| outbox.drain());
        }
    }

    /// Asks all connections to close with 1012 at once, and those that open later.
    pub(crate) fn close_all(&self) {
        let mut open = self.lock();
        open.closing = true;
        for client in open.clients.values() {
            client.outbox.close(CloseReason::Restarting);
        }
    }

    /// Asks the connections of a user to close with 1001, and returns their number.
    pub(crate) fn disconnect(&self, user_id: &str) -> usize {
        let open = self.lock();
        let Some(connections) = open.users.get(user_id) else { return 0 };
        for client in connections.iter().filter_map(|number| open.clients.get(number)) {
            client.outbox.close(CloseReason::Disconnected);
        }
        connections.len()
    }

    /// The clients that have bytes waiting in their outboxes.
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

    /// The bytes that wait in all connections to be handled.
    pub(crate) fn pending_bytes(&self) -> usize {
        let mut bytes = 0;
        self.each(|client| bytes += client.pending_bytes());
        bytes
    }

    /// Calls `look` for each client. The lock is held for a thousand clients at a time, as whoever
    /// answers a message of another connection needs it, and not while `look` takes the locks of
    /// outboxes.
    fn each(&self, mut look: impl FnMut(&Client)) {
        let mut from = 0;
        loop {
            let some: Vec<_> = {
                let open = self.lock();
                open.clients
                    .range(from..)
                    .take(CLIENTS_PER_LOCK)
                    .map(|(_, c)| Arc::clone(c))
                    .collect()
            };
            some.iter().for_each(|client| look(client));
            match some.last() {
                Some(last) if some.len() == CLIENTS_PER_LOCK => from = last.connection + 1,
                _ => return,
            }
        }
    }

    /// The outboxes of at most `most` idle connections, spread over all numbers.
    pub(crate) fn some_idle(&self, most: usize) -> Vec<Arc<Outbox>> {
        let all: Vec<_> = self.lock().clients.values().map(Arc::clone).collect();
        let step = all.len().div_ceil(most.max(1)).max(1);
        let some = all.iter().step_by(step).filter(|client| client.outbox.bytes() == 0);
        some.map(|client| Arc::clone(&client.outbox)).collect()
    }

    /// The number of connections (or of those of a user), and at most `max` of them whose numbers
    /// are `from` or higher, in order.
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

    /// The client of this connection.
    pub(crate) fn client(&self, connection: u64) -> Option<Arc<Client>> {
        self.lock().clients.get(&connection).cloned()
    }

    /// The outbox of this connection.
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
