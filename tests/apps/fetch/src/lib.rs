//! A channel that sends the requests which the tests of `tests/http` ask for, and replies with the
//! responses.

use std::time::Duration;

use millrace_plugin::http::{self, HttpError};
use millrace_plugin::prelude::*;

struct Fetch;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Order {
    method: Option<String>,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
    /// The length of a response body in bytes, which the reply has instead of the body.
    bytes: Option<usize>,
    timeout_ms: Option<u64>,
}

impl Channel for Fetch {
    const TOPICS: &'static [&'static str] = &["fetch:*"];
    type Assigns = ();

    fn handle_in(_: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
        match event {
            "ping" => Reply::ok(payload),
            "fetch" => fetch(payload.json()?),
            _ => Err(unknown_event(event)),
        }
    }
}

fn fetch(order: Order) -> Result<Reply> {
    let method = order.method.unwrap_or_else(|| "GET".to_owned());
    let body = order.bytes.map_or_else(|| order.body.into_bytes(), |bytes| vec![b'x'; bytes]);
    let mut request = http::request(method, order.url).body(body);
    for (name, value) in order.headers {
        request = request.header(name, value);
    }
    if let Some(ms) = order.timeout_ms {
        request = request.timeout(Duration::from_millis(ms));
    }
    match request.send() {
        Ok(response) => Reply::ok(json!({
            "status": response.status,
            "headers": response.headers,
            "body": String::from_utf8_lossy(&response.body),
        })),
        Err(error) => {
            let kind = match &error {
                HttpError::Denied(_) => "denied",
                HttpError::Invalid(_) => "invalid",
                HttpError::Unreachable(_) => "unreachable",
                HttpError::Timeout => "timeout",
                HttpError::TooLarge(_) => "too_large",
                HttpError::Overloaded => "overloaded",
            };
            Reply::error(json!({ "kind": kind, "text": error.to_string() }))
        }
    }
}

millrace_plugin::export!(Fetch);
