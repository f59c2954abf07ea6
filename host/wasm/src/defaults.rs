//! The defaults of plugins and of the cache, each with its reason.

use super::{CacheConfig, OnFaults, OnMigrate, PluginLimits};
use crate::egress::EgressConfig;

/// About 0.1 seconds of computing.
const FUEL: u64 = 200_000_000;

/// Parsing JSON takes some tens of units for each byte.
const FUEL_PER_BYTE: u64 = 100;

/// About half a millisecond, in which the pipeline stands still; `fair` takes a hundredth of it.
const DISPATCHER_FUEL: u64 = 1_000_000;

/// About a microsecond; the dispatchers that come with the server take a tenth of it.
const DISPATCHER_FUEL_PER_ROW: u64 = 2_000;

/// A Rust plugin starts with little more than 1 MiB.
const MAX_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// Rust plugins keep large values in linear memory and need a tenth of it; interpreters need most
/// of it.
const MAX_STACK_BYTES: usize = 192 * 1024;

/// Sixteen instances of the largest size at once, or all instances if they need little.
const MAX_TOTAL_MEMORY_BYTES: usize = 1024 * 1024 * 1024;

/// Assigns are copied in and out of each call; larger state belongs elsewhere.
const MAX_ASSIGNS_BYTES: usize = 64 * 1024;

/// More than a handler of one message needs.
const MAX_EFFECTS: usize = 256;

/// Enough for an answer as large as the largest message of a client.
const MAX_EFFECT_BYTES: usize = 16 * 1024 * 1024;

/// More than a handler of one message has to measure.
const MAX_METRICS: usize = 256;

/// Calls and tasks of one plugin at the same time; further ones wait. An idle instance takes about
/// 50 KiB, and one that waits in a call as much.
const MAX_INSTANCES: u32 = 2_048;

/// An instance for each call costs more than the call itself; it is for plugins whose users must
/// not share memory.
const FRESH_INSTANCES: bool = false;

/// As in Phoenix: a channel handles one message after the other.
const MAX_CONCURRENCY: usize = 1;

/// The time that phoenix.js waits for an answer before it tries again.
const JOIN_TIMEOUT_MS: u64 = 10_000;

/// Longer than any client waits, so that only calls that hang are cut off.
const CALL_TIMEOUT_MS: u64 = 30_000;

/// Longer than a call, because tasks are for work that takes long.
const TASK_TIMEOUT_MS: u64 = 60_000;

/// Tasks of one plugin; those above `MAX_INSTANCES` wait.
const MAX_TASKS: usize = 10_000;

/// Longer than a server takes that answers at all.
const HTTP_TIMEOUT_MS: u64 = 10_000;

/// The bodies of requests and of responses: as large as an API's usually are.
const HTTP_BODY_BYTES: usize = 1024 * 1024;

/// Requests of one plugin at the same time; more would only wait at the other end.
const HTTP_MAX_CONCURRENT: usize = 256;

/// Some hundred versions of plugins.
const CACHE_BYTES: u64 = 512 * 1024 * 1024;

impl Default for CacheConfig {
    fn default() -> Self {
        Self { dir: None, max_bytes: CACHE_BYTES }
    }
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            addresses: Vec::new(),
            own_listeners: false,
            timeout_ms: HTTP_TIMEOUT_MS,
            max_request_bytes: HTTP_BODY_BYTES,
            max_response_bytes: HTTP_BODY_BYTES,
            max_concurrent: HTTP_MAX_CONCURRENT,
        }
    }
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            fuel: FUEL,
            fuel_per_byte: FUEL_PER_BYTE,
            dispatcher_fuel: DISPATCHER_FUEL,
            dispatcher_fuel_per_row: DISPATCHER_FUEL_PER_ROW,
            max_memory_bytes: MAX_MEMORY_BYTES,
            max_stack_bytes: MAX_STACK_BYTES,
            max_total_memory_bytes: MAX_TOTAL_MEMORY_BYTES,
            max_assigns_bytes: MAX_ASSIGNS_BYTES,
            max_effects: MAX_EFFECTS,
            max_effect_bytes: MAX_EFFECT_BYTES,
            max_metrics: MAX_METRICS,
            max_instances: MAX_INSTANCES,
            max_task_instances: None,
            fresh_instances: FRESH_INSTANCES,
            max_concurrency: MAX_CONCURRENCY,
            join_timeout_ms: JOIN_TIMEOUT_MS,
            call_timeout_ms: CALL_TIMEOUT_MS,
            task_timeout_ms: TASK_TIMEOUT_MS,
            max_tasks: MAX_TASKS,
            on_faults: OnFaults::default(),
            on_migrate: OnMigrate::default(),
        }
    }
}
