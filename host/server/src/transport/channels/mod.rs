//! The channels of one connection: its session, and the carrying out of what
//! the session says.

mod actions;
mod calls;
mod held;
mod pending;
mod rounds;

pub(super) use calls::{FinishedCall, PendingCall};

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use millrace_session::channel::{ChannelId, Notice, TerminateReason};
use millrace_session::{Action, Call, Identity, Order, Routing, Session};
use millrace_telemetry::{Metric, Redacted};
use millrace_wire::{CloseReason, DecodeError, Frame};
use tracing::debug;

use held::Held;
use pending::PendingCalls;

use super::batcher::Batcher;
use super::timers::{Timer, Timers};
use super::vec_pool::VecPool;
use crate::node::{Client, Node, RealmRoutes};
use crate::outbox::{Outbox, Outgoing, Request};
use crate::plugin::{Handler, PluginVersion};
use crate::tasks::ConnectionQuota;

/// The channels of one connection.
pub(super) struct Channels {
    pub(super) session: Session<Arc<Handler>>,
    quota: Arc<ConnectionQuota>,
    /// The connection as operators see it.
    client: Arc<Client>,
    pub(super) timers: Timers,
    /// Calls that were not ready at once.
    calls: PendingCalls,
    /// The versions that keep channels whose assigns no other can take over.
    pinned: HashMap<ChannelId, Arc<PluginVersion>>,
    /// Messages that are handled together with those of others.
    batcher: Batcher,
    /// Calls that ended, whose results wait for the next turn or for the client.
    held: Held,
    /// What waits to be handled, as operators know it.
    noted_bytes: usize,
    /// What the session asked for; empty between two events.
    actions: Vec<Action<Arc<Handler>>>,
}

/// A payload that is a small part of its frame is copied out of it if the frame is larger
/// than this.
const SMALL_FRAME_BYTES: usize = 4096;

thread_local! {
    static ACTIONS: VecPool<Action<Arc<Handler>>> = const { VecPool::new() };
}

/// Who serves the topics that a connection may join, and whether it may now.
struct ConnectionRoutes<'a> {
    realm: RealmRoutes<'a>,
    quota: &'a ConnectionQuota,
}

impl Routing<Arc<Handler>> for ConnectionRoutes<'_> {
    fn who_serves(&self, topic: &str) -> Option<(Arc<Handler>, usize)> {
        self.realm.who_serves(topic)
    }

    fn admit_join(&self) -> Result<(), Duration> {
        self.quota.join()
    }
}

fn routes<'a>(quota: &'a ConnectionQuota, session: &Session<Arc<Handler>>) -> ConnectionRoutes<'a> {
    let realm = RealmRoutes { node: &quota.node, realm: session.identity().realm };
    ConnectionRoutes { realm, quota }
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
        let quota = Arc::new(ConnectionQuota::new(node, outbox, &identity));
        let session = Session::new(identity, limits, channel_ids, waiting);
        Self {
            session,
            quota,
            client,
            timers,
            calls: PendingCalls::default(),
            pinned: HashMap::new(),
            batcher: Batcher::default(),
            held: Held::default(),
            noted_bytes: 0,
            actions: Vec::new(),
        }
    }

    /// What goes to the client.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.quota.outbox
    }

    /// The client sends more than it may.
    pub(super) fn throttled(&self) {
        self.node().metrics.count(Metric::SocketThrottled, 1);
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && !self.batcher.is_behind() && self.held.is_empty()
    }

    /// Whether tasks of it run, which may answer.
    pub(super) fn has_tasks(&self) -> bool {
        self.quota.has_tasks()
    }

    /// What waits to be handled, and what has been and waits for the client, in bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.session.pending_bytes() + self.quota.pending_bytes() + self.held.bytes()
    }

    /// Tells operators what waits; `early` is what was read before its turn, in bytes.
    pub(super) fn note_pending(&mut self, early: usize) {
        let bytes = self.session.pending_bytes() + self.held.bytes() + early;
        if self.noted_bytes != bytes {
            self.noted_bytes = bytes;
            self.client.set_pending_bytes(bytes);
        }
    }

    /// Messages that are handled together with those of others.
    pub(super) fn batcher(&mut self) -> &mut Batcher {
        &mut self.batcher
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.quota.node
    }

    /// The connection's number.
    pub(super) fn connection(&self) -> u64 {
        self.session.identity().connection
    }

    /// Takes a frame of the client. False if it has to wait until what came before it
    /// has been handled, which takes its turns ([`Batcher::is_behind`]).
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
        let order = Order::of(&message);
        if order != Order::Any {
            self.flush(cx);
            if self.batcher.is_behind() {
                return Ok(false);
            }
        }
        if order == Order::AfterResults {
            self.apply_held(cx);
        }
        debug!(id = %self.session.coming_message(), topic = &*message.topic,
            event = &*message.event, params = %Redacted(&message.payload), "received");
        self.make_room();
        let routes = routes(&self.quota, &self.session);
        self.session.receive(message, &routes, &mut self.actions);
        self.run_actions(cx);
        self.batcher.count_frame();
        Ok(true)
    }

    /// Whether those that were taken have to be handled before more are read.
    pub(super) fn has_enough(&self) -> bool {
        self.batcher.has_enough(self.node().socket.max_pending)
    }

    /// Takes a broadcast that a channel has to see.
    pub(super) fn notice(&mut self, notice: Notice, cx: &mut Context<'_>) {
        let routes = routes(&self.quota, &self.session);
        self.session.notice(notice, &routes, &mut self.actions);
        self.run_actions(cx);
    }

    /// Takes a timer that ran out.
    pub(super) fn timer(&mut self, timer: Timer, cx: &mut Context<'_>) {
        let Timer { context, name } = timer;
        let routes = routes(&self.quota, &self.session);
        let (topic, channel) = (&context.topic, context.channel);
        self.session.timer(topic, channel, name, &routes, &mut self.actions);
        self.run_actions(cx);
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
        self.run_actions(cx);
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
        let routes = routes(&self.quota, &self.session);
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
            self.run_actions(cx);
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

    /// What the session is to add its actions to.
    fn make_room(&mut self) {
        if self.actions.capacity() == 0 {
            self.actions = ACTIONS.with(VecPool::take);
        }
    }

    pub(super) fn completed(&mut self, called: FinishedCall) {
        let Call { plugin, ticket, .. } = &*called.call;
        debug!(id = %ticket.caller.message(), topic = %ticket.caller.context.topic,
            purpose = ?ticket.purpose, event = called.event().map(AsRef::<str>::as_ref),
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
                self.quota.faulted(&fault, plugin.name(), "a call", &ticket.caller);
                Err(fault.failure())
            }
        };
        self.make_room();
        let routes = routes(&self.quota, &self.session);
        self.session.complete(ticket, completion, &routes, &mut self.actions);
    }
}
