//! Plugins as sandboxed Wasm components: the only crate that names wasmtime.
//!
//! ```text
//! Engine ──load──▶ Component ──instantiate──▶ Instance ⇄ Pool
//! one a server     one a plugin version       one a running call
//! ```
//!
//! A [`Component`] is compiled, checked against the interface in `wit/` and linked once. An
//! `Instance` serves one call at a time, on a fiber, with its own fuel. It holds nothing
//! between two calls, so the [`Pool`] gives any instance to any call.
//! A trap ends its instance, never anything else.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

pub mod egress;

mod batch;
mod batched;
mod bindings;
mod breaker;
mod budget;
mod cache;
mod call;
mod caught;
mod check;
mod claim;
mod component;
mod convert;
mod defaults;
mod denied;
mod dispatch;
mod effects;
mod encoded;
mod engine;
mod exports;
mod fair_queue;
mod fault;
mod fuel;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod grants;
mod host;
mod idle;
mod imports;
mod initial;
mod instance;
mod instance_limit;
mod interface;
mod ledger;
mod limits;
mod load_error;
mod memory;
mod migrate;
mod output;
mod owner;
mod pool;
mod precompile;
mod presence;
mod scheduler;
mod settings;
mod signature;
mod uptime;
mod withheld;
mod work;

pub use batch::{BatchMessage, BatchProgress, HandledMessage, PendingMessage};
use breaker::Breaker;
pub use cache::CacheConfig;
pub use call::CallContext;
pub use check::{Inspection, inspect};
pub use component::sha256;
pub use component::{Component, Loading};
pub use convert::{ConnectIdentity, ConnectRequest, Connected, Refusal};
pub use dispatch::{GuestDispatcher, GuestStandby};
pub use engine::FULL_RESERVATION;
pub use engine::{Engine, EngineError, EngineLimits};
pub use fault::{Fault, FaultKind};
pub use grants::{Denied, Grants, Need};
pub use instance::SLICE_FUEL;
pub use ledger::TURN_FUEL;
pub use limits::{OnFaults, OnMigrate, PluginLimits};
pub use load_error::LoadError;
pub use pool::Health;
pub use pool::{Instances, Pool};
pub use precompile::{Precompiled, precompile};
pub use presence::{PresenceReader, PresenceSource};
use scheduler::CpuScheduler;
pub use settings::{ConfigValue, Settings};
