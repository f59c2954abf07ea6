//! The channels of one connection: its session, and what carries out the session's actions.

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
use millrace_telemetry::{Metric, Redacted, unix_ms};
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
    /// The parts of the connection that its calls and tasks need, too.
    quota: Arc<ConnectionQuota>,
    /// The connection in the list that operators get.
    client: Arc<Client>,
    pub(super) timers: Timers,
    /// The calls in flight, which were not ready at their first poll.
    calls: PendingCalls,
    /// The versions of channels whose assigns no other version can take over.
    pinned: HashMap<ChannelId, Arc<PluginVersion>>,
    /// Messages that are handled together with those of other connections.
    batcher: Batcher,
    /// Calls that ended, whose results wait for the next turn or for the client.
    held: Held,
    /// The bytes that wait, as they were last reported to `client`.
    noted_bytes: usize,
    /// The actions that the session has added; empty between two events.
    actions: Vec<Action<Arc<Handler>>>,
}

/// The size of a frame in bytes up to which a payload stays a part of it. Out of a larger
/// frame, a payload of less than half its size is copied, so that the frame can be freed.
const SMALL_FRAME_BYTES: usize = 4096;

thread_local! {
    static ACTIONS: VecPool<Action<Arc<Handler>>> = const { VecPool::new() };
}

/// The routes of the topics that a connection may join, and its share of the server's joins.
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

/// The routes of the connection of this session.
fn routes<'a>(quota: &'a ConnectionQuota, session: &Session<Arc<Handler>>) -> ConnectionRoutes<'a> {
    let realm = RealmRoutes { node: &quota.node, realm: session.identity().realm };
    ConnectionRoutes { realm, quota }
}

impl Drop for Channels {
    /// Counts the channels that are still joined as closed: [`Channels::finish`] may have been
    /// dropped before it had ended them.
    fn drop(&mut self) {
        self.session.handlers().for_each(|handler| handler.meters.opened(-1));
    }
}

impl Channels {
    /// The channels of a connection that is closed if its client is not heard of for
    /// `idle_timeout`.
    pub(super) fn new(identity: Identity, idle_timeout: Duration, node: Arc<Node>) -> Self {
        let config = &node.socket;
        let meters = Arc::clone(&node.outbox_meters);
        let outbox = Outbox::new(config.outbox_bytes, config.max_pending_bytes, meters);
        let outbox = Arc::new(outbox);
        let client = node.connections.insert(&identity, &outbox);
        node.metrics.count(Metric::SocketOpen, identity.realm.clients());
        let limits = config.session_limits();
        let expires_at_ms = identity.token.as_ref().and_then(|token| token.expires_at_unix_ms);
        let expires_in =
            expires_at_ms.map(|at| Duration::from_millis(at.saturating_sub(unix_ms())));
        let timers = Timers::new(idle_timeout, expires_in);
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

    /// The queue of the frames for the client.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.quota.outbox
    }

    /// Counts that the client has sent more than it may in a second.
    pub(super) fn count_throttled(&self) {
        self.node().metrics.count(Metric::SocketThrottled, 1);
    }

