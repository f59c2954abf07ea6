//! The one wasmtime engine of a server, and the reason of each of its settings.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::cache::{Cache, CacheConfig};
use super::host::{self, State};
use super::limits::MAX_TABLE_ELEMENTS;
use super::{CpuScheduler, PluginLimits};

/// Compiles and links components. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) linker: Arc<Linker<State>>,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) scheduler: Arc<CpuScheduler>,
}

/// The engine cannot be set up: this machine cannot run Wasm as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the Wasm engine: {0:#}")]
pub struct EngineError(wasmtime::Error);

/// The limits of a server's engine, which are the same for all its plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// The number of live instances of all plugins together.
    pub max_instances: u32,
    /// Bytes of linear memory of one instance.
    pub max_memory_bytes: usize,
    /// Bytes of stack of one call, as far as the plugin itself uses it.
    pub max_stack_bytes: usize,
}

/// Bytes of a call's stack for the host's own frames (imports), besides the plugin's.
const HOST_STACK_BYTES: usize = 64 * 1024;
/// Core instances of one component: a Rust plugin has 3 or 4, a Python one some 20. They take no
/// memory before they are made.
const CORE_INSTANCES_PER_INSTANCE: u32 = 32;
/// Tables of one component; plugins of any toolchain have 2 or 3.
const TABLES_PER_INSTANCE: u32 = 4;
/// The least number of core instances, tables and memories, however few instances there may be: one
/// component may have more of them than most have.
const MIN_PARTS: u32 = 64;
/// The largest number of tables, and of memories, of one core module; most have one.
const PARTS_PER_MODULE: u32 = 16;

impl Engine {
    /// An engine for plugins within these limits. With `cache`, compiled code is kept on disk for
    /// the next start.
    ///
    /// # Errors
    ///
    /// Wasmtime does not run on this machine with these settings. If there is only too little
    /// address space for the pool of instances, the engine works without one.
    pub fn new(limits: EngineLimits, cache: Option<&CacheConfig>) -> Result<Self, EngineError> {
        let EngineLimits { max_instances, max_memory_bytes, max_stack_bytes } = limits;
        warn_of_few_maps(max_instances);
        let mut pooled = config(max_stack_bytes);
        let pooling = pooling(max_instances, max_memory_bytes);
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        pooled.memory_reservation(reservation(max_instances, max_memory_bytes));
        // Pooling reserves address space for every slot, which a container with
        // a small limit refuses; then each instance maps its own.
        let wasmtime = match wasmtime::Engine::new(&pooled) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(%error, "no address space for the instance pool; instances will \
                    start more slowly");
                wasmtime::Engine::new(&config(max_stack_bytes)).map_err(EngineError)?
            }
        };
        let mut linker = Linker::new(&wasmtime);
        host::add_to_linker(&mut linker).map_err(EngineError)?;
        let cache =
            cache.and_then(|cache| Cache::open(cache, fingerprint(&wasmtime))).map(Arc::new);
        let scheduler = Arc::new(CpuScheduler::new());
        start_epochs(&wasmtime, &scheduler).map_err(EngineError)?;
        Ok(Self { wasmtime, linker: Arc::new(linker), cache, scheduler })
    }

    /// Bytes of address space that are reserved for each memory; compiled code relies on it.
    pub fn reservation(&self) -> u64 {
        self.wasmtime.get_memory_reservation()
    }
}

/// An engine that only compiles: its code fits an engine with this `reservation` in bytes, and it
/// reserves none itself.
pub(super) fn compiling_engine(reservation: u64) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(PluginLimits::default().max_stack_bytes);
    config.memory_reservation(reservation);
    wasmtime::Engine::new(&config)
}

/// The length of an epoch, which is about the longest that a call computes before it lets others
/// run. Fuel makes it do so two hundred times as often; epochs are for what takes time and no fuel,
/// as filling memory does.
pub(super) const EPOCH: Duration = Duration::from_millis(10);

