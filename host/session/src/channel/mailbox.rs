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
pub enum Letter {
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

/// Where the letters that wait in all mailboxes of a server are counted.
pub trait WaitingCount: Debug + Send + Sync {
    /// Adds so many; fewer than 0 when they wait no more.
    fn add(&self, letters: i64);
}

impl WaitingCount for AtomicI64 {
    fn add(&self, letters: i64) {
        self.fetch_add(letters, Ordering::Relaxed);
    }
}

/// What a letter or a call takes besides what it carries.
const ENTRY_BYTES: usize = 256;

/// What a message or a call with this payload takes, in bytes.
#[must_use]
pub fn kept_bytes(payload_bytes: usize) -> usize {
    ENTRY_BYTES + payload_bytes
}

impl Letter {
    /// What it takes while it waits, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        kept_bytes(match self {
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

/// A bounded queue of letters. The end of a channel always finds room, once.
#[derive(Debug)]
pub struct Mailbox {
    letters: VecDeque<Letter>,
    /// Of all letters.
    bytes: usize,
    /// One of them is the client's leave.
    has_leave: bool,
    capacity: usize,
    /// How many letters wait in all mailboxes of the server.
    waiting: Arc<dyn WaitingCount>,
}

impl Mailbox {
    /// A mailbox for `capacity` letters (`socket.max_pending`).
    pub fn new(capacity: usize, waiting: Arc<dyn WaitingCount>) -> Self {
        Self { letters: VecDeque::new(), bytes: 0, has_leave: false, capacity, waiting }
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

    /// Puts a letter at the end, or gives it back when the mailbox is full. What it
    /// takes, in bytes.
    pub fn push(&mut self, letter: Letter) -> Result<usize, Letter> {
        let ends = matches!(letter, Letter::Leave(_) | Letter::End(_));
        if self.letters.len() >= self.capacity && !ends {
            return Err(letter);
        }
        let bytes = letter.bytes();
        self.bytes += bytes;
        self.has_leave |= matches!(letter, Letter::Leave(_));
        self.letters.push_back(letter);
        self.waiting.add(1);
        Ok(bytes)
    }

    /// Takes the oldest letter. The end of a channel waits until nothing of it
    /// is `running`.
    pub fn pop(&mut self, running: usize) -> Option<Letter> {
        let ends = matches!(self.letters.front(), Some(Letter::Leave(_) | Letter::End(_)));
        if ends && running > 0 {
            return None;
        }
        let letter = self.letters.pop_front()?;
        self.taken(&letter);
        Some(letter)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Takes the oldest letter if it is a message of the client.
    pub fn pop_message(&mut self) -> Option<(ReplyTo, SmolStr, Payload)> {
        let letter = self.letters.pop_front_if(|letter| matches!(letter, Letter::In { .. }))?;
        self.taken(&letter);
        match letter {
            Letter::In { reply_to, event, payload } => Some((reply_to, event, payload)),
            _ => None,
        }
    }

    /// Puts back the letter that was taken last, which had its place.
    pub fn put_back(&mut self, letter: Letter) {
        self.bytes += letter.bytes();
        self.letters.push_front(letter);
        self.waiting.add(1);
    }

    /// Takes all of them, oldest first.
    pub fn take(&mut self) -> VecDeque<Letter> {
        self.waiting.add(-count(&self.letters));
        (self.bytes, self.has_leave) = (0, false);
        std::mem::take(&mut self.letters)
    }

    fn taken(&mut self, letter: &Letter) {
        self.bytes -= letter.bytes();
        self.has_leave &= !matches!(letter, Letter::Leave(_));
        self.waiting.add(-1);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.waiting.add(-count(&self.letters));
    }
}

fn count(letters: &VecDeque<Letter>) -> i64 {
    i64::try_from(letters.len()).unwrap_or(i64::MAX)
}
