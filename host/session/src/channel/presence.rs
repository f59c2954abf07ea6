//! Changes of who is present on a channel's topic.

use bytestring::ByteString;
use smol_str::SmolStr;

/// A change that a channel asks for, of who is present on its own topic. It lasts until the channel
/// changes it again, or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// A key is present from now on.
    Track {
        /// The key, of 1 to 255 bytes.
        key: SmolStr,
        /// The meta that clients are told: a JSON object.
        meta: ByteString,
    },
    /// A key that the channel tracks has another meta from now on.
    Update {
        /// The key.
        key: SmolStr,
        /// The new meta: a JSON object.
        meta: ByteString,
    },
    /// A key is not present any more, as far as this channel has tracked it.
    Untrack {
        /// The key.
        key: SmolStr,
    },
}

impl PresenceChange {
    /// The size of the key and the meta in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Track { key, meta } | Self::Update { key, meta } => key.len() + meta.len(),
            Self::Untrack { key } => key.len(),
        }
    }
}
