//! `/health`: the stage that the server is in.

use hyper::Method;
use serde_json::{Value, json};

use super::{AdminRequest, Answer, Route, answer, ready, schema};

pub(super) static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/health",
    name: "health",
    summary: "What the server is doing: it answers while it starts and drains, too.",
    query: &[],
    body: None,
    answer: health_schema,
    run: |request| ready(health(&request)),
}];

fn health(request: &AdminRequest) -> Answer {
    let node = &request.node;
    let stage = node.stage.borrow().as_str();
    let version = env!("CARGO_PKG_VERSION");
    let connections = node.connections.len();
    answer(&json!({ "stage": stage, "version": version, "connections": connections }))
}

fn health_schema() -> Value {
    schema::object(&[
        ("stage", schema::one_of(&["starting", "ready", "draining"])),
        ("version", schema::about(schema::string(), "Of the server.")),
        ("connections", schema::integer()),
    ])
}
