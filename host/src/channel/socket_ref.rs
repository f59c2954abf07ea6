//! The token that answers a message later on.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Context, ReplyTo};
use crate::wire::Ref;

/// What a late reply needs to find its client: a few numbers, the topic, and
/// the ref of the message. To plugins it is an opaque text.
///
/// It holds no secret: whoever can guess one can answer a client that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketRef {
    /// Drawn when the server started, so that a token outlives no restart.
    pub server: u64,
    /// The connection's number.
    pub connection: u64,
    /// The channel's number.
    pub channel: u64,
    /// The channel's topic.
    pub topic: Arc<str>,
    /// The ref of the message.
    pub reference: Ref,
}

/// A text that is no socket ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no socket ref; pass on the text that `socket-ref` gave as it is")]
pub struct SocketRefError;

impl SocketRef {
    /// The token of a message that is being handled; `None` when nobody waits
    /// for an answer.
    #[must_use]
    pub fn new(server: u64, context: &Context, reply_to: &ReplyTo) -> Option<Self> {
        Some(Self {
            server,
            connection: context.connection,
            channel: context.channel,
            topic: Arc::clone(&context.topic),
            reference: reply_to.reference.clone()?,
        })
    }

    /// Reads what [`ToString`] wrote.
    pub fn parse(text: &str) -> Result<Self, SocketRefError> {
        type Parts<'a> = (String, u64, u64, String, &'a RawValue);
        let (server, connection, channel, topic, reference): Parts<'_> =
            serde_json::from_str(text).map_err(|_| SocketRefError)?;
        let server = u64::from_str_radix(&server, 16).map_err(|_| SocketRefError)?;
        let reference = Ref::from_json(reference.get()).ok().flatten().ok_or(SocketRefError)?;
        Ok(Self { server, connection, channel, topic: topic.into(), reference })
    }
}

impl std::fmt::Display for SocketRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, connection, channel, topic, reference } = self;
        let topic = serde_json::to_string(&**topic).map_err(|_| std::fmt::Error)?;
        let reference = reference.as_json();
        write!(f, "[\"{server:x}\",{connection},{channel},{topic},{reference}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_survives_being_a_text(
            server: u64,
            connection: u64,
            channel: u64,
            topic in ".*",
            reference in "0|[1-9][0-9]{0,9}|\"[a-zé0-9 ]*\"|true",
        ) {
            let Ok(Some(reference)) = Ref::from_json(&reference) else { return Ok(()) };
            let topic = topic.into();
            let socket_ref = SocketRef { server, connection, channel, topic, reference };
            prop_assert_eq!(SocketRef::parse(&socket_ref.to_string()), Ok(socket_ref));
        }

        #[test]
        fn any_other_text_is_refused(text in ".*") {
            prop_assert_eq!(SocketRef::parse(&text), Err(SocketRefError));
        }
    }

    #[test]
    fn a_message_without_a_ref_has_none() {
        let context = Context {
            connection: 1,
            channel: 2,
            topic: "room:a".into(),
            join_ref: None,
            sent_join_ref: None,
            join_message_ref: None,
            user_id: None,
        };
        assert_eq!(SocketRef::new(1, &context, &ReplyTo::default()), None);
        let reference = Ref::from_json("\"7\"").unwrap();
        let reply_to = ReplyTo { reference, ..ReplyTo::default() };
        let socket_ref = SocketRef::new(255, &context, &reply_to).unwrap();
        assert_eq!(socket_ref.to_string(), r#"["ff",1,2,"room:a","7"]"#);
    }
}
