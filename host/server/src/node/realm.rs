//! The realm of a connection, app or dashboard, which decides what it can join and what it hears.

use std::sync::Arc;

use millrace_session::{Realm, Route, Routes, Routing};
use millrace_telemetry::Metrics;
use millrace_wire::{TopicPattern, reserved};

use super::Node;
use crate::config::DashboardConfig;
use crate::dashboard::{Dashboard, History, TOPIC};
use crate::plugin::{Handler, HandlerKind};
use crate::pubsub::{LocalOnly, PubSub};

/// The dashboard, and the one topic that it has.
#[derive(Debug)]
pub(crate) struct DashboardRealm {
    pub(crate) dashboard: Arc<Dashboard>,
    /// PubSub of the dashboard: plugins can neither subscribe to it nor broadcast on it.
    pub(crate) pubsub: PubSub,
    routes: Routes<Arc<Handler>>,
}

impl DashboardRealm {
    /// Makes the dashboard; `None` if it is disabled.
    pub(crate) fn new(config: &DashboardConfig, history: &Arc<History>) -> Option<Self> {
        if !config.enabled {
            return None;
        }
        let pattern = TopicPattern::Exact(TOPIC.to_owned());
        let dashboard = Arc::new(Dashboard::new(config.clone(), Arc::clone(history)));
        let kind = HandlerKind::Native(Arc::clone(&dashboard) as _);
        // Connections to the dashboard are not measured: they would change what they look at.
        let metrics = Metrics::none();
        let plugin = Arc::new(Handler::new(pattern.clone(), kind, &metrics));
        let routes = Routes::new(vec![Route { pattern, plugin, max_concurrency: 1 }]);
        let pubsub = PubSub::new(Box::new(LocalOnly), metrics);
        Some(Self { dashboard, pubsub, routes })
    }
}

/// The routes of topics for the clients of a realm.
pub(crate) struct RealmRoutes<'a> {
    pub(crate) node: &'a Node,
    pub(crate) realm: Realm,
}

impl Routing<Arc<Handler>> for RealmRoutes<'_> {
    fn who_serves(&self, topic: &str) -> Option<(Arc<Handler>, usize)> {
        match (self.realm, &self.node.dashboard) {
            (Realm::Dashboard, Some(dashboard)) => dashboard.routes.who_serves(topic),
            // A plugin may serve `*`, which matches all topics but these.
            _ if reserved(topic).is_some() => None,
            _ => self.node.registry.routes().who_serves(topic),
        }
    }
}

impl Node {
    /// PubSub of the clients of a realm.
    pub(crate) fn pubsub_of(&self, realm: Realm) -> &PubSub {
        match (realm, &self.dashboard) {
            (Realm::Dashboard, Some(dashboard)) => &dashboard.pubsub,
            _ => &self.pubsub,
        }
    }
}
