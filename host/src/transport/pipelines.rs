//! Events over HTTP: `POST /pipelines/NAME/events`, where `[pipelines.NAME.http]`
//! says so. What operators ask of pipelines is the admin interface's.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::http::{self, Body};
use crate::pipeline::{Format, Handover, IngestError};
use crate::server::Shared;
use crate::telemetry::wall_ms;
use crate::token;

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
    let body = body(request, config.max_body_bytes, "http.max_body_bytes").await?;
    let events = format.events(&body, pipeline.max_event_bytes(), wall_ms());
    let events = events.map_err(|error| refuse(&error))?;
    let mut handover = match pipeline.waits() {
        true => {
            let patience = Duration::from_millis(config.wait_ms);
            pipeline.enqueue_patiently(events, patience).await
        }
        false => pipeline.enqueue(events),
    };
    handover.safe().await.map_err(|error| {
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
        IngestError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
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

async fn body(request: Request<Incoming>, max: usize, key: &str) -> Result<bytes::Bytes, Refusal> {
    match Limited::new(request.into_body(), max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("the body has more than {max} bytes ({key})\n");
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &text))
        }
        Err(_) => Err(refused(StatusCode::BAD_REQUEST, "the body did not come\n")),
    }
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = http::text(status, &format!("{value}\n"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
