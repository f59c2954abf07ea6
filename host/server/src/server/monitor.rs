//! Periodic measurements: values that are not counted as they change, for metrics and operators.

use std::sync::Arc;
use std::time::Instant;

use millrace_session::channel::Broadcast;
use millrace_telemetry::{LimitLog, Metric, Sampler, dropped_lines};
use millrace_wire::Payload;
use tracing::{info, warn};

use crate::dashboard::{EVENT, MAX_ROWS, PresenceRow, SlowClient, SnapshotBuilder, Sources, TOPIC};
use crate::node::{MEASURE_INTERVAL, MemoryLeft, Node, RELEASE_EVERY, release_free_memory};

/// Measures until it is dropped; returns at once when nobody gets the metrics.
pub(super) async fn run(node: Arc<Node>) {
    if !node.metrics.is_on() {
        return;
    }
    let mut sampler = Sampler::new(node.metrics.clone());
    let (mut snapshots, mut looked) = (SnapshotBuilder::default(), Instant::now());
    let mut reached = LimitLog::default();
    loop {
        sampler.pause().await;
        look_at_outboxes(&node);
        #[expect(clippy::cast_precision_loss, reason = "counts need no 53 bits")]
        node.metrics.set(Metric::PresenceMembers, node.presence.member_count() as f64);
        node.metrics.count(Metric::LogDropped, dropped_lines());
        node.pipelines.count(&node.metrics);
        reached.log(node.metrics.registry());
        if node.dashboard.is_some() || node.admin.is_some() {
            show(&node, &mut snapshots, &mut looked);
        }
    }
}

/// Looks at the memory until it is dropped, and logs when it becomes scarce.
pub(super) async fn watch_memory(node: Arc<Node>) {
    let memory = &node.memory;
    let mut looks = 0_u32;
    loop {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(RELEASE_EVERY) {
            release_free_memory();
        }
        if let Some(left) = memory.measure() {
            let (used_bytes, max_bytes) = (memory.used_bytes(), memory.max_bytes());
            match left {
                MemoryLeft::Enough => info!(used_bytes, max_bytes, "there is enough memory again"),
                MemoryLeft::Little => warn!(
                    used_bytes,
                    max_bytes,
                    "memory is scarce: new connections get 503, and /ready too (memory.max_bytes)"
                ),
                MemoryLeft::Nothing => warn!(
                    used_bytes,
                    max_bytes,
                    "memory is used up: new connections get 503, messages over 64 KiB and clients \
                     that do not read are closed with 1013; raise memory.max_bytes, or lower \
                     limits.max_total_memory_bytes"
                ),
            }
        }
        tokio::time::sleep(MEASURE_INTERVAL).await;
    }
}

fn look_at_outboxes(node: &Node) {
    let waiting = node.connections.waiting();
    #[expect(clippy::cast_precision_loss, reason = "bytes need no 53 bits")]
    let (pending, max) = (node.connections.pending_bytes() as f64, node.memory.max_bytes() as f64);
    node.metrics.set(Metric::SocketPending, pending);
    node.metrics.set(Metric::ProcessMemoryMax, max);
    let bytes = || waiting.iter().map(|client| client.bytes);
    #[expect(clippy::cast_precision_loss, reason = "bytes need no 53 bits")]
    let [sum, max] = [bytes().sum::<usize>() as f64, bytes().max().unwrap_or(0) as f64];
    node.metrics.set(Metric::OutboxBytes, sum);
    node.metrics.set(Metric::OutboxBytesMax, max);
}

fn show(node: &Node, snapshots: &mut SnapshotBuilder, looked: &mut Instant) {
    let passed = looked.elapsed();
    *looked = Instant::now();
    let waiting = node.connections.waiting().into_iter().map(|client| SlowClient {
        connection: client.connection,
        user: client.user_id.as_deref().map(str::to_owned),
        bytes: client.bytes,
    });
    let plugins = node.registry.plugins();
    let versions = plugins.iter().map(|plugin| {
        let version = plugin.live().component().version().to_owned();
        (plugin.name().to_owned(), version)
    });
    let presences = node.presence.largest(MAX_ROWS).into_iter();
    let presences =
        presences.map(|(topic, members)| PresenceRow { topic: topic.to_string(), members });
    let snapshot = snapshots.build(Sources {
        metrics: &node.metrics,
        waiting: waiting.collect(),
        presences: presences.collect(),
        faults: node.faults.newest_first(),
        pipelines: node.pipelines.all().map(Arc::clone).collect(),
        versions: versions.collect(),
        passed,
    });
    // A snapshot has only numbers, strings and maps of them, so this cannot fail.
    let json = serde_json::to_string(&snapshot).unwrap_or_default();
    node.history.push(snapshot);
    let Some(dashboard) = &node.dashboard else { return };
    let payload = Payload::Json(json.into());
    let broadcast = Broadcast { topic: TOPIC.into(), event: EVENT.into(), payload };
    dashboard.pubsub.own_broadcast(&Arc::new(broadcast));
}
