//! The server: what it is made of, the order in which it starts, and how it
//! stops.

mod admission;
mod client;
mod compiler;
mod connections;
mod entrance;
mod error;
mod faults;
mod hosts;
mod loader;
mod memory;
mod monitor;
mod pipelines;
mod realm;
mod reread;
mod stage;
mod swap;
mod waiting;

pub use admission::Admission;
pub(crate) use admission::{AddressSlot, Addresses, Admitted, Rates, TooSoon, Turned, network};
pub(crate) use client::Client;
pub(crate) use compiler::compile;
pub use connections::Connections;
pub(crate) use connections::WaitingClient;
pub(crate) use entrance::Entrance;
pub use error::StartError;
pub(crate) use faults::{RecentFault, RecentFaults};
pub(crate) use hosts::Hosts;
pub(crate) use loader::Loader;
pub(crate) use memory::Memory;
pub(crate) use pipelines::Pipelines;
pub(crate) use realm::{DashboardRealm, RealmRoutes};
pub(crate) use reread::Rereading;
pub(crate) use stage::Stage;
pub use swap::Swapper;
pub(crate) use swap::{Refusal, SwapError, Swapped, Swaps, Upload};
pub(crate) use waiting::Waiting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_session::channel::{Deferred, SocketRef};
use millrace_telemetry::{Metric, Metrics, OutboxMeters};
use millrace_wire::{CloseReason, Payload};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{info, warn};

use crate::admin;
use crate::config::{
    AdminConfig, App, DrainConfig, IngestConfig, ListenAddress, ListenConfig, SocketConfig,
    StaticFiles,
};
use crate::dashboard::History;
use crate::outbox::{OverflowPolicies, Request};
use crate::plugin::{BUILT_FOLDER, Kept, Plugin, Registry};
use crate::pubsub::{LocalOnly, PubSub};
use crate::tasks::FaultSources;
use crate::transport::{Inherited, Proxies, Threads};

/// How long connections have to close that did not finish their calls in time.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    /// Serve connections; end with the server.
    threads: Threads,
    /// Where clients come in, with the ports that the system chose for port 0.
    listening: Vec<ListenConfig>,
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
    /// Of the app; the operators' page has its own.
    pub(crate) pubsub: PubSub,
    pub(crate) connections: Connections,
    pub(crate) metrics: Metrics,
    /// How many letters wait in all channels.
    pub(crate) waiting: Arc<Waiting>,
    /// Drawn at the start: socket refs of another run are told apart by it.
    pub(crate) id: u64,
    /// The tasks of plugins, to wait for them when the server stops.
    pub(crate) tasks: TaskTracker,
    /// Where they run.
    pub(crate) runtime: Handle,
    /// Under which names it is reached.
    pub(crate) hosts: Hosts,
    /// By way of whom.
    pub(crate) proxies: Arc<Proxies>,
    /// What is read anew while it runs.
    pub(crate) rereading: Rereading,
    /// Who may come in.
    pub(crate) admission: Admission,
    /// How much memory is left.
    pub(crate) memory: Memory,
    /// What gives way when a client reads too slowly.
    pub(crate) overflow: OverflowPolicies,
    /// What gave way.
    pub(crate) outbox_meters: Arc<OutboxMeters>,
    /// The page for operators, if there is one.
    pub(crate) dashboard: Option<DashboardRealm>,
    /// The last faults of plugins.
    pub(crate) faults: RecentFaults,
    /// Where they came from.
    pub(crate) fault_sources: FaultSources,
    /// Events, and who works on them.
    pub(crate) pipelines: Pipelines,
    /// Those of them that take events over HTTP.
    pub(crate) ingest: BTreeMap<String, IngestConfig>,
    /// The last minutes, if somebody may want to see them.
    pub(crate) history: Arc<History>,
    /// The admin interface, if there is one.
    pub(crate) admin: Option<AdminConfig>,
    /// How versions are exchanged; none until the plugins are loaded.
    pub(crate) swaps: OnceLock<Swaps>,
    /// Somebody develops its plugins: errors that clients are answered with are logged as
    /// `info`.
    pub(crate) is_dev: bool,
    /// What the server is doing.
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) channel_ids: Arc<AtomicU64>,
    connection_ids: AtomicU64,
}

impl Server {
    /// Listens, and loads the plugins of `app`; `/health` and `/ready` are
    /// answered meanwhile. Clients are served from then on.
    pub async fn bind(app: &App) -> Result<Self, StartError> {
        Self::bind_with(app, Inherited::default()).await
    }

