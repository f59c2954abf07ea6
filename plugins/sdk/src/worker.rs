//! Work on the events of pipelines.

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

/// Work on the events of a pipeline, which `[pipelines.NAME]` names as its
/// `worker`, or as one of its `transforms`.
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
    /// Works on one event. What it asks for happens once its batch is done, if it
    /// returned neither an error nor [`Verdict::Retry`].
    ///
    /// An error has the event tried again, and is the reason in the dead letters if
    /// it was the last attempt; that of [`Event::json`] is a [`Verdict::Fail`], as no
    /// further attempt would read it. A panic has the whole batch tried again, which is
    /// split to find the event that caused it.
    fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict>;

    /// Works on a batch: event by event, unless it is written otherwise. Gives its
    /// verdicts to `verdicts`; events without one are done.
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

/// What an error of [`Worker::handle`] comes to.
fn failed(event: u64, error: &Error) -> Verdict {
    let reason = error.to_string();
    host::log::warn(&format!("event {event}: {reason}"));
    match error.downcast_ref() {
        Some(InvalidEvent(_)) => Verdict::Fail(reason),
        None => Verdict::Retry { after: None, reason },
    }
}

/// An event that carries something else than its worker reads: none of its attempts would
/// come to more.
#[derive(Debug)]
pub struct InvalidEvent(serde_json::Error);

/// What became of the events of a batch.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Judged>);

/// Events that are worked on together.
#[derive(Debug)]
pub struct Batch(RawBatch);

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Unique among the events a pipeline has in hand, and the same in each
    /// attempt.
    pub id: u64,
    /// What it carries.
    pub payload: &'a [u8],
    /// What it belongs to; empty if it belongs to nothing.
    pub key: &'a str,
    /// Counted from 1.
    pub attempt: u32,
    /// When it came about, in milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done. In a transform, it goes on as it is.
    Done,
    /// It is done, and who waits for an answer gets this one.
    Reply(Reply),
    /// In a transform: this goes on in its place.
    Forward(Payload),
    /// It is to be tried again.
    Retry {
        /// When; `None` as the pipeline's `retry` table says.
        after: Option<Duration>,
        /// For the dead letters, if it was the last attempt.
        reason: String,
    },
    /// It is of no use, which is no failure; why.
    Drop(String),
    /// It failed for good: it goes to the dead letters; why.
    Fail(String),
}

/// What a worker asks the server to do.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

/// An event for a pipeline.
#[derive(Clone, Debug)]
pub struct NewEvent(Enqueue);

impl Batch {
    pub(crate) fn new(raw: RawBatch) -> Self {
        Self(raw)
    }

    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// The stage, counted from 0.
    #[must_use]
    pub fn stage(&self) -> u32 {
        self.0.stage
    }

    /// Its events, in order.
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
                // The host hands over UTF-8.
                key: std::str::from_utf8(key).unwrap_or_default(),
                attempt: attempt as u32,
                enqueued_ms,
            }
        })
    }
}

impl Event<'_> {
    /// Reads the JSON it carries. An [`InvalidEvent`] when it is something else.
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
    /// Sends an event to every subscriber of a topic. A [`Denied`](crate::Denied)
    /// when the server does not let the plugin.
    pub fn broadcast(&mut self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<()> {
        grants::check(&Need::Publish(topic.to_owned()))?;
        let (topic, event) = (Some(topic.to_owned()), event.to_owned());
        let payload = payload.into_payload()?.into();
        self.0.push(Effect::Broadcast(Broadcast { topic, event, payload }));
        Ok(())
    }

    /// Answers an earlier message. Does nothing once its channel is gone.
    pub fn reply_to(&mut self, socket_ref: &SocketRef, reply: Reply) {
        let Some(reply) = raw_reply(reply) else { return };
        let socket_ref = socket_ref.as_str().to_owned();
        self.0.push(Effect::ReplyTo(LateReply { socket_ref, reply }));
    }

    /// Pushes to the client of an earlier message. Does nothing once its channel is
    /// gone.
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

    /// Closes every connection of a user id.
    pub fn disconnect(&mut self, user_id: &str) {
        self.0.push(Effect::Disconnect(user_id.to_owned()));
    }
}

impl NewEvent {
    /// An event for the pipeline of this name. A [`Denied`](crate::Denied) when the
    /// server does not let the plugin.
    pub fn new(pipeline: &str, payload: impl IntoPayload) -> Result<Self> {
        let (Payload::Json(payload) | Payload::Binary(payload)) = payload.into_payload()?;
        let pipeline = pipeline.to_owned();
        grants::check(&Need::Enqueue(pipeline.clone()))?;
        Ok(Self(Enqueue { pipeline, payload, key: None, priority: 0, socket_ref: None }))
    }

    /// What it belongs to, rather than what the pipeline's `partition_by` finds.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.key = Some(key.to_owned());
        self
    }

    /// The higher the sooner, for dispatchers that care.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.0.priority = priority;
        self
    }

    /// Who waits: is answered with what the worker replies, or with an error if
    /// the event is not taken, dropped or given up.
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
    /// Says what became of the event at a place in the batch, counted from 0; each
    /// event gets one verdict at most.
    pub fn set(&mut self, index: usize, verdict: Verdict) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.0.extend(verdict.into_raw().map(|verdict| Judged { index, verdict }));
    }
}

/// `worker.handle`.
pub(crate) fn handle<W: Worker>(raw: RawBatch) -> Answer {
    let batch = Batch::new(raw);
    let (mut effects, mut verdicts) = (Effects::default(), Verdicts::default());
    W::handle_batch(&batch, &mut effects, &mut verdicts);
    Answer { verdicts: verdicts.0, effects: effects.0 }
}

impl Verdict {
    /// `None` for an event that is simply done.
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
