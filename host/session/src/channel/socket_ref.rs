//! The token that answers a message later on.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_wire::Ref;
use ring::hmac;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;

use super::{Context, ReplyTo};

/// What a late reply needs to find its client: a few numbers, the topic, and
/// the ref of the message. Within the host it is taken as it is; what plugins get
/// and hand in is a text that a [`RefKey`] seals.
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

/// Seals socket refs, so that nobody but the server makes one.
///
/// ```text
/// ["SERVER",CONNECTION,CHANNEL,"TOPIC",REF,"PLUGIN","TAG"]
/// ```
///
/// The tag is the HMAC-SHA-256 of all that stands before it, cut to 128 bits. The
/// plugin is the one it was given to.
#[derive(Clone)]
pub struct RefKey {
    server: u64,
    key: Arc<hmac::Key>,
}

/// A socket ref that the server has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsealed {
    /// Whom it reaches.
    pub socket_ref: SocketRef,
    /// The plugin it was given to.
    pub plugin: String,
}

/// A text that is no socket ref of a server that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARef {
    /// This server has not made it.
    Forged,
    /// It may be one of another run, and reaches nobody either way.
    OfAnotherRun,
}

/// Of SHA-256's 32 bytes.
const TAG_BYTES: usize = 16;
/// In base64.
const TAG_LETTERS: usize = 22;
/// Longer texts are none: a topic, a ref and a name, with escapes, have less.
const MAX_LETTERS: usize = 4096;

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

    /// One of a test, of the ref `"1"`.
    #[must_use]
    pub fn of_test(channel: u64, topic: &str) -> Option<Self> {
        let reference = Ref::from_json("\"1\"").ok()??;
        Some(Self { server: 0, connection: 0, channel, topic: topic.into(), reference })
    }
}

impl RefKey {
    /// A key that nobody knows, and the server's number with it.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes)?;
        let (server, key) = bytes.split_at(8);
        let server = server.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self::new(server, key))
    }

    /// The key made of a secret, of the server with this number.
    #[must_use]
    pub fn new(server: u64, secret: &[u8]) -> Self {
        Self { server, key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }

    /// The server's number.
    #[must_use]
    pub fn server(&self) -> u64 {
        self.server
    }

    /// The text that is given to a plugin.
    #[must_use]
    pub fn seal(&self, socket_ref: &SocketRef, plugin: &str) -> String {
        let SocketRef { server, connection, channel, topic, reference } = socket_ref;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (topic, plugin) = (quoted(topic), quoted(plugin));
        let reference = reference.as_json();
        let mut text =
            format!("[\"{server:x}\",{connection},{channel},{topic},{reference},{plugin}");
        let tag = self.tag(&text);
        for part in [",\"", &tag, "\"]"] {
            text.push_str(part);
        }
        text
    }

    /// Reads what [`Self::seal`] wrote, to the letter.
    pub fn unseal(&self, text: &str) -> Result<Unsealed, NotARef> {
        type Parts<'a> = (String, u64, u64, String, &'a RawValue, String, IgnoredAny);
        if text.len() > MAX_LETTERS {
            return Err(NotARef::Forged);
        }
        let (server, connection, channel, topic, reference, plugin, _): Parts<'_> =
            serde_json::from_str(text).map_err(|_| NotARef::Forged)?;
        let server = u64::from_str_radix(&server, 16).map_err(|_| NotARef::Forged)?;
        if server != self.server {
            return Err(NotARef::OfAnotherRun);
        }
        let reference = Ref::from_json(reference.get()).ok().flatten().ok_or(NotARef::Forged)?;
        let (sealed, tag) = taken_apart(text).ok_or(NotARef::Forged)?;
        if !bool::from(self.tag(sealed).as_bytes().ct_eq(tag.as_bytes())) {
            return Err(NotARef::Forged);
        }
        let topic = topic.into();
        let socket_ref = SocketRef { server, connection, channel, topic, reference };
        Ok(Unsealed { socket_ref, plugin })
    }

    fn tag(&self, sealed: &str) -> String {
        let tag = hmac::sign(&self.key, sealed.as_bytes());
        let tag = tag.as_ref();
        URL_SAFE_NO_PAD.encode(tag.get(..TAG_BYTES).unwrap_or(tag))
    }
}

