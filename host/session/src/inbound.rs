//! Inputs of a session: messages of the client, broadcasts and timers; and the calls that they
//! lead to.

use std::sync::Arc;

use millrace_wire::{Message, Payload, Ref};
use smol_str::SmolStr;

use super::{Action, Call, CallPurpose, Calls, Count, Routing, Session, Ticket};
use crate::channel::{
    Assigns, Callback, Caller, Channel, Context, Info, MailboxItem, Notice, ReplyTo, State,
    entry_bytes,
};

/// The place of a message behind the messages before it, which may still be with plugins when
/// the session gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The session may get the message at once: it waits in the mailbox of its channel.
    Any,
    /// The session may get the message when the calls for the messages before it have ended:
    /// it is answered at once, and their replies come first.
    AfterCalls,
    /// The session may get the message when the results of those calls have been applied too:
    /// when the client joins again, results that come later change nothing.
    AfterResults,
}

impl Order {
    /// The order of a message of the client: `phx_join` comes after results, the other
    /// `phx_` events and the heartbeat after calls.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Self {
        match &*message.event {
            "phx_join" => Self::AfterResults,
            event if event.starts_with("phx_") || message.topic == "phoenix" => Self::AfterCalls,
            _ => Self::Any,
        }
    }
}

impl<P: Clone> Session<P> {
    /// Takes a message of the client. The rules and their order are those of `handle_in` in
    /// `lib/phoenix/socket.ex`; rule 2 is ours:
    ///
    /// 1. A heartbeat is answered with `ok`.
    /// 2. A payload that the protocol version does not allow is answered with an error.
    /// 3. On a topic that is joined: a join joins again, a stale join ref is dropped without a
    ///    reply, a leave and any other message go to the channel.
    /// 4. On any other topic: a join asks the plugin, a leave is answered with `ok`, and
    ///    another message with `unmatched topic`.
    ///
    /// While a topic is being joined, its messages wait.
    pub fn receive(
        &mut self,
        message: Message<'_>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Message { join_ref, reference, topic, event, payload, problem } = message;
        let number = self.count_message();
        if topic == "phoenix" && event == "heartbeat" {
            let reply_to = ReplyTo { join_ref: None, reference, number };
            actions.extend(self.reply(&topic, &reply_to, "ok", &Payload::empty()));
            return;
        }
        let reply_to = ReplyTo { join_ref, reference, number };
        // The payload of a leave is not used, so it may have a problem.
        if let Some(problem) = problem.filter(|_| event != "phx_leave") {
            actions.push(Action::Count(Count::MessageRefused));
            let reason = Payload::reason(&format!("invalid payload: {problem}"));
            return self.refuse(&topic, &reply_to, &reason, actions);
        }
        self.deliver(&topic, &event, reply_to, payload, routes, actions);
    }

    /// Takes a message of the client to its channel, or to the plugin that decides about a
    /// join. It may be one that has waited for a channel which has been joined, or is gone.
    pub(super) fn deliver(
        &mut self,
        topic: &str,
        event: &str,
        reply_to: ReplyTo,
        payload: Payload,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        match self.channels.get_mut(topic) {
            Some(channel) => {
                let put = match (&channel.state, event) {
                    (State::Joining { .. }, _) => {
                        let event = SmolStr::new(event);
                        channel.mailbox.push(MailboxItem::Early { reply_to, event, payload })
                    }
                    (State::Joined, "phx_join") => {
                        self.rejoin(topic, reply_to, payload, routes, actions);
                        Ok(0)
                    }
                    // A stale join ref, of an earlier join: Phoenix drops the message, too.
                    (State::Joined, _) if !channel.accepts(reply_to.join_ref.as_ref()) => Ok(0),
                    (State::Joined, "phx_leave") if channel.mailbox.has_leave() => {
                        // The channel is leaving already.
                        return self.reply_to_leave(topic, &reply_to, actions);
                    }
                    (State::Joined, "phx_leave") => {
                        channel.mailbox.push(MailboxItem::Leave(reply_to))
                    }
                    (State::Joined, _) if channel.is_free() => {
                        let callback = handle_in(&reply_to, SmolStr::new(event), payload);
                        let call =
                            start_next(channel, callback, CallPurpose::Message, Some(reply_to));
                        self.pending_bytes += call.ticket.bytes;
                        return actions.push(Action::Call(call));
                    }
                    (State::Joined, _) => {
                        let event = SmolStr::new(event);
                        channel.mailbox.push(MailboxItem::In { reply_to, event, payload })
                    }
                };
                self.pending_bytes += put.as_ref().map_or(0, |bytes| *bytes);
                self.pump(topic, routes, actions);
                if let Err(item) = put {
                    self.overloaded(topic, &item, actions);
                }
            }
            None => self.receive_unjoined(topic, event, reply_to, payload, routes, actions),
        }
    }

