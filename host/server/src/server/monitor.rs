//! Looks again and again at what is not counted as it happens, and shows it to
//! operators.

use std::sync::Arc;
use std::time::Instant;

use millrace_session::channel::Broadcast;
use millrace_telemetry::{LimitLog, Metric, Sampler, dropped_lines};
use millrace_wire::Payload;
use tracing::{info, warn};

use super::Shared;
use super::memory::{GIVE_BACK_EVERY, LOOK_EVERY, Left, give_back};
use crate::dashboard::{EVENT, Sources, TOPIC, Viewer};

/// Runs until it is dropped; ends at once when nobody wants to know.
pub(super) async fn run(shared: Arc<Shared>) {
    if !shared.metrics.is_on() {
        return;
    }
    let mut sampler = Sampler::new(shared.metrics.clone());
    let (mut viewer, mut looked) = (Viewer::default(), Instant::now());
    let mut limit_log = LimitLog::default();
    loop {
        sampler.pause().await;
        look_at_outboxes(&shared);
        shared.metrics.count(Metric::LogDropped, dropped_lines());
        shared.pipelines.count(&shared.metrics);
        limit_log.log(shared.metrics.registry());
        if shared.dashboard.is_some() || shared.admin.is_some() {
            show(&shared, &mut viewer, &mut looked);
        }
    }
}

/// Looks at the memory until it is dropped, and says when it becomes scarce.
pub(super) async fn watch_memory(shared: Arc<Shared>) {
    let memory = &shared.memory;
    let mut looks = 0_u32;
    loop {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(GIVE_BACK_EVERY) {
            give_back();
        }
        if let Some(left) = memory.look() {
            let (used_bytes, max_bytes) = (memory.used_bytes(), memory.max_bytes());
            match left {
                Left::Enough => info!(used_bytes, max_bytes, "there is enough memory again"),
                Left::Little => warn!(
                    used_bytes,
                    max_bytes,
                    "memory is scarce: new connections get 503, and /ready too (memory.max_bytes)"
                ),
                Left::Nothing => warn!(
                    used_bytes,
                    max_bytes,
                    "memory is used up: new connections get 503, messages over 64 KiB and clients \
                     that do not read are closed with 1013; raise memory.max_bytes, or lower \
                     limits.max_total_memory_bytes"
                ),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn look_at_outboxes(shared: &Shared) {
    let waiting = shared.connections.waiting();
    #[expect(clippy::cast_precision_loss, reason = "bytes need no 53 bits")]
    let (pending, max) =
        (shared.connections.pending_bytes() as f64, shared.memory.max_bytes() as f64);
    shared.metrics.set(Metric::SocketPending, pending);
    shared.metrics.set(Metric::ProcessMemoryMax, max);
    let bytes = || waiting.iter().map(|client| client.bytes);
    #[expect(clippy::cast_precision_loss, reason = "bytes need no 53 bits")]
    let [sum, max] = [bytes().sum::<usize>() as f64, bytes().max().unwrap_or(0) as f64];
    shared.metrics.set(Metric::OutboxBytes, sum);
    shared.metrics.set(Metric::OutboxBytesMax, max);
}

fn show(shared: &Shared, viewer: &mut Viewer, looked: &mut Instant) {
    let passed = looked.elapsed();
    *looked = Instant::now();
    let (metrics, connections, faults) = (&shared.metrics, &shared.connections, &shared.faults);
    let (pipelines, registry) = (&shared.pipelines, &shared.registry);
    let sources = Sources { metrics, connections, faults, pipelines, registry, passed };
    let snapshot = viewer.look(&sources);
    // Numbers, strings and maps of them: always possible.
    let json = serde_json::to_string(&snapshot).unwrap_or_default();
    shared.history.push(snapshot);
    let Some(dashboard) = &shared.dashboard else { return };
    let payload = Payload::Json(json.into());
    let broadcast = Broadcast { topic: TOPIC.into(), event: EVENT.into(), payload };
    dashboard.pubsub.own_broadcast(&Arc::new(broadcast));
}
