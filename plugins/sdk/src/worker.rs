//! Workers: work on the events of pipelines.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bindings::millrace::plugin::grants::Need;
use crate::bindings::millrace::plugin::types::{
    Broadcast, Effect, Enqueue, LatePush, LateReply, Push,
};
use crate::bindings::worker::exports::millrace::plugin::worker::{
    Answer, Batch as RawBatch, Judged, Retry as RawRetry, Verdict as RawVerdict,
};
use crate::host::clock::whole_ms;
use crate::socket::raw_reply;
use crate::{Error, IntoPayload, Payload, Reply, Result, SocketRef, grants, host};

/// Work on the events of a pipeline. `[pipelines.NAME]` names the plugin as its `worker`, or as one
/// of its `transforms`.
///
/// ```
/// # use millrace_plugin::prelude::*;
/// struct Notify;
///
/// #[derive(Deserialize)]
/// struct Order { user: String }
///
/// impl Worker for Notify {
///     fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict> {
///         let order: Order = event.json()?;
///         effects.broadcast(&format!("user:{}", order.user), "shipped", json!({}))?;
///         Ok(Verdict::Done)
///     }
/// }
///
/// millrace_plugin::export_worker!(Notify);
/// # fn main() {}
/// ```
pub trait Worker {
    /// Works on one event. Its effects happen once the batch is done, unless it returns an error or
    /// [`Verdict::Retry`].
    ///
    /// After an error the event is tried again; if this was the last attempt, the error is the
    /// reason in the dead letters. The error of [`Event::json`] is a [`Verdict::Fail`], as no
    /// further attempt could read the event. After a panic the whole batch is tried again, and
    /// split to find the event that caused it.
    fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict>;

    /// Works on a batch and sets `verdicts`; events without a verdict are done. The default
    /// implementation calls [`handle`](Self::handle) for each event.
    fn handle_batch(batch: &Batch, effects: &mut Effects, verdicts: &mut Verdicts) {
        for (index, event) in batch.events().enumerate() {
            let before = effects.0.len();
            let result = Self::handle(&event, effects);
            if matches!(result, Err(_) | Ok(Verdict::Retry { .. })) {
                effects.0.truncate(before);
            }
            verdicts.set(index, result.unwrap_or_else(|error| failed(event.id, &error)));
        }
    }
}

/// The verdict for an error of [`Worker::handle`].
fn failed(event: u64, error: &Error) -> Verdict {
    let reason = error.to_string();
    host::log::warn(&format!("event {event}: {reason}"));
    match error.downcast_ref() {
        Some(InvalidEvent(_)) => Verdict::Fail(reason),
        None => Verdict::Retry { after: None, reason },
    }
}

/// An error: the event is not the JSON that its worker reads. Further attempts would not help.
#[derive(Debug)]
pub struct InvalidEvent(serde_json::Error);

/// The verdicts on the events of a batch.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Judged>);

/// The events that are worked on together.
#[derive(Debug)]
pub struct Batch(RawBatch);

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The number of the event, unique in its pipeline, and the same in each attempt.
    pub id: u64,
    /// The payload as bytes.
    pub payload: &'a [u8],
    /// The key of the event; empty if it has none.
    pub key: &'a str,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The time at which the event was made, in milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
}

/// The verdict on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event is done. In a transform, it goes on unchanged.
    Done,
    /// The event is done, and the client that waits for it gets this reply.
    Reply(Reply),
    /// In a transform: this payload goes on in place of the event's.
    Forward(Payload),
    /// The event has to be tried again.
    Retry {
        /// The time until then, rounded up to whole milliseconds; `None` means as the pipeline's
        /// `retry` table says.
        after: Option<Duration>,
        /// The reason in the dead letters, if this was the last attempt.
        reason: String,
    },
    /// The event is not needed, which is not a failure; the reason.
    Drop(String),
    /// The event has failed and goes to the dead letters; the reason.
    Fail(String),
}

/// The effects of a worker, which the server applies after the call.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

/// A new event for a pipeline.
#[derive(Clone, Debug)]
pub struct NewEvent(Enqueue);

impl Batch {
    pub(crate) fn new(raw: RawBatch) -> Self {
        Self(raw)
    }

    /// The name of the pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// The stage, counted from 0.
    #[must_use]
    pub fn stage(&self) -> u32 {
        self.0.stage
    }

    /// The events of the batch, in order.
    pub fn events(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        let RawBatch { payloads, keys, events, .. } = &self.0;
        let (mut payload_at, mut key_at) = (0, 0);
        let (rows, _) = events.as_chunks();
        rows.iter().map(move |&[id, payload_end, key_end, attempt, enqueued_ms]| {
            let (payload_end, key_end) = (payload_end as usize, key_end as usize);
            let payload = payloads.get(payload_at..payload_end).unwrap_or_default();
            let key = keys.get(key_at..key_end).unwrap_or_default();
            (payload_at, key_at) = (payload_end, key_end);
            Event {
                id,
                payload,
                // The server hands over UTF-8.
                key: std::str::from_utf8(key).unwrap_or_default(),
                attempt: attempt as u32,
                enqueued_ms,
            }
        })
    }
}

