//! What plugins answered.

use std::sync::Arc;

use millrace_wire::{EncodeError, Frame, Payload, Ref, TopicPattern};
use tracing::warn;

use super::{Action, CallPurpose, ChannelAction, Count, Identity, Routing, Session, Ticket};
use crate::channel::{
    Assigns, Caller, ChannelEffect, Completion, Context, Deferred, Effect, Failure, Outcome,
    ServerEffect, SocketRef, State, TerminateReason,
};

impl<P: Clone> Session<P> {
    /// Takes the result of a call.
    ///
    /// A result for a channel that is gone (left, or joined anew) changes
    /// nothing, except for the last call of a channel, `terminate`.
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
                // What a channel is started with here would outlive it.
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
                return self.joined(ticket, Ok(*answer), routes, actions);
            }
            (CallPurpose::Join, Ok(Completion::Handled(_))) => Err(Failure::Crashed),
            (CallPurpose::Join, Err(failure)) => {
                return self.joined(ticket, Err(failure), routes, actions);
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
                self.failed(ticket, &Payload::reason("handler timeout"), actions);
            }
            Err(Failure::Overloaded { retry_after_ms }) => {
                self.failed(ticket, &Payload::retry("overloaded", retry_after_ms), actions);
            }
            Err(Failure::Unavailable { retry_after_ms }) => {
                let reason = Payload::retry("unavailable", retry_after_ms);
                self.failed(ticket, &reason, actions);
            }
        }
        self.pump(&context.topic, routes, actions);
    }

    /// A call came to nothing, and its channel goes on.
    fn failed(&mut self, ticket: &Ticket, reason: &Payload, actions: &mut Vec<Action<P>>) {
        let Caller { context, reply_to, .. } = &ticket.caller;
        if let Some(reply_to) = reply_to {
            self.refuse(&context.topic, reply_to, reason, actions);
        }
    }

    /// Takes an answer or a push for a channel's client from outside; a counted no-op
    /// when the channel has gone.
    pub fn deferred(&mut self, deferred: Deferred, actions: &mut Vec<Action<P>>) {
        let (Deferred::Reply { topic, channel, .. } | Deferred::Push { topic, channel, .. }) =
            &deferred;
        let current = self.channels.get(topic).filter(|c| c.context.channel == *channel);
        let Some(context) = current.map(|channel| Arc::clone(&channel.context)) else {
            return actions.push(Action::Count(Count::DeferredGone));
        };
        match deferred {
            Deferred::Reply { reference, status, payload, .. } => {
                let (join_ref, reference) = (context.join_ref.as_ref(), Some(&reference));
                let topic = &context.topic;
                actions.extend(self.reply(join_ref, reference, topic, &status, &payload));
            }
            Deferred::Push { event, payload, .. } => {
                actions.extend(self.push(&context, event, &payload));
            }
        }
    }

    /// Applies effects of a call that goes on. What it broadcasts is wanted even if the
    /// channel has gone.
    pub fn flushed(&mut self, caller: &Caller, effects: Vec<Effect>, actions: &mut Vec<Action<P>>) {
        self.apply_effects(caller, effects, actions);
    }

    /// The assigns of the joined channels whose topic matches one of some patterns.
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

    /// Applies an outcome to a channel that is there.
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

    /// Applies effects in order; true when one of them ends the channel.
    fn apply_effects(
        &mut self,
        caller: &Caller,
        effects: Vec<Effect>,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let mut stops = false;
        for effect in effects {
            match effect {
                Effect::Channel(effect) => stops |= self.apply_own(caller, effect, actions),
                Effect::Server(ServerEffect::ReplyTo { socket_ref, status, payload }) => {
                    self.reply_to(socket_ref, status, payload, actions);
                }
                Effect::Server(effect) => actions.push(Action::Server(effect)),
            }
        }
        stops
    }

    /// Applies an effect of a channel's own call; true when it ends the channel.
    fn apply_own(
        &mut self,
        caller: &Caller,
        effect: ChannelEffect,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let Caller { context, reply_to, .. } = caller;
        match effect {
            ChannelEffect::Reply { status, payload } => {
                let reference = reply_to.as_ref().and_then(|r| r.reference.as_ref());
                let (join_ref, topic) = (context.join_ref.as_ref(), &context.topic);
                actions.extend(self.reply(join_ref, reference, topic, &status, &payload));
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
            ChannelEffect::Stop => return true,
        }
        false
    }

    /// What a channel that has gone starts would outlive it.
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

    /// Answers an earlier message; one of this socket at once, in the order of
    /// the other effects.
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
                let (join_ref, reference) = (channel.context.join_ref.as_ref(), Some(&reference));
                actions.extend(self.reply(join_ref, reference, &topic, &status, &payload));
            }
            None => actions.push(Action::Count(Count::DeferredGone)),
        }
    }

    /// The channel's own topic is subscribed to from the start.
    fn subscribe(&mut self, context: &Arc<Context>, topic: Arc<str>, actions: &mut Vec<Action<P>>) {
        let current = self.channels.get_mut(&context.topic);
        // What one that has gone subscribes to would be another's.
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

    pub(super) fn reply(
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

    fn push(&self, context: &Context, event: String, payload: &Payload) -> Option<Action<P>> {
        let topic = &context.topic;
        let join_ref = context.join_ref.as_ref();
        let frame = self.identity.serializer.push(join_ref, topic, &event, payload);
        let frame = sendable(topic, frame)?;
        Some(Action::Push { frame, topic: Arc::clone(topic), event })
    }
}

/// A frame the client's protocol version has no room for is left out, and said.
fn sendable(topic: &str, frame: Result<Frame, EncodeError>) -> Option<Frame> {
    match frame {
        Ok(frame) => Some(frame),
        Err(error) => {
            warn!(topic, %error, "a message cannot be sent to this client");
            None
        }
    }
}
