//! The server: what it is made of, the order in which it starts, and how it
//! stops.

mod admission;
mod client;
mod connections;
mod error;
mod faults;
mod monitor;
mod pipelines;
mod realm;
mod stage;

pub use admission::Admission;
pub(crate) use admission::Admitted;
pub(crate) use client::Client;
pub use connections::Connections;
pub(crate) use connections::WaitingClient;
pub use error::StartError;
pub(crate) use faults::{RecentFault, RecentFaults};
pub(crate) use pipelines::Pipelines;
pub(crate) use realm::{DashboardRealm, Realm};
pub(crate) use stage::Stage;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{info, warn};

use crate::admin;
use crate::channel::{Late, SocketRef};
use crate::config::{
    AdminConfig, App, AppPlugin, DrainConfig, IngestConfig, SocketConfig, StaticFiles, StatsdConfig,
};
use crate::dashboard::History;
use crate::outbox::OverflowPolicies;
use crate::plugin::{Handler, Plugin, Registry, Settings};
use crate::pubsub::{LocalOnly, PubSub};
use crate::session::Routes;
use crate::telemetry::{Metric, Metrics, OutboxMeters, Wanted};
use crate::transport;
use crate::wasm::{Component, Engine, LoadError};
use crate::wire::{CloseReason, Payload};

/// How long connections have to close that did not finish their calls in time.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    loader: Loader,
    /// Accepts connections; ends with the server.
    accepting: AbortOnDropHandle<()>,
    address: SocketAddr,
    /// Answers operators; ends with the server.
    admin: Option<(SocketAddr, AbortOnDropHandle<()>)>,
    drain: DrainConfig,
}

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    pub(crate) socket: SocketConfig,
    pub(crate) static_files: StaticFiles,
    pub(crate) registry: Registry,
    pub(crate) pubsub: PubSub,
    pub(crate) connections: Connections,
    pub(crate) metrics: Metrics,
    /// Drawn at the start: socket refs of another run are told apart by it.
    pub(crate) id: u64,
    /// The tasks of plugins, to wait for them when the server stops.
    pub(crate) tasks: TaskTracker,
    /// Who may come in.
    pub(crate) admission: Admission,
    /// What gives way when a client reads too slowly.
    pub(crate) overflow: OverflowPolicies,
    /// What gave way.
    pub(crate) outbox_meters: Arc<OutboxMeters>,
    /// The page for operators, if there is one.
    pub(crate) dashboard: Option<DashboardRealm>,
    /// The last faults of plugins.
    pub(crate) faults: RecentFaults,
    /// Events, and who works on them.
    pub(crate) pipelines: Pipelines,
    /// Those of them that take events over HTTP.
    pub(crate) ingest: BTreeMap<String, IngestConfig>,
    /// The last minutes, if somebody may want to see them.
    pub(crate) history: Arc<History>,
    /// The admin interface, if there is one.
    pub(crate) admin: Option<AdminConfig>,
    /// What the server is doing.
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) channel_ids: Arc<AtomicU64>,
    connection_ids: AtomicU64,
}

/// Makes pools of components.
#[derive(Clone, Debug)]
pub struct Loader {
    engine: Engine,
    metrics: Metrics,
}

