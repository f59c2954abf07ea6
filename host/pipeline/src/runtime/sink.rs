//! Where a pipeline sends what workers ask for.

use std::fmt::Debug;
use std::sync::Arc;

use millrace_session::channel::{ServerEffect, SocketRef};
use millrace_telemetry::Origin;
use millrace_wire::Payload;

use super::Pipeline;
use crate::event::NewEvent;

/// Carries out what the workers of a pipeline ask for. The server is one; it is called without
/// the pipeline's lock.
pub trait EffectSink: Debug + Send + Sync {
    /// Applies the effects of one call of a worker, in order. `origin` is the time at which the
    /// oldest event of the call was enqueued: delays of broadcasts are measured from it. It is
    /// `None` if nothing is measured.
    fn apply(&self, effects: Vec<ServerEffect>, origin: Option<Arc<Origin>>);

    /// Sends a worker's answer to the socket that waits for an event.
    fn reply(&self, to: SocketRef, status: String, payload: Payload);

    /// Takes an event back that [`Pipeline::post`] had taken, and for which the buffer had no
    /// room later.
    fn refused(&self, pipeline: &Pipeline, event: NewEvent);
}

/// A sink that drops everything, for pipelines without a server.
#[derive(Debug)]
pub struct NullSink;

impl EffectSink for NullSink {
    fn apply(&self, _: Vec<ServerEffect>, _: Option<Arc<Origin>>) {}

    fn reply(&self, _: SocketRef, _: String, _: Payload) {}

    fn refused(&self, _: &Pipeline, _: NewEvent) {}
}
