//! Joining a topic, and joining it again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::{MAX_TOPIC_BYTES, Payload, Ref};
use tracing::debug;

use super::{Action, Call, CallPurpose, ChannelAction, Count, Routing, Session, Ticket};
use crate::channel::{
    Callback, Caller, Channel, Context, Failure, Joined, Mailbox, MailboxItem, ReplyTo, State,
    entry_bytes,
};

impl<P: Clone> Session<P> {
    /// Starts joining a topic. `replaced` is the join ref of the channel that
    /// had the topic until now.
    pub(super) fn join(
        &mut self,
        topic: &str,
        reply_to: ReplyTo,
        params: Payload,
        replaced: Option<Option<Ref>>,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        let Some((plugin, max_running)) = routes.who_serves(topic) else {
            debug!(topic, "no plugin serves this topic");
            self.unmatched(topic, reply_to.reference.as_ref(), actions);
            self.close_replaced(topic, replaced, actions);
            return;
        };
        if let Some(refusal) = self.refusal(topic) {
            let (join_ref, reference) = (reply_to.join_ref.as_ref(), reply_to.reference.as_ref());
            let reason = Payload::reason(refusal);
            actions.push(Action::Count(Count::ChannelRefused));
            actions.extend(self.reply(join_ref, reference, topic, "error", &reason));
            self.close_replaced(topic, replaced, actions);
            return;
        }
        // Joining again was admitted before the channel that was there had ended.
        if replaced.is_none() && !self.admits(topic, &reply_to, routes, actions) {
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

    /// Whether there may be one more join now. One that comes too soon after others is
    /// told when to come again.
    fn admits(
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

    /// Joins a joined topic again: the old channel ends at once, without
    /// `terminate`, and its calls in flight come to nothing. It stays as it is when
    /// there are too many joins.
    pub(super) fn rejoin(
        &mut self,
        topic: &str,
        reply_to: ReplyTo,
        params: Payload,
        routes: &dyn Routing<P>,
        actions: &mut Vec<Action<P>>,
    ) {
        if !self.admits(topic, &reply_to, routes, actions) {
            return;
        }
        let Some(mut old) = self.remove(topic, actions) else { return };
        for item in old.mailbox.take() {
            if let MailboxItem::Leave(leave) = item {
                let (join_ref, reference) = (leave.join_ref.as_ref(), leave.reference.as_ref());
                actions.extend(self.reply(join_ref, reference, topic, "ok", &Payload::empty()));
            }
        }
        let replaced = Some(old.context.sent_join_ref.clone());
        self.join(topic, reply_to, params, replaced, routes, actions);
    }

    /// The plugin has accepted or refused a join, or come to nothing over it.
    pub(super) fn joined(
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
        let (join_ref, reference) = (reply_to.join_ref.as_ref(), reply_to.reference.as_ref());
        match answer {
            Ok(Ok(Joined { response, outcome })) => {
                let plugin = P::clone(&channel.plugin);
                let response = response.unwrap_or_else(Payload::empty);
                actions.extend(self.reply(join_ref, reference, topic, "ok", &response));
                self.close_replaced(topic, replaced, actions);
                // The reply is queued but not yet written, so whoever learns of
                // the join finds the channel subscribed.
                let context = Arc::clone(&ticket.caller.context);
                actions.push(Action::Channel(ChannelAction::Join { context, plugin }));
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
                actions.extend(self.reply(join_ref, reference, topic, "error", &reason));
                self.close_replaced(topic, replaced, actions);
            }
        }
        self.deliver_early(topic, early, routes, actions);
    }

    /// Hands on what came while the channel was joining.
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
                    self.resend(topic, reply_to, &event, payload, routes, actions);
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
        if let (Some(reason), Some(channel)) = (self.over, self.channels.get_mut(topic)) {
            // The connection ended while the join ran.
            // It always finds room.
            let put = channel.mailbox.push(MailboxItem::End(reason));
            self.pending_bytes += put.unwrap_or_default();
        }
        self.pump(topic, routes, actions);
    }

    fn refusal(&self, topic: &str) -> Option<&'static str> {
        if self.channels.len() >= self.limits.max_channels {
            return Some("too many channels joined");
        }
        (topic.len() > MAX_TOPIC_BYTES).then_some("topic has more than 255 bytes")
    }

    fn close_replaced(
        &self,
        topic: &str,
        replaced: Option<Option<Ref>>,
        actions: &mut Vec<Action<P>>,
    ) {
        if let Some(join_ref) = replaced {
            actions.push(self.channel_end(topic, join_ref.as_ref(), "phx_close", "{}"));
        }
    }
}
