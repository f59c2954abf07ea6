//! `/plugins/{name}/swap`, `rollback`, `promote` and `history`: exchanging versions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::schema::{integer, list, object, one_of, string};
use super::{AdminRequest, Answer, Content, Problem, Query, Route, answer, ready, schema};
use crate::plugin::Plugin;
use crate::swap::{Refusal, SwapError, Swapped, Upload};

/// The most bytes of a component; more than any plugin has, and `swap.max_upload_bytes` is below
/// it.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// The most exchanges of one answer.
const MAX_LISTED: usize = 100;
/// The most steps that wait for whoever reads the answer.
const STEPS: usize = 16;

const COMPONENT: Content = Content {
    media_type: "application/wasm",
    max_bytes: MAX_BYTES,
    example: "component",
    schema: || json!({ "type": "string", "contentMediaType": "application/wasm" }),
};

const BY: Query = Query { name: "by", about: "Who wants it, for the history.", schema: string };

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/plugins/{name}/swap",
        name: "swap_plugin",
        summary: "Makes a component the live version of a plugin. Answers with one JSON object in \
                  each line (application/x-ndjson) as steps are done; the last line has the \
                  `outcome`: `live`, `canary`, `refused`, `rolled_back` or `superseded`. What is \
                  refused at once gets 413 (too large), 429 with Retry-After (too many uploads), \
                  or 409 (with Retry-After while another exchange is made, without while there is \
                  a canary).",
        query: &[
            Query {
                name: "canary",
                about: "Only for this share of the connections, as in 5%.",
                schema: string,
            },
            Query {
                name: "watch_ms",
                about: "How long it is watched, and rolled back if it fails; a canary that does not \
                        is promoted then.",
                schema: integer,
            },
            Query {
                name: "signature",
                about: "Of the component, by one of trust.keys: base64.",
                schema: string,
            },
            BY,
        ],
        body: Some(COMPONENT),
        answer: line_schema,
        run: |request| Box::pin(swap(request)),
    },
    Route {
        method: Method::POST,
        path: "/plugins/{name}/rollback",
        name: "roll_back_plugin",
        summary: "Withdraws the canary, or makes the version before the live one live again; 409 \
                  if there is neither, and with Retry-After while another exchange is made.",
        query: &[BY],
        body: None,
        answer: outcome_schema,
        run: |request| Box::pin(roll_back(request)),
    },
    Route {
        method: Method::POST,
        path: "/plugins/{name}/promote",
        name: "promote_plugin",
        summary: "Makes the canary the live version; 409 if there is none, and with Retry-After \
                  while another exchange is made.",
        query: &[BY],
        body: None,
        answer: outcome_schema,
        run: |request| ready(promote(&request)),
    },
    Route {
        method: Method::GET,
        path: "/plugins/{name}/history",
        name: "list_exchanges",
        summary: "The last exchanges of a plugin's versions, the newest first.",
        query: &[Query { name: "max", about: "At most so many.", schema: integer }],
        body: None,
        answer: || list(exchange_schema()),
        run: |request| Box::pin(history(request)),
    },
];

fn exchange_schema() -> Value {
    let mut schema = object(&[
        ("at_ms", schema::about(integer(), "Milliseconds since the Unix epoch.")),
        ("plugin", string()),
        ("from", schema::about(string(), "A SHA-256.")),
        ("to", schema::about(string(), "A SHA-256.")),
        ("by", string()),
        ("outcome", string()),
        ("canary", schema::about(string(), "The share of the connections, if it was one.")),
        ("why", schema::about(string(), "What was wrong.")),
    ]);
    if let Some(required) = schema.get_mut("required") {
        *required = json!(["at_ms", "plugin", "from", "to", "by", "outcome"]);
    }
    schema
}

/// The outcomes of an exchange.
const OUTCOMES: &[&str] = &["live", "canary", "refused", "rolled_back", "superseded"];

fn outcome_schema() -> Value {
    object(&[
        ("outcome", one_of(OUTCOMES)),
        ("from", schema::about(string(), "The SHA-256 of the version before.")),
        ("to", string()),
    ])
}

/// The schema of a line of the answer to an upload: a step, or in the last line the outcome.
fn line_schema() -> Value {
    let about = |text| schema::about(string(), text);
    json!({
        "type": "object",
        "properties": {
            "step": about("What was done, or what went wrong in it."),
            "took_ms": { "type": "number" },
            "detail": about("What was found."),
            "outcome": one_of(OUTCOMES),
            "from": about("The SHA-256 of the version before."),
            "to": string(),
        },
    })
}

