//! The end of a channel, in each of its ways, and of the connection.

use std::sync::Arc;

use millrace_wire::{Payload, Ref};

use super::{Action, Call, CallPurpose, ChannelAction, Routing, Session, Ticket};
use crate::channel::{
    Callback, Caller, Channel, Context, MailboxItem, ReplyTo, State, TerminateReason,
};

impl<P: Clone> Session<P> {
    /// Ends the session, as the connection is over. Each channel still handles the messages
    /// that it has, then its `terminate` is called. Replies and pushes go nowhere.
    pub fn close(
        &mut self,
        reason: TerminateReason,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        self.end_reason = Some(reason);
        let topics: Vec<_> = self.channels.keys().cloned().collect();
        for topic in topics {
            let Some(channel) = self.channels.get_mut(&topic) else { continue };
            if matches!(channel.state, State::Joined) {
                // The end of a channel always finds room.
                let put = channel.mailbox.push(MailboxItem::End(reason));
                self.pending_bytes += put.unwrap_or_default();
            }
            self.pump(&topic, routes, actions);
        }
    }

    /// Ends a channel that the client leaves: it gets the reply, then `phx_close`, then what
    /// `terminate` pushes, as in `lib/phoenix/channel/server.ex`.
    pub(super) fn leave(
        &mut self,
        topic: &str,
        reply_to: &ReplyTo,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let reference = reply_to.reference.as_ref();
        let Some(context) = self.channels.get(topic).map(|c| Arc::clone(&c.context)) else {
            return;
        };
        actions.extend(self.channel_reply(&context, reference, "ok", &Payload::empty()));
        self.finish(&context, TerminateReason::Left, routes, actions);
    }

    /// Ends a channel with `phx_close` and `terminate`, while the connection goes on.
    pub(super) fn finish(
        &mut self,
        context: &Context,
        reason: TerminateReason,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let join_ref = context.sent_join_ref.as_ref();
        actions.push(self.channel_end(&context.topic, join_ref, "phx_close", "{}"));
        let items = self.end(&context.topic, reason, actions);
        self.return_items(&context.topic, items, routes, actions);
    }

    /// Ends a channel whose call trapped, with `phx_error` and without `terminate`.
    pub(super) fn crash(
        &mut self,
        context: &Context,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Some(mut channel) = self.remove(&context.topic, actions) else { return };
        let (join_ref, reason) = (context.sent_join_ref.as_ref(), r#"{"reason":"channel_crash"}"#);
        actions.push(self.channel_end(&context.topic, join_ref, "phx_error", reason));
        let items = channel.mailbox.take().into_iter().collect();
        self.return_items(&context.topic, items, routes, actions);
    }

    /// Removes a channel and calls its `terminate`. Returns the items of its mailbox.
    pub(super) fn end(
        &mut self,
        topic: &str,
        reason: TerminateReason,
        actions: &mut Vec<Action<P>>,
    ) -> Vec<MailboxItem> {
        let Some(mut channel) = self.remove(topic, actions) else { return Vec::new() };
        let items = channel.mailbox.take().into_iter().collect();
        actions.push(Action::Call(Box::new(Call {
            callback: Callback::Terminate(reason),
            ticket: Ticket {
                caller: Caller { context: Arc::clone(&channel.context), reply_to: None, number: 0 },
                purpose: CallPurpose::Terminate,
                bytes: 0,
            },
            plugin: channel.plugin,
            assigns: Some(channel.assigns),
        })));
        items
    }

    /// Removes a channel, and ends its calls in flight and its subscriptions.
    pub(super) fn remove(
        &mut self,
        topic: &str,
        actions: &mut Vec<Action<P>>,
    ) -> Option<Box<Channel<P>>> {
        let channel = self.channels.remove(topic)?;
        self.pending_bytes -= channel.bytes();
        self.subscriptions -= channel.subscriptions.len();
        let id = channel.context.channel;
        if channel.running > 0 {
            actions.push(Action::Channel(ChannelAction::EndCalls(id)));
        }
        let (context, plugin) = (Arc::clone(&channel.context), P::clone(&channel.plugin));
        actions.push(Action::Channel(ChannelAction::Leave { context, plugin }));
        for topic in &channel.subscriptions {
            actions.push(Action::Channel(ChannelAction::Unsubscribe {
                channel: id,
                topic: Arc::clone(topic),
            }));
        }
        Some(channel)
    }

    /// The frame that ends a channel for its client: `phx_close` or `phx_error`, with the join
    /// ref as join ref and as ref.
    pub(super) fn channel_end(
        &self,
        topic: &str,
        join_ref: Option<&Ref>,
        event: &str,
        payload: &str,
    ) -> Action<P> {
        Action::Send(self.identity.serializer.channel_end(join_ref, topic, event, payload))
    }

    /// Delivers the messages that waited for a channel that is gone, as if they came now: they
    /// are answered with `unmatched topic`, or join the topic. Broadcasts and timers are
    /// dropped.
    fn return_items(
        &mut self,
        topic: &str,
        items: Vec<MailboxItem>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        for item in items {
            match item {
                MailboxItem::In { reply_to, event, payload }
                | MailboxItem::Early { reply_to, event, payload } => {
                    self.deliver(topic, &event, reply_to, payload, routes, actions);
                }
                MailboxItem::Leave(reply_to) => {
                    let payload = Payload::empty();
                    self.deliver(topic, "phx_leave", reply_to, payload, routes, actions);
                }
                MailboxItem::Out(_) | MailboxItem::Info(_) | MailboxItem::End(_) => {}
            }
        }
    }
}
