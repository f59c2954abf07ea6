//! Whose client a connection is, which decides what it can join and whom it hears.

use std::sync::Arc;

use millrace_session::{Realm, Route, Routes, Routing};
use millrace_telemetry::Metrics;
use millrace_wire::{TopicPattern, reserved};

use super::Node;
use crate::config::DashboardConfig;
use crate::dashboard::{Dashboard, History, TOPIC};
use crate::plugin::{Handler, HandlerKind};
use crate::pubsub::{LocalOnly, PubSub};

/// The page for operators, and the one topic it has.
#[derive(Debug)]
pub(crate) struct DashboardRealm {
    pub(crate) dashboard: Arc<Dashboard>,
    /// Apart from that of the app: whatever plugins subscribe to or broadcast on, it is not
    /// here.
    pub(crate) pubsub: PubSub,
    routes: Routes<Arc<Handler>>,
}

impl DashboardRealm {
    /// `None` when there is to be none.
    pub(crate) fn new(config: &DashboardConfig, history: &Arc<History>) -> Option<Self> {
        if !config.enabled {
            return None;
        }
        let pattern = TopicPattern::Exact(TOPIC.to_owned());
        let dashboard = Arc::new(Dashboard::new(config.clone(), Arc::clone(history)));
        let kind = HandlerKind::Native(Arc::clone(&dashboard) as _);
        // Who looks is no part of what is looked at.
        let metrics = Metrics::none();
        let plugin = Arc::new(Handler::new(pattern.clone(), kind, &metrics));
        let routes = Routes::new(vec![Route { pattern, plugin, max_concurrency: 1 }]);
        let pubsub = PubSub::new(Box::new(LocalOnly), metrics);
        Some(Self { dashboard, pubsub, routes })
    }
}

/// Who serves which topic for the clients of a realm.
pub(crate) struct RealmRoutes<'a> {
    pub(crate) node: &'a Node,
    pub(crate) realm: Realm,
}

impl Routing<Arc<Handler>> for RealmRoutes<'_> {
    fn who_serves(&self, topic: &str) -> Option<(Arc<Handler>, usize)> {
        match (self.realm, &self.node.dashboard) {
            (Realm::Dashboard, Some(dashboard)) => dashboard.routes.who_serves(topic),
            // A plugin may serve `*`, which is all topics but these.
            _ if reserved(topic).is_some() => None,
            _ => self.node.registry.routes().who_serves(topic),
        }
    }
}

impl Node {
    /// Where the clients of a realm hear and are heard.
    pub(crate) fn pubsub_of(&self, realm: Realm) -> &PubSub {
        match (realm, &self.dashboard) {
            (Realm::Dashboard, Some(dashboard)) => &dashboard.pubsub,
            _ => &self.pubsub,
        }
    }
}
