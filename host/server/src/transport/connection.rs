//! One connection, one task, one loop.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use millrace_session::Identity;
use millrace_session::channel::{Notice, TerminateReason};
use millrace_telemetry::Metric;
use millrace_wire::{CloseReason, Frame};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::channels::Channels;
use super::pace;
use super::throttle::Throttle;
use super::timers::{Tick, Timer};
use super::traffic::{self, Traffic};
use super::websocket::{End, Received, WebSocket};
use crate::config::SocketConfig;
use crate::node::{Admitted, Node};
use crate::outbox::{Outgoing, Queued, Request};

/// Frames handled before others get their turn and replies are written.
const READ_BUDGET: usize = 64;
/// Bytes read before others get their turn: a large message comes in several.
const READ_TURN_BYTES: usize = 256 * 1024;
/// Frames taken from the outbox at once, in bytes.
const WRITE_BATCH_BYTES: usize = 64 * 1024;
/// What may wait for a client that takes nothing while its messages are still handled.
const CONGESTED_BYTES: usize = 1024 * 1024;
/// A message that takes longer than `socket.message_timeout_ms` has to come as fast as
/// this, in bytes a second.
const SLOWEST_MESSAGE: u64 = 16 * 1024;
/// A message of more than this is refused while the server is out of memory, and so is a
/// client for which more waits and who does not read.
const LARGE_BYTES: u64 = 64 * 1024;
/// How long the calls of a connection that is over may still run, and those of a client
/// that says no more be answered.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection.
pub(super) struct Connection {
    socket: WebSocket,
    channels: Channels,
    /// Taken from the outbox, not yet handed to the socket.
    taken: VecDeque<Outgoing>,
    read_budget: usize,
    /// A frame that was read before its turn. Few connections have one.
    early: Option<Box<Frame>>,
    /// The last frame was all that there was to read.
    is_read: bool,
    /// There may be a reply to what was received in this turn.
    has_received: bool,
    /// When the frames of this turn arrived.
    read_at: Option<Instant>,
    throttle: Throttle,
    traffic: Traffic,
    /// When the message began that has come in part.
    message_began: Option<Instant>,
    /// The system takes nothing of what is written; how much it had taken when it
    /// stopped.
    stalled: Option<u64>,
    /// A control frame was received meanwhile, of which the answer waits.
    has_answered: bool,
    /// It is not read, as too much waits.
    is_paused: bool,
    /// The client says no more; it gets what it has asked for.
    has_ended: bool,
    _admitted: Arc<Admitted>,
}

/// Everything that can wake a connection's task.
enum Event {
    Frame(Frame),
    Notice(Notice),
    Request(Box<Request>),
    Timer(Timer),
    End(End),
}

impl Connection {
    pub(super) fn new(
        socket: WebSocket,
        identity: Identity,
        node: Arc<Node>,
        admitted: Arc<Admitted>,
    ) -> Box<Self> {
        let SocketConfig { max_messages_per_second, max_bytes_per_second, .. } = node.socket;
        let throttle = Throttle::new(max_messages_per_second, max_bytes_per_second, Instant::now());
        Box::new(Self {
            socket,
            channels: Channels::new(identity, node),
            taken: VecDeque::new(),
            read_budget: READ_BUDGET,
            early: None,
            is_read: false,
            has_received: false,
            read_at: None,
            throttle,
            traffic: Traffic::default(),
            message_began: None,
            stalled: None,
            has_answered: false,
            is_paused: false,
            has_ended: false,
            _admitted: admitted,
        })
    }

    /// Serves the client until the connection ends, then ends its channels.
    ///
    /// Both are boxed: a task has room for all that its future ever holds, for as long
    /// as it lives.
    pub(super) async fn run(mut self: Box<Self>) {
        debug!(connection = self.channels.connection(), "connected");
        let end = poll_fn(|cx| self.poll_serve(cx)).await;
        Box::pin(self.end(end)).await;
    }

    async fn end(self: Box<Self>, end: End) {
        let connection = self.channels.connection();
        debug!(connection, ?end, "disconnected");
        let metrics = &self.channels.node().metrics;
        let clients = self.channels.session.identity().realm.clients();
        metrics.count_of(Metric::SocketClose, &[end.code(), end.reason()], clients);
        let restarting = matches!(end, End::ByServer(CloseReason::Restarting, _));
        let reason = if restarting { TerminateReason::Drained } else { TerminateReason::Closed };
        let Self { socket, channels, .. } = *self;
        let calls = tokio::time::timeout(FINISH_TIMEOUT, channels.finish(reason));
        let ((), calls) = tokio::join!(socket.close(end), calls);
        if calls.is_err() {
            warn!(connection, "calls of a closed connection took too long and were dropped");
        }
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.channels.begin_turn();
        loop {
            match ready!(self.poll_event(cx)) {
                Event::Frame(frame) => match self.channels.receive(&frame, cx) {
                    Ok(true) => {}
                    Ok(false) => self.early = Some(Box::new(frame)),
                    Err(error) => {
                        let end = End::ByServer(CloseReason::Malformed, error.to_string());
                        return Poll::Ready(end);
                    }
                },
                Event::Notice(notice) => self.channels.notice(notice, cx),
                Event::Request(request) => self.channels.request(*request, &mut self.taken, cx),
                Event::Timer(timer) => self.channels.timer(timer, cx),
                Event::End(end) => return Poll::Ready(end),
            }
        }
    }

