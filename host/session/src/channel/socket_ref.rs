//! Socket refs: tokens with which a message can be answered later. Phoenix has them in
//! `lib/phoenix/channel.ex` (`socket_ref/1`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_wire::Ref;
use ring::hmac;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;

use super::{Context, ReplyTo};

/// The address of a message, with which a later reply finds its client. Inside the host it is
/// this struct; plugins get it, and hand it in, as a text that a [`RefKey`] seals.
///
/// ```
/// use millrace_session::channel::{RefKey, SocketRef, Unsealed};
///
/// let key = RefKey::new(0, b"a secret of this server");
/// let socket_ref = SocketRef::of_test(7, "room:1").unwrap();
/// let text = key.seal(&socket_ref, "chat");
/// assert!(text.starts_with(r#"["0",0,7,"room:1","1","chat","#));
/// let unsealed = Unsealed { socket_ref, plugin: "chat".to_owned() };
/// assert_eq!(key.unseal(&text), Ok(unsealed));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketRef {
    /// The server's number, drawn at its start: after a restart the token reaches nobody.
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

/// The key that seals socket refs, so that only this server can make one.
///
/// ```text
/// ["SERVER",CONNECTION,CHANNEL,"TOPIC",REF,"PLUGIN","TAG"]
/// ```
///
/// `SERVER` is hexadecimal, `REF` the JSON that the client sent, and `PLUGIN` the name of the
/// plugin that the text was given to. `TAG` is the HMAC-SHA-256 of all that stands before
/// `,"TAG"]`, cut to 128 bits, in base64 for URLs without padding.
#[derive(Clone)]
pub struct RefKey {
    /// The server's number.
    server: u64,
    key: Arc<hmac::Key>,
}

/// The content of a text that this server has sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsealed {
    /// The socket ref.
    pub socket_ref: SocketRef,
    /// The name of the plugin that the text was given to.
    pub plugin: String,
}

/// The reason why a text is no socket ref of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARef {
    /// The server has not made the text: its form or its tag is wrong.
    Forged,
    /// The text names another server's number. It may be of an earlier run of this server,
    /// and can reach nobody.
    OfAnotherRun,
}

/// The length of a tag in bytes: the first half of the 32 bytes of an HMAC-SHA-256.
const TAG_BYTES: usize = 16;
/// The length of a tag in base64, in characters.
const TAG_CHARS: usize = 22;
/// The length of a sealed text in bytes; a longer one is refused as forged. A topic, a ref and
/// a name have less, also when they are escaped.
const MAX_TEXT_BYTES: usize = 4096;

impl SocketRef {
    /// The socket ref of a message that is being handled; `None` when the message has no ref,
    /// so that its client expects no reply.
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

    /// A socket ref for tests: of connection 0 of server 0, and the ref `"1"`.
    #[must_use]
    pub fn of_test(channel: u64, topic: &str) -> Option<Self> {
        let reference = Ref::from_json("\"1\"").ok()??;
        Some(Self { server: 0, connection: 0, channel, topic: topic.into(), reference })
    }
}

impl RefKey {
    /// A random key with a random server's number, for one run of a server.
    ///
    /// # Errors
    ///
    /// The error of the operating system, when it gives no random bytes.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes)?;
        let (server, key) = bytes.split_at(8);
        let server = server.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self::new(server, key))
    }

    /// The key of the server with this number, made of a secret.
    #[must_use]
    pub fn new(server: u64, secret: &[u8]) -> Self {
        Self { server, key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }

    /// The server's number.
    #[must_use]
    pub fn server(&self) -> u64 {
        self.server
    }

    /// The text of a socket ref that is given to the plugin of this name.
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

    /// Reads a text of [`Self::seal`]. It has to be the same byte for byte: other JSON of the
    /// same values is refused.
    ///
    /// # Errors
    ///
    /// [`NotARef::OfAnotherRun`] for a text with another server's number, whose tag cannot be
    /// checked here, and [`NotARef::Forged`] for any other text that this key did not seal.
    pub fn unseal(&self, text: &str) -> Result<Unsealed, NotARef> {
        type Parts<'a> = (String, u64, u64, String, &'a RawValue, String, IgnoredAny);
        if text.len() > MAX_TEXT_BYTES {
            return Err(NotARef::Forged);
        }
        let (server, connection, channel, topic, reference, plugin, _): Parts<'_> =
            serde_json::from_str(text).map_err(|_| NotARef::Forged)?;
        let server = u64::from_str_radix(&server, 16).map_err(|_| NotARef::Forged)?;
        if server != self.server {
            return Err(NotARef::OfAnotherRun);
        }
        let reference = Ref::from_json(reference.get()).ok().flatten().ok_or(NotARef::Forged)?;
        let (sealed, tag) = split_tag(text).ok_or(NotARef::Forged)?;
        if !bool::from(self.tag(sealed).as_bytes().ct_eq(tag.as_bytes())) {
            return Err(NotARef::Forged);
        }
        let topic = topic.into();
        let socket_ref = SocketRef { server, connection, channel, topic, reference };
        Ok(Unsealed { socket_ref, plugin })
    }

    /// The tag of the text before it, in base64.
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

/// A sealed text without its tag, and the tag.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_suffix("\"]")?;
    let (before, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_CHARS)?)?;
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
            prop_assume!(text.len() <= MAX_TEXT_BYTES);
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
        let (sealed, tag) = split_tag(&text).unwrap();
        for (other, why) in [
            (format!(" {text}"), "a space before it"),
            (format!("{text} "), "a space behind it"),
            (text.replace("room:a", "room:\\u0061"), "an escape"),
            (format!("{sealed}]"), "no tag"),
            (format!("{sealed},\"{}\"]", "A".repeat(TAG_CHARS)), "another tag"),
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
