//! Why an operation is refused.

/// The reason for which an operation is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// `track` of a key that this owner tracks on this topic.
    #[error("the key is already tracked on this topic by this channel; update it instead")]
    AlreadyTracked,
    /// `update` of a key that this owner does not track on this topic.
    #[error("the key is not tracked on this topic by this channel; track it first")]
    NotTracked,
    /// The empty key.
    #[error("a key may not be empty")]
    KeyEmpty,
    /// A key above [`Limits::max_key_bytes`](crate::Limits::max_key_bytes).
    #[error("a key may have at most {allowed} bytes, found {found}")]
    KeyTooLong {
        /// The key's size in bytes.
        found: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// A meta above [`Limits::max_meta_bytes`](crate::Limits::max_meta_bytes).
    #[error("a meta may have at most {allowed} bytes, found {found}")]
    MetaTooLarge {
        /// The meta's size in bytes.
        found: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// A meta that is no JSON text, or one of another type.
    #[error("a meta is a JSON object: {problem}")]
    MetaNotObject {
        /// The difference between what was found and what would be right.
        problem: String,
    },
    /// One more meta for a key that has
    /// [`Limits::max_metas_per_key`](crate::Limits::max_metas_per_key) of them.
    #[error("a key may have at most {allowed} metas on a topic")]
    TooManyMetas {
        /// The limit, in metas.
        allowed: usize,
    },
    /// One more key of an owner that has
    /// [`Limits::max_keys_per_owner`](crate::Limits::max_keys_per_owner) of them.
    #[error("a channel may track at most {allowed} keys; untrack one first")]
    TooManyKeys {
        /// The limit, in keys of all topics together.
        allowed: usize,
    },
}
