//! The mailbox of a channel: messages, broadcasts and timers that wait for their turn.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_wire::Payload;
use smol_str::SmolStr;

use super::{Broadcast, Info, ReplyTo, TerminateReason};

/// One entry of a mailbox.
#[derive(Debug)]
pub enum MailboxItem {
    /// A message of the client that came while the channel was joining, also a `phx_join` or
    /// a `phx_leave`. What it means is decided when the join has been answered.
    Early {
        /// The refs of the message.
        reply_to: ReplyTo,
        /// The event of the message.
        event: SmolStr,
        /// The payload of the message.
        payload: Payload,
    },
    /// A message of the client for `handle-in`.
    In {
        /// The refs of the message.
        reply_to: ReplyTo,
        /// The event of the message.
        event: SmolStr,
        /// The payload of the message.
        payload: Payload,
    },
    /// A `phx_leave` of the client, with its refs.
    Leave(ReplyTo),
    /// An intercepted broadcast for `handle-out`.
    Out(Arc<Broadcast>),
    /// A broadcast on a subscribed topic, or a timer, for `handle-info`.
    Info(Info),
    /// The end of the connection.
    End(TerminateReason),
}

/// A count of the items that wait in all mailboxes of a server.
pub trait WaitingCount: Debug + Send + Sync {
    /// Adds a number of items; a negative number for items that wait no more.
    fn add(&self, items: i64);
}

impl WaitingCount for AtomicI64 {
    fn add(&self, items: i64) {
        self.fetch_add(items, Ordering::Relaxed);
    }
}

/// The bytes that an item or a call takes besides its payload.
const ENTRY_BYTES: usize = 256;

/// The bytes that an item or a call takes, with a payload of so many bytes.
///
/// ```
/// assert_eq!(millrace_session::channel::entry_bytes(1_000), 1_256);
/// ```
#[must_use]
pub fn entry_bytes(payload_bytes: usize) -> usize {
    ENTRY_BYTES + payload_bytes
}

impl MailboxItem {
    /// The bytes that the item takes while it waits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        entry_bytes(match self {
            Self::Early { event, payload, .. } | Self::In { event, payload, .. } => {
                event.len() + payload.len()
            }
            Self::Out(broadcast) | Self::Info(Info::Broadcast(broadcast)) => {
                broadcast.payload.len()
            }
            Self::Info(Info::Timer(name)) => name.len(),
            Self::Leave(_) | Self::End(_) => 0,
        })
    }
}

/// The bounded queue of the items of one channel, oldest first.
///
/// ```text
/// push ─▶ [Info, In, In, Out] ─▶ pop, pop_message
///          newest       oldest ◀─ put_back
/// ```
///
/// At its capacity, which is a number of items, it takes only a [`MailboxItem::Leave`] or
/// [`MailboxItem::End`]. The session puts one of each there at most.
#[derive(Debug)]
pub struct Mailbox {
    items: VecDeque<MailboxItem>,
    /// The bytes of all items together.
    bytes: usize,
    /// Whether one of the items is a `Leave`.
    has_leave: bool,
    /// The number of items there may be.
    capacity: usize,
    /// The number of items in all mailboxes of the server, kept up to date by each of them.
    waiting: Arc<dyn WaitingCount>,
}

impl Mailbox {
    /// A mailbox for `capacity` items (`socket.max_pending`).
    pub fn new(capacity: usize, waiting: Arc<dyn WaitingCount>) -> Self {
        Self { items: VecDeque::new(), bytes: 0, has_leave: false, capacity, waiting }
    }

    /// The bytes of all items together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a `phx_leave` of the client waits.
    #[must_use]
    pub fn has_leave(&self) -> bool {
        self.has_leave
    }

    /// Puts an item at the end; the bytes that it takes.
    ///
    /// # Errors
    ///
    /// The item itself, when the mailbox is full.
    pub fn push(&mut self, item: MailboxItem) -> Result<usize, MailboxItem> {
        let ends = matches!(item, MailboxItem::Leave(_) | MailboxItem::End(_));
        if self.items.len() >= self.capacity && !ends {
            return Err(item);
        }
        let bytes = item.bytes();
        self.bytes += bytes;
        self.has_leave |= matches!(item, MailboxItem::Leave(_));
        self.items.push_back(item);
        self.waiting.add(1);
        Ok(bytes)
    }

    /// Takes the oldest item. `running` is the number of the channel's calls in flight: while
    /// there are any, a `Leave` or `End` stays where it is, and the result is `None`.
    pub fn pop(&mut self, running: usize) -> Option<MailboxItem> {
        let ends = matches!(self.items.front(), Some(MailboxItem::Leave(_) | MailboxItem::End(_)));
        if ends && running > 0 {
            return None;
        }
        let item = self.items.pop_front()?;
        self.note_taken(&item);
        Some(item)
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes the oldest item if it is an [`MailboxItem::In`]: its refs, event and payload.
    pub fn pop_message(&mut self) -> Option<(ReplyTo, SmolStr, Payload)> {
        let item = self.items.pop_front_if(|item| matches!(item, MailboxItem::In { .. }))?;
        self.note_taken(&item);
        match item {
            MailboxItem::In { reply_to, event, payload } => Some((reply_to, event, payload)),
            _ => None,
        }
    }

    /// Puts an item that was taken back in front, whether or not the mailbox is full.
    pub fn put_back(&mut self, item: MailboxItem) {
        self.bytes += item.bytes();
        self.items.push_front(item);
        self.waiting.add(1);
    }

    /// Takes all items, oldest first.
    pub fn take(&mut self) -> VecDeque<MailboxItem> {
        self.waiting.add(-count(&self.items));
        (self.bytes, self.has_leave) = (0, false);
        std::mem::take(&mut self.items)
    }

    /// Counts an item that has left the queue.
    fn note_taken(&mut self, item: &MailboxItem) {
        self.bytes -= item.bytes();
        self.has_leave &= !matches!(item, MailboxItem::Leave(_));
        self.waiting.add(-1);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.waiting.add(-count(&self.items));
    }
}

fn count(items: &VecDeque<MailboxItem>) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
