//! CloudEvents over HTTP, with the official SDK at the other end.
//!
//! What it sends is in `cloudevents/send.mjs`; here is what it must see.

use millrace_tests::{App, HttpRequest, Script};
use serde_json::{Value, json};

use super::{until, until_letters};

/// A pipeline whose worker reads none of these events, so that they are dead letters.
fn app() -> App {
    App::jobs().pipeline(
        "jobs",
        "http = {}\nworker = { plugin = \"jobs\", max_demand = 1 }\npartition_by = \"/data/k\"\n",
    )
}

#[tokio::test]
async fn each_mode_of_the_sdk_hands_over_the_whole_event() {
    let server = app().serve();
    let url = format!("http://{}/pipelines/jobs/events", server.address());
    let letters = format!("http://{}/pipelines/jobs/dead-letters", server.admin());
    let mut script = Script::start("cloudevents/send.mjs", &[&url, &letters]);
    let same = json!({ "key": true, "differ": [] });
    let taken = |count: usize| json!({ "accepted": count, "rejected": 0 });
    let with = |mode: &str, name: &str| {
        let mut expected = json!({ mode: name });
        for part in [taken(1), same.clone()] {
            expected.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        expected
    };
    for name in ["json", "text", "bytes"] {
        script.expect(with("binary", name)).await;
        script.expect(with("structured", name)).await;
    }
    script.expect(json!({ "batch": taken(2), "same": [same, same] })).await;
    script.expect(json!({ "emitted": taken(1), "key": true, "differ": [] })).await;
    script.expect_end().await;
    let view = until(&server, "jobs", |totals| totals["failed"] == 9).await;
    assert_eq!(view["totals"]["retried"], 0, "no further attempt would read them: {view}");
}

#[tokio::test]
async fn the_key_of_an_event_is_found_in_its_data_too() {
    let server = app().serve();
    let post = HttpRequest::new("POST", "/pipelines/jobs/events")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-specversion", "1.0")
        .header("ce-type", "t");
    let data = post.clone().body("application/json", "{\"k\":12345678901234567890123}");
    assert_eq!(data.send(server.address()).await.status, 202);
    let keyed = data.header("ce-partitionkey", "ada");
    assert_eq!(keyed.send(server.address()).await.status, 202);
    until_letters(&server, "jobs", 2).await;
    let letters = HttpRequest::new("GET", "/pipelines/jobs/dead-letters");
    let letters = letters.send(server.admin()).await.json();
    let keys: Vec<_> =
        letters["dead_letters"].as_array().unwrap().iter().map(|l| &l["key"]).collect();
    assert_eq!(keys, ["12345678901234567890123", "ada"]);
    let event = letters["dead_letters"][0]["payload"].as_str().unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(
        (&event["type"], &event["datacontenttype"]),
        (&json!("t"), &json!("application/json"))
    );
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_a_word() {
    let server = app().serve();
    let post = |header: &str, content_type: &str, body: &str| {
        let post = HttpRequest::new("POST", "/pipelines/jobs/events").header(header, "1");
        post.body(content_type, body)
    };
    for (request, status, told) in [
        (post("ce-id", "application/json", "{}"), 400, "ce-source is missing or empty; ce-id, ce-"),
        (post("ce-a_b", "application/json", "{}"), 400, "ce-a_b is no attribute"),
        (post("x", "application/cloudevents+json", "{}"), 400, "event 0 is no CloudEvent"),
        (post("x", "application/cloudevents+avro", "{}"), 415, "the content type is"),
    ] {
        let response = request.send(server.address()).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.body.contains(told), "{response:?}");
    }
}
