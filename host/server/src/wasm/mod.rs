//! Plugins as sandboxed Wasm components: the only folder that names wasmtime.
//!
//! ```text
//! Engine ──load──▶ Component ──instantiate──▶ Instance ⇄ Pool
//! one a server     one a plugin version       one a running call
//! ```
//!
//! A [`Component`] is compiled, checked against the interface in `wit/` and
//! linked once. An [`Instance`] serves one call at a time, on a fiber, with its
//! own fuel; it holds nothing between two calls, so the [`Pool`] hands any
//! instance to any call. A trap ends its instance, never anything else.

mod batch;
mod bindings;
mod breaker;
mod budget;
mod cache;
mod call;
mod caught;
mod check;
mod component;
mod convert;
mod denied;
mod dispatch;
mod encoded;
mod engine;
mod fault;
mod fuel;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod host;
mod imports;
mod initial;
mod instance;
mod ledger;
mod limits;
mod line;
mod memory;
mod migrate;
mod output;
mod party;
mod pool;
mod precompile;
mod room;
mod shelf;
mod signature;
mod stake;
mod turns;
mod uptime;
mod withheld;
mod work;

pub(crate) use batch::{BatchMessage, Handled, Progressed, Waits};
use breaker::Breaker;
pub use cache::CacheConfig;
pub use call::Calling;
pub use check::{Inspection, inspect};
pub(crate) use component::sha256;
pub use component::{Component, LoadError, Loading};
pub use convert::{ConnectRequest, Connected, Refusal};
pub(crate) use dispatch::{GuestDispatcher, GuestStandby};
pub(crate) use engine::FULL_RESERVATION;
pub use engine::{Engine, EngineError, EngineLimits};
pub use fault::{Fault, FaultKind};
pub(crate) use instance::SLICE_FUEL;
pub(crate) use ledger::TURN_FUEL;
pub use limits::{OnFaults, OnMigrate, PluginLimits};
pub(crate) use pool::Health;
pub use pool::{Instances, Pool};
pub(crate) use precompile::{Precompiled, precompile};
use turns::Turns;