    /// Reads first: replies to all frames that are there go out in one write.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let is_settled = self.channels.settle(self.is_congested(), cx);
        if !self.channels.is_behind()
            && let Some(frame) = self.early.take()
        {
            return Poll::Ready(Event::Frame(*frame));
        }
        let draining = self.channels.outbox().is_draining();
        let may_read = !draining && !self.has_ended && is_settled && self.may_read();
        loop {
            // What is gathered mostly goes to a round, and is looked after again then.
            let reads_later = std::mem::take(&mut self.is_read) && self.channels.has_gathered();
            let has_enough = self.early.is_some() || self.channels.has_enough();
            if !reads_later
                && may_read
                && !has_enough
                && let Poll::Ready(event) = self.poll_read(cx)
            {
                return Poll::Ready(event);
            }
            self.channels.flush(cx);
            if self.channels.is_in_round() {
                // It is woken when its messages have been handled, and writes then.
                self.has_received = false;
                // Unless some have been, and the others have another turn.
                return if self.channels.take_has_replies() {
                    self.poll_write(cx)
                } else {
                    Poll::Pending
                };
            }
            if has_enough {
                // They have been handled at once.
                cx.waker().wake_by_ref();
            }
            if !reads_later {
                break;
            }
        }
        if std::mem::take(&mut self.has_received) {
            // Others are read from first, so that replies go out one after the other: a
            // client on the same machine is woken for many at once.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.channels.take_has_replies();
        if let Poll::Ready(event) = self.poll_write(cx) {
            return Poll::Ready(event);
        }
        let is_done = self.channels.is_idle() && self.early.is_none() && self.taken.is_empty();
        if draining && is_done {
            return Poll::Ready(Event::End(End::by_server(CloseReason::Restarting)));
        }
        if self.has_ended && is_done && self.stalled.is_none() && !self.channels.has_tasks() {
            return Poll::Ready(Event::End(End::Broken));
        }
        let may_go_on = !self.channels.is_settled() && !self.is_congested();
        let may_read_now = !may_read && !draining && !self.has_ended && self.may_read();
        if self.read_budget == 0 || self.socket.is_cut_short() || may_go_on || may_read_now {
            // There may be more to read or to do; others go first.
            cx.waker().wake_by_ref();
        }
        self.read_budget = READ_BUDGET;
        self.socket.allow(READ_TURN_BYTES);
        self.read_at = None;
        self.channels.note_pending(self.early.as_ref().map_or(0, |frame| frame.len()));
        self.poll_clock(cx)
    }

