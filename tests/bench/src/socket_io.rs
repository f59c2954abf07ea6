//! Socket.IO 5 over Engine.IO 4, as far as a load generator needs it: only over WebSockets, only
//! the namespace `/`, and without attachments.
//!
//! A frame begins with the digit of the Engine.IO packet (`0` open, `2` ping, `4` message). A
//! message goes on with that of the Socket.IO packet (`0` connect, `2` event, `3` ack), the number
//! of an ack, and a JSON array.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use crate::protocol::{Heard, Incoming};

/// The packet that connects to the namespace `/`.
pub(crate) const CONNECT: &str = "40";

/// Appends an event that wants an ack. It has the room where messages of Phoenix have their topic,
/// and the payload.
pub(crate) fn push(to: &mut String, number: u64, room: &str, event: &str, payload: &str) {
    // Writing to a string cannot fail.
    let _ = write!(to, "42{number}[\"");
    for part in [event, "\",\"", room, "\",", payload, "]"] {
        to.push_str(part);
    }
}

/// Parses a packet of the server.
pub(crate) fn hear(text: &str) -> Result<Heard<'_>> {
    if let Some(rest) = text.strip_prefix("43") {
        let number = rest.split_once('[').and_then(|(number, _)| number.parse().ok());
        let number = number.with_context(|| format!("an unexpected ack: {text}"))?;
        return Ok(Heard::Incoming(Incoming::Reply(number)));
    }
    if let Some(event) = text.strip_prefix("42[\"") {
        let payload = event.split_once("\",").and_then(|(_, rest)| rest.strip_suffix(']'));
        let payload = payload.with_context(|| format!("an unexpected event: {text}"))?;
        return Ok(Heard::Incoming(Incoming::Message(payload)));
    }
    match text.as_bytes() {
        [b'4', b'0', ..] => Ok(Heard::Welcome),
        [b'0' | b'2', ..] => Ok(Heard::Nothing),
        _ => bail!("an unexpected packet: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_and_events_are_told_apart() {
        for (text, expected) in [
            (r#"4317[{"a":[1]}]"#, Heard::Incoming(Incoming::Reply(17))),
            (r#"42["shout",{"n":1}]"#, Heard::Incoming(Incoming::Message(r#"{"n":1}"#))),
            (r#"40{"sid":"x"}"#, Heard::Welcome),
            (r#"0{"sid":"x","upgrades":[]}"#, Heard::Nothing),
            ("2", Heard::Nothing),
        ] {
            assert_eq!(hear(text).unwrap(), expected, "{text}");
        }
        for refused in ["41", "43x[]", r#"44{"message":"no"}"#, "x"] {
            hear(refused).unwrap_err();
        }
    }

    #[test]
    fn an_event_has_a_number_a_room_and_a_payload() {
        let mut text = String::new();
        push(&mut text, 17, "room:1", "ping", "{}");
        assert_eq!(text, r#"4217["ping","room:1",{}]"#);
    }
}
