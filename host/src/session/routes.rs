//! Which plugin serves which topic.

use std::time::Duration;

use crate::wire::TopicPattern;

/// Knows who serves which topic. It is asked at joins only, so that it may look then
/// and not at every message.
pub trait Routing<P> {
    /// Who serves `topic`, and with how many calls of one channel at the same time.
    fn who_serves(&self, topic: &str) -> Option<(P, usize)>;

    /// Whether a topic may be joined now; if not, when to try again. Asked last, when
    /// nothing else is in the way.
    fn admit_join(&self) -> Result<(), Duration> {
        Ok(())
    }
}

/// The first route whose pattern matches serves a topic.
#[derive(Clone, Debug)]
pub struct Routes<P>(Vec<Route<P>>);

/// One topic pattern and who serves it.
#[derive(Clone, Debug)]
pub struct Route<P> {
    /// Which topics.
    pub pattern: TopicPattern,
    /// Who serves them.
    pub plugin: P,
    /// Calls of one channel at the same time (`limits.max_concurrency`).
    pub max_concurrency: usize,
}

impl<P> Routes<P> {
    /// Routes in the order in which they are tried.
    #[must_use]
    pub fn new(routes: Vec<Route<P>>) -> Self {
        Self(routes)
    }

    /// Who serves `topic`.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<&Route<P>> {
        self.0.iter().find(|route| route.pattern.matches(topic))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route<P>> {
        self.0.iter()
    }
}

impl<P: Clone> Routing<P> for Routes<P> {
    fn who_serves(&self, topic: &str) -> Option<(P, usize)> {
        let route = self.find(topic)?;
        Some((route.plugin.clone(), route.max_concurrency))
    }
}
