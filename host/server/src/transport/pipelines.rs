//! Events over HTTP: `POST /pipelines/NAME/events`, if there is a `[pipelines.NAME.http]`.
//! Operators use the admin interface instead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use millrace_pipeline::{Bounds, EnqueueError, EnqueueOutcome, Format, IngestError, Pipeline};
use millrace_telemetry::{Metric, unix_ms};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::coding::{self, Coding, CodingError};
use crate::config::IngestConfig;
use crate::http::{self, Body, BodyRead};
use crate::node::Node;
use crate::secret::Secret;
use crate::token;

/// The most bytes of a body that is parsed on its connection's thread, while the thread's other
/// connections wait: some tens of microseconds. A larger one is parsed elsewhere.
const SMALL_BODY_BYTES: usize = 16 * 1024;

/// Answers a request for a path below `/pipelines`.
pub(super) async fn respond(
    below: String,
    request: Request<Incoming>,
    node: &Arc<Node>,
) -> Response<Body> {
    let mut parts = below.trim_matches('/').split('/');
    let (name, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
    let answered = match (name, rest.as_slice()) {
        (name, ["events"]) if !name.is_empty() => ingest(name, request, node).await,
        _ => {
            let text = "not found; POST /pipelines/NAME/events takes events, and operators ask \
                        the admin interface\n";
            Err(refused(StatusCode::NOT_FOUND, text))
        }
    };
    answered.unwrap_or_else(|refused| *refused)
}

/// An error response. Boxed, as few requests get one.
type Refusal = Box<Response<Body>>;
type Answer = Result<Response<Body>, Refusal>;

/// Takes the events of a request.
async fn ingest(name: &str, request: Request<Incoming>, node: &Arc<Node>) -> Answer {
    let pipeline = node.pipelines.get(name).map(Arc::clone).zip(node.ingest.get(name));
    let Some((pipeline, config)) = pipeline else {
        let text = format!("no pipeline {name:?} takes events: add [pipelines.{name}.http]\n");
        return Err(refused(StatusCode::NOT_FOUND, &text));
    };
    if request.method() != Method::POST {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "POST is expected\n"));
    }
    let opens = format!("[pipelines.{name}.http] token");
    check_token(request.headers(), config.token.as_ref(), &opens)?;
    let format = format(request.headers()).map_err(|error| refuse(&error))?;
    let coding = Coding::of(request.headers()).map_err(|found| not_understood(&found))?;
    let body = body(request, config, node).await?;
    let bounds =
        Bounds { max_events: config.max_events, max_event_bytes: pipeline.max_event_bytes() };
    let is_small = body.len() <= SMALL_BODY_BYTES && coding == Coding::Identity;
    let body = IngestBody { format, coding, body, max_bytes: config.max_body_bytes, bounds };
    let timeout = pipeline.waits().then(|| Duration::from_millis(config.wait_ms));
    let handing_over = hand_over(pipeline, body, timeout);
    let handed = if is_small {
        handing_over.await
    } else {
        let elsewhere = AbortOnDropHandle::new(node.runtime.spawn(handing_over));
        elsewhere.await.map_err(|_| {
            refused(StatusCode::INTERNAL_SERVER_ERROR, "the events were not handed over\n")
        })?
    };
    let retry_after_ms = node.socket.retry_after_ms;
    let mut response = match handed {
        Ok(accepted) => {
            answer(StatusCode::ACCEPTED, &json!({ "accepted": accepted, "rejected": 0 }))
        }
        Err(failed) => failed.response(retry_after_ms),
    };
    response.extensions_mut().insert(BodyRead);
    Ok(response)
}

/// The body of a request, and what is needed to parse it.
struct IngestBody {
    format: Format,
    coding: Coding,
    body: Bytes,
    /// The most bytes of the decoded body.
    max_bytes: usize,
    bounds: Bounds,
}

/// The reason why no event of a body was taken.
enum IngestFailure {
    Coding(Coding, CodingError, usize),
    Ingest(IngestError),
    Enqueue(EnqueueError, usize),
    /// The events could not be stored safely.
    Unsafe(String),
}

