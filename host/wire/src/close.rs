//! Reasons why the server closes a connection, and the WebSocket close code of each.

/// The reason why the server closes a connection, with its close code. None is 1000, because
/// phoenix.js does not reconnect after a 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The user was disconnected on purpose: 1001.
    Disconnected,
    /// The client broke the WebSocket protocol itself: 1002.
    ProtocolError,
    /// Nothing was received for `socket.idle_timeout_ms`: 1002.
    Idle,
    /// A message was not received completely within `socket.message_timeout_ms`: 1002.
    Unfinished,
    /// A text frame was not UTF-8: 1007.
    InvalidUtf8,
    /// A frame was no message of the Phoenix protocol: 1007.
    Malformed,
    /// A message was larger than `socket.max_frame_bytes`: 1009.
    TooBig,
    /// The server is stopping or restarting, and the client may connect again: 1012.
    Restarting,
    /// The client reads too slowly: 1013.
    Overloaded,
    /// The server has no memory for a large message (`memory.max_bytes`): 1013.
    OutOfMemory,
    /// The client's token has ended, and it may connect again with a new one: 4001, of the codes
    /// that are left to applications (4000 to 4999).
    TokenExpired,
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455, section 7.4).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Disconnected => 1001,
            Self::ProtocolError | Self::Idle | Self::Unfinished => 1002,
            Self::InvalidUtf8 | Self::Malformed => 1007,
            Self::TooBig => 1009,
            Self::Restarting => 1012,
            Self::Overloaded | Self::OutOfMemory => 1013,
            Self::TokenExpired => 4001,
        }
    }

    /// The reason as one word, which metrics have as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::ProtocolError => "protocol_error",
            Self::Idle => "idle",
            Self::Unfinished => "unfinished",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Malformed => "malformed",
            Self::TooBig => "too_big",
            Self::Restarting => "restarting",
            Self::Overloaded => "overloaded",
            Self::OutOfMemory => "memory",
            Self::TokenExpired => "token_expired",
        }
    }

    /// The text that is sent with the code when there is nothing more exact to say.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::ProtocolError => "websocket protocol error",
            Self::Idle => "idle timeout",
            Self::Unfinished => "a message did not come whole in time",
            Self::InvalidUtf8 => "text frame is not UTF-8",
            Self::Malformed => "malformed frame",
            Self::TooBig => "message too big",
            Self::Restarting => "server is restarting",
            Self::Overloaded => "client reads too slowly",
            Self::OutOfMemory => "the server is out of memory for large messages, come again",
            Self::TokenExpired => "token expired",
        }
    }
}
