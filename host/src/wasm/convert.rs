//! The interface's types ⇄ the host's own, with every limit on what a plugin
//! may return.

use bytes::Bytes;
use bytestring::ByteString;

use super::bindings::exports::millrace::plugin::{channel, socket};
use super::bindings::millrace::plugin::types;
use super::{Fault, PluginLimits};
use crate::channel::{Assigns, Callback, Context, Effect, Info, Joined, Outcome};
use crate::pubsub::Broadcast;
use crate::wire::{MAX_TOPIC_BYTES, Payload, is_json};

/// The request that opens a connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectRequest {
    /// The query, decoded, in order.
    pub params: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The peer's address.
    pub peer: String,
    /// The token of a bearer subprotocol.
    pub auth_token: Option<String>,
}

/// An accepted connection.
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// Names the user.
    pub user_id: Option<String>,
    /// What every channel starts with.
    pub assigns: Assigns,
}

/// A refused one.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// An HTTP status from 400 to 599.
    pub status: u16,
    /// The body of the response.
    pub reason: String,
}

/// Events, statuses and user ids may have so many bytes: what fits the header
/// of a binary frame.
const MAX_NAME_BYTES: usize = 255;

// === to the plugin ===

pub(super) fn socket(context: &Context) -> types::Socket<'_> {
    types::Socket {
        connection: context.connection,
        channel: context.channel,
        topic: &context.topic,
        user_id: context.user_id.as_deref(),
    }
}

pub(super) fn assigns(assigns: &Assigns) -> types::AssignsParam<'_> {
    types::AssignsParam { schema: assigns.schema, data: &assigns.data }
}

pub(super) fn payload(payload: &Payload) -> types::PayloadParam<'_> {
    match payload {
        Payload::Json(text) => types::PayloadParam::Json(text.as_bytes()),
        Payload::Binary(bytes) => types::PayloadParam::Binary(bytes),
    }
}

pub(super) fn broadcast(broadcast: &Broadcast) -> types::BroadcastParam<'_> {
    types::BroadcastParam {
        topic: Some(&broadcast.topic),
        event: &broadcast.event,
        payload: payload(&broadcast.payload),
    }
}

pub(super) fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What a callback hands to the plugin, in bytes.
pub(super) fn size(callback: &Callback) -> usize {
    match callback {
        Callback::Join { params } => params.len(),
        Callback::HandleIn { payload, .. } => payload.len(),
        Callback::HandleOut(broadcast) | Callback::HandleInfo(Info::Broadcast(broadcast)) => {
            broadcast.payload.len()
        }
        Callback::HandleInfo(Info::Timer(name)) => name.len(),
        Callback::Terminate(_) => 0,
    }
}

impl ConnectRequest {
    /// Its size in bytes.
    pub(super) fn size(&self) -> usize {
        self.params.iter().chain(&self.headers).map(|(name, value)| name.len() + value.len()).sum()
    }
}

// === from the plugin ===

pub(super) fn joined(
    joined: Result<channel::Joined, types::PayloadResult>,
    limits: &PluginLimits,
) -> Result<Result<Joined, Payload>, Fault> {
    let mut budget = Budget::new(limits);
    match joined {
        Ok(joined) => {
            let response = joined.response.map(|payload| budget.payload(payload)).transpose()?;
            let outcome = budget.outcome(joined.outcome, false)?;
            Ok(Ok(Joined { response, outcome }))
        }
        Err(refusal) => Ok(Err(budget.payload(refusal)?)),
    }
}

/// `replies` says whether there is a message to reply to.
pub(super) fn outcome(
    outcome: types::Outcome,
    replies: bool,
    limits: &PluginLimits,
) -> Result<Outcome, Fault> {
    Budget::new(limits).outcome(outcome, replies)
}

pub(super) fn connected(
    answer: Result<socket::Connected, socket::Refusal>,
    limits: &PluginLimits,
) -> Result<Result<Connected, Refusal>, Fault> {
    match answer {
        Ok(connected) => {
            let user_id = connected.user_id;
            if let Some(user_id) = &user_id {
                name("the user id", user_id)?;
            }
            let assigns = Budget::new(limits).assigns(connected.assigns)?;
            Ok(Ok(Connected { user_id, assigns }))
        }
        Err(socket::Refusal { status, reason }) => {
            let status = if (400..=599).contains(&status) { status } else { 403 };
            Ok(Err(Refusal { status, reason }))
        }
    }
}

/// What is left of a call's limits while its result is checked.
struct Budget<'a> {
    limits: &'a PluginLimits,
    bytes: usize,
}

impl<'a> Budget<'a> {
    fn new(limits: &'a PluginLimits) -> Self {
        Self { limits, bytes: limits.max_effect_bytes }
    }

    fn outcome(&mut self, outcome: types::Outcome, replies: bool) -> Result<Outcome, Fault> {
        let (found, allowed) = (outcome.effects.len(), self.limits.max_effects);
        if found > allowed {
            return Err(Fault::bad_return(format!(
                "the call returned {found} effects, allowed are {allowed} (limits.max_effects)"
            )));
        }
        let effects = outcome.effects.into_iter();
        let effects = effects.map(|e| self.effect(e, replies)).collect::<Result<_, _>>()?;
        let assigns = outcome.assigns.map(|assigns| self.assigns(assigns)).transpose()?;
        Ok(Outcome { effects, assigns })
    }

