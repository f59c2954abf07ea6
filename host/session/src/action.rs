//! What a session asks the connection's task to do.

use std::sync::Arc;

use millrace_wire::{Frame, Payload};
use smallvec::SmallVec;

use crate::channel::{Assigns, Callback, Caller, ChannelId, Context, ServerEffect};

/// One thing for the connection's task to do, in order.
#[derive(Debug)]
pub enum Action<P> {
    /// Queue a frame for the client.
    Send(Frame),
    /// Queue a push for the client, under the overflow policy of its topic.
    Push {
        /// The encoded push.
        frame: Frame,
        /// The topic.
        topic: Arc<str>,
        /// The event.
        event: String,
    },
    /// Call a plugin, and hand the result with its ticket to
    /// [`super::Session::complete`].
    Call(Box<Call<P>>),
    /// Change what the server holds for a channel.
    Channel(ChannelAction<P>),
    /// Have the server apply an effect.
    Server(ServerEffect),
    /// Add one to a counter of the server.
    Count(Count),
}

/// A change of what the server holds for a channel.
#[derive(Debug)]
pub enum ChannelAction<P> {
    /// Give up the calls in flight of a channel that has gone: their results
    /// would come to nothing.
    EndCalls(ChannelId),
    /// Subscribe a channel to its own topic.
    Join {
        /// Whose subscription it is.
        context: Arc<Context>,
        /// Knows which events are intercepted.
        plugin: P,
    },
    /// End the subscription of a channel to its own topic.
    Leave {
        /// Whose subscription it is.
        context: Arc<Context>,
        /// Who served it.
        plugin: P,
    },
    /// Subscribe a channel to another topic.
    Subscribe {
        /// Whose subscription it is.
        context: Arc<Context>,
        /// What it subscribes to.
        topic: Arc<str>,
    },
    /// End all subscriptions of a channel to a topic.
    Unsubscribe {
        /// Whose they are.
        channel: ChannelId,
        /// To what.
        topic: Arc<str>,
    },
    /// Hand [`super::Session::timer`] this name later.
    StartTimer {
        /// Whose timer it is.
        context: Arc<Context>,
        /// In so many milliseconds.
        after_ms: u64,
        /// Its name.
        name: String,
    },
    /// Run a task of the channel's plugin, or answer `reply_to` with an error
    /// when there is no room.
    StartTask {
        /// Who starts it.
        caller: Box<Caller>,
        /// Its plugin.
        plugin: P,
        /// Its name.
        name: String,
        /// What it gets.
        payload: Payload,
    },
}

/// One call of a plugin.
#[derive(Debug)]
pub struct Call<P> {
    /// Whom to call.
    pub plugin: Arc<P>,
    /// What to call.
    pub callback: Callback,
    /// The state it starts from; `None` is what the call before it leaves, which is
    /// of the same channel.
    pub assigns: Option<Assigns>,
    /// Comes back with the result.
    pub ticket: Ticket,
}

/// Calls to be made one after the other: mostly one, which needs no vector.
pub type Calls<P> = SmallVec<[Box<Call<P>>; 1]>;

/// What a result has to come back with.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whose call it is.
    pub caller: Caller,
    /// What the call was for.
    pub purpose: CallPurpose,
    /// What its message takes while it is handled, in bytes.
    pub bytes: usize,
}

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPurpose {
    /// A join.
    Join,
    /// A message of the client.
    Message,
    /// An intercepted broadcast, a broadcast on a subscribed topic or a timer.
    Notice,
    /// The end of the channel, which has left the session already.
    Terminate,
}

/// Something that a session cannot do and the server counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A message whose payload is not what its protocol version allows.
    MessageRefused,
    /// A join of a topic that is too long, or of one more than `socket.max_channels`.
    ChannelRefused,
    /// A join that came too soon after others.
    JoinRefused,
    /// A message for a channel with `socket.max_pending` messages waiting.
    ChannelOverloaded,
    /// A broadcast or a timer for a channel without room for it.
    NoticeDropped,
    /// A subscription beyond `socket.max_subscriptions`.
    SubscriptionRefused,
    /// A task that a channel starts which has gone.
    TaskRefused,
    /// A deferred answer or push whose channel has gone.
    DeferredGone,
}
