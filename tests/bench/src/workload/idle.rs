//! Clients that have joined and say nothing.

use std::time::Duration;

use anyhow::Result;

use super::{Figures, join_all, micros_each};
use crate::procfs;
use crate::server::RunningServer;

/// Lets the server return what the handshakes needed.
const SETTLE: Duration = Duration::from_secs(2);

/// What `connections` cost to open, and what they hold.
#[expect(clippy::cast_precision_loss, reason = "a table shows four digits")]
pub async fn idle(server: &RunningServer, connections: usize) -> Result<Figures> {
    // The first ones pay for what all share.
    let first = join_all(&server.address, 100, |n| format!("room:warm{n}")).await?;
    drop(first);
    tokio::time::sleep(SETTLE).await;
    let (rest, cpu) = (procfs::rss(server.pid)?, procfs::cpu(server.pid)?);
    let clients = join_all(&server.address, connections, |n| format!("room:{n}")).await?;
    let cpu = procfs::cpu(server.pid)? - cpu;
    tokio::time::sleep(SETTLE).await;
    let held = procfs::rss(server.pid)?.saturating_sub(rest);
    drop(clients);
    Ok(vec![
        ("RSS at rest, MB", rest as f64 / 1e6),
        ("RSS, bytes a connection", held as f64 / connections as f64),
        ("server CPU, µs a connect and join", micros_each(cpu, connections as u64)),
    ])
}
