//! The timers of a connection: the idle timeout, the times in which a message has to come and
//! written bytes have to be taken, the end of its token, and the timers of its channels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use millrace_session::channel;

/// The most channel timers of one connection. A further one is dropped, with a line in the log.
const MAX_TIMERS: usize = 1_000;
/// The longest time of a channel timer; it keeps deadlines within the range of the clock.
const MAX_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The deadline that has passed.
#[derive(Debug)]
pub(super) enum Tick {
    /// Nothing was received for the idle timeout.
    Idle,
    /// A message has begun to come, and was not whole in time.
    Unfinished,
    /// The client does not read what is written to it.
    Stalled,
    /// The client's token has ended.
    Expired,
    /// A channel's timer has run out.
    Timer(Timer),
}

/// A timer of a channel.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) context: Arc<channel::Context>,
    pub(super) name: String,
}

/// One sleep for all deadlines, set to the next one.
#[derive(Debug)]
pub(super) struct Timers {
    sleep: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    received_at: Instant,
    /// The time by which a message that has begun to come has to be whole.
    whole_by: Option<Instant>,
    /// The time by which the client has to read some of what is written.
    taken_by: Option<Instant>,
    /// The time at which the client's token ends.
    expires_at: Option<Instant>,
    queue: BinaryHeap<Reverse<Entry>>,
    started: u64,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// The number of the timer: timers of the same instant run out in the order of their start.
    number: u64,
    timer: Timer,
}

impl Timers {
    /// The timers of a connection whose client's token ends after a time, if it does.
    pub(super) fn new(idle_timeout: Duration, expires_in: Option<Duration>) -> Self {
        let received_at = Instant::now();
        // A time beyond the clock's range does not come.
        let expires_at = expires_in.and_then(|left| received_at.checked_add(left));
        let idle_at = received_at + idle_timeout;
        let first = expires_at.map_or(idle_at, |expires_at| expires_at.min(idle_at));
        let sleep = Box::pin(sleep_until(first));
        Self {
            sleep,
            idle_timeout,
            received_at,
            whole_by: None,
            taken_by: None,
            expires_at,
            queue: BinaryHeap::new(),
            started: 0,
        }
    }

    /// Sets the time by which the message that has begun to come has to be whole; `None` if none
    /// has begun.
    pub(super) fn whole_by(&mut self, at: Option<Instant>) {
        if self.whole_by != at {
            self.whole_by = at;
            self.look_at(at);
        }
    }

    /// Sets the time by which the client has to read some of what is written; `None` if nothing
    /// waits.
    pub(super) fn taken_by(&mut self, at: Option<Instant>) {
        if self.taken_by != at {
            self.taken_by = at;
            self.look_at(at);
        }
    }

    fn look_at(&mut self, at: Option<Instant>) {
        if let Some(at) = at.filter(|at| *at < self.sleep.deadline()) {
            self.sleep.as_mut().reset(at);
        }
    }

    /// Drops the timers of a channel that has gone.
    pub(super) fn forget(&mut self, channel: channel::ChannelId) {
        if !self.queue.is_empty() {
            self.queue.retain(|Reverse(entry)| entry.timer.context.channel != channel);
        }
    }

    /// Notes that something was received. This is cheap: the sleep is reset only when it ends.
    pub(super) fn received(&mut self, at: Instant) {
        self.received_at = at;
    }

    /// Starts a timer; drops it if [`MAX_TIMERS`] are running.
    pub(super) fn start(&mut self, after: Duration, timer: Timer) {
        if self.queue.len() >= MAX_TIMERS {
            tracing::warn!(topic = %timer.context.topic,
                "a timer is dropped: {MAX_TIMERS} are running on this connection");
            return;
        }
        let at = Instant::now() + after.min(MAX_AFTER);
        self.started += 1;
        self.queue.push(Reverse(Entry { at, number: self.started, timer }));
        self.look_at(Some(at));
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tick> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= now)
                && let Some(Reverse(entry)) = self.queue.pop()
            {
                return Poll::Ready(Tick::Timer(entry.timer));
            }
            let idle_at = self.received_at + self.idle_timeout;
            let deadlines = [
                (Some(idle_at), Tick::Idle),
                (self.whole_by, Tick::Unfinished),
                (self.taken_by, Tick::Stalled),
                (self.expires_at, Tick::Expired),
            ];
            let mut next = self.queue.peek().map(|Reverse(entry)| entry.at);
            for (at, tick) in deadlines {
                let Some(at) = at else { continue };
                if at <= now {
                    return Poll::Ready(tick);
                }
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            self.sleep.as_mut().reset(next.unwrap_or(idle_at));
        }
        Poll::Pending
    }
}

// === impl Entry: ordered by time ===

impl Entry {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
