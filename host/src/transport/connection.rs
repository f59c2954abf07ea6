//! One connection, one task, one loop.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::called::Called;
use super::channels::Channels;
use super::pace;
use super::throttle::Throttle;
use super::timers::{Tick, Timer};
use super::traffic::{self, Traffic};
use super::websocket::{End, Received, WebSocket};
use crate::channel::{Late, TerminateReason};
use crate::config::SocketConfig;
use crate::outbox::{Outgoing, Queued};
use crate::pubsub::Notice;
use crate::server::{Admitted, Shared};
use crate::session::Identity;
use crate::telemetry::Metric;
use crate::wire::{CloseReason, Frame};

/// Frames handled before others get their turn and replies are written.
const READ_BUDGET: usize = 64;
/// Frames taken from the outbox at once, in bytes.
const WRITE_BATCH_BYTES: usize = 64 * 1024;
/// How long the calls of a connection that is over may still run.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection.
pub(super) struct Connection {
    socket: WebSocket,
    channels: Channels,
    /// Taken from the outbox, not yet handed to the socket.
    taken: VecDeque<Outgoing>,
    read_budget: usize,
    /// The last frame was all that there was to read.
    is_read: bool,
    /// There may be a reply to what was received in this turn.
    has_received: bool,
    /// When the frames of this turn arrived.
    read_at: Option<Instant>,
    throttle: Throttle,
    traffic: Traffic,
    _admitted: Arc<Admitted>,
}

/// Everything that can wake a connection's task.
enum Event {
    Called(Box<Called>),
    Frame(Frame),
    Notice(Notice),
    Late(Box<Late>),
    Timer(Timer),
    End(End),
}

impl Connection {
    pub(super) fn new(
        socket: WebSocket,
        identity: Identity,
        shared: Arc<Shared>,
        admitted: Arc<Admitted>,
    ) -> Box<Self> {
        let SocketConfig { max_messages_per_second, max_bytes_per_second, .. } = shared.socket;
        let throttle = Throttle::new(max_messages_per_second, max_bytes_per_second, Instant::now());
        Box::new(Self {
            socket,
            channels: Channels::new(identity, shared),
            taken: VecDeque::new(),
            read_budget: READ_BUDGET,
            is_read: false,
            has_received: false,
            read_at: None,
            throttle,
            traffic: Traffic::default(),
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
        let metrics = &self.channels.shared().metrics;
        metrics.count_of(Metric::SocketClose, &[end.code(), end.reason()], 1);
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
        loop {
            match ready!(self.poll_event(cx)) {
                Event::Called(called) => self.channels.complete(*called, cx),
                Event::Frame(frame) => {
                    if let Err(error) = self.channels.receive(&frame, cx) {
                        let end = End::ByServer(CloseReason::Malformed, error.to_string());
                        return Poll::Ready(end);
                    }
                }
                Event::Notice(notice) => self.channels.notice(notice, cx),
                Event::Late(late) => self.channels.late(*late, &mut self.taken, cx),
                Event::Timer(timer) => self.channels.timer(timer, cx),
                Event::End(end) => return Poll::Ready(end),
            }
        }
    }

    /// Reads first: replies to all frames that are there go out in one write.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.channels.take_returned(cx);
        if let Poll::Ready(called) = self.channels.poll_called(cx) {
            return Poll::Ready(Event::Called(Box::new(called)));
        }
        let draining = self.channels.outbox().is_draining();
        loop {
            // What is gathered mostly goes to a round, and is looked after again then.
            let reads_later = std::mem::take(&mut self.is_read) && self.channels.has_gathered();
            if !reads_later
                && !draining
                && let Poll::Ready(event) = self.poll_read(cx)
            {
                return Poll::Ready(event);
            }
            self.channels.flush(cx);
            if self.channels.is_in_round() {
                // It is woken when its messages have been handled, and writes then.
                self.has_received = false;
                return Poll::Pending;
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
        if let Poll::Ready(event) = self.poll_write(cx) {
            return Poll::Ready(event);
        }
        if draining && self.channels.is_idle() && self.taken.is_empty() {
            return Poll::Ready(Event::End(End::by_server(CloseReason::Restarting)));
        }
        if self.read_budget == 0 {
            // There may be more to read; others go first.
            cx.waker().wake_by_ref();
        }
        self.read_budget = READ_BUDGET;
        self.read_at = None;
        self.channels.timers.poll(cx).map(|tick| match tick {
            Tick::Idle => Event::End(End::by_server(CloseReason::Idle)),
            Tick::Timer(timer) => Event::Timer(timer),
        })
    }

    /// The next frame. Pending as well when it is the turn of others.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while self.read_budget > 0 && self.throttle.poll_ready(cx).is_ready() {
            let received = ready!(self.socket.poll_receive(cx));
            self.read_budget -= 1;
            let timers = &mut self.channels.timers;
            let now = *self.read_at.get_or_insert_with(|| {
                let now = pace::has_read();
                timers.received(now);
                now
            });
            match received {
                Received::Frame(frame) => {
                    self.is_read = self.socket.was_alone(&frame);
                    self.has_received = true;
                    traffic::received(frame.len());
                    if self.throttle.received(frame.len(), now) {
                        self.channels.throttled();
                    }
                    return Poll::Ready(Event::Frame(frame));
                }
                Received::Control => {}
                Received::End(end) => return Poll::Ready(Event::End(end)),
            }
        }
        Poll::Pending
    }

    /// Writes what is in the outbox. Ready when there is something else to do
    /// first.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut is_all = false;
        loop {
            while let Some(outgoing) = self.taken.pop_front() {
                let queued = match outgoing {
                    Outgoing::Notice(notice) => return Poll::Ready(Event::Notice(notice)),
                    Outgoing::Late(late) => return Poll::Ready(Event::Late(late)),
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
                        return self.poll_closed(cx);
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
                self.traffic.written(&self.channels.shared().metrics);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// While the client does not read, only a close can be more urgent.
    fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Event> {
        self.channels.outbox().poll_closed(cx).map(|reason| Event::End(End::by_server(reason)))
    }
}
