//! What a plugin may answer, checked and in the host's own types.

use bytes::Bytes;
use millrace_wire::Payload;

use super::{ChannelEffect, Effect};

/// A plugin's state for one channel. Cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigns {
    /// The author's number for the shape of the data.
    pub schema: u32,
    /// Opaque to the host.
    pub data: Bytes,
}

/// What a call asks the host to do, and the new assigns if they changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Applied in order, all or none.
    pub effects: Vec<Effect>,
    /// `None` leaves them as they were.
    pub assigns: Option<Assigns>,
}

/// An accepted join.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// The response of the join reply; `None` is an empty object.
    pub response: Option<Payload>,
    /// Applied after the join reply.
    pub outcome: Outcome,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It trapped, or returned what is not allowed.
    Crashed,
    /// It took longer than it may.
    TimedOut,
    /// It waited in vain for others to leave it an instance or memory.
    Overloaded {
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// It was not made: the plugin, or this connection's use of it, is held
    /// back after faults.
    Unavailable {
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// How a call ended that did not trap.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// `join` accepted, or refused with a response.
    Join(Box<Result<Joined, Payload>>),
    /// Any other callback.
    Handled(Outcome),
}

impl Completion {
    /// What it asks to be sent, in bytes.
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

    /// Whether the client that waits is answered with an error.
    #[must_use]
    #[inline]
    pub fn is_error(&self) -> bool {
        self.error().is_some()
    }

    /// What the client that waits is answered with, if that is an error.
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
