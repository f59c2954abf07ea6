//! The StatsD server that everybody has.

use std::collections::BTreeMap;

use millrace_tests::{App, Script};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::{TOPIC, client, measure};

/// What a StatsD server flushed, summed up.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    counters: BTreeMap<String, f64>,
    pub(super) gauges: BTreeMap<String, f64>,
    /// How many values there were, and the last mean.
    timers: BTreeMap<String, (f64, f64)>,
    /// How many values of each set there were at most.
    sets: BTreeMap<String, usize>,
}

impl Flushed {
    /// All that was sent: the server has ended, and what is sent here comes behind it.
    pub(super) async fn of(statsd: &mut Script, port: u64) -> Self {
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(b"end:1|c", format!("127.0.0.1:{port}")).await.unwrap();
        let mut flushed = Self::default();
        while !flushed.counters.contains_key("end") {
            flushed.add(&statsd.next().await);
        }
        flushed
    }

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
        for (name, values) in flush["sets"].as_object().unwrap() {
            let most = self.sets.entry(name.clone()).or_default();
            *most = values.as_array().unwrap().len().max(*most);
        }
    }

    /// What a counter of Millrace adds up to.
    pub(super) fn counter(&self, name: &str) -> f64 {
        self.counters.get(&format!("millrace.{name}")).copied().unwrap_or_default()
    }

    /// How many values a timer of Millrace has got.
    pub(super) fn times(&self, name: &str) -> f64 {
        self.timers.get(&format!("millrace.{name}")).map_or(0.0, |timer| timer.0.round())
    }

    /// The last mean of a timer of Millrace.
    pub(super) fn mean(&self, name: &str) -> f64 {
        self.timers[&format!("millrace.{name}")].1
    }

    /// As [`Self::times`], of all whose names begin so.
    fn times_of(&self, name: &str) -> f64 {
        let name = format!("millrace.{name}");
        self.timers.iter().filter(|(n, _)| n.starts_with(&name)).map(|(_, t)| t.0.round()).sum()
    }
}

#[tokio::test]
async fn a_statsd_server_gets_exactly_what_was_done() {
    const TIMES: u32 = 250;
    let mut statsd = Script::start("statsd/js/server.js", &[]);
    let port = statsd.next().await["port"].as_u64().unwrap();
    let server = App::slow().statsd(&format!("127.0.0.1:{port}")).serve();
    let mut client = client(&server).await;
    measure(&mut client, TIMES, "odd:name|c").await;
    for _ in 0..TIMES {
        let order = json!({ "value": "wait" });
        client.expect_answer(TOPIC, "task", order, "ok", json!({})).await;
    }
    client.push(TOPIC, "crash", json!({})).await;
    client.expect_crashed(TOPIC).await;
    // The last report is made before the process ends.
    assert_eq!(server.terminate().code(), Some(0));
    let flushed = Flushed::of(&mut statsd, port).await;

    let expected = f64::from(TIMES);
    for (name, count) in [
        ("plugin.slow.orders", 2.0 * expected),
        ("plugin.slow.odd_name_c", expected),
        ("task.started", expected),
        ("task.failed", 0.0),
        // The join, and what is sent above.
        ("socket.frames_in", 2.0 * expected + 2.0),
        ("socket.frames_out", 2.0 * expected + 2.0),
        ("wasm.fault.slow.trap", 1.0),
        ("socket.close.1012.restarting", 1.0),
    ] {
        assert_eq!(flushed.counter(name), count, "{name}: {flushed:?}");
    }
    for (name, count) in [
        ("socket.connect.ok.websocket.2", 1.0),
        ("channel.join.slow__.ok", 1.0),
        ("channel.in.slow__.measure", expected),
        ("channel.in.slow__.task", expected),
        ("channel.in.slow__.crash", 1.0),
        ("plugin.slow.work", expected),
        ("plugin.slow.size", expected),
    ] {
        assert_eq!(flushed.times(name), count, "{name}: {flushed:?}");
    }
    // Connect, join, messages and tasks; a channel that crashed has no last call.
    let calls = 2.0 + 2.0 * expected + 1.0 + expected;
    for name in ["wasm.time.slow.", "wasm.fuel.slow.", "wasm.memory.slow."] {
        assert_eq!(flushed.times_of(name), calls, "{name}: {flushed:?}");
    }
    assert_eq!(flushed.gauges["millrace.plugin.slow.level"], -3.0);
    assert_eq!(flushed.gauges["millrace.socket.open"], 0.0);
    assert_eq!(flushed.gauges["millrace.channel.open.slow__"], 0.0);
    assert_eq!(flushed.gauges["millrace.channel.waiting"], 0.0);
    assert_eq!(flushed.sets["millrace.plugin.slow.users"], 1);
    let mean = flushed.mean("plugin.slow.work");
    assert!((mean - 1.5).abs() < 0.03, "{mean}");
}
