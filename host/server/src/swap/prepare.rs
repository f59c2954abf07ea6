//! The steps that are done beside the running version: compile, warm, self-test, trial migration.

use std::sync::Arc;
use std::time::Duration;

use millrace_session::channel::Assigns;
use millrace_wasm::{Component, Fault, OnMigrate};
use millrace_wire::TopicPattern;
use tokio::sync::mpsc;
use tracing::warn;

use super::exchange::StepReporter;
use super::{Slot, Step, SwapError, Swapper, stored_file};
use crate::loader::CompilePriority;
use crate::outbox::Request;
use crate::plugin::{Plugin, PluginVersion};

/// The most connections that are asked whether they have joined a topic that would be gone.
const MAX_SAMPLED_CONNECTIONS: usize = 1_024;
/// The time in which channels have to answer with their assigns.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(500);

impl Swapper {
    /// Makes a version that can become live.
    pub(super) async fn prepare(
        &self,
        plugin: &Arc<Plugin>,
        slot: &Slot,
        wasm: Vec<u8>,
        reporter: &mut StepReporter,
    ) -> Result<Arc<PluginVersion>, SwapError> {
        let compiled =
            self.swaps()?.loader.compile(wasm, &slot.plugin, CompilePriority::Background).await;
        let component =
            compiled.map_err(|error| SwapError::at(Step::Compile, format!("the file {error}")))?;
        let version = self.successor(plugin, component)?;
        reporter.report(Step::Compile, None).await;
        warm(&version).await?;
        reporter.report(Step::Warm, None).await;
        let failed = |fault: Fault| SwapError::at(Step::SelfTest, fault.to_string());
        version.self_test().await.map_err(failed)?;
        reporter.report(Step::SelfTest, None).await;
        self.check_topics(plugin, &version).await?;
        let detail = self.try_migration(plugin, &version).await?;
        reporter.report(Step::Migrate, Some(detail)).await;
        Ok(version)
    }

    /// Loads the version before the live one from disk, when the server was started since and does
    /// not have it.
    pub(super) async fn load_previous(
        &self,
        plugin: &Arc<Plugin>,
        slot: &Slot,
        live: &str,
    ) -> Result<Arc<PluginVersion>, SwapError> {
        let swaps = self.swaps()?;
        let before = swaps.store.version_before(plugin.name(), live);
        let before = before.ok_or_else(SwapError::nothing_before)?;
        let gone = |problem: String| {
            let version = before.get(..8).unwrap_or(&before);
            SwapError::at(Step::Compile, format!("{version}, the version before: {problem}"))
        };
        let file = match before == slot.configured {
            true => {
                swaps.loader.file(&slot.plugin).await.map_err(|error| gone(error.to_string()))?
            }
            false => {
                let read = stored_file(swaps.store.version(plugin.name(), &before)).await;
                read.map_err(|error| gone(format!("it is not kept any more (swap.keep): {error}")))?
            }
        };
        if file.sha256 != before {
            return Err(gone("the configured file is another one by now".to_owned()));
        }
        let loaded = swaps.loader.component(&slot.plugin, file).await;
        let component = loaded.map_err(|error| gone(error.to_string()))?;
        let version = self.successor(plugin, component)?;
        warm(&version).await?;
        Ok(version)
    }

    /// Makes a version of a component, if it can replace the live one.
    fn successor(
        &self,
        plugin: &Arc<Plugin>,
        component: Component,
    ) -> Result<Arc<PluginVersion>, SwapError> {
        let version = Arc::new(PluginVersion::successor(component, &plugin.live()));
        let refused = |problem: String| SwapError::at(Step::Compile, problem);
        self.node.registry.check(plugin, &version).map_err(|error| refused(error.to_string()))?;
        self.check_roles(plugin, version.component()).map_err(refused)?;
        Ok(version)
    }

