//! A channel: one joined topic of one connection. Its state and its mailbox, the callbacks
//! of its plugin, and the effects that a callback may ask for.
//!
//! ```text
//! Joining ──join ok──▶ Joined ──leave · stop · connection over──▶ terminate, gone
//!    └──refused · trap──▶ gone      └──trap──▶ phx_error, gone
//! ```
//!
//! Pure: a [`Channel`] is data; [`crate::Session`] decides.

mod broadcast;
mod callback;
mod context;
mod deferred;
mod effect;
mod mailbox;
mod new_event;
mod notice;
mod outcome;
mod presence;
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
pub use presence::PresenceChange;
pub use progress::{Caller, MessageId, Progress, Standing};
pub use socket_ref::{NotARef, RefKey, SocketRef, Unsealed};

use std::collections::HashSet;
use std::sync::Arc;

use millrace_wire::Ref;

/// The data of one channel.
#[derive(Debug)]
pub struct Channel<P> {
    /// The facts about the channel that do not change.
    pub context: Arc<Context>,
    /// The plugin that handles the channel's messages. Each channel has an `Arc` of its own:
    /// the threads' calls would all change the reference count of a shared one.
    pub plugin: Arc<P>,
    /// Whether the join has been answered.
    pub state: State,
    /// Messages, broadcasts and timers that have not been handled.
    pub mailbox: Mailbox,
    /// The number of calls in flight.
    pub running: usize,
    /// The bytes that the calls in flight take ([`entry_bytes`]).
    pub running_bytes: usize,
    /// The number of calls that may be in flight (`limits.max_concurrency`).
    pub max_running: usize,
    /// The plugin's state for this channel.
    pub assigns: Assigns,
    /// The topics, without the channel's own, whose broadcasts go to `handle-info`.
    pub subscriptions: HashSet<Arc<str>>,
}

/// The state of a channel. A channel that has ended is no longer in its session.
#[derive(Debug)]
pub enum State {
    /// The plugin has not answered the join yet. Messages of the client wait.
    Joining {
        /// The refs of the join, for its reply.
        reply_to: ReplyTo,
        /// The channel that had the topic before, if this join replaced one.
        replaced: Option<Replaced>,
    },
    /// The join was accepted. Messages are handled.
    Joined,
}

/// A channel that ended because its topic was joined again. The client gets its `phx_close`
/// behind the reply to the new join, as in `lib/phoenix/socket.ex`.
#[derive(Debug)]
pub struct Replaced {
    /// The join ref of its join message, as the client sent it.
    pub join_ref: Option<Ref>,
}

/// The refs of a message of the client, which the reply to it carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// The join ref as the client sent it; `None` is JSON's `null`.
    pub join_ref: Option<Ref>,
    /// The ref as the client sent it. Without one no reply is expected.
    pub reference: Option<Ref>,
    /// The message's number in its connection, from 1.
    pub number: u32,
}

impl<P> Channel<P> {
    /// The bytes of the items that wait and of the calls in flight.
    pub fn bytes(&self) -> usize {
        self.mailbox.bytes() + self.running_bytes
    }

    /// Whether a message that comes now is handled at once, behind no other.
    pub fn is_free(&self) -> bool {
        self.running < self.max_running && self.mailbox.is_empty()
    }

    /// Whether a message with this join ref is meant for this join of the topic. One without
    /// a join ref always is, as in `lib/phoenix/socket.ex` since Phoenix 1.8.12.
    pub fn accepts(&self, join_ref: Option<&Ref>) -> bool {
        let Some(join_ref) = join_ref else { return true };
        let Context { join_ref: own, join_message_ref, .. } = &*self.context;
        own.as_ref() == Some(join_ref) || join_message_ref.as_ref() == Some(join_ref)
    }
}
