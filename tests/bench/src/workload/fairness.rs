//! One user who floods a pipeline, and many who do not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use tokio::task::JoinSet;

use super::jobs::{Operator, Producer, Users, append};
use super::{Outcome, SETTLE, run_for};
use crate::latency::Latencies;
use crate::pace::Pace;
use crate::server::Target;

/// Jobs of quiet users at a rate, first alone and then beside one user who has a
/// thousand times as many as each of them; together twice what the workers can
/// do, which is measured first. Waits count from when a job was due until its
/// user hears that it is done.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Fairness {
    /// Who decides whose job is next.
    #[arg(long, value_enum, default_value = "fair")]
    pub policy: Policy,
    /// Users who do not flood.
    #[arg(long, default_value_t = 99)]
    pub quiet: usize,
    /// How long to measure alone, and again beside the flood.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
}

/// A pipeline of the app `tests/bench/fairness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// First come, first served.
    Demand,
    /// Each key gets its turn.
    Fair,
}

/// The time that a job takes in the worker, in milliseconds.
const WORK_MS: u64 = 10;
/// The jobs of the flood for each job of a quiet user.
const FLOOD: f64 = 1000.0;
/// The offered jobs, as a multiple of the capacity.
const OVERLOAD: f64 = 2.0;
/// The jobs by which the capacity is measured.
const TRIAL: u64 = 500;
/// The jobs in one post of the flood.
const BATCH: u64 = 20;

impl Policy {
    fn pipeline(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Fair => "fair",
        }
    }
}

/// The results of the quiet users' jobs.
struct Served {
    waits: Latencies,
    /// The share of each user's jobs that were done.
    shares: Vec<f64>,
    /// The mean wait of each user, in seconds.
    means: Vec<f64>,
    lost: u64,
    duplicated: u64,
}

impl Fairness {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let capacity = self.capacity(server).await?;
        let each = capacity * OVERLOAD / (self.quiet as f64 + FLOOD);
        let alone = self.serve(server, each).await?;
        let mut flooding = JoinSet::new();
        flooding.spawn(flood(Producer::connect(server, self.policy.pipeline()).await?, each));
        // By then, the flood has filled its share of the buffer.
        run_for(Duration::try_from_secs_f64(self.seconds / 4.0)?, &mut flooding).await?;
        let beside = tokio::select! {
            served = self.serve(server, each) => served?,
            Some(failed) = flooding.join_next() => {
                failed??;
                anyhow::bail!("the flood has ended");
            }
        };
        flooding.shutdown().await;
        let totals = Operator::connect(server, self.policy.pipeline()).await?.settled().await?;
        let millis = |latencies: &Latencies, quantile| latencies.at(quantile) / 1e3;
        let (p99_alone, p99_beside) = (millis(&alone.waits, 0.99), millis(&beside.waits, 0.99));
        let figures = vec![
            ("capacity, jobs a second", capacity),
            ("served / offered", beside.shares.iter().sum::<f64>() / beside.shares.len() as f64),
            ("Jain's index of served / offered", jain(&beside.shares)),
            ("Jain's index of mean waits", jain(&beside.means)),
            ("p50 without flood, ms", millis(&alone.waits, 0.5)),
            ("p50 with flood, ms", millis(&beside.waits, 0.5)),
            ("p99 without flood, ms", p99_alone),
            ("p99 with flood, ms", p99_beside),
            ("p99 with / without", p99_beside / p99_alone),
        ];
        let lost = (alone.lost + beside.lost).max(totals.accepted - totals.done);
        Ok(Outcome { figures, lost, duplicated: alone.duplicated + beside.duplicated })
    }

    /// The jobs per second that the workers can do.
    async fn capacity(self, server: &Target) -> Result<f64> {
        let mut producer = Producer::connect(server, self.policy.pipeline()).await?;
        let mut operator = Operator::connect(server, self.policy.pipeline()).await?;
        let mut lines = String::new();
        (1..=TRIAL).for_each(|seq| append(&mut lines, "trial", seq, WORK_MS));
        let start = Instant::now();
        let accepted = producer.post(&lines).await?;
        operator.settled().await?;
        Ok(accepted as f64 / start.elapsed().as_secs_f64())
    }

    /// Runs the quiet users' jobs, `each` per second for each user.
    async fn serve(self, server: &Target, each: f64) -> Result<Served> {
        let mut listening = JoinSet::new();
        let users = Users::listen(server, self.quiet, &mut listening).await?;
        let mut producer = Producer::connect(server, self.policy.pipeline()).await?;
        let end = Instant::now() + Duration::try_from_secs_f64(self.seconds)?;
        let (mut pace, mut lines) = (Pace::new(each * self.quiet as f64)?, String::new());
        for user in (0..self.quiet).cycle() {
            let (_, due) = pace.next().await?;
            if due >= end {
                break;
            }
            lines.clear();
            users.job(&mut lines, user, WORK_MS, due);
            if producer.post(&lines).await? == 0 {
                users.refused(user);
            }
        }
        users.served().await;
        run_for(SETTLE, &mut listening).await?;
        served(&users)
    }
}

/// Posts the flood until it is dropped. Jobs that are refused are not posted again.
async fn flood(mut producer: Producer, each: f64) -> Result<()> {
    let (mut pace, mut lines) = (Pace::new(each * FLOOD / BATCH as f64)?, String::new());
    loop {
        let (number, _) = pace.next().await?;
        lines.clear();
        (0..BATCH).for_each(|seq| append(&mut lines, "flood", number * BATCH + seq, WORK_MS));
        producer.post(&lines).await?;
    }
}

fn served(users: &Arc<Users>) -> Result<Served> {
    let mut waits = Latencies::new()?;
    let (mut shares, mut means, mut duplicated) = (Vec::new(), Vec::new(), 0);
    let lost = users.waiting();
    for user in users.lock().iter().filter(|user| user.offered > 0) {
        let count = user.waits.count();
        waits.add(&user.waits)?;
        shares.push(count as f64 / user.offered as f64);
        means.push(user.wait_sum.as_secs_f64() / count.max(1) as f64);
        duplicated += user.duplicated;
    }
    Ok(Served { waits, shares, means, lost, duplicated })
}

/// Jain's index: 1 when all have the same, 1/n when one has everything.
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_between_one_for_all_and_one_for_one() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
        assert!((jain(&[1.0, 3.0]) - 0.8).abs() < 1e-9);
    }
}
