//! What a call may return: every limit and every grant, on everything that comes back.

use std::sync::Arc;

use bytestring::ByteString;
use millrace_pipeline::NewEvent;
use millrace_session::channel::{
    Broadcast, ChannelEffect, Effect, Joined, Outcome, ServerEffect, SocketRef,
};
use millrace_wire::Payload;
use smol_str::SmolStr;

use super::bindings::exports::millrace::plugin::channel;
use super::bindings::millrace::plugin::types;
use super::convert::{assigns_back, checked_topic, json, name};
use super::withheld::{Withheld, replacement, withheld};
use super::{Fault, PluginLimits};
use crate::Settings;

/// What is left of a call's limits while its effects are checked.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    max_effects: usize,
    max_bytes: usize,
    max_assigns_bytes: usize,
    /// What is left of `max_effects`.
    effects: usize,
    /// What is left of `max_bytes`.
    bytes: usize,
    call: CallKind,
    /// Whether the plugin has tasks to start.
    tasks: bool,
    /// JSON the call was handed: what comes back as it was needs no check, and
    /// shares its memory. Channels pass on most of what they get.
    handed: Option<ByteString>,
    /// What was left out.
    withheld: Vec<Withheld>,
}

/// What kind of call has effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Handles a message of the client, and may reply to it.
    Message,
    /// Another callback of a channel.
    Other,
    /// Runs beside the channels.
    Task,
    /// Works on events of a pipeline.
    Worker,
}

impl Budget {
    /// The limits of one call. `tasks` says whether the plugin exports any.
    pub(super) fn new(limits: &PluginLimits, call: CallKind, tasks: bool) -> Self {
        let &PluginLimits { max_effects, max_effect_bytes, max_assigns_bytes, .. } = limits;
        Self {
            max_effects,
            max_bytes: max_effect_bytes,
            max_assigns_bytes,
            effects: max_effects,
            bytes: max_effect_bytes,
            call,
            tasks,
            handed: None,
            withheld: Vec::new(),
        }
    }

    /// What was left out of what it checked, since this was last asked.
    pub(super) fn take_withheld(&mut self) -> Vec<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    /// The same for a call that is handed `payload`.
    pub(super) fn handed(mut self, payload: Option<&Payload>) -> Self {
        if let Some(Payload::Json(text)) = payload {
            self.handed = Some(text.clone());
        }
        self
    }

    pub(super) fn joined(
        &mut self,
        joined: Result<channel::Joined, types::PayloadResult>,
        settings: &Settings,
    ) -> Result<Result<Joined, Payload>, Fault> {
        match joined {
            Ok(joined) => {
                let response = joined.response.map(|payload| self.payload(payload)).transpose()?;
                let outcome = self.outcome(joined.outcome, settings)?;
                Ok(Ok(Joined { response, outcome }))
            }
            Err(refusal) => Ok(Err(self.payload(refusal)?)),
        }
    }

    /// The bytes of what it has been given so far.
    pub(super) fn spent_bytes(&self) -> usize {
        self.max_bytes - self.bytes
    }

    pub(super) fn outcome(
        &mut self,
        outcome: types::Outcome,
        settings: &Settings,
    ) -> Result<Outcome, Fault> {
        let effects = self.effects(outcome.effects, settings)?;
        let assigns = outcome.assigns.map(|assigns| assigns_back(assigns, self.max_assigns_bytes));
        Ok(Outcome { effects, assigns: assigns.transpose()? })
    }

    /// An outcome that is nothing but a reply with the status `ok` and this JSON.
    pub(super) fn replied(&mut self, data: &[u8]) -> Result<Outcome, Fault> {
        self.effects = self.effects.checked_sub(1).ok_or_else(|| self.too_many(1))?;
        self.spend(data.len())?;
        let payload = match &self.handed {
            Some(handed) if handed.as_bytes() == data => Payload::Json(handed.clone()),
            _ => json(data.to_vec())?,
        };
        let effects =
            vec![ChannelEffect::Reply { status: SmolStr::new_static("ok"), payload }.into()];
        Ok(Outcome { effects, assigns: None })
    }

