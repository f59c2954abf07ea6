//! The one place that applies the server's effects, whoever asks for them: channels, tasks or
//! workers.

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
    /// Applies an effect for the clients of a realm. `origin` is the event of a pipeline that a
    /// broadcast is made for, if there is one.
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

    /// Answers an earlier message. If its client has gone, that is counted and nothing is sent.
    pub(crate) fn reply_to(&self, socket_ref: SocketRef, status: String, payload: Payload) {
        let SocketRef { server, connection, channel, topic, reference } = socket_ref;
        let reply = Deferred::Reply { topic, channel, reference, status, payload };
        self.defer(server, connection, reply);
    }

    /// Pushes to the client of an earlier message. If it has gone, that is counted and nothing is
    /// sent.
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

    /// Hands an event of a plugin to a pipeline. If the pipeline does not take it, the client that
    /// waits for the event gets an error.
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

    /// Answers for an event of a plugin that a pipeline did not take.
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

    /// Closes all connections of a user with 1001, and returns their number.
    pub(crate) fn disconnect(&self, user_id: &str) -> usize {
        let connections = self.connections.disconnect(user_id);
        info!(user_id, connections, "disconnected");
        self.metrics
            .count(Metric::SocketDisconnected, i64::try_from(connections).unwrap_or(i64::MAX));
        connections
    }
}
