//! Actions: what a session asks the connection's task to do.

use std::sync::Arc;

use millrace_wire::{Frame, Payload};
use smallvec::SmallVec;

use crate::channel::{Assigns, Callback, Caller, ChannelId, Context, PresenceChange, ServerEffect};

/// One thing that a session asks the connection's task to do. The actions of one input are
/// carried out in their order.
#[derive(Debug)]
pub enum Action<P> {
    /// Queue a frame for the client.
    Send(Frame),
    /// Queue a push for the client, under the overflow policy of the push's topic.
    Push {
        /// The encoded push.
        frame: Frame,
        /// The topic of the push.
        topic: Arc<str>,
        /// The event of the push.
        event: String,
    },
    /// Call a plugin, and hand the result with its ticket to
    /// [`super::Session::complete`].
    Call(Box<Call<P>>),
    /// Change what the server holds for a channel.
    Channel(ChannelAction<P>),
    /// Have the server apply an effect that needs no channel.
    Server(ServerEffect),
    /// Add one to a counter of the server.
    Count(Count),
}

/// A change of what the server holds for a channel: subscriptions, presences, timers, calls and
/// tasks.
///
/// ```text
/// Join ─▶ (Subscribe · Unsubscribe · Presence · StartTimer · StartTask)* ─▶ EndCalls? ─▶ Leave
///      ─▶ Unsubscribe of each topic that is left
/// ```
#[derive(Debug)]
pub enum ChannelAction<P> {
    /// Drop the calls in flight of a channel that has gone: their results would change
    /// nothing.
    EndCalls(ChannelId),
    /// Subscribe a channel to its own topic, and tell its client who is present there.
    Join {
        /// The channel.
        context: Arc<Context>,
        /// The channel's plugin, which names the events that it intercepts.
        plugin: P,
        /// The changes of presence that the join asks for. They are made before the client is told,
        /// as in Phoenix, where a join tracks and then pushes who is there.
        presences: Vec<PresenceChange>,
    },
    /// End the subscription of a channel to its own topic.
    Leave {
        /// The channel.
        context: Arc<Context>,
        /// The channel's plugin.
        plugin: P,
    },
    /// Subscribe a channel to another topic.
    Subscribe {
        /// The channel.
        context: Arc<Context>,
        /// The other topic.
        topic: Arc<str>,
    },
    /// End the subscription of a channel to another topic.
    Unsubscribe {
        /// The channel.
        channel: ChannelId,
        /// The other topic.
        topic: Arc<str>,
    },
    /// Change who is present on a channel's topic. [`ChannelAction::Leave`] ends all that the
    /// channel has tracked.
    Presence {
        /// The channel.
        context: Arc<Context>,
        /// The change.
        change: PresenceChange,
    },
    /// Start a timer; when it has run out, its name goes to [`super::Session::timer`].
    StartTimer {
        /// The channel.
        context: Arc<Context>,
        /// The time until the timer runs out, in milliseconds.
        after_ms: u64,
        /// The timer's name.
        name: String,
    },
    /// Run a task of the channel's plugin. When the connection has no room for one more
    /// task, hand the caller to [`super::Session::refuse_task`].
    StartTask {
        /// The call that starts the task.
        caller: Box<Caller>,
        /// The plugin that runs the task.
        plugin: P,
        /// The task's name.
        name: String,
        /// The task's argument.
        payload: Payload,
    },
}

/// One call of a plugin.
#[derive(Debug)]
pub struct Call<P> {
    /// The plugin to call.
    pub plugin: Arc<P>,
    /// The callback of the plugin, with its arguments.
    pub callback: Callback,
    /// The assigns that the call starts from. `None` means those that the call before it in
    /// [`Calls`] leaves, which is of the same channel.
    pub assigns: Option<Assigns>,
    /// The ticket that comes back with the result.
    pub ticket: Ticket,
}

/// Calls that are made one after the other: mostly one, which needs no vector.
pub type Calls<P> = SmallVec<[Box<Call<P>>; 1]>;

/// The part of a call that [`super::Session::complete`] needs with its result.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The channel of the call, and the refs of its message.
    pub caller: Caller,
    /// The purpose of the call.
    pub purpose: CallPurpose,
    /// The bytes that the call adds to [`super::Session::pending_bytes`] until it ends; 0
    /// for [`CallPurpose::Terminate`].
    pub bytes: usize,
}

/// The purpose of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPurpose {
    /// A join of the client (`channel.join`).
    Join,
    /// A message of the client (`channel.handle-in`).
    Message,
    /// An intercepted broadcast, a broadcast on a subscribed topic or a timer
    /// (`outgoing.handle-out`, `channel.handle-info`).
    Notice,
    /// The end of the channel, which has left the session already (`channel.terminate`).
    Terminate,
}

/// Something that a session refused or dropped, which the server counts.
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
    /// A task that was started for a channel that has gone.
    TaskRefused,
    /// A deferred reply or push, or a change of presence, whose channel has gone.
    DeferredGone,
}
