//! Plugins by name: their sources, their versions, and the topics they serve.
//!
//! ```text
//! sources ──build──▶ .wasm ──load──▶ PluginVersion ──swap──▶ Plugin (live)
//! ```

mod build;
mod faults;
mod handler;
mod history;
mod inputs;
mod profile;
mod registry;
mod roles;
mod share;
mod source;
mod store;
mod trust;
mod versions;
mod watch;

pub(crate) use build::{BuildError, build};
pub(crate) use faults::{RecentFault, RecentFaults};
pub(crate) use handler::Handler;
pub(crate) use handler::{HandlerKind, NativeChannel};
pub(crate) use history::Exchange;
pub(crate) use inputs::inputs;
pub(crate) use profile::BuildFor;
pub(crate) use registry::{Registry, RegistryError};
pub(crate) use roles::FaultSink;
pub(crate) use share::Share;
pub(crate) use source::BUILT_FOLDER;
pub(crate) use source::Source;
pub(crate) use store::{StoredVersion, VersionStore};
pub(crate) use trust::{PublicKey, Trust, TrustError};
pub(crate) use versions::CallOutcome;
pub use versions::Plugin;
pub(crate) use versions::PluginVersion;
pub(crate) use watch::Watch;
