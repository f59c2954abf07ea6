//! `/pipelines`: the counts of events, switching dispatchers, and dead letters.

use std::sync::Arc;

use hyper::Method;
use millrace_pipeline::Pipeline;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::MAX_JSON_BYTES;
use super::schema::{boolean, fields, integer, list, map, nullable, object, string};
use super::{AdminRequest, Answer, Content, Problem, Query, Route, answer, ready, schema};

/// The most dead letters of one answer.
const MAX_LISTED: usize = 100;

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/pipelines",
        name: "list_pipelines",
        summary: "What became of the events of all pipelines.",
        query: &[],
        body: None,
        answer: || list(pipeline_schema()),
        run: |request| ready(list_pipelines(&request)),
    },
    Route {
        method: Method::GET,
        path: "/pipelines/{name}",
        name: "get_pipeline",
        summary: "What became of the events of one pipeline.",
        query: &[],
        body: None,
        answer: pipeline_schema,
        run: |request| ready(get_pipeline(&request)),
    },
    Route {
        method: Method::POST,
        path: "/pipelines/{name}/dispatcher",
        name: "switch_dispatcher",
        summary: "Switches the dispatcher of a stage while events flow.",
        query: &[],
        body: Some(Content {
            media_type: "application/json",
            max_bytes: MAX_JSON_BYTES,
            example: "{\"dispatcher\": \"fair\", \"stage\": 0}",
            schema: switch_schema,
        }),
        answer: pipeline_schema,
        run: |request| ready(switch_dispatcher(&request)),
    },
    Route {
        method: Method::GET,
        path: "/pipelines/{name}/dead-letters",
        name: "list_dead_letters",
        summary: "Events that were given up, the oldest first, at most 100 in one answer.",
        query: &[
            Query { name: "from", about: "From this number on.", schema: integer },
            Query { name: "max", about: "At most so many.", schema: integer },
        ],
        body: None,
        answer: dead_letters_schema,
        run: |request| ready(list_dead_letters(&request)),
    },
    Route {
        method: Method::POST,
        path: "/pipelines/{name}/dead-letters/replay",
        name: "replay_dead_letters",
        summary: "Handles dead letters anew, from the first stage on.",
        query: &[],
        body: Some(WHICH),
        answer: || object(&fields(&["replayed", "rejected"], &integer())),
        run: |request| ready(replay_dead_letters(&request)),
    },
    Route {
        method: Method::DELETE,
        path: "/pipelines/{name}/dead-letters",
        name: "purge_dead_letters",
        summary: "Throws dead letters away.",
        query: &[],
        body: Some(WHICH),
        answer: || object(&fields(&["purged"], &integer())),
        run: |request| ready(purge_dead_letters(&request)),
    },
];

const WHICH: Content = Content {
    media_type: "application/json",
    max_bytes: MAX_JSON_BYTES,
    example: "{\"numbers\": [1, 2]} or {}",
    schema: which_schema,
};

fn list_pipelines(request: &AdminRequest) -> Answer {
    let all = request.node.pipelines.all().map(|pipeline| view(pipeline)).collect();
    answer(&Value::Array(all))
}

fn get_pipeline(request: &AdminRequest) -> Answer {
    let pipeline = named(request)?;
    answer(&view(&pipeline))
}

/// The body for switching the dispatcher of a stage, which is the last one unless given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    dispatcher: String,
    stage: Option<usize>,
}

fn switch_dispatcher(request: &AdminRequest) -> Answer {
    let pipeline = named(request)?;
    let Switch { dispatcher, stage } = request.json()?;
    let switched = request.node.switch_dispatcher(&pipeline, stage, &dispatcher);
    switched.map_err(|problem| {
        Problem::invalid(format!("pipelines.{}{problem}", pipeline.name()))
            .advice("the dispatcher it had goes on")
    })?;
    answer(&view(&pipeline))
}

fn list_dead_letters(request: &AdminRequest) -> Answer {
    let pipeline = named(request)?;
    let (from, max) = (request.number("from")?.unwrap_or(0), request.max(MAX_LISTED)?);
    let letters = pipeline.dead_letters();
    let (all, discarded) = letters.counts();
    answer(
        &json!({ "count": all, "discarded": discarded, "dead_letters": letters.list(from, max) }),
    )
}

/// The body that says which dead letters are meant: all, if no numbers are given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    numbers: Option<Vec<u64>>,
}

fn replay_dead_letters(request: &AdminRequest) -> Answer {
    let pipeline = named(request)?;
    let Which { numbers } = request.json()?;
    let (replayed, rejected) = pipeline.replay(numbers.as_deref());
    answer(&json!({ "replayed": replayed, "rejected": rejected }))
}

fn purge_dead_letters(request: &AdminRequest) -> Answer {
    let pipeline = named(request)?;
    let Which { numbers } = request.json()?;
    let purged = pipeline.dead_letters().take(numbers.as_deref()).len();
    answer(&json!({ "purged": purged }))
}

fn named(request: &AdminRequest) -> Result<Arc<Pipeline>, Problem> {
    let (pipelines, name) = (&request.node.pipelines, request.parameter("name"));
    pipelines.get(name).map(Arc::clone).ok_or_else(|| {
        let known = pipelines.all().map(|pipeline| pipeline.name().to_owned());
        Problem::unknown("pipeline", name, known.collect())
    })
}

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

fn pipeline_schema() -> Value {
    let law = "accepted = done + failed + dropped + in flight + buffered.";
    object(&[
        ("pipeline", string()),
        ("totals", totals_schema()),
        ("conserved", schema::about(boolean(), law)),
        ("dispatchers", schema::about(list(string()), "Of its stages.")),
        ("dead_letters", integer()),
        ("dead_letters_discarded", integer()),
    ])
}

fn switch_schema() -> Value {
    let dispatcher = "`demand`, `partition`, or a plugin that exports `dispatcher`.";
    let stage = "Counted from 0; the last one unless given.";
    let schema = object(&[
        ("dispatcher", schema::about(string(), dispatcher)),
        ("stage", schema::about(nullable(integer()), stage)),
    ]);
    schema::required(schema, &["dispatcher"])
}

fn dead_letters_schema() -> Value {
    let letter = object(&[
        ("number", integer()),
        ("reason", string()),
        ("attempts", integer()),
        ("stage", integer()),
        ("key", nullable(string())),
        ("enqueued_ms", integer()),
        ("payload", string()),
    ]);
    object(&[
        ("count", schema::about(integer(), "All there are.")),
        ("discarded", schema::about(integer(), "Those that gave way to others.")),
        ("dead_letters", list(letter)),
    ])
}

fn which_schema() -> Value {
    let numbers = schema::about(nullable(list(integer())), "Those; all, if none are named.");
    schema::required(object(&[("numbers", numbers)]), &[])
}

fn totals_schema() -> Value {
    let numbers = [
        "accepted",
        "rejected",
        "done",
        "failed",
        "retried",
        "buffered",
        "in_flight",
        "delayed",
        "bytes",
        "keys",
        "demand",
    ];
    let mut all = fields(&numbers, &integer());
    all.push(("dropped", schema::about(map(integer()), "By reason.")));
    object(&all)
}
