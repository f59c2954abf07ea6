//! Long-polling: the sessions by their tokens, and what passes between a session and the requests
//! of its client. The requests are answered in `transport`, where the sessions run.

mod batch;
mod delivery;
mod exchange;
mod poll;
mod token;

pub(crate) use batch::{BatchError, BatchLimits, frames};
pub(crate) use delivery::Batch;
pub(crate) use exchange::{Exchange, Polled, Posted};
pub(crate) use poll::{PendingPoll, post};
pub(crate) use token::Token;
use token::TokenKey;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use millrace_telemetry::{Metrics, unix_ms};
use tokio::sync::OwnedMutexGuard;

use crate::net::lock;

/// The number of parts that the sessions are divided into, each with a lock of its own.
const SHARDS: u64 = 16;

/// The long-poll sessions of a server.
#[derive(Debug)]
pub(crate) struct LongPolls {
    key: TokenKey,
    shards: Vec<Mutex<HashMap<u64, Arc<Exchange>>>>,
    /// The promised sessions that are being made, so that each is made once.
    starting: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>,
    metrics: Metrics,
}

/// The lock of a promised session that is being made.
#[derive(Debug)]
pub(crate) struct StartLock<'a> {
    all: &'a LongPolls,
    session: u64,
    _held: OwnedMutexGuard<()>,
}

impl LongPolls {
    /// No sessions yet, of the run of this number.
    ///
    /// # Errors
    ///
    /// The error of the operating system, when it gives no random bytes.
    pub(crate) fn new(node: u64, metrics: Metrics) -> Result<Self, getrandom::Error> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ok(Self { key: TokenKey::draw(node)?, shards, starting: Mutex::default(), metrics })
    }

    /// A token of a session that there is.
    pub(crate) fn token(&self, session: u64) -> String {
        self.key.sign(session, false, unix_ms())
    }

    /// A token of a session that is made when it is used.
    pub(crate) fn promise(&self, session: u64) -> String {
        self.key.sign(session, true, unix_ms())
    }

    /// Reads a token of this run, and whether its client should get a new one.
    pub(crate) fn verify(&self, token: &str) -> Option<(Token, bool)> {
        let now = unix_ms();
        self.key.verify(token, now).map(|token| (token, token.is_to_be_renewed(now)))
    }

    /// Whether a text has the form of a token, of whichever run of the server.
    pub(crate) fn is_like_token(text: &str) -> bool {
        TokenKey::is_like_token(text)
    }

    /// The session of this number.
    pub(crate) fn session(&self, session: u64) -> Option<Arc<Exchange>> {
        lock(self.shard(session)?).get(&session).map(Arc::clone)
    }

    /// Adds a session.
    pub(crate) fn open(&self, session: u64) -> Arc<Exchange> {
        let exchange = Exchange::new(self.metrics.clone());
        if let Some(shard) = self.shard(session) {
            lock(shard).insert(session, Arc::clone(&exchange));
        }
        exchange
    }

    /// Removes a session.
    pub(crate) fn remove(&self, session: u64) {
        if let Some(shard) = self.shard(session) {
            lock(shard).remove(&session);
        }
    }

    /// Waits until no other request makes the session of this number.
    pub(crate) async fn lock_start(&self, session: u64) -> StartLock<'_> {
        let held = Arc::clone(lock(&self.starting).entry(session).or_default());
        StartLock { all: self, session, _held: held.lock_owned().await }
    }

    fn shard(&self, session: u64) -> Option<&Mutex<HashMap<u64, Arc<Exchange>>>> {
        self.shards.get(usize::try_from(session % SHARDS).ok()?)
    }
}

impl Drop for StartLock<'_> {
    fn drop(&mut self) {
        let mut starting = lock(&self.all.starting);
        // One reference is the table's, and one this lock's.
        if starting.get(&self.session).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
            starting.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_its_token_until_it_is_removed() {
        let all = LongPolls::new(1, Metrics::none()).unwrap();
        for session in 0..40 {
            all.open(session);
        }
        let (token, is_to_be_renewed) = all.verify(&all.token(17)).unwrap();
        assert_eq!((token.session, token.is_promise, is_to_be_renewed), (17, false, false));
        assert!(all.session(token.session).is_some());
        all.remove(17);
        assert!(all.session(17).is_none() && all.session(18).is_some());
        assert!(all.verify("").is_none());
    }

    #[tokio::test]
    async fn a_promised_session_is_made_by_one_request_at_a_time() {
        let all = LongPolls::new(1, Metrics::none()).unwrap();
        let first = all.lock_start(5).await;
        let mut second = Box::pin(all.lock_start(5));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(all.lock_start(6).await);
        drop(first);
        drop(second.await);
        assert!(lock(&all.starting).is_empty());
        // One that was not waited for leaves nothing either, once somebody else has had the lock.
        let first = all.lock_start(5).await;
        let mut second = Box::pin(all.lock_start(5));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(second);
        drop(first);
        assert!(lock(&all.starting).is_empty());
    }
}
