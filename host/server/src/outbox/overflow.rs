//! What happens to messages for a client that reads too slowly.

use serde::Deserialize;

use millrace_wire::TopicPattern;

/// What gives way when an outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The connection: it is closed with 1013. A client that missed a message
    /// must know, and a new connection tells it.
    #[default]
    Close,
    /// The oldest pushes and broadcasts of topics with this policy, until there
    /// is room again. Without any, the connection.
    DropOldest,
    /// Nothing at first: of the pushes and broadcasts that wait, only the latest
    /// of each topic and event is kept. If that is still too much, the
    /// connection.
    Conflate,
}

/// Which policy is for which topics. The first pattern that matches counts.
#[derive(Clone, Debug, Default)]
pub struct OverflowPolicies(Vec<(TopicPattern, Overflow)>);

impl OverflowPolicies {
    /// Policies in the order in which they are tried.
    #[must_use]
    pub fn new(policies: Vec<(TopicPattern, Overflow)>) -> Self {
        Self(policies)
    }

    /// The policy of a topic.
    #[must_use]
    pub fn of(&self, topic: &str) -> Overflow {
        let found = self.0.iter().find(|(pattern, _)| pattern.matches(topic));
        found.map_or(Overflow::Close, |(_, overflow)| *overflow)
    }
}
