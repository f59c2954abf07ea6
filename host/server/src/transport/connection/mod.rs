//! The loop of one connection, which is one task: it reads frames, has them handled, and writes
//! what is in the outbox.

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
use super::link::{End, Link};
use super::throttle::Throttle;
use super::timers::{Tick, Timer};
use crate::config::SocketConfig;
use crate::node::{Admitted, Node};
use crate::outbox::{Outgoing, Request};

/// The number of frames that are read in one turn of a connection. Then replies are written,
/// and other connections have their turn.
const READ_BUDGET: usize = 64;
/// The bytes that are read in one turn of a connection. A larger message takes several turns.
const READ_TURN_BYTES: usize = 256 * 1024;
/// The bytes that may wait in the outbox of a client that does not read. Above it, until the
/// client reads, nothing is read from it and no results of its calls are applied.
const CONGESTED_BYTES: usize = 1024 * 1024;
/// The size in bytes of a large message. While the server is out of memory, a larger one closes
/// the connection, and so do more bytes in the outbox of a client that does not read.
const LARGE_BYTES: u64 = 64 * 1024;
/// The time that calls may still run after the end of their connection, and the time in which
/// a client that has ended its side gets its last replies. What is left then is dropped.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, between its handshake and its close.
pub(super) struct Connection<L> {
    socket: L,
    channels: Channels,
    /// The frames that were taken from the outbox and not yet handed to the socket.
    taken: VecDeque<Outgoing>,
    /// The number of frames that may still be read in this turn.
    read_budget: usize,
    /// A frame that has to wait until the messages before it have been handled. Boxed, as few
    /// connections have one.
    early: Option<Box<Frame>>,
    mode: Mode,
    /// Whether a frame was received in this turn, so that there may be a reply.
    has_received: bool,
    /// The time at which the first frame of this turn was read.
    read_at: Option<Instant>,
    throttle: Throttle,
    io_counters: IoCounters,
    /// The time at which a message began of which the rest has not come yet.
    message_began: Option<Instant>,
    /// Set while the system takes nothing of what is written, as the client does not read: the
    /// bytes that the system had taken when it stopped, counted from the connection's start.
    stalled: Option<u64>,
    /// Whether a ping or pong was received while the connection was stalled. Its answer waits,
    /// so nothing more is read: pings would pile up answers.
    has_control_waiting: bool,
    /// Whether the connection is not read, as too many bytes wait.
    is_paused: bool,
    /// Whether the client has ended its side. It still gets its replies.
    has_ended: bool,
    /// The connection's place among those that the server admits, held until its end.
    _admitted: Arc<Admitted>,
}

/// The step of a connection's turn. A turn begins with [`Mode::Reading`] and ends when there is
/// nothing to do until something wakes the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// All frames that are there are read and taken, so that their replies go out in one write.
    Reading,
    /// The last frame was all that there was to read. Its message mostly goes to a round, and
    /// the next read, which would find nothing, is left until the results come back.
    ReadAll,
    /// Messages that were read are handed over to be handled.
    Handing,
    /// Messages are handled by the round, together with those of other connections.
    InRound,
    /// Other connections are read first, and then all write their replies one after the other:
    /// a client program on the same machine, with many connections, is woken once for many.
    Yielding,
    /// What is in the outbox is written.
    Writing,
}

/// An event that the connection's task has to handle.
enum Event {
    Frame(Frame),
    Notice(Notice),
    Request(Box<Request>),
    Timer(Timer),
    End(End),
}

impl<L: Link> Connection<L> {
    pub(super) fn new(
        socket: L,
        identity: Identity,
        node: Arc<Node>,
        admitted: Arc<Admitted>,
    ) -> Box<Self> {
        let SocketConfig { max_messages_per_second, max_bytes_per_second, .. } = node.socket;
        let throttle = Throttle::new(max_messages_per_second, max_bytes_per_second, Instant::now());
        Box::new(Self {
            socket,
            channels: Channels::new(identity, L::idle_timeout(&node), node),
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
            has_control_waiting: false,
            is_paused: false,
            has_ended: false,
            _admitted: admitted,
        })
    }

