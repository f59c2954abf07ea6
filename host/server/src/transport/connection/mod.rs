//! One connection, one task, one loop.

mod reading;
mod writing;

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
use super::io_counters::IoCounters;
use super::throttle::Throttle;
use super::timers::{Tick, Timer};
use super::websocket::{End, WebSocket};
use crate::config::SocketConfig;
use crate::node::{Admitted, Node};
use crate::outbox::{Outgoing, Request};

/// Frames handled before others get their turn and replies are written.
const READ_BUDGET: usize = 64;
/// Bytes read before others get their turn: a large message comes in several.
const READ_TURN_BYTES: usize = 256 * 1024;
/// What may wait for a client that takes nothing while its messages are still handled.
const CONGESTED_BYTES: usize = 1024 * 1024;
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
    mode: Mode,
    /// There may be a reply to what was received in this turn.
    has_received: bool,
    /// When the frames of this turn arrived.
    read_at: Option<Instant>,
    throttle: Throttle,
    io_counters: IoCounters,
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

/// What a connection does in its turn. A turn begins with [`Mode::Reading`] and ends when
/// there is nothing to do until something wakes the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Frames are read and taken, so that replies to all that are there go out in one
    /// write.
    Reading,
    /// The last frame was all that there was to read: what it led to mostly goes to a
    /// round, and the next read is left until that comes back.
    ReadAll,
    /// Messages that were read are handed over to be handled.
    Handing,
    /// Messages are handled together with those of others.
    InRound,
    /// Others are read from first, so that replies go out one after the other: a client on
    /// the same machine is woken for many at once.
    Yielding,
    /// What is in the outbox is written.
    Writing,
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
            mode: Mode::Reading,
            has_received: false,
            read_at: None,
            throttle,
            io_counters: IoCounters::default(),
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

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let is_settled = self.channels.settle(self.is_congested(), cx);
        if !self.channels.batcher().is_behind()
            && let Some(frame) = self.early.take()
        {
            return Poll::Ready(Event::Frame(*frame));
        }
        let may_read = !self.is_ending() && is_settled && self.may_read();
        loop {
            let has_enough = self.early.is_some() || self.channels.has_enough();
            self.mode = match self.mode {
                // Reading → Reading | ReadAll: a frame, see `poll_read`
                //         → Handing: nothing is there to read, or enough was read
                Mode::Reading => {
                    if may_read
                        && !has_enough
                        && let Poll::Ready(event) = self.poll_read(cx)
                    {
                        return Poll::Ready(event);
                    }
                    Mode::Handing
                }
                // ReadAll → InRound: its messages are handled by the round
                //         → Reading: it led to none, or they have been handled
                Mode::ReadAll if !self.channels.batcher().has_read() => Mode::Reading,
                Mode::ReadAll => self.hand_over(has_enough, Mode::Reading, cx),
                // Handing → InRound: messages are handled by the round
                //         → Yielding: there may be replies to what was received
                //         → Writing: nothing was
                Mode::Handing if self.has_received => {
                    self.hand_over(has_enough, Mode::Yielding, cx)
                }
                Mode::Handing => self.hand_over(has_enough, Mode::Writing, cx),
                // InRound → Reading: the round wakes it when messages have been handled
                Mode::InRound => {
                    self.mode = Mode::Reading;
                    self.has_received = false;
                    // Some have been, if the others have another turn.
                    return match self.channels.batcher().take_has_replies() {
                        true => self.poll_write(cx),
                        false => Poll::Pending,
                    };
                }
                // Yielding → Reading: after the others
                Mode::Yielding => {
                    self.mode = Mode::Reading;
                    self.has_received = false;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // Writing → Reading: woken by the client, the outbox or the clock
                Mode::Writing => {
                    self.mode = Mode::Reading;
                    self.channels.batcher().take_has_replies();
                    return match self.poll_write(cx) {
                        Poll::Ready(event) => Poll::Ready(event),
                        Poll::Pending => self.poll_rest(may_read, cx),
                    };
                }
            }
        }
    }

    /// Hands over what was read; `next` is for when nothing of it is in a round.
    fn hand_over(&mut self, has_enough: bool, next: Mode, cx: &mut Context<'_>) -> Mode {
        self.channels.flush(cx);
        if self.channels.batcher().is_in_round() {
            return Mode::InRound;
        }
        if has_enough {
            // They have been handled at once.
            cx.waker().wake_by_ref();
        }
        next
    }

    /// Whether the connection only finishes what it is doing.
    fn is_ending(&self) -> bool {
        self.has_ended || self.channels.outbox().is_draining()
    }

    /// Ends the connection if that is due, or else the turn. `may_read` is whether it was
    /// read in this turn.
    fn poll_rest(&mut self, may_read: bool, cx: &mut Context<'_>) -> Poll<Event> {
        let is_draining = self.channels.outbox().is_draining();
        let is_done = self.channels.is_idle() && self.early.is_none() && self.taken.is_empty();
        if is_draining && is_done {
            return Poll::Ready(Event::End(End::by_server(CloseReason::Restarting)));
        }
        if self.has_ended && is_done && self.stalled.is_none() && !self.channels.has_tasks() {
            return Poll::Ready(Event::End(End::Broken));
        }
        let may_go_on = !self.channels.is_settled() && !self.is_congested();
        let may_read_now = !may_read && !self.is_ending() && self.may_read();
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
}
