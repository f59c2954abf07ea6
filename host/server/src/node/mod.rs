//! The state that all connections of a server share: who is connected, who may connect, who hears
//! what.

mod admission;
mod client;
mod connections;
mod effects;
mod error;
mod fault_sources;
mod hosts;
mod memory;
mod pipelines;
mod presence_changes;
mod realm;
mod stage;
mod waiting;

pub(crate) use admission::Admission;
pub(crate) use admission::{AdmissionError, Admitted};
pub(crate) use client::Client;
pub(crate) use connections::Connections;
pub use error::StartError;
pub(crate) use fault_sources::{FaultSources, Source};
pub(crate) use hosts::Hosts;
pub(crate) use memory::{MEASURE_INTERVAL, Memory, MemoryLeft, RELEASE_EVERY, release_free_memory};
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

use crate::auth::Auth;
use crate::config::{AdminConfig, App, IngestConfig, SocketConfig, StaticFiles};
use crate::dashboard::History;
use crate::longpoll::LongPolls;
use crate::net::Proxies;
use crate::outbox::OverflowPolicies;
use crate::plugin::{RecentFaults, Registry};
use crate::presence::Presence;
use crate::pubsub::{LocalOnly, PubSub};

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) socket: SocketConfig,
    pub(crate) static_files: StaticFiles,
    pub(crate) registry: Registry,
    /// PubSub of the app; the dashboard has its own.
    pub(crate) pubsub: Arc<PubSub>,
    /// Who is present on the topics of the app.
    pub(crate) presence: Arc<Presence>,
    pub(crate) connections: Connections,
    /// The sessions among the connections whose clients poll.
    pub(crate) longpolls: LongPolls,
    pub(crate) metrics: Metrics,
    /// The number of messages that wait in all channels.
    pub(crate) waiting: Arc<Waiting>,
    /// A random number of this run, by which socket refs of another run are recognised.
    pub(crate) id: u64,
    /// The tasks of plugins; the server waits for them when it stops.
    pub(crate) tasks: TaskTracker,
    /// The runtime that the tasks run on.
    pub(crate) runtime: Handle,
    /// The names under which clients reach the server.
    pub(crate) hosts: Hosts,
    /// The trusted proxies.
    pub(crate) proxies: Arc<Proxies>,
    /// The limits of what clients may open.
    pub(crate) admission: Admission,
    /// The check of clients' tokens.
    pub(crate) auth: Auth,
    /// The memory of the server.
    pub(crate) memory: Memory,
    /// The policies for messages to clients that read too slowly.
    pub(crate) overflow: OverflowPolicies,
    /// The counters of messages that were dropped by these policies.
    pub(crate) outbox_meters: Arc<OutboxMeters>,
    /// The dashboard, if it is enabled.
    pub(crate) dashboard: Option<DashboardRealm>,
    /// The last faults of plugins.
    pub(crate) faults: RecentFaults,
    /// The addresses and users that the faults came from.
    pub(crate) fault_sources: FaultSources,
    /// The pipelines of the app.
    pub(crate) pipelines: Pipelines,
    /// The settings of those pipelines that take events over HTTP.
    pub(crate) ingest: BTreeMap<String, IngestConfig>,
    /// The measurements of the last minutes, for the dashboard and operators.
    pub(crate) history: Arc<History>,
    /// The settings of the admin interface, if there is one.
    pub(crate) admin: Option<AdminConfig>,
    /// Whether somebody develops the app's plugins: then errors that clients get are logged as
    /// `info`.
    pub(crate) is_dev: bool,
    /// The stage of the server's life.
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) channel_ids: Arc<AtomicU64>,
    connection_ids: AtomicU64,
}

impl Node {
    /// Makes the node of an app. `id` is the random number of this run.
    ///
    /// # Errors
    ///
    /// The error of the operating system, when it gives no random bytes.
    pub(crate) fn new(
        app: &App,
        id: u64,
        metrics: &Metrics,
        proxies: Arc<Proxies>,
        auth: Auth,
    ) -> Result<Arc<Self>, StartError> {
        let longpolls = LongPolls::new(id, metrics.clone())?;
        let history = Arc::<History>::default();
        let pubsub = Arc::new(PubSub::new(Box::new(LocalOnly), metrics.clone()));
        let salt = u32::try_from(id >> 32).unwrap_or_default();
        let presence = Presence::new(&app.presence, salt, Arc::clone(&pubsub), metrics.clone());
        Ok(Arc::new(Self {
            socket: app.socket.clone(),
            static_files: app.static_files.clone(),
            registry: Registry::new(metrics.clone()),
            pubsub,
            presence: Arc::new(presence),
            connections: Connections::default(),
            longpolls,
            metrics: metrics.clone(),
            waiting: Arc::new(Waiting(metrics.unlabelled_counter(Metric::ChannelWaiting))),
            id,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            hosts: Hosts::new(&app.socket),
            proxies,
            admission: Admission::new(&app.socket),
            auth,
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
        }))
    }

    /// The number for a new connection.
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
