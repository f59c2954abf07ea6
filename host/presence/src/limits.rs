//! The bounds of everything that grows, and the settings of a topic.

/// The bounds of a shard's presences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size of a key at most, in bytes. The default is 255, as for topics and events: a key
    /// is a name or an id, and each client has all of them.
    pub max_key_bytes: usize,
    /// The size of a meta at most, in bytes of the text that was given. The default is 4 KiB:
    /// each newcomer is sent the metas of everybody, so what is large belongs elsewhere.
    pub max_meta_bytes: usize,
    /// The number of metas that a key may have on a topic, those of other nodes included, when
    /// another is tracked here. What [`Presences::state_for`](crate::Presences::state_for) has shown
    /// counts until the next diff, even if it has left. The default is 128: far more than one person
    /// has tabs, and a diff looks at all metas of each key that changed.
    pub max_metas_per_key: usize,
    /// The number of keys that an owner may track, those of all topics of the shard together. The
    /// default is 16: a channel tracks one as a rule, and a few if it speaks for several users.
    pub max_keys_per_owner: usize,
    /// The number of operations that are kept between two calls of
    /// [`Presences::take_local_ops`](crate::Presences::take_local_ops). The default is 65,536: above
    /// it a snapshot costs less than its changes do.
    pub max_local_ops: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_key_bytes: 255,
            max_meta_bytes: 4 * 1024,
            max_metas_per_key: 128,
            max_keys_per_owner: 16,
            max_local_ops: 65_536,
        }
    }
}

/// The least window while a topic's clients get counts, in milliseconds: a number that people
/// read need not change more often than once a second, and each goes to a great many of them.
pub const MIN_COUNT_WINDOW_MS: u64 = 1_000;

/// The settings of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// The time that a change may wait for others, in milliseconds, from the first change on. The
    /// default is 0: each is told as soon as the caller asks for what is due. It is at least a
    /// millisecond for each 100 members, as a change costs something for each of them.
    pub window_ms: u64,
    /// The number of members, which are keys, up to which clients are told who they are. Above it
    /// they are told how many. The default is 16,384; 0 tells no one who is there.
    pub max_members: usize,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self { window_ms: 0, max_members: 16_384 }
    }
}

impl TopicSettings {
    /// The number of members at which clients that get counts are told again who is there: 90 % of
    /// the bound, rounded down. Were it the bound itself, one user who comes and goes at the bound
    /// would have the whole state sent to everybody each time.
    pub(crate) fn resume_at(&self) -> usize {
        self.max_members - self.max_members.div_ceil(10)
    }
}

/// The choice of a topic's settings. It is asked when a topic begins to be used; an answer that
/// has changed is for the next use.
pub type ChooseSettings = dyn Fn(&str) -> TopicSettings + Send + Sync;
