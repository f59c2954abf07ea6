//! The channels of one connection: its session, and the carrying out of what
//! the session says.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use millrace_session::channel::{Caller, ChannelId, Notice, TerminateReason};
use millrace_session::{Action, Call, Calls, ChannelAction, Count, Identity, Routing, Session};
use millrace_telemetry::{Metric, Redacted};
use millrace_wire::{CloseReason, DecodeError, Frame};
use tracing::debug;

use super::called::Called;
use super::held::Held;
use super::pending::PendingCalls;
use super::returns::Returns;
use super::round::MOST_MESSAGES;
use super::spare::Spares;
use super::timers::{Timer, Timers};
use crate::node::{Client, Node, RealmRoutes};
use crate::outbox::{Outbox, Outgoing, Overflow, Request};
use crate::plugin::{Handler, PluginVersion};
use crate::pubsub::{Delivery, Subscriber};
use crate::tasks::{self, Account, Start};

/// The channels of one connection.
pub(super) struct Channels {
    pub(super) session: Session<Arc<Handler>>,
    pub(super) account: Arc<Account>,
    /// The connection as operators see it.
    client: Arc<Client>,
    pub(super) timers: Timers,
    /// Calls that were not ready at once.
    pub(super) calls: PendingCalls,
    /// The versions that keep channels whose assigns no other can take over.
    pub(super) pinned: HashMap<ChannelId, Arc<PluginVersion>>,
    /// Messages for plugins, until what has been read has been taken.
    pub(super) gathered: Calls<Arc<Handler>>,
    /// Runs of messages that were handed over and have not come back.
    pub(super) in_round: usize,
    pub(super) returns: Arc<Returns>,
    /// Frames that were taken since they were handled last.
    pub(super) unflushed: usize,
    /// There may be replies to what came back from a round.
    pub(super) has_replies: bool,
    /// Calls that ended, whose results wait for the next turn or for the client.
    pub(super) held: Held,
    /// What waits to be handled, as operators know it.
    noted_bytes: usize,
    /// What the session asked for; empty between two events.
    actions: Vec<Action<Arc<Handler>>>,
}

/// A payload that is a small part of its frame is copied out of it if the frame is larger
/// than this.
const SMALL_FRAME_BYTES: usize = 4096;

thread_local! {
    static ACTIONS: Spares<Action<Arc<Handler>>> = const { Spares::new() };
}

/// Who serves the topics that a connection may join, and whether it may now.
struct ConnectionRoutes<'a> {
    realm: RealmRoutes<'a>,
    account: &'a Account,
}

impl Routing<Arc<Handler>> for ConnectionRoutes<'_> {
    fn who_serves(&self, topic: &str) -> Option<(Arc<Handler>, usize)> {
        self.realm.who_serves(topic)
    }

    fn admit_join(&self) -> Result<(), Duration> {
        self.account.join()
    }
}

fn routes<'a>(account: &'a Account, session: &Session<Arc<Handler>>) -> ConnectionRoutes<'a> {
    let realm = RealmRoutes { node: &account.node, realm: session.identity().realm };
    ConnectionRoutes { realm, account }
}

impl Drop for Channels {
    /// Its calls may have been cut off, and its channels are still open then.
    fn drop(&mut self) {
        self.session.handlers().for_each(|handler| handler.meters.opened(-1));
    }
}

impl Channels {
    pub(super) fn new(identity: Identity, node: Arc<Node>) -> Self {
        let config = &node.socket;
        let meters = Arc::clone(&node.outbox_meters);
        let outbox = Outbox::new(config.outbox_bytes, config.max_pending_bytes, meters);
        let outbox = Arc::new(outbox);
        let client = node.connections.insert(&identity, &outbox);
        node.metrics.count(Metric::SocketOpen, identity.realm.clients());
        let limits = config.session_limits();
        let timers = Timers::new(Duration::from_millis(config.idle_timeout_ms));
        let waiting = Arc::clone(&node.waiting) as _;
        let channel_ids = Arc::clone(&node.channel_ids);
        let account = Arc::new(Account::new(node, outbox, &identity));
        let session = Session::new(identity, limits, channel_ids, waiting);
        Self {
            session,
            account,
            client,
            timers,
            calls: PendingCalls::default(),
            pinned: HashMap::new(),
            gathered: Calls::new(),
            in_round: 0,
            returns: Arc::default(),
            unflushed: 0,
            has_replies: false,
            held: Held::default(),
            noted_bytes: 0,
            actions: Vec::new(),
        }
    }

