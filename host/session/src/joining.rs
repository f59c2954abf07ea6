//! Joins: of a topic, and of a topic that is joined already.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::{MAX_TOPIC_BYTES, Payload};
use tracing::debug;

use super::{Action, Call, CallPurpose, ChannelAction, Count, Routing, Session, Ticket};
use crate::channel::{
    Callback, Caller, Channel, ChannelEffect, Context, Effect, Failure, Joined, Mailbox,
    MailboxItem, PresenceChange, Replaced, ReplyTo, State, entry_bytes,
};

impl<P: Clone> Session<P> {
    /// Starts to join a topic: a channel that waits for the plugin's answer. `replaced` is the
    /// channel that had the topic until now.
    pub(super) fn join(
        &mut self,
        topic: &str,
        reply_to: ReplyTo,
        params: Payload,
        replaced: Option<Replaced>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Some((plugin, max_running)) = routes.who_serves(topic) else {
            debug!(topic, "no plugin serves this topic");
            self.unmatched(topic, reply_to.reference.as_ref(), actions);
            self.close_replaced(topic, replaced, actions);
            return;
        };
        if let Some(refusal) = self.join_refusal(topic) {
            actions.push(Action::Count(Count::ChannelRefused));
            self.refuse(topic, &reply_to, &Payload::reason(refusal), actions);
            self.close_replaced(topic, replaced, actions);
            return;
        }
        // `rejoin` has asked before it ended the channel that was there.
        if replaced.is_none() && !self.admit_join(topic, &reply_to, routes, actions) {
            return;
        }
        let number = reply_to.number;
        let bytes = entry_bytes(params.len());
        let context = Arc::new(Context {
            connection: self.identity.connection,
            channel: self.channel_ids.fetch_add(1, Ordering::Relaxed),
            topic: topic.into(),
            join_ref: reply_to.join_ref.clone().or_else(|| reply_to.reference.clone()),
            sent_join_ref: reply_to.join_ref.clone(),
            join_message_ref: reply_to.reference.clone(),
            user_id: self.identity.user_id.clone(),
        });
        let plugin = Arc::new(plugin);
        let channel = Channel {
            context: Arc::clone(&context),
            plugin: Arc::clone(&plugin),
            state: State::Joining { reply_to, replaced },
            mailbox: Mailbox::new(self.limits.max_pending, self.waiting.clone()),
            running: 1,
            running_bytes: bytes,
            max_running,
            assigns: self.identity.assigns.clone(),
            subscriptions: HashSet::new(),
        };
        self.channels.insert(Arc::clone(&context.topic), Box::new(channel));
        self.pending_bytes += bytes;
        actions.push(Action::Call(Box::new(Call {
            plugin,
            callback: Callback::Join { params },
            assigns: Some(self.identity.assigns.clone()),
            ticket: Ticket {
                caller: Caller { context, reply_to: None, number },
                purpose: CallPurpose::Join,
                bytes,
            },
        })));
    }

    /// Whether the server has room for one more join now. If not, the join is counted, and
    /// answered with `overloaded` and the time after which the client may try again.
    fn admit_join(
        &self,
        topic: &str,
        reply_to: &ReplyTo,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) -> bool {
        let Err(after) = routes.admit_join() else { return true };
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
        actions.push(Action::Count(Count::JoinRefused));
        self.refuse(topic, reply_to, &Payload::retry("overloaded", after_ms), actions);
        false
    }

    /// Joins a joined topic again: the old channel ends at once, without `terminate`, and the
    /// results of its calls in flight are dropped. It stays as it is when the server has no
    /// room for one more join. As in `lib/phoenix/socket.ex`, the client gets the reply to the
    /// new join first and then the `phx_close` of the old one.
    pub(super) fn rejoin(
        &mut self,
        topic: &str,
        reply_to: ReplyTo,
        params: Payload,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        if !self.admit_join(topic, &reply_to, routes, actions) {
            return;
        }
        let Some(mut old) = self.remove(topic, actions) else { return };
        for item in old.mailbox.take() {
            if let MailboxItem::Leave(leave) = item {
                self.reply_to_leave(topic, &leave, actions);
            }
        }
        let replaced = Some(Replaced { join_ref: old.context.sent_join_ref.clone() });
        self.join(topic, reply_to, params, replaced, routes, actions);
    }

