//! The socket that a handler gets.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bindings::millrace::plugin::call;
use crate::bindings::millrace::plugin::grants::Need;
use crate::bindings::millrace::plugin::types::{
    Assigns as RawAssigns, Broadcast, Effect, LatePush, LateReply, Outcome, Presence, Push,
    Reply as RawReply, Socket as RawSocket, Task, Timer,
};
use crate::host::clock::whole_ms;
use crate::host::log;
use crate::{Assigns, Error, IntoPayload, NewEvent, Reply, Result, grants};

/// The socket of a handler: the client and topic, the channel's state, and the effects that the
/// server applies after the handler has returned.
#[derive(Debug)]
pub struct Socket<A> {
    /// The state of this channel.
    pub assigns: Assigns<A>,
    raw: RawSocket,
    effects: Vec<Effect>,
    /// In a join, the JSON of the assigns that `connect` gave the connection.
    connected: Vec<u8>,
}

/// A token by which a message can be answered later, any number of times, from any call of this
/// plugin, and of other plugins that `grants.reply` allows. Keep it in the assigns, pass it to a
/// task, store it, or give it to a client: it is a text of some hundred bytes, which only the
/// server can make.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SocketRef(String);

impl SocketRef {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<A> Socket<A> {
    /// The joined topic, for example `room:lobby`.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.raw.topic
    }

    /// The part of the topic after its first `:`; the whole topic without one.
    #[must_use]
    pub fn subtopic(&self) -> &str {
        self.raw.topic.split_once(':').map_or(&self.raw.topic, |(_, subtopic)| subtopic)
    }

    /// The user id that `connect` returned.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.raw.user_id.as_deref()
    }

    /// In `join`, the assigns that `connect` gave the connection, whichever plugin that was, and
    /// whatever type the channel's own assigns have.
    ///
    /// # Errors
    ///
    /// `connect` gave no assigns or they cannot be read as a `T`, or this is another handler than
    /// `join`.
    pub fn connected<T: DeserializeOwned>(&self) -> Result<T> {
        if self.connected.is_empty() {
            return Err(Error::msg("there are no assigns of the connection; `join` has them"));
        }
        let read = serde_json::from_slice(&self.connected);
        read.map_err(|error| Error::msg(format!("the assigns of the connection: {error}")))
    }

    /// The number of the connection, unique on this server since its start.
    #[must_use]
    pub fn connection_id(&self) -> u64 {
        self.raw.connection
    }

    /// The number of the join, unique on this server since its start.
    #[must_use]
    pub fn channel_id(&self) -> u64 {
        self.raw.channel
    }

    /// Sends an event to this client only.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        let (event, payload) = (event.to_owned(), payload.into_payload()?.into());
        self.effects.push(Effect::Push(Push { event, payload }));
        Ok(())
    }

    /// Sends an event to all clients on this topic, this one included.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        self.effects.push(Effect::Broadcast(broadcast(None, event, payload)?));
        Ok(())
    }

    /// Sends an event to all other clients on this topic.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn broadcast_from(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        self.effects.push(Effect::BroadcastFrom(broadcast(None, event, payload)?));
        Ok(())
    }

    /// Sends an event to all clients on another topic.
    ///
    /// # Errors
    ///
    /// A [`Denied`](crate::Denied) if the server does not allow this topic to the plugin
    /// (`grants.publish`).
    pub fn broadcast_to(
        &mut self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<()> {
        grants::check(&Need::Publish(topic.to_owned()))?;
        self.effects.push(Effect::Broadcast(broadcast(Some(topic), event, payload)?));
        Ok(())
    }

    /// Subscribes to another topic: its broadcasts call `handle_info`.
    pub fn subscribe(&mut self, topic: &str) {
        self.effects.push(Effect::Subscribe(topic.to_owned()));
    }

    /// Ends a subscription of [`Self::subscribe`].
    pub fn unsubscribe(&mut self, topic: &str) {
        self.effects.push(Effect::Unsubscribe(topic.to_owned()));
    }

    /// Starts a timer: `handle_info` is called with [`crate::Info::Timer`] after the time, which is
    /// rounded up to whole milliseconds.
    pub fn send_after(&mut self, after: Duration, name: &str) {
        let after_ms = whole_ms(after);
        self.effects.push(Effect::SendAfter(Timer { after_ms, name: name.to_owned() }));
    }

    /// The token by which [`Self::reply_to`] can answer the current message later; `None` when the
    /// client does not wait for a reply. In a task, it is for the message that started the task.
    #[must_use]
    pub fn socket_ref(&self) -> Option<SocketRef> {
        call::socket_ref().map(SocketRef)
    }

    /// Answers an earlier message. Nothing happens if its channel has gone, or if this plugin may
    /// not use the token.
    pub fn reply_to(&mut self, socket_ref: &SocketRef, reply: Reply) {
        let Some(reply) = raw_reply(reply) else { return };
        let socket_ref = socket_ref.0.clone();
        self.effects.push(Effect::ReplyTo(LateReply { socket_ref, reply }));
    }

    /// Pushes to the client of an earlier message. Nothing happens if its channel has gone.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn push_to(
        &mut self,
        socket_ref: &SocketRef,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<()> {
        let (socket_ref, event) = (socket_ref.0.clone(), event.to_owned());
        let push = Push { event, payload: payload.into_payload()?.into() };
        self.effects.push(Effect::PushTo(LatePush { socket_ref, push }));
        Ok(())
    }

    /// Hands an event to a pipeline.
    pub fn enqueue(&mut self, event: NewEvent) {
        self.effects.push(event.into_effect());
    }

    /// Says that somebody is on this topic, until [`Self::untrack`] or the end of this channel. The
    /// key names them, a user id for example; the meta is what clients are told: an object. Clients
    /// of the topic get `presence_state` after their join, and `presence_diff` with each change.
    ///
    /// Nothing happens if this channel tracks the key already, or above a limit of `[presence]`;
    /// the server counts it.
    ///
    /// # Errors
    ///
    /// The meta cannot be written as JSON.
    pub fn track(&mut self, key: &str, meta: impl Serialize) -> Result<()> {
        self.effects.push(Effect::Track(presence(key, meta)?));
        Ok(())
    }

    /// Replaces the meta of a key that this channel tracks. Nothing happens if it tracks no such
    /// key.
    ///
    /// # Errors
    ///
    /// The meta cannot be written as JSON.
    pub fn update(&mut self, key: &str, meta: impl Serialize) -> Result<()> {
        self.effects.push(Effect::UpdatePresence(presence(key, meta)?));
        Ok(())
    }

    /// Ends what [`Self::track`] began for a key.
    pub fn untrack(&mut self, key: &str) {
        self.effects.push(Effect::Untrack(key.to_owned()));
    }

    /// The claims of the connection's token, which `[auth]` has verified; `None` without `[auth]`.
    ///
    /// # Errors
    ///
    /// They cannot be read as a `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(call::claims().map(|claims| serde_json::from_slice(&claims)).transpose()?)
    }

    /// Starts a task: [`crate::Tasks::run`] runs on another instance, beside this channel.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn start_task(&mut self, name: &str, payload: impl IntoPayload) -> Result<()> {
        let (name, payload) = (name.to_owned(), payload.into_payload()?.into());
        self.effects.push(Effect::StartTask(Task { name, payload }));
        Ok(())
    }

    /// Closes all connections of a user id.
    pub fn disconnect(&mut self, user_id: &str) {
        self.effects.push(Effect::Disconnect(user_id.to_owned()));
    }

    /// Applies the effects so far at once, for a long handler that reports its progress. They stay
    /// even if the handler fails afterwards.
    pub fn flush(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        if !effects.is_empty() {
            call::flush(&effects);
        }
    }

    /// Ends this channel after the handler: the client gets `phx_close`.
    pub fn stop(&mut self) {
        self.effects.push(Effect::Stop);
    }

    /// Drops the effects that were not flushed.
    pub(crate) fn forget(&mut self) {
        self.effects.clear();
    }

    /// The effects of a call that has no assigns.
    pub(crate) fn into_effects(self) -> Vec<Effect> {
        self.effects
    }
}

