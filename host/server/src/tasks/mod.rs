//! Tasks: work of plugins beside their channels (`start-task` in `wit/v0.1`).
//!
//! ```text
//! call ──start-task──▶ tasks::start ──▶ another instance ──effects──▶ outboxes · pubsub
//! ```
//!
//! A task outlives the call, the channel and the connection that started it. It is limited by its
//! connection ([`ConnectionQuota`]), its plugin (`limits.max_tasks`) and its deadline. The server
//! waits for its tasks when it stops.

mod connection_quota;

pub(crate) use connection_quota::ConnectionQuota;
use connection_quota::TaskSlot;

use std::sync::Arc;

use millrace_session::Realm;
use millrace_session::channel::{Caller, ChannelEffect, Deferred, Effect, SocketRef, entry_bytes};
use millrace_telemetry::Metric;
use millrace_wasm::{CallContext, Fault, FaultKind};
use millrace_wire::Payload;
use tokio::sync::OwnedSemaphorePermit;

use crate::node::Node;
use crate::plugin::Plugin;

/// A task that a plugin has asked for.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) caller: Caller,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) name: String,
    pub(crate) payload: Payload,
}

/// An error: there are as many tasks as are allowed.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// Starts a task, if its connection and its plugin may have another one.
pub(crate) fn start(quota: &Arc<ConnectionQuota>, start: Start) -> Result<(), NoRoom> {
    let metrics = &quota.node.metrics;
    let own = quota.tasks();
    let slots = (quota.task_slot(entry_bytes(start.payload.len())), start.plugin.task_slot(own));
    let (Some(of_connection), Some(of_plugin)) = slots else {
        metrics.count(Metric::TaskRefused, 1);
        return Err(NoRoom);
    };
    metrics.count(Metric::TaskStarted, 1);
    let slots = (of_connection, of_plugin);
    let Node { tasks, runtime, .. } = &*quota.node;
    tasks.spawn_on(run(Arc::clone(quota), start, slots), runtime);
    Ok(())
}

async fn run(quota: Arc<ConnectionQuota>, start: Start, _slots: (TaskSlot, OwnedSemaphorePermit)) {
    let Start { caller, plugin, name, payload } = start;
    let result = match quota.admit() {
        Ok(()) => {
            let context = CallContext { caller: caller.clone(), progress: Arc::clone(&quota) as _ };
            plugin.run_task(&context, &name, &payload).await
        }
        Err(retry_after) => Err(Fault::held(retry_after)),
    };
    match result {
        Ok(effects) => apply(&quota, Some(&plugin), &caller, effects),
        Err(fault) => {
            let task = format!("the task {name:?}");
            quota.faulted(&fault, plugin.name(), &task, &caller);
            quota.node.metrics.count(Metric::TaskFailed, 1);
            let reason = match fault.kind {
                FaultKind::Deadline => Payload::reason("task timeout"),
                FaultKind::Overloaded { retry_after_ms } => {
                    Payload::retry("overloaded", retry_after_ms)
                }
                FaultKind::Held { retry_after_ms } | FaultKind::NoRoom { retry_after_ms } => {
                    Payload::retry("unavailable", retry_after_ms)
                }
                _ => Payload::reason("task crashed"),
            };
            refuse(&quota, &caller, reason);
        }
    }
}

/// Applies effects that do not come from a joined channel's own call: those of tasks, and those
/// that a call has flushed after its connection ended. `plugin` is that of the task.
pub(crate) fn apply(
    quota: &Arc<ConnectionQuota>,
    plugin: Option<&Arc<Plugin>>,
    caller: &Caller,
    effects: Vec<Effect>,
) {
    for effect in effects {
        match effect {
            Effect::Channel(effect) => apply_own(quota, plugin, caller, effect),
            Effect::Server(effect) => quota.node.apply(Realm::App, effect, None),
        }
    }
}

fn apply_own(
    quota: &Arc<ConnectionQuota>,
    plugin: Option<&Arc<Plugin>>,
    caller: &Caller,
    effect: ChannelEffect,
) {
    let (node, context) = (&quota.node, &caller.context);
    match (effect, plugin) {
        (ChannelEffect::Push { event, payload }, _) => {
            let (topic, channel) = (Arc::clone(&context.topic), context.channel);
            quota.deferred(Deferred::Push { topic, channel, event, payload });
        }
        (ChannelEffect::Presence(change), _) => {
            let (topic, channel) = (Arc::clone(&context.topic), context.channel);
            quota.deferred(Deferred::Presence { topic, channel, change });
        }
        (ChannelEffect::Broadcast { topic, event, payload, exclude_self }, _) => {
            let effect = context.broadcast(topic, event, payload, exclude_self);
            node.apply(Realm::App, effect, None);
        }
        (ChannelEffect::StartTask { name, payload }, Some(plugin)) => {
            let plugin = Arc::clone(plugin);
            let task = Start { caller: caller.clone(), plugin, name, payload };
            if start(quota, task).is_err() {
                let retry_after_ms = node.socket.retry_after_ms;
                refuse(quota, caller, Payload::retry("overloaded", retry_after_ms));
            }
        }
        // These come only from a flush whose connection has ended: the channel that they are for
        // has gone.
        (ChannelEffect::StartTask { .. }, None) => node.metrics.count(Metric::TaskRefused, 1),
        (
            ChannelEffect::Reply { .. }
            | ChannelEffect::Subscribe(_)
            | ChannelEffect::Unsubscribe(_)
            | ChannelEffect::SendAfter { .. }
            | ChannelEffect::Stop,
            _,
        ) => node.metrics.count(Metric::LateGone, 1),
    }
}

/// Answers the message that a task was started for with an error.
fn refuse(quota: &ConnectionQuota, caller: &Caller, reason: Payload) {
    let Some(reply_to) = &caller.reply_to else { return };
    let node = &quota.node;
    if let Some(socket_ref) = SocketRef::new(node.id, &caller.context, reply_to) {
        node.reply_to(socket_ref, "error".to_owned(), reason);
    }
}
