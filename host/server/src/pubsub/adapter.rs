//! The interface to other servers.

use std::fmt::Debug;
use std::sync::Arc;

use millrace_session::channel::Broadcast;

/// Carries broadcasts to other servers. What arrives from them goes to
/// [`super::PubSub::local_broadcast`].
pub trait Adapter: Debug + Send + Sync {
    /// Hands a broadcast on. Called once for each broadcast that starts on this
    /// server, on the thread that broadcasts: it must not block, and may drop
    /// what it cannot queue.
    fn publish(&self, broadcast: &Arc<Broadcast>);
}

/// The adapter of a server without others: it does nothing.
#[derive(Debug)]
pub struct LocalOnly;

impl Adapter for LocalOnly {
    fn publish(&self, _broadcast: &Arc<Broadcast>) {}
}
