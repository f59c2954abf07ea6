//! What plugins answered.

use std::sync::Arc;

use tracing::warn;

use super::{Action, Routes, Session, Ticket, Turn};
use crate::channel::{Completion, Context, Effect, Outcome, ReplyTo, State, TerminateReason};
use crate::pubsub::Broadcast;
use crate::wire::{Frame, Payload, Ref};

impl<P: Clone> Session<P> {
    /// Takes the result of a call; `None` when it trapped.
    ///
    /// A result for a channel that is gone (left, or joined anew) changes
    /// nothing, except for the last call of a channel, `terminate`.
    pub fn complete(
        &mut self,
        ticket: &Ticket,
        result: Option<Completion>,
        routes: &Routes<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let context = &ticket.context;
        if ticket.turn == Turn::Terminate {
            if let Some(Completion::Handled(outcome)) = result {
                self.apply_effects(context, None, outcome.effects, actions);
            }
            return;
        }
        let current = self.channels.get_mut(&context.topic);
        let Some(channel) = current.filter(|c| c.context.channel == context.channel) else {
            return;
        };
        match (&ticket.turn, result) {
            (Turn::Join, Some(Completion::Join(answer))) => {
                self.joined(ticket, Some(answer), routes, actions);
            }
            (Turn::Join, _) => self.joined(ticket, None, routes, actions),
            (Turn::Message(reply_to), Some(Completion::Handled(outcome))) => {
                channel.running -= 1;
                self.apply(context, Some(reply_to), outcome, routes, actions);
                self.pump(&context.topic, routes, actions);
            }
            (Turn::Notice, Some(Completion::Handled(outcome))) => {
                channel.running -= 1;
                self.apply(context, None, outcome, routes, actions);
                self.pump(&context.topic, routes, actions);
            }
            (Turn::Message(_) | Turn::Notice | Turn::Terminate, _) => {
                self.crash(context, routes, actions);
            }
        }
    }

    /// Applies an outcome to a channel that is there.
    pub(super) fn apply(
        &mut self,
        context: &Arc<Context>,
        reply_to: Option<&ReplyTo>,
        outcome: Outcome,
        routes: &Routes<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Outcome { effects, assigns } = outcome;
        if let (Some(assigns), Some(channel)) = (assigns, self.channels.get_mut(&context.topic)) {
            channel.assigns = assigns;
        }
        if self.apply_effects(context, reply_to, effects, actions) {
            self.finish(context, TerminateReason::Stopped, routes, actions);
        }
    }

    /// Applies effects in order; true when one of them ends the channel.
    fn apply_effects(
        &mut self,
        context: &Arc<Context>,
        reply_to: Option<&ReplyTo>,
        effects: Vec<Effect>,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let mut stop = false;
        for effect in effects {
            match effect {
                Effect::Reply { status, payload } => {
                    let reference = reply_to.and_then(|reply_to| reply_to.reference.as_ref());
                    let join_ref = context.join_ref.as_ref();
                    actions.extend(self.reply(
                        join_ref,
                        reference,
                        &context.topic,
                        &status,
                        &payload,
                    ));
                }
                Effect::Push { event, payload } => {
                    actions.extend(self.push(context, &event, &payload));
                }
                Effect::Broadcast { topic, event, payload, from } => {
                    let topic = topic.map_or_else(|| Arc::clone(&context.topic), Arc::from);
                    let broadcast = Arc::new(Broadcast { topic, event: event.into(), payload });
                    let from = from.then_some(context.channel);
                    actions.push(Action::Broadcast { broadcast, from });
                }
                Effect::Subscribe(topic) => self.subscribe(context, topic.into(), actions),
                Effect::Unsubscribe(topic) => self.unsubscribe(context, &topic, actions),
                Effect::SendAfter { after_ms, name } => {
                    let context = Arc::clone(context);
                    actions.push(Action::StartTimer { context, after_ms, name });
                }
                Effect::Stop => stop = true,
            }
        }
        stop
    }

    /// The channel's own topic is subscribed to from the start.
    fn subscribe(&mut self, context: &Arc<Context>, topic: Arc<str>, actions: &mut Vec<Action<P>>) {
        let Some(channel) = self.channels.get_mut(&context.topic) else { return };
        let joined = matches!(channel.state, State::Joined);
        if joined && topic != context.topic && !channel.subscriptions.contains(&topic) {
            channel.subscriptions.push(Arc::clone(&topic));
            actions.push(Action::Subscribe { context: Arc::clone(context), topic });
        }
    }

    fn unsubscribe(&mut self, context: &Arc<Context>, topic: &str, actions: &mut Vec<Action<P>>) {
        let Some(channel) = self.channels.get_mut(&context.topic) else { return };
        if let Some(at) = channel.subscriptions.iter().position(|t| t.as_ref() == topic) {
            let topic = channel.subscriptions.swap_remove(at);
            actions.push(Action::Unsubscribe { channel: context.channel, topic });
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
        sendable(topic, serializer.reply(join_ref, reference, topic, status, payload))
    }

    fn push(&self, context: &Context, event: &str, payload: &Payload) -> Option<Action<P>> {
        let topic = &context.topic;
        let frame = self.identity.serializer.push(context.join_ref.as_ref(), topic, event, payload);
        sendable(topic, frame)
    }
}

/// A frame the client's protocol version has no room for is left out, and said.
fn sendable<P>(topic: &str, frame: Result<Frame, crate::wire::EncodeError>) -> Option<Action<P>> {
    match frame {
        Ok(frame) => Some(Action::Send(frame)),
        Err(error) => {
            warn!(topic, %error, "a message cannot be sent to this client");
            None
        }
    }
}
