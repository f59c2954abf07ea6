//! The limits of one call, and of the instance it runs in.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use wasmtime::{ResourceLimiterAsync, Result};

use super::instance_limit::InstanceLimit;

/// `[limits]`: the limits of one plugin and of each of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// The fuel of any call: about one unit for each Wasm instruction. A call that uses it up
    /// traps.
    pub fuel: u64,
    /// The fuel that a call has besides, for each byte of payload and assigns: copying a byte costs
    /// one unit, and parsing it some tens.
    pub fuel_per_byte: u64,
    /// The fuel of a call of a dispatcher, during which its pipeline stands still. A dispatcher
    /// that uses it up is replaced.
    pub dispatcher_fuel: u64,
    /// The fuel that it has besides, for each event and consumer that the call is told of; for each
    /// event that waits, a thirty-second of that.
    pub dispatcher_fuel_per_row: u64,
    /// Bytes of linear memory of one instance, all its memories together. Growing beyond that
    /// fails.
    pub max_memory_bytes: usize,
    /// Bytes of stack of one call; deeper recursion traps. It is the same for all plugins of a
    /// server.
    pub max_stack_bytes: usize,
    /// Bytes of memory of all instances of the plugin together, idle ones and those of its other
    /// versions included. Calls that need more wait.
    pub max_total_memory_bytes: usize,
    /// Bytes of assigns that a call may return; more are a fault.
    pub max_assigns_bytes: usize,
    /// Effects that a call may return; more are a fault.
    pub max_effects: usize,
    /// Bytes of the payloads of these effects together; more are a fault.
    pub max_effect_bytes: usize,
    /// Measurements of one call; more are left out.
    pub max_metrics: usize,
    /// Calls and tasks of the plugin at the same time; further ones wait.
    pub max_instances: u32,
    /// Tasks among these; further ones wait. `None` is three quarters.
    pub max_task_instances: Option<u32>,
    /// Whether each instance serves only one call, so that users of the plugin share no memory.
    /// Messages are not handled together then.
    pub fresh_instances: bool,
    /// Calls of one channel at the same time. More than 1 gives up the order of its messages: each
    /// call sees the assigns as they were when it started, and of several the last to return wins.
    pub max_concurrency: usize,
    /// Milliseconds that a join may take; a longer one is refused with `join timeout`.
    pub join_timeout_ms: u64,
    /// Milliseconds that any other call of a channel may take. A longer one is cut off; a client
    /// that waits gets the error `handler timeout`.
    pub call_timeout_ms: u64,
    /// Milliseconds that a task may take. A longer one is cut off; the message that started it is
    /// answered with the error `task timeout`.
    pub task_timeout_ms: u64,
    /// Tasks of the plugin at the same time. The message that wanted to start a further one gets
    /// the error `overloaded`.
    pub max_tasks: usize,
    /// The policy for a plugin whose calls trap again and again.
    pub on_faults: OnFaults,
    /// The policy for a channel whose assigns a new version cannot migrate.
    pub on_migrate: OnMigrate,
}

/// The policy for a channel whose assigns a version of its plugin cannot migrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMigrate {
    /// The channel is closed with `phx_error`, and its client joins anew.
    #[default]
    Rejoin,
    /// The version that can read the assigns goes on serving the channel until its client leaves.
    KeepOld,
    /// A version that fails with one of the channels it is tried on does not go live. One that
    /// fails later is treated as with `rejoin`.
    Reject,
}

/// The policy for a plugin of whose calls more than a third trap, after a hundred of those; the
/// names are those of Envoy's failure policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFaults {
    /// The plugin is held back for a while, twice as long each time, then tried again.
    #[default]
    Reload,
    /// The plugin is not called again until another version of it is loaded.
    Closed,
    /// The plugin is called as before: each call gets a new instance, whatever that costs.
    Open,
}

impl PluginLimits {
    /// The number of instances that tasks may hold: at least one.
    #[must_use]
    pub fn max_task_instances(&self) -> u32 {
        let quarters = u64::from(self.max_instances) * 3 / 4;
        let most = self.max_task_instances.unwrap_or(u32::try_from(quarters).unwrap_or(u32::MAX));
        most.clamp(1, self.max_instances.max(1))
    }

    /// The fuel of a call that is handed so many bytes.
    #[must_use]
    pub fn fuel_for(&self, bytes: usize) -> u64 {
        self.fuel.saturating_add(self.fuel_per_byte.saturating_mul(bytes as u64))
    }
}

