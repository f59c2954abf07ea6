//! Whose client a connection is, which decides what it can join.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::DashboardConfig;
use crate::dashboard::{Dashboard, History, TOPIC};
use crate::plugin::{Handler, Serves};
use crate::session::{Route, Routes};
use crate::telemetry::Metrics;
use crate::wire::TopicPattern;

/// Whose client a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Realm {
    /// Of the app: it joins what plugins serve.
    #[default]
    App,
    /// The page for operators: it joins that page's topic.
    Dashboard,
}

/// The page for operators, and the one topic it has.
#[derive(Debug)]
pub(crate) struct DashboardRealm {
    pub(crate) dashboard: Arc<Dashboard>,
    routes: ArcSwap<Routes<Arc<Handler>>>,
}

impl DashboardRealm {
    /// `None` when there is to be none.
    pub(crate) fn new(
        config: &DashboardConfig,
        history: &Arc<History>,
        metrics: &Metrics,
    ) -> Option<Self> {
        // The topic is a pattern.
        let pattern = TopicPattern::parse(TOPIC).ok().filter(|_| config.enabled)?;
        let dashboard = Arc::new(Dashboard::new(config.clone(), Arc::clone(history)));
        let serves = Serves::Dashboard(Arc::clone(&dashboard));
        let plugin = Arc::new(Handler::new(pattern.clone(), serves, metrics));
        let routes = Routes::new(vec![Route { pattern, plugin, max_concurrency: 1 }]);
        Some(Self { dashboard, routes: ArcSwap::from_pointee(routes) })
    }

    pub(crate) fn routes(&self) -> Guard<Arc<Routes<Arc<Handler>>>> {
        self.routes.load()
    }
}