    /// Takes a broadcast for the plugin of one of the channels.
    pub fn notice(
        &mut self,
        notice: Notice,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Notice { topic, channel, broadcast, intercepted } = notice;
        let item = match intercepted {
            true => MailboxItem::Out(broadcast),
            false => MailboxItem::Info(Info::Broadcast(broadcast)),
        };
        self.push_item(&topic, channel, item, routes, actions);
    }

    /// Takes the name of a channel's timer that has run out.
    pub fn timer(
        &mut self,
        topic: &Arc<str>,
        channel: u64,
        name: String,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        self.push_item(topic, channel, MailboxItem::Info(Info::Timer(name)), routes, actions);
    }

    /// Puts a broadcast or a timer into the mailbox of a channel. Without room there, or in
    /// the bytes that all channels may have waiting, it is dropped and counted.
    fn push_item(
        &mut self,
        topic: &Arc<str>,
        id: u64,
        item: MailboxItem,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        // A channel that has gone needs no broadcasts and no timers.
        let Some(channel) = self.channels.get_mut(topic).filter(|c| c.context.channel == id) else {
            return;
        };
        let bytes = item.bytes();
        let has_room = self.pending_bytes.saturating_add(bytes) <= self.limits.max_pending_bytes;
        if has_room && channel.mailbox.push(item).is_ok() {
            self.pending_bytes += bytes;
        } else {
            actions.push(Action::Count(Count::NoticeDropped));
        }
        self.pump(topic, routes, actions);
    }

    /// Takes a message for a topic that is not joined.
    fn receive_unjoined(
        &mut self,
        topic: &str,
        event: &str,
        reply_to: ReplyTo,
        payload: Payload,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        match event {
            "phx_join" => self.join(topic, reply_to, payload, None, routes, actions),
            "phx_leave" => self.reply_to_leave(topic, &reply_to, actions),
            _ => self.unmatched(topic, reply_to.reference.as_ref(), actions),
        }
    }

    /// Answers a leave of a topic that is not joined, or is being left, with `ok`.
    pub(super) fn reply_to_leave(
        &self,
        topic: &str,
        reply_to: &ReplyTo,
        actions: &mut Vec<Action<P>>,
    ) {
        actions.extend(self.reply(topic, reply_to, "ok", &Payload::empty()));
    }

    /// Starts calls for items of a channel's mailbox, until `max_running` calls are in flight
    /// or the mailbox is empty. Leaves or ends the channel when that is the next item.
    pub(super) fn pump(
        &mut self,
        topic: &str,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        while let Some(channel) = self.channels.get_mut(topic) {
            let Some(item) = start_calls(channel, actions) else { return };
            self.pending_bytes -= item.bytes();
            match item {
                MailboxItem::Leave(reply_to) => self.leave(topic, &reply_to, routes, actions),
                MailboxItem::End(reason) => {
                    // The connection is over, so the messages that wait get no reply.
                    self.end(topic, reason, actions);
                }
                // Not reached: only a joining channel has `Early` items, and
                // `complete_join` takes them out; the others become calls.
                MailboxItem::Early { reply_to, event, payload }
                | MailboxItem::In { reply_to, event, payload } => {
                    self.deliver(topic, &event, reply_to, payload, routes, actions);
                }
                MailboxItem::Out(_) | MailboxItem::Info(_) => {}
            }
        }
    }

    /// Adds calls for the messages that wait behind a call of their channel, to be made after
    /// it one by one, until `calls` has `most` entries or the next item of the mailbox is no
    /// message. A channel that may have several calls in flight gets none.
    pub fn follow(&mut self, context: &Context, most: usize, calls: &mut Calls<P>) {
        let Some(channel) = self.channels.get_mut(&context.topic) else { return };
        let in_turn = channel.max_running == 1 && matches!(channel.state, State::Joined);
        if !in_turn || channel.context.channel != context.channel {
            return;
        }
        while calls.len() < most
            && let Some((reply_to, event, payload)) = channel.mailbox.pop_message()
        {
            let callback = handle_in(&reply_to, event, payload);
            calls.push(start(channel, callback, None, CallPurpose::Message, Some(reply_to)));
        }
    }

