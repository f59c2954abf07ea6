//! The StatsD server that everybody has.

use std::collections::BTreeMap;

use millrace_tests::Script;
use serde_json::{Value, json};

use crate::{TOPIC, client, measure, server};

/// What a StatsD server flushed, summed up.
#[derive(Default)]
struct Flushed {
    counters: BTreeMap<String, f64>,
    gauges: BTreeMap<String, f64>,
    /// How many values there were, and the last mean.
    timers: BTreeMap<String, (f64, f64)>,
}

impl Flushed {
    fn add(&mut self, flush: &Value) {
        for (name, count) in flush["counters"].as_object().unwrap() {
            *self.counters.entry(name.clone()).or_default() += count.as_f64().unwrap();
        }
        for (name, gauge) in flush["gauges"].as_object().unwrap() {
            self.gauges.insert(name.clone(), gauge.as_f64().unwrap());
        }
        for (name, data) in flush["timers"].as_object().unwrap() {
            let timer = self.timers.entry(name.clone()).or_default();
            timer.0 += data["count"].as_f64().unwrap();
            timer.1 = data["mean"].as_f64().unwrap();
        }
    }
}

#[tokio::test]
async fn a_statsd_server_gets_exactly_what_was_done() {
    const TIMES: u32 = 250;
    let mut statsd = Script::start("statsd/server.js", &[]);
    let port = statsd.next().await["port"].as_u64().unwrap();
    let server = server(&format!("address = \"127.0.0.1:{port}\""));
    let mut client = client(&server).await;
    measure(&mut client, TIMES, "odd:name|c").await;
    for _ in 0..TIMES {
        let order = json!({ "value": "wait" });
        client.expect_answer(TOPIC, "task", order, "ok", json!({})).await;
    }
    // The last report is made before the process ends.
    assert_eq!(server.terminate().code(), Some(0));
    let mut flushed = Flushed::default();
    let expected = f64::from(TIMES);
    let all = |flushed: &Flushed| {
        let counted = |name: &str| flushed.counters.get(name).copied().unwrap_or_default();
        counted("millrace.task.started") >= expected
            && counted("millrace.plugin.slow.orders") >= 2.0 * expected
            && flushed.timers.get("millrace.plugin.slow.work").is_some_and(|t| t.0 > expected - 0.5)
    };
    while !all(&flushed) {
        flushed.add(&statsd.next().await);
    }
    let counted = |name: &str| flushed.counters.get(name).copied();
    assert_eq!(counted("millrace.task.started"), Some(expected));
    assert_eq!(counted("millrace.plugin.slow.orders"), Some(2.0 * expected));
    assert_eq!(counted("millrace.plugin.slow.odd_name_c"), Some(expected));
    assert_eq!(counted("millrace.task.failed"), None);
    assert_eq!(flushed.gauges.get("millrace.plugin.slow.level"), Some(&-3.0));
    let (count, mean) = flushed.timers["millrace.plugin.slow.work"];
    assert!((count - expected).abs() < 1e-6, "{count}");
    assert!((mean - 1.5).abs() < 0.1, "{mean}");
}
