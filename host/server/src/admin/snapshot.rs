//! `/snapshot`: the last snapshot of the server, as on the dashboard.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::schema::{fields, integer, list, map, nullable, number, object, string};
use super::{AdminRequest, Answer, Problem, Route, answer, ready, schema};

pub(super) static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/snapshot",
    name: "snapshot",
    summary: "How it stands, and what happened in the last second. Rates are in one second.",
    query: &[],
    body: None,
    answer: snapshot_schema,
    run: |request| ready(snapshot(&request)),
}];

fn snapshot(request: &AdminRequest) -> Answer {
    let early = || {
        let early = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "nothing was measured yet");
        early.advice("come again in a second").retry_after(1)
    };
    answer(&json!(request.node.history.now().ok_or_else(early)?))
}

fn snapshot_schema() -> Value {
    object(&[
        ("sample", sample()),
        ("unusual", schema::about(list(unusual()), UNUSUAL)),
        ("plugins", list(plugin())),
        ("channels", schema::about(map(number()), "Joined channels by topic pattern.")),
        ("pipelines", list(pipeline())),
        ("topics", list(topic())),
        ("presences", list(presences())),
        ("slow_clients", list(slow_client())),
        ("faults", list(fault())),
    ])
}

fn sample() -> Value {
    let numbers = [
        "at",
        "connections",
        "channels",
        "connects",
        "refused",
        "joins",
        "frames_in",
        "frames_out",
        "bytes_in",
        "bytes_out",
        "broadcasts",
        "waiting",
        "overloaded",
        "dropped",
        "faults",
        "outbox_bytes",
        "cpu_percent",
        "memory_bytes",
    ];
    let mut all = fields(&numbers, &number());
    all.extend(fields(&["handled_ms", "delivered_ms", "lag_ms"], &quantiles()));
    all.push(("fuel", schema::about(map(number()), "Used, by plugin.")));
    object(&all)
}

const UNUSUAL: &str = "Figures of the sample that have left their last quarter of an hour.";

fn unusual() -> Value {
    object(&[
        ("figure", schema::about(string(), "Its path in the sample.")),
        ("text", string()),
        ("brief", string()),
        ("now", number()),
        ("usual", schema::about(number(), "The median of the quarter of an hour before.")),
        ("since", schema::about(number(), "Seconds since the Unix epoch.")),
    ])
}

fn plugin() -> Value {
    let mut all = fields(&["plugin", "version"], &string());
    all.extend(fields(&["calls", "instances", "faults"], &number()));
    all.extend(fields(&["time_ms", "fuel", "memory_bytes"], &quantiles()));
    object(&all)
}

fn pipeline() -> Value {
    let numbers = [
        "accepted",
        "rejected",
        "done",
        "failed",
        "dropped",
        "retried",
        "buffered",
        "in_flight",
        "demand",
        "dead_letters",
    ];
    let mut all = fields(&["pipeline", "dispatcher"], &string());
    all.extend(fields(&numbers, &number()));
    all.extend(fields(&["wait_ms", "run_ms", "delivery_ms"], &quantiles()));
    let key = json!({ "type": "array", "prefixItems": [string(), number()] });
    all.push(("top_keys", schema::about(list(key), "Keys with most events, and their shares.")));
    object(&all)
}

fn topic() -> Value {
    object(&[("topic", string()), ("received", number()), ("delivered", number())])
}

fn presences() -> Value {
    object(&[("topic", string()), ("members", integer())])
}

fn slow_client() -> Value {
    object(&[("connection", integer()), ("user", nullable(string())), ("bytes", integer())])
}

/// The schema of [`crate::plugin::RecentFault`].
pub(super) fn fault() -> Value {
    object(&[
        ("at", schema::about(number(), "Seconds since the Unix epoch, of the last one.")),
        ("plugin", string()),
        ("cause", string()),
        ("topic", string()),
        ("message", string()),
        ("count", integer()),
    ])
}

fn quantiles() -> Value {
    object(&fields(&["p50", "p99"], &nullable(number())))
}