    fn effect(&mut self, effect: types::Effect, replies: bool) -> Result<Effect, Fault> {
        Ok(match effect {
            types::Effect::Reply(types::Reply { .. }) if !replies => {
                return Err(Fault::bad_return(
                    "a `reply` effect needs a message to reply to; use `push`".to_owned(),
                ));
            }
            types::Effect::Reply(types::Reply { status, payload }) => {
                name("the status of a reply", &status)?;
                Effect::Reply { status, payload: self.payload(payload)? }
            }
            types::Effect::Push(types::PushResult { event, payload }) => {
                name("the event of a push", &event)?;
                Effect::Push { event, payload: self.payload(payload)? }
            }
            types::Effect::Broadcast(broadcast) => self.broadcast(broadcast, false)?,
            types::Effect::BroadcastFrom(broadcast) => self.broadcast(broadcast, true)?,
            types::Effect::Subscribe(topic) => Effect::Subscribe(checked_topic(topic)?),
            types::Effect::Unsubscribe(topic) => Effect::Unsubscribe(checked_topic(topic)?),
            types::Effect::SendAfter(types::Timer { after_ms, name }) => {
                self.spend(name.len())?;
                Effect::SendAfter { after_ms, name }
            }
            types::Effect::Stop => Effect::Stop,
        })
    }

    fn broadcast(
        &mut self,
        broadcast: types::BroadcastResult,
        from: bool,
    ) -> Result<Effect, Fault> {
        let types::BroadcastResult { topic, event, payload } = broadcast;
        name("the event of a broadcast", &event)?;
        let topic = topic.map(checked_topic).transpose()?;
        Ok(Effect::Broadcast { topic, event, payload: self.payload(payload)?, from })
    }

    fn payload(&mut self, payload: types::PayloadResult) -> Result<Payload, Fault> {
        let (types::PayloadResult::Json(data) | types::PayloadResult::Binary(data)) = &payload;
        self.spend(data.len())?;
        match payload {
            types::PayloadResult::Json(data) => json(data),
            types::PayloadResult::Binary(data) => Ok(Payload::Binary(data.into())),
        }
    }

    fn assigns(&self, assigns: types::AssignsResult) -> Result<Assigns, Fault> {
        let (found, allowed) = (assigns.data.len(), self.limits.max_assigns_bytes);
        if found > allowed {
            return Err(Fault::bad_return(format!(
                "the assigns have {found} bytes, allowed are {allowed} (limits.max_assigns_bytes)"
            )));
        }
        Ok(Assigns { schema: assigns.schema, data: Bytes::from(assigns.data) })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(Fault::bad_return(format!(
                "the effects of the call have more than {} bytes (limits.max_effect_bytes)",
                self.limits.max_effect_bytes
            ))),
        }
    }
}

fn json(data: Vec<u8>) -> Result<Payload, Fault> {
    let text = String::from_utf8(data)
        .map_err(|error| Fault::bad_return(format!("a JSON payload is not UTF-8: {error}")))?;
    if !is_json(&text) {
        let start: String = text.chars().take(40).collect();
        return Err(Fault::bad_return(format!("a JSON payload is not JSON: {start:?}")));
    }
    Ok(Payload::Json(ByteString::from(text)))
}

fn checked_topic(topic: String) -> Result<String, Fault> {
    match topic.len() {
        1..=MAX_TOPIC_BYTES => Ok(topic),
        found => Err(Fault::bad_return(format!(
            "a topic has {found} bytes, allowed are 1 to {MAX_TOPIC_BYTES}"
        ))),
    }
}

fn name(what: &str, name: &str) -> Result<(), Fault> {
    match name.len() {
        0..=MAX_NAME_BYTES => Ok(()),
        found => Err(Fault::bad_return(format!(
            "{what} has {found} bytes, allowed are {MAX_NAME_BYTES}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PluginLimits = PluginLimits {
        fuel: 0,
        fuel_per_byte: 0,
        max_memory_bytes: 0,
        max_assigns_bytes: 4,
        max_effects: 2,
        max_effect_bytes: 20,
        max_instances: 0,
    };

    fn push(event: &str, json: &[u8]) -> types::Effect {
        types::Effect::Push(types::PushResult {
            event: event.to_owned(),
            payload: types::PayloadResult::Json(json.to_vec()),
        })
    }

    fn check(effects: Vec<types::Effect>, assigns: Option<&[u8]>) -> Result<Outcome, String> {
        let assigns = assigns.map(|data| types::AssignsResult { schema: 1, data: data.to_vec() });
        outcome(types::Outcome { effects, assigns }, false, &LIMITS).map_err(|f| f.message)
    }

    #[test]
    fn what_is_allowed_passes() {
        let outcome = check(vec![push("e", b"{\"a\":1}")], Some(b"1234")).unwrap();
        assert_eq!(outcome.effects.len(), 1);
        assert_eq!(outcome.assigns.unwrap().data, "1234");
    }

    #[test]
    fn every_limit_says_what_was_found_and_what_is_allowed() {
        let reply = types::Effect::Reply(types::Reply {
            status: "ok".to_owned(),
            payload: types::PayloadResult::Binary(Vec::new()),
        });
        let topic = types::Effect::Subscribe(String::new());
        for (effects, assigns, problem) in [
            (vec![push("e", b"1"); 3], None, "3 effects, allowed are 2"),
            (vec![push("e", &[b'1'; 11]); 2], None, "more than 20 bytes"),
            (vec![push("e", b"{")], None, "is not JSON: \"{\""),
            (vec![push("e", b"\xff")], None, "not UTF-8"),
            (vec![push(&"e".repeat(256), b"1")], None, "256 bytes, allowed are 255"),
            (vec![reply], None, "needs a message to reply to"),
            (vec![topic], None, "a topic has 0 bytes"),
            (vec![], Some(b"12345".as_slice()), "5 bytes, allowed are 4"),
        ] {
            let error = check(effects, assigns).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