    fn too_many(&self, more: usize) -> Fault {
        let (found, allowed) = (more + (self.max_effects - self.effects), self.max_effects);
        Fault::bad_return(format!(
            "the call returned {found} effects, allowed are {allowed} (limits.max_effects)"
        ))
    }

    /// Effects of a call that goes on.
    pub(super) fn flushed(
        &mut self,
        effects: Vec<types::Effect>,
        settings: &Settings,
    ) -> Result<Vec<Effect>, Fault> {
        if effects.iter().any(|effect| matches!(effect, types::Effect::Stop)) {
            return Err(Fault::bad_return("`stop` cannot be flushed; return it".to_owned()));
        }
        self.effects(effects, settings)
    }

    /// Those of a plugin that may do what its settings grant.
    pub(super) fn effects(
        &mut self,
        effects: Vec<types::Effect>,
        settings: &Settings,
    ) -> Result<Vec<Effect>, Fault> {
        let found = effects.len();
        self.effects = self.effects.checked_sub(found).ok_or_else(|| self.too_many(found))?;
        let mut checked = Vec::with_capacity(effects.len());
        for effect in effects {
            let Some(effect) = self.effect(effect, settings)? else { continue };
            match withheld(&effect, settings) {
                None => checked.push(effect),
                Some(why) => {
                    checked.extend(replacement(effect, &why));
                    self.withheld.push(why);
                }
            }
        }
        Ok(checked)
    }

    /// `None` for an answer to whom the plugin may not answer.
    fn effect(
        &mut self,
        effect: types::Effect,
        settings: &Settings,
    ) -> Result<Option<Effect>, Fault> {
        self.belongs(&effect)?;
        Ok(Some(match effect {
            types::Effect::Reply(types::Reply { status, payload }) => {
                name("the status of a reply", &status)?;
                ChannelEffect::Reply { status: status.into(), payload: self.payload(payload)? }
                    .into()
            }
            types::Effect::Push(types::PushResult { event, payload }) => {
                name("the event of a push", &event)?;
                ChannelEffect::Push { event, payload: self.payload(payload)? }.into()
            }
            types::Effect::Broadcast(broadcast) => self.broadcast(broadcast, false)?,
            types::Effect::BroadcastFrom(broadcast) => self.broadcast(broadcast, true)?,
            types::Effect::Subscribe(topic) => {
                ChannelEffect::Subscribe(checked_topic(topic)?).into()
            }
            types::Effect::Unsubscribe(topic) => {
                ChannelEffect::Unsubscribe(checked_topic(topic)?).into()
            }
            types::Effect::SendAfter(types::Timer { after_ms, name }) => {
                self.spend(name.len())?;
                ChannelEffect::SendAfter { after_ms, name }.into()
            }
            types::Effect::ReplyTo(types::LateReply { socket_ref, reply }) => {
                let types::Reply { status, payload } = reply;
                name("the status of a reply", &status)?;
                let payload = self.payload(payload)?;
                let Some(socket_ref) = self.unsealed(&socket_ref, settings) else {
                    return Ok(None);
                };
                let socket_ref = Box::new(socket_ref);
                ServerEffect::ReplyTo { socket_ref, status, payload }.into()
            }
            types::Effect::PushTo(types::LatePush { socket_ref, push }) => {
                let types::PushResult { event, payload } = push;
                name("the event of a push", &event)?;
                let payload = self.payload(payload)?;
                let Some(socket_ref) = self.unsealed(&socket_ref, settings) else {
                    return Ok(None);
                };
                let socket_ref = Box::new(socket_ref);
                ServerEffect::PushTo { socket_ref, event, payload }.into()
            }
            types::Effect::Enqueue(enqueue) => self.enqueue(enqueue, settings)?,
            types::Effect::StartTask(types::Task { name: task, payload }) => {
                name("the name of a task", &task)?;
                ChannelEffect::StartTask { name: task, payload: self.payload(payload)? }.into()
            }
            types::Effect::Disconnect(user_id) => {
                name("the user id to disconnect", &user_id)?;
                ServerEffect::Disconnect(user_id).into()
            }
            types::Effect::Stop => ChannelEffect::Stop.into(),
        }))
    }