/// Hands over the events of a body, all or none, and returns their number.
async fn hand_over(
    pipeline: Arc<Pipeline>,
    body: IngestBody,
    timeout: Option<Duration>,
) -> Result<usize, IngestFailure> {
    let IngestBody { format, coding, body, max_bytes, bounds } = body;
    let body = match coding {
        Coding::Identity => body,
        coding => {
            let decoded = coding.decode(&body, max_bytes);
            decoded.map_err(|error| IngestFailure::Coding(coding, error, max_bytes))?.into()
        }
    };
    let events = format.events(&body, bounds, unix_ms()).map_err(IngestFailure::Ingest)?;
    drop(body);
    let count = events.len();
    let handed = pipeline.enqueue_all(events, timeout).await;
    let mut outcome = handed.map_err(|error| IngestFailure::Enqueue(error, count))?;
    outcome.safe().await.map_err(|error| IngestFailure::Unsafe(error.to_string()))?;
    match outcome {
        EnqueueOutcome { accepted, ref refused, .. } if refused.is_empty() => Ok(accepted),
        _ => Err(IngestFailure::Unsafe("some events could not be kept".to_owned())),
    }
}

impl IngestFailure {
    /// The response. A problem that passes gets a status after which log shippers send all events
    /// again; after other statuses they drop them.
    fn response(&self, retry_after_ms: u64) -> Response<Body> {
        match self {
            Self::Coding(_, CodingError::TooLarge, max) => {
                let text = format!(
                    "the body has more than {max} bytes once it is decoded (http.max_body_bytes)\n"
                );
                http::text(StatusCode::PAYLOAD_TOO_LARGE, &text)
            }
            Self::Coding(coding, CodingError::Invalid(error), _) => {
                let coding = coding.as_str();
                let text = format!("the body is not {coding}, as content-encoding says: {error}\n");
                http::text(StatusCode::BAD_REQUEST, &text)
            }
            Self::Ingest(error) => *refuse(error),
            Self::Enqueue(error, count) if error.is_temporary() => {
                let body = json!({
                    "accepted": 0, "rejected": count, "reason": error.to_string()
                });
                let status = match error {
                    EnqueueError::Closed => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::TOO_MANY_REQUESTS,
                };
                with_retry_after(answer(status, &body), retry_after_ms)
            }
            Self::Enqueue(error, _) => {
                http::text(StatusCode::PAYLOAD_TOO_LARGE, &format!("{error}\n"))
            }
            Self::Unsafe(problem) => {
                let text = format!("{problem}; send them again\n");
                with_retry_after(http::text(StatusCode::SERVICE_UNAVAILABLE, &text), retry_after_ms)
            }
        }
    }
}

/// Adds Retry-After, in whole seconds.
fn with_retry_after(mut response: Response<Body>, after_ms: u64) -> Response<Body> {
    let seconds = HeaderValue::from(after_ms.div_ceil(1000).max(1));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// The format of the events in the body.
fn format(headers: &HeaderMap) -> Result<Format, IngestError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Format::of(content_type, headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// The answer to a body with another compression.
fn not_understood(found: &str) -> Refusal {
    let accepted = coding::ACCEPTED;
    let text = format!("content-encoding is {found:?}; {accepted} or none is expected\n");
    let mut refusal = refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    refusal.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
    refusal
}

fn refuse(error: &IngestError) -> Refusal {
    let status = match error {
        IngestError::Format(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngestError::Invalid(_) => StatusCode::BAD_REQUEST,
        IngestError::TooLarge { .. } | IngestError::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
    };
    refused(status, &format!("{error}\n"))
}

fn refused(status: StatusCode, text: &str) -> Refusal {
    Box::new(http::text(status, text))
}

fn check_token(headers: &HeaderMap, expected: Option<&Secret>, key: &str) -> Result<(), Refusal> {
    if token::admits(expected, token::bearer(headers)) {
        return Ok(());
    }
    let text = format!("give {key}: authorization: Bearer …\n");
    Err(refused(StatusCode::UNAUTHORIZED, &text))
}

/// Reads the body, if it comes in time and is not too large.
async fn body(
    request: Request<Incoming>,
    config: &IngestConfig,
    node: &Node,
) -> Result<Bytes, Refusal> {
    let (max, timeout_ms) = (config.max_body_bytes, config.timeout_ms);
    let too_large = || {
        let text = format!("the body has more than {max} bytes (http.max_body_bytes)\n");
        refused(StatusCode::PAYLOAD_TOO_LARGE, &text)
    };
    // A body that is announced as too large is not read: a client that waits for 100 (Continue)
    // need not send it.
    if request.body().size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let coming = Limited::new(request.into_body(), max).collect();
    let came = tokio::time::timeout(Duration::from_millis(timeout_ms), coming).await;
    match came {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(refused(StatusCode::BAD_REQUEST, "the body broke off; send all of it again\n"))
        }
        Err(_) => {
            node.metrics.count_of(Metric::RequestCutOff, &["body"], 1);
            let text = format!("the body did not come within {timeout_ms} ms (http.timeout_ms)\n");
            Err(refused(StatusCode::REQUEST_TIMEOUT, &text))
        }
    }
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = http::text(status, &format!("{value}\n"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
