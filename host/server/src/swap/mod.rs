//! Exchanging versions of plugins while the server runs.
//!
//! ```text
//! admit ▶ trust ▶ compile ▶ warm ▶ self_test ▶ migrate ▶ keep ▶ swap ▶ watch
//! ```
//!
//! All steps but the last two are done beside the running version: if one fails, the running version
//! is not touched. The swap itself exchanges one pointer. If a watched version fails, it is rolled
//! back: the version before still has its instances.

mod exchange;
mod prepare;
mod watch;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_telemetry::TokenBucket;
use millrace_wasm::Component;
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use crate::config::{AppPlugin, SwapConfig};
use crate::loader::{Loader, PluginFile};
use crate::node::{Node, StartError};
use crate::plugin::{
    Exchange, Plugin, PluginVersion, RegistryError, Share, StoredVersion, VersionStore,
};

/// The state of exchanges: the plugins, and what new versions are loaded and stored with.
#[derive(Debug)]
pub(crate) struct Swaps {
    config: SwapConfig,
    loader: Loader,
    store: Arc<VersionStore>,
    plugins: HashMap<String, Slot>,
    uploads: Mutex<TokenBucket>,
}

/// One plugin, with what an exchange needs to know.
#[derive(Debug)]
struct Slot {
    plugin: AppPlugin,
    /// The SHA-256 of the configured file.
    configured: String,
    /// The lock that an exchange holds, so that there is one at a time.
    busy: Arc<tokio::sync::Mutex<()>>,
}

/// A new version that somebody uploads.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) wasm: Bytes,
    pub(crate) signature: Option<Vec<u8>>,
    /// The share of connections that a canary gets until it is promoted; without it, the version is
    /// for all.
    pub(crate) canary: Option<Share>,
    /// The time for which the version is watched; a canary is promoted after it.
    pub(crate) watch: Option<Duration>,
    /// The name of the person or program that uploads, as it says.
    pub(crate) by: String,
}

/// The steps of an exchange, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Checks of size, rate and other exchanges.
    Admit,
    /// The check of pins and signatures.
    Trust,
    /// The check against the interface, and compiling.
    Compile,
    /// The making of one instance.
    Warm,
    SelfTest,
    /// A trial migration of copies of channels' assigns.
    Migrate,
    /// Writing to disk.
    Keep,
    /// The version becomes live, or a canary.
    Swap,
    Watch,
}

/// A finished step.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FinishedStep {
    pub(crate) step: Step,
    pub(crate) took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// The reason why an exchange has failed. The version before is still live.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct SwapError {
    pub(crate) step: Step,
    pub(crate) problem: String,
    pub(crate) refusal: Refusal,
}

/// What the uploader has to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Upload another component.
    Component,
    /// Upload a smaller component.
    TooLarge,
    /// Try again after this time.
    TooMany(Duration),
    /// Try again after the current exchange.
    Busy,
    /// Do something else first, which the problem says.
    State,
    /// Try again when the server has started.
    Starting,
}

impl SwapError {
    /// An error of the component itself.
    fn at(step: Step, problem: impl Into<String>) -> Self {
        Self { step, problem: problem.into(), refusal: Refusal::Component }
    }

    /// An error that has nothing to do with the component.
    fn admit(refusal: Refusal, problem: impl Into<String>) -> Self {
        Self { step: Step::Admit, problem: problem.into(), refusal }
    }

    fn nothing_before() -> Self {
        Self::admit(Refusal::State, "there is no version before the live one")
    }
}

/// The result of an exchange.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Swapped {
    pub(crate) outcome: Outcome,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The new version is live.
    Live,
    /// The new version serves its share until it is promoted or rolled back.
    Canary,
    /// The new version was withdrawn.
    RolledBack,
    /// Another exchange has replaced the new version.
    Superseded,
}

impl Swaps {
    pub(crate) fn new(config: SwapConfig, loader: Loader, store: VersionStore) -> Self {
        let uploads = TokenBucket::per_minute(config.max_uploads_per_minute, Instant::now());
        let uploads = Mutex::new(uploads);
        Self { config, loader, store: Arc::new(store), plugins: HashMap::new(), uploads }
    }

    /// Loads the version of a plugin that is live at the start: the one that was live when the
    /// server stopped, or else the configured one.
    pub(crate) async fn load(&mut self, plugin: &AppPlugin) -> Result<Component, StartError> {
        let file = self.loader.file(plugin).await?;
        let configured = file.sha256.clone();
        let slot = Slot { configured, busy: Arc::default(), plugin: plugin.clone() };
        let stored = match self.config.is_forgotten {
            false => self.store.live(&plugin.name, &slot.configured),
            true => None,
        };
        self.plugins.insert(plugin.name.clone(), slot);
        if let Some(stored) = stored {
            let loaded = match stored_file(stored).await {
                Ok(file) => self.loader.component(plugin, file).await,
                Err(error) => Err(error),
            };
            match loaded {
                Ok(component) => {
                    let (name, version) = (&plugin.name, component.version());
                    info!(plugin = name, version, "the version that was made live is");
                    return Ok(component);
                }
                Err(error) => warn!("{error}; the configured version is live"),
            }
        }
        self.loader.component(plugin, file).await
    }