    /// Whom a text reaches, if the plugin may reach them.
    fn unsealed(&mut self, text: &str, settings: &Settings) -> Option<SocketRef> {
        settings.unsealed(text).unwrap_or_else(|denied| {
            self.withheld.push(Withheld::Denied(denied));
            None
        })
    }

    /// Some effects need a message, some a channel.
    fn belongs(&self, effect: &types::Effect) -> Result<(), Fault> {
        let problem = match (self.call, effect) {
            (CallKind::Other, types::Effect::Reply(_)) => {
                "a `reply` effect needs a message to reply to; use `push`, or `reply-to` with a \
                 socket ref"
            }
            (CallKind::Task, types::Effect::Reply(_)) => {
                "a task replies by `reply-to` with a socket ref"
            }
            (
                CallKind::Task,
                types::Effect::Subscribe(_)
                | types::Effect::Unsubscribe(_)
                | types::Effect::SendAfter(_)
                | types::Effect::Stop,
            ) => "a task has no channel to subscribe, start timers for or stop",
            (CallKind::Worker, types::Effect::Broadcast(broadcast))
                if broadcast.topic.is_none() =>
            {
                "a worker has no channel of its own: name the topic of a broadcast"
            }
            (
                CallKind::Worker,
                types::Effect::Reply(_)
                | types::Effect::Push(_)
                | types::Effect::BroadcastFrom(_)
                | types::Effect::Subscribe(_)
                | types::Effect::Unsubscribe(_)
                | types::Effect::SendAfter(_)
                | types::Effect::StartTask(_)
                | types::Effect::Stop,
            ) => {
                "a worker has no channel; it may broadcast on a topic, reply or push to a socket \
                 ref, enqueue and disconnect"
            }
            (_, types::Effect::StartTask(_)) if !self.tasks => {
                "the plugin starts a task, and does not export `tasks`"
            }
            _ => return Ok(()),
        };
        Err(Fault::bad_return(problem.to_owned()))
    }

    fn broadcast(
        &mut self,
        broadcast: types::BroadcastResult,
        exclude_self: bool,
    ) -> Result<Effect, Fault> {
        let types::BroadcastResult { topic, event, payload } = broadcast;
        name("the event of a broadcast", &event)?;
        let topic = topic.map(checked_topic).transpose()?;
        let payload = self.payload(payload)?;
        Ok(match topic {
            Some(topic) if !exclude_self => {
                let (topic, event) = (topic.into(), event.into());
                let broadcast = Arc::new(Broadcast { topic, event, payload });
                ServerEffect::Broadcast { broadcast, except: None }.into()
            }
            topic => ChannelEffect::Broadcast { topic, event, payload, exclude_self }.into(),
        })
    }

    fn enqueue(&mut self, enqueue: types::Enqueue, settings: &Settings) -> Result<Effect, Fault> {
        let types::Enqueue { pipeline, payload, key, priority, socket_ref } = enqueue;
        name("the name of a pipeline", &pipeline)?;
        name("the key of an event", key.as_deref().unwrap_or_default())?;
        self.spend(payload.len())?;
        // The event is wanted, whoever waits for it.
        let reply_to = socket_ref.and_then(|text| self.unsealed(&text, settings));
        let event = NewEvent {
            payload: payload.into(),
            key: key.map(Into::into),
            priority,
            reply_to: reply_to.map(Box::new),
            ..NewEvent::default()
        };
        Ok(ServerEffect::Enqueue { pipeline, event }.into())
    }