    /// Takes the result of a join: the plugin has accepted or refused it, or the call failed.
    pub(super) fn complete_join(
        &mut self,
        ticket: &Ticket,
        answer: Result<Result<Joined, Payload>, Failure>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let topic = &ticket.caller.context.topic;
        let Some(channel) = self.channels.get_mut(topic) else { return };
        channel.running -= 1;
        self.pending_bytes -= channel.bytes();
        channel.running_bytes = 0;
        let State::Joining { reply_to, replaced } =
            std::mem::replace(&mut channel.state, State::Joined)
        else {
            return;
        };
        let early = channel.mailbox.take();
        match answer {
            Ok(Ok(Joined { response, mut outcome })) => {
                let plugin = P::clone(&channel.plugin);
                let response = response.unwrap_or_else(Payload::empty);
                actions.extend(self.reply(topic, &reply_to, "ok", &response));
                self.close_replaced(topic, replaced, actions);
                // The reply is queued but not written yet: a client that has the reply
                // finds its channel subscribed.
                let context = Arc::clone(&ticket.caller.context);
                let presences = take_presences(&mut outcome.effects);
                let join = ChannelAction::Join { context, plugin, presences };
                actions.push(Action::Channel(join));
                self.apply(&ticket.caller, outcome, routes, actions);
            }
            refused => {
                let reason = match refused {
                    Ok(Ok(_)) | Err(Failure::Crashed) => Payload::reason("join crashed"),
                    Ok(Err(response)) => response,
                    Err(Failure::TimedOut) => Payload::reason("join timeout"),
                    Err(Failure::Overloaded { retry_after_ms }) => {
                        Payload::retry("overloaded", retry_after_ms)
                    }
                    Err(Failure::Unavailable { retry_after_ms }) => {
                        Payload::retry("unavailable", retry_after_ms)
                    }
                };
                self.channels.remove(topic);
                self.refuse(topic, &reply_to, &reason, actions);
                self.close_replaced(topic, replaced, actions);
            }
        }
        self.deliver_early(topic, early, routes, actions);
    }

    /// Delivers the items that came while the channel was joining: messages of the client as
    /// if they came now, broadcasts and timers to the mailbox if there is a channel.
    fn deliver_early(
        &mut self,
        topic: &str,
        early: std::collections::VecDeque<MailboxItem>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        for item in early {
            match item {
                MailboxItem::Early { reply_to, event, payload } => {
                    self.deliver(topic, &event, reply_to, payload, routes, actions);
                }
                other => {
                    let Some(channel) = self.channels.get_mut(topic) else { continue };
                    match channel.mailbox.push(other) {
                        Ok(bytes) => self.pending_bytes += bytes,
                        Err(_) => actions.push(Action::Count(Count::NoticeDropped)),
                    }
                }
            }
        }
        if let (Some(reason), Some(channel)) = (self.end_reason, self.channels.get_mut(topic)) {
            // The connection ended while the join ran. An `End` always finds room.
            let put = channel.mailbox.push(MailboxItem::End(reason));
            self.pending_bytes += put.unwrap_or_default();
        }
        self.pump(topic, routes, actions);
    }

    /// The reason why the session refuses a join without asking the plugin, if it does.
    fn join_refusal(&self, topic: &str) -> Option<&'static str> {
        if self.channels.len() >= self.limits.max_channels {
            return Some("too many channels joined");
        }
        (topic.len() > MAX_TOPIC_BYTES).then_some("topic has more than 255 bytes")
    }

    /// Sends the `phx_close` of a channel that a join has replaced, if there was one.
    fn close_replaced(
        &self,
        topic: &str,
        replaced: Option<Replaced>,
        actions: &mut Vec<Action<P>>,
    ) {
        if let Some(Replaced { join_ref }) = replaced {
            actions.push(self.channel_end(topic, join_ref.as_ref(), "phx_close", "{}"));
        }
    }
}

/// Takes the changes of presence out of the effects of a join.
fn take_presences(effects: &mut Vec<Effect>) -> Vec<PresenceChange> {
    let is_presence =
        |effect: &mut Effect| matches!(effect, Effect::Channel(ChannelEffect::Presence(_)));
    let taken = effects.extract_if(.., is_presence);
    let changes = taken.filter_map(|effect| match effect {
        Effect::Channel(ChannelEffect::Presence(change)) => Some(change),
        _ => None,
    });
    changes.collect()
}
