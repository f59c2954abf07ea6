//! A call that has not returned yet: its channel, and the effects that it flushes.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;

use super::{Context, Effect, ReplyTo};

/// The channel of a call, and the refs of the message that it handles.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The channel.
    pub context: Arc<Context>,
    /// The refs of the message that is being handled; `None` for other calls.
    pub reply_to: Option<ReplyTo>,
    /// The number of the client's message that led to the call; 0 when none did.
    pub number: u32,
}

/// The id of a message in log lines: the number of its connection and its own, such as
/// `12-345`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// The connection's number.
    pub connection: u64,
    /// The message's number; 0 for a call that no message led to.
    pub number: u32,
}

impl Caller {
    /// The id of the message, for log lines about the call.
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

/// The standing of a connection, by which a plugin's instances are shared fairly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A number for the source of the connection, a user or else an address. The faults of
    /// all connections of one source count together.
    pub source: u64,
    /// Whether a call of this connection has ever faulted.
    pub has_faulted: bool,
}

/// The way of a call that has not returned yet to its connection.
pub trait Progress: Debug + Send + Sync {
    /// Has effects of the call applied now. The future is ready once they are applied, or
    /// once they cannot be, as the connection has gone.
    fn flush(
        self: Arc<Self>,
        caller: Caller,
        effects: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The server's number, which is part of socket refs.
    fn server(&self) -> u64;

    /// The claims of the connection's token, as JSON text; `None` if it has none.
    fn claims(&self) -> Option<ByteString> {
        None
    }

    /// The standing of the connection.
    fn standing(&self) -> Standing {
        Standing::default()
    }
}
