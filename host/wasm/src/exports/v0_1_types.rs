//! What plugins of version 0.1 take and give, from and to the types of the open track.

use super::types;
use super::{v0_1, v0_2};
use crate::bindings::v0_1::types as types_0_1;

/// The conversion of what a plugin of an earlier track has given.
pub(super) trait IntoOpen<T> {
    fn into_open(self) -> T;
}

impl<T, E, U, F> IntoOpen<Result<U, F>> for Result<T, E>
where
    T: IntoOpen<U>,
    E: IntoOpen<F>,
{
    fn into_open(self) -> Result<U, F> {
        match self {
            Ok(value) => Ok(value.into_open()),
            Err(error) => Err(error.into_open()),
        }
    }
}

/// Values that are the same in both tracks.
macro_rules! same {
    ($($ty:ty),*) => {$(
        impl IntoOpen<$ty> for $ty {
            fn into_open(self) -> $ty {
                self
            }
        }
    )*};
}

same!((), String, types::PayloadResult);

// === from the plugin ===

impl From<types_0_1::Effect> for types::Effect {
    fn from(effect: types_0_1::Effect) -> Self {
        match effect {
            types_0_1::Effect::Reply(reply) => Self::Reply(reply),
            types_0_1::Effect::Push(push) => Self::Push(push),
            types_0_1::Effect::Broadcast(broadcast) => Self::Broadcast(broadcast),
            types_0_1::Effect::BroadcastFrom(broadcast) => Self::BroadcastFrom(broadcast),
            types_0_1::Effect::Subscribe(topic) => Self::Subscribe(topic),
            types_0_1::Effect::Unsubscribe(topic) => Self::Unsubscribe(topic),
            types_0_1::Effect::SendAfter(timer) => Self::SendAfter(timer),
            types_0_1::Effect::ReplyTo(reply) => Self::ReplyTo(reply),
            types_0_1::Effect::PushTo(push) => Self::PushTo(push),
            types_0_1::Effect::Enqueue(enqueue) => Self::Enqueue(enqueue),
            types_0_1::Effect::StartTask(task) => Self::StartTask(task),
            types_0_1::Effect::Disconnect(user_id) => Self::Disconnect(user_id),
            types_0_1::Effect::Stop => Self::Stop,
        }
    }
}

impl From<types_0_1::Outcome> for types::Outcome {
    fn from(outcome: types_0_1::Outcome) -> Self {
        let types_0_1::Outcome { effects, assigns } = outcome;
        Self { effects: effects.into_open(), assigns }
    }
}

impl IntoOpen<Vec<types::Effect>> for Vec<types_0_1::Effect> {
    fn into_open(self) -> Vec<types::Effect> {
        self.into_iter().map(Into::into).collect()
    }
}

impl IntoOpen<types::Outcome> for types_0_1::Outcome {
    fn into_open(self) -> types::Outcome {
        self.into()
    }
}

impl IntoOpen<v0_2::channel::Joined> for v0_1::channel::Joined {
    fn into_open(self) -> v0_2::channel::Joined {
        let Self { response, outcome } = self;
        v0_2::channel::Joined { response, outcome: outcome.into() }
    }
}

impl IntoOpen<v0_2::socket::Connected> for v0_1::socket::Connected {
    fn into_open(self) -> v0_2::socket::Connected {
        let Self { user_id, assigns } = self;
        v0_2::socket::Connected { user_id, assigns }
    }
}

impl IntoOpen<v0_2::socket::Refusal> for v0_1::socket::Refusal {
    fn into_open(self) -> v0_2::socket::Refusal {
        let Self { status, reason } = self;
        v0_2::socket::Refusal { status, reason }
    }
}

impl IntoOpen<v0_2::dispatcher::Columns> for v0_1::dispatcher::Columns {
    fn into_open(self) -> v0_2::dispatcher::Columns {
        use v0_1::dispatcher::Columns as Given;
        use v0_2::dispatcher::Columns;
        let each = [
            (Given::KEYS, Columns::KEYS),
            (Given::KEY_TEXTS, Columns::KEY_TEXTS),
            (Given::SIZES, Columns::SIZES),
            (Given::PRIORITIES, Columns::PRIORITIES),
            (Given::TIMES, Columns::TIMES),
            (Given::FINISHED, Columns::FINISHED),
        ];
        let wanted = each.into_iter().filter(|(given, _)| self.contains(*given));
        wanted.fold(Columns::default(), |columns, (_, column)| columns | column)
    }
}

