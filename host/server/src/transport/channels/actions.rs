//! The actions of a session, carried out.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use millrace_session::channel::Caller;
use millrace_session::{Action, ChannelAction, Count};
use millrace_telemetry::Metric;
use millrace_wire::Frame;

use super::{ACTIONS, Channels};
use crate::outbox::Overflow;
use crate::plugin::Handler;
use crate::pubsub::{Delivery, Subscriber};
use crate::tasks::{self, Start};
use crate::transport::timers::Timer;

impl Channels {
    /// Carries out the actions that the session has added, and those that they lead to.
    ///
    /// It never waits: a call that is not ready at its first poll goes to `self.calls`.
    pub(super) fn run_actions(&mut self, cx: &mut Context<'_>) {
        while !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                match action {
                    Action::Send(frame) => {
                        self.outbox().push_own(frame);
                    }
                    Action::Push { frame, topic, event } => self.push(frame, &topic, &event),
                    Action::Call(call) => self.begin(call, cx),
                    Action::Channel(action) => self.apply_channel_action(action),
                    Action::Server(effect) => {
                        let realm = self.session.identity().realm;
                        self.node().apply(realm, effect, None);
                    }
                    Action::Count(count) => self.node().metrics.count(metric(count), 1),
                }
            }
            ACTIONS.with(|spares| spares.put(actions));
        }
        if self.actions.capacity() > 0 {
            let actions = std::mem::take(&mut self.actions);
            ACTIONS.with(|spares| spares.put(actions));
        }
    }

    /// Changes the subscriptions, timers, calls or tasks of a channel.
    fn apply_channel_action(&mut self, action: ChannelAction<Arc<Handler>>) {
        let pubsub = self.quota.node.pubsub_of(self.session.identity().realm);
        match action {
            ChannelAction::Join { context, plugin } => {
                let serializer = self.session.identity().serializer;
                plugin.meters.opened(1);
                self.client.joined(&context.topic);
                let intercepts = plugin.intercepts();
                let delivery = Delivery::Fastlane { serializer, intercepts };
                pubsub.subscribe(&context.topic, self.subscriber(&context, delivery));
                if plugin.has_presences() || self.node().presence.covers(&context.topic) {
                    self.send_presences(&context);
                }
            }
            ChannelAction::Leave { context, plugin } => {
                plugin.meters.opened(-1);
                self.client.left(&context.topic);
                self.pinned.remove(&context.channel);
                self.timers.forget(context.channel);
                pubsub.unsubscribe(&context.topic, context.channel);
                if plugin.has_presences() {
                    self.node().presence.leave(&context.topic, context.channel);
                }
            }
            ChannelAction::Presence { context, plugin, change } => {
                if !plugin.has_presences() {
                    plugin.begin_presences();
                }
                self.node().presence.change(&context.topic, context.channel, &change);
            }
            ChannelAction::Subscribe { context, topic } => {
                pubsub.subscribe(&topic, self.subscriber(&context, Delivery::Info));
            }
            ChannelAction::Unsubscribe { channel, topic } => pubsub.unsubscribe(&topic, channel),
            ChannelAction::StartTimer { context, after_ms, name } => {
                self.timers.start(Duration::from_millis(after_ms), Timer { context, name });
            }
            ChannelAction::StartTask { caller, plugin, name, payload } => {
                // The dashboard's channel starts no tasks.
                let Some(plugin) = plugin.plugin().map(Arc::clone) else { return };
                let asked = Start { caller: Caller::clone(&caller), plugin, name, payload };
                if tasks::start(&self.quota, asked).is_err() {
                    self.session.refuse_task(&caller, &mut self.actions);
                }
            }
            ChannelAction::EndCalls(channel) => self.end_calls(channel),
        }
    }

    /// Sends a client of a topic who is there. What is broadcast from now on applies to it.
    fn send_presences(&self, context: &millrace_session::channel::Context) {
        let serializer = self.session.identity().serializer;
        self.node().presence.send_state(&context.topic, |event| {
            let (join_ref, name) = (context.join_ref.as_ref(), event.name());
            let frame = serializer.push(join_ref, &context.topic, name, &event.into_payload());
            if let Ok(frame) = frame {
                self.outbox().push_own(frame);
            }
        });
    }

    /// Queues a push for the client under the overflow policy of its topic.
    fn push(&self, frame: Frame, topic: &Arc<str>, event: &str) {
        match self.node().overflow.of(topic) {
            Overflow::Close => self.outbox().push_own(frame),
            overflow => self.outbox().push_under(overflow, frame.into(), topic, &event.into()),
        };
    }

    /// The channel as a subscriber of a topic.
    fn subscriber(
        &self,
        context: &millrace_session::channel::Context,
        delivery: Delivery,
    ) -> Subscriber {
        let (topic, outbox) = (Arc::clone(&context.topic), Arc::clone(&self.quota.outbox));
        let overflow = self.node().overflow.of(&topic);
        Subscriber { channel: context.channel, topic, outbox, overflow, delivery }
    }
}

/// The metric that counts this.
fn metric(count: Count) -> Metric {
    match count {
        Count::MessageRefused => Metric::MessageRefused,
        Count::ChannelRefused => Metric::ChannelRefused,
        Count::JoinRefused => Metric::JoinRefused,
        Count::ChannelOverloaded => Metric::ChannelOverloaded,
        Count::NoticeDropped => Metric::ChannelNoticesDropped,
        Count::SubscriptionRefused => Metric::SubscriptionRefused,
        Count::TaskRefused => Metric::TaskRefused,
        Count::DeferredGone => Metric::LateGone,
    }
}
