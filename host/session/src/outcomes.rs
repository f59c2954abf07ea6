//! Results of plugin calls, and the effects that they ask for.

use std::sync::Arc;

use millrace_wire::{EncodeError, Frame, Payload, Ref, TopicPattern};
use tracing::warn;

use super::{Action, CallPurpose, ChannelAction, Count, Identity, Routing, Session, Ticket};
use crate::channel::{
    Assigns, Caller, ChannelEffect, Completion, Context, Deferred, Effect, Failure, Outcome,
    PresenceChange, ReplyTo, ServerEffect, SocketRef, State, TerminateReason,
};

impl<P: Clone> Session<P> {
    /// Takes the result of a call.
    ///
    /// A result for a channel that is gone (left, or joined again) changes nothing, except for
    /// that of `terminate`, the last call of a channel, whose effects are applied.
    pub fn complete(
        &mut self,
        ticket: &Ticket,
        result: Result<Completion, Failure>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let context = &ticket.caller.context;
        if ticket.purpose == CallPurpose::Terminate {
            if let Ok(Completion::Handled(outcome)) = result {
                // The channel is gone: `apply_effects` leaves out what would outlive it.
                self.apply_effects(&ticket.caller, outcome.effects, actions);
            }
            return;
        }
        let current = self.channels.get_mut(&context.topic);
        let Some(channel) = current.filter(|c| c.context.channel == context.channel) else {
            return;
        };
        let handled = match (ticket.purpose, result) {
            (CallPurpose::Join, Ok(Completion::Join(answer))) => {
                return self.complete_join(ticket, Ok(*answer), routes, actions);
            }
            (CallPurpose::Join, Ok(Completion::Handled(_))) => Err(Failure::Crashed),
            (CallPurpose::Join, Err(failure)) => {
                return self.complete_join(ticket, Err(failure), routes, actions);
            }
            (_, Ok(Completion::Join(_))) => Err(Failure::Crashed),
            (_, Ok(Completion::Handled(outcome))) => Ok(outcome),
            (_, Err(failure)) => Err(failure),
        };
        channel.running -= 1;
        channel.running_bytes -= ticket.bytes;
        self.pending_bytes -= ticket.bytes;
        match handled {
            Ok(outcome) => self.apply(&ticket.caller, outcome, routes, actions),
            Err(Failure::Crashed) => return self.crash(context, routes, actions),
            Err(Failure::TimedOut) => {
                self.refuse_call(ticket, &Payload::reason("handler timeout"), actions);
            }
            Err(Failure::Overloaded { retry_after_ms }) => {
                self.refuse_call(ticket, &Payload::retry("overloaded", retry_after_ms), actions);
            }
            Err(Failure::Unavailable { retry_after_ms }) => {
                let reason = Payload::retry("unavailable", retry_after_ms);
                self.refuse_call(ticket, &reason, actions);
            }
        }
        self.pump(&context.topic, routes, actions);
    }

    /// Answers the message of a call that failed with an error, if it was one of the client.
    /// The channel goes on.
    fn refuse_call(&mut self, ticket: &Ticket, reason: &Payload, actions: &mut Vec<Action<P>>) {
        let Caller { context, reply_to, .. } = &ticket.caller;
        if let Some(reply_to) = reply_to {
            self.refuse(&context.topic, reply_to, reason, actions);
        }
    }

    /// Takes a reply or a push for a channel's client from outside. When the channel has gone,
    /// it is dropped and counted.
    pub fn deferred(&mut self, deferred: Deferred, actions: &mut Vec<Action<P>>) {
        let (Deferred::Reply { topic, channel, .. }
        | Deferred::Push { topic, channel, .. }
        | Deferred::Presence { topic, channel, .. }) = &deferred;
        let current = self.channels.get(topic).filter(|c| c.context.channel == *channel);
        let Some(context) = current.map(|channel| Arc::clone(&channel.context)) else {
            return actions.push(Action::Count(Count::DeferredGone));
        };
        match deferred {
            Deferred::Reply { reference, status, payload, .. } => {
                actions.extend(self.channel_reply(&context, Some(&reference), &status, &payload));
            }
            Deferred::Push { event, payload, .. } => {
                actions.extend(self.push(&context, event, &payload));
            }
            Deferred::Presence { change, .. } => {
                actions.push(self.presence(&context, change));
            }
        }
    }

    /// Applies effects that a call has flushed before its end. Broadcasts and pushes are sent
    /// even if the channel has gone.
    pub fn flushed(&mut self, caller: &Caller, effects: Vec<Effect>, actions: &mut Vec<Action<P>>) {
        self.apply_effects(caller, effects, actions);
    }

