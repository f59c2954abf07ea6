//! Which version of each plugin is live, and who serves which topic.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Handler, Serves};
use crate::session::{Route, Routes};
use crate::telemetry::Metrics;
use crate::wasm::{Component, Pool};
use crate::wire::TopicPattern;

/// A plugin under its name. Its version may change; calls in flight finish on
/// the version they began with.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    live: ArcSwap<Pool>,
    /// Room for tasks of all versions (`limits.max_tasks`).
    tasks: Arc<Semaphore>,
}

/// All plugins of a server.
#[derive(Debug)]
pub struct Registry {
    /// None until all are loaded.
    plugins: OnceLock<Vec<Arc<Plugin>>>,
    routes: ArcSwap<Routes<Arc<Handler>>>,
    metrics: Metrics,
    /// Held while a version is exchanged, so that the routes fit the versions.
    swapping: Mutex<()>,
}

/// Plugins that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two want to decide who may connect.
    #[error(
        "the plugins {0:?} and {1:?} both export `socket`; only one may decide who may connect"
    )]
    TwoSockets(String, String),
    /// There is no such plugin.
    #[error("there is no plugin {0:?}")]
    Unknown(String),
}

impl Plugin {
    /// A plugin with its first version.
    #[must_use]
    pub fn new(name: String, component: Component) -> Self {
        let max_tasks = component.limits().max_tasks.min(Semaphore::MAX_PERMITS);
        let live = ArcSwap::from_pointee(Pool::new(component));
        Self { name, live, tasks: Arc::new(Semaphore::new(max_tasks)) }
    }

    /// The name in `millrace.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Room for one more task, if there is any.
    #[must_use]
    pub fn task_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.tasks).try_acquire_owned().ok()
    }

    /// The live version.
    #[must_use]
    pub fn live(&self) -> Guard<Arc<Pool>> {
        self.live.load()
    }
}

impl Registry {
    /// A registry without plugins.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let routes = ArcSwap::from_pointee(Routes::new(Vec::new()));
        Self { plugins: OnceLock::new(), routes, metrics, swapping: Mutex::default() }
    }

    /// The plugins, once they are loaded, in the order of their routes.
    pub fn fill(&self, plugins: Vec<Plugin>) -> Result<(), RegistryError> {
        let plugins: Vec<_> = plugins.into_iter().map(Arc::new).collect();
        let sockets: Vec<_> =
            plugins.iter().filter(|p| p.live().component().has_socket()).collect();
        if let [first, second, ..] = sockets.as_slice() {
            return Err(RegistryError::TwoSockets(first.name.clone(), second.name.clone()));
        }
        let plugins = self.plugins.get_or_init(|| plugins);
        let routes = routes(plugins, &self.routes.load(), &self.metrics);
        self.routes.store(Arc::new(routes));
        Ok(())
    }

    /// All of them, in the order of their names.
    pub(crate) fn plugins(&self) -> &[Arc<Plugin>] {
        self.plugins.get().map_or(&[], Vec::as_slice)
    }

    /// The plugin of this name.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins().iter().find(|plugin| plugin.name == name).cloned()
    }

    /// Who serves which topic.
    #[must_use]
    pub fn routes(&self) -> Guard<Arc<Routes<Arc<Handler>>>> {
        self.routes.load()
    }

    /// The plugin that decides who may connect, if one does.
    #[must_use]
    pub fn socket(&self) -> Option<Arc<Plugin>> {
        self.plugins().iter().find(|plugin| plugin.live().component().has_socket()).cloned()
    }

    /// Makes another version of a plugin the live one.
    pub fn swap(&self, name: &str, component: Component) -> Result<(), RegistryError> {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let plugin = self
            .plugins()
            .iter()
            .find(|plugin| plugin.name == name)
            .ok_or_else(|| RegistryError::Unknown(name.to_owned()))?;
        let other = self.socket().filter(|other| other.name != name);
        if let (true, Some(other)) = (component.has_socket(), other) {
            return Err(RegistryError::TwoSockets(other.name.clone(), name.to_owned()));
        }
        let old = plugin.live.load_full();
        plugin.live.store(Arc::new(Pool::successor(component, &old)));
        old.retire();
        let routes = routes(self.plugins(), &self.routes.load(), &self.metrics);
        self.routes.store(Arc::new(routes));
        Ok(())
    }
}

/// Handlers that were there `before` stay, with what they have measured.
fn routes(
    plugins: &[Arc<Plugin>],
    before: &Routes<Arc<Handler>>,
    metrics: &Metrics,
) -> Routes<Arc<Handler>> {
    let handler = |plugin: &Arc<Plugin>, pattern: &TopicPattern| {
        let old = before.iter().map(|route| &route.plugin).find(|old| old.is(plugin, pattern));
        let serves = || Serves::Plugin(Arc::clone(plugin));
        let new = || Arc::new(Handler::new(pattern.clone(), serves(), metrics));
        old.map_or_else(new, Arc::clone)
    };
    let of = |plugin: &Arc<Plugin>| {
        let live = plugin.live();
        let component = live.component();
        let max_concurrency = component.limits().max_concurrency;
        let route = |pattern: &TopicPattern| {
            let (plugin, pattern) = (handler(plugin, pattern), pattern.clone());
            Route { pattern, plugin, max_concurrency }
        };
        component.topics().iter().map(route).collect::<Vec<_>>()
    };
    Routes::new(plugins.iter().flat_map(of).collect())
}
