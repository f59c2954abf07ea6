//! Version 2 text frames: `[join_ref, ref, topic, event, payload]`.

use bytes::Bytes;
use bytestring::ByteString;
use tungstenite::Utf8Bytes;

use super::json::push_string;
use super::message::checked_event;
use super::scan::Scanner;
use super::{DecodeError, Frame, Message, Payload, Ref};

/// Reads one array of at least five elements; more are ignored.
pub(super) fn decode(text: &Utf8Bytes) -> Result<Message<'_>, DecodeError> {
    let mut array = Array { scanner: Scanner::new(text), elements: 0 };
    let join_ref = Ref::from_json(array.next(Scanner::value)?)?;
    let reference = Ref::from_json(array.next(Scanner::value)?)?;
    if let Some(flaw) = array.scanner.take_flaw() {
        return Err(DecodeError(flaw.describe(text)));
    }
    let topic = array.next(Scanner::string)?;
    let event = checked_event(array.next(Scanner::string)?)?;
    let payload = share(text, array.next(Scanner::value)?);
    let problem = array.scanner.take_flaw().map(|flaw| flaw.describe(text).into());
    array.end()?;
    Ok(Message { join_ref, reference, topic, event, payload, problem })
}

/// An array that is being read, one element at a time.
struct Array<'a> {
    scanner: Scanner<'a>,
    elements: usize,
}

impl<'a> Array<'a> {
    /// Reads the next element with `read`; an error if the array has no more.
    fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Scanner<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let before = if self.elements == 0 { b'[' } else { b',' };
        if !self.scanner.eat(before) {
            return Err(self.scanner.expected("[join_ref, ref, topic, event, payload]"));
        }
        self.elements += 1;
        read(&mut self.scanner)
    }

    /// Reads past the rest of the array, which must end the frame.
    fn end(mut self) -> Result<(), DecodeError> {
        while self.scanner.eat(b',') {
            self.scanner.value()?;
        }
        if !self.scanner.eat(b']') {
            return Err(self.scanner.expected("',' or ']'"));
        }
        match self.scanner.peek() {
            None => Ok(()),
            Some(_) => Err(self.scanner.expected("the end")),
        }
    }
}

/// The payload `raw`, a part of the frame `text`, without a copy.
pub(super) fn share(text: &Utf8Bytes, raw: &str) -> Payload {
    let frame: &Bytes = text.as_ref();
    let slice = frame.slice_ref(raw.as_bytes());
    // The check cannot fail, as `raw` is a `str`; it costs less than a copy.
    Payload::Json(ByteString::try_from(slice).unwrap_or_else(|_| ByteString::from(raw)))
}

pub(super) fn reply(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    status: &str,
    response: &str,
) -> Frame {
    let (event, between) = (",\"phx_reply\",{\"status\":", ",\"response\":");
    let rest = [event, "\"\"", status, between, response, "}]"].map(str::len).iter().sum();
    let mut out = head(join_ref, reference, topic, rest);
    out.push_str(event);
    push_string(&mut out, status);
    out.push_str(between);
    out.push_str(response);
    out.push_str("}]");
    out.into()
}

pub(super) fn message(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &str,
) -> Frame {
    let rest = [",\"\",]", event, payload].map(str::len).iter().sum();
    let mut out = head(join_ref, reference, topic, rest);
    out.push(',');
    push_string(&mut out, event);
    out.push(',');
    out.push_str(payload);
    out.push(']');
    out.into()
}

/// Begins a frame: everything up to the topic, with room for `rest` more bytes. A frame without
/// escapes fills the memory exactly: a text with room to spare would be allocated once more when it
/// is shared.
fn head(join_ref: Option<&Ref>, reference: Option<&Ref>, topic: &str, rest: usize) -> String {
    let join_ref = join_ref.map_or("null", Ref::as_json);
    let reference = reference.map_or("null", Ref::as_json);
    let fixed = join_ref.len() + reference.len() + topic.len() + "[,,\"\"".len();
    let mut out = String::with_capacity(fixed + rest);
    out.push('[');
    out.push_str(join_ref);
    out.push(',');
    out.push_str(reference);
    out.push(',');
    push_string(&mut out, topic);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Frame) -> String {
        match frame {
            Frame::Text(text) => text.as_str().to_owned(),
            Frame::Binary(_) => panic!("a text frame was expected"),
        }
    }

    #[test]
    fn a_message_is_taken_apart() {
        let frame = Utf8Bytes::from_static(r#" ["11", 1, "room:\u00e9", "ping", {"a": [1]}, 9] "#);
        let message = decode(&frame).unwrap();
        assert_eq!(message.join_ref.unwrap().as_json(), r#""11""#);
        assert_eq!(message.reference.unwrap().as_json(), "1");
        assert_eq!(message.topic, "room:é");
        assert_eq!(message.event, "ping");
        assert_eq!(message.payload, Payload::Json(r#"{"a": [1]}"#.into()));
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        for (bad, problem) in [
            (r#"[null,"1","t","e"]"#, "expected [join_ref, ref, topic, event, payload] at byte 17"),
            (r#"{"topic":"t"}"#, "payload] at byte 0, found '{'"),
            (r#"[null,"1",7,"e",{}]"#, "expected a string at byte 10, found '7'"),
            (r#"[[],"1","t","e",{}]"#, "a ref must be a JSON string"),
            ("[null", "payload] at byte 5, found the end"),
            (r#"[null,null,"t","e",{]"#, "expected a key in quotes at byte 20, found ']'"),
            (r#"[null,null,"t","e",{}]]"#, "expected the end at byte 22, found ']'"),
        ] {
            let error = decode(&bad.into()).unwrap_err().to_string();
            assert!(error.contains(problem), "{bad}: {error}");
        }
    }

    #[test]
    fn an_event_has_so_many_bytes() {
        let with = |event: &str| {
            decode(&format!(r#"[null,"1","t","{event}",{{}}]"#).into())
                .map(|message| message.event.len())
        };
        assert_eq!(with(&"x".repeat(255)), Ok(255));
        // Bytes as they are, however they are written.
        assert_eq!(with(&"\\u0041".repeat(255)), Ok(255));
        let error = with(&"é".repeat(128)).unwrap_err().to_string();
        assert!(error.contains("an event may have at most 255 bytes, found 256"), "{error}");
    }

    #[test]
    fn frames_are_written_as_phoenix_does() {
        let (join_ref, reference) = (Ref::from_header("11").unwrap(), Ref::from_header("1"));
        assert_eq!(
            text(reply(Some(&join_ref), reference.as_ref(), "t", "ok", "{}")),
            r#"["11","1","t","phx_reply",{"status":"ok","response":{}}]"#
        );
        assert_eq!(text(message(None, None, "t\"", "e", "[]")), r#"[null,null,"t\"","e",[]]"#);
    }
}
