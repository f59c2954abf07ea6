//! One client broadcasts to many.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Figures, join_all, micros_each, per_second};
use crate::client::{Client, Incoming};
use crate::procfs;
use crate::server::RunningServer;

const PAYLOAD: &str = r#"{"body":"the quick brown fox jumps over the lazy dog","at":1234567890}"#;

/// Broadcasts to `subscribers` for `seconds`, one at a time: the next goes out
/// when the last has reached everybody.
pub async fn fanout(server: &RunningServer, subscribers: usize, seconds: u64) -> Result<Figures> {
    let mut clients = join_all(&server.address, subscribers, |_| "room:all".to_owned()).await?;
    let (delivered, mut deliveries) = tokio::sync::mpsc::channel(1024);
    let mut publisher = Client::join(&server.address, subscribers, "room:all".to_owned()).await?;
    for mut client in clients.drain(..) {
        let delivered = delivered.clone();
        tokio::spawn(async move {
            while let Ok(Incoming::Message) = client.receive().await {
                if delivered.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    let (start, cpu) = (Instant::now(), procfs::cpu(server.pid)?);
    let time = Duration::from_secs(seconds);
    let mut broadcasts = 0;
    while start.elapsed() < time {
        broadcasts += 1;
        publisher.queue(broadcasts, "shout", PAYLOAD).await?;
        publisher.flush().await?;
        // Its own copy and the reply.
        publisher.receive().await?;
        publisher.receive().await?;
        for _ in 0..subscribers {
            tokio::time::timeout(Duration::from_secs(30), deliveries.recv()).await?;
        }
    }
    let (elapsed, cpu) = (start.elapsed(), procfs::cpu(server.pid)? - cpu);
    let count = broadcasts * (subscribers as u64 + 1);
    Ok(vec![
        ("server CPU, µs a delivery", micros_each(cpu, count)),
        ("deliveries a second", per_second(count, elapsed)),
    ])
}