impl Server {
    /// Listens, and loads the plugins of `app`; `/health` and `/ready` are
    /// answered meanwhile. Clients are served from then on.
    pub async fn bind(app: &App) -> Result<Self, StartError> {
        if app.plugins.is_empty() {
            return Err(StartError::NoPlugins);
        }
        let loader = Loader::new(app)?;
        let listen = |cause| StartError::Listen { address: app.listen, cause };
        let listener = TcpListener::bind(app.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let admin = match &app.admin {
            Some(config) => Some(admin::bind(config).await?),
            None => None,
        };
        let history = Arc::<History>::default();
        let shared = Arc::new(Shared {
            socket: app.socket.clone(),
            static_files: app.static_files.clone(),
            registry: Registry::new(loader.metrics.clone()),
            pubsub: PubSub::new(Box::new(LocalOnly), loader.metrics.clone()),
            connections: Connections::default(),
            metrics: loader.metrics.clone(),
            id: RandomState::new().hash_one(address),
            tasks: TaskTracker::new(),
            admission: Admission::new(&app.socket),
            outbox_meters: Arc::new(OutboxMeters::new(&loader.metrics)),
            overflow: app.socket.overflow_policies(),
            dashboard: DashboardRealm::new(&app.dashboard, &history, &loader.metrics),
            faults: RecentFaults::default(),
            pipelines: Pipelines::default(),
            ingest: app
                .pipelines
                .iter()
                .filter_map(|(n, p)| Some((n.clone(), p.http.clone()?)))
                .collect(),
            history,
            admin: app.admin.clone(),
            stage: watch::Sender::new(Stage::Starting),
            channel_ids: Arc::new(AtomicU64::new(1)),
            connection_ids: AtomicU64::new(1),
        });
        let accepting = tokio::spawn(transport::accept(listener, Arc::clone(&shared)));
        let accepting = AbortOnDropHandle::new(accepting);
        let admin = admin.map(|(listener, address)| {
            let accepting = tokio::spawn(admin::accept(listener, Arc::clone(&shared)));
            (address, AbortOnDropHandle::new(accepting))
        });
        info!(
            "loading {} plugins; {address}/ready tells when clients are served",
            app.plugins.len()
        );
        let mut plugins = Vec::new();
        for plugin in &app.plugins {
            let component = loader.load(plugin).await?;
            plugins.push(Plugin::new(plugin.name.clone(), component));
        }
        shared.registry.fill(plugins)?;
        shared.start_pipelines(&app.pipelines)?;
        shared.stage.send_replace(Stage::Ready);
        Ok(Self { shared, loader, accepting, address, admin, drain: app.drain })
    }

    /// Where it listens, with the port the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators ask it, if anywhere.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// The topic patterns it serves and the plugins that serve them.
    #[must_use]
    pub fn routes(&self) -> Vec<(String, String)> {
        let routes = self.shared.registry.routes();
        routes.iter().map(|r| (r.pattern.to_string(), r.plugin.name().to_owned())).collect()
    }

    /// Exchanges versions of plugins while the server runs.
    #[must_use]
    pub fn swapper(&self) -> Swapper {
        Swapper { shared: Arc::clone(&self.shared), loader: self.loader.clone() }
    }

    /// Serves until `stop` is ready. Then nobody else is served; the connections
    /// finish their calls and are closed with 1012, some after the
    /// other, and the server waits for their channels and tasks to end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { shared, accepting, admin, drain, .. } = self;
        let sampling = tokio::spawn(monitor::run(Arc::clone(&shared)));
        stop.await;
        shared.stage.send_replace(Stage::Draining);
        info!(connections = shared.connections.len(), "stopping");
        shared.tasks.close();
        let ended = async {
            shared.connections.drain(Duration::from_millis(drain.over_ms)).await;
            shared.admission.empty().await;
            // The last calls may have started some.
            shared.tasks.wait().await;
            shared.pipelines.drain().await;
        };
        if tokio::time::timeout(Duration::from_millis(drain.timeout_ms), ended).await.is_err() {
            let (connections, tasks) = (shared.connections.len(), shared.tasks.len());
            let events = shared.pipelines.in_hand();
            warn!(
                connections,
                tasks,
                events,
                "some connections, tasks or events did not end in time (drain.timeout_ms)"
            );
            shared.pipelines.abandon();
            shared.connections.close_all();
            let _ = tokio::time::timeout(LAST_WORDS, shared.admission.empty()).await;
        }
        sampling.abort();
        drop((accepting, admin));
        let metrics = shared.metrics.clone();
        shared.pipelines.count(&metrics);
        // An error when it panicked: there is nothing left to do.
        let _ = tokio::task::spawn_blocking(move || metrics.flush()).await;
    }
}

impl Shared {
    /// Who serves which topic for the clients of a realm.
    pub(crate) fn routes(&self, realm: Realm) -> Guard<Arc<Routes<Arc<Handler>>>> {
        match (realm, &self.dashboard) {
            (Realm::Dashboard, Some(dashboard)) => dashboard.routes(),
            _ => self.registry.routes(),
        }
    }

    /// The number of a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connection_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Answers an earlier message; a counted no-op when its client has gone.
    pub(crate) fn reply_to(&self, socket_ref: SocketRef, status: String, payload: Payload) {
        let SocketRef { server, connection, channel, topic, reference } = socket_ref;
        let outbox = (server == self.id).then(|| self.connections.outbox(connection)).flatten();
        let late = Late::Reply { topic, channel, reference, status, payload };
        if outbox.is_none_or(|outbox| outbox.late(late).is_err()) {
            self.metrics.count(Metric::LateGone, 1);
        }
    }

