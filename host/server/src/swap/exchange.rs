//! Exchanges of versions: the upload of a new one, rollback and promotion.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_telemetry::{Metric, unix_ms};
use millrace_wasm::sha256;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::watch::{is_serving, watched};
use super::{FinishedStep, Outcome, Refusal, Step, SwapError, Swapped, Swapper, Upload};
use crate::plugin::{Exchange, Plugin, PluginVersion, Share};

impl Swapper {
    /// Makes an upload the live version of a plugin, or a canary. Each finished step is sent to
    /// `progress`. The future must not be dropped half way: run it in a task of its own.
    ///
    /// # Errors
    ///
    /// The step that failed, and why. The live version has stayed as it was.
    pub(crate) async fn swap_upload(
        &self,
        plugin: &Arc<Plugin>,
        upload: Upload,
        progress: mpsc::Sender<FinishedStep>,
    ) -> Result<Swapped, SwapError> {
        let (name, to) = (plugin.name(), sha256(&upload.wasm).to_string());
        let from = plugin.live().component().sha256().to_owned();
        let (by, share) = (upload.by.clone(), upload.canary);
        let result = self.swap_to(plugin, upload, &to, &mut StepReporter::new(progress)).await;
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
        reporter: &mut StepReporter,
    ) -> Result<(Outcome, Option<String>), SwapError> {
        let swaps = self.swaps()?;
        let slot = swaps.slot(plugin)?;
        let busy = swaps.begin(slot)?;
        swaps.admit(plugin, &upload)?;
        let before = plugin.live().component().sha256().to_owned();
        reporter.report(Step::Admit, None).await;
        let Upload { wasm, signature, canary, watch, .. } = upload;
        let trusted = slot.plugin.trust.check(&slot.plugin.name, &wasm, hash, signature.as_deref());
        trusted.map_err(|error| SwapError::at(Step::Trust, format!("the component {error}")))?;
        reporter.report(Step::Trust, None).await;
        let version = self.prepare(plugin, slot, wasm.to_vec(), reporter).await?;
        if !swaps.config.is_forgotten {
            swaps.keep(plugin.name(), hash, wasm, signature).await?;
            reporter.report(Step::Keep, None).await;
        }
        match canary {
            Some(share) => {
                if version.component().topics() != plugin.live().component().topics() {
                    let problem = "it serves other topics than the live version: a canary cannot";
                    return Err(SwapError::at(Step::Swap, problem));
                }
                plugin.start_canary(Arc::clone(&version), share);
                reporter.report(Step::Swap, Some(format!("a canary for {share}"))).await;
            }
            None => {
                let took = self.make_live(plugin, &version)?;
                let detail = format!("live, after a pause of {} µs", took.as_micros());
                reporter.report(Step::Swap, Some(detail)).await;
            }
        }
        let Some(watch) = watch else {
            if canary.is_some() {
                return Ok((Outcome::Canary, None));
            }
            self.store_live(plugin, hash, Some(&before));
            return Ok((Outcome::Live, None));
        };
        // Meanwhile, others may roll it back or exchange it.
        drop(busy);
        let watched = watched(plugin, &version, watch, &swaps.config).await;
        let _busy = slot.busy.lock().await;
        if !is_serving(plugin, &version) {
            return Ok((Outcome::Superseded, Some("it was exchanged or withdrawn".to_owned())));
        }
        match watched {
            Ok(detail) => {
                if plugin.end_canary().is_some() {
                    self.make_live(plugin, &version)?;
                }
                self.store_live(plugin, hash, Some(&before));
                reporter.report(Step::Watch, Some(detail)).await;
                Ok((Outcome::Live, None))
            }
            Err(why) => {
                match plugin.end_canary() {
                    Some(canary) => withdraw(canary),
                    None => {
                        self.restore_previous(plugin)?;
                    }
                }
                reporter.report(Step::Watch, Some(why.clone())).await;
                Ok((Outcome::RolledBack, Some(why)))
            }
        }
    }

    /// Makes a version the live one, in channels and pipelines. Returns how long that took.
    pub(super) fn make_live(
        &self,
        plugin: &Arc<Plugin>,
        version: &Arc<PluginVersion>,
    ) -> Result<Duration, SwapError> {
        let before = plugin.live().component().clone();
        let after = version.component().clone();
        let began = Instant::now();
        let dispatchers = self.node.swap_dispatchers(&before, &after);
        let replaced = dispatchers.map_err(|error| error.to_string()).and_then(|()| {
            self.node.registry.replace(plugin, version).map_err(|error| error.to_string())
        });
        let replaced = replaced.map_err(|problem| {
            // Switches back the dispatchers that were switched already: the version before has
            // started once, so it does again.
            let _ = self.node.swap_dispatchers(&after, &before);
            SwapError::at(Step::Swap, problem)
        })?;
        let took = began.elapsed();
        tokio::task::spawn_blocking(move || replaced.unload());
        self.node.metrics.time_of(Metric::WasmSwap, &[plugin.name()], took);
        Ok(took)
    }

