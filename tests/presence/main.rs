//! Presence, as clients see it: on the wire, and with the `Presence` class of each phoenix.js.

mod bounds;
mod ending;
mod handling;
mod phoenix_js;
mod wire;

use millrace_tests::{TestClient, TestServer};
use serde_json::{Value, json};

/// A client that joins `topic` and tracks `key` with a meta, up to the notice of its own coming.
async fn present(server: &TestServer, topic: &str, key: &str, meta: Value) -> TestClient {
    let mut client = server.client().await;
    let join = client.send_join(topic, json!({ "track": key, "meta": meta })).await;
    client.expect_reply(topic, &join, "ok", json!({})).await;
    let state = event(&mut client, topic, "presence_state").await;
    assert_eq!(without_refs(&state)[key]["metas"], json!([meta]), "{state}");
    let diff = event(&mut client, topic, "presence_diff").await;
    assert_eq!(without_refs(&diff["joins"]), json!({ key: { "metas": [meta] } }));
    client
}

/// The payload of the next message, which has to be this event.
async fn event(client: &mut TestClient, topic: &str, event: &str) -> Value {
    let message = client.socket.recv_json().await;
    assert_eq!((&message[2], &message[3]), (&json!(topic), &json!(event)), "{message}");
    message[4].clone()
}

/// The payload of the next `presence_diff`, without refs.
async fn diff(client: &mut TestClient, topic: &str) -> Value {
    let payload = event(client, topic, "presence_diff").await;
    json!({
        "joins": without_refs(&payload["joins"]),
        "leaves": without_refs(&payload["leaves"]),
    })
}

/// Presences without what the server has added; each meta has to have a ref.
fn without_refs(presences: &Value) -> Value {
    let mut presences = presences.clone();
    for member in presences.as_object_mut().expect("presences are an object").values_mut() {
        for meta in member["metas"].as_array_mut().expect("metas are a list") {
            let meta = meta.as_object_mut().expect("a meta is an object");
            let phx_ref = meta.remove("phx_ref").expect("a meta has a ref");
            assert_eq!(phx_ref.as_str().map(str::len), Some(16));
            meta.remove("phx_ref_prev");
        }
    }
    presences
}