    /// Closes a connection with 1001.
    pub(crate) fn close(&self, client: &Client) {
        client.outbox.close(CloseReason::Disconnected);
        info!(connection = client.connection, "disconnected");
        self.metrics.count(Metric::SocketDisconnected, 1);
    }

    /// Closes every connection of a user with 1001; how many there are.
    pub(crate) fn disconnect(&self, user_id: &str) -> usize {
        let connections = self.connections.disconnect(user_id);
        info!(user_id, connections, "disconnected");
        self.metrics
            .count(Metric::SocketDisconnected, i64::try_from(connections).unwrap_or(i64::MAX));
        connections
    }
}

/// Exchanges versions of plugins.
#[derive(Clone, Debug)]
pub struct Swapper {
    shared: Arc<Shared>,
    loader: Loader,
}

impl Swapper {
    /// Loads the component of `plugin` anew and makes it the live version. On
    /// an error the live version stays.
    pub async fn swap(&self, plugin: &AppPlugin) -> Result<(), StartError> {
        let component = self.loader.load(plugin).await?;
        let began = Instant::now();
        if let Some(live) = self.shared.registry.plugin(&plugin.name) {
            let before = live.live().component().clone();
            self.shared.swap_dispatchers(&plugin.name, &before, &component)?;
        }
        self.shared.registry.swap(&plugin.name, component)?;
        let metrics = &self.shared.metrics;
        metrics.time_of(Metric::WasmSwap, &[&plugin.name], began.elapsed());
        Ok(())
    }
}

impl Loader {
    pub(crate) fn new(app: &App) -> Result<Self, StartError> {
        let limits = || app.plugins.iter().map(|plugin| &plugin.limits);
        let instances = limits().map(|l| l.max_instances).fold(0, u32::saturating_add);
        let memory = limits().map(|l| l.max_memory_bytes).max().unwrap_or_default();
        // One more of each plugin for asking a new version what it serves, and for
        // each dispatcher two: its instance, and that of the next version.
        let stages = app.pipelines.values().map(|pipeline| 1 + pipeline.transforms.len());
        let spare = app.plugins.len() + 2 * stages.sum::<usize>();
        let spare = u32::try_from(spare).unwrap_or(u32::MAX);
        let engine = Engine::new(instances.saturating_add(spare), memory, true)?;
        let wanted = Wanted {
            statsd: app.statsd.as_ref().map(StatsdConfig::target),
            kept: app.dashboard.enabled || app.admin.is_some(),
            events: app.metrics.event_names(),
        };
        let metrics = Metrics::new(wanted).map_err(|cause| {
            let address = app.statsd.as_ref().map(|statsd| statsd.address.clone());
            StartError::Statsd { address: address.unwrap_or_default(), cause }
        })?;
        Ok(Self { engine, metrics })
    }

    pub(crate) async fn load(&self, plugin: &AppPlugin) -> Result<Component, StartError> {
        let began = Instant::now();
        let loaded = self.read(plugin).await;
        let result = if loaded.is_ok() { "ok" } else { "failed" };
        self.metrics.time_of(Metric::WasmLoad, &[&plugin.name, result], began.elapsed());
        loaded
    }

    async fn read(&self, plugin: &AppPlugin) -> Result<Component, StartError> {
        let path = plugin.source.component();
        let name = || plugin.name.clone();
        let wasm = tokio::fs::read(path).await.map_err(|cause| StartError::Read {
            name: name(),
            path: path.to_owned(),
            cause,
            advice: "build it with `millrace build`",
        })?;
        let failed = |cause| StartError::Load { name: name(), path: path.to_owned(), cause };
        self.compile(wasm, plugin).await.map_err(failed)
    }

    /// Compiles on a thread of its own: it takes as long as seconds.
    async fn compile(&self, wasm: Vec<u8>, plugin: &AppPlugin) -> Result<Component, LoadError> {
        let AppPlugin { name, config, http, .. } = plugin.clone();
        let settings = Arc::new(Settings::new(name, config, http, self.metrics.clone()));
        let (engine, limits) = (self.engine.clone(), plugin.limits);
        let compiling =
            tokio::task::spawn_blocking(move || engine.compile(&wasm, settings, limits));
        let loading = compiling.await.map_err(|_| LoadError::Stopped)??;
        loading.finish().await
    }
}
