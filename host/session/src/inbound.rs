//! Messages of the client, notices of other tasks, timers.

use std::sync::Arc;

use millrace_wire::{Message, Payload, Ref};
use smol_str::SmolStr;

use super::{Action, Call, CallPurpose, Calls, Count, Routing, Session, Ticket};
use crate::channel::{
    Assigns, Callback, Caller, Channel, Context, Info, MailboxItem, Notice, ReplyTo, State,
    entry_bytes,
};

/// What of the messages before it a message has to come after. What it is for is done in
/// the session, while those before it may still be with plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing: it waits in its channel for its turn.
    Any,
    /// They have been handled: it is answered at once, and their answers come first.
    AfterCalls,
    /// Their results have been applied: joining again ends what its calls came to.
    AfterResults,
}

impl Order {
    /// What a message of the client has to come after.
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
    /// Takes a message of the client.
    pub fn receive(
        &mut self,
        message: Message<'_>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Message { join_ref, reference, topic, event, payload, problem } = message;
        let number = self.next_message();
        if topic == "phoenix" && event == "heartbeat" {
            let frame = self.reply(None, reference.as_ref(), &topic, "ok", &Payload::empty());
            actions.extend(frame);
            return;
        }
        let reply_to = ReplyTo { join_ref, reference, number };
        // Nobody reads what comes with a leave.
        if let Some(problem) = problem.filter(|_| event != "phx_leave") {
            actions.push(Action::Count(Count::MessageRefused));
            let reason = Payload::reason(&format!("invalid payload: {problem}"));
            return self.refuse(&topic, &reply_to, &reason, actions);
        }
        self.deliver(&topic, &event, reply_to, payload, routes, actions);
    }

    /// Takes a message of the client to its channel, or to the plugin that
    /// decides about a join.
    fn deliver(
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
                    // A message of an earlier join: the client has forgotten it.
                    (State::Joined, _) if !channel.accepts(reply_to.join_ref.as_ref()) => Ok(0),
                    (State::Joined, "phx_leave") if channel.mailbox.has_leave() => {
                        // It is leaving already.
                        return self.left(topic, &reply_to, actions);
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

    /// Takes a broadcast that one of the channels has to see.
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
        self.put(&topic, channel, item, routes, actions);
    }

    /// Takes a timer that ran out.
    pub fn timer(
        &mut self,
        topic: &Arc<str>,
        channel: u64,
        name: String,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        self.put(topic, channel, MailboxItem::Info(Info::Timer(name)), routes, actions);
    }

    fn put(
        &mut self,
        topic: &Arc<str>,
        id: u64,
        item: MailboxItem,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        // A channel that has gone meanwhile misses nothing.
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
            "phx_leave" => self.left(topic, &reply_to, actions),
            _ => self.unmatched(topic, reply_to.reference.as_ref(), actions),
        }
    }

    /// Answers a leave that has nothing to do.
    fn left(&self, topic: &str, reply_to: &ReplyTo, actions: &mut Vec<Action<P>>) {
        let (join_ref, reference) = (reply_to.join_ref.as_ref(), reply_to.reference.as_ref());
        actions.extend(self.reply(join_ref, reference, topic, "ok", &Payload::empty()));
    }

    /// Starts as many calls as the channel may run.
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
                MailboxItem::Leave(reply_to) => self.leave(topic, reply_to, routes, actions),
                MailboxItem::End(reason) => {
                    // Nobody waits for answers any more.
                    self.end(topic, reason, actions);
                }
                // Only a joining channel gets early ones, and `joined` takes them
                // out; of the others calls were started.
                MailboxItem::Early { reply_to, event, payload }
                | MailboxItem::In { reply_to, event, payload } => {
                    self.resend(topic, reply_to, &event, payload, routes, actions);
                }
                MailboxItem::Out(_) | MailboxItem::Info(_) => {}
            }
        }
    }

    /// Adds the messages that wait behind a call of their channel, to be made with it
    /// one after the other, until there are `most` calls or one has to wait for what
    /// they come to.
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

    /// Takes back calls that were not made, for their messages to wait again.
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

    /// Takes a message again that waited for a channel that is gone, or joined.
    pub(super) fn resend(
        &mut self,
        topic: &str,
        reply_to: ReplyTo,
        event: &str,
        payload: Payload,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        self.deliver(topic, event, reply_to, payload, routes, actions);
    }

    fn overloaded(&self, topic: &str, item: &MailboxItem, actions: &mut Vec<Action<P>>) {
        let (MailboxItem::In { reply_to, .. } | MailboxItem::Early { reply_to, .. }) = item else {
            return;
        };
        actions.push(Action::Count(Count::ChannelOverloaded));
        let reason = Payload::retry("overloaded", self.limits.retry_after_ms);
        self.refuse(topic, reply_to, &reason, actions);
    }

    /// A task found no room: the message that wanted it is told.
    pub fn no_room(&self, caller: &Caller, actions: &mut Vec<Action<P>>) {
        if let Some(reply_to) = &caller.reply_to {
            let reason = Payload::retry("overloaded", self.limits.retry_after_ms);
            self.refuse(&caller.context.topic, reply_to, &reason, actions);
        }
    }

    /// Answers a message with an error.
    pub(super) fn refuse(
        &self,
        topic: &str,
        reply_to: &ReplyTo,
        reason: &Payload,
        actions: &mut Vec<Action<P>>,
    ) {
        let (join_ref, reference) = (reply_to.join_ref.as_ref(), reply_to.reference.as_ref());
        actions.extend(self.reply(join_ref, reference, topic, "error", reason));
    }

    pub(super) fn unmatched(
        &self,
        topic: &str,
        reference: Option<&Ref>,
        actions: &mut Vec<Action<P>>,
    ) {
        let reason = Payload::reason("unmatched topic");
        actions.extend(self.reply(None, reference, topic, "error", &reason));
    }
}

/// Starts as many calls as the channel may run; the item in its turn that no
/// call is for.
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

fn handle_in(reply_to: &ReplyTo, event: SmolStr, payload: Payload) -> Callback {
    Callback::HandleIn { event, payload, wants_reply: reply_to.reference.is_some() }
}

/// Starts a call from what the channel's last call left.
fn start_next<P>(
    channel: &mut Channel<P>,
    callback: Callback,
    purpose: CallPurpose,
    reply_to: Option<ReplyTo>,
) -> Box<Call<P>> {
    let assigns = Some(channel.assigns.clone());
    start(channel, callback, assigns, purpose, reply_to)
}

/// Starts a call for the channel's next turn.
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
