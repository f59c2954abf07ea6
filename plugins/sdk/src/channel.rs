//! The traits that an author implements for channels.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{IntoPayload, Payload, Result, Socket, unknown_event};

/// A channel: the handlers that are called when a client joins a topic and sends messages on it.
///
/// Handlers of one channel run one after the other. They are associated functions, not methods: a
/// channel keeps everything in `socket.assigns`, because the next message may be handled by another
/// instance.
///
/// If a handler returns an error, the whole call is undone: none of its effects happen, the assigns
/// stay as they were, and the client gets an error reply with the text of the error, if it waits
/// for a reply.
///
/// ```
/// # use millrace_plugin::prelude::*;
/// struct Counter;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Count { n: u64 }
///
/// impl Channel for Counter {
///     const TOPICS: &'static [&'static str] = &["counter:*"];
///     type Assigns = Count;
///
///     fn handle_in(socket: &mut Socket<Count>, event: &str, _: Payload) -> Result<Reply> {
///         match event {
///             "add" => {
///                 socket.assigns.n += 1;
///                 Reply::ok(json!({ "n": socket.assigns.n }))
///             }
///             _ => Err(unknown_event(event)),
///         }
///     }
/// }
/// # fn main() {}
/// ```
pub trait Channel {
    /// The topics that the channel serves: each exact (`lobby`) or with one `*` at its end
    /// (`room:*`). If several patterns match a topic, of this or other plugins, the most specific
    /// one counts.
    const TOPICS: &'static [&'static str];

    /// The state of one joined topic, which is kept from message to message.
    type Assigns: Serialize + DeserializeOwned + Default;

    /// The number of the schema of `Assigns`. Change it when JSON of an earlier version can no
    /// longer be read as `Assigns`; then [`migrate`](Self::migrate) is called with the assigns of
    /// that version.
    const SCHEMA: u32 = 0;

    /// Handles the join of a client. `Ok` accepts it with a response ([`Reply::None`] is an empty
    /// object); [`Reply::Error`] or an error refuses it.
    ///
    /// Pushes and broadcasts of the call are sent after the join reply.
    fn join(socket: &mut Socket<Self::Assigns>, params: Payload) -> Result<Reply> {
        let _ = (socket, params);
        Ok(Reply::None)
    }

    /// Handles an event that the client sent.
    fn handle_in(
        socket: &mut Socket<Self::Assigns>,
        event: &str,
        payload: Payload,
    ) -> Result<Reply> {
        let _ = (socket, payload);
        Err(unknown_event(event))
    }

    /// Handles a broadcast on a topic that the channel has subscribed to, or a timer. An error is
    /// logged.
    fn handle_info(socket: &mut Socket<Self::Assigns>, info: Info) -> Result<()> {
        let _ = (socket, info);
        Ok(())
    }

    /// Takes over the assigns of another version of the plugin, whose schema was `from`: an earlier
    /// version, or after a rollback a later one. `assigns` is their JSON.
    ///
    /// The default implementation reads the JSON as `Assigns`.
    ///
    /// After an error or a panic, `limits.on_migrate` decides: the client joins again, or the other
    /// version goes on serving it.
    fn migrate(from: u32, assigns: &[u8]) -> Result<Self::Assigns> {
        let _ = from;
        Ok(serde_json::from_slice(assigns)?)
    }

    /// Handles the end of the channel. `reason` is `left` (the client left), `closed` (its
    /// connection ended), `stopped` ([`Socket::stop`]) or `drained` (the server stops); treat any
    /// other as `closed`.
    ///
    /// This is not always called: not after a panic or another fault of a handler, not when the
    /// same client joins the topic again, and not when the server is killed. The call has the same
    /// limits as any other (`limits.fuel`, `limits.call_timeout_ms`), and is not repeated if it
    /// fails. So use it to tell others early, but do not depend on it: whatever it would clean up
    /// also has to expire by itself.
    ///
    /// Broadcasts, events for pipelines and tasks of the call happen. Pushes reach the client only
    /// while it is connected. Assigns, timers and subscriptions have no effect any more.
    fn terminate(socket: &mut Socket<Self::Assigns>, reason: &str) -> Result<()> {
        let _ = (socket, reason);
        Ok(())
    }
}

/// A channel that handles some broadcasts before they are sent to its client.
///
/// This costs a call for each client and broadcast, so list only events that need it.
pub trait Outgoing: Channel {
    /// The events whose broadcasts are handled.
    const INTERCEPTS: &'static [&'static str];

    /// Handles an intercepted broadcast. Nothing is sent to the client unless this pushes it.
    fn handle_out(socket: &mut Socket<Self::Assigns>, event: &str, payload: Payload) -> Result<()>;
}

/// Something that happened besides the client's own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// A broadcast on a topic that the channel has subscribed to.
    Broadcast {
        /// The topic of the broadcast.
        topic: String,
        /// The event of the broadcast.
        event: String,
        /// The payload of the broadcast.
        payload: Payload,
    },
    /// A timer has run out; its name.
    Timer(String),
}

/// The reply of a handler to its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// No reply.
    None,
    /// A reply with the status `ok`.
    Ok(Payload),
    /// A reply with the status `error`.
    Error(Payload),
}

impl Reply {
    /// A reply with the status `ok`.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn ok(payload: impl IntoPayload) -> Result<Self> {
        payload.into_payload().map(Self::Ok)
    }

    /// A reply with the status `error`.
    ///
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub fn error(payload: impl IntoPayload) -> Result<Self> {
        payload.into_payload().map(Self::Error)
    }

    /// A reply with the status `ok` and an empty object.
    #[must_use]
    pub fn done() -> Self {
        Self::Ok(Payload::Json(b"{}".to_vec()))
    }
}