impl Event<'_> {
    /// Reads the JSON of the event.
    ///
    /// # Errors
    ///
    /// An [`InvalidEvent`] if the payload cannot be read as a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.payload).map_err(|error| Error::new(InvalidEvent(error)))
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid event: {}", self.0)
    }
}

impl std::error::Error for InvalidEvent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Effects {
    pub(crate) fn into_raw(self) -> Vec<Effect> {
        self.0
    }

    /// Sends an event to all subscribers of a topic.
    ///
    /// # Errors
    ///
    /// A [`Denied`](crate::Denied) if the server does not allow this topic to the plugin
    /// (`grants.publish`).
    pub fn broadcast(&mut self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<()> {
        grants::check(&Need::Publish(topic.to_owned()))?;
        let (topic, event) = (Some(topic.to_owned()), event.to_owned());
        let payload = payload.into_payload()?.into();
        self.0.push(Effect::Broadcast(Broadcast { topic, event, payload }));
        Ok(())
    }

    /// Answers an earlier message. Nothing happens if its channel has gone.
    pub fn reply_to(&mut self, socket_ref: &SocketRef, reply: Reply) {
        let Some(reply) = raw_reply(reply) else { return };
        let socket_ref = socket_ref.as_str().to_owned();
        self.0.push(Effect::ReplyTo(LateReply { socket_ref, reply }));
    }

    /// Pushes to the client of an earlier message. Nothing happens if its channel has gone.
    pub fn push_to(
        &mut self,
        socket_ref: &SocketRef,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<()> {
        let (socket_ref, event) = (socket_ref.as_str().to_owned(), event.to_owned());
        let push = Push { event, payload: payload.into_payload()?.into() };
        self.0.push(Effect::PushTo(LatePush { socket_ref, push }));
        Ok(())
    }

    /// Hands an event to a pipeline.
    pub fn enqueue(&mut self, event: NewEvent) {
        self.0.push(event.into_effect());
    }

    /// Closes all connections of a user id.
    pub fn disconnect(&mut self, user_id: &str) {
        self.0.push(Effect::Disconnect(user_id.to_owned()));
    }
}

impl NewEvent {
    /// Makes an event for the pipeline of this name.
    ///
    /// # Errors
    ///
    /// A [`Denied`](crate::Denied) if the server does not allow this pipeline to the plugin
    /// (`grants.enqueue`).
    pub fn new(pipeline: &str, payload: impl IntoPayload) -> Result<Self> {
        let (Payload::Json(payload) | Payload::Binary(payload)) = payload.into_payload()?;
        let pipeline = pipeline.to_owned();
        grants::check(&Need::Enqueue(pipeline.clone()))?;
        Ok(Self(Enqueue { pipeline, payload, key: None, priority: 0, socket_ref: None }))
    }

    /// Sets the key, in place of the one that the pipeline's `partition_by` finds.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.key = Some(key.to_owned());
        self
    }

    /// Sets the priority, for dispatchers that use it: higher ones go first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.0.priority = priority;
        self
    }

    /// Sets the message that waits for the event: it is answered with the worker's reply, or with
    /// an error if the event is refused, dropped or given up.
    #[must_use]
    pub fn answers(mut self, socket_ref: &SocketRef) -> Self {
        self.0.socket_ref = Some(socket_ref.as_str().to_owned());
        self
    }

    pub(crate) fn into_effect(self) -> Effect {
        Effect::Enqueue(self.0)
    }
}

impl Verdicts {
    /// Sets the verdict on the event at an index of the batch, counted from 0. Set it at most once
    /// for each event.
    pub fn set(&mut self, index: usize, verdict: Verdict) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.0.extend(verdict.into_raw().map(|verdict| Judged { index, verdict }));
    }
}

/// Handles `worker.handle`.
pub(crate) fn handle<W: Worker>(raw: RawBatch) -> Answer {
    let batch = Batch::new(raw);
    let (mut effects, mut verdicts) = (Effects::default(), Verdicts::default());
    W::handle_batch(&batch, &mut effects, &mut verdicts);
    Answer { verdicts: verdicts.0, effects: effects.0 }
}

impl Verdict {
    /// The verdict for the server; `None` for an event that is simply done.
    fn into_raw(self) -> Option<RawVerdict> {
        Some(match self {
            Self::Done | Self::Reply(Reply::None) => return None,
            Self::Reply(reply) => RawVerdict::Reply(raw_reply(reply)?),
            Self::Forward(Payload::Json(payload) | Payload::Binary(payload)) => {
                RawVerdict::Forward(payload)
            }
            Self::Retry { after, reason } => {
                RawVerdict::Retry(RawRetry { after_ms: after.map(whole_ms), reason })
            }
            Self::Drop(reason) => RawVerdict::Drop(reason),
            Self::Fail(reason) => RawVerdict::Fail(reason),
        })
    }
}
