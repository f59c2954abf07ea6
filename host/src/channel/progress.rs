//! A call that goes on, seen from inside it.

use std::fmt::Debug;
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
}
