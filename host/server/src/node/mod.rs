//! What all connections of a server share: who is there, who may come in, what they hear.

mod admission;
mod client;
mod connections;
mod effects;
mod error;
mod fault_sources;
mod hosts;
mod memory;
mod pipelines;
mod realm;
mod stage;
mod waiting;

pub use admission::Admission;
pub(crate) use admission::{Admitted, Turned};
pub(crate) use client::Client;
pub use connections::Connections;
pub use error::StartError;
pub(crate) use fault_sources::{FaultSources, Source};
pub(crate) use hosts::Hosts;
pub(crate) use memory::{GIVE_BACK_EVERY, LOOK_EVERY, Left, Memory, give_back};
pub(crate) use pipelines::Pipelines;
pub(crate) use realm::{DashboardRealm, RealmRoutes};
pub(crate) use stage::Stage;
pub(crate) use waiting::Waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_telemetry::{Metric, Metrics, OutboxMeters};
use millrace_wire::CloseReason;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::config::{AdminConfig, App, IngestConfig, SocketConfig, StaticFiles};
use crate::dashboard::History;
use crate::net::Proxies;
use crate::outbox::OverflowPolicies;
use crate::plugin::{RecentFaults, Registry};
use crate::pubsub::{LocalOnly, PubSub};

/// What every connection shares.
#[derive(Debug)]
pub struct Node {
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
    /// Somebody develops its plugins: errors that clients are answered with are logged as
    /// `info`.
    pub(crate) is_dev: bool,
    /// What the server is doing.
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) channel_ids: Arc<AtomicU64>,
    connection_ids: AtomicU64,
}

impl Node {
    /// The node of an app, which serves nobody yet. `id` is drawn at the start.
    pub(crate) fn new(app: &App, id: u64, metrics: &Metrics, proxies: Arc<Proxies>) -> Arc<Self> {
        let history = Arc::<History>::default();
        Arc::new(Self {
            socket: app.socket.clone(),
            static_files: app.static_files.clone(),
            registry: Registry::new(metrics.clone()),
            pubsub: PubSub::new(Box::new(LocalOnly), metrics.clone()),
            connections: Connections::default(),
            metrics: metrics.clone(),
            waiting: Arc::new(Waiting(metrics.unlabelled_counter(Metric::ChannelWaiting))),
            id,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            hosts: Hosts::new(&app.socket),
            proxies,
            admission: Admission::new(&app.socket),
            memory: Memory::new(app.memory.max_bytes),
            outbox_meters: Arc::new(OutboxMeters::new(metrics)),
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
            is_dev: app.is_dev,
            stage: watch::Sender::new(Stage::Starting),
            channel_ids: Arc::new(AtomicU64::new(1)),
            connection_ids: AtomicU64::new(1),
        })
    }

    /// The number of a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connection_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes a connection with 1001.
    pub(crate) fn close(&self, client: &Client) {
        client.outbox.close(CloseReason::Disconnected);
        info!(connection = client.connection, "disconnected");
        self.metrics.count(Metric::SocketDisconnected, 1);
    }
}
