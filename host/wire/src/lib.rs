//! Frames ⇄ messages: the Phoenix Channels wire protocol, versions 1 and 2.
//!
//! Pure: no sockets, no clocks, no tasks. What a client sends becomes a
//! [`Message`]; what the server sends is encoded by [`Serializer`] into a
//! [`Frame`]. JSON payloads are checked but never taken apart on their way
//! through.
//!
//! Source: `lib/phoenix/socket/serializers/` and `lib/phoenix/socket/message.ex`
//! of the Phoenix project.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

mod close;
mod frame;
mod json;
mod message;
mod pointer;
mod reference;
mod scan;
mod serializer;
mod topic;
mod v1_json;
mod v2_binary;
mod v2_json;

pub use close::CloseReason;
pub use frame::Frame;
pub use json::{is_json, json_problem, push_string};
pub use message::{DecodeError, EncodeError, Message, Payload};
pub use pointer::{Pointer, PointerError};
pub use reference::Ref;
pub use serializer::Serializer;
pub use topic::reserved;
pub use topic::{MAX_TOPIC_BYTES, TopicPattern, TopicPatternError};
