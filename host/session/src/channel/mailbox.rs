//! What has arrived for a channel and waits for its turn.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_wire::Payload;
use smol_str::SmolStr;

use super::{Broadcast, Info, ReplyTo, TerminateReason};

/// Something that waits for a channel's turn.
#[derive(Debug)]
pub enum MailboxItem {
    /// A message of the client that came while the channel was joining:
    /// `phx_join` and `phx_leave` included.
    Early {
        /// Its refs.
        reply_to: ReplyTo,
        /// Its event.
        event: SmolStr,
        /// What it carries.
        payload: Payload,
    },
    /// A message of the client.
    In {
        /// Its refs.
        reply_to: ReplyTo,
        /// Its event.
        event: SmolStr,
        /// What it carries.
        payload: Payload,
    },
    /// The client leaves.
    Leave(ReplyTo),
    /// An intercepted broadcast.
    Out(Arc<Broadcast>),
    /// A broadcast on a subscribed topic, or a timer.
    Info(Info),
    /// The connection is over.
    End(TerminateReason),
}

/// Where the items that wait in all mailboxes of a server are counted.
pub trait WaitingCount: Debug + Send + Sync {
    /// Adds so many; fewer than 0 when they wait no more.
    fn add(&self, items: i64);
}

impl WaitingCount for AtomicI64 {
    fn add(&self, items: i64) {
        self.fetch_add(items, Ordering::Relaxed);
    }
}

/// What an item or a call takes besides what it carries.
const ENTRY_BYTES: usize = 256;

/// What a message or a call with this payload takes, in bytes.
#[must_use]
pub fn entry_bytes(payload_bytes: usize) -> usize {
    ENTRY_BYTES + payload_bytes
}

impl MailboxItem {
    /// What it takes while it waits, in bytes.
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

/// A bounded queue of items. The end of a channel always finds room, once.
#[derive(Debug)]
pub struct Mailbox {
    items: VecDeque<MailboxItem>,
    /// Of all items.
    bytes: usize,
    /// One of them is the client's leave.
    has_leave: bool,
    capacity: usize,
    /// How many items wait in all mailboxes of the server.
    waiting: Arc<dyn WaitingCount>,
}

impl Mailbox {
    /// A mailbox for `capacity` items (`socket.max_pending`).
    pub fn new(capacity: usize, waiting: Arc<dyn WaitingCount>) -> Self {
        Self { items: VecDeque::new(), bytes: 0, has_leave: false, capacity, waiting }
    }

    /// What waits, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the client's leave waits already.
    #[must_use]
    pub fn has_leave(&self) -> bool {
        self.has_leave
    }

    /// Puts an item at the end, or gives it back when the mailbox is full. What it
    /// takes, in bytes.
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

    /// Takes the oldest item. The end of a channel waits until nothing of it
    /// is `running`.
    pub fn pop(&mut self, running: usize) -> Option<MailboxItem> {
        let ends = matches!(self.items.front(), Some(MailboxItem::Leave(_) | MailboxItem::End(_)));
        if ends && running > 0 {
            return None;
        }
        let item = self.items.pop_front()?;
        self.taken(&item);
        Some(item)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes the oldest item if it is a message of the client.
    pub fn pop_message(&mut self) -> Option<(ReplyTo, SmolStr, Payload)> {
        let item = self.items.pop_front_if(|item| matches!(item, MailboxItem::In { .. }))?;
        self.taken(&item);
        match item {
            MailboxItem::In { reply_to, event, payload } => Some((reply_to, event, payload)),
            _ => None,
        }
    }

    /// Puts back the item that was taken last, which had its place.
    pub fn put_back(&mut self, item: MailboxItem) {
        self.bytes += item.bytes();
        self.items.push_front(item);
        self.waiting.add(1);
    }

    /// Takes all of them, oldest first.
    pub fn take(&mut self) -> VecDeque<MailboxItem> {
        self.waiting.add(-count(&self.items));
        (self.bytes, self.has_leave) = (0, false);
        std::mem::take(&mut self.items)
    }

    fn taken(&mut self, item: &MailboxItem) {
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
