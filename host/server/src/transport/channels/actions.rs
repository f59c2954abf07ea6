//! The actions of a session, carried out.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use millrace_session::channel::{Caller, Context as ChannelContext, PresenceChange};
use millrace_session::{Action, ChannelAction, Count};
use millrace_telemetry::Metric;
use millrace_wire::Frame;
use smol_str::SmolStr;

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
            ChannelAction::Join { context, plugin, presences } => {
                plugin.meters.opened(1);
                self.client.joined(&context.topic);
                self.subscribe_own(&context, plugin.intercepts(), &presences);
            }
            ChannelAction::Leave { context, plugin } => {
                plugin.meters.opened(-1);
                self.client.left(&context.topic);
                self.pinned.remove(&context.channel);
                self.timers.forget(context.channel);
                pubsub.unsubscribe(&context.topic, context.channel);
                self.node().presence.leave(&context.topic, context.channel);
            }
            ChannelAction::Presence { context, change } => {
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

    /// Subscribes a channel to its own topic. Where presences are, its client is told who is there;
    /// what is broadcast from then on applies to that.
    fn subscribe_own(
        &self,
        context: &ChannelContext,
        intercepts: Arc<[SmolStr]>,
        changes: &[PresenceChange],
    ) {
        let identity = self.session.identity();
        let (presence, serializer) = (&self.node().presence, identity.serializer);
        let is_told = !changes.is_empty() || presence.has(&context.topic);
        let delivery = Delivery::Fastlane { serializer, intercepts };
        let subscriber =
            Subscriber { knows_presences: is_told, ..self.subscriber(context, delivery) };
        self.node().pubsub_of(identity.realm).subscribe(&context.topic, subscriber);
        presence.join(&context.topic, context.channel, changes, is_told, |event| {
            let (join_ref, name) = (context.join_ref.as_ref(), event.name());
            let frame = serializer.push(join_ref, &context.topic, name, &event.into_payload());
            if let Ok(frame) = frame {
                self.outbox().push_own(frame);
            }
        });
    }

    /// Sends a client anew who is present on a topic, as its outbox has dropped changes.
    pub(super) fn send_presences(&mut self, topic: &str) {
        let serializer = self.session.identity().serializer;
        let Some(context) = self.session.joined(topic) else { return };
        self.quota.node.metrics.count(Metric::PresenceResent, 1);
        let mut frame = None;
        self.quota.node.presence.tell_again(topic, |event| {
            let (join_ref, name) = (context.join_ref.as_ref(), event.name());
            frame = serializer.push(join_ref, topic, name, &event.into_payload()).ok();
        });
        self.actions.extend(frame.map(Action::Send));
    }

    /// Queues a push for the client under the overflow policy of its topic.
    fn push(&self, frame: Frame, topic: &Arc<str>, event: &str) {
        match self.node().overflow.of(topic) {
            Overflow::Close => self.outbox().push_own(frame),
            overflow => self.outbox().push_under(overflow, frame.into(), topic, &event.into()),
        };
    }

    /// The channel as a subscriber of a topic.
    fn subscriber(&self, context: &ChannelContext, delivery: Delivery) -> Subscriber {
        let (topic, outbox) = (Arc::clone(&context.topic), Arc::clone(&self.quota.outbox));
        let overflow = self.node().overflow.of(&topic);
        Subscriber {
            channel: context.channel,
            topic,
            outbox,
            overflow,
            knows_presences: false,
            delivery,
        }
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
