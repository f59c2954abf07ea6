//! One connection as other connections, plugins and operators see it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_session::{Identity, Realm};

use crate::outbox::Outbox;

/// One connection as other connections, plugins and operators see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) outbox: Arc<Outbox>,
    /// The number of the connection.
    pub(crate) connection: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) realm: Realm,
    /// The bytes that wait to be handled, as of the connection's last turn.
    pending_bytes: AtomicUsize,
    /// The topics that were joined, in no order: there are few (`socket.max_channels`), so a search
    /// goes through all.
    topics: Mutex<Vec<Arc<str>>>,
}

impl Client {
    pub(crate) fn new(identity: &Identity, outbox: &Arc<Outbox>) -> Self {
        let Identity { connection, peer, realm, ref user_id, .. } = *identity;
        let (outbox, user_id) = (Arc::clone(outbox), user_id.clone());
        let (pending_bytes, topics) = (AtomicUsize::new(0), Mutex::default());
        Self { outbox, connection, peer, user_id, realm, pending_bytes, topics }
    }

    /// The bytes that wait to be handled, as of the connection's last turn.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Sets the bytes that wait to be handled.
    pub(crate) fn set_pending_bytes(&self, bytes: usize) {
        self.pending_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes that the client has joined a topic.
    pub(crate) fn joined(&self, topic: &Arc<str>) {
        let mut topics = self.lock();
        if topics.is_empty() {
            // Most clients join one topic.
            topics.reserve_exact(1);
        }
        topics.push(Arc::clone(topic));
    }

    /// Notes that the client has left a topic.
    pub(crate) fn left(&self, topic: &str) {
        let mut topics = self.lock();
        if let Some(place) = topics.iter().position(|joined| **joined == *topic) {
            topics.swap_remove(place);
        }
    }

    /// The number of joined topics.
    pub(crate) fn topic_count(&self) -> usize {
        self.lock().len()
    }

    /// The joined topics, sorted.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics = self.lock().clone();
        topics.sort();
        topics
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