    pub(super) fn payload(&mut self, payload: types::PayloadResult) -> Result<Payload, Fault> {
        let (types::PayloadResult::Json(data) | types::PayloadResult::Binary(data)) = &payload;
        self.spend(data.len())?;
        match payload {
            types::PayloadResult::Json(data) => match &self.handed {
                Some(handed) if *handed.as_bytes() == data => Ok(Payload::Json(handed.clone())),
                _ => json(data),
            },
            types::PayloadResult::Binary(data) => Ok(Payload::Binary(data.into())),
        }
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(Fault::bad_return(format!(
                "the effects of the call have more than {} bytes (limits.max_effect_bytes)",
                self.max_bytes
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grants;
    use millrace_session::channel::RefKey;
    use millrace_telemetry::{Metric, Metrics};

    fn settings(grants: Grants) -> (Settings, Metrics) {
        let metrics = Metrics::in_process();
        let http = crate::egress::EgressConfig::default();
        let settings = Settings::new("relay".to_owned(), Default::default(), http, metrics.clone());
        (settings.with_grants(grants), metrics)
    }

    fn limits() -> PluginLimits {
        let (max_assigns_bytes, max_effects, max_effect_bytes) = (4, 2, 20);
        PluginLimits { max_assigns_bytes, max_effects, max_effect_bytes, ..Default::default() }
    }

    fn push(event: &str, json: &[u8]) -> types::Effect {
        types::Effect::Push(types::PushResult {
            event: event.to_owned(),
            payload: types::PayloadResult::Json(json.to_vec()),
        })
    }

    fn check(effects: Vec<types::Effect>, assigns: Option<&[u8]>) -> Result<Outcome, String> {
        let assigns = assigns.map(|data| types::AssignsResult { schema: 1, data: data.to_vec() });
        let outcome = types::Outcome { effects, assigns };
        let mut budget = Budget::new(&limits(), CallKind::Other, false);
        budget.outcome(outcome, &settings(Grants::default()).0).map_err(|f| f.message)
    }

    #[test]
    fn what_is_allowed_passes() {
        let outcome = check(vec![push("e", b"{\"a\":1}")], Some(b"1234")).unwrap();
        assert_eq!(outcome.effects.len(), 1);
        assert_eq!(outcome.assigns.unwrap().data, "1234");
    }

    #[test]
    fn what_is_flushed_counts_with_what_is_returned() {
        let mut budget = Budget::new(&limits(), CallKind::Task, true);
        let (all, _) = settings(Grants::default());
        assert_eq!(budget.flushed(vec![push("e", b"1")], &all).unwrap().len(), 1);
        let error = budget.effects(vec![push("e", b"1"), push("e", b"1")], &all).unwrap_err();
        assert!(error.message.contains("3 effects, allowed are 2"), "{error}");
        let error = budget.flushed(vec![types::Effect::Stop], &all).unwrap_err();
        assert!(error.message.contains("cannot be flushed"), "{error}");
    }

    #[test]
    fn what_was_handed_comes_back_without_a_copy() {
        let handed = Payload::Json("{\"a\":1}".into());
        let budget = Budget::new(&limits(), CallKind::Other, false);
        let mut budget = budget.handed(Some(&handed));
        let (all, _) = settings(Grants::default());
        let effects = budget.effects(vec![push("e", b"{\"a\":1}")], &all).unwrap();
        let [Effect::Channel(ChannelEffect::Push { payload, .. })] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(payload, &handed);
        let error = budget.effects(vec![push("e", b"{\"a\":")], &all).unwrap_err();
        assert!(error.message.contains("is not JSON"), "{error}");
    }

    #[test]
    fn effects_without_a_grant_are_left_out_and_counted() {
        let named = |names: [&str; 1]| names.map(str::to_owned).to_vec();
        let (settings, metrics) = settings(Grants {
            publish: named(["a"]),
            enqueue: named(["orders"]),
            subscribe: named(["a"]),
            disconnect: named(["guest:*"]),
            ..Grants::default()
        });
        let limits = PluginLimits::default();
        let mut budget = Budget::new(&limits, CallKind::Other, true);
        let broadcast = |topic: Option<&str>| {
            types::Effect::Broadcast(types::BroadcastResult {
                topic: topic.map(str::to_owned),
                event: "e".to_owned(),
                payload: types::PayloadResult::Json(b"1".to_vec()),
            })
        };
        let enqueue = |pipeline: &str| {
            types::Effect::Enqueue(types::Enqueue {
                pipeline: pipeline.to_owned(),
                payload: Vec::new(),
                key: None,
                priority: 0,
                socket_ref: None,
            })
        };
        let asked_for = vec![
            broadcast(None),
            broadcast(Some("a")),
            broadcast(Some("b")),
            enqueue("orders"),
            enqueue("mails"),
            types::Effect::Subscribe("a".to_owned()),
            types::Effect::Subscribe("b".to_owned()),
            types::Effect::Unsubscribe("b".to_owned()),
            types::Effect::Disconnect("guest:1".to_owned()),
            types::Effect::Disconnect("ada".to_owned()),
        ];
        assert_eq!(budget.effects(asked_for, &settings).unwrap().len(), 6);
        let withheld: Vec<_> = budget.take_withheld().iter().map(ToString::to_string).collect();
        assert_eq!(withheld.len(), 4);
        let first = "the topic \"b\" is not granted; granted are [\"a\"] \
                     (plugins.relay.grants.publish)";
        assert_eq!(withheld[0], first);
        for grant in ["publish", "enqueue", "subscribe", "disconnect"] {
            assert_eq!(metrics.total_of(Metric::PluginDenied, &["relay", grant]), 1, "{grant}");
        }
    }

    #[test]
    fn effects_on_reserved_topics_are_left_out() {
        let mut budget = Budget::new(&PluginLimits::default(), CallKind::Other, false);
        let mut effects = Vec::new();
        for topic in ["millrace:dashboard", "phoenix", "millrace"] {
            effects.push(types::Effect::Subscribe(topic.to_owned()));
            effects.push(types::Effect::Broadcast(types::BroadcastResult {
                topic: Some(topic.to_owned()),
                event: "snapshot".to_owned(),
                payload: types::PayloadResult::Json(b"1".to_vec()),
            }));
        }
        assert_eq!(budget.effects(effects, &settings(Grants::default()).0).unwrap().len(), 2);
        let withheld = budget.take_withheld();
        assert_eq!(withheld.len(), 4);
        assert!(withheld[0].to_string().contains("\"millrace:dashboard\" is reserved for"));
    }

    #[test]
    fn who_may_not_be_answered_is_not_and_it_is_no_fault() {
        let (mine, metrics) = settings(Grants::default());
        let refs = RefKey::draw().unwrap();
        let mine = mine.with_refs(refs.clone());
        let socket_ref = SocketRef::of_test(1, "room:a").unwrap();
        let socket_ref = SocketRef { server: refs.server(), ..socket_ref };
        let answer = |text: &str| {
            let payload = types::PayloadResult::Json(b"1".to_vec());
            let reply = types::Reply { status: "ok".to_owned(), payload };
            types::Effect::ReplyTo(types::LateReply { socket_ref: text.to_owned(), reply })
        };
        let (own, others) = (refs.seal(&socket_ref, "relay"), refs.seal(&socket_ref, "room"));
        let asked_for = [own.as_str(), &others, "forged", ""].map(answer).to_vec();
        let mut budget = Budget::new(&PluginLimits::default(), CallKind::Task, true);
        assert_eq!(budget.effects(asked_for.clone(), &mine).unwrap().len(), 1);
        assert_eq!(metrics.total_of(Metric::PluginDenied, &["relay", "reply"]), 3);
        let reply = vec!["room".to_owned()];
        let granted = settings(Grants { reply, ..Grants::default() }).0.with_refs(refs);
        assert_eq!(budget.effects(asked_for, &granted).unwrap().len(), 2);
    }

    #[test]
    fn tasks_have_no_channel() {
        let mut budget = Budget::new(&limits(), CallKind::Task, true);
        let (all, _) = settings(Grants::default());
        let error = budget.effects(vec![types::Effect::Stop], &all).unwrap_err();
        assert!(error.message.contains("a task has no channel"), "{error}");
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