    /// What goes to the client.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.account.outbox
    }

    /// The client sends more than it may.
    pub(super) fn throttled(&self) {
        self.node().metrics.count(Metric::SocketThrottled, 1);
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.gathered.is_empty()
            && self.in_round == 0
            && self.held.is_empty()
    }

    /// Whether tasks of it run, which may answer.
    pub(super) fn has_tasks(&self) -> bool {
        self.account.has_tasks()
    }

    /// What waits to be handled, and what has been and waits for the client, in bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.session.pending_bytes() + self.account.pending_bytes() + self.held.bytes()
    }

    /// Tells operators what waits; `early` is what was read before its turn, in bytes.
    pub(super) fn note_pending(&mut self, early: usize) {
        let bytes = self.session.pending_bytes() + self.held.bytes() + early;
        if self.noted_bytes != bytes {
            self.noted_bytes = bytes;
            self.client.pends(bytes);
        }
    }

    /// Whether there may be replies to what came back from a round since this was asked.
    pub(super) fn take_has_replies(&mut self) -> bool {
        std::mem::take(&mut self.has_replies)
    }

    /// Whether messages of it are being handled with those of others.
    pub(super) fn is_in_round(&self) -> bool {
        self.in_round > 0
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.account.node
    }

    /// The connection's number.
    pub(super) fn connection(&self) -> u64 {
        self.session.identity().connection
    }

    /// Takes a frame of the client. False if it has to wait until what came before it
    /// has been handled, which takes its turns ([`Self::is_behind`]).
    pub(super) fn receive(
        &mut self,
        frame: &Frame,
        cx: &mut Context<'_>,
    ) -> Result<bool, DecodeError> {
        let mut message = self.session.identity().serializer.decode(frame)?;
        if frame.len() > SMALL_FRAME_BYTES && message.payload.len() < frame.len() / 2 {
            // The rest of the frame would stay in memory as long as its payload does.
            message.payload = message.payload.to_own();
        }
        if message.event.starts_with("phx_") || message.topic == "phoenix" {
            // What came before it is answered before it.
            self.flush(cx);
            if self.is_behind() {
                return Ok(false);
            }
            if message.event == "phx_join" {
                // Joining again ends what its calls came to.
                self.apply_held(cx);
            }
        }
        debug!(id = %self.session.coming_message(), topic = &*message.topic,
            event = &*message.event, params = %Redacted(&message.payload), "received");
        self.make_room();
        let routes = routes(&self.account, &self.session);
        self.session.receive(message, &routes, &mut self.actions);
        self.act(cx);
        self.unflushed += 1;
        Ok(true)
    }

    /// Whether messages that were taken for a round have not all been handled.
    pub(super) fn is_behind(&self) -> bool {
        self.in_round > 0 || self.has_gathered()
    }

    /// Whether those that were taken have to be handled before more are read.
    pub(super) fn has_enough(&self) -> bool {
        self.unflushed >= self.node().socket.max_pending.min(MOST_MESSAGES)
    }

    /// Takes a broadcast that a channel has to see.
    pub(super) fn notice(&mut self, notice: Notice, cx: &mut Context<'_>) {
        let routes = routes(&self.account, &self.session);
        self.session.notice(notice, &routes, &mut self.actions);
        self.act(cx);
    }

    /// Takes a timer that ran out.
    pub(super) fn timer(&mut self, timer: Timer, cx: &mut Context<'_>) {
        let Timer { context, name } = timer;
        let routes = routes(&self.account, &self.session);
        let (topic, channel) = (&context.topic, context.channel);
        self.session.timer(topic, channel, name, &routes, &mut self.actions);
        self.act(cx);
    }

    /// Does what another task asks for. Frames go to the front of `taken`, as they have
    /// waited their turn already.
    pub(super) fn request(
        &mut self,
        request: Request,
        taken: &mut VecDeque<Outgoing>,
        cx: &mut Context<'_>,
    ) {
        self.requested(request);
        let mut frames = Vec::new();
        let is_frame = |action: &Action<_>| matches!(action, Action::Send(_) | Action::Push { .. });
        if self.actions.iter().any(is_frame) {
            let actions = std::mem::take(&mut self.actions);
            for action in actions {
                match action {
                    Action::Send(frame) | Action::Push { frame, .. } => frames.push(frame),
                    other => self.actions.push(other),
                }
            }
        }
        for frame in frames.into_iter().rev() {
            taken.push_front(Outgoing::Frame(frame.into()));
        }
        self.act(cx);
    }

    fn requested(&mut self, request: Request) {
        match request {
            Request::Deferred(deferred) => self.session.deferred(deferred, &mut self.actions),
            Request::Flush { caller, effects, applied } => {
                self.session.flushed(&caller, effects, &mut self.actions);
                // The call may have been given up meanwhile.
                let _ = applied.send(());
            }
            Request::Sample { topics, to } => {
                for (topic, assigns) in self.session.samples(&topics) {
                    if to.try_send((Arc::clone(topic), assigns.clone())).is_err() {
                        break;
                    }
                }
            }
        }
    }

    /// Ends all channels, and waits for their last calls. Dropping it drops
    /// those calls.
    pub(super) async fn finish(mut self, reason: TerminateReason) {
        poll_fn(|cx| {
            self.flush_now(cx);
            Poll::Ready(())
        })
        .await;
        let routes = routes(&self.account, &self.session);
        self.session.close(reason, &routes, &mut self.actions);
        // From here on nothing is queued for this client.
        self.outbox().close(CloseReason::Restarting);
        self.node().connections.remove(self.session.identity());
        self.node().metrics.count(Metric::SocketOpen, -self.session.identity().realm.clients());
        for request in self.outbox().take_requests() {
            self.requested(request);
        }
        poll_fn(|cx| self.poll_finished(cx)).await;
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.act(cx);
            self.flush_now(cx);
            if !self.held.is_empty() {
                self.apply_held(cx);
                continue;
            }
            match ready!(self.calls.poll_next(cx)) {
                Some(called) => self.completed(called),
                None => return Poll::Ready(()),
            }
        }
    }

    /// Carries out what the session asked for, and what follows from it.
    ///
    /// Never waits: a call that is not ready at once goes to `self.calls`.
    pub(super) fn act(&mut self, cx: &mut Context<'_>) {
        while !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                match action {
                    Action::Send(frame) => {
                        self.outbox().push_own(frame);
                    }
                    Action::Push { frame, topic, event } => self.push(frame, &topic, &event),
                    Action::Call(call) => self.begin(call, cx),
                    Action::Channel(action) => self.change(action),
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

    /// What the session is to add its actions to.
    fn make_room(&mut self) {
        if self.actions.capacity() == 0 {
            self.actions = ACTIONS.with(Spares::take);
        }
    }

    pub(super) fn completed(&mut self, called: Called) {
        let Call { plugin, ticket, .. } = &*called.call;
        debug!(id = %ticket.caller.message(), topic = %ticket.caller.context.topic,
            turn = ?ticket.turn, event = called.event().map(AsRef::<str>::as_ref),
            took = ?called.took, ok = called.is_ok(), "handled");
        called.tell_error(self.node().is_dev);
        called.measure(&self.node().metrics);
        if let Some(pinned) = called.pinned {
            self.pinned.insert(ticket.caller.context.channel, pinned);
        }
        let completion = match called.result {
            Ok(completion) => {
                self.held.asked(completion.effect_bytes());
                Ok(completion)
            }
            Err(fault) => {
                self.account.faulted(&fault, plugin.name(), "a call", &ticket.caller);
                Err(fault.failure())
            }
        };
        self.make_room();
        let routes = routes(&self.account, &self.session);
        self.session.complete(ticket, completion, &routes, &mut self.actions);
    }

    /// Changes what the server holds for a channel.
    fn change(&mut self, action: ChannelAction<Arc<Handler>>) {
        let pubsub = self.account.node.pubsub_of(self.session.identity().realm);
        match action {
            ChannelAction::Join { context, plugin } => {
                let serializer = self.session.identity().serializer;
                plugin.meters.opened(1);
                self.client.joined(&context.topic);
                let intercepts = plugin.intercepts();
                let delivery = Delivery::Fastlane { serializer, intercepts };
                pubsub.subscribe(&context.topic, self.subscriber(&context, delivery));
            }
            ChannelAction::Leave { context, plugin } => {
                plugin.meters.opened(-1);
                self.client.left(&context.topic);
                self.pinned.remove(&context.channel);
                self.timers.forget(context.channel);
                pubsub.unsubscribe(&context.topic, context.channel);
            }
            ChannelAction::Subscribe { context, topic } => {
                pubsub.subscribe(&topic, self.subscriber(&context, Delivery::Info));
            }
            ChannelAction::Unsubscribe { channel, topic } => pubsub.unsubscribe(&topic, channel),
            ChannelAction::StartTimer { context, after_ms, name } => {
                self.timers.start(Duration::from_millis(after_ms), Timer { context, name });
            }
            ChannelAction::StartTask { caller, plugin, name, payload } => {
                // The dashboard starts none.
                let Some(plugin) = plugin.plugin().map(Arc::clone) else { return };
                let asked = Start { caller: Caller::clone(&caller), plugin, name, payload };
                if tasks::start(&self.account, asked).is_err() {
                    self.session.no_room(&caller, &mut self.actions);
                }
            }
            ChannelAction::EndCalls(channel) => self.end_calls(channel),
        }
    }

    fn push(&self, frame: Frame, topic: &Arc<str>, event: &str) {
        match self.node().overflow.of(topic) {
            Overflow::Close => self.outbox().push_own(frame),
            overflow => self.outbox().push_under(overflow, frame.into(), topic, &event.into()),
        };
    }

    fn subscriber(
        &self,
        context: &millrace_session::channel::Context,
        delivery: Delivery,
    ) -> Subscriber {
        let (topic, outbox) = (Arc::clone(&context.topic), Arc::clone(&self.account.outbox));
        let overflow = self.node().overflow.of(&topic);
        Subscriber { channel: context.channel, topic, outbox, overflow, delivery }
    }
}

/// Where a session's counts go.
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
