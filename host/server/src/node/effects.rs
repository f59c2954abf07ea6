//! The one place where the server's effects happen, whoever asks for them: channels,
//! tasks, workers.

use std::sync::Arc;

use millrace_pipeline::{NewEvent, Pipeline};
use millrace_session::Realm;
use millrace_session::channel::{Deferred, ServerEffect, SocketRef};
use millrace_telemetry::{Metric, Origin, unix_ms};
use millrace_wire::Payload;
use tracing::{error, info, warn};

use super::Node;
use crate::outbox::Request;

impl Node {
    /// Applies an effect that something of a realm asks for. What it broadcasts is for
    /// the event of a pipeline with this `origin`, if it is for one.
    pub(crate) fn apply(&self, realm: Realm, effect: ServerEffect, origin: Option<Arc<Origin>>) {
        match effect {
            ServerEffect::Broadcast { broadcast, except } => {
                self.pubsub_of(realm).broadcast(&broadcast, except, origin);
            }
            ServerEffect::ReplyTo { socket_ref, status, payload } => {
                self.reply_to(*socket_ref, status, payload);
            }
            ServerEffect::PushTo { socket_ref, event, payload } => {
                self.push_to(*socket_ref, event, payload);
            }
            ServerEffect::Enqueue { pipeline, event } => self.enqueue(&pipeline, event),
            ServerEffect::Disconnect(user_id) => {
                self.disconnect(&user_id);
            }
        }
    }

    /// Answers an earlier message; a counted no-op when its client has gone.
    pub(crate) fn reply_to(&self, socket_ref: SocketRef, status: String, payload: Payload) {
        let SocketRef { server, connection, channel, topic, reference } = socket_ref;
        let reply = Deferred::Reply { topic, channel, reference, status, payload };
        self.defer(server, connection, reply);
    }

    /// Pushes to the client of an earlier message; a counted no-op when it has gone.
    fn push_to(&self, socket_ref: SocketRef, event: String, payload: Payload) {
        let SocketRef { server, connection, channel, topic, .. } = socket_ref;
        let push = Deferred::Push { topic, channel, event, payload };
        self.defer(server, connection, push);
    }

    fn defer(&self, server: u64, connection: u64, deferred: Deferred) {
        let outbox = (server == self.id).then(|| self.connections.outbox(connection)).flatten();
        let request = Request::Deferred(deferred);
        if outbox.is_none_or(|outbox| outbox.ask(request).is_err()) {
            self.metrics.count(Metric::LateGone, 1);
        }
    }

    /// Hands an event of a plugin to a pipeline. Who waits for it is told if it is
    /// not taken.
    fn enqueue(&self, pipeline: &str, mut event: NewEvent) {
        event.enqueued_unix_ms = unix_ms();
        let Some(found) = self.pipelines.get(pipeline) else {
            error!(pipeline, "a plugin enqueued an event, and there is no such pipeline");
            return self.refuse(event, Payload::reason("no such pipeline"));
        };
        if let Err(event) = found.post(event) {
            self.refuse_for(found, event);
        }
    }

    /// An event of a plugin found no room in a pipeline.
    pub(super) fn refuse_for(&self, pipeline: &Pipeline, event: NewEvent) {
        let bytes = event.payload.len();
        let payload = match bytes > pipeline.max_event_bytes() {
            true => {
                let problem = format!("the event has {}", pipeline.too_large(bytes));
                let pipeline = pipeline.name();
                warn!(pipeline, "a plugin's event was refused: {problem}");
                Payload::reason(&problem)
            }
            false => Payload::retry("overloaded", self.socket.retry_after_ms),
        };
        self.refuse(event, payload);
    }

    fn refuse(&self, event: NewEvent, reason: Payload) {
        if let Some(to) = event.reply_to {
            self.reply_to(*to, "error".to_owned(), reason);
        }
    }

    /// Closes every connection of a user with 1001; how many there are.
    pub(crate) fn disconnect(&self, user_id: &str) -> usize {
        let connections = self.connections.disconnect(user_id);
        info!(user_id, connections, "disconnected");
        self.metrics
            .count(Metric::SocketDisconnected, i64::try_from(connections).unwrap_or(i64::MAX));
        connections
    }
}
