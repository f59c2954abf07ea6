//! What comes out at the other end of the StatsD server that
//! `examples/observability` configures: Graphite's names, as Grafana asks for
//! them.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_tests::{App, Script};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::{TOPIC, client, measure};

/// What the test does not bring about: nobody is turned away, overloaded or late,
/// no plugin sends requests, is swapped or waits for an instance, and nothing is
/// lost.
const NOT_DONE: [&str; 15] = [
    "socket.refused",
    "socket.throttled",
    "join.refused",
    "channel.overloaded",
    "channel.notices_dropped",
    "task.refused",
    "task.failed",
    "outbox.dropped",
    "late.gone",
    "wasm.wait",
    "wasm.swap",
    "http.requests",
    "http.failed",
    "metrics.dropped",
    "statsd.lost",
];

/// Reads names as carbon does, until the server's last report has come.
async fn names(carbon: &TcpListener) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    loop {
        // StatsD connects for each flush.
        let (stream, _) = carbon.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            names.insert(line.split(' ').next().unwrap().to_owned());
        }
        if names.contains("stats.counters.millrace.socket.close.1012.restarting.count") {
            return names;
        }
    }
}

/// The globs of all panels.
fn globs() -> Vec<String> {
    let path = "../examples/observability/grafana/dashboard.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let targets = targets.map(|target| target["target"].as_str().unwrap().to_owned());
    let globs = targets.map(|target| {
        let begin = target.find("stats.").unwrap();
        let glob = target[begin..].split([',', ')']).next().unwrap();
        // Of alternatives one is as good as the other.
        glob.replace("$prefix", "millrace").replace("{mean", "mean")
    });
    globs.collect()
}

fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<_>, Vec<_>) = (glob.split('.').collect(), name.split('.').collect());
    glob.len() == name.len() && glob.iter().zip(&name).all(|(g, n)| *g == "*" || g == n)
}

#[tokio::test]
async fn grafana_finds_what_it_asks_for() {
    let carbon = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let carbon_port = carbon.local_addr().unwrap().port().to_string();
    let names = tokio::spawn(async move { names(&carbon).await });
    let mut statsd = Script::start("statsd/js/example.js", &[&carbon_port]);
    let port = statsd.next().await["port"].as_u64().unwrap();

    let server = App::slow().statsd(&format!("127.0.0.1:{port}")).serve();
    let mut client = client(&server).await;
    measure(&mut client, 3, "x").await;
    let shout = client.push(TOPIC, "task", json!({ "value": "shout" })).await;
    client.expect_broadcast(TOPIC, "shout", json!({})).await;
    client.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    // Long enough for what is looked at once a second.
    client.expect_answer(TOPIC, "wait", json!({ "ms": 1_500 }), "ok", json!({})).await;
    client.push(TOPIC, "crash", json!({})).await;
    client.expect_crashed(TOPIC).await;
    assert_eq!(server.terminate().code(), Some(0));
    let names = names.await.unwrap();

    let globs = globs();
    assert!(globs.len() >= 40, "{globs:?}");
    for glob in globs {
        let expected = !NOT_DONE.iter().any(|name| glob.contains(&format!(".millrace.{name}")));
        let found = names.iter().any(|name| matches(&glob, name));
        assert_eq!(found, expected, "{glob}: {names:#?}");
    }
}
