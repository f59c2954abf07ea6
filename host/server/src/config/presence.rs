//! `[presence]`: who is told of whom.

use millrace_presence::{Limits, TopicSettings};
use millrace_wire::TopicPattern;
use serde::Deserialize;

use super::defaults;

/// `[presence]`: the limits of presences, and what clients are told of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceConfig {
    /// The largest meta in bytes; a presence with a larger one is left out.
    pub max_meta_bytes: usize,
    /// The most metas of one key of a topic; a further one is left out.
    pub max_metas: usize,
    /// The most keys that one channel may track; a further one is left out.
    pub max_keys: usize,
    /// The time in milliseconds in which the changes of one topic are joined into one
    /// `presence_diff`. 0 sends each at once while a topic has few members.
    pub window_ms: u64,
    /// The most members of a topic of whom its clients are told one by one; of more they are told
    /// the number, by `presence_count`.
    pub max_members: usize,
    /// The most changes that wait for a plugin's `handle-presence`; further ones are left out.
    pub max_waiting: usize,
    /// The settings of some topics. The first pattern that matches counts.
    pub topics: Vec<PresenceTopics>,
}

/// `[[presence.topics]]`: topics with settings of their own. Each of their clients gets a
/// `presence_state` with its join, even if nobody is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceTopics {
    /// A topic, or a prefix of topics with a `*` at its end.
    pub topics: String,
    /// As `presence.window_ms`, which holds without it.
    pub window_ms: Option<u64>,
    /// As `presence.max_members`, which holds without it.
    pub max_members: Option<usize>,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        let (Limits { max_meta_bytes, max_metas_per_key, max_keys_per_owner, .. }, topic) =
            (Limits::default(), TopicSettings::default());
        Self {
            max_meta_bytes,
            max_metas: max_metas_per_key,
            max_keys: max_keys_per_owner,
            window_ms: topic.window_ms,
            max_members: topic.max_members,
            max_waiting: defaults::MAX_PRESENCE_WAITING,
            topics: Vec::new(),
        }
    }
}

impl PresenceConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("max_meta_bytes", self.max_meta_bytes),
            ("max_metas", self.max_metas),
            ("max_keys", self.max_keys),
            ("max_waiting", self.max_waiting),
        ] {
            if value == 0 {
                return Err(format!("{key} is 0; at least 1 is allowed"));
            }
        }
        for topics in &self.topics {
            TopicPattern::parse(&topics.topics)
                .map_err(|problem| format!("topics has {:?}: {problem}", topics.topics))?;
        }
        Ok(())
    }

    /// The limits of each presence.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_meta_bytes: self.max_meta_bytes,
            max_metas_per_key: self.max_metas,
            max_keys_per_owner: self.max_keys,
            ..Limits::default()
        }
    }

    /// The patterns that have settings of their own, in the order in which they are tried.
    pub(crate) fn patterns(&self) -> Vec<(TopicPattern, TopicSettings)> {
        // An invalid pattern was refused when the file was read.
        let patterns = self.topics.iter().filter_map(|topics| {
            let window_ms = topics.window_ms.unwrap_or(self.window_ms);
            let max_members = topics.max_members.unwrap_or(self.max_members);
            let pattern = TopicPattern::parse(&topics.topics).ok()?;
            Some((pattern, TopicSettings { window_ms, max_members }))
        });
        patterns.collect()
    }

    /// The settings of all other topics.
    pub(crate) fn others(&self) -> TopicSettings {
        TopicSettings { window_ms: self.window_ms, max_members: self.max_members }
    }
}
