//! The decoders under any bytes: frames of clients, socket refs, topic patterns.

use bytes::Bytes;
use millrace_choices::Choices;
use millrace_wire::{
    Frame, MAX_TOPIC_BYTES, Message, Payload, Serializer, TopicPattern, is_json, json_problem,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::channel::{RefKey, SocketRef, Unsealed};

/// Checks that a frame that can be decoded is still the same message after it was encoded and
/// decoded again, and that both parsers of JSON agree about it.
pub fn wire(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let kind = input.below(3);
    let bytes = input.rest();
    if kind == 0 {
        let frame = Frame::Binary(Bytes::copy_from_slice(bytes));
        assert!(Serializer::V1.decode(&frame).is_err(), "version 1 has no binary frames");
        if let Ok(message) = Serializer::V2.decode(&frame) {
            binary_again(&message, bytes);
        }
        return;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let serde = serde_json::from_str::<&RawValue>(text).is_ok();
    match serde_json::from_str::<Value>(text) {
        // `Value` has a limit of nesting, at which serde_json does not read on.
        Err(error) if serde && error.to_string().contains("recursion limit") => {}
        value => assert_eq!(is_json(text), value.is_ok(), "whether it is JSON: {text:?}"),
    }
    assert_eq!(is_json(text), json_problem(text).is_none(), "{text:?}");
    tokens(text);
    let serializer = if kind == 1 { Serializer::V1 } else { Serializer::V2 };
    let frame = Frame::from(text.to_owned());
    if let Ok(message) = serializer.decode(&frame)
        && message.problem.is_none()
    {
        assert!(serde, "a message that is not JSON: {text:?}");
        text_again(serializer, &message);
    }
}

/// Encodes the message of a text frame, and compares what is decoded from that.
fn text_again(serializer: Serializer, message: &Message<'_>) {
    let Message { join_ref, reference, topic, event, payload, problem: _ } = message;
    let Payload::Json(json) = payload else { unreachable!("a text frame has a text payload") };
    assert!(is_json(json), "a payload that is not JSON: {json:?}");
    let pushed = serializer.push(join_ref.as_ref(), topic, event, payload);
    let replied = serializer.reply(join_ref.as_ref(), reference.as_ref(), topic, event, payload);
    let (Ok(pushed), Ok(replied)) = (pushed, replied) else {
        unreachable!("JSON can always be written")
    };
    let (Ok(pushed), Ok(replied)) = (serializer.decode(&pushed), serializer.decode(&replied))
    else {
        unreachable!("what is written can be read: {message:?}")
    };
    assert_eq!((&pushed.topic, &pushed.event, &pushed.payload), (topic, event, payload));
    assert_eq!((&replied.topic, &*replied.event), (topic, "phx_reply"));
    assert_eq!(&replied.reference, reference);
    if serializer == Serializer::V2 {
        assert_eq!((&pushed.join_ref, &replied.join_ref), (join_ref, join_ref));
    }
}

/// Encodes the message of a binary frame as a reply, which has the layout of a client's push
/// but for its first byte, and compares the bytes.
fn binary_again(message: &Message<'_>, bytes: &[u8]) {
    let Message { join_ref, reference, topic, event, payload, problem: _ } = message;
    let written =
        Serializer::V2.reply(join_ref.as_ref(), reference.as_ref(), topic, event, payload);
    let Ok(Frame::Binary(written)) = written else {
        unreachable!("what came in a header fits into one: {message:?}")
    };
    assert_eq!(written.first(), Some(&1));
    assert_eq!(written.get(1..), bytes.get(1..), "{message:?}");
}

/// Checks the decoders of texts from plugins and operators: socket refs and topic patterns.
fn tokens(text: &str) {
    let key = RefKey::new(0, &[0]);
    if let Ok(Unsealed { socket_ref, plugin }) = key.unseal(text) {
        assert_eq!(key.seal(&socket_ref, &plugin), text);
    }
    // A longer text cannot be a topic.
    if let Some(socket_ref) = SocketRef::of_test(1, text).filter(|_| text.len() <= MAX_TOPIC_BYTES)
    {
        let unsealed = key.unseal(&key.seal(&socket_ref, text));
        assert_eq!(unsealed, Ok(Unsealed { socket_ref, plugin: text.to_owned() }));
    }
    if let Ok(pattern) = TopicPattern::parse(text) {
        assert!(pattern.matches(text) || text.ends_with('*'), "{pattern:?}");
        assert_eq!(pattern.to_string(), text);
    }
}
