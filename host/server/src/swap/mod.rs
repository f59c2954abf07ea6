//! Exchanging versions of plugins while the server runs.
//!
//! ```text
//! admit ▶ trust ▶ compile ▶ warm ▶ self_test ▶ migrate ▶ keep ▶ swap ▶ watch
//! ```
//!
//! All steps but the last two are done beside the running version; whatever fails
//! in them leaves it untouched. The swap itself exchanges one pointer. A version
//! that is watched and fails then is rolled back: the one before it still has
//! its instances.

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

/// What a server exchanges versions with.
#[derive(Debug)]
pub(crate) struct Swaps {
    config: SwapConfig,
    loader: Loader,
    store: Arc<VersionStore>,
    plugins: HashMap<String, Slot>,
    uploads: Mutex<TokenBucket>,
}

/// One plugin.
#[derive(Debug)]
struct Slot {
    plugin: AppPlugin,
    /// The SHA-256 of the configured file.
    configured: String,
    /// One exchange at a time.
    busy: Arc<tokio::sync::Mutex<()>>,
}

/// What somebody wants.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) wasm: Bytes,
    pub(crate) signature: Option<Vec<u8>>,
    /// Only this share of the connections, until it is promoted.
    pub(crate) canary: Option<Share>,
    /// How long it is watched; with a canary, it is promoted after that.
    pub(crate) watch: Option<Duration>,
    /// Who they are, as they say.
    pub(crate) by: String,
}

/// The steps of an exchange, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// One at a time, not too many, not too large.
    Admit,
    /// Pins and signatures.
    Trust,
    /// Checked against the interface, compiled, and asked what it serves.
    Compile,
    /// An instance is made.
    Warm,
    SelfTest,
    /// Tried on copies of what channels remember.
    Migrate,
    /// Written to disk.
    Keep,
    /// It is live, or a canary.
    Swap,
    Watch,
}

/// What has been done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) step: Step,
    pub(crate) took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// Why an exchange came to nothing. The version before is live.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct SwapError {
    pub(crate) step: Step,
    pub(crate) problem: String,
    pub(crate) refusal: Refusal,
}

/// What whoever asked has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another component is expected.
    Component,
    /// A smaller one is.
    TooLarge,
    /// It has to be asked for again, in so long.
    TooMany(Duration),
    /// The same, once what is done now is over.
    Busy,
    /// Something else has to be done first.
    State,
    /// The server has to have started.
    Starting,
}

impl SwapError {
    /// About the component.
    fn at(step: Step, problem: impl Into<String>) -> Self {
        Self { step, problem: problem.into(), refusal: Refusal::Component }
    }

    /// Before anything of the component is looked at.
    fn admit(refusal: Refusal, problem: impl Into<String>) -> Self {
        Self { step: Step::Admit, problem: problem.into(), refusal }
    }

    fn nothing_before() -> Self {
        Self::admit(Refusal::State, "there is no version before the live one")
    }
}

/// What became of an exchange.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Swapped {
    pub(crate) outcome: Outcome,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is live.
    Live,
    /// It serves its share until it is promoted or rolled back.
    Canary,
    /// It was withdrawn.
    RolledBack,
    /// Another exchange came between.
    Superseded,
}

impl Swaps {
    pub(crate) fn new(config: SwapConfig, loader: Loader, store: VersionStore) -> Self {
        let uploads = TokenBucket::per_minute(config.max_uploads_per_minute, Instant::now());
        let uploads = Mutex::new(uploads);
        Self { config, loader, store: Arc::new(store), plugins: HashMap::new(), uploads }
    }

    /// The version of a plugin that is live at the start: that which was when the
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

    /// Has a component on disk, to be live perhaps.
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

    /// The last exchanges of a plugin, the newest first.
    pub(crate) async fn history(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        let (store, plugin) = (Arc::clone(&self.store), plugin.to_owned());
        let read = tokio::task::spawn_blocking(move || store.history(&plugin, most));
        // An error when it panicked, of which the log has told.
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

/// The file of a version that was kept, if it is what it was then.
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
    /// One word for metrics and the history.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Canary => "canary",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
        }
    }
}

/// Exchanges versions of plugins for their files.
#[derive(Clone, Debug)]
pub struct Swapper {
    node: Arc<Node>,
    /// None until the plugins are loaded.
    swaps: Arc<OnceLock<Swaps>>,
}

impl Swapper {
    /// A swapper of a node whose plugins are not loaded yet.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, swaps: Arc::default() }
    }

    /// The plugins are loaded.
    pub(crate) fn start(&self, swaps: Swaps) {
        // Filled once.
        let _ = self.swaps.set(swaps);
    }

    /// The node whose plugins are exchanged.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What versions are exchanged with; an error before the plugins are loaded.
    pub(crate) fn swaps(&self) -> Result<&Swaps, SwapError> {
        let starting = || SwapError::admit(Refusal::Starting, "the server is starting");
        self.swaps.get().ok_or_else(starting)
    }

    /// Loads the component of `plugin` anew and makes it the live version. On
    /// an error the live version stays.
    pub async fn swap(&self, plugin: &AppPlugin) -> Result<(), StartError> {
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
