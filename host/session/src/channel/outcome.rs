//! Results of plugin calls, checked and in the host's own types.

use bytes::Bytes;
use millrace_wire::Payload;

use super::{ChannelEffect, Effect};

/// A plugin's state for one channel. Cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigns {
    /// The number that the plugin's author gave to the format of the data.
    pub schema: u32,
    /// The state itself, which the host does not look into.
    pub data: Bytes,
}

/// The effects of a call that did not trap, and the new assigns if they changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The effects, which are applied in order.
    pub effects: Vec<Effect>,
    /// The new assigns; `None` leaves them as they were.
    pub assigns: Option<Assigns>,
}

/// An accepted join.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// The response of the join reply; `None` is an empty object.
    pub response: Option<Payload>,
    /// The effects, which are applied after the join reply, and the assigns.
    pub outcome: Outcome,
}

/// The reason why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The call trapped, or returned what is not allowed.
    Crashed,
    /// The call took longer than its limit.
    TimedOut,
    /// The call waited for an instance or for memory until its limit, and got none.
    Overloaded {
        /// The time after which the client may try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The call was not made: after faults, the plugin or this connection's use of it is
    /// held back.
    Unavailable {
        /// The time after which the client may try again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// The result of a call that did not trap.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// The result of `join`: accepted, or refused with this response.
    Join(Box<Result<Joined, Payload>>),
    /// The result of any other callback.
    Handled(Outcome),
}

impl Completion {
    /// The size of the payloads of all effects, in bytes.
    #[must_use]
    #[inline]
    pub fn effect_bytes(&self) -> usize {
        let effects = match self {
            Self::Handled(outcome) => &outcome.effects,
            Self::Join(joined) => match &**joined {
                Ok(joined) => &joined.outcome.effects,
                Err(_) => return 0,
            },
        };
        effects.iter().map(Effect::bytes).sum()
    }

    /// Whether the client's message is answered with an error.
    #[must_use]
    #[inline]
    pub fn is_error(&self) -> bool {
        self.error().is_some()
    }

    /// The response of the reply to the client's message, if its status is `error`.
    #[must_use]
    #[inline]
    pub fn error(&self) -> Option<&Payload> {
        match self {
            Self::Join(joined) => joined.as_ref().as_ref().err(),
            Self::Handled(outcome) => outcome.effects.iter().find_map(|effect| match effect {
                Effect::Channel(ChannelEffect::Reply { status, payload }) if status == "error" => {
                    Some(payload)
                }
                _ => None,
            }),
        }
    }
}
