//! Events over HTTP: `POST /pipelines/NAME/events`, where `[pipelines.NAME.http]`
//! says so. What operators ask of pipelines is the admin interface's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::http::{self, Body};
use crate::config::IngestConfig;
use crate::pipeline::{Bounds, Format, Handover, IngestError};
use crate::server::Shared;
use crate::telemetry::{Metric, wall_ms};
use crate::token;

/// What of a body is read and handed over where it came in, on a thread whose
/// connections wait meanwhile: some tens of microseconds. A larger one goes elsewhere.
const SMALL_BODY_BYTES: usize = 16 * 1024;

/// Answers a request for something below `/pipelines`.
pub(super) async fn respond(
    below: String,
    request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Response<Body> {
    let mut parts = below.trim_matches('/').split('/');
    let (name, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
    let answered = match (name, rest.as_slice()) {
        (name, ["events"]) if !name.is_empty() => ingest(name, request, shared).await,
        _ => {
            let text = "not found; POST /pipelines/NAME/events takes events, and operators ask \
                        the admin interface\n";
            Err(refused(StatusCode::NOT_FOUND, text))
        }
    };
    answered.unwrap_or_else(|refused| *refused)
}

/// Boxed, as few requests are refused.
type Refusal = Box<Response<Body>>;
type Answer = Result<Response<Body>, Refusal>;

/// Takes events.
async fn ingest(name: &str, request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let pipeline = shared.pipelines.get(name).map(Arc::clone).zip(shared.ingest.get(name));
    let Some((pipeline, config)) = pipeline else {
        let text = format!("no pipeline {name:?} takes events: add [pipelines.{name}.http]\n");
        return Err(refused(StatusCode::NOT_FOUND, &text));
    };
    if request.method() != Method::POST {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "POST is expected\n"));
    }
    let opens = format!("[pipelines.{name}.http] token");
    check_token(request.headers(), config.token.as_deref(), &opens)?;
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::parse(content_type).map_err(|error| refuse(&error))?;
    let body = body(request, config, shared).await?;
    let patience = pipeline.waits().then(|| Duration::from_millis(config.wait_ms));
    let max_event_bytes = pipeline.max_event_bytes();
    let bounds = Bounds { max_events: config.max_events, max_event_bytes };
    let is_small = body.len() <= SMALL_BODY_BYTES;
    let handing_over = async move {
        let events = format.events(&body, bounds, wall_ms())?;
        drop(body);
        let mut handover = pipeline.enqueue_in_pieces(events, patience).await;
        let safe = handover.safe().await;
        Ok((handover, safe))
    };
    let handed = if is_small {
        handing_over.await
    } else {
        let elsewhere = AbortOnDropHandle::new(shared.runtime.spawn(handing_over));
        elsewhere.await.map_err(|_| {
            refused(StatusCode::INTERNAL_SERVER_ERROR, "the events were not handed over\n")
        })?
    };
    let (handover, safe) = handed.map_err(|error| refuse(&error))?;
    safe.map_err(|error| {
        refused(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}; send them again\n"))
    })?;
    Ok(told(&handover, shared.socket.retry_after_ms))
}

/// What became of them: 202, or 429 if some were refused.
fn told(handover: &Handover, retry_after_ms: u64) -> Response<Body> {
    let Handover { accepted, refused, .. } = handover;
    if refused.is_empty() {
        let told = json!({ "accepted": accepted, "rejected": 0 });
        return answer(StatusCode::ACCEPTED, &told);
    }
    let places: Vec<usize> = refused.iter().map(|(place, _)| *place).collect();
    let rejected = places.len();
    let told = json!({ "accepted": accepted, "rejected": rejected, "rejected_at": places });
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, &told);
    let seconds = HeaderValue::from(retry_after_ms.div_ceil(1000).max(1));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
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

fn check_token(headers: &HeaderMap, expected: Option<&str>, key: &str) -> Result<(), Refusal> {
    if token::admits(expected, token::bearer(headers)) {
        return Ok(());
    }
    let text = format!("give {key}: authorization: Bearer …\n");
    Err(refused(StatusCode::UNAUTHORIZED, &text))
}

/// The body, if it comes in time and is not too large.
async fn body(
    request: Request<Incoming>,
    config: &IngestConfig,
    shared: &Shared,
) -> Result<Bytes, Refusal> {
    let (max, timeout_ms) = (config.max_body_bytes, config.timeout_ms);
    let coming = Limited::new(request.into_body(), max).collect();
    let came = tokio::time::timeout(Duration::from_millis(timeout_ms), coming).await;
    match came {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the body has more than {max} bytes (http.max_body_bytes)\n");
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &text))
        }
        Ok(Err(_)) => Err(refused(StatusCode::BAD_REQUEST, "the body did not come\n")),
        Err(_) => {
            shared.metrics.count_of(Metric::RequestCutOff, &["body"], 1);
            let text = format!("the body did not come within {timeout_ms} ms (http.timeout_ms)\n");
            let mut refusal = refused(StatusCode::REQUEST_TIMEOUT, &text);
            // What may still come of it is no request.
            refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            Err(refusal)
        }
    }
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = http::text(status, &format!("{value}\n"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