    /// Writes a component to disk, so that it can be live after a restart.
    async fn keep(
        &self,
        plugin: &str,
        sha256: &str,
        wasm: Bytes,
        signature: Option<Vec<u8>>,
    ) -> Result<(), SwapError> {
        let (store, plugin, sha256) =
            (Arc::clone(&self.store), plugin.to_owned(), sha256.to_owned());
        let put = move || store.put(&plugin, &sha256, &wasm, signature.as_deref());
        let put = tokio::task::spawn_blocking(put).await;
        let put = put.unwrap_or_else(|error| Err(io::Error::other(error)));
        let folder = self.store.folder().display().to_string();
        let refused = |error| {
            format!(
                "it cannot be kept in {folder}: {error}; make the folder, for the server's user to \
                 write to, or set swap.dir"
            )
        };
        put.map_err(|error| SwapError::at(Step::Keep, refused(error)))
    }

    /// The last exchanges of a plugin, at most `most`, newest first.
    pub(crate) async fn history(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        let (store, plugin) = (Arc::clone(&self.store), plugin.to_owned());
        let read = tokio::task::spawn_blocking(move || store.history(&plugin, most));
        // If the task has panicked, the log has the reason.
        read.await.unwrap_or_default()
    }

    fn slot(&self, plugin: &Plugin) -> Result<&Slot, SwapError> {
        let name = plugin.name();
        let unknown = || SwapError::admit(Refusal::State, format!("there is no plugin {name:?}"));
        self.plugins.get(name).ok_or_else(unknown)
    }

    fn begin(&self, slot: &Slot) -> Result<OwnedMutexGuard<()>, SwapError> {
        let busy = "another version of this plugin is being exchanged";
        let locked = Arc::clone(&slot.busy).try_lock_owned();
        locked.map_err(|_| SwapError::admit(Refusal::Busy, busy))
    }

    fn admit(&self, plugin: &Plugin, upload: &Upload) -> Result<(), SwapError> {
        let (found, allowed) = (upload.wasm.len(), self.config.max_upload_bytes);
        if found > allowed {
            let problem = format!(
                "the component has {found} bytes; {allowed} are allowed (swap.max_upload_bytes)"
            );
            return Err(SwapError::admit(Refusal::TooLarge, problem));
        }
        if let Some((canary, share)) = plugin.canary() {
            let version = canary.component().version();
            let problem = format!(
                "{version} is a canary for {share} of the connections; promote it or roll it back \
                 first"
            );
            return Err(SwapError::admit(Refusal::State, problem));
        }
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.take(Instant::now()).map_err(|after| {
            let (allowed, seconds) = (self.config.max_uploads_per_minute, after.as_secs() + 1);
            let problem = format!(
                "there were as many uploads as are allowed in a minute, {allowed} \
                 (swap.max_uploads_per_minute); try again in {seconds} s"
            );
            SwapError::admit(Refusal::TooMany(Duration::from_secs(seconds)), problem)
        })
    }
}

/// Reads the file of a stored version, and checks that it was not changed.
async fn stored_file(stored: StoredVersion) -> Result<PluginFile, StartError> {
    let StoredVersion { path, sha256, signature } = stored;
    let read = PluginFile::read(&path, signature).await;
    let checked = read.and_then(|file| match file.sha256 == sha256 {
        true => Ok(file),
        false => {
            let problem = format!("it was changed: its SHA-256 is {}", file.sha256);
            Err(io::Error::new(io::ErrorKind::InvalidData, problem))
        }
    });
    checked.map_err(|cause| StartError::Stored { path, cause })
}

impl Outcome {
    /// The outcome in one word, for metrics and the history.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Canary => "canary",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
        }
    }
}

/// Exchanges the versions of plugins.
#[derive(Clone, Debug)]
pub(crate) struct Swapper {
    node: Arc<Node>,
    /// The state of exchanges; unset until the plugins are loaded.
    swaps: Arc<OnceLock<Swaps>>,
}

impl Swapper {
    /// A swapper of a node whose plugins are not loaded yet.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, swaps: Arc::default() }
    }

    /// Allows exchanges, after the plugins are loaded.
    pub(crate) fn start(&self, swaps: Swaps) {
        // This is called once, so it cannot be set yet.
        let _ = self.swaps.set(swaps);
    }

    /// The node whose plugins are exchanged.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The state of exchanges.
    ///
    /// # Errors
    ///
    /// The plugins are not loaded yet.
    pub(crate) fn swaps(&self) -> Result<&Swaps, SwapError> {
        let starting = || SwapError::admit(Refusal::Starting, "the server is starting");
        self.swaps.get().ok_or_else(starting)
    }

    /// Loads the configured component of `plugin` again, and makes it the live version.
    ///
    /// # Errors
    ///
    /// The component cannot be loaded or does not fit. The live version stays.
    pub(crate) async fn swap(&self, plugin: &AppPlugin) -> Result<(), StartError> {
        let unknown = || RegistryError::Unknown(plugin.name.clone());
        let live = self.node.registry.plugin(&plugin.name).ok_or_else(unknown)?;
        let refused = |error: SwapError| StartError::Swap {
            name: plugin.name.clone(),
            problem: error.problem,
        };
        let component = self.swaps().map_err(refused)?.loader.load(plugin).await?;
        let version = Arc::new(PluginVersion::successor(component, &live.live()));
        self.node.registry.check(&live, &version)?;
        self.make_live(&live, &version).map_err(refused)?;
        Ok(())
    }
}
