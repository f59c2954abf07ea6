//! What servers are measured with.

mod echo;
mod fanout;
mod idle;
mod neighbours;
mod waiting;

pub use echo::Echo;
pub use fanout::Fanout;
pub use idle::Idle;
pub use neighbours::{Neighbours, Others};
pub use waiting::Waiting;

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::server::Target;

/// What one run of a workload found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Names with their values, in the order of the table.
    pub figures: Vec<(&'static str, f64)>,
    /// Replies or messages that never came.
    pub lost: u64,
    /// Replies or messages that came again.
    pub duplicated: u64,
}

/// The load runs for this long before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// After this long something missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Something doubled is waited for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// Handshakes at the same time.
const CONNECTING: usize = 64;

/// Joins `count` clients, each on the topic `topic` gives it.
async fn join_all(
    server: &Target,
    count: usize,
    topic: impl Fn(usize) -> String,
) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    let mut joining = JoinSet::new();
    for number in 0..count {
        if joining.len() == CONNECTING {
            clients.extend(joining.join_next().await.transpose()?.transpose()?);
        }
        joining.spawn(Client::join(server.address, number, topic(number)));
    }
    while let Some(client) = joining.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

/// Lets the clients run for some time. An error as soon as one of them fails;
/// none ends otherwise.
async fn run_for(time: Duration, clients: &mut JoinSet<Result<()>>) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(failed) = clients.join_next() => failed?,
    }
}
