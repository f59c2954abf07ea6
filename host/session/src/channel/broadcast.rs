//! One message to all subscribers of a topic.

use std::sync::Arc;

use smol_str::SmolStr;

use millrace_wire::Payload;

/// One message to all subscribers of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Where it goes.
    pub topic: Arc<str>,
    /// Its event.
    pub event: SmolStr,
    /// What it carries.
    pub payload: Payload,
}
