//! A broadcast: one message for all subscribers of a topic.

use std::sync::Arc;

use smol_str::SmolStr;

use millrace_wire::Payload;

/// One message for all subscribers of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// The topic whose subscribers get the message.
    pub topic: Arc<str>,
    /// The event of the message.
    pub event: SmolStr,
    /// The payload of the message.
    pub payload: Payload,
}