    /// Makes the version before the live one again.
    fn restore_previous(&self, plugin: &Arc<Plugin>) -> Result<(), SwapError> {
        let previous = plugin.previous().clone();
        let previous = previous.ok_or_else(SwapError::nothing_before)?;
        self.make_live(plugin, &previous).map(|_| ())
    }

    /// Withdraws the canary, or makes the version before the live one again.
    ///
    /// # Errors
    ///
    /// Another exchange is under way, or there is no version before.
    pub(crate) async fn roll_back(
        &self,
        plugin: &Arc<Plugin>,
        by: String,
    ) -> Result<Swapped, SwapError> {
        let swaps = self.swaps()?;
        let slot = swaps.slot(plugin)?;
        let _busy = swaps.begin(slot)?;
        let from = match plugin.end_canary() {
            Some(canary) => {
                let hash = canary.component().sha256().to_owned();
                withdraw(canary);
                hash
            }
            None => {
                let from = plugin.live().component().sha256().to_owned();
                let previous = plugin.previous().clone();
                let previous = match previous {
                    Some(previous) => previous,
                    None => self.load_previous(plugin, slot, &from).await?,
                };
                self.make_live(plugin, &previous)?;
                from
            }
        };
        let to = plugin.live().component().sha256().to_owned();
        self.store_live(plugin, &to, None);
        info!(plugin = plugin.name(), from, to, by, "rolled back");
        self.note(plugin, &from, &to, by, Outcome::RolledBack.as_str(), None, None);
        Ok(Swapped { outcome: Outcome::RolledBack, from, to })
    }

    /// Makes the canary the live version.
    ///
    /// # Errors
    ///
    /// Another exchange is under way, or there is no canary.
    pub(crate) fn promote(&self, plugin: &Arc<Plugin>, by: String) -> Result<Swapped, SwapError> {
        let swaps = self.swaps()?;
        let _busy = swaps.begin(swaps.slot(plugin)?)?;
        let none = || SwapError::admit(Refusal::State, "there is no canary to promote");
        let canary = plugin.end_canary().ok_or_else(none)?;
        let from = plugin.live().component().sha256().to_owned();
        let to = canary.component().sha256().to_owned();
        self.make_live(plugin, &canary)?;
        self.store_live(plugin, &to, Some(&from));
        self.note(plugin, &from, &to, by, Outcome::Live.as_str(), None, None);
        Ok(Swapped { outcome: Outcome::Live, from, to })
    }

    /// Writes to disk that a version is live, for the next start, and which one was before it.
    fn store_live(&self, plugin: &Plugin, hash: &str, before: Option<&str>) {
        let Ok(swaps) = self.swaps() else { return };
        let Ok(slot) = swaps.slot(plugin) else { return };
        if swaps.config.is_forgotten {
            return;
        }
        if let Err(error) = swaps.store.set_live(plugin.name(), hash, &slot.configured, before) {
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
        self.node.metrics.count_of(Metric::PluginExchanged, &[name, outcome], 1);
        let Ok(swaps) = self.swaps() else { return };
        let exchange = Exchange {
            at_ms: unix_ms(),
            plugin: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            by,
            outcome: outcome.to_owned(),
            canary: canary.map(|share| share.to_string()),
            why,
        };
        if let Err(error) = swaps.store.note(&exchange) {
            warn!(plugin = name, "the history of exchanges cannot be written: {error}");
        }
    }
}

/// Withdraws a canary: no call goes to it any more.
fn withdraw(canary: Arc<PluginVersion>) {
    canary.supersede();
    tokio::task::spawn_blocking(move || canary.retire());
}

/// Reports finished steps to whoever waits for the exchange.
pub(super) struct StepReporter {
    to: mpsc::Sender<FinishedStep>,
    since: Instant,
}

impl StepReporter {
    fn new(to: mpsc::Sender<FinishedStep>) -> Self {
        Self { to, since: Instant::now() }
    }

    pub(super) async fn report(&mut self, step: Step, detail: Option<String>) {
        let took_ms = self.since.elapsed().as_secs_f64() * 1000.0;
        // The receiver may have gone.
        let _ = self.to.send(FinishedStep { step, took_ms, detail }).await;
        self.since = Instant::now();
    }
}
