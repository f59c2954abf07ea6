//! Which plugin serves which topic.

use std::cmp::Reverse;
use std::time::Duration;

use millrace_wire::TopicPattern;

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

/// Of the routes whose patterns match, the most specific serves a topic.
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
    /// Routes in any order; of equal patterns the first counts.
    #[must_use]
    pub fn new(mut routes: Vec<Route<P>>) -> Self {
        routes.sort_by_key(|route| Reverse(route.pattern.specificity()));
        Self(routes)
    }

    /// Who serves `topic`.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<&Route<P>> {
        self.0.iter().find(|route| route.pattern.matches(topic))
    }

    /// All of them, in the order in which they are tried.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_serves_a_topic() {
        let patterns = ["*", "room:*", "room:vip:*", "room:vip:1", "room:vip:1*", "a"];
        for patterns in [patterns.to_vec(), patterns.into_iter().rev().collect()] {
            let route = |plugin| {
                let pattern = TopicPattern::parse(plugin).unwrap();
                Route { pattern, plugin, max_concurrency: 1 }
            };
            let routes = Routes::new(patterns.into_iter().map(route).collect());
            for (topic, pattern) in [
                ("a", "a"),
                ("ab", "*"),
                ("room:", "room:*"),
                ("room:vip:2", "room:vip:*"),
                ("room:vip:1", "room:vip:1"),
                ("room:vip:11", "room:vip:1*"),
            ] {
                assert_eq!(routes.find(topic).unwrap().plugin, pattern, "{topic}");
            }
        }
    }
}
