//! Conversions between the interface's types and the host's own, value by value. What a call
//! returns as a whole goes through its `Budget`.

use bytes::Bytes;
use bytestring::ByteString;
use millrace_session::channel::{Assigns, Broadcast, Callback, Context, Info};
use millrace_wire::{MAX_TOPIC_BYTES, Payload, is_json, json_problem};

use super::bindings::exports::millrace::plugin::socket;
use super::bindings::millrace::plugin::types;
use super::{Fault, PluginLimits};

/// The request that opens a connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectRequest {
    /// The parameters of the query, decoded, in their order.
    pub params: Vec<(String, String)>,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The address of the peer, as `IP:PORT`.
    pub peer: String,
    /// The token of a bearer subprotocol.
    pub auth_token: Option<String>,
    /// The identity that the host has found in a token.
    pub identity: Option<ConnectIdentity>,
}

/// The client of a connection, as its verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectIdentity {
    /// The user, if the token names one.
    pub user_id: Option<String>,
    /// The claims or the data of the token, as JSON text.
    pub claims: ByteString,
}

/// An accepted connection.
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// The id of the user, if the plugin gives one.
    pub user_id: Option<String>,
    /// The assigns that every channel starts with.
    pub assigns: Assigns,
}

/// A refused connection.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status, from 400 to 599; any other becomes 403.
    pub status: u16,
    /// The body of the response.
    pub reason: String,
}

/// The most bytes of an event, a status or a user id: what fits into the header of a binary frame
/// of Phoenix.
const MAX_NAME_BYTES: usize = 255;

// === to the plugin ===

pub(super) fn socket(context: &Context) -> types::Socket<'_> {
    types::Socket {
        connection: context.connection,
        channel: context.channel,
        topic: &context.topic,
        user_id: context.user_id.as_deref(),
    }
}

pub(super) fn assigns(assigns: &Assigns) -> types::AssignsParam<'_> {
    types::AssignsParam { schema: assigns.schema, data: &assigns.data }
}

pub(super) fn payload(payload: &Payload) -> types::PayloadParam<'_> {
    match payload {
        Payload::Json(text) => types::PayloadParam::Json(text.as_bytes()),
        Payload::Binary(bytes) => types::PayloadParam::Binary(bytes),
    }
}

pub(super) fn broadcast(broadcast: &Broadcast) -> types::BroadcastParam<'_> {
    types::BroadcastParam {
        topic: Some(&broadcast.topic),
        event: &broadcast.event,
        payload: payload(&broadcast.payload),
    }
}

pub(super) fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The payload that a callback hands to the plugin.
pub(super) fn handed(callback: &Callback) -> Option<&Payload> {
    match callback {
        Callback::Join { params: payload } | Callback::HandleIn { payload, .. } => Some(payload),
        Callback::HandleOut(broadcast) | Callback::HandleInfo(Info::Broadcast(broadcast)) => {
            Some(&broadcast.payload)
        }
        Callback::HandleInfo(Info::Timer(_)) | Callback::Terminate(_) => None,
    }
}

/// The bytes that a callback hands to the plugin besides the assigns.
pub(super) fn size(context: &Context, callback: &Callback) -> usize {
    let names = match callback {
        Callback::HandleIn { event, .. } => event.len(),
        Callback::HandleOut(broadcast) | Callback::HandleInfo(Info::Broadcast(broadcast)) => {
            broadcast.topic.len() + broadcast.event.len()
        }
        Callback::HandleInfo(Info::Timer(name)) => name.len(),
        Callback::Join { .. } | Callback::Terminate(_) => 0,
    };
    context.topic.len() + names + handed(callback).map_or(0, Payload::len)
}

impl ConnectRequest {
    /// The bytes of its parameters, its headers and its claims.
    pub(super) fn size(&self) -> usize {
        let pairs = self.params.iter().chain(&self.headers);
        let claims = self.identity.as_ref().map_or(0, |identity| identity.claims.len());
        pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>() + claims
    }

    /// The identity, for the plugin.
    pub(super) fn identity(&self) -> Option<socket::Identity<'_>> {
        self.identity.as_ref().map(|identity| socket::Identity {
            user_id: identity.user_id.as_deref(),
            claims: identity.claims.as_bytes(),
        })
    }
}

// === from the plugin ===

/// Checks the answer of `socket.connect`.
pub(super) fn connected(
    answer: Result<socket::Connected, socket::Refusal>,
    limits: &PluginLimits,
) -> Result<Result<Connected, Refusal>, Fault> {
    match answer {
        Ok(connected) => {
            let user_id = connected.user_id;
            if let Some(user_id) = &user_id {
                name("the user id", user_id)?;
            }
            let assigns = assigns_back(connected.assigns, limits.max_assigns_bytes)?;
            Ok(Ok(Connected { user_id, assigns }))
        }
        Err(socket::Refusal { status, reason }) => {
            let status = if (400..=599).contains(&status) { status } else { 403 };
            Ok(Err(Refusal { status, reason }))
        }
    }
}

/// Checks returned assigns; more than `allowed` bytes are a fault.
pub(super) fn assigns_back(
    assigns: types::AssignsResult,
    allowed: usize,
) -> Result<Assigns, Fault> {
    let found = assigns.data.len();
    if found > allowed {
        return Err(Fault::bad_return(format!(
            "the assigns have {found} bytes, allowed are {allowed} (limits.max_assigns_bytes)"
        )));
    }
    Ok(Assigns { schema: assigns.schema, data: Bytes::from(assigns.data) })
}

/// Checks a returned JSON payload, which has to be readable for all clients.
pub(super) fn json(data: Vec<u8>) -> Result<Payload, Fault> {
    let text = String::from_utf8(data)
        .map_err(|error| Fault::bad_return(format!("a JSON payload is not UTF-8: {error}")))?;
    if !is_json(&text) {
        let start: String = text.chars().take(40).collect();
        let problem = json_problem(&text).unwrap_or_default();
        return Err(Fault::bad_return(format!("a JSON payload is not JSON: {start:?}: {problem}")));
    }
    Ok(Payload::Json(ByteString::from(text)))
}

/// Checks the length of a returned topic.
pub(super) fn checked_topic(topic: String) -> Result<String, Fault> {
    match topic.len() {
        1..=MAX_TOPIC_BYTES => Ok(topic),
        found => Err(Fault::bad_return(format!(
            "a topic has {found} bytes, allowed are 1 to {MAX_TOPIC_BYTES}"
        ))),
    }
}

/// Checks the length of a returned name; `what` says in the fault what it is.
pub(super) fn name(what: &str, name: &str) -> Result<(), Fault> {
    match name.len() {
        0..=MAX_NAME_BYTES => Ok(()),
        found => Err(Fault::bad_return(format!(
            "{what} has {found} bytes, allowed are {MAX_NAME_BYTES}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_returns_can_be_read_by_all_clients() {
        assert!(json(br#"{"a":"\ud83d\ude00"}"#.to_vec()).is_ok());
        for (text, problem) in [
            (r#"{"a":"\ud83d"}"#, "half of a surrogate pair"),
            ("[1e999]", "the largest of a 64-bit float"),
            ("[1", "expected ',' or ']'"),
        ] {
            let error = json(text.as_bytes().to_vec()).unwrap_err();
            assert!(error.message.contains(problem), "{text}: {}", error.message);
        }
    }
}
