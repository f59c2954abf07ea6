//! The messages in the body of a POST: lines of NDJSON, or one message.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use millrace_wire::Frame;

/// The base64 of binary messages: with padding, as phoenix.js sends it, or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The media type of bodies with a message on each line.
const NDJSON: &str = "application/x-ndjson";

/// The limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// The most lines, empty ones too.
    pub(crate) max_lines: usize,
    /// The most bytes of one message.
    pub(crate) max_frame_bytes: usize,
}

/// The reason why no message of a body is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// More lines than are allowed.
    TooManyLines,
    /// A message is larger than allowed.
    TooLarge,
    /// A text message is not UTF-8.
    Utf8,
    /// A line neither begins as JSON nor is base64.
    Base64,
}

/// Reads the messages of a body, all or none.
///
/// # Errors
///
/// The first thing that is wrong with the body. What is behind it is not looked at.
pub(crate) fn frames(
    content_type: Option<&str>,
    body: &Bytes,
    limits: BatchLimits,
) -> Result<Vec<Frame>, BatchError> {
    let media_type = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(NDJSON)) {
        return match body.is_empty() {
            true => Ok(Vec::new()),
            false => text(body, 0..body.len(), limits).map(|frame| vec![frame]),
        };
    }
    let mut frames = Vec::new();
    let (mut start, mut lines) = (0, 0);
    while let Some(rest) = body.get(start..).filter(|rest| !rest.is_empty()) {
        lines += 1;
        if lines > limits.max_lines {
            return Err(BatchError::TooManyLines);
        }
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = rest.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => {}
            Some(b'[' | b'{') => frames.push(text(body, start..start + line.len(), limits)?),
            Some(_) => frames.push(binary(line, limits)?),
        }
        start += len + 1;
    }
    Ok(frames)
}

/// The text message at these bytes of the body. It shares the body's memory if it is most of it:
/// otherwise the whole body would stay in memory for as long as one of its messages.
fn text(
    body: &Bytes,
    at: std::ops::Range<usize>,
    limits: BatchLimits,
) -> Result<Frame, BatchError> {
    if at.len() > limits.max_frame_bytes {
        return Err(BatchError::TooLarge);
    }
    let bytes = match at.len() < body.len() / 2 {
        true => Bytes::copy_from_slice(body.get(at).unwrap_or_default()),
        false => body.slice(at),
    };
    Ok(Frame::Text(bytes.try_into().map_err(|_| BatchError::Utf8)?))
}

