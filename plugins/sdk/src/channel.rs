//! What an author implements.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{IntoPayload, Payload, Result, Socket, unknown_event};

/// A channel: what happens when a client joins a topic and talks on it.
///
/// Handlers of one channel run one after the other. They are associated
/// functions, not methods: whatever a channel has to remember between two
/// messages is in `socket.assigns`, because the next message may be handled by
/// another instance.
///
/// An error a handler returns undoes the whole call: none of its effects happen,
/// the assigns stay as they were, and the client gets an error reply with the
/// error's text, if it waits for one.
pub trait Channel {
    /// The topics it serves: each exact (`lobby`) or with one trailing `*`
    /// (`room:*`). Where several patterns match, of whatever plugin, the most specific
    /// counts.
    const TOPICS: &'static [&'static str];

    /// What it remembers of one joined topic, from message to message.
    type Assigns: Serialize + DeserializeOwned + Default;

    /// The number of the schema of `Assigns`. Give it another number when they
    /// change so that JSON of an earlier version cannot be read any more; then
    /// [`migrate`](Self::migrate) is called for what that version left.
    const SCHEMA: u32 = 0;

    /// A client wants to join. `Ok` accepts it with a response ([`Reply::None`]
    /// is an empty object); [`Reply::Error`] or an error refuses it.
    ///
    /// What it pushes and broadcasts goes out after the join reply.
    fn join(socket: &mut Socket<Self::Assigns>, params: Payload) -> Result<Reply> {
        let _ = (socket, params);
        Ok(Reply::None)
    }

    /// The client sent an event.
    fn handle_in(
        socket: &mut Socket<Self::Assigns>,
        event: &str,
        payload: Payload,
    ) -> Result<Reply> {
        let _ = (socket, payload);
        Err(unknown_event(event))
    }

    /// A broadcast on a topic it subscribed to, or a timer. An error is logged.
    fn handle_info(socket: &mut Socket<Self::Assigns>, info: Info) -> Result<()> {
        let _ = (socket, info);
        Ok(())
    }

    /// Takes over what another version of the plugin remembered, whose schema was
    /// `from`: an earlier version, or after a rollback a later one. `assigns` is the
    /// JSON it left.
    ///
    /// An error or a panic leaves the channel to `limits.on_migrate`: its client
    /// joins anew, or the other version goes on serving it.
    ///
    /// Unless it is written otherwise, it reads what can be read.
    fn migrate(from: u32, assigns: &[u8]) -> Result<Self::Assigns> {
        let _ = from;
        Ok(serde_json::from_slice(assigns)?)
    }

    /// The channel is over. `reason` is `left` (the client left), `closed` (its connection
    /// ended), `stopped` ([`Socket::stop`]) or `drained` (the server stops); treat an
    /// unknown one as `closed`.
    ///
    /// It is not certain to be called: not after a panic or another fault of a handler, not
    /// when the same client joins the topic anew, not when the server is killed. It has the
    /// limits of any other call (`limits.fuel`, `limits.call_timeout_ms`), and one that fails
    /// is not made again. So it is for telling others soon, and nothing may depend on it:
    /// what it would put away has to run out by itself, too.
    ///
    /// Broadcasts, events for pipelines and tasks it asks for happen; pushes reach the client
    /// only while it is connected; assigns, timers and subscriptions are of no use any more.
    fn terminate(socket: &mut Socket<Self::Assigns>, reason: &str) -> Result<()> {
        let _ = (socket, reason);
        Ok(())
    }
}

/// A channel that sees some broadcasts on their way to its client.
///
/// Costs a call for each client and broadcast, so name only events that need it.
pub trait Outgoing: Channel {
    /// The events it sees.
    const INTERCEPTS: &'static [&'static str];

    /// An intercepted broadcast; nothing is sent unless it pushes.
    fn handle_out(socket: &mut Socket<Self::Assigns>, event: &str, payload: Payload) -> Result<()>;
}

/// What happened besides the client's own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// A broadcast on a topic the channel subscribed to.
    Broadcast {
        /// That topic.
        topic: String,
        /// Its event.
        event: String,
        /// What it carries.
        payload: Payload,
    },
    /// A timer; its name.
    Timer(String),
}

/// How a handler answers its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Not at all.
    None,
    /// With status `ok`.
    Ok(Payload),
    /// With status `error`.
    Error(Payload),
}

impl Reply {
    /// Answers with status `ok`.
    pub fn ok(payload: impl IntoPayload) -> Result<Self> {
        payload.into_payload().map(Self::Ok)
    }

    /// Answers with status `error`.
    pub fn error(payload: impl IntoPayload) -> Result<Self> {
        payload.into_payload().map(Self::Error)
    }

    /// Answers with status `ok` and an empty object.
    #[must_use]
    pub fn done() -> Self {
        Self::Ok(Payload::Json(b"{}".to_vec()))
    }
}
