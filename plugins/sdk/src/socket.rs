//! A handler's view of its channel.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::millrace::plugin::types::{
    Assigns as RawAssigns, Broadcast, Effect, Outcome, Push, Reply as RawReply,
    Socket as RawSocket, Timer,
};
use crate::{Assigns, IntoPayload, Payload, Result};

/// A handler's view of its channel: who it is, its state, and what it can ask
/// the server to do once the handler has returned.
#[derive(Debug)]
pub struct Socket<A> {
    /// The state of this channel.
    pub assigns: Assigns<A>,
    raw: RawSocket,
    effects: Vec<Effect>,
}

/// The schema number of assigns; the author's own in a later version.
const SCHEMA: u32 = 0;

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

    /// What `connect` returned as user id.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.raw.user_id.as_deref()
    }

    /// The connection's number, unique on this server since it started.
    #[must_use]
    pub fn connection_id(&self) -> u64 {
        self.raw.connection
    }

    /// The join's number, unique on this server since it started.
    #[must_use]
    pub fn channel_id(&self) -> u64 {
        self.raw.channel
    }

    /// Sends an event to this client alone.
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        let (event, payload) = (event.to_owned(), payload.into_payload()?.into());
        self.effects.push(Effect::Push(Push { event, payload }));
        Ok(())
    }

    /// Sends an event to everybody on this topic, this client included.
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        self.effects.push(Effect::Broadcast(broadcast(None, event, payload)?));
        Ok(())
    }

    /// Sends an event to everybody else on this topic.
    pub fn broadcast_from(&mut self, event: &str, payload: impl IntoPayload) -> Result<()> {
        self.effects.push(Effect::BroadcastFrom(broadcast(None, event, payload)?));
        Ok(())
    }

    /// Sends an event to everybody on another topic.
    pub fn broadcast_to(
        &mut self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<()> {
        self.effects.push(Effect::Broadcast(broadcast(Some(topic), event, payload)?));
        Ok(())
    }

    /// From now on, broadcasts on another topic call `handle_info`.
    pub fn subscribe(&mut self, topic: &str) {
        self.effects.push(Effect::Subscribe(topic.to_owned()));
    }

    /// Ends what [`Self::subscribe`] began.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.effects.push(Effect::Unsubscribe(topic.to_owned()));
    }

    /// Calls `handle_info` with [`crate::Info::Timer`] later.
    pub fn send_after(&mut self, after: Duration, name: &str) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.effects.push(Effect::SendAfter(Timer { after_ms, name: name.to_owned() }));
    }

    /// Ends this channel after the handler: the client gets `phx_close`.
    pub fn stop(&mut self) {
        self.effects.push(Effect::Stop);
    }

    pub(crate) fn reply(&mut self, status: &str, payload: Payload) {
        let reply = RawReply { status: status.to_owned(), payload: payload.into() };
        self.effects.push(Effect::Reply(reply));
    }
}

impl<A: Serialize + DeserializeOwned + Default> Socket<A> {
    pub(crate) fn new(raw: RawSocket, assigns: RawAssigns) -> Self {
        Self { assigns: Assigns::new(assigns.data), raw, effects: Vec::new() }
    }

    /// What the call gives back.
    pub(crate) fn into_outcome(self) -> Result<Outcome> {
        let changed = self.assigns.into_changed()?;
        let assigns = changed.map(|data| RawAssigns { schema: SCHEMA, data });
        Ok(Outcome { effects: self.effects, assigns })
    }
}

fn broadcast(topic: Option<&str>, event: &str, payload: impl IntoPayload) -> Result<Broadcast> {
    let (topic, event) = (topic.map(str::to_owned), event.to_owned());
    Ok(Broadcast { topic, event, payload: payload.into_payload()?.into() })
}
