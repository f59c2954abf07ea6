//! Fuzzing: guests may return anything.

use std::collections::BTreeMap;

use millrace_choices::Choices;
use millrace_pipeline::Verdict;
use millrace_session::channel::{
    Assigns, ChannelEffect, Effect, Outcome, RefKey, ServerEffect, SocketRef,
};
use millrace_telemetry::Metrics;
use millrace_wire::{MAX_TOPIC_BYTES, Payload, is_json};

use super::bindings::exports::millrace::plugin::{channel, socket, worker};
use super::bindings::millrace::plugin::types;
use super::budget::{Budget, CallKind};
use super::{PluginLimits, convert};
use crate::Settings;
use crate::egress::EgressConfig;

/// The name of the plugin whose effects they are.
const PLUGIN: &str = "guest";
const MAX_NAME_BYTES: usize = 255;

/// Checks values made of `bytes` as what a guest returns: what passes is within the limits of its
/// call, and anything else is a fault with a message.
pub fn guest(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let limits = PluginLimits {
        max_effects: input.below(6),
        max_effect_bytes: input.below(200),
        max_assigns_bytes: input.below(20),
        ..PluginLimits::default()
    };
    let handed = input.bool().then(|| Payload::Json(r#"{"a":1}"#.into()));
    match input.below(6) {
        0 => check_work(&mut input, &limits),
        1 => {
            let mut budget = Budget::new(&limits, CallKind::Message, true).handed(handed.as_ref());
            let data = input.bytes();
            if let Ok(outcome) = budget.replied(data) {
                check_outcome(&outcome, &limits);
            }
        }
        2 => check_connected(&mut input, &limits),
        3 => {
            let mut budget = Budget::new(&limits, CallKind::Other, true).handed(handed.as_ref());
            let joined = match input.bool() {
                true => Ok(channel::Joined {
                    response: input.bool().then(|| payload(&mut input)),
                    outcome: outcome(&mut input),
                }),
                false => Err(payload(&mut input)),
            };
            if let Ok(Ok(joined)) = budget.joined(joined, &settings()) {
                joined.response.iter().for_each(check_payload);
                check_outcome(&joined.outcome, &limits);
            }
        }
        4 => {
            // A call that flushes and then returns has the limits of one.
            let mut budget = Budget::new(&limits, CallKind::Task, input.bool());
            let settings = settings();
            let Ok(mut all) = budget.flushed(effects(&mut input), &settings) else { return };
            let Ok(more) = budget.effects(effects(&mut input), &settings) else { return };
            all.extend(more);
            check_outcome(&Outcome { effects: all, assigns: None }, &limits);
        }
        _ => {
            let kind = match input.below(3) {
                0 => CallKind::Message,
                1 => CallKind::Other,
                _ => CallKind::Task,
            };
            let mut budget = Budget::new(&limits, kind, input.bool()).handed(handed.as_ref());
            match budget.outcome(outcome(&mut input), &settings()) {
                Ok(outcome) => check_outcome(&outcome, &limits),
                Err(fault) => assert!(!fault.message.is_empty()),
            }
        }
    }
}

fn check_work(input: &mut Choices<'_>, limits: &PluginLimits) {
    let events = input.below(5);
    let mut budget = Budget::new(limits, CallKind::Worker, false);
    let mut verdicts = Vec::new();
    for _ in 0..input.below(6) {
        let verdict = match input.below(5) {
            0 => worker::Verdict::Reply(types::Reply {
                status: input.text(),
                payload: payload(input),
            }),
            1 => worker::Verdict::Forward(input.bytes().to_vec()),
            2 => {
                let after_ms = input.bool().then(|| input.number());
                worker::Verdict::Retry(worker::Retry { after_ms, reason: input.text() })
            }
            3 => worker::Verdict::Drop(input.text()),
            _ => worker::Verdict::Fail(input.text()),
        };
        verdicts.push(worker::Judged { index: input.number() as u32, verdict });
    }
    let answer = worker::Answer { verdicts, effects: effects(input) };
    let Ok(work) = budget.work(answer, events, &settings()) else { return };
    let mut seen = vec![false; events];
    for (index, verdict) in &work.verdicts {
        let seen = seen.get_mut(*index as usize);
        assert!(seen.is_some_and(|seen| !std::mem::replace(seen, true)), "{:?}", work.verdicts);
        if let Verdict::Reply { payload, .. } = verdict {
            check_payload(payload);
        }
    }
    check_outcome(
        &Outcome { effects: work.effects.into_iter().map(Effect::from).collect(), assigns: None },
        limits,
    );
}

fn check_connected(input: &mut Choices<'_>, limits: &PluginLimits) {
    let answer = match input.bool() {
        true => Ok(socket::Connected {
            user_id: input.bool().then(|| input.text()),
            assigns: types::AssignsResult { schema: 1, data: input.bytes().to_vec() },
        }),
        false => Err(socket::Refusal { status: input.number() as u16, reason: input.text() }),
    };
    match convert::connected(answer, limits) {
        Ok(Ok(connected)) => {
            check_assigns(&connected.assigns, limits);
            assert!(connected.user_id.is_none_or(|id| id.len() <= MAX_NAME_BYTES));
        }
        Ok(Err(refusal)) => assert!((400..=599).contains(&refusal.status)),
        Err(fault) => assert!(!fault.message.is_empty()),
    }
}

fn check_outcome(outcome: &Outcome, limits: &PluginLimits) {
    let Outcome { effects, assigns } = outcome;
    assert!(effects.len() <= limits.max_effects, "{} effects", effects.len());
    let bytes: usize = effects.iter().map(Effect::bytes).sum();
    assert!(bytes <= limits.max_effect_bytes, "{bytes} bytes");
    assigns.iter().for_each(|assigns| check_assigns(assigns, limits));
    for effect in effects {
        match effect {
            Effect::Channel(effect) => check_channel_effect(effect, limits),
            Effect::Server(effect) => check_server_effect(effect),
        }
    }
}

fn check_channel_effect(effect: &ChannelEffect, limits: &PluginLimits) {
    match effect {
        ChannelEffect::Reply { status, payload } => {
            check_payload(payload);
            check_name(status);
        }
        ChannelEffect::Push { event: text, payload }
        | ChannelEffect::StartTask { name: text, payload } => {
            check_payload(payload);
            check_name(text);
        }
        ChannelEffect::Broadcast { topic, event, payload, .. } => {
            check_payload(payload);
            check_name(event);
            topic.iter().for_each(|topic| check_topic(topic));
        }
        ChannelEffect::Subscribe(topic) | ChannelEffect::Unsubscribe(topic) => check_topic(topic),
        ChannelEffect::SendAfter { name, .. } => assert!(name.len() <= limits.max_effect_bytes),
        ChannelEffect::Presence(change) => assert!(change.bytes() <= limits.max_effect_bytes + 255),
        ChannelEffect::Stop => {}
    }
}

fn check_server_effect(effect: &ServerEffect) {
    match effect {
        ServerEffect::Broadcast { broadcast, .. } => {
            check_payload(&broadcast.payload);
            check_name(&broadcast.event);
            check_topic(&broadcast.topic);
        }
        ServerEffect::ReplyTo { status: text, payload, .. }
        | ServerEffect::PushTo { event: text, payload, .. } => {
            check_payload(payload);
            check_name(text);
        }
        ServerEffect::Enqueue { pipeline, .. } => check_name(pipeline),
        ServerEffect::Disconnect(user_id) => check_name(user_id),
    }
}

fn check_assigns(assigns: &Assigns, limits: &PluginLimits) {
    assert!(assigns.data.len() <= limits.max_assigns_bytes, "{} bytes", assigns.data.len());
}

fn check_payload(payload: &Payload) {
    if let Payload::Json(text) = payload {
        assert!(is_json(text), "{text:?}");
    }
}

fn check_name(name: &str) {
    assert!(name.len() <= MAX_NAME_BYTES, "{} bytes", name.len());
}

fn check_topic(topic: &str) {
    assert!((1..=MAX_TOPIC_BYTES).contains(&topic.len()), "{} bytes", topic.len());
}

fn outcome(input: &mut Choices<'_>) -> types::Outcome {
    let assigns = input.bool().then(|| types::AssignsResult {
        schema: input.number() as u32,
        data: input.bytes().to_vec(),
    });
    types::Outcome { effects: effects(input), assigns }
}

fn payload(input: &mut Choices<'_>) -> types::PayloadResult {
    match input.below(3) {
        0 => types::PayloadResult::Binary(input.bytes().to_vec()),
        1 => types::PayloadResult::Json(br#"{"a":1}"#.to_vec()),
        _ => types::PayloadResult::Json(input.bytes().to_vec()),
    }
}

fn socket_ref(input: &mut Choices<'_>) -> String {
    let sealed =
        || SocketRef::of_test(1, "room:a").map(|it| RefKey::new(0, &[0]).seal(&it, PLUGIN));
    if input.bool() { sealed().unwrap_or_default() } else { input.text() }
}

/// Settings of a plugin that may do everything.
fn settings() -> Settings {
    let (http, metrics) = (EgressConfig::default(), Metrics::none());
    let settings = Settings::new(PLUGIN.to_owned(), BTreeMap::new(), http, metrics);
    settings.with_refs(RefKey::new(0, &[0]))
}

fn push(input: &mut Choices<'_>) -> types::PushResult {
    types::PushResult { event: input.text(), payload: payload(input) }
}

fn reply(input: &mut Choices<'_>) -> types::Reply {
    types::Reply { status: input.text(), payload: payload(input) }
}

fn broadcast(input: &mut Choices<'_>) -> types::BroadcastResult {
    let topic = input.bool().then(|| input.text());
    types::BroadcastResult { topic, event: input.text(), payload: payload(input) }
}

fn effects(input: &mut Choices<'_>) -> Vec<types::Effect> {
    let effect = |input: &mut Choices<'_>| match input.below(13) {
        0 => types::Effect::Reply(reply(input)),
        1 => types::Effect::Push(push(input)),
        2 => types::Effect::Broadcast(broadcast(input)),
        3 => types::Effect::BroadcastFrom(broadcast(input)),
        4 => types::Effect::Subscribe(input.text()),
        5 => types::Effect::Unsubscribe(input.text()),
        6 => {
            types::Effect::SendAfter(types::Timer { after_ms: input.number(), name: input.text() })
        }
        7 => types::Effect::ReplyTo(types::LateReply {
            socket_ref: socket_ref(input),
            reply: reply(input),
        }),
        8 => types::Effect::PushTo(types::LatePush {
            socket_ref: socket_ref(input),
            push: push(input),
        }),
        9 => types::Effect::Enqueue(types::Enqueue {
            pipeline: input.text(),
            payload: input.bytes().to_vec(),
            key: input.bool().then(|| input.text()),
            priority: input.byte(),
            socket_ref: input.bool().then(|| socket_ref(input)),
        }),
        10 => types::Effect::StartTask(types::Task { name: input.text(), payload: payload(input) }),
        11 => types::Effect::Disconnect(input.text()),
        _ => types::Effect::Stop,
    };
    (0..input.below(5)).map(|_| effect(input)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_pass() {
        millrace_choices::try_seeds("guest", guest);
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            guest(&bytes);
        }
    }
}
