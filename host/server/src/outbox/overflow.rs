//! The policies for messages to a client that reads too slowly.

use serde::Deserialize;

use millrace_wire::TopicPattern;

/// What is dropped when an outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The connection: it is closed with 1013. A client that has missed a message has to know it,
    /// and notices a new connection.
    #[default]
    Close,
    /// The oldest pushes and broadcasts of topics with this policy, until there is room again. If
    /// there are none, the connection is closed.
    DropOldest,
    /// Pushes and broadcasts that are outdated: only the latest of each topic and event waits. If
    /// these are still too much, the connection is closed.
    Conflate,
}

/// The policies by topic. The first pattern that matches counts.
#[derive(Clone, Debug, Default)]
pub struct OverflowPolicies(Vec<(TopicPattern, Overflow)>);

impl OverflowPolicies {
    /// Makes the list, in the order in which patterns are tried.
    #[must_use]
    pub fn new(policies: Vec<(TopicPattern, Overflow)>) -> Self {
        Self(policies)
    }

    /// The policy of a topic; [`Overflow::Close`] if no pattern matches.
    #[must_use]
    pub fn of(&self, topic: &str) -> Overflow {
        let found = self.0.iter().find(|(pattern, _)| pattern.matches(topic));
        found.map_or(Overflow::Close, |(_, overflow)| *overflow)
    }
}