impl std::fmt::Debug for RefKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefKey").finish_non_exhaustive()
    }
}

/// What is sealed, and its tag.
fn taken_apart(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_suffix("\"]")?;
    let (before, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LETTERS)?)?;
    Some((before.strip_suffix(",\"")?, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn references() -> impl Strategy<Value = Ref> {
        let json = "0|[1-9][0-9]{0,9}|\"[a-zé0-9 ]*\"|true";
        json.prop_filter_map("is null", |json| Ref::from_json(&json).ok().flatten())
    }

    prop_compose! {
        fn socket_refs()(
            connection: u64,
            channel: u64,
            topic in ".*",
            reference in references(),
        ) -> SocketRef {
            SocketRef { server: 0, connection, channel, topic: topic.into(), reference }
        }
    }

    proptest! {
        #[test]
        fn it_survives_being_a_text(mut socket_ref in socket_refs(), plugin in ".{0,40}") {
            let key = RefKey::draw().unwrap();
            socket_ref.server = key.server();
            let text = key.seal(&socket_ref, &plugin);
            prop_assume!(text.len() <= MAX_LETTERS);
            prop_assert_eq!(key.unseal(&text), Ok(Unsealed { socket_ref, plugin }));
        }

        #[test]
        fn any_bit_that_is_changed_makes_it_none(
            mut socket_ref in socket_refs(),
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let key = RefKey::draw().unwrap();
            socket_ref.server = key.server();
            let mut bytes = key.seal(&socket_ref, "room").into_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
            prop_assert!(key.unseal(&changed).is_err(), "{}", changed);
        }

        #[test]
        fn any_other_text_is_none(text in ".*") {
            prop_assert_eq!(RefKey::draw().unwrap().unseal(&text), Err(NotARef::Forged));
        }
    }

    #[test]
    fn what_is_written_otherwise_is_none() {
        let key = RefKey::draw().unwrap();
        let socket_ref =
            SocketRef { server: key.server(), ..SocketRef::of_test(2, "room:a").unwrap() };
        let text = key.seal(&socket_ref, "room");
        assert!(key.unseal(&text).is_ok());
        let (sealed, tag) = taken_apart(&text).unwrap();
        for (other, why) in [
            (format!(" {text}"), "a space before it"),
            (format!("{text} "), "a space behind it"),
            (text.replace("room:a", "room:\\u0061"), "an escape"),
            (format!("{sealed}]"), "no tag"),
            (format!("{sealed},\"{}\"]", "A".repeat(TAG_LETTERS)), "another tag"),
            (format!("{sealed},\"{}\"]", &tag[1..]), "a short tag"),
            (format!("{sealed},\"{tag}=\"]"), "a long tag"),
            (text.replace("\"room\"", "\"door\""), "another plugin"),
        ] {
            assert_eq!(key.unseal(&other), Err(NotARef::Forged), "{why}: {other}");
        }
    }

    #[test]
    fn what_another_run_made_reaches_nobody() {
        let (key, other) = (RefKey::draw().unwrap(), RefKey::draw().unwrap());
        let of = |server| SocketRef { server, ..SocketRef::of_test(2, "room:a").unwrap() };
        let text = other.seal(&of(other.server()), "room");
        assert_eq!(key.unseal(&text), Err(NotARef::OfAnotherRun));
        let text = other.seal(&of(key.server()), "room");
        assert_eq!(key.unseal(&text), Err(NotARef::Forged));
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
        let text = RefKey::draw().unwrap().seal(&socket_ref, "slow");
        assert!(text.starts_with(r#"["ff",1,2,"room:a","7","slow",""#), "{text}");
    }
}
