//! One joined topic of one connection: its state, what waits for it, what it
//! may ask its plugin to do, and what the plugin may answer.
//!
//! ```text
//! Joining ──join ok──▶ Joined ──leave · stop · connection over──▶ terminate
//!    └──refused · trap──▶ gone      └──trap──▶ phx_error, gone
//! ```
//!
//! Pure: a [`Channel`] only keeps the books; [`crate::Session`] decides.

mod broadcast;
mod callback;
mod context;
mod deferred;
mod effect;
mod mailbox;
mod new_event;
mod notice;
mod outcome;
mod progress;
mod socket_ref;

pub use broadcast::Broadcast;
pub use callback::{Callback, Info, TerminateReason};
pub use context::{ChannelId, Context};
pub use deferred::Deferred;
pub use effect::{ChannelEffect, Effect, ServerEffect};
pub use mailbox::{Mailbox, MailboxItem, WaitingCount, entry_bytes};
pub use new_event::NewEvent;
pub use notice::Notice;
pub use outcome::{Assigns, Completion, Failure, Joined, Outcome};
pub use progress::{Caller, MessageId, Progress, Standing};
pub use socket_ref::{NotARef, RefKey, SocketRef, Unsealed};

use std::collections::HashSet;
use std::sync::Arc;

use millrace_wire::Ref;

/// The books of one channel.
#[derive(Debug)]
pub struct Channel<P> {
    /// What stays the same for as long as the channel lives.
    pub context: Arc<Context>,
    /// Who handles its messages. Counted for each channel: calls of all threads
    /// would fight over one count.
    pub plugin: Arc<P>,
    /// What it waits for.
    pub state: State,
    /// What arrived and has not been handled.
    pub mailbox: Mailbox,
    /// Calls in flight.
    pub running: usize,
    /// What their messages take, in bytes.
    pub running_bytes: usize,
    /// How many there may be (`limits.max_concurrency`).
    pub max_running: usize,
    /// The plugin's state for this channel.
    pub assigns: Assigns,
    /// Other topics whose broadcasts go to `handle-info`.
    pub subscriptions: HashSet<Arc<str>>,
}

/// What a channel waits for.
#[derive(Debug)]
pub enum State {
    /// For the plugin's answer to the join.
    Joining {
        /// The join's own ref and join ref, for the reply.
        reply_to: ReplyTo,
        /// The join ref of the channel this join replaced, which still has to
        /// be told `phx_close`.
        replaced: Option<Option<Ref>>,
    },
    /// For messages.
    Joined,
}

/// What a reply has to carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// As the client sent it.
    pub join_ref: Option<Ref>,
    /// As the client sent it.
    pub reference: Option<Ref>,
    /// The message's number in its connection, from 1.
    pub number: u32,
}

impl<P> Channel<P> {
    /// What waits or is handled, in bytes.
    pub fn bytes(&self) -> usize {
        self.mailbox.bytes() + self.running_bytes
    }

    /// Whether a message is handled at once, without waiting for others.
    pub fn is_free(&self) -> bool {
        self.running < self.max_running && self.mailbox.is_empty()
    }

    /// Whether a message with this join ref is meant for this join of the
    /// topic; one without a join ref is.
    pub fn accepts(&self, join_ref: Option<&Ref>) -> bool {
        let Some(join_ref) = join_ref else { return true };
        let Context { join_ref: own, join_message_ref, .. } = &*self.context;
        own.as_ref() == Some(join_ref) || join_message_ref.as_ref() == Some(join_ref)
    }
}
