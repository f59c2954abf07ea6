//! Loading of plugins: from files to components.

mod compiler;

pub(crate) use compiler::compile;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use millrace_session::channel::RefKey;
use millrace_telemetry::{Metric, Metrics, MetricsOptions};
use millrace_wasm::egress::OwnPorts;
use millrace_wasm::{Component, Engine, EngineLimits, LoadError, PresenceSource, Settings, sha256};
use tracing::{debug, warn};

use compiler::Compiler;

use crate::config::{App, AppPlugin, StatsdConfig};
use crate::node::StartError;
use crate::plugin::Source;

/// Loads components.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    engine: Engine,
    compiler: Option<Compiler>,
    pub(crate) metrics: Metrics,
    /// The key for socket refs, one for all plugins of a server, drawn at its start.
    pub(crate) refs: RefKey,
    /// The ports that the server listens on, once it does; plugins must not call them.
    pub(crate) own_ports: OwnPorts,
    /// The way of plugins to who is present, once there is a server.
    pub(crate) presences: PresenceSource,
}

impl Loader {
    pub(crate) fn new(app: &App) -> Result<Self, StartError> {
        let limits = || app.plugins.iter().map(|plugin| &plugin.limits);
        let instances = limits().map(|l| l.max_instances).fold(0, u32::saturating_add);
        let max_memory_bytes = limits().map(|l| l.max_memory_bytes).max().unwrap_or_default();
        let max_stack_bytes = limits().map(|l| l.max_stack_bytes).max().unwrap_or_default();
        // There is one more instance for each plugin, to ask a new version what it serves, and two
        // for each dispatcher: its own, and that of the next version.
        let stages = app.pipelines.values().map(|pipeline| 1 + pipeline.transforms.len());
        let extra = app.plugins.len() + 2 * stages.sum::<usize>();
        let extra = u32::try_from(extra).unwrap_or(u32::MAX);
        let max_instances = instances.saturating_add(extra);
        let limits = EngineLimits { max_instances, max_memory_bytes, max_stack_bytes };
        let engine = Engine::new(limits, Some(&app.cache))?;
        let options = MetricsOptions {
            statsd: app.statsd.as_ref().map(StatsdConfig::target),
            in_process: app.dashboard.enabled || app.admin.is_some(),
            events: app.metrics.event_names(),
        };
        let metrics = Metrics::new(options).map_err(|cause| {
            let address = app.statsd.as_ref().map(|statsd| statsd.address.clone());
            StartError::Statsd { address: address.unwrap_or_default(), cause }
        })?;
        let (compiler, refs) = (Compiler::new(&app.compile), RefKey::draw()?);
        let (own_ports, presences) = (OwnPorts::default(), PresenceSource::default());
        Ok(Self { engine, compiler, metrics, refs, own_ports, presences })
    }

    /// Loads the configured file of a plugin as a component.
    pub(crate) async fn load(&self, plugin: &AppPlugin) -> Result<Component, StartError> {
        let file = self.file(plugin).await?;
        self.component(plugin, file).await
    }

    /// Reads the configured file of a plugin, and its signature if there is one.
    pub(crate) async fn file(&self, plugin: &AppPlugin) -> Result<PluginFile, StartError> {
        let path = plugin.source.component();
        let failed = |cause| StartError::Read {
            name: plugin.name.clone(),
            path: path.to_owned(),
            cause,
            advice: match plugin.source {
                Source::Crate { .. } => "build it with `millrace build`",
                Source::File(_) => "put the component there, or name another file",
            },
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".sig");
        let signature = tokio::fs::read(beside).await.ok();
        PluginFile::read(path, signature).await.map_err(failed)
    }

    /// Loads a file as a component, if it is trusted.
    pub(crate) async fn component(
        &self,
        plugin: &AppPlugin,
        file: PluginFile,
    ) -> Result<Component, StartError> {
        let began = Instant::now();
        let PluginFile { path, wasm, sha256, signature } = file;
        let name = || plugin.name.clone();
        let trusted = plugin.trust.check(&plugin.name, &wasm, &sha256, signature.as_deref());
        let loaded = match trusted {
            Ok(()) => self
                .compile(wasm, plugin, CompilePriority::Foreground)
                .await
                .map_err(|cause| StartError::Load { name: name(), path, cause }),
            Err(cause) => Err(StartError::Trust { name: name(), path, cause }),
        };
        let result = if loaded.is_ok() { "ok" } else { "failed" };
        self.metrics.time_of(Metric::WasmLoad, &[&plugin.name, result], began.elapsed());
        loaded
    }

    /// Compiles in a process, or at least on a thread, of its own, as that may take seconds.
    pub(crate) async fn compile(
        &self,
        wasm: Vec<u8>,
        plugin: &AppPlugin,
        priority: CompilePriority,
    ) -> Result<Component, LoadError> {
        let AppPlugin { name, config, http, grants, .. } = plugin.clone();
        let config = config.into_iter().map(|(key, value)| (key, value.live())).collect();
        let settings = Settings::new(name, config, http, self.metrics.clone());
        let settings = settings.with_grants(grants).with_refs(self.refs.clone());
        let settings = settings.with_presences(self.presences.clone());
        let settings = Arc::new(settings.beside(self.own_ports.clone()));
        let (engine, limits, wasm) = (self.engine.clone(), plugin.limits, Arc::new(wasm));
        let Some(compiler) = &self.compiler else {
            let compile = move || priority.run(|| engine.compile(&wasm, settings, limits));
            return blocking(compile).await?.finish().await;
        };
        let (of, to, with) = (engine.clone(), Arc::clone(&wasm), Arc::clone(&settings));
        if let Some(cached) = blocking(move || of.cached(&to, &with, limits)).await? {
            return cached.finish().await;
        }
        let code = compiler.compile(&wasm, engine.reservation(), priority).await?;
        let load = move || engine.compiled(&code, &wasm, settings, limits);
        blocking(load).await?.finish().await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LoadError::Stopped)?
}

/// The urgency of compiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompilePriority {
    /// On all cores, as the server is starting.
    Foreground,
    /// On one thread of low priority, as clients are being served.
    Background,
}

/// The niceness of a thread that compiles in the background: nearly always, other threads that are
/// ready run first.
const BACKGROUND_NICENESS: i32 = 15;

impl CompilePriority {
    fn run<T: Send>(self, compile: impl FnOnce() -> T + Send) -> T {
        if self == Self::Foreground {
            return compile();
        }
        // Cranelift compiles on the threads of the rayon pool that it is called in. This pool is
        // for one component only, as a thread cannot lower its niceness again.
        let nicely = |_| {
            if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICENESS) {
                debug!("a thread that compiles is as urgent as others: {error}");
            }
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(nicely).build();
        match pool {
            Ok(pool) => pool.install(compile),
            Err(error) => {
                warn!("compiling holds others up: {error}");
                compile()
            }
        }
    }
}

/// The file of a component.
#[derive(Debug)]
pub(crate) struct PluginFile {
    pub(crate) path: PathBuf,
    pub(crate) wasm: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) signature: Option<Vec<u8>>,
}

impl PluginFile {
    pub(crate) async fn read(path: &Path, signature: Option<Vec<u8>>) -> io::Result<Self> {
        let wasm = tokio::fs::read(path).await?;
        let sha256 = sha256(&wasm).to_string();
        Ok(Self { path: path.to_owned(), wasm, sha256, signature })
    }
}