fn binary(line: &[u8], limits: BatchLimits) -> Result<Frame, BatchError> {
    if line.len() / 4 * 3 > limits.max_frame_bytes.saturating_add(2) {
        return Err(BatchError::TooLarge);
    }
    let bytes = BASE64.decode(line).map_err(|_| BatchError::Base64)?;
    match bytes.len() > limits.max_frame_bytes {
        true => Err(BatchError::TooLarge),
        false => Ok(Frame::Binary(bytes.into())),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { max_lines: 100, max_frame_bytes: 1000 };

    fn read(content_type: &str, body: &[u8]) -> Result<Vec<Frame>, BatchError> {
        frames(Some(content_type), &Bytes::copy_from_slice(body), LIMITS)
    }

    fn texts(texts: &[&str]) -> Result<Vec<Frame>, BatchError> {
        Ok(texts.iter().map(|text| Frame::from((*text).to_owned())).collect())
    }

    #[test]
    fn each_line_is_a_message() {
        for body in ["[1]\n[2]", "[1]\n[2]\n", "[1]\r\n[2]\r\n", "\n[1]\n\r\n[2]\n\n"] {
            assert_eq!(read(NDJSON, body.as_bytes()), texts(&["[1]", "[2]"]), "{body:?}");
        }
        let with_parameter = "Application/X-NDJSON; charset=utf-8";
        assert_eq!(read(with_parameter, b"[1]\n{}"), texts(&["[1]", "{}"]));
    }

    #[test]
    fn other_lines_are_base64() {
        for body in ["AQL/\n", "[]\nAQL/", "AQI=", "AQI", "AQI=\r\n"] {
            let frames = read(NDJSON, body.as_bytes()).unwrap();
            let Some(Frame::Binary(bytes)) = frames.last() else { panic!("{frames:?}") };
            assert!(bytes.starts_with(&[1, 2]), "{body:?}");
        }
        for body in ["*", " [1]", "AQI-", "A", "[1]\nAQ I="] {
            assert_eq!(read(NDJSON, body.as_bytes()), Err(BatchError::Base64), "{body:?}");
        }
    }

    #[test]
    fn a_body_of_another_type_is_one_message() {
        for content_type in ["application/json", "text/plain", ""] {
            assert_eq!(read(content_type, b"{\n}\n"), texts(&["{\n}\n"]), "{content_type}");
        }
        assert_eq!(frames(None, &Bytes::from_static(b"{}"), LIMITS), texts(&["{}"]));
        assert_eq!(read("application/json", b""), Ok(Vec::new()));
        assert_eq!(read("application/json", b"\xff"), Err(BatchError::Utf8));
        assert_eq!(read("application/json", &[b'a'; 1001]), Err(BatchError::TooLarge));
    }

    #[test]
    fn too_many_lines_are_refused_and_not_left_out() {
        assert_eq!(read(NDJSON, "[]\n".repeat(100).as_bytes()).map(|f| f.len()), Ok(100));
        assert_eq!(read(NDJSON, "[]\n".repeat(101).as_bytes()), Err(BatchError::TooManyLines));
        assert_eq!(read(NDJSON, &[b'\n'; 8_000_000]), Err(BatchError::TooManyLines));
        assert_eq!(read(NDJSON, "\n".repeat(100).as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn a_message_has_its_bound_text_or_binary() {
        for (bytes, is_taken) in [(1000, true), (1001, false), (1002, false), (9000, false)] {
            let line = STANDARD.encode(vec![7; bytes]);
            assert_eq!(read(NDJSON, line.as_bytes()).is_ok(), is_taken, "{bytes}");
            let line = format!("[{}]", "1".repeat(bytes - 2));
            assert_eq!(read(NDJSON, line.as_bytes()).is_ok(), is_taken, "{bytes}");
        }
        assert_eq!(read(NDJSON, b"[\xff]"), Err(BatchError::Utf8));
    }

    proptest! {
        /// What is written as lines is read again, whatever ends them.
        #[test]
        fn lines_survive(
            messages in prop::collection::vec(
                (prop::option::of("[^\r\n]{0,20}"), prop::collection::vec(any::<u8>(), 1..40)),
                0..20,
            ),
            ends in prop::collection::vec(
                prop::sample::select(&["\n", "\r\n", "\n\n"][..]), 20
            ),
            is_padded: bool,
        ) {
            let (mut body, mut expected) = (String::new(), Vec::new());
            for ((text, bytes), end) in messages.into_iter().zip(&ends) {
                match text {
                    Some(text) => {
                        let text = format!("[{text}]");
                        body.push_str(&text);
                        expected.push(Frame::from(text));
                    }
                    None => {
                        body.push_str(&match is_padded {
                            true => STANDARD.encode(&bytes),
                            false => STANDARD_NO_PAD.encode(&bytes),
                        });
                        expected.push(Frame::Binary(bytes.into()));
                    }
                }
                body.push_str(end);
            }
            prop_assert_eq!(read(NDJSON, body.as_bytes()), Ok(expected));
        }

        /// Any bytes are messages within the limits, or an error.
        #[test]
        fn any_body_has_an_end(body in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(frames) = read(NDJSON, &body) {
                prop_assert!(frames.len() <= 100);
                prop_assert!(frames.iter().all(|frame| frame.len() <= 1000));
            }
        }
    }
}