    /// Whether no message waits or is handled, and no result waits.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && !self.batcher.is_behind() && self.held.is_empty()
    }

    /// Whether tasks of the connection run, which may still answer messages.
    pub(super) fn has_tasks(&self) -> bool {
        self.quota.has_tasks()
    }

    /// The bytes that wait: messages that are not handled yet, arguments of tasks, and effects
    /// that are not applied yet.
    pub(super) fn pending_bytes(&self) -> usize {
        self.session.pending_bytes() + self.quota.pending_bytes() + self.held.bytes()
    }

    /// Reports the bytes that wait to the list that operators get; `early` are those of a frame
    /// that was read before its turn.
    pub(super) fn note_pending(&mut self, early: usize) {
        let bytes = self.session.pending_bytes() + self.held.bytes() + early;
        if self.noted_bytes != bytes {
            self.noted_bytes = bytes;
            self.client.set_pending_bytes(bytes);
        }
    }

    /// The connection's messages on their way to the round and back.
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

    /// Takes a frame of the client. False if the frame has to come again later, as the
    /// messages before it have to be handled first ([`Order`], [`Batcher::is_behind`]).
    ///
    /// # Errors
    ///
    /// The problem of a frame that is no message of the client's protocol version. The
    /// connection closes with it.
    pub(super) fn receive(
        &mut self,
        frame: &Frame,
        cx: &mut Context<'_>,
    ) -> Result<bool, DecodeError> {
        let mut message = self.session.identity().serializer.decode(frame)?;
        if frame.len() > SMALL_FRAME_BYTES && message.payload.len() < frame.len() / 2 {
            // Else the whole frame would stay in memory for as long as its payload.
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
        debug!(id = %self.session.next_message_id(), topic = &*message.topic,
            event = &*message.event, params = %Redacted(&message.payload), "received");
        self.take_spare();
        let routes = routes(&self.quota, &self.session);
        self.session.receive(message, &routes, &mut self.actions);
        self.run_actions(cx);
        self.batcher.count_frame();
        Ok(true)
    }

    /// Whether the frames that were taken have to be handled before more are read.
    pub(super) fn has_enough(&self) -> bool {
        self.batcher.has_enough(self.node().socket.max_pending)
    }

    /// Takes a broadcast for the plugin of a channel.
    pub(super) fn notice(&mut self, notice: Notice, cx: &mut Context<'_>) {
        let routes = routes(&self.quota, &self.session);
        self.session.notice(notice, &routes, &mut self.actions);
        self.run_actions(cx);
    }

    /// Takes a timer of a channel that has run out.
    pub(super) fn timer(&mut self, timer: Timer, cx: &mut Context<'_>) {
        let Timer { context, name } = timer;
        let routes = routes(&self.quota, &self.session);
        let (topic, channel) = (&context.topic, context.channel);
        self.session.timer(topic, channel, name, &routes, &mut self.actions);
        self.run_actions(cx);
    }

    /// Does what another task has requested by way of the outbox. Frames that come of it go to
    /// the front of `taken`, as the request has waited its turn in the outbox already.
    pub(super) fn request(
        &mut self,
        request: Request,
        taken: &mut VecDeque<Outgoing>,
        cx: &mut Context<'_>,
    ) {
        self.apply_request(request);
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

    /// Hands a request to the session; its actions are still to be carried out.
    fn apply_request(&mut self, request: Request) {
        match request {
            Request::Deferred(deferred) => self.session.deferred(deferred, &mut self.actions),
            Request::Presences(topic) => self.send_presences(&topic),
            Request::Flush { caller, effects, applied } => {
                self.session.flushed(&caller, effects, &mut self.actions);
                // Nobody waits for this if the call has been dropped meanwhile.
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

    /// Ends all channels, and waits for their last calls. When the future is dropped, the calls
    /// still in flight are dropped.
    pub(super) async fn finish(mut self, reason: TerminateReason) {
        poll_fn(|cx| {
            self.flush_now(cx);
            Poll::Ready(())
        })
        .await;
        let routes = routes(&self.quota, &self.session);
        self.session.close(reason, &routes, &mut self.actions);
        // The outbox takes nothing more for this client.
        self.outbox().close(CloseReason::Restarting);
        self.node().connections.remove(self.session.identity());
        self.node().metrics.count(Metric::SocketOpen, -self.session.identity().realm.clients());
        for request in self.outbox().take_requests() {
            self.apply_request(request);
        }
        poll_fn(|cx| self.poll_finished(cx)).await;
    }

    /// Ready when no call is in flight and no result waits.
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

    /// Takes a spare vector for the session's actions, if there is none.
    fn take_spare(&mut self) {
        if self.actions.capacity() == 0 {
            self.actions = ACTIONS.with(VecPool::take);
        }
    }

    /// Logs and measures a call that ended, and hands its result to the session, whose actions
    /// are still to be carried out.
    pub(super) fn completed(&mut self, called: FinishedCall) {
        let Call { plugin, ticket, .. } = &*called.call;
        debug!(id = %ticket.caller.message(), topic = %ticket.caller.context.topic,
            purpose = ?ticket.purpose, event = called.event().map(AsRef::<str>::as_ref),
            took = ?called.took, ok = called.is_ok(), "handled");
        called.log_error(self.node().is_dev);
        called.measure(&self.node().metrics);
        if let Some(pinned) = called.pinned {
            self.pinned.insert(ticket.caller.context.channel, pinned);
        }
        let completion = match called.result {
            Ok(completion) => {
                self.held.count_effects(completion.effect_bytes());
                Ok(completion)
            }
            Err(fault) => {
                self.quota.faulted(&fault, plugin.name(), "a call", &ticket.caller);
                Err(fault.failure())
            }
        };
        self.take_spare();
        let routes = routes(&self.quota, &self.session);
        self.session.complete(ticket, completion, &routes, &mut self.actions);
    }
}
