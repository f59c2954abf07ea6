//! Plugins by name: where they come from, which version is live, which topics
//! they serve.
//!
//! ```text
//! sources ──build──▶ .wasm ──load──▶ Pool (one version) ──swap──▶ Plugin (live)
//! ```

mod build;
mod faults;
mod handler;
mod history;
mod inputs;
mod kept;
mod profile;
mod registry;
mod roles;
mod share;
mod source;
mod trust;
mod versions;
mod watch;

pub use build::{BuildError, build};
pub(crate) use faults::{RecentFault, RecentFaults};
pub use handler::Handler;
pub(crate) use handler::{NativeChannel, Serves};
pub(crate) use history::Exchange;
pub(crate) use inputs::inputs;
pub(crate) use kept::{Kept, KeptVersion};
pub use profile::BuildFor;
pub use registry::{Registry, RegistryError};
pub(crate) use roles::FaultSink;
pub use share::{Share, ShareError};
pub(crate) use source::BUILT_FOLDER;
pub use source::Source;
pub use trust::{PublicKey, Trust, TrustError};
pub(crate) use versions::Answered;
pub use versions::Plugin;
pub(crate) use watch::Watch;