    /// The next frame. Pending as well when it is the turn of others.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while self.read_budget > 0 && self.throttle.poll_ready(cx).is_ready() {
            let received = self.socket.poll_receive(cx);
            let (bytes, frames) = self.socket.take_read();
            if bytes == 0 && received.is_pending() {
                break;
            }
            let timers = &mut self.channels.timers;
            let now = *self.read_at.get_or_insert_with(|| {
                let now = pace::has_read();
                timers.received(now);
                now
            });
            if self.throttle.received(bytes, frames, now) {
                self.channels.throttled();
            }
            let Poll::Ready(received) = received else { break };
            self.read_budget -= 1;
            match received {
                Received::Frame(frame) if self.is_refused(frame.len() as u64) => {
                    let end = End::by_server(CloseReason::OutOfMemory);
                    return Poll::Ready(Event::End(end));
                }
                Received::Frame(frame) => {
                    self.is_read = self.socket.was_alone(&frame);
                    self.has_received = true;
                    traffic::received(frame.len());
                    return Poll::Ready(Event::Frame(frame));
                }
                Received::Control if self.stalled.is_some() => {
                    self.has_answered = true;
                    break;
                }
                Received::Control => {}
                Received::Ended => {
                    self.has_ended = true;
                    self.channels.timers.whole_by(Some(Instant::now() + FINISH_TIMEOUT));
                    break;
                }
                Received::End(end) => return Poll::Ready(Event::End(end)),
            }
        }
        let (_, unfinished) = self.socket.unfinished();
        match self.is_refused(unfinished) {
            true => Poll::Ready(Event::End(End::by_server(CloseReason::OutOfMemory))),
            false => Poll::Pending,
        }
    }

    /// Whether there is no memory for a message of so many bytes.
    fn is_refused(&self, bytes: u64) -> bool {
        bytes > LARGE_BYTES && self.channels.node().memory.is_exhausted()
    }

    /// Whether more may be read: not while too much of this connection waits.
    fn may_read(&mut self) -> bool {
        let outbox = match self.stalled {
            Some(_) => self.channels.outbox().bytes(),
            None => 0,
        };
        let waits = self.channels.pending_bytes() + outbox;
        let (unfinished, _) = self.socket.unfinished();
        let unfinished = usize::try_from(unfinished).unwrap_or(usize::MAX);
        // One message may be larger than what may wait.
        let is_full = waits > 0
            && waits.saturating_add(unfinished) > self.channels.node().socket.max_pending_bytes;
        let must_write = self.stalled.is_some() && (outbox > CONGESTED_BYTES || self.has_answered);
        if is_full && !self.is_paused {
            self.channels.node().metrics.count(Metric::SocketPaused, 1);
        }
        self.is_paused = is_full;
        !is_full && !must_write
    }

    /// Whether so much waits for the client that nothing more should be said to it.
    fn is_congested(&self) -> bool {
        self.stalled.is_some() && self.channels.outbox().bytes() > CONGESTED_BYTES
    }

    /// Waits for what time brings.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.watch_message();
        if self.stalled.is_some()
            && self.channels.node().memory.is_exhausted()
            && self.channels.outbox().bytes() as u64 > LARGE_BYTES
        {
            return Poll::Ready(Event::End(End::by_server(CloseReason::Overloaded)));
        }
        self.channels.timers.poll(cx).map(|tick| match tick {
            Tick::Idle => Event::End(End::by_server(CloseReason::Idle)),
            Tick::Unfinished if self.has_ended => Event::End(End::Broken),
            Tick::Unfinished => Event::End(End::by_server(CloseReason::Unfinished)),
            Tick::Stalled => Event::End(End::by_server(CloseReason::Overloaded)),
            Tick::Timer(timer) => Event::Timer(timer),
        })
    }

    /// Sets the time for a message that has come in part. While the connection is not
    /// read, the client can do nothing about it.
    fn watch_message(&mut self) {
        if self.has_ended {
            return;
        }
        let (unfinished, _) = self.socket.unfinished();
        if unfinished == 0 || self.is_paused {
            if self.message_began.take().is_some() {
                self.channels.timers.whole_by(None);
            }
            return;
        }
        let began = *self.message_began.get_or_insert_with(Instant::now);
        let timeout = Duration::from_millis(self.channels.node().socket.message_timeout_ms);
        let by = began + timeout + Duration::from_secs(unfinished / SLOWEST_MESSAGE);
        self.channels.timers.whole_by(Some(by));
    }

    /// Writes what is in the outbox. Ready when there is something else to do
    /// first.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut is_all = false;
        loop {
            while let Some(outgoing) = self.taken.pop_front() {
                let queued = match outgoing {
                    Outgoing::Notice(notice) => return Poll::Ready(Event::Notice(notice)),
                    Outgoing::Request(request) => return Poll::Ready(Event::Request(request)),
                    Outgoing::Frame(queued) | Outgoing::Droppable(queued) => queued,
                    Outgoing::Conflated(conflated) => conflated.queued,
                };
                match self.socket.poll_ready(cx) {
                    Poll::Ready(ready) => {
                        let Queued { frame, published } = queued;
                        self.traffic.queued(frame.len(), published);
                        if let Err(end) = ready.and_then(|()| self.socket.queue(frame)) {
                            return Poll::Ready(Event::End(end));
                        }
                    }
                    Poll::Pending => {
                        self.taken.push_front(Outgoing::Frame(queued));
                        return self.poll_stalled(cx);
                    }
                }
            }
            if is_all {
                break;
            }
            match self.channels.outbox().poll_take(cx, &mut self.taken, WRITE_BATCH_BYTES) {
                Poll::Ready(Ok(all)) => is_all = all,
                Poll::Ready(Err(reason)) => {
                    return Poll::Ready(Event::End(End::by_server(reason)));
                }
                Poll::Pending => break,
            }
        }
        match self.socket.poll_flush(cx) {
            Poll::Ready(Err(end)) => Poll::Ready(Event::End(end)),
            Poll::Ready(Ok(())) => {
                if self.stalled.take().is_some() {
                    self.has_answered = false;
                    self.channels.timers.taken_by(None);
                }
                self.traffic.written(&self.channels.node().metrics);
                Poll::Pending
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    /// While the system takes nothing, only a close can be more urgent. It takes nothing
    /// while the client does not read.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let written = self.socket.written();
        if self.stalled != Some(written) {
            self.stalled = Some(written);
            let timeout = Duration::from_millis(self.channels.node().socket.stall_timeout_ms);
            self.channels.timers.taken_by(Some(Instant::now() + timeout));
        }
        self.channels.outbox().poll_closed(cx).map(|reason| Event::End(End::by_server(reason)))
    }
}
