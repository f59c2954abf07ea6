//! What servers are measured with.

mod echo;
mod fanout;
mod idle;

pub use echo::echo;
pub use fanout::fanout;
pub use idle::idle;

use std::time::Duration;

use anyhow::Result;

use crate::client::Client;

/// What one run measured: names with their values, in the order of the table.
pub type Figures = Vec<(&'static str, f64)>;

/// Handshakes at the same time.
const CONNECTING: usize = 64;

/// Joins `count` clients, each on the topic `topic` gives it.
async fn join_all(
    address: &str,
    count: usize,
    topic: impl Fn(usize) -> String,
) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for first in (0..count).step_by(CONNECTING) {
        let mut joining = tokio::task::JoinSet::new();
        for number in first..count.min(first + CONNECTING) {
            let (address, topic) = (address.to_owned(), topic(number));
            joining.spawn(async move { Client::join(&address, number, topic).await });
        }
        while let Some(client) = joining.join_next().await {
            clients.push(client??);
        }
    }
    Ok(clients)
}

/// Microseconds for each of `count`.
#[expect(clippy::cast_precision_loss, reason = "a table shows four digits")]
fn micros_each(duration: Duration, count: u64) -> f64 {
    duration.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// How many of `count` in a second.
#[expect(clippy::cast_precision_loss, reason = "a table shows four digits")]
fn per_second(count: u64, duration: Duration) -> f64 {
    count as f64 / duration.as_secs_f64()
}
