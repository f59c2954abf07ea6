//! What the clients of a topic are told.

use std::sync::Arc;

use bytestring::ByteString;
use millrace_wire::Payload;

/// One message for all clients of a topic, or for the new among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The topic whose clients get the event.
    pub topic: Arc<str>,
    /// The event, with its payload.
    pub event: PresenceEvent,
}

/// The payload of a state with nobody in it.
static NOBODY: ByteString = ByteString::from_static("{}");

/// An event of Presence, with its payload as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceEvent {
    /// The state of a topic that has just begun to be used, which is empty: `{}`. It is for those
    /// clients of the topic that have been sent no state and no count since they joined; the others
    /// are not to be sent it.
    Begin,
    /// Everybody: `{"<key>":{"metas":[{"phx_ref":"…",…},…]},…}`.
    State(ByteString),
    /// A change: `{"joins":{…},"leaves":{…}}`, both as a state is.
    Diff(ByteString),
    /// The number of members instead: `{"n":…}`.
    Count(ByteString),
}

impl PresenceEvent {
    /// The state of a topic with nobody on it. A client that comes back to a topic of which
    /// [`Presences::state`](crate::Presences::state) knows nothing may be sent it, lest it goes on
    /// showing who was there before.
    #[must_use]
    pub const fn empty_state() -> Self {
        Self::State(ByteString::from_static("{}"))
    }

    /// The event's name, as clients see it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin | Self::State(_) => "presence_state",
            Self::Diff(_) => "presence_diff",
            Self::Count(_) => "presence_count",
        }
    }

    /// The event's payload.
    #[must_use]
    pub const fn json(&self) -> &ByteString {
        match self {
            Self::Begin => &NOBODY,
            Self::State(json) | Self::Diff(json) | Self::Count(json) => json,
        }
    }

    /// The event's payload, for a message.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        match self {
            Self::Begin => Payload::Json(NOBODY.clone()),
            Self::State(json) | Self::Diff(json) | Self::Count(json) => Payload::Json(json),
        }
    }
}
