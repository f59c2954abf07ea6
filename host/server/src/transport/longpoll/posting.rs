//! POST: the client sends messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use millrace_telemetry::Metric;
use tokio::time;

use super::Answer;
use super::answers::{Status, status};
use super::found::{Found, keep_promise};
use crate::http::{self, BodyRead, busy};
use crate::longpoll::{BatchError, BatchLimits, Posted, frames, post};
use crate::net::Peer;
use crate::node::Node;
use crate::transport::handshake::Refused;
use crate::transport::requests::FULL_RETRY_AFTER;

/// The bytes of a body that is taken even while the server is out of memory.
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// The bytes a second of the slowest body, as of the slowest message of a WebSocket.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 * 1024;

/// Hands the messages of a request to its session.
pub(super) async fn take(head: &Parts, body: Incoming, client: Peer, node: &Arc<Node>) -> Answer {
    let count = |result| node.metrics.count_of(Metric::LongPollPosts, &[result], 1);
    let session = match Found::of(&head.uri, &head.headers, node) {
        Found::Session(session) => session,
        Found::Promised(number, promise) => {
            keep_promise(head, client, node, number, &promise).await?
        }
        Found::Dead | Found::NoToken => {
            count("gone");
            return Ok(status(Status::Gone));
        }
    };
    let read = async {
        let body = read(body, node).await?;
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let limits = BatchLimits {
            max_lines: node.socket.longpoll.max_lines,
            max_frame_bytes: node.socket.max_frame_bytes,
        };
        frames(content_type, &body, limits).map_err(|error| refusal(error, limits))
    };
    let frames = read.await.inspect_err(|_| count("refused"))?;
    let posted = post(&session.exchange, frames, node.socket.longpoll.window()).await;
    let (result, answer) = match posted {
        Some(Posted::Read) => ("ok", Status::Ok),
        Some(Posted::Gone) => ("gone", Status::Gone),
        None => ("timeout", Status::TimedOut),
    };
    count(result);
    let mut response = status(answer);
    response.extensions_mut().insert(BodyRead);
    Ok(response)
}

/// Reads the body, if it comes in time and is not too large.
async fn read(body: Incoming, node: &Node) -> Result<Bytes, Refused> {
    let max = node.socket.longpoll.max_body_bytes;
    let too_large = || {
        let why = format!("the body has more than {max} bytes (longpoll.max_body_bytes)\n");
        Box::new(http::text(StatusCode::PAYLOAD_TOO_LARGE, &why))
    };
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(too_large());
    }
    let is_exhausted = node.memory.is_exhausted();
    let limit = if is_exhausted { max.min(SMALL_BODY_BYTES) } else { max };
    let timeout = Duration::from_millis(node.socket.message_timeout_ms)
        + Duration::from_secs(announced / SLOWEST_BYTES_PER_SECOND);
    match time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(match is_exhausted {
            true => Box::new(busy(FULL_RETRY_AFTER, "the server is short of memory\n")),
            false => too_large(),
        }),
        Ok(Err(_)) => Err(Box::new(http::text(StatusCode::BAD_REQUEST, "the body broke off\n"))),
        Err(_) => {
            node.metrics.count_of(Metric::RequestCutOff, &["body"], 1);
            let why = "the body did not come in time (socket.message_timeout_ms)\n";
            Err(Box::new(http::text(StatusCode::REQUEST_TIMEOUT, why)))
        }
    }
}

/// The answer to a body that is not taken.
fn refusal(error: BatchError, limits: BatchLimits) -> Refused {
    let BatchLimits { max_lines, max_frame_bytes } = limits;
    let (status, why) = match error {
        BatchError::TooManyLines => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body may have {max_lines} lines (longpoll.max_lines)\n"),
        ),
        BatchError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a message may have {max_frame_bytes} bytes (socket.max_frame_bytes)\n"),
        ),
        BatchError::Utf8 => (StatusCode::BAD_REQUEST, "a message is not UTF-8\n".to_owned()),
        BatchError::Base64 => {
            let why = "a line that does not begin with `[` is base64 of a binary message\n";
            (StatusCode::BAD_REQUEST, why.to_owned())
        }
    };
    Box::new(http::text(status, &why))
}
