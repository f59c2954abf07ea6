//! The plugins by name: which version of each is live, and which handler serves which topic.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use millrace_session::{Route, Routes};
use millrace_telemetry::Metrics;
use millrace_wire::TopicPattern;

use super::versions::{PluginVersion, Replaced};
use super::{Handler, HandlerKind, Plugin};

/// All plugins of a server.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The plugins; unset until all are loaded.
    plugins: OnceLock<Vec<Arc<Plugin>>>,
    routes: ArcSwap<Routes<Arc<Handler>>>,
    metrics: Metrics,
    /// Held while a version is exchanged, so that the routes fit the versions.
    swapping: Mutex<()>,
}

/// The error for plugins that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two plugins decide who may connect.
    #[error(
        "the plugins {0:?} and {1:?} both export `socket`; only one may decide who may connect: \
         leave one of them out, or build it without `Connect`"
    )]
    TwoSockets(String, String),
    /// Two plugins serve the same pattern, so neither is more specific.
    #[error(
        "the plugins {first:?} and {second:?} both serve {topics:?}; each pattern may be of one \
         plugin: give one of them another, or leave it out (of overlapping ones, the more \
         specific serves a topic)"
    )]
    SameTopics {
        /// The name of one plugin.
        first: String,
        /// The name of the other plugin.
        second: String,
        /// The pattern that both serve.
        topics: String,
    },
    /// There is no plugin of this name.
    #[error("there is no plugin {0:?}")]
    Unknown(String),
}

impl Registry {
    /// A registry without plugins.
    #[must_use]
    pub(crate) fn new(metrics: Metrics) -> Self {
        let routes = ArcSwap::from_pointee(Routes::new(Vec::new()));
        Self { plugins: OnceLock::new(), routes, metrics, swapping: Mutex::default() }
    }

    /// Sets the plugins, once they are loaded, in the order of their routes.
    ///
    /// # Errors
    ///
    /// Two of them export `socket`, or serve the same pattern.
    pub(crate) fn fill(&self, plugins: Vec<Plugin>) -> Result<(), RegistryError> {
        let plugins: Vec<_> = plugins.into_iter().map(Arc::new).collect();
        let sockets: Vec<_> =
            plugins.iter().filter(|p| p.live().component().has_socket()).collect();
        if let [first, second, ..] = sockets.as_slice() {
            return Err(RegistryError::TwoSockets(
                first.name().to_owned(),
                second.name().to_owned(),
            ));
        }
        for (at, plugin) in plugins.iter().enumerate() {
            let others = plugins.get(..at).unwrap_or_default();
            check_topics(others, plugin.name(), plugin.live().component().topics())?;
        }
        let plugins = self.plugins.get_or_init(|| plugins);
        let routes = routes(plugins, &self.routes.load(), &self.metrics);
        self.routes.store(Arc::new(routes));
        Ok(())
    }

    /// All plugins, in the order of their names; none until they are loaded.
    pub(crate) fn plugins(&self) -> &[Arc<Plugin>] {
        self.plugins.get().map_or(&[], Vec::as_slice)
    }

    /// The plugin of this name.
    #[must_use]
    pub(crate) fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins().iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// The routes: which handler serves which topic.
    #[must_use]
    pub(crate) fn routes(&self) -> Guard<Arc<Routes<Arc<Handler>>>> {
        self.routes.load()
    }

    /// The plugin that decides who may connect, if one does.
    #[must_use]
    pub(crate) fn socket(&self) -> Option<Arc<Plugin>> {
        self.plugins().iter().find(|plugin| plugin.live().component().has_socket()).cloned()
    }

    /// Makes another version of a plugin the live one; the one that was live stands by.
    ///
    /// # Errors
    ///
    /// It does not go with what the other plugins are by now.
    pub(crate) fn replace(
        &self,
        plugin: &Plugin,
        version: &Arc<PluginVersion>,
    ) -> Result<Replaced, RegistryError> {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        self.check(plugin, version)?;
        let replaced = plugin.replace(version);
        let routes = routes(self.plugins(), &self.routes.load(), &self.metrics);
        self.routes.store(Arc::new(routes));
        Ok(replaced)
    }

    /// Checks whether a version of a plugin goes with the other plugins.
    pub(crate) fn check(
        &self,
        plugin: &Plugin,
        version: &PluginVersion,
    ) -> Result<(), RegistryError> {
        check_topics(self.plugins(), plugin.name(), version.component().topics())?;
        let other = self.socket().filter(|other| other.name() != plugin.name());
        match other {
            Some(other) if version.component().has_socket() => {
                let (other, own) = (other.name().to_owned(), plugin.name().to_owned());
                Err(RegistryError::TwoSockets(other, own))
            }
            _ => Ok(()),
        }
    }
}

/// An error if another plugin than the one of this name serves one of the patterns.
fn check_topics(
    plugins: &[Arc<Plugin>],
    name: &str,
    topics: &[TopicPattern],
) -> Result<(), RegistryError> {
    for other in plugins.iter().filter(|other| other.name() != name) {
        let live = other.live();
        let same = live.component().topics().iter().find(|served| topics.contains(served));
        if let Some(same) = same {
            let (first, second) = (other.name().to_owned(), name.to_owned());
            return Err(RegistryError::SameTopics { first, second, topics: same.to_string() });
        }
    }
    Ok(())
}

/// The routes of all plugins. Handlers that were there `before` stay, with what they have measured.
fn routes(
    plugins: &[Arc<Plugin>],
    before: &Routes<Arc<Handler>>,
    metrics: &Metrics,
) -> Routes<Arc<Handler>> {
    let handler = |plugin: &Arc<Plugin>, pattern: &TopicPattern| {
        let old = before.iter().map(|route| &route.plugin).find(|old| old.is(plugin, pattern));
        let kind = || HandlerKind::Plugin(Arc::clone(plugin));
        let new = || Arc::new(Handler::new(pattern.clone(), kind(), metrics));
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