    /// Tries the migration to a version on copies of some channels' assigns.
    async fn try_migration(
        &self,
        plugin: &Plugin,
        version: &PluginVersion,
    ) -> Result<String, SwapError> {
        let samples = self.samples(plugin).await?;
        let (mut failures, count) = (Vec::new(), samples.len());
        for (topic, assigns) in samples {
            if let Err(fault) = version.try_migration(&topic, &assigns).await {
                failures.push(format!("{topic}: {}", fault.message));
            }
        }
        let Some(first) = failures.first() else { return Ok(format!("{count} channels tried")) };
        let failed = format!("{} of {count} channels tried failed; {first}", failures.len());
        match version.component().limits().on_migrate {
            OnMigrate::Reject => Err(SwapError::at(Step::Migrate, failed)),
            OnMigrate::Rejoin | OnMigrate::KeepOld => Ok(failed),
        }
    }

    /// Checks that no client is on a topic that the version does not serve: most likely, that would
    /// be a version of another plugin. In development, a topic may be removed.
    async fn check_topics(
        &self,
        plugin: &Plugin,
        version: &PluginVersion,
    ) -> Result<(), SwapError> {
        let (live, serves) = (plugin.live(), version.component().topics());
        let is_gone = |pattern: &&TopicPattern| !serves.contains(pattern);
        let gone: Vec<_> = live.component().topics().iter().filter(is_gone).cloned().collect();
        if self.node.is_dev || gone.is_empty() {
            return Ok(());
        }
        let list = |patterns: &[TopicPattern]| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let left = |topic: &str| !serves.iter().any(|pattern| pattern.matches(topic));
        match self
            .sampled(gone.clone(), MAX_SAMPLED_CONNECTIONS)
            .await
            .iter()
            .find(|(topic, _)| left(topic))
        {
            Some((topic, _)) => Err(SwapError::at(
                Step::Migrate,
                format!(
                    "it does not serve {topic:?}, which a client has joined; it serves {}. Is it a \
                     version of another plugin?",
                    list(serves)
                ),
            )),
            None => {
                let (plugin, gone, serves) = (plugin.name(), list(&gone), list(serves));
                warn!(plugin, gone, serves, "a version does not serve what the one before does");
                Ok(())
            }
        }
    }

    /// The assigns of some of a plugin's channels, with their topics.
    async fn samples(&self, plugin: &Plugin) -> Result<Vec<(Arc<str>, Assigns)>, SwapError> {
        let most = self.swaps()?.config.samples;
        Ok(self.sampled(plugin.live().component().topics().to_vec(), most).await)
    }

    /// The assigns of channels of these topics, asked of at most `most` connections.
    async fn sampled(&self, topics: Vec<TopicPattern>, most: usize) -> Vec<(Arc<str>, Assigns)> {
        if topics.is_empty() || most == 0 {
            return Vec::new();
        }
        let (sender, mut receiver) = mpsc::channel(most);
        for outbox in self.node.connections.some_idle(most) {
            // A connection that is closing does not answer.
            let _ = outbox.ask(Request::Sample { topics: topics.clone(), to: sender.clone() });
        }
        drop(sender);
        let (mut samples, until) = (Vec::new(), tokio::time::Instant::now() + SAMPLE_TIMEOUT);
        while let Ok(Some(sample)) = tokio::time::timeout_at(until, receiver.recv()).await {
            samples.push(sample);
        }
        samples
    }

    /// Checks that clients and pipelines still have the interfaces that they use of the live
    /// version.
    fn check_roles(&self, plugin: &Plugin, component: &Component) -> Result<(), String> {
        let live = plugin.live();
        let (before, name) = (live.component(), plugin.name());
        for (interface, had, has) in [
            ("worker", before.has_worker(), component.has_worker()),
            ("dispatcher", before.has_dispatcher(), component.has_dispatcher()),
        ] {
            if had && !has && self.node.pipelines.all().any(|pipeline| pipeline.uses(name)) {
                return Err(format!("it does not export `{interface}`, which a pipeline needs"));
            }
        }
        for (interface, had, has, whose) in [
            ("channel", before.has_channel(), component.has_channel(), "clients are on its topics"),
            ("socket", before.has_socket(), component.has_socket(), "it decides who may connect"),
        ] {
            if had && !has {
                return Err(format!("it does not export `{interface}`, and {whose}"));
            }
        }
        Ok(())
    }
}

async fn warm(version: &PluginVersion) -> Result<(), SwapError> {
    version.warm().await.map_err(|fault| SwapError::at(Step::Warm, fault.to_string()))
}
