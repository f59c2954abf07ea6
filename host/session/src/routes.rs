//! Routes: which plugin serves which topic.

use std::cmp::Reverse;
use std::time::Duration;

use millrace_wire::TopicPattern;

/// The routing of joins. A session asks it at joins only, never for other messages, so that
/// it may change while channels are joined: they keep their plugin.
pub trait Routing<P> {
    /// The plugin that serves `topic`, and the number of calls that one channel of it may
    /// have in flight. `None` is answered with `unmatched topic`.
    fn who_serves(&self, topic: &str) -> Option<(P, usize)>;

    /// Whether one more topic may be joined now. The session asks it last, when nothing else
    /// is in the way of the join.
    ///
    /// # Errors
    ///
    /// The time after which the client may try again, when there were too many joins. The
    /// join is answered with `overloaded`.
    fn admit_join(&self) -> Result<(), Duration> {
        Ok(())
    }
}

/// A list of routes. A topic is served by the most specific of the routes that match it.
///
/// ```
/// use millrace_session::{Route, Routes};
/// use millrace_wire::TopicPattern;
///
/// let route = |pattern, plugin| Route {
///     pattern: TopicPattern::parse(pattern).unwrap(),
///     plugin,
///     max_concurrency: 1,
/// };
/// let routes = Routes::new(vec![route("room:*", "chat"), route("room:lobby", "lobby")]);
/// assert_eq!(routes.find("room:lobby").unwrap().plugin, "lobby");
/// assert_eq!(routes.find("room:1").unwrap().plugin, "chat");
/// assert!(routes.find("jobs").is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Routes<P>(Vec<Route<P>>);

/// A topic pattern and the plugin that serves its topics.
#[derive(Clone, Debug)]
pub struct Route<P> {
    /// The pattern of the topics.
    pub pattern: TopicPattern,
    /// The plugin that serves them.
    pub plugin: P,
    /// The number of calls that one channel may have in flight (`limits.max_concurrency`).
    pub max_concurrency: usize,
}

impl<P> Routes<P> {
    /// The list of these routes, which may come in any order. Of equal patterns the first one
    /// serves.
    #[must_use]
    pub fn new(mut routes: Vec<Route<P>>) -> Self {
        routes.sort_by_key(|route| Reverse(route.pattern.specificity()));
        Self(routes)
    }

    /// The route of `topic`, if one matches.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<&Route<P>> {
        self.0.iter().find(|route| route.pattern.matches(topic))
    }

    /// All routes, the most specific first, which is the order in which they are tried.
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
