//! A call that goes on, seen from inside it.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;

use super::{Context, Effect, ReplyTo};

/// Whose call it is, and what answers to it have to carry.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The channel.
    pub context: Arc<Context>,
    /// The message being handled, if one is.
    pub reply_to: Option<ReplyTo>,
    /// The number of the message that the call is for, 0 without one.
    pub number: u32,
}

/// What log lines about one message have in common: the number of its
/// connection and its own, such as `12-345`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// The connection.
    pub connection: u64,
    /// The message, 0 for a call that is for none.
    pub number: u32,
}

impl Caller {
    /// What log lines about the call carry.
    #[must_use]
    #[inline]
    pub fn message(&self) -> MessageId {
        MessageId { connection: self.context.connection, number: self.number }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.number)
    }
}

/// Who a connection is to those who share a plugin out among connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whose faults count together: a user, or else an address.
    pub source: u64,
    /// Whether this connection has ever made a fault.
    pub has_faulted: bool,
}

/// Applies effects of calls that have not returned yet.
pub trait Progress: Debug + Send + Sync {
    /// Ready once the effects are applied, or can no longer be.
    fn flush(
        self: Arc<Self>,
        caller: Caller,
        effects: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The server's part of a socket ref.
    fn server(&self) -> u64;

    /// Who the connection is.
    fn standing(&self) -> Standing {
        Standing::default()
    }
}