/// Starts the thread that counts epochs for as long as there is the engine.
fn start_epochs(engine: &wasmtime::Engine, scheduler: &Arc<CpuScheduler>) -> wasmtime::Result<()> {
    let (engine, scheduler) = (engine.weak(), Arc::downgrade(scheduler));
    let run = move || {
        while let (Some(engine), Some(scheduler)) = (engine.upgrade(), scheduler.upgrade()) {
            engine.increment_epoch();
            scheduler.begin_tick();
            drop((engine, scheduler));
            std::thread::sleep(EPOCH);
        }
    };
    std::thread::Builder::new().name("epochs".to_owned()).spawn(run)?;
    Ok(())
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// The settings that both kinds of engine have.
fn config(max_stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // Calls are plain component calls on a fiber; the machinery for
        // concurrent ones more than doubles the cost of each.
        .concurrency_support(false)
        .async_stack_size(max_stack_bytes + HOST_STACK_BYTES)
        .max_wasm_stack(max_stack_bytes)
        // Functions by name in a trap's backtrace; lines need debug
        // information that plugins do not carry.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // What no plugin uses is off, so that it cannot be attacked.
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    config
}

/// Bytes of address space for all memories of the pool. A process has 128 TiB; the rest is for
/// other uses.
const POOL_ADDRESS_BYTES: u64 = 64 << 40;
/// The bytes to reserve for each memory so that compiled code needs no bounds checks.
pub const FULL_RESERVATION: u64 = 4 << 30;
/// A component of a Rust plugin has one memory; others may have two.
const MEMORIES_PER_INSTANCE: u32 = 2;

/// The number of memories in the pool.
fn memories(max_instances: u32) -> u32 {
    max_instances.saturating_mul(MEMORIES_PER_INSTANCE).max(MIN_PARTS)
}

/// Bytes of address space for one memory, so that all of them fit into [`POOL_ADDRESS_BYTES`].
fn reservation(max_instances: u32, max_memory_bytes: usize) -> u64 {
    let share = POOL_ADDRESS_BYTES / u64::from(memories(max_instances));
    if share >= FULL_RESERVATION { FULL_RESERVATION } else { max_memory_bytes as u64 }
}

/// The settings of the pool, which reserves address space for all instances at the start.
fn pooling(max_instances: u32, max_memory_bytes: usize) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    let parts = |each: u32| max_instances.saturating_mul(each).max(MIN_PARTS);
    pooling
        .total_component_instances(max_instances)
        .total_core_instances(parts(CORE_INSTANCES_PER_INSTANCE))
        .total_tables(parts(TABLES_PER_INSTANCE))
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_tables_per_module(PARTS_PER_MODULE)
        .total_memories(memories(max_instances))
        .max_memories_per_module(PARTS_PER_MODULE)
        .total_stacks(max_instances)
        .max_memory_size(max_memory_bytes)
        // Of a Rust plugin's memory the first megabyte is its stack, and the first of
        // that its far end, which no call touches: to keep it is to clear pages that
        // nobody had, 512 KiB for each slot that was ever used.
        .linear_memory_keep_resident(0)
        .table_keep_resident(16 * 1024)
        // Memory that was given back is free for others at once.
        .decommit_batch_size(1);
    pooling
}

/// Memory maps of one live instance: its stack, the guard page of that, and its memory in four
/// parts.
const MAPS_PER_INSTANCE: u64 = 6;

/// Warns if the instances may need more memory maps than Linux allows a process, which is 65,530
/// unless configured otherwise.
fn warn_of_few_maps(max_instances: u32) {
    let path = "/proc/sys/vm/max_map_count";
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let Ok(allowed) = text.trim().parse::<u64>() else { return };
    let needed = u64::from(max_instances) * MAPS_PER_INSTANCE;
    if needed > allowed {
        tracing::warn!(
            "{max_instances} instances (limits.max_instances of all plugins) take {needed} memory \
             maps, and this machine allows {allowed} (vm.max_map_count): calls beyond that are \
             answered with `unavailable`; raise one or lower the other"
        );
    }
}

/// A number that is different for engines that cannot load each other's compiled code.
pub(super) fn fingerprint(engine: &wasmtime::Engine) -> u64 {
    // A fixed hasher: the same engine gives the same number in every process.
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
