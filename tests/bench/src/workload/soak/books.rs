//! The resources of a server, by the system and by the server itself.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::http::Http;
use crate::procfs;
use crate::server::Target;
use crate::workload::run_for;

/// The resources at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    rss: u64,
    descriptors: u64,
    threads: u64,
    connections: u64,
    /// The number of messages that wait in channels.
    waiting: u64,
    outbox_bytes: u64,
    instances: u64,
    /// The totals of all pipelines.
    pub(super) accepted: u64,
    pub(super) done: u64,
    failed: u64,
    dropped: u64,
    buffered: u64,
    in_flight: u64,
}

/// Reads the resources of a server.
pub(super) struct Reader {
    admin: SocketAddr,
    pid: u32,
    connections: u64,
}

/// The time between two measurements of the server.
const EVERY: Duration = Duration::from_secs(1);
/// The descriptors that come and go: those of current requests, and of the files that versions are
/// mapped from. A leak would be one for each attack or exchange.
const DESCRIPTORS: u64 = 16;
/// The idle instances that are kept on each thread that has used them. A leak would be one for each
/// attack.
const INSTANCES: u64 = 32;

impl Reader {
    /// Makes a reader; `connections` are those that are expected.
    pub(super) async fn new(server: &Target, connections: usize) -> Result<Self> {
        let admin = server.admin().await?;
        Ok(Self { admin, pid: server.pid, connections: connections as u64 })
    }

    /// Waits until nothing changes that should not, for a limited time, and returns the resources
    /// then.
    pub(super) async fn settled(
        &self,
        timeout: Duration,
        honest: &mut JoinSet<Result<()>>,
        before: Option<(&Books, u64)>,
    ) -> Result<Books> {
        let start = Instant::now();
        loop {
            run_for(EVERY, honest).await?;
            let books = self.read().await?;
            let is_settled = match before {
                Some((before, margin)) => books.problems(before, margin).is_empty(),
                None => books.is_quiet() && books.connections <= self.connections,
            };
            if is_settled || start.elapsed() > timeout {
                return Ok(books);
            }
        }
    }

    pub(super) async fn read(&self) -> Result<Books> {
        let proc = format!("/proc/{}", self.pid);
        let count = |folder: &str| -> Result<u64> {
            Ok(fs::read_dir(format!("{proc}/{folder}"))?.count() as u64)
        };
        let snapshot = self.get("/snapshot").await?;
        let sample = |name: &str| number(&snapshot["sample"][name]);
        let pipelines = self.get("/pipelines").await?;
        let totals = pipelines.as_array().map(Vec::as_slice).unwrap_or_default();
        let totals: Value = totals.iter().map(|pipeline| pipeline["totals"].clone()).collect();
        let events = |name: &str| sum(&totals, name);
        Ok(Books {
            rss: procfs::rss(self.pid)?,
            descriptors: count("fd")?,
            threads: count("task")?,
            connections: sample("connections"),
            waiting: sample("waiting"),
            outbox_bytes: sample("outbox_bytes"),
            instances: sum(&snapshot["plugins"], "instances"),
            accepted: events("accepted"),
            done: events("done"),
            failed: events("failed"),
            dropped: events("dropped"),
            buffered: events("buffered"),
            in_flight: events("in_flight"),
        })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        // A new connection, as the server closes one that is idle.
        let answer = Http::connect(self.admin).await?.get(path).await?;
        serde_json::from_str(&answer.body).context(answer.body)
    }
}

/// The sum over all entries of a list.
fn sum(list: &Value, name: &str) -> u64 {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|entry| number(&entry[name])).sum()
}

fn number(value: &Value) -> u64 {
    if let Value::Object(by_reason) = value {
        return by_reason.values().map(number).sum();
    }
    value.as_f64().unwrap_or_default().max(0.0) as u64
}

impl Books {
    /// Whether nothing waits.
    fn is_quiet(&self) -> bool {
        self.waiting + self.outbox_bytes + self.buffered + self.in_flight == 0
    }

    /// The resources that are more than before, and should not be.
    pub(super) fn problems(&self, before: &Self, margin: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let mut at_most = |name: &str, found: u64, allowed: u64| {
            if found > allowed {
                problems.push(format!("{name}: {found}, at most {allowed} are expected"));
            }
        };
        at_most("resident bytes", self.rss, before.rss + margin);
        at_most("descriptors", self.descriptors, before.descriptors + DESCRIPTORS);
        at_most("threads", self.threads, before.threads);
        at_most("connections", self.connections, before.connections);
        at_most("instances", self.instances, before.instances + INSTANCES);
        at_most("messages that wait", self.waiting, 0);
        at_most("bytes in outboxes", self.outbox_bytes, 0);
        let left = self.done + self.failed + self.dropped + self.buffered + self.in_flight;
        if self.accepted != left {
            problems.push(format!("{} events were accepted, there are {left}", self.accepted));
        }
        problems
    }

    /// The figures of the table: before and after.
    pub(super) fn figures(before: &Self, after: &Self) -> Vec<(&'static str, f64)> {
        let mega = |bytes: u64| bytes as f64 / 1e6;
        vec![
            ("RSS before, MB", mega(before.rss)),
            ("RSS after, MB", mega(after.rss)),
            ("descriptors before", before.descriptors as f64),
            ("descriptors after", after.descriptors as f64),
            ("threads before", before.threads as f64),
            ("threads after", after.threads as f64),
            ("connections before", before.connections as f64),
            ("connections after", after.connections as f64),
            ("instances before", before.instances as f64),
            ("instances after", after.instances as f64),
            ("messages waiting after", after.waiting as f64),
            ("outbox bytes after", after.outbox_bytes as f64),
        ]
    }
}