impl PluginLimits {
    /// The fuel of a call of a dispatcher that is told of `rows` events and consumers, is handed
    /// `bytes` bytes of keys, and has `waiting` events that it was offered before.
    #[must_use]
    pub fn dispatcher_fuel_for(&self, rows: usize, bytes: usize, waiting: usize) -> u64 {
        let row = self.dispatcher_fuel_per_row;
        let of_rows = row.saturating_mul(rows as u64);
        let of_bytes = self.fuel_per_byte.saturating_mul(bytes as u64);
        // A table of all events that wait has to grow now and then, within one call.
        let of_waiting = (row / WAITING_SHARE).saturating_mul(waiting as u64);
        let more = of_rows.saturating_add(of_bytes).saturating_add(of_waiting);
        self.dispatcher_fuel.saturating_add(more)
    }
}

/// The part (one in so many) of the fuel for a row that there is for an event that waits.
const WAITING_SHARE: u64 = 32;

/// Limits the memory of one instance, and remembers what it refused.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    /// The number of the instance, unique in the process.
    number: u64,
    max_bytes: usize,
    used_bytes: usize,
    refused: Option<TooMuch>,
    /// The limit of all instances of the plugin, whose memory is counted together; `None` for an
    /// instance that is of no pool.
    instance_limit: Option<Arc<InstanceLimit>>,
    /// The bytes that count there.
    charged_bytes: usize,
    /// The bytes that the instance began with, once it has been made. Memory that it takes later
    /// counts in full.
    began_bytes: Option<usize>,
}

/// Memory that an instance asked for, and may never have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch {
    wanted: usize,
    allowed: usize,
    key: &'static str,
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, allowed, key } = self;
        write!(f, "wanted {wanted} bytes of memory, allowed are {allowed} (limits.{key})")
    }
}

/// Entries of one table; plugins have thousands at most.
pub(super) const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Bytes of one entry.
const TABLE_ELEMENT_BYTES: usize = 16;
/// The bytes at an instance's beginning of which only a sixteenth counts: they are a Rust plugin's
/// stack, of which most calls use a few pages, and data that all instances share.
const MOSTLY_UNTOUCHED_BYTES: usize = 2 * 1024 * 1024;
/// The part (one in so many) of these bytes that counts.
const TOUCHED_PART: usize = 16;

impl MemoryLimiter {
    pub(super) fn new(max_bytes: usize, instance_limit: Option<Arc<InstanceLimit>>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (used_bytes, charged_bytes, refused, began_bytes) = Default::default();
        Self { number, max_bytes, used_bytes, refused, instance_limit, charged_bytes, began_bytes }
    }

    /// The number of the instance.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Notes that the instance has been made.
    pub(super) fn begun(&mut self) {
        self.began_bytes = Some(self.used_bytes);
    }

    /// The memory that was refused last.
    pub(super) fn refused(&self) -> Option<TooMuch> {
        self.refused
    }

    /// Bytes of linear memory in use. They never get fewer.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes of linear memory that came after the instance was made, so by its calls.
    pub(super) fn grown_bytes(&self) -> usize {
        self.used_bytes.saturating_sub(self.began_bytes.unwrap_or_default())
    }

    /// Bytes that count among the memory of all instances.
    pub(super) fn charged_bytes(&self) -> usize {
        self.charged_bytes
    }

    /// Waits until the instance may have more bytes; false if it never may.
    async fn grow_memory(&mut self, bytes: usize) -> bool {
        let used = self.used_bytes.saturating_add(bytes);
        let allowed = self.max_bytes;
        if used > allowed {
            self.refused = Some(TooMuch { wanted: used, allowed, key: "max_memory_bytes" });
            return false;
        }
        let allowed = self.charge(bytes).await;
        if allowed {
            self.used_bytes = used;
        }
        allowed
    }

    /// Counts bytes among the memory of all instances; waits while there are too few, false if
    /// there never will be enough.
    async fn charge(&mut self, bytes: usize) -> bool {
        let Some(instance_limit) = &self.instance_limit else { return true };
        let untouched =
            if self.began_bytes.is_some() { 0 } else { bytes.min(MOSTLY_UNTOUCHED_BYTES) };
        let counted = bytes - untouched + untouched / TOUCHED_PART;
        let charged = self.charged_bytes.saturating_add(counted);
        if let Err(allowed) = instance_limit.memory.fits(charged) {
            let key = "max_total_memory_bytes";
            self.refused = Some(TooMuch { wanted: charged, allowed, key });
            return false;
        }
        if !instance_limit.memory.take(counted, charged) {
            let make_room = || instance_limit.end_idle();
            instance_limit.memory.wait(counted, charged, self.number, make_room).await;
        }
        self.charged_bytes = charged;
        true
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        if let Some(instance_limit) = &self.instance_limit {
            instance_limit.release_memory(self.charged_bytes);
        }
    }
}

type Growing<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

