//! Changes of presence on their way to the plugins that handle them.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use millrace_session::Realm;
use millrace_session::Routing;
use millrace_telemetry::{Metric, Metrics};
use millrace_wasm::Fault;
use tokio::sync::mpsc;
use tracing::error;

use super::Node;
use crate::plugin::Plugin;
use crate::presence::ChangeSink;

/// The number of changes that are handled at the same time, each of another topic.
const LANES: usize = 8;

/// The queues of changes. Those of one topic are in one queue, so they are handled in their order.
struct PresenceChanges {
    node: Weak<Node>,
    lanes: Vec<mpsc::Sender<Change>>,
    hasher: RandomState,
    metrics: Metrics,
}

struct Change {
    plugin: Arc<Plugin>,
    topic: Arc<str>,
    diff: ByteString,
}

impl Node {
    /// Has plugins told of changes of presence from now on; `max_waiting` of them may wait.
    pub(crate) fn handle_presences(self: &Arc<Self>, max_waiting: usize) {
        let lane = |_| {
            let (sender, changes) = mpsc::channel(max_waiting.div_ceil(LANES));
            self.runtime.spawn(handle_all(Arc::downgrade(self), changes));
            sender
        };
        self.presence.tell(Arc::new(PresenceChanges {
            node: Arc::downgrade(self),
            lanes: (0..LANES).map(lane).collect(),
            hasher: RandomState::new(),
            metrics: self.metrics.clone(),
        }));
    }

    /// Logs and counts the fault of a plugin that was told of a change.
    fn presence_faulted(&self, fault: &Fault, plugin: &str, topic: &Arc<str>) {
        let cause = fault.kind.as_str();
        if let Some(line) = self.faults.line(plugin) {
            let (details, left_out, message) = (fault.details(), line.left_out(), &fault.message);
            error!(plugin, %topic, cause, left_out, details, "handle-presence failed: {message}");
        }
        self.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
        self.faults.push(fault, plugin, topic);
    }
}

impl ChangeSink for PresenceChanges {
    fn take(&self, topic: &Arc<str>, diff: &ByteString) {
        let Some(node) = self.node.upgrade() else { return };
        let Some((handler, _)) = node.registry.routes().who_serves(topic) else { return };
        let handles = |plugin: &&Arc<Plugin>| plugin.live().component().has_presence_handler();
        let Some(plugin) = handler.plugin().filter(handles) else { return };
        let at = usize::try_from(self.hasher.hash_one(topic)).unwrap_or_default() % LANES;
        let (plugin, topic, diff) = (Arc::clone(plugin), Arc::clone(topic), diff.clone());
        let queued = self.lanes.get(at).map(|lane| lane.try_send(Change { plugin, topic, diff }));
        if !matches!(queued, Some(Ok(()))) {
            self.metrics.count(Metric::PresenceUnhandled, 1);
        }
    }
}

/// Tells plugins of the changes of a queue, one after the other, until there are no more senders.
async fn handle_all(node: Weak<Node>, mut changes: mpsc::Receiver<Change>) {
    while let Some(Change { plugin, topic, diff }) = changes.recv().await {
        let result = Arc::clone(&plugin.live()).handle_presence(&topic, &diff).await;
        let Some(node) = node.upgrade() else { return };
        match result {
            Ok(effects) => {
                for effect in effects {
                    node.apply(Realm::App, effect, None);
                }
            }
            Err(fault) => node.presence_faulted(&fault, plugin.name(), &topic),
        }
    }
}
