//! `/sockets` and `/disconnect`: the connections, and closing them.

use std::sync::Arc;

use hyper::Method;
use millrace_session::Realm;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::MAX_JSON_BYTES;
use super::schema::{fields, integer, list, nullable, object, string};
use super::{AdminRequest, Answer, Content, Problem, Query, Route, answer, ready, schema};
use crate::node::Client;

/// The most connections of one answer.
const MAX_LISTED: usize = 100;

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/sockets",
        name: "list_sockets",
        summary: "Connections in the order of their numbers, at most 100 in one answer.",
        query: &[
            Query { name: "user", about: "Those of this user id alone.", schema: string },
            Query { name: "from", about: "From this number on.", schema: integer },
            Query { name: "max", about: "At most so many.", schema: integer },
        ],
        body: None,
        answer: sockets_schema,
        run: |request| ready(list_sockets(&request)),
    },
    Route {
        method: Method::GET,
        path: "/sockets/{id}",
        name: "get_socket",
        summary: "One connection, with the topics it has joined.",
        query: &[],
        body: None,
        answer: || {
            let mut all = socket_fields();
            all.push(("topics", list(string())));
            object(&all)
        },
        run: |request| ready(get_socket(&request)),
    },
    Route {
        method: Method::DELETE,
        path: "/sockets/{id}",
        name: "close_socket",
        summary: "Closes one connection with 1001.",
        query: &[],
        body: None,
        answer: closed_schema,
        run: |request| ready(close_socket(&request)),
    },
    Route {
        method: Method::POST,
        path: "/disconnect",
        name: "disconnect",
        summary: "Closes every connection of a user with 1001.",
        query: &[],
        body: Some(Content {
            media_type: "application/json",
            max_bytes: MAX_JSON_BYTES,
            example: "{\"user\": \"ada\"}",
            schema: || object(&[("user", string())]),
        }),
        answer: closed_schema,
        run: |request| ready(disconnect(&request)),
    },
];

fn list_sockets(request: &AdminRequest) -> Answer {
    let (from, max) = (request.number("from")?.unwrap_or(0), request.max(MAX_LISTED)?);
    let connections = &request.node.connections;
    // One more is asked for, to know whether there are more.
    let (count, mut page) = connections.page(request.query("user"), from, max.saturating_add(1));
    let next = page.get(max).map(|client| client.connection);
    page.truncate(max);
    let sockets: Vec<_> = page.iter().map(|client| view(client)).collect();
    answer(&json!({ "count": count, "sockets": sockets, "next": next }))
}

fn get_socket(request: &AdminRequest) -> Answer {
    let client = numbered(request)?;
    let topics = client.topics().iter().map(|topic| topic.as_ref()).collect();
    answer(&schema::with(view(&client), "topics", topics))
}

fn close_socket(request: &AdminRequest) -> Answer {
    let client = numbered(request)?;
    request.node.close(&client);
    answer(&json!({ "closed": 1 }))
}

/// The body that says whose connections are closed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    user: String,
}

fn disconnect(request: &AdminRequest) -> Answer {
    let Who { user } = request.json()?;
    answer(&json!({ "closed": request.node.disconnect(&user) }))
}

fn numbered(request: &AdminRequest) -> Result<Arc<Client>, Problem> {
    let id = request.parameter("id");
    let number = id.parse().map_err(|_| {
        Problem::invalid(format!("{id:?} is no connection; its number is expected"))
            .advice("GET /sockets lists them")
    })?;
    request.node.connections.client(number).ok_or_else(|| {
        let gone = format!("there is no connection {number}, or no more");
        Problem::new(hyper::StatusCode::NOT_FOUND, gone).advice("GET /sockets lists them")
    })
}

fn view(client: &Client) -> Value {
    let realm = match client.realm {
        Realm::App => "app",
        Realm::Dashboard => "dashboard",
    };
    json!({
        "id": client.connection,
        "peer": client.peer.to_string(),
        "user": client.user_id.as_deref(),
        "realm": realm,
        "channels": client.topic_count(),
        "waiting_bytes": client.outbox.bytes(),
    })
}

fn sockets_schema() -> Value {
    let next = "From where the next page begins; null at the end.";
    object(&[
        ("count", schema::about(integer(), "All there are, or the user has.")),
        ("sockets", list(object(&socket_fields()))),
        ("next", schema::about(nullable(integer()), next)),
    ])
}

fn socket_fields() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("peer", schema::about(string(), "Its address.")),
        ("user", schema::about(nullable(string()), "As far as a plugin said.")),
        ("realm", schema::one_of(&["app", "dashboard"])),
    ];
    all.extend(fields(&["id", "channels", "waiting_bytes"], &integer()));
    all
}

fn closed_schema() -> Value {
    object(&[("closed", schema::about(integer(), "Connections that were told to close."))])
}