async fn swap(request: AdminRequest) -> Answer {
    let plugin = plugin(&request)?;
    let upload = upload(&request)?;
    let swapper = request.swapper.clone();
    let (progress, mut steps) = mpsc::channel(STEPS);
    // The exchange goes on even if whoever asked goes away.
    let swapping =
        tokio::spawn(async move { swapper.swap_upload(&plugin, upload, progress).await });
    // An exchange that is refused at once is answered with a status of its own.
    let Some(first) = steps.recv().await else {
        let result = swapping.await.map_err(|_| stopped())?;
        return answer(&json!(result.map_err(|error| problem(&error))?));
    };
    let (lines, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(STEPS);
    tokio::spawn(async move {
        // Sending fails if nobody reads any more.
        let _ = lines.send(line(&json!(first))).await;
        while let Some(done) = steps.recv().await {
            let _ = lines.send(line(&json!(done))).await;
        }
        if let Ok(result) = swapping.await {
            let _ = lines.send(line(&last(result))).await;
        }
    });
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    let body = StreamBody::new(stream).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, ndjson);
    Ok(response)
}

fn line(value: &Value) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(Bytes::from(format!("{value}\n"))))
}

/// The last line, with the outcome.
fn last(result: Result<Swapped, SwapError>) -> Value {
    match result {
        Ok(swapped) => json!(swapped),
        Err(SwapError { step, problem, .. }) => {
            json!({ "outcome": "refused", "step": step, "detail": problem })
        }
    }
}

fn upload(request: &AdminRequest) -> Result<Upload, Problem> {
    let canary = request.query("canary").map(str::parse).transpose();
    let canary = canary.map_err(|error| Problem::invalid(format!("canary: {error}")))?;
    let signature = request.query("signature").map(|text| BASE64.decode(text)).transpose();
    let signature =
        signature.map_err(|error| Problem::invalid(format!("signature is no base64: {error}")))?;
    let watch = request.number("watch_ms")?.map(Duration::from_millis);
    Ok(Upload { wasm: request.body().clone(), signature, canary, watch, by: by(request) })
}

async fn roll_back(request: AdminRequest) -> Answer {
    let swapped = request.swapper.roll_back(&plugin(&request)?, by(&request)).await;
    answer(&json!(swapped.map_err(|error| problem(&error))?))
}

fn promote(request: &AdminRequest) -> Answer {
    let swapped = request.swapper.promote(&plugin(request)?, by(request));
    answer(&json!(swapped.map_err(|error| problem(&error))?))
}

async fn history(request: AdminRequest) -> Answer {
    let plugin = plugin(&request)?;
    let swaps = request.swapper.swaps().map_err(|error| problem(&error))?;
    answer(&json!(swaps.history(plugin.name(), request.max(MAX_LISTED)?).await))
}

/// The name of whoever asks, as they say; whoever reaches the admin interface may say anything.
fn by(request: &AdminRequest) -> String {
    let by: String = request.query("by").unwrap_or("unknown").chars().take(100).collect();
    by
}

fn plugin(request: &AdminRequest) -> Result<Arc<Plugin>, Problem> {
    let (node, name) = (&request.node, request.parameter("name"));
    node.registry.plugin(name).ok_or_else(|| {
        let known = node.registry.plugins().iter().map(|plugin| plugin.name().to_owned());
        Problem::unknown("plugin", name, known.collect())
    })
}

fn problem(error: &SwapError) -> Problem {
    let (status, retry_after_s) = match error.refusal {
        Refusal::Component => (StatusCode::UNPROCESSABLE_ENTITY, None),
        Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Refusal::TooMany(after) => (StatusCode::TOO_MANY_REQUESTS, Some(after.as_secs())),
        Refusal::Busy => (StatusCode::CONFLICT, Some(1)),
        Refusal::State => (StatusCode::CONFLICT, None),
        Refusal::Starting => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
    };
    let problem = Problem::new(status, error.problem.clone());
    match retry_after_s {
        Some(seconds) => problem.retry_after(u32::try_from(seconds).unwrap_or(u32::MAX)),
        None => problem,
    }
}

fn stopped() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")
}
