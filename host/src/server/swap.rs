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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tracing::{info, warn};

use super::loader::{Haste, Loader, PluginFile};
use super::{Shared, StartError};
use crate::bucket::Bucket;
use crate::channel::{Assigns, Late};
use crate::config::{AppPlugin, SwapConfig};
use crate::plugin::{Exchange, Kept, KeptVersion, Plugin, RegistryError, Share};
use crate::telemetry::{Metric, wall_ms};
use crate::wasm::{Component, Health, OnMigrate, Pool, sha256};

/// What a server exchanges versions with.
#[derive(Debug)]
pub(crate) struct Swaps {
    config: SwapConfig,
    loader: Loader,
    kept: Kept,
    plugins: HashMap<String, Slot>,
    uploads: Mutex<Bucket>,
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
    /// Worth another try, unchanged.
    pub(crate) is_passing: bool,
}

impl SwapError {
    fn at(step: Step, problem: impl Into<String>) -> Self {
        Self { step, problem: problem.into(), is_passing: false }
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

/// How often a watched version is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long channels have to answer with what they remember.
const SAMPLING: Duration = Duration::from_millis(500);

impl Swaps {
    pub(super) fn new(config: SwapConfig, loader: Loader, kept: Kept) -> Self {
        let uploads = Bucket::per_minute(config.max_uploads_per_minute, Instant::now());
        let uploads = Mutex::new(uploads);
        Self { config, loader, kept, plugins: HashMap::new(), uploads }
    }

    /// The version of a plugin that is live at the start: that which was when the
    /// server stopped, or else the configured one.
    pub(super) async fn load(&mut self, plugin: &AppPlugin) -> Result<Component, StartError> {
        let file = self.loader.file(plugin).await?;
        let configured = file.sha256.clone();
        let slot = Slot { configured, busy: Arc::default(), plugin: plugin.clone() };
        let kept = match self.config.is_forgotten {
            false => self.kept.live(&plugin.name, &slot.configured),
            true => None,
        };
        self.plugins.insert(plugin.name.clone(), slot);
        if let Some(KeptVersion { path, signature }) = kept {
            let loaded = match PluginFile::read(&path, signature).await {
                Ok(file) => self.loader.component(plugin, file).await,
                Err(cause) => Err(StartError::Kept { path, cause }),
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

    /// The last exchanges of a plugin, the newest first.
    pub(crate) fn history(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        self.kept.history(plugin, most)
    }

    fn slot(&self, plugin: &Plugin) -> Result<&Slot, SwapError> {
        let name = plugin.name();
        let unknown = || SwapError::at(Step::Admit, format!("there is no plugin {name:?}"));
        self.plugins.get(name).ok_or_else(unknown)
    }

    fn begin(&self, slot: &Slot) -> Result<OwnedMutexGuard<()>, SwapError> {
        Arc::clone(&slot.busy).try_lock_owned().map_err(|_| SwapError {
            is_passing: true,
            ..SwapError::at(Step::Admit, "another version of this plugin is being exchanged")
        })
    }

    fn admit(&self, plugin: &Plugin, upload: &Upload) -> Result<(), SwapError> {
        let refused = |problem: String| SwapError::at(Step::Admit, problem);
        let (found, allowed) = (upload.wasm.len(), self.config.max_upload_bytes);
        if found > allowed {
            let key = "swap.max_upload_bytes";
            return Err(refused(format!("has {found} bytes; {allowed} are allowed ({key})")));
        }
        if let Some((canary, share)) = plugin.canary() {
            let version = canary.component().version();
            return Err(refused(format!(
                "{version} is a canary for {share} of the connections; promote it or roll it back \
                 first"
            )));
        }
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.take(Instant::now()).map_err(|after| SwapError {
            is_passing: true,
            ..refused(format!(
                "too many uploads (swap.max_uploads_per_minute); try again in {} s",
                after.as_secs() + 1
            ))
        })
    }
}

/// No call goes to a canary any more.
fn withdraw(canary: Arc<Pool>) {
    canary.supersede();
    tokio::task::spawn_blocking(move || canary.retire());
}

impl Shared {
    /// Makes an upload the live version of a plugin, or a canary. What is done is
    /// told as it goes. Not to be dropped half way: run it in a task of its own.
    pub(crate) async fn swap(
        &self,
        plugin: &Arc<Plugin>,
        upload: Upload,
        told: mpsc::Sender<Done>,
    ) -> Result<Swapped, SwapError> {
        let (name, to) = (plugin.name(), sha256(&upload.wasm).to_string());
        let from = plugin.live().component().sha256().to_owned();
        let (by, share) = (upload.by.clone(), upload.canary);
        let result = self.swap_to(plugin, upload, &to, &mut Teller::new(told)).await;
        let (outcome, why) = match &result {
            Ok((outcome, why)) => (outcome.as_str(), why.clone()),
            Err(error) => ("refused", Some(error.problem.clone())),
        };
        match &why {
            None => info!(plugin = name, to, by, outcome, "exchanged"),
            Some(why) => warn!(plugin = name, to, by, outcome, "not exchanged: {why}"),
        }
        self.note(plugin, &from, &to, by, outcome, share, why);
        let (outcome, _) = result?;
        Ok(Swapped { outcome, from, to })
    }

    async fn swap_to(
        &self,
        plugin: &Arc<Plugin>,
        upload: Upload,
        hash: &str,
        teller: &mut Teller,
    ) -> Result<(Outcome, Option<String>), SwapError> {
        let swaps = self.swaps()?;
        let slot = swaps.slot(plugin)?;
        let busy = swaps.begin(slot)?;
        swaps.admit(plugin, &upload)?;
        teller.done(Step::Admit, None).await;
        let Upload { wasm, signature, canary, watch, .. } = upload;
        let trusted = slot.plugin.trust.check(&wasm, hash, signature.as_deref());
        trusted.map_err(|error| SwapError::at(Step::Trust, format!("the component {error}")))?;
        teller.done(Step::Trust, None).await;
        let pool = self.prepared(plugin, slot, wasm.to_vec(), teller).await?;
        let keep = |error| SwapError::at(Step::Keep, format!("it cannot be kept on disk: {error}"));
        if !swaps.config.is_forgotten {
            swaps.kept.put(plugin.name(), hash, &wasm, signature.as_deref()).map_err(keep)?;
            teller.done(Step::Keep, None).await;
        }
        let before = plugin.live().component().sha256().to_owned();
        match canary {
            Some(share) => {
                if pool.component().topics() != plugin.live().component().topics() {
                    let problem = "it serves other topics than the live version: a canary cannot";
                    return Err(SwapError::at(Step::Swap, problem));
                }
                plugin.try_out(Arc::clone(&pool), share);
                teller.done(Step::Swap, Some(format!("a canary for {share}"))).await;
            }
            None => {
                let took = self.make_live(plugin, &pool)?;
                let detail = format!("live, after a pause of {} µs", took.as_micros());
                teller.done(Step::Swap, Some(detail)).await;
            }
        }
        let Some(watch) = watch else {
            if canary.is_some() {
                return Ok((Outcome::Canary, None));
            }
            self.point(plugin, hash);
            return Ok((Outcome::Live, None));
        };
        // Others may roll it back meanwhile, or exchange it.
        drop(busy);
        let watched = watched(plugin, &pool, watch, &swaps.config).await;
        let _busy = slot.busy.lock().await;
        if !is_serving(plugin, &pool) {
            return Ok((Outcome::Superseded, Some("it was exchanged or withdrawn".to_owned())));
        }
        match watched {
            Ok(detail) => {
                if plugin.end_trial().is_some() {
                    self.make_live(plugin, &pool)?;
                }
                self.point(plugin, hash);
                teller.done(Step::Watch, Some(detail)).await;
                Ok((Outcome::Live, None))
            }
            Err(why) => {
                match plugin.end_trial() {
                    Some(canary) => withdraw(canary),
                    None => {
                        self.back(plugin)?;
                    }
                }
                debug_assert!(canary.is_some() || plugin.live().component().sha256() == before);
                teller.done(Step::Watch, Some(why.clone())).await;
                Ok((Outcome::RolledBack, Some(why)))
            }
        }
    }

    /// A version that could be live.
    async fn prepared(
        &self,
        plugin: &Arc<Plugin>,
        slot: &Slot,
        wasm: Vec<u8>,
        teller: &mut Teller,
    ) -> Result<Arc<Pool>, SwapError> {
        let compiled = self.swaps()?.loader.compile(wasm, &slot.plugin, Haste::Beside).await;
        let component = compiled
            .map_err(|error| SwapError::at(Step::Compile, format!("the component {error}")))?;
        let pool = Arc::new(Pool::successor(component, &plugin.live()));
        self.registry
            .check(plugin, &pool)
            .map_err(|error| SwapError::at(Step::Compile, error.to_string()))?;
        self.check_stages(plugin, pool.component())
            .map_err(|problem| SwapError::at(Step::Compile, problem))?;
        teller.done(Step::Compile, None).await;
        let failed = |step| move |fault: crate::wasm::Fault| SwapError::at(step, fault.to_string());
        pool.warm().await.map_err(failed(Step::Warm))?;
        teller.done(Step::Warm, None).await;
        pool.self_test().await.map_err(failed(Step::SelfTest))?;
        teller.done(Step::SelfTest, None).await;
        let detail = self.try_migration(plugin, &pool).await?;
        teller.done(Step::Migrate, Some(detail)).await;
        Ok(pool)
    }

    /// Tries a version on copies of what some channels remember.
    async fn try_migration(&self, plugin: &Plugin, pool: &Pool) -> Result<String, SwapError> {
        let samples = self.samples(plugin).await?;
        let (mut failures, count) = (Vec::new(), samples.len());
        for (topic, assigns) in samples {
            if let Err(fault) = pool.try_migration(&topic, &assigns).await {
                failures.push(format!("{topic}: {}", fault.message));
            }
        }
        let Some(first) = failures.first() else { return Ok(format!("{count} channels tried")) };
        let failed = format!("{} of {count} channels tried failed; {first}", failures.len());
        match pool.component().limits().on_migrate {
            OnMigrate::Reject => Err(SwapError::at(Step::Migrate, failed)),
            OnMigrate::Rejoin | OnMigrate::KeepOld => Ok(failed),
        }
    }

    /// What some of a plugin's channels remember.
    async fn samples(&self, plugin: &Plugin) -> Result<Vec<(Arc<str>, Assigns)>, SwapError> {
        let most = self.swaps()?.config.samples;
        let topics = plugin.live().component().topics().to_vec();
        if topics.is_empty() || most == 0 {
            return Ok(Vec::new());
        }
        let (sender, mut receiver) = mpsc::channel(most);
        for outbox in self.connections.some_idle(most) {
            // One that is closing has nothing to say.
            let _ = outbox.late(Late::Sample { topics: topics.clone(), to: sender.clone() });
        }
        drop(sender);
        let (mut samples, until) = (Vec::new(), tokio::time::Instant::now() + SAMPLING);
        while let Ok(Some(sample)) = tokio::time::timeout_at(until, receiver.recv()).await {
            samples.push(sample);
        }
        Ok(samples)
    }

    /// Makes a version the live one, in channels and in pipelines; how long that
    /// took.
    fn make_live(&self, plugin: &Arc<Plugin>, pool: &Arc<Pool>) -> Result<Duration, SwapError> {
        let before = plugin.live().component().clone();
        let after = pool.component().clone();
        let began = Instant::now();
        if let Err(error) = self.swap_dispatchers(plugin.name(), &before, &after) {
            // Those that were exchanged already: the version before has started once.
            let _ = self.swap_dispatchers(plugin.name(), &after, &before);
            return Err(SwapError::at(Step::Swap, error.to_string()));
        }
        let replaced = self.registry.replace(plugin, pool);
        let took = began.elapsed();
        tokio::task::spawn_blocking(move || replaced.unload());
        self.metrics.time_of(Metric::WasmSwap, &[plugin.name()], took);
        Ok(took)
    }

    /// Makes the version before the live one again.
    fn back(&self, plugin: &Arc<Plugin>) -> Result<(), SwapError> {
        let previous = plugin.previous().clone();
        let none = || SwapError::at(Step::Admit, "there is no version before the live one");
        let previous = previous.ok_or_else(none)?;
        self.make_live(plugin, &previous).map(|_| ())
    }

    /// Withdraws the canary, or makes the version before the live one again.
    pub(crate) fn roll_back(&self, plugin: &Arc<Plugin>, by: String) -> Result<Swapped, SwapError> {
        let swaps = self.swaps()?;
        let _busy = swaps.begin(swaps.slot(plugin)?)?;
        let from = match plugin.end_trial() {
            Some(canary) => {
                let hash = canary.component().sha256().to_owned();
                withdraw(canary);
                hash
            }
            None => {
                let from = plugin.live().component().sha256().to_owned();
                self.back(plugin)?;
                from
            }
        };
        let to = plugin.live().component().sha256().to_owned();
        self.point(plugin, &to);
        info!(plugin = plugin.name(), from, to, by, "rolled back");
        self.note(plugin, &from, &to, by, Outcome::RolledBack.as_str(), None, None);
        Ok(Swapped { outcome: Outcome::RolledBack, from, to })
    }

    /// Makes the canary the live version.
    pub(crate) fn promote(&self, plugin: &Arc<Plugin>, by: String) -> Result<Swapped, SwapError> {
        let swaps = self.swaps()?;
        let _busy = swaps.begin(swaps.slot(plugin)?)?;
        let none = || SwapError::at(Step::Admit, "there is no canary to promote");
        let canary = plugin.end_trial().ok_or_else(none)?;
        let from = plugin.live().component().sha256().to_owned();
        let to = canary.component().sha256().to_owned();
        self.make_live(plugin, &canary)?;
        self.point(plugin, &to);
        self.note(plugin, &from, &to, by, Outcome::Live.as_str(), None, None);
        Ok(Swapped { outcome: Outcome::Live, from, to })
    }

    /// Has a version live after a restart too.
    fn point(&self, plugin: &Plugin, hash: &str) {
        let Ok(swaps) = self.swaps() else { return };
        let Ok(slot) = swaps.slot(plugin) else { return };
        if swaps.config.is_forgotten {
            return;
        }
        if let Err(error) = swaps.kept.point(plugin.name(), hash, &slot.configured) {
            warn!(plugin = plugin.name(), "it is live only until the server stops: {error}");
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of the history")]
    fn note(
        &self,
        plugin: &Plugin,
        from: &str,
        to: &str,
        by: String,
        outcome: &str,
        canary: Option<Share>,
        why: Option<String>,
    ) {
        let name = plugin.name();
        self.metrics.count_of(Metric::PluginExchanged, &[name, outcome], 1);
        let Ok(swaps) = self.swaps() else { return };
        let exchange = Exchange {
            at_ms: wall_ms(),
            plugin: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            by,
            outcome: outcome.to_owned(),
            canary: canary.map(|share| share.to_string()),
            why,
        };
        if let Err(error) = swaps.kept.note(&exchange) {
            warn!(plugin = name, "the history of exchanges cannot be written: {error}");
        }
    }

    /// None before the plugins are loaded.
    pub(crate) fn swaps(&self) -> Result<&Swaps, SwapError> {
        let starting = || SwapError::at(Step::Admit, "the server is starting");
        self.swaps.get().ok_or_else(starting)
    }

    /// Whether pipelines still have the workers and dispatchers they name.
    fn check_stages(&self, plugin: &Plugin, component: &Component) -> Result<(), String> {
        let live = plugin.live();
        let lacks = |had: bool, has: bool| had && !has;
        let (before, name) = (live.component(), plugin.name());
        for (interface, had, has) in [
            ("worker", before.has_worker(), component.has_worker()),
            ("dispatcher", before.has_dispatcher(), component.has_dispatcher()),
        ] {
            if lacks(had, has) && self.pipelines.all().any(|pipeline| pipeline.uses(name)) {
                return Err(format!("it does not export `{interface}`, which a pipeline needs"));
            }
        }
        Ok(())
    }
}

fn is_serving(plugin: &Plugin, pool: &Arc<Pool>) -> bool {
    match plugin.canary() {
        Some((canary, _)) => Arc::ptr_eq(&canary, pool),
        None => Arc::ptr_eq(&plugin.live(), pool),
    }
}

/// Watches how the calls of a version go; an error when too many come to nothing.
async fn watched(
    plugin: &Plugin,
    pool: &Arc<Pool>,
    watch: Duration,
    config: &SwapConfig,
) -> Result<String, String> {
    let (began, before) = (Instant::now(), pool.health());
    while began.elapsed() < watch && is_serving(plugin, pool) {
        tokio::time::sleep(LOOK.min(watch)).await;
        judged(before, pool.health(), config, config.min_calls)?;
    }
    judged(before, pool.health(), config, 1)
}

fn judged(before: Health, now: Health, config: &SwapConfig, least: u64) -> Result<String, String> {
    let faults = now.faults - before.faults;
    let calls = now.succeeded - before.succeeded + faults;
    #[expect(clippy::cast_precision_loss, reason = "counts need no 53 bits")]
    let rate = faults as f64 / calls.max(1) as f64;
    let told = format!("{faults} of {calls} calls failed");
    if calls < least || rate <= config.max_fault_rate {
        return Ok(told);
    }
    Err(format!("{told}; {} % are allowed (swap.max_fault_rate)", config.max_fault_rate * 100.0))
}

/// Tells who waits for it.
struct Teller {
    to: mpsc::Sender<Done>,
    since: Instant,
}

impl Teller {
    fn new(to: mpsc::Sender<Done>) -> Self {
        Self { to, since: Instant::now() }
    }

    async fn done(&mut self, step: Step, detail: Option<String>) {
        let took_ms = self.since.elapsed().as_secs_f64() * 1000.0;
        // Nobody may be listening any more.
        let _ = self.to.send(Done { step, took_ms, detail }).await;
        self.since = Instant::now();
    }
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
pub struct Swapper(pub(super) Arc<Shared>);

impl Swapper {
    /// Loads the component of `plugin` anew and makes it the live version. On
    /// an error the live version stays.
    pub async fn swap(&self, plugin: &AppPlugin) -> Result<(), StartError> {
        let shared = &self.0;
        let unknown = || RegistryError::Unknown(plugin.name.clone());
        let live = shared.registry.plugin(&plugin.name).ok_or_else(unknown)?;
        let refused = |error: SwapError| StartError::Swap {
            name: plugin.name.clone(),
            problem: error.problem,
        };
        let component = shared.swaps().map_err(refused)?.loader.load(plugin).await?;
        let pool = Arc::new(Pool::successor(component, &live.live()));
        shared.registry.check(&live, &pool)?;
        shared.make_live(&live, &pool).map_err(refused)?;
        Ok(())
    }
}
