//! The effects of a call: from the interface's types to the host's own, one by one. What
//! they cost and which grants they need is checked by [`Budget`].

use std::sync::Arc;

use bytestring::ByteString;
use millrace_pipeline::NewEvent;
use millrace_session::channel::{
    Broadcast, ChannelEffect, Effect, PresenceChange, ServerEffect, SocketRef,
};
use millrace_wire::Payload;
use smol_str::SmolStr;

use super::Fault;
use super::bindings::millrace::plugin::types;
use super::budget::{Budget, CallKind};
use super::convert::{checked_topic, json, name};
use super::withheld::Withheld;
use crate::Settings;

impl Budget {
    /// Checks one effect; `None` if it is an answer that the plugin may not give, or to a client
    /// that is gone.
    pub(super) fn effect(
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
            types::Effect::Track(presence) => {
                self.presence(presence, |key, meta| PresenceChange::Track { key, meta })?
            }
            types::Effect::UpdatePresence(presence) => {
                self.presence(presence, |key, meta| PresenceChange::Update { key, meta })?
            }
            types::Effect::Untrack(key) => {
                name("the key of a presence", &key)?;
                ChannelEffect::Presence(PresenceChange::Untrack { key: key.into() }).into()
            }
            types::Effect::Stop => ChannelEffect::Stop.into(),
        }))
    }

    /// The socket ref in a sealed text, if the plugin may use it; otherwise the effect is noted as
    /// left out.
    fn unsealed(&mut self, text: &str, settings: &Settings) -> Option<SocketRef> {
        settings.unsealed(text).unwrap_or_else(|denied| {
            self.withheld.push(Withheld::Denied(denied));
            None
        })
    }

    /// A fault if an effect does not fit this kind of call: some need a message, some a channel.
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
                | types::Effect::Track(_)
                | types::Effect::UpdatePresence(_)
                | types::Effect::Untrack(_)
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

    /// A change of presence; the meta has to be JSON. What it may not be besides is known where
    /// presences are kept.
    fn presence(
        &mut self,
        presence: types::Presence,
        change: impl FnOnce(SmolStr, ByteString) -> PresenceChange,
    ) -> Result<Effect, Fault> {
        let types::Presence { key, meta } = presence;
        name("the key of a presence", &key)?;
        self.spend(meta.len())?;
        let Payload::Json(meta) = json(meta)? else { return Err(Fault::lost()) };
        Ok(ChannelEffect::Presence(change(key.into(), meta)).into())
    }

    fn enqueue(&mut self, enqueue: types::Enqueue, settings: &Settings) -> Result<Effect, Fault> {
        let types::Enqueue { pipeline, payload, key, priority, socket_ref } = enqueue;
        name("the name of a pipeline", &pipeline)?;
        name("the key of an event", key.as_deref().unwrap_or_default())?;
        self.spend(payload.len())?;
        // The event is accepted even if the plugin may not use its socket ref.
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
}
