//! Round trips: each client keeps some pings in flight on its own topic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use super::{Figures, join_all, micros_each, per_second};
use crate::client::{Client, Incoming};
use crate::procfs;
use crate::server::RunningServer;

/// About 100 bytes of JSON.
const PAYLOAD: &str = r#"{"body":"the quick brown fox jumps over the lazy dog","at":1234567890,"tags":["a","b","c"]}"#;

/// Measures for `seconds`, after a second to warm up. Fails when a reply is
/// missing, doubled or out of order.
pub async fn echo(
    server: &RunningServer,
    connections: usize,
    in_flight: usize,
    seconds: u64,
) -> Result<Figures> {
    let clients = join_all(&server.address, connections, |n| format!("room:{n}")).await?;
    let start = Instant::now() + Duration::from_secs(1);
    let end = start + Duration::from_secs(seconds);
    let mut running = tokio::task::JoinSet::new();
    for client in clients {
        running.spawn(ping(client, in_flight, start, end));
    }
    tokio::time::sleep_until(start.into()).await;
    let cpu = procfs::cpu(server.pid)?;
    tokio::time::sleep_until(end.into()).await;
    let cpu = procfs::cpu(server.pid)? - cpu;
    let mut latencies = Histogram::<u64>::new(3)?;
    while let Some(measured) = running.join_next().await {
        latencies.add(measured??)?;
    }
    let (count, time) = (latencies.len(), Duration::from_secs(seconds));
    #[expect(clippy::cast_precision_loss, reason = "a table shows four digits")]
    let quantile = |q| latencies.value_at_quantile(q) as f64;
    Ok(vec![
        ("server CPU, µs a message", micros_each(cpu, count)),
        ("round trips a second", per_second(count, time)),
        ("p50, µs", quantile(0.5)),
        ("p99, µs", quantile(0.99)),
    ])
}

/// One client; its latencies in microseconds between `start` and `end`.
async fn ping(
    mut client: Client,
    in_flight: usize,
    start: Instant,
    end: Instant,
) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    let mut waiting = VecDeque::with_capacity(in_flight);
    let mut reference = 0;
    loop {
        let now = Instant::now();
        while waiting.len() < in_flight && now < end {
            reference += 1;
            client.queue(reference, "ping", PAYLOAD).await?;
            waiting.push_back((reference, now));
        }
        client.flush().await?;
        // One reply makes room for one ping; those that arrived with it are
        // taken along, so that pings go out as they would from a busy client.
        for _ in 0..waiting.len().div_ceil(2) {
            let Some((expected, sent)) = waiting.pop_front() else { break };
            match client.receive().await? {
                Incoming::Reply(found) if found == expected => {}
                other => bail!("the reply to {expected} was expected, found {other:?}"),
            }
            let now = Instant::now();
            if now >= start && now < end {
                latencies.record(u64::try_from((now - sent).as_micros())?)?;
            }
        }
        if waiting.is_empty() && Instant::now() >= end {
            return Ok(latencies);
        }
    }
}