impl<A: Serialize + DeserializeOwned + Default> Socket<A> {
    pub(crate) fn new(raw: RawSocket, assigns: RawAssigns) -> Self {
        let (effects, connected) = Default::default();
        Self { assigns: Assigns::new(assigns.data), raw, effects, connected }
    }

    /// The socket of a channel that begins, with the assigns that `connect` gave the connection.
    pub(crate) fn joining(raw: RawSocket, connected: Vec<u8>) -> Self {
        let (assigns, problem) = Assigns::joining(connected.clone());
        if let Some(problem) = problem {
            let topic = &raw.topic;
            log::debug(&format!(
                "{topic} begins with the default of its assigns, as those of the connection are \
                 of another shape: {problem}"
            ));
        }
        Self { assigns, raw, effects: Vec::new(), connected }
    }

    /// The outcome of the call; `schema` is that of the assigns.
    pub(crate) fn into_outcome(mut self, schema: u32) -> Result<Outcome> {
        let (effects, assigns) = self.take_outcome(schema)?;
        Ok(Outcome { effects, assigns })
    }

    /// The outcome of the call in parts, which are taken out of the socket.
    pub(crate) fn take_outcome(
        &mut self,
        schema: u32,
    ) -> Result<(Vec<Effect>, Option<RawAssigns>)> {
        let changed = self.assigns.take_changed()?;
        let assigns = changed.map(|data| RawAssigns { schema, data });
        Ok((std::mem::take(&mut self.effects), assigns))
    }

    /// The channel and the assigns that the call began with, for the channel's next message.
    pub(crate) fn into_parts(self) -> (RawSocket, Vec<u8>) {
        (self.raw, self.assigns.into_encoded())
    }
}

fn presence(key: &str, meta: impl Serialize) -> Result<Presence> {
    Ok(Presence { key: key.to_owned(), meta: serde_json::to_vec(&meta)? })
}

pub(crate) fn raw_reply(reply: Reply) -> Option<RawReply> {
    let (status, payload) = match reply {
        Reply::None => return None,
        Reply::Ok(payload) => ("ok", payload),
        Reply::Error(payload) => ("error", payload),
    };
    Some(RawReply { status: status.to_owned(), payload: payload.into() })
}

fn broadcast(topic: Option<&str>, event: &str, payload: impl IntoPayload) -> Result<Broadcast> {
    let (topic, event) = (topic.map(str::to_owned), event.to_owned());
    Ok(Broadcast { topic, event, payload: payload.into_payload()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_may_ask_for_what_the_connection_has_in_any_shape() {
        let topic = "room:a".to_owned();
        let raw = RawSocket { connection: 1, channel: 1, topic, user_id: None };
        let connected = br#"{"role":"admin"}"#.to_vec();
        let socket = Socket::<serde_json::Value>::joining(raw.clone(), connected);
        assert_eq!(socket.connected::<serde_json::Value>().unwrap()["role"], "admin");
        let error = socket.connected::<Vec<u8>>().unwrap_err().to_string();
        assert!(error.starts_with("the assigns of the connection: invalid type"), "{error}");
        let later = Socket::<()>::new(raw, RawAssigns { schema: 0, data: b"null".to_vec() });
        later.connected::<()>().unwrap_err();
    }
}
