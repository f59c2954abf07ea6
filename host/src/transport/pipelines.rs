//! Pipelines over HTTP: events come in, and operators look at what became of
//! them.
//!
//! ```text
//! POST   /pipelines/NAME/events               producers: [pipelines.NAME.http]
//! GET    /pipelines                           operators: [admin]
//! GET    /pipelines/NAME/dead-letters
//! POST   /pipelines/NAME/dead-letters/replay
//! DELETE /pipelines/NAME/dead-letters
//! POST   /pipelines/NAME/dispatcher
//! ```

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{self, Body};
use crate::pipeline::{Format, Handover, IngestError, Pipeline};
use crate::server::Shared;
use crate::telemetry::wall_ms;
use crate::token;

/// Dead letters of one answer, unless fewer are asked for.
const MAX_LISTED: usize = 100;
/// The body of an operator's request.
const MAX_ADMIN_BODY: usize = 64 * 1024;

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
        (name, rest) => admin(name, rest, request, shared).await,
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

// === operators ===

async fn admin(
    name: &str,
    rest: &[&str],
    request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Answer {
    if !shared.admin.enabled {
        return Err(refused(StatusCode::NOT_FOUND, "not found; [admin] is not enabled\n"));
    }
    check_token(request.headers(), shared.admin.token.as_deref(), "admin.token")?;
    if name.is_empty() {
        let all = shared.pipelines.all().map(|pipeline| view(pipeline)).collect();
        return Ok(answer(StatusCode::OK, &Value::Array(all)));
    }
    let Some(pipeline) = shared.pipelines.get(name).map(Arc::clone) else {
        let names: Vec<_> = shared.pipelines.all().map(|pipeline| pipeline.name()).collect();
        let text = format!("there is no pipeline {name:?}; there are: {}\n", names.join(", "));
        return Err(refused(StatusCode::NOT_FOUND, &text));
    };
    match (request.method(), rest) {
        (&Method::GET, []) => Ok(answer(StatusCode::OK, &view(&pipeline))),
        (&Method::GET, ["dead-letters"]) => {
            let query = request.uri().query().unwrap_or_default();
            Ok(answer(StatusCode::OK, &listed(&pipeline, query)))
        }
        (&Method::DELETE, ["dead-letters"]) => {
            let numbers = numbers(request).await?;
            let purged = pipeline.dead_letters().take(numbers.as_deref()).len();
            Ok(answer(StatusCode::OK, &json!({ "purged": purged })))
        }
        (&Method::POST, ["dead-letters", "replay"]) => {
            let numbers = numbers(request).await?;
            let (replayed, refused) = pipeline.replay(numbers.as_deref());
            let told = json!({ "replayed": replayed, "rejected": refused });
            Ok(answer(StatusCode::OK, &told))
        }
        (&Method::POST, ["dispatcher"]) => {
            let Switch { dispatcher, stage } = wanted(request, SWITCH).await?;
            let switched = shared.switch_dispatcher(&pipeline, stage, &dispatcher);
            switched.map_err(|problem| {
                let text = format!("pipelines.{name}{problem}\n");
                refused(StatusCode::BAD_REQUEST, &text)
            })?;
            Ok(answer(StatusCode::OK, &view(&pipeline)))
        }
        _ => Err(refused(StatusCode::NOT_FOUND, "not found\n")),
    }
}

/// Another dispatcher for a stage, the last one unless given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    dispatcher: String,
    stage: Option<usize>,
}

const SWITCH: &str = "{\"dispatcher\": \"fair\"}";

fn view(pipeline: &Pipeline) -> Value {
    let totals = pipeline.totals();
    let (letters, discarded) = pipeline.dead_letters().counts();
    json!({
        "pipeline": pipeline.name(),
        "totals": totals,
        "conserved": totals.is_conserved(),
        "dispatchers": pipeline.dispatchers(),
        "dead_letters": letters,
        "dead_letters_discarded": discarded,
    })
}

fn listed(pipeline: &Pipeline, query: &str) -> Value {
    let number = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).and_then(|(_, value)| value.parse().ok())
    };
    let (from, max) = (number("from").unwrap_or(0), number("max").unwrap_or(MAX_LISTED as u64));
    let max = usize::try_from(max).unwrap_or(MAX_LISTED).min(MAX_LISTED);
    let letters = pipeline.dead_letters();
    let (all, discarded) = letters.counts();
    json!({ "count": all, "discarded": discarded, "dead_letters": letters.list(from, max) })
}

/// Which dead letters an operator means; all, if none are named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    numbers: Option<Vec<u64>>,
}

async fn numbers(request: Request<Incoming>) -> Result<Option<Vec<u64>>, Refusal> {
    let Which { numbers } = wanted(request, "{\"numbers\": [1, 2]} or {}").await?;
    Ok(numbers)
}

/// What an operator wants, as JSON of which `example` is one.
async fn wanted<T: DeserializeOwned>(
    request: Request<Incoming>,
    example: &str,
) -> Result<T, Refusal> {
    // A page of another origin can send no JSON without being asked first.
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if content_type != Some(b"application/json") {
        let text = "content-type: application/json is expected\n";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = body(request, MAX_ADMIN_BODY, "64 KiB").await?;
    serde_json::from_slice(&body).map_err(|error| {
        let text = format!("{example} is expected: {error}\n");
        refused(StatusCode::BAD_REQUEST, &text)
    })
}

// === both ===

fn check_token(headers: &HeaderMap, expected: Option<&str>, key: &str) -> Result<(), Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token::admits(expected, given.and_then(|value| value.strip_prefix("Bearer "))) {
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