    /// The context of the channel that is joined to a topic.
    #[must_use]
    pub fn joined(&self, topic: &str) -> Option<&Arc<Context>> {
        let channel = self.channels.get(topic)?;
        matches!(channel.state, State::Joined).then_some(&channel.context)
    }

    /// The topic and the assigns of each joined channel whose topic matches one of the
    /// patterns.
    pub fn samples<'a>(
        &'a self,
        topics: &'a [TopicPattern],
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Assigns)> {
        let joined = self.channels.values().filter(|c| matches!(c.state, State::Joined));
        let wanted = |topic: &str| topics.iter().any(|pattern| pattern.matches(topic));
        joined
            .filter(move |channel| wanted(&channel.context.topic))
            .map(|channel| (&channel.context.topic, &channel.assigns))
    }

    /// Applies the outcome of a call to its channel, which is in the session.
    pub(super) fn apply(
        &mut self,
        caller: &Caller,
        outcome: Outcome,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Outcome { effects, assigns } = outcome;
        if let Some(assigns) = assigns
            && let Some(channel) = self.channels.get_mut(&caller.context.topic)
        {
            channel.assigns = assigns;
        }
        if self.apply_effects(caller, effects, actions) {
            self.finish(&caller.context, TerminateReason::Stopped, routes, actions);
        }
    }

    /// Applies effects in order. Whether one of them ends the channel.
    fn apply_effects(
        &mut self,
        caller: &Caller,
        effects: Vec<Effect>,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let mut stops = false;
        for effect in effects {
            match effect {
                Effect::Channel(effect) => {
                    stops |= self.apply_channel_effect(caller, effect, actions);
                }
                Effect::Server(ServerEffect::ReplyTo { socket_ref, status, payload }) => {
                    self.reply_to(socket_ref, status, payload, actions);
                }
                Effect::Server(effect) => actions.push(Action::Server(effect)),
            }
        }
        stops
    }

    /// Applies an effect of a channel's call. Whether it ends the channel.
    fn apply_channel_effect(
        &mut self,
        caller: &Caller,
        effect: ChannelEffect,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let Caller { context, reply_to, .. } = caller;
        match effect {
            ChannelEffect::Reply { status, payload } => {
                let reference = reply_to.as_ref().and_then(|r| r.reference.as_ref());
                actions.extend(self.channel_reply(context, reference, &status, &payload));
            }
            ChannelEffect::Push { event, payload } => {
                actions.extend(self.push(context, event, &payload));
            }
            ChannelEffect::Broadcast { topic, event, payload, exclude_self } => {
                let broadcast = context.broadcast(topic, event, payload, exclude_self);
                actions.push(Action::Server(broadcast));
            }
            ChannelEffect::Subscribe(topic) => self.subscribe(context, topic.into(), actions),
            ChannelEffect::Unsubscribe(topic) => self.unsubscribe(context, &topic, actions),
            ChannelEffect::SendAfter { after_ms, name } => {
                let context = Arc::clone(context);
                let timer = ChannelAction::StartTimer { context, after_ms, name };
                actions.push(Action::Channel(timer));
            }
            ChannelEffect::StartTask { name, payload } => {
                actions.push(self.start_task(caller, name, payload));
            }
            ChannelEffect::Presence(change) => actions.push(self.presence(context, change)),
            ChannelEffect::Stop => return true,
        }
        false
    }

    /// The change of a presence, or the count of one that is refused: that of a channel that has
    /// gone would never end.
    fn presence(&self, context: &Arc<Context>, change: PresenceChange) -> Action<P> {
        let current = self.channels.get(&context.topic);
        match current.filter(|c| c.context.channel == context.channel) {
            Some(_) => {
                let context = Arc::clone(context);
                Action::Channel(ChannelAction::Presence { context, change })
            }
            None => Action::Count(Count::DeferredGone),
        }
    }

    /// The start of a task, or the count of one that is refused: the task of a channel that has
    /// gone would outlive it.
    fn start_task(&self, caller: &Caller, name: String, payload: Payload) -> Action<P> {
        let Context { topic, channel, .. } = &*caller.context;
        match self.channels.get(topic).filter(|c| c.context.channel == *channel) {
            Some(channel) => {
                let plugin = P::clone(&channel.plugin);
                Action::Channel(ChannelAction::StartTask {
                    caller: Box::new(caller.clone()),
                    plugin,
                    name,
                    payload,
                })
            }
            None => Action::Count(Count::TaskRefused),
        }
    }

    /// Answers an earlier message. One of this socket is answered here, in the order of the
    /// effects; the server answers one of another socket.
    fn reply_to(
        &self,
        socket_ref: Box<SocketRef>,
        status: String,
        payload: Payload,
        actions: &mut Vec<Action<P>>,
    ) {
        let Identity { server, connection, .. } = self.identity;
        if (socket_ref.server, socket_ref.connection) != (server, connection) {
            let effect = ServerEffect::ReplyTo { socket_ref, status, payload };
            return actions.push(Action::Server(effect));
        }
        let SocketRef { topic, channel, reference, .. } = *socket_ref;
        match self.channels.get(&topic).filter(|c| c.context.channel == channel) {
            Some(channel) => {
                let context = &channel.context;
                actions.extend(self.channel_reply(context, Some(&reference), &status, &payload));
            }
            None => actions.push(Action::Count(Count::DeferredGone)),
        }
    }

    /// Subscribes a joined channel to a topic. Nothing is done for the channel's own topic and
    /// for one that it has; a subscription beyond `max_subscriptions` is counted only.
    fn subscribe(&mut self, context: &Arc<Context>, topic: Arc<str>, actions: &mut Vec<Action<P>>) {
        let current = self.channels.get_mut(&context.topic);
        // Another join may have the topic now, and must not get this subscription.
        let Some(channel) = current.filter(|c| c.context.channel == context.channel) else {
            return;
        };
        let joined = matches!(channel.state, State::Joined);
        if !joined || topic == context.topic || channel.subscriptions.contains(&topic) {
            return;
        }
        if self.subscriptions >= self.limits.max_subscriptions {
            return actions.push(Action::Count(Count::SubscriptionRefused));
        }
        channel.subscriptions.insert(Arc::clone(&topic));
        self.subscriptions += 1;
        actions.push(Action::Channel(ChannelAction::Subscribe {
            context: Arc::clone(context),
            topic,
        }));
    }

    /// Ends the subscription of a channel to a topic, if it has one.
    fn unsubscribe(&mut self, context: &Arc<Context>, topic: &str, actions: &mut Vec<Action<P>>) {
        let current = self.channels.get_mut(&context.topic);
        let Some(channel) = current.filter(|c| c.context.channel == context.channel) else {
            return;
        };
        if let Some(topic) = channel.subscriptions.take(topic) {
            self.subscriptions -= 1;
            actions.push(Action::Channel(ChannelAction::Unsubscribe {
                channel: context.channel,
                topic,
            }));
        }
    }

    /// The reply to a message, with both refs as the client sent them.
    pub(super) fn reply(
        &self,
        topic: &str,
        reply_to: &ReplyTo,
        status: &str,
        payload: &Payload,
    ) -> Option<Action<P>> {
        let (join_ref, reference) = (reply_to.join_ref.as_ref(), reply_to.reference.as_ref());
        self.reply_with(join_ref, reference, topic, status, payload)
    }

    /// The reply of a channel to a message with this ref. The join ref is the channel's, also
    /// when the message came without one.
    pub(super) fn channel_reply(
        &self,
        context: &Context,
        reference: Option<&Ref>,
        status: &str,
        payload: &Payload,
    ) -> Option<Action<P>> {
        self.reply_with(context.join_ref.as_ref(), reference, &context.topic, status, payload)
    }

    /// A reply with these refs; `None` if it cannot be encoded for this client.
    pub(super) fn reply_with(
        &self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        status: &str,
        payload: &Payload,
    ) -> Option<Action<P>> {
        let serializer = self.identity.serializer;
        let frame = serializer.reply(join_ref, reference, topic, status, payload);
        sendable(topic, frame).map(Action::Send)
    }

    /// A push of a channel; `None` if it cannot be encoded for this client.
    fn push(&self, context: &Context, event: String, payload: &Payload) -> Option<Action<P>> {
        let topic = &context.topic;
        let join_ref = context.join_ref.as_ref();
        let frame = self.identity.serializer.push(join_ref, topic, &event, payload);
        let frame = sendable(topic, frame)?;
        Some(Action::Push { frame, topic: Arc::clone(topic), event })
    }
}

/// The frame, if the client's protocol version can encode it. One that it cannot, a topic of
/// more than 255 bytes in a binary frame for example, is dropped with a warning in the log.
fn sendable(topic: &str, frame: Result<Frame, EncodeError>) -> Option<Frame> {
    match frame {
        Ok(frame) => Some(frame),
        Err(error) => {
            warn!(topic, %error, "a message cannot be sent to this client");
            None
        }
    }
}
