//! Version 2 of the Phoenix protocol, as far as a load generator needs it.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

use crate::protocol::Incoming;
use crate::scan::elements;

/// Appends a message of a channel whose join ref is 0.
pub(crate) fn push(to: &mut String, number: u64, topic: &str, event: &str, payload: &str) {
    // Writing to a string cannot fail.
    let _ = write!(to, "[\"0\",\"{number}\",\"");
    for part in [topic, "\",\"", event, "\",", payload, "]"] {
        to.push_str(part);
    }
}

/// Parses a message of the server.
pub(crate) fn incoming(text: &str) -> Result<Incoming<'_>> {
    let Some([_, reference, _, event, payload]) = elements(text) else {
        bail!("an unexpected message: {text}");
    };
    if event != r#""phx_reply""# {
        return Ok(Incoming::Message(payload));
    }
    ensure!(payload.contains(r#""status":"ok""#), "the server refused: {text}");
    let reference = reference.trim_matches('"').parse();
    Ok(Incoming::Reply(reference.with_context(|| format!("an unexpected ref: {text}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_messages_are_told_apart() {
        let reply = r#"["0","17","room:1","phx_reply",{"response":{},"status":"ok"}]"#;
        assert_eq!(incoming(reply).unwrap(), Incoming::Reply(17));
        let broadcast = r#"[null,null,"room:1","shout",{"n":1}]"#;
        assert_eq!(incoming(broadcast).unwrap(), Incoming::Message(r#"{"n":1}"#));
        for refused in [
            r#"["0","17","room:1","phx_reply",{"response":{},"status":"error"}]"#,
            r#"["0",null,"room:1","phx_reply",{"response":{},"status":"ok"}]"#,
            "{}",
        ] {
            incoming(refused).unwrap_err();
        }
    }

    #[test]
    fn a_message_has_five_elements() {
        let mut text = String::new();
        push(&mut text, 17, "room:1", "ping", "{}");
        assert_eq!(text, r#"["0","17","room:1","ping",{}]"#);
    }
}
