//! `/openapi.json`: the description of all routes, made of the routes themselves.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value, json};

use super::schema::with;
use super::{AdminRequest, Answer, Content, Problem, Query, Route, answer, ready, routes};

pub(super) static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/openapi.json",
    name: "openapi",
    summary: "This description.",
    query: &[],
    body: None,
    answer: || json!({ "type": "object" }),
    run: |request| ready(openapi(&request)),
}];

fn openapi(request: &AdminRequest) -> Answer {
    let token = request.node.admin.as_ref().is_some_and(|config| config.token.is_some());
    answer(&description(token))
}

/// The description in OpenAPI 3.1. `token` says whether a token is needed.
fn description(token: bool) -> Value {
    let mut paths: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for route in routes::all() {
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_default().insert(method, operation(route));
    }
    let mut security = vec![json!({ "token": [] })];
    if !token {
        security.push(json!({}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace, admin interface",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "security": security,
        "components": {
            "schemas": { "Problem": Problem::schema() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The name of the one route that answers with a line for each step.
const LINES: &str = "swap_plugin";

fn operation(route: &Route) -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let (description, media_type) = match route.name {
        LINES => ("A line for each step; the last has the outcome.", "application/x-ndjson"),
        _ => ("It was done.", "application/json"),
    };
    let operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            "200": {
                "description": description,
                "content": { media_type: { "schema": (route.answer)() } },
            },
            "default": {
                "description": "It was not done: what was found, what is allowed, what to do.",
                "content": { "application/problem+json": problem },
            },
        },
    });
    let in_path = route.path.split('/').filter_map(routes::name).map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = route.query.iter().map(|Query { name, about, schema }| {
        json!({ "name": name, "in": "query", "description": about, "schema": schema() })
    });
    let operation = with(operation, "parameters", in_path.chain(in_query).collect());
    let Some(Content { media_type, schema, .. }) = route.body else { return operation };
    let content = json!({ media_type: { "schema": schema() } });
    with(operation, "requestBody", json!({ "required": true, "content": content }))
}