impl IntoOpen<v0_2::dispatcher::Assignments> for v0_1::dispatcher::Assignments {
    fn into_open(self) -> v0_2::dispatcher::Assignments {
        let Self { events, consumers } = self;
        v0_2::dispatcher::Assignments { events, consumers }
    }
}

impl IntoOpen<v0_2::worker::Answer> for v0_1::worker::Answer {
    fn into_open(self) -> v0_2::worker::Answer {
        let judged = |judged: v0_1::worker::Judged| {
            let verdict = judged.verdict.into();
            v0_2::worker::Judged { index: judged.index, verdict }
        };
        let verdicts = self.verdicts.into_iter().map(judged).collect();
        v0_2::worker::Answer { verdicts, effects: self.effects.into_open() }
    }
}

impl From<v0_1::worker::Verdict> for v0_2::worker::Verdict {
    fn from(verdict: v0_1::worker::Verdict) -> Self {
        use v0_1::worker::Verdict;
        match verdict {
            Verdict::Reply(reply) => Self::Reply(reply),
            Verdict::Forward(payload) => Self::Forward(payload),
            Verdict::Retry(v0_1::worker::Retry { after_ms, reason }) => {
                Self::Retry(v0_2::worker::Retry { after_ms, reason })
            }
            Verdict::Drop(reason) => Self::Drop(reason),
            Verdict::Fail(reason) => Self::Fail(reason),
        }
    }
}

// === to the plugin ===

impl<'a> From<v0_2::batch::Messages<'a>> for v0_1::batch::Messages<'a> {
    fn from(messages: v0_2::batch::Messages<'a>) -> Self {
        let v0_2::batch::Messages { data, rows } = messages;
        Self { data, rows }
    }
}

impl<'a> From<v0_2::channel::Message<'a>> for v0_1::channel::Message<'a> {
    fn from(message: v0_2::channel::Message<'a>) -> Self {
        let v0_2::channel::Message { event, payload, wants_reply } = message;
        Self { event, payload, wants_reply }
    }
}

impl<'a> From<v0_2::channel::Info<'a>> for v0_1::channel::Info<'a> {
    fn from(info: v0_2::channel::Info<'a>) -> Self {
        match info {
            v0_2::channel::Info::Broadcast(broadcast) => Self::Broadcast(broadcast),
            v0_2::channel::Info::Timer(name) => Self::Timer(name),
        }
    }
}

impl<'a> From<v0_2::socket::Request<'a>> for v0_1::socket::Request<'a> {
    fn from(request: v0_2::socket::Request<'a>) -> Self {
        // Version 0.1 knows of no identity.
        let v0_2::socket::Request { params, headers, peer, auth_token, .. } = request;
        Self { params, headers, peer, auth_token }
    }
}

impl<'a> From<v0_2::dispatcher::Consumer<'a>> for v0_1::dispatcher::Consumer<'a> {
    fn from(consumer: v0_2::dispatcher::Consumer<'a>) -> Self {
        let v0_2::dispatcher::Consumer { id, worker, max_demand } = consumer;
        Self { id, worker, max_demand }
    }
}

impl<'a> From<v0_2::worker::Batch<'a>> for v0_1::worker::Batch<'a> {
    fn from(batch: v0_2::worker::Batch<'a>) -> Self {
        let v0_2::worker::Batch { pipeline, stage, payloads, keys, events } = batch;
        Self { pipeline, stage, payloads, keys, events }
    }
}

pub(super) fn asks(asks: &[v0_2::dispatcher::Ask]) -> Vec<v0_1::dispatcher::Ask> {
    let ask = |ask: &v0_2::dispatcher::Ask| v0_1::dispatcher::Ask {
        consumer: ask.consumer,
        demand: ask.demand,
    };
    asks.iter().map(ask).collect()
}

/// An offer with `asks` in place of its own.
pub(super) fn offer<'a>(
    offer: &v0_2::dispatcher::Offer<'a>,
    asks: &'a [v0_1::dispatcher::Ask],
) -> v0_1::dispatcher::Offer<'a> {
    let &v0_2::dispatcher::Offer { now_ns, events, keys, key_texts, key_ends, .. } = offer;
    let &v0_2::dispatcher::Offer { sizes, priorities, times_ns, withdrawn, .. } = offer;
    let &v0_2::dispatcher::Offer { withdrawn_keys, finished, .. } = offer;
    v0_1::dispatcher::Offer {
        now_ns,
        asks,
        events,
        keys,
        key_texts,
        key_ends,
        sizes,
        priorities,
        times_ns,
        withdrawn,
        withdrawn_keys,
        finished,
    }
}
