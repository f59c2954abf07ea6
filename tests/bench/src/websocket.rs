//! The client's side of a WebSocket, as far as a load generator needs it.
//!
//! It is RFC 6455 without fragments and extensions. A client has to mask what it sends; for a
//! server under test any key will do, and a constant one costs nothing.

use std::ops::Range;

/// The request that opens a WebSocket; the key is the example of RFC 6455.
#[must_use]
pub fn upgrade_request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The header by which a server accepts that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x3c];

/// Whether a response, up to its empty line, accepts the WebSocket.
#[must_use]
pub fn is_upgraded(response: &str) -> bool {
    response.starts_with("HTTP/1.1 101 ") && response.contains(ACCEPT)
}

/// Appends a text frame, masked.
pub fn append_text(out: &mut Vec<u8>, text: &str) {
    out.push(0x81);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for chunk in out.get_mut(start..).unwrap_or_default().chunks_mut(MASK.len()) {
        for (byte, key) in chunk.iter_mut().zip(MASK) {
            *byte ^= key;
        }
    }
}

/// The kind of a frame, and the place of its payload in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kind of the frame.
    pub kind: Kind,
    /// The payload; the frame ends where its payload ends.
    pub payload: Range<usize>,
}

/// The kinds of frames that a client of a benchmark distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole text message.
    Text,
    /// A close frame of the server.
    Close,
    /// A ping or a pong.
    Control,
    /// A frame that no server sends in a benchmark.
    Unexpected,
}

/// The frame that begins at `start`; `None` as long as it is not complete.
#[must_use]
pub fn find(bytes: &[u8], start: usize) -> Option<Found> {
    let [first, second, rest @ ..] = bytes.get(start..)? else { return None };
    let (header, length) = match second {
        0..=125 => (2, usize::from(*second)),
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        // A masked frame, which no server may send.
        128.. => return Some(Found { kind: Kind::Unexpected, payload: start..bytes.len() }),
    };
    let kind = match first {
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 | 0x8a => Kind::Control,
        _ => Kind::Unexpected,
    };
    let payload = start + header;
    let end = payload.checked_add(length).filter(|end| *end <= bytes.len())?;
    Some(Found { kind, payload: payload..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let response = |status, key| format!("HTTP/1.1 {status}\r\nsec-websocket-accept: {key}");
        assert!(is_upgraded(&response("101 Switching Protocols", ACCEPT)));
        assert!(!is_upgraded(&response("403 Forbidden", ACCEPT)));
        assert!(!is_upgraded(&response("101 Switching Protocols", "x")));
    }

    #[test]
    fn text_is_masked_behind_the_shortest_length() {
        for (length, header) in [(0, 2), (5, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let (mut out, text) = (Vec::new(), "x".repeat(length));
            append_text(&mut out, &text);
            assert_eq!(out.len(), header + MASK.len() + length, "{length}");
            let masked = out.iter().skip(header + MASK.len());
            assert!(masked.zip(MASK.iter().cycle()).all(|(byte, key)| byte ^ key == b'x'));
        }
    }

    #[test]
    fn frames_are_found_when_complete() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x81, 126, 0, 200];
        bytes.extend([b'x'; 200]);
        assert_eq!(find(&bytes, 0), Some(Found { kind: Kind::Text, payload: 2..4 }));
        assert_eq!(find(&bytes, 4), Some(Found { kind: Kind::Text, payload: 8..208 }));
        assert_eq!(find(&bytes, 208), None);
        for end in [0, 1, 3] {
            assert_eq!(find(bytes.get(..end).unwrap(), 0), None);
        }
        assert_eq!(find(bytes.get(..207).unwrap(), 4), None);
        assert_eq!(find(&[0x88, 0], 0).unwrap().kind, Kind::Close);
        assert_eq!(find(&[0x81, 0x80, 0, 0, 0, 0], 0).unwrap().kind, Kind::Unexpected);
    }
}