/// The signatures are as `async_trait` writes them, as wasmtime declares the trait with it.
impl ResourceLimiterAsync for MemoryLimiter {
    fn memory_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Growing<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { Ok(self.grow_memory(desired.saturating_sub(current)).await) })
    }

    fn table_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Growing<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
            Ok(desired <= MAX_TABLE_ELEMENTS && self.charge(bytes).await)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use millrace_telemetry::{Metrics, WasmMeters};

    #[tokio::test]
    async fn all_memories_count_together() {
        let mut limiter = MemoryLimiter::new(100, None);
        assert!(limiter.memory_growing(0, 60, None).await.unwrap());
        assert!(!limiter.memory_growing(0, 60, None).await.unwrap());
        let refused = limiter.refused().unwrap().to_string();
        let expected = "wanted 120 bytes of memory, allowed are 100 (limits.max_memory_bytes)";
        assert_eq!(refused, expected);
        assert!(limiter.memory_growing(60, 100, None).await.unwrap());
        assert_eq!(limiter.used_bytes(), 100);
    }

    fn instance_limit(max_total_memory_bytes: usize) -> Arc<InstanceLimit> {
        let limits = PluginLimits { max_total_memory_bytes, ..Default::default() };
        InstanceLimit::new(&limits, &WasmMeters::new(&Metrics::none(), "p", "v"))
    }

    #[tokio::test]
    async fn what_an_instance_begins_with_counts_in_part() {
        let instance_limit = instance_limit(1 << 30);
        let mut limiter = MemoryLimiter::new(1 << 30, Some(Arc::clone(&instance_limit)));
        assert!(limiter.memory_growing(0, 3 << 20, None).await.unwrap());
        assert_eq!(limiter.charged_bytes(), (1 << 20) + (2 << 20) / 16);
        limiter.begun();
        assert!(limiter.memory_growing(3 << 20, 4 << 20, None).await.unwrap());
        assert_eq!(limiter.charged_bytes(), (2 << 20) + (2 << 20) / 16);
        assert!(limiter.table_growing(0, 10, None).await.unwrap());
        assert_eq!(limiter.charged_bytes(), (2 << 20) + (2 << 20) / 16 + 160);
    }

    #[tokio::test]
    async fn what_an_instance_begins_with_is_no_growth() {
        let mut limiter = MemoryLimiter::new(100, None);
        assert!(limiter.memory_growing(0, 60, None).await.unwrap());
        limiter.begun();
        assert_eq!((limiter.used_bytes(), limiter.grown_bytes()), (60, 0));
        assert!(limiter.memory_growing(60, 100, None).await.unwrap());
        assert_eq!((limiter.used_bytes(), limiter.grown_bytes()), (100, 40));
    }

    #[tokio::test]
    async fn what_it_can_never_have_is_refused_and_not_waited_for() {
        let instance_limit = instance_limit(1 << 20);
        let mut limiter = MemoryLimiter::new(1 << 30, Some(Arc::clone(&instance_limit)));
        limiter.begun();
        assert!(!limiter.memory_growing(0, 2 << 20, None).await.unwrap());
        let refused = limiter.refused().unwrap().to_string();
        assert!(refused.contains("allowed are 1048576 (limits.max_total_memory"), "{refused}");
    }

    proptest! {
        /// Whatever grows and ends, also if it is given up while it waits, all of it is given back.
        #[test]
        fn all_is_given_back(steps in proptest::collection::vec((0..8_usize, 0..50_000_usize), 1..60)) {
            let instance_limit = instance_limit(100_000);
            let mut limiters: [Option<MemoryLimiter>; 8] = Default::default();
            for (at, bytes) in steps {
                if bytes % 5 == 0 {
                    limiters[at] = None;
                    continue;
                }
                let new = || MemoryLimiter::new(usize::MAX, Some(Arc::clone(&instance_limit)));
                let limiter = limiters[at].get_or_insert_with(new);
                limiter.begun();
                let growing = limiter.memory_growing(0, bytes, None);
                // At once, or not at all.
                let _ = growing.now_or_never();
                let charged: usize = limiters.iter().flatten().map(|l| l.charged_bytes()).sum();
                prop_assert_eq!(charged, instance_limit.memory.used());
                prop_assert!(charged <= 100_000);
            }
            drop(limiters);
            prop_assert_eq!(instance_limit.memory.used(), 0);
            prop_assert!(!instance_limit.memory.is_wanted());
        }
    }

    #[test]
    fn tasks_have_three_quarters_of_the_instances_and_at_least_one() {
        for (max_instances, max_task_instances, expected) in
            [(2048, None, 1536), (1, None, 1), (3, None, 2), (8, Some(2), 2), (8, Some(9), 8)]
        {
            let limits = PluginLimits { max_instances, max_task_instances, ..Default::default() };
            assert_eq!(limits.max_task_instances(), expected);
        }
    }

    #[test]
    fn fuel_grows_with_what_a_call_is_handed() {
        let limits = PluginLimits { fuel: 10, fuel_per_byte: 2, ..Default::default() };
        assert_eq!(limits.fuel_for(5), 20);
        assert_eq!(limits.fuel_for(usize::MAX), u64::MAX);
    }
}
