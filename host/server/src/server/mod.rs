//! The composition root: the parts of a server, the order in which they start, and how the server
//! stops.

mod bound_listeners;
mod monitor;
mod reread;

pub(crate) use bound_listeners::BoundListeners;
pub(crate) use reread::Rereader;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::admin;
use crate::auth::Auth;
use crate::config::{App, DrainConfig, ListenAddress, ListenConfig};
use crate::loader::Loader;
use crate::net::Inherited;
use crate::node::{Node, Stage, StartError};
use crate::plugin::{BUILT_FOLDER, Plugin, VersionStore};
use crate::swap::{Swapper, Swaps};
use crate::transport::Threads;

/// The time that connections have to close when their calls did not finish in time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Server {
    node: Arc<Node>,
    swapper: Swapper,
    rereading: Rereader,
    /// The threads that serve connections, which end with the server.
    threads: Threads,
    /// The listeners for clients, with the ports that the system chose for port 0.
    listening: Vec<ListenConfig>,
    /// The address of the admin interface, and the task that serves it, which ends with the server.
    admin: Option<(SocketAddr, AbortOnDropHandle<()>)>,
    drain: DrainConfig,
}

impl Server {
    /// Listens, and loads the plugins of `app`; `/health` and `/ready` are answered meanwhile.
    /// Clients are served once it returns.
    ///
    /// # Errors
    ///
    /// The first problem with the configuration, an address, a plugin or a pipeline.
    pub(crate) async fn bind(app: &App) -> Result<Self, StartError> {
        Self::bind_with(app, Inherited::default()).await
    }

    /// [`Self::bind`] at sockets that systemd has opened.
    pub(crate) async fn bind_with(app: &App, inherited: Inherited) -> Result<Self, StartError> {
        if app.plugins.is_empty() {
            return Err(StartError::NoPlugins);
        }
        for missing in app.static_files.check_there().map_err(StartError::Static)? {
            warn!("{missing}");
        }
        let loader = Loader::new(app)?;
        let BoundListeners { listeners, admin, acceptor_parts } =
            BoundListeners::open(app, inherited).await?;
        let listening: Vec<_> = listeners.iter().map(|(one, _)| one.bound_config()).collect();
        let ports = listening.iter().filter_map(|one| one.address.port());
        let ports = ports.chain(admin.as_ref().map(|(_, address, _)| address.port()));
        loader.own_ports.set(ports.collect());
        let proxies = Arc::clone(&acceptor_parts.proxies);
        let auth = Auth::new(app.auth.as_ref(), &loader.metrics).map_err(StartError::Auth)?;
        let node = Node::new(app, loader.refs.server(), &loader.metrics, proxies, auth)?;
        loader.presences.set(Arc::clone(&node.presence) as _);
        let rereading = Rereader::new(app, acceptor_parts.tls, loader.metrics.clone());
        let swapper = Swapper::new(Arc::clone(&node));
        let threads = Threads::start(listeners, &node).map_err(StartError::Thread)?;
        let admin = admin.map(|(listener, address, acceptor)| {
            let accepting = tokio::spawn(admin::accept(listener, acceptor, swapper.clone()));
            (address, AbortOnDropHandle::new(accepting))
        });
        let ready = listening.first().map(|one| ready_at(&one.address)).unwrap_or_default();
        let (found, s) = (app.plugins.len(), if app.plugins.len() == 1 { "" } else { "s" });
        info!("loading {found} plugin{s}; {ready} tells when clients are served");
        let mut plugins = Vec::new();
        let mut swaps = Swaps::new(app.swap.clone(), loader, version_store(app));
        for plugin in &app.plugins {
            plugins.push(Plugin::new(plugin.name.clone(), swaps.load(plugin).await?));
        }
        node.registry.fill(plugins)?;
        node.start_pipelines(&app.pipelines)?;
        node.handle_presences(app.presence.max_waiting);
        swapper.start(swaps);
        node.stage.send_replace(Stage::Ready);
        Ok(Self { node, swapper, rereading, threads, listening, admin, drain: app.drain })
    }

    /// The listeners for clients, with the ports that the system chose for port 0.
    #[must_use]
    pub(crate) fn listening(&self) -> &[ListenConfig] {
        &self.listening
    }

    /// The task that reads the certificate and secrets again.
    pub(crate) fn rereading(&self) -> Rereader {
        self.rereading.clone()
    }

    /// The address of the admin interface, if there is one.
    #[must_use]
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// The topic patterns that are served, each with the name of its plugin.
    #[must_use]
    pub(crate) fn routes(&self) -> Vec<(String, String)> {
        let routes = self.node.registry.routes();
        routes.iter().map(|r| (r.pattern.to_string(), r.plugin.name().to_owned())).collect()
    }

    /// A handle to exchange versions of plugins while the server runs.
    #[must_use]
    pub(crate) fn swapper(&self) -> Swapper {
        self.swapper.clone()
    }

    /// Serves until `stop` is ready. Then nobody else is served; the connections finish their calls
    /// and are closed with 1012, in batches, and the server waits for their channels, tasks and
    /// events to end, for `drain.timeout_ms` at most.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let Self { node, threads, admin, drain, rereading, .. } = self;
        let sampling = tokio::spawn(monitor::run(Arc::clone(&node)));
        let rereading = tokio::spawn(rereading.run());
        let watching = tokio::spawn(monitor::watch_memory(Arc::clone(&node)));
        let presence = Arc::clone(&node.presence);
        let windows = tokio::spawn(async move { presence.run().await });
        stop.await;
        node.stage.send_replace(Stage::Draining);
        info!(connections = node.connections.len(), "stopping");
        node.tasks.close();
        let ended = async {
            node.connections.drain(Duration::from_millis(drain.over_ms)).await;
            node.admission.empty().await;
            // The last calls may have started tasks.
            node.tasks.wait().await;
            node.pipelines.drain().await;
        };
        if tokio::time::timeout(Duration::from_millis(drain.timeout_ms), ended).await.is_err() {
            let (connections, tasks) = (node.connections.len(), node.tasks.len());
            let events = node.pipelines.in_hand();
            warn!(
                connections,
                tasks,
                events,
                "some connections, tasks or events did not end in time (drain.timeout_ms)"
            );
            node.pipelines.abandon();
            node.connections.close_all();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, node.admission.empty()).await;
        }
        for task in [sampling, watching, rereading, windows] {
            task.abort();
        }
        drop(admin);
        let metrics = node.metrics.clone();
        node.pipelines.count(&metrics);
        // An error means that the thread has panicked: there is nothing left to do then.
        let _ = tokio::task::spawn_blocking(move || {
            threads.end();
            metrics.flush();
        })
        .await;
    }
}

/// The store of versions on disk.
fn version_store(app: &App) -> VersionStore {
    let folder = app.swap.dir.clone().unwrap_or_else(|| app.folder.join(BUILT_FOLDER));
    // Only a folder that is configured is made and checked here: the app's own is made by the first
    // exchange, and the app may be where nobody can write.
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
    VersionStore::new(&folder, app.swap.keep)
}

/// The address at which a monitor asks whether clients are served.
fn ready_at(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(_) => format!("{address}/ready"),
        ListenAddress::Unix(_) => format!("/ready at {address}"),
    }
}
