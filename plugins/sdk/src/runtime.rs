//! The code between the calls of the interface and an author's handlers. Only the export macros use
//! it.

use crate::bindings::dispatcher::exports::millrace::plugin::dispatcher as raw_dispatcher;
use crate::bindings::exports::millrace::plugin::channel::{Info as RawInfo, Joined, Message};
use crate::bindings::millrace::plugin::types::{
    Assigns, Effect, Outcome, Payload as RawPayload, Push, Socket as RawSocket,
};
use crate::bindings::socket::exports::millrace::plugin::socket as raw_connect;
use crate::bindings::worker::exports::millrace::plugin::worker as raw_worker;
use crate::dispatcher::{Assignments, Dispatcher, Offer};
use crate::socket::raw_reply;
use crate::{Channel, Connect, Connected, Error, Info, Outgoing, Payload, Refused, Reply};
use crate::{Effects, PresenceHandler, Result, Socket, Tasks, Worker, host};

/// Whether the channel serves a topic: one of its patterns matches, and no channel of `all` has a
/// more specific pattern that matches.
#[must_use]
pub fn serves<C: Channel>(topic: &str, all: &[&[&str]]) -> bool {
    let Some(own) = rank(C::TOPICS, topic) else { return false };
    all.len() == 1 || all.iter().all(|patterns| rank(patterns, topic) <= Some(own))
}

/// The rank of the most specific pattern that matches: an exact one is before the longest prefix.
fn rank(patterns: &[&str], topic: &str) -> Option<usize> {
    let rank = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix).then_some(prefix.len()),
        None => (*pattern == topic).then_some(usize::MAX),
    };
    patterns.iter().filter_map(rank).max()
}

/// Handles `channel.join`.
pub fn join<C: Channel>(
    socket: RawSocket,
    assigns: Assigns,
    params: RawPayload,
) -> Result<Joined, RawPayload> {
    let mut socket = Socket::<C::Assigns>::joining(socket, assigns.data);
    let joined = C::join(&mut socket, params.into()).and_then(|reply| match reply {
        Reply::None => Ok(Ok(Joined { response: None, outcome: socket.into_outcome(C::SCHEMA)? })),
        Reply::Ok(response) => {
            let response = Some(response.into());
            Ok(Ok(Joined { response, outcome: socket.into_outcome(C::SCHEMA)? }))
        }
        Reply::Error(response) => Ok(Err(response)),
    });
    match joined {
        Ok(Ok(joined)) => Ok(joined),
        Ok(Err(response)) => Err(response.into()),
        Err(error) => Err(reason(&error)),
    }
}

/// Handles `channel.handle-in`.
pub fn handle_in<C: Channel>(socket: RawSocket, assigns: Assigns, message: Message) -> Outcome {
    let Message { event, payload, wants_reply } = message;
    let mut socket = Socket::<C::Assigns>::new(socket, assigns);
    handle::<C>(&mut socket, &event, payload.into(), wants_reply).into()
}

/// The result of a handled message.
#[derive(Debug)]
pub struct Handled {
    /// The effects without the reply, which comes last.
    pub(crate) effects: Vec<Effect>,
    pub(crate) reply: Reply,
    /// The assigns, if they were changed.
    pub(crate) assigns: Option<Assigns>,
}

/// Calls the handler of a message. An error becomes the reply, and the effects that the handler
/// asked for before it are dropped.
pub(crate) fn handle<C: Channel>(
    socket: &mut Socket<C::Assigns>,
    event: &str,
    payload: Payload,
    wants_reply: bool,
) -> Handled {
    let handled = C::handle_in(socket, event, payload).and_then(|reply| {
        let (effects, assigns) = socket.take_outcome(C::SCHEMA)?;
        Ok(Handled { effects, reply, assigns })
    });
    handled.unwrap_or_else(|error| {
        let reply = if wants_reply {
            Reply::Error(reason(&error).into())
        } else {
            host::log::warn(&format!("handle_in of {event:?}: {error}"));
            Reply::None
        };
        Handled { effects: Vec::new(), reply, assigns: None }
    })
}

impl From<Handled> for Outcome {
    fn from(handled: Handled) -> Self {
        let Handled { mut effects, reply, assigns } = handled;
        effects.extend(raw_reply(reply).map(Effect::Reply));
        Self { effects, assigns }
    }
}

/// Handles `channel.handle-info`.
pub fn handle_info<C: Channel>(socket: RawSocket, assigns: Assigns, info: RawInfo) -> Outcome {
    let info = match info {
        RawInfo::Broadcast(broadcast) => Info::Broadcast {
            topic: broadcast.topic.unwrap_or_default(),
            event: broadcast.event,
            payload: broadcast.payload.into(),
        },
        RawInfo::Timer(name) => Info::Timer(name),
    };
    let mut socket = Socket::<C::Assigns>::new(socket, assigns);
    let outcome = C::handle_info(&mut socket, info).and_then(|()| socket.into_outcome(C::SCHEMA));
    outcome.unwrap_or_else(|error| nothing("handle_info", &error))
}

/// Handles `channel.terminate`.
pub fn terminate<C: Channel>(socket: RawSocket, assigns: Assigns, reason: &str) -> Outcome {
    let mut socket = Socket::<C::Assigns>::new(socket, assigns);
    let outcome = C::terminate(&mut socket, reason).and_then(|()| socket.into_outcome(C::SCHEMA));
    outcome.unwrap_or_else(|error| nothing("terminate", &error))
}