    /// Serves the client until the connection ends, then ends its channels.
    ///
    /// Both parts are boxed: a task keeps memory for everything that its future holds at any
    /// time, for as long as the task lives.
    pub(super) async fn run(mut self: Box<Self>) {
        debug!(connection = self.channels.connection(), "connected");
        let end = poll_fn(|cx| self.poll_serve(cx)).await;
        Box::pin(self.end(end)).await;
    }

    /// Closes the socket with the reason of the end, and ends the channels meanwhile.
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

    /// Handles events in turns. Ready with the reason of the connection's end.
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

    /// The next event. Goes through the modes of a turn, whose changes stand at each of them.
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
                Mode::ReadAll if !self.channels.batcher().has_messages() => Mode::Reading,
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
                    // Messages that have been handled already have replies, though others of
                    // this connection wait for its next turn in the round.
                    return match self.channels.batcher().take_has_replies() {
                        true => self.poll_write(cx),
                        false => Poll::Pending,
                    };
                }
                // Yielding → Reading: after the other connections
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

    /// Hands over the messages that were read. The mode is `InRound` if the round handles some
    /// of them, and else `next`.
    fn hand_over(&mut self, has_enough: bool, next: Mode, cx: &mut Context<'_>) -> Mode {
        self.channels.flush(cx);
        if self.channels.batcher().is_in_round() {
            return Mode::InRound;
        }
        if has_enough {
            // The messages have been handled already, so more may be read.
            cx.waker().wake_by_ref();
        }
        next
    }

    /// Whether the connection takes no more frames, and ends when all replies are written.
    fn is_ending(&self) -> bool {
        self.has_ended || self.channels.outbox().is_draining()
    }

    /// Ends the connection if that is due, and else the turn. `may_read` says whether the
    /// connection was allowed to read in this turn.
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
            // There may be more to read or to do, after the other connections.
            cx.waker().wake_by_ref();
        }
        self.read_budget = READ_BUDGET;
        self.socket.allow(READ_TURN_BYTES);
        self.read_at = None;
        self.channels.note_pending(self.early.as_ref().map_or(0, |frame| frame.len()));
        self.poll_clock(cx)
    }

    /// Whether more than [`CONGESTED_BYTES`] wait for a client that does not read.
    fn is_congested(&self) -> bool {
        self.stalled.is_some() && self.channels.outbox().bytes() > CONGESTED_BYTES
    }

    /// Waits for deadlines and for the channels' timers.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.watch_message();
        if self.stalled.is_some()
            && self.channels.node().memory.is_exhausted()
            && self.channels.outbox().bytes() as u64 > LARGE_BYTES
        {
            return Poll::Ready(Event::End(End::by_server(CloseReason::Overloaded)));
        }
        let tick = loop {
            match ready!(self.channels.timers.poll(cx)) {
                Tick::Idle if let Some(at) = self.heard_again() => {
                    self.channels.timers.received(at)
                }
                tick => break tick,
            }
        };
        Poll::Ready(match tick {
            Tick::Idle => Event::End(End::by_server(CloseReason::Idle)),
            Tick::Unfinished if self.has_ended => Event::End(End::Broken),
            Tick::Unfinished => Event::End(End::by_server(CloseReason::Unfinished)),
            Tick::Stalled => Event::End(End::by_server(CloseReason::Overloaded)),
            Tick::Expired => Event::End(End::by_server(CloseReason::TokenExpired)),
            Tick::Timer(timer) => Event::Timer(timer),
        })
    }

    /// The time at which the client was heard of last, if that was within the idle timeout though
    /// nothing was read.
    fn heard_again(&self) -> Option<Instant> {
        let timeout = L::idle_timeout(self.channels.node());
        self.socket.heard_at().filter(|at| at.elapsed() < timeout)
    }
}