    /// Takes back calls that were not made. Their messages wait again, in front of the mailbox
    /// and in their order.
    pub fn put_back(&mut self, calls: Calls<P>) {
        for call in calls.into_iter().rev() {
            let Call { callback, ticket, .. } = *call;
            let Caller { context, reply_to, .. } = ticket.caller;
            let bytes = ticket.bytes;
            let current = self.channels.get_mut(&context.topic);
            if let Some(channel) = current.filter(|c| c.context.channel == context.channel)
                && let (Callback::HandleIn { event, payload, .. }, Some(reply_to)) =
                    (callback, reply_to)
            {
                channel.running -= 1;
                channel.running_bytes -= bytes;
                channel.mailbox.put_back(MailboxItem::In { reply_to, event, payload });
            }
        }
    }

    /// Answers a message that found its mailbox full with `overloaded`, and counts it.
    fn overloaded(&self, topic: &str, item: &MailboxItem, actions: &mut Vec<Action<P>>) {
        let (MailboxItem::In { reply_to, .. } | MailboxItem::Early { reply_to, .. }) = item else {
            return;
        };
        actions.push(Action::Count(Count::ChannelOverloaded));
        let reason = Payload::retry("overloaded", self.limits.retry_after_ms);
        self.refuse(topic, reply_to, &reason, actions);
    }

    /// Answers the message whose call wanted to start a task with `overloaded`, as there is no
    /// room for one more task.
    pub fn refuse_task(&self, caller: &Caller, actions: &mut Vec<Action<P>>) {
        if let Some(reply_to) = &caller.reply_to {
            let reason = Payload::retry("overloaded", self.limits.retry_after_ms);
            self.refuse(&caller.context.topic, reply_to, &reason, actions);
        }
    }

    /// Answers a message with the status `error` and this response.
    pub(super) fn refuse(
        &self,
        topic: &str,
        reply_to: &ReplyTo,
        reason: &Payload,
        actions: &mut Vec<Action<P>>,
    ) {
        actions.extend(self.reply(topic, reply_to, "error", reason));
    }

    /// Answers a message for a topic without a channel or a route. The join ref of the reply
    /// is `null`, as in `encode_ignore` of `lib/phoenix/socket.ex`.
    pub(super) fn unmatched(
        &self,
        topic: &str,
        reference: Option<&Ref>,
        actions: &mut Vec<Action<P>>,
    ) {
        let reason = Payload::reason("unmatched topic");
        actions.extend(self.reply_with(None, reference, topic, "error", &reason));
    }
}

/// Starts calls for the items of the mailbox, until `max_running` calls are in flight. Stops
/// at an item that no call is for, and returns it.
fn start_calls<P>(channel: &mut Channel<P>, actions: &mut Vec<Action<P>>) -> Option<MailboxItem> {
    while channel.running < channel.max_running && matches!(channel.state, State::Joined) {
        let (callback, purpose, reply_to) = match channel.mailbox.pop(channel.running)? {
            MailboxItem::In { reply_to, event, payload } => {
                let callback = handle_in(&reply_to, event, payload);
                (callback, CallPurpose::Message, Some(reply_to))
            }
            MailboxItem::Out(broadcast) => {
                (Callback::HandleOut(broadcast), CallPurpose::Notice, None)
            }
            MailboxItem::Info(info) => (Callback::HandleInfo(info), CallPurpose::Notice, None),
            other => return Some(other),
        };
        actions.push(Action::Call(start_next(channel, callback, purpose, reply_to)));
    }
    None
}

/// The callback for a message of the client.
fn handle_in(reply_to: &ReplyTo, event: SmolStr, payload: Payload) -> Callback {
    Callback::HandleIn { event, payload, wants_reply: reply_to.reference.is_some() }
}

/// Starts a call from the channel's assigns.
fn start_next<P>(
    channel: &mut Channel<P>,
    callback: Callback,
    purpose: CallPurpose,
    reply_to: Option<ReplyTo>,
) -> Box<Call<P>> {
    let assigns = Some(channel.assigns.clone());
    start(channel, callback, assigns, purpose, reply_to)
}

/// Starts a call from these assigns, and counts it as in flight.
fn start<P>(
    channel: &mut Channel<P>,
    callback: Callback,
    assigns: Option<Assigns>,
    purpose: CallPurpose,
    reply_to: Option<ReplyTo>,
) -> Box<Call<P>> {
    let bytes = entry_bytes(callback.bytes());
    channel.running += 1;
    channel.running_bytes += bytes;
    let context = Arc::clone(&channel.context);
    let number = reply_to.as_ref().map_or(0, |reply_to| reply_to.number);
    let ticket = Ticket { caller: Caller { context, reply_to, number }, purpose, bytes };
    Box::new(Call { plugin: Arc::clone(&channel.plugin), callback, assigns, ticket })
}
