//! Clients that are present: on topics of their own, and all on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{CONNECTING, Outcome};
use crate::client::Client;
use crate::meter::{Meter, micros_each};
use crate::protocol::Incoming;
use crate::server::Target;

/// Joins that track, beside joins that do not, and the members of one topic.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Presence {
    /// Clients on topics of their own, with and without presences.
    #[arg(long, default_value_t = 2_000)]
    pub apart: usize,
    /// Members of one topic.
    #[arg(long, default_value_t = 10_000)]
    pub members: usize,
    /// Members that come in a second.
    #[arg(long, default_value_t = 1_000)]
    pub rate: u32,
}

/// The topic that has a window in `tests/bench/presence`.
const CROWD: &str = "room:crowd";
/// The time after which all windows are over.
const REST: Duration = Duration::from_secs(2);

impl Presence {
    /// Opens the connections, and measures their joins.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let alone = self.joins(server, "alone", false).await?;
        let tracked = self.joins(server, "tracked", true).await?;
        let mut crowd = Crowd::default();
        let mut last = connect(server, 1, |_| CROWD.to_owned()).await?;
        let meter = Meter::start(server.pid)?;
        crowd.come(server, self.members, self.rate).await?;
        let spent = meter.stop()?;
        sleep(REST).await;
        let diffs = crowd.diffs.load(Ordering::Relaxed) as f64 / self.members as f64;
        let meter = Meter::start(server.pid)?;
        last.pop().context("no client")?.join_tracking("last").await?;
        sleep(REST).await;
        let one_more = meter.stop()?;
        drop(crowd);
        let members = self.members as u64;
        let figures = vec![
            ("server CPU, µs a join", alone),
            ("server CPU, µs a join that tracks", tracked),
            ("a join that tracks, to one that does not", tracked / alone),
            (
                "server CPU, µs each of those who connect and come to one topic",
                micros_each(spent.server, members),
            ),
            ("diffs each of them got, mean", diffs),
            ("server CPU, ms when one more comes", one_more.server.as_secs_f64() * 1e3),
        ];
        Ok(Outcome { figures, ..Outcome::default() })
    }

    /// The CPU time of a join on a topic of its own, in microseconds.
    async fn joins(&self, server: &Target, topic: &str, tracks: bool) -> Result<f64> {
        let clients = connect(server, self.apart, |n| format!("room:{topic}{n}")).await?;
        let meter = Meter::start(server.pid)?;
        let mut joined = Vec::with_capacity(clients.len());
        let mut joining = JoinSet::new();
        for mut client in clients {
            if joining.len() == CONNECTING {
                joined.extend(joining.join_next().await.transpose()?.transpose()?);
            }
            joining.spawn(async move {
                match tracks {
                    true => client.join_tracking("user").await?,
                    false => client.join_topic().await?,
                }
                anyhow::Ok(client)
            });
        }
        while let Some(client) = joining.join_next().await {
            joined.push(client??);
        }
        let spent = meter.stop()?;
        Ok(micros_each(spent.server, joined.len() as u64))
    }
}

/// The members of one topic.
#[derive(Default)]
struct Crowd {
    here: JoinSet<Result<()>>,
    /// The diffs that all have got.
    diffs: Arc<AtomicU64>,
}

impl Crowd {
    /// So many come, `rate` in a second, and listen from then on.
    async fn come(&mut self, server: &Target, members: usize, rate: u32) -> Result<()> {
        let begun = Instant::now();
        for number in 0..members {
            sleep_until(begun + Duration::from_secs(1) * u32::try_from(number)? / rate).await;
            let (endpoint, diffs) = (server.endpoint, Arc::clone(&self.diffs));
            self.here.spawn(async move {
                let mut client = Client::connect(endpoint, number, CROWD.to_owned()).await?;
                client.join_tracking(&format!("user{number}")).await?;
                listen(client, diffs).await
            });
        }
        Ok(())
    }
}

/// Reads until it is dropped.
async fn listen(mut client: Client, diffs: Arc<AtomicU64>) -> Result<()> {
    loop {
        client.read().await?;
        while let Some(incoming) = client.next()? {
            if matches!(incoming, Incoming::Message(payload) if payload.starts_with(r#"{"joins""#))
            {
                diffs.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn connect(
    server: &Target,
    count: usize,
    topic: impl Fn(usize) -> String,
) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    let mut connecting = JoinSet::new();
    for number in 0..count {
        if connecting.len() == CONNECTING {
            clients.extend(connecting.join_next().await.transpose()?.transpose()?);
        }
        connecting.spawn(Client::connect(server.endpoint, number, topic(number)));
    }
    while let Some(client) = connecting.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}