/// Handles `migration.migrate`.
pub fn migrate<C: Channel>(assigns: &Assigns) -> Result<Assigns, String> {
    let migrated = C::migrate(assigns.schema, &assigns.data);
    let data = migrated.and_then(|assigns| Ok(serde_json::to_vec(&assigns)?));
    let migrated = data.map(|data| Assigns { schema: C::SCHEMA, data });
    migrated.map_err(|error| error.to_string())
}

/// Handles `outgoing.handle-out`.
pub fn handle_out<C: Outgoing>(socket: RawSocket, assigns: Assigns, message: Push) -> Outcome {
    let mut socket = Socket::<C::Assigns>::new(socket, assigns);
    let outcome = C::handle_out(&mut socket, &message.event, message.payload.into())
        .and_then(|()| socket.into_outcome(C::SCHEMA));
    outcome.unwrap_or_else(|error| nothing("handle_out", &error))
}

/// Handles `tasks.run`.
pub fn run<T: Tasks>(socket: RawSocket, name: &str, payload: RawPayload) -> Vec<Effect> {
    let mut socket = Socket::<()>::new(socket, Assigns { schema: 0, data: Vec::new() });
    let reply = match T::run(&mut socket, name, payload.into()) {
        Ok(reply) => reply,
        Err(error) => {
            // The effects that it asked for before the error do not happen.
            socket.forget();
            host::log::warn(&format!("task {name:?}: {error}"));
            Reply::Error(reason(&error).into())
        }
    };
    if let Some(socket_ref) = socket.socket_ref() {
        socket.reply_to(&socket_ref, reply);
    }
    socket.into_effects()
}

/// Handles `presence-handler.handle-presence`.
pub fn handle_presence<H: PresenceHandler>(topic: &str, diff: &[u8]) -> Vec<Effect> {
    let mut effects = Effects::default();
    let handled = serde_json::from_slice(diff)
        .map_err(Error::from)
        .and_then(|diff| H::handle_presence(&mut effects, topic, diff));
    match handled {
        Ok(()) => effects.into_raw(),
        Err(error) => {
            host::log::warn(&format!("handle_presence: {error}"));
            Vec::new()
        }
    }
}

/// Handles `worker.handle`.
pub fn work<W: Worker>(batch: raw_worker::Batch) -> raw_worker::Answer {
    crate::worker::handle::<W>(batch)
}

/// Handles `dispatcher.dispatch`.
pub fn dispatch<D: Dispatcher>(
    dispatcher: &mut D,
    offer: raw_dispatcher::Offer,
) -> raw_dispatcher::Assignments {
    for ask in &offer.asks {
        dispatcher.consumers().ask(ask.consumer, ask.demand);
    }
    let mut assignments = Assignments::default();
    dispatcher.dispatch(&Offer::new(offer), &mut assignments);
    assignments.into_raw()
}

/// Handles `socket.connect`.
pub fn connect<C: Connect>(
    request: &crate::Request,
) -> Result<raw_connect::Connected, raw_connect::Refusal> {
    let refuse = |status, reason| Err(raw_connect::Refusal { status, reason });
    match C::connect(request) {
        Ok(Ok(Connected { user_id, assigns })) => match serde_json::to_vec(&assigns) {
            Ok(data) => {
                Ok(raw_connect::Connected { user_id, assigns: Assigns { schema: 0, data } })
            }
            Err(error) => {
                host::log::error(&format!("connect: the assigns cannot be written: {error}"));
                refuse(500, String::new())
            }
        },
        Ok(Err(Refused { status, reason })) => refuse(status, reason),
        Err(error) => {
            host::log::warn(&format!("connect: {error}"));
            refuse(403, String::new())
        }
    }
}

fn reason(error: &Error) -> RawPayload {
    let reason = serde_json::json!({ "reason": error.to_string() });
    RawPayload::Json(reason.to_string().into_bytes())
}

/// The outcome of a handler that has failed while no client waits for a reply: the error is logged.
fn nothing(handler: &str, error: &Error) -> Outcome {
    host::log::warn(&format!("{handler}: {error}"));
    Outcome { effects: Vec::new(), assigns: None }
}

impl From<RawPayload> for Payload {
    fn from(raw: RawPayload) -> Self {
        match raw {
            RawPayload::Json(json) => Self::Json(json),
            RawPayload::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<Payload> for RawPayload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Json(json) => Self::Json(json),
            Payload::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// The words of [`export_needs!`](crate::export_needs).
pub mod need {
    use crate::bindings::millrace::plugin::grants::Need;

    pub fn publish(topic: &str) -> Need {
        Need::Publish(topic.to_owned())
    }

    pub fn enqueue(pipeline: &str) -> Need {
        Need::Enqueue(pipeline.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn the_topic_itself_is_more_specific_than_its_beginning() {
        let (room, vip) = (&["room:*"][..], &["room:vip:*", "room:vip:1"][..]);
        assert!(rank(vip, "room:vip:2") > rank(room, "room:vip:2"));
        assert!(rank(vip, "room:vip:1") > rank(&["room:vip:1*"], "room:vip:1"));
        assert!(rank(room, "room:lobby").is_some());
        assert_eq!(rank(vip, "room:lobby"), None);
    }
}
