//! What has arrived for a channel and waits for its turn.

use std::collections::VecDeque;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{Info, ReplyTo, TerminateReason};
use crate::pubsub::Broadcast;
use crate::wire::Payload;

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

/// A bounded queue of letters. The end of a channel always finds room.
#[derive(Debug)]
pub struct Mailbox {
    letters: VecDeque<Letter>,
    capacity: usize,
}

impl Mailbox {
    /// A mailbox for `capacity` letters (`socket.max_pending`).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { letters: VecDeque::new(), capacity }
    }

    /// Puts a letter at the end, or gives it back when the mailbox is full.
    pub fn push(&mut self, letter: Letter) -> Result<(), Letter> {
        let ends = matches!(letter, Letter::Leave(_) | Letter::End(_));
        if self.letters.len() >= self.capacity && !ends {
            return Err(letter);
        }
        self.letters.push_back(letter);
        Ok(())
    }

    /// Takes the oldest letter. The end of a channel waits until nothing of it
    /// is `running`.
    pub fn pop(&mut self, running: usize) -> Option<Letter> {
        let ends = matches!(self.letters.front(), Some(Letter::Leave(_) | Letter::End(_)));
        if ends && running > 0 { None } else { self.letters.pop_front() }
    }

    /// Takes all of them, oldest first.
    pub fn take(&mut self) -> VecDeque<Letter> {
        std::mem::take(&mut self.letters)
    }
}