    /// The same at sockets that systemd has opened.
    pub(crate) async fn bind_with(app: &App, inherited: Inherited) -> Result<Self, StartError> {
        if app.plugins.is_empty() {
            return Err(StartError::NoPlugins);
        }
        for missing in app.static_files.check_there().map_err(StartError::Static)? {
            warn!("{missing}");
        }
        let loader = Loader::new(app)?;
        let Entrance { listeners, admin, doors } = Entrance::open(app, inherited).await?;
        let listening: Vec<_> = listeners.iter().map(|(one, _)| one.found()).collect();
        let ports = listening.iter().filter_map(|one| one.address.port());
        let ports = ports.chain(admin.as_ref().map(|(_, address, _)| address.port()));
        loader.own_ports.set(ports.collect());
        let history = Arc::<History>::default();
        let shared = Arc::new(Shared {
            socket: app.socket.clone(),
            static_files: app.static_files.clone(),
            registry: Registry::new(loader.metrics.clone()),
            pubsub: PubSub::new(Box::new(LocalOnly), loader.metrics.clone()),
            connections: Connections::default(),
            metrics: loader.metrics.clone(),
            waiting: Arc::new(Waiting(loader.metrics.unlabelled_counter(Metric::ChannelWaiting))),
            id: loader.refs.server(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            hosts: Hosts::new(&app.socket),
            proxies: Arc::clone(&doors.proxies),
            rereading: Rereading::new(app, doors.tls, loader.metrics.clone()),
            admission: Admission::new(&app.socket),
            memory: Memory::new(app.memory.max_bytes),
            outbox_meters: Arc::new(OutboxMeters::new(&loader.metrics)),
            overflow: app.socket.overflow_policies(),
            dashboard: DashboardRealm::new(&app.dashboard, &history),
            faults: RecentFaults::default(),
            fault_sources: FaultSources::default(),
            pipelines: Pipelines::default(),
            ingest: app
                .pipelines
                .iter()
                .filter_map(|(n, p)| Some((n.clone(), p.http.clone()?)))
                .collect(),
            history,
            admin: app.admin.clone(),
            swaps: OnceLock::new(),
            is_dev: app.is_dev,
            stage: watch::Sender::new(Stage::Starting),
            channel_ids: Arc::new(AtomicU64::new(1)),
            connection_ids: AtomicU64::new(1),
        });
        let threads = Threads::start(listeners, &shared).map_err(StartError::Thread)?;
        let admin = admin.map(|(listener, address, door)| {
            let accepting = tokio::spawn(admin::accept(listener, door, Arc::clone(&shared)));
            (address, AbortOnDropHandle::new(accepting))
        });
        let ready = listening.first().map(|one| ready_at(&one.address)).unwrap_or_default();
        let (found, s) = (app.plugins.len(), if app.plugins.len() == 1 { "" } else { "s" });
        info!("loading {found} plugin{s}; {ready} tells when clients are served");
        let mut plugins = Vec::new();
        let mut swaps = Swaps::new(app.swap.clone(), loader, kept(app));
        for plugin in &app.plugins {
            plugins.push(Plugin::new(plugin.name.clone(), swaps.load(plugin).await?));
        }
        shared.registry.fill(plugins)?;
        shared.start_pipelines(&app.pipelines)?;
        // Filled once.
        let _ = shared.swaps.set(swaps);
        shared.stage.send_replace(Stage::Ready);
        Ok(Self { shared, threads, listening, admin, drain: app.drain })
    }

    /// Where clients come in, with the ports that the system chose for port 0.
    #[must_use]
    pub fn listening(&self) -> &[ListenConfig] {
        &self.listening
    }

    /// Where it reads its certificate and its secrets anew.
    pub(crate) fn rereading(&self) -> Rereading {
        self.shared.rereading.clone()
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
        Swapper(Arc::clone(&self.shared))
    }

    /// Serves until `stop` is ready. Then nobody else is served; the connections
    /// finish their calls and are closed with 1012, some after the
    /// other, and the server waits for their channels and tasks to end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { shared, threads, admin, drain, .. } = self;
        let sampling = tokio::spawn(monitor::run(Arc::clone(&shared)));
        let rereading = tokio::spawn(shared.rereading.clone().run());
        let watching = tokio::spawn(monitor::watch_memory(Arc::clone(&shared)));
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
        for task in [sampling, watching, rereading] {
            task.abort();
        }
        drop(admin);
        let metrics = shared.metrics.clone();
        shared.pipelines.count(&metrics);
        // An error when it panicked: there is nothing left to do.
        let _ = tokio::task::spawn_blocking(move || {
            threads.end();
            metrics.flush();
        })
        .await;
    }
}

/// The versions that the server keeps on disk.
fn kept(app: &App) -> Kept {
    let folder = app.swap.dir.clone().unwrap_or_else(|| app.folder.join(BUILT_FOLDER));
    // An app's own is made by the first exchange, and may be where nobody writes.
    if let Some(dir) = &app.swap.dir {
        let there = std::fs::create_dir_all(dir);
        let may = there.and_then(|()| Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK)?));
        if let Err(error) = may {
            warn!(
                "swap.dir is {}, which cannot be written to: {error}; no version can be exchanged \
                 until the server's user may",
                dir.display()
            );
        }
    }
    Kept::new(&folder, app.swap.keep)
}

/// Where a monitor asks whether clients are served.
fn ready_at(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(_) => format!("{address}/ready"),
        ListenAddress::Unix(_) => format!("/ready at {address}"),
    }
}

impl Shared {
    /// The number of a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connection_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Answers an earlier message; a counted no-op when its client has gone.
    pub(crate) fn reply_to(&self, socket_ref: SocketRef, status: String, payload: Payload) {
        let SocketRef { server, connection, channel, topic, reference } = socket_ref;
        let outbox = (server == self.id).then(|| self.connections.outbox(connection)).flatten();
        let reply =
            Request::Deferred(Deferred::Reply { topic, channel, reference, status, payload });
        if outbox.is_none_or(|outbox| outbox.ask(reply).is_err()) {
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
