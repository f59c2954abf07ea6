//! The workloads that servers are measured with.

mod churn;
mod echo;
mod echo_rate;
mod exchanges;
mod fairness;
mod fanout;
mod fanout_rate;
mod hall;
mod heartbeats;
mod idle;
mod jobs;
mod neighbours;
mod pipeline;
mod presence;
mod soak;
mod start;
mod waiting;

pub use churn::Churn;
pub use echo::Echo;
pub use echo_rate::EchoRate;
pub use exchanges::{Exchanges, Of};
pub use fairness::{Fairness, Policy};
pub use fanout::Fanout;
pub use fanout_rate::FanoutRate;
pub use heartbeats::Heartbeats;
pub use idle::Idle;
pub use neighbours::{Neighbours, Others};
pub use pipeline::{Pipeline, Worker};
pub use presence::Presence;
pub use soak::Soak;
pub use start::Start;
pub use waiting::Waiting;

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::server::Target;

/// A load, and how large it is.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Workload {
    /// Round trips on a topic of each client's own.
    Echo(Echo),
    /// Round trips at a rate.
    EchoRate(EchoRate),
    /// Broadcasts from one client to many.
    Fanout(Fanout),
    /// Broadcasts from one client to many, at a rate.
    FanoutRate(FanoutRate),
    /// Clients that come and go.
    Churn(Churn),
    /// Clients that have joined and say nothing.
    Idle(Idle),
    /// Clients that have joined and send heartbeats.
    Heartbeats(Heartbeats),
    /// Events into a pipeline.
    Pipeline(Pipeline),
    /// Clients that are present, apart and on one topic.
    Presence(Presence),
    /// One user who floods a pipeline, and many who do not.
    Fairness(Fairness),
    /// What others do to the latency of clients that behave.
    Neighbours(Neighbours),
    /// Calls that wait.
    Waiting(Waiting),
    /// From the start of a process to its first join.
    Start(Start),
    /// Other versions of plugins.
    Exchanges(Exchanges),
    /// Clients of all kinds for a long time, and what is left of the server.
    Soak(Soak),
}

impl Workload {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        match self {
            Self::Echo(echo) => echo.run(server).await,
            Self::EchoRate(echo) => echo.run(server).await,
            Self::Fanout(fanout) => fanout.run(server).await,
            Self::FanoutRate(fanout) => fanout.run(server).await,
            Self::Churn(churn) => churn.run(server).await,
            Self::Idle(idle) => idle.run(server).await,
            Self::Heartbeats(heartbeats) => heartbeats.run(server).await,
            Self::Pipeline(pipeline) => pipeline.run(server).await,
            Self::Presence(presence) => presence.run(server).await,
            Self::Fairness(fairness) => fairness.run(server).await,
            Self::Neighbours(neighbours) => neighbours.run(server).await,
            Self::Waiting(waiting) => waiting.run(server).await,
            Self::Start(start) => start.run(server).await,
            Self::Exchanges(exchanges) => exchanges.run(server).await,
            Self::Soak(soak) => soak.run(server).await,
        }
    }
}

/// The result of one run of a workload.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The names of figures with their values, in the order of the table.
    pub figures: Vec<(&'static str, f64)>,
    /// The number of replies or messages that never came.
    pub lost: u64,
    /// The number of replies or messages that came again.
    pub duplicated: u64,
}

/// The time for which the load runs before it is measured; half of the measured time if that is
/// less.
const WARM_UP: Duration = Duration::from_secs(1);
/// The time after which something that is missing counts as lost.
const LOSS_TIMEOUT: Duration = Duration::from_secs(5);
/// The time to wait for messages that come twice.
const SETTLE: Duration = Duration::from_millis(200);
/// The handshakes that are made at the same time.
const CONNECTING: usize = 64;

/// A payload of about 100 bytes of JSON.
const PAYLOAD: &str = r#"{"body":"the quick brown fox jumps over the lazy dog","at":1234567890,"tags":["a","b","c"]}"#;

fn warm_up(measured: Duration) -> Duration {
    WARM_UP.min(measured / 2)
}

/// Joins `count` clients, each on the topic that `topic` returns.
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
        joining.spawn(Client::join(server.endpoint, number, topic(number)));
    }
    while let Some(client) = joining.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

/// Lets the clients run for some time. An error as soon as one of them fails; none of them ends
/// otherwise.
async fn run_for(time: Duration, clients: &mut JoinSet<Result<()>>) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(failed) = clients.join_next() => failed?,
    }
}
