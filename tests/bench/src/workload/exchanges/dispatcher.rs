//! Exchanges of a pipeline's dispatcher.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::Exchanges;
use super::operator::{Operator, numbered};
use crate::latency::Latencies;
use crate::pace::Pace;
use crate::server::Target;
use crate::workload::jobs::{self, Producer, Users, append};
use crate::workload::{Outcome, SETTLE, run_for};

const PIPELINE: &str = "jobs";
/// The time that a job takes in the worker, in milliseconds.
const WORK_MS: u64 = 5;
/// The jobs by which the capacity is measured, and their users.
const TRIAL: u64 = 2_000;
const TRIAL_USERS: u64 = 100;
/// The users whose jobs have to stay in order.
const USERS: usize = 100;
/// The load, as a part of the capacity.
const LOAD: f64 = 0.5;

impl Exchanges {
    pub(super) async fn dispatcher(self, server: &Target) -> Result<Outcome> {
        let operator = Operator::of(server).await?;
        let dispatch = operator.built("bench/exchanges", "dispatch").await?;
        let mut producer = Producer::connect(server, PIPELINE).await?;
        let mut looking = jobs::Operator::connect(server, PIPELINE).await?;
        let capacity = capacity(&mut producer, &mut looking).await?;
        let mut lines = String::new();
        let mut listening = JoinSet::new();
        let users = Users::listen(server, USERS, &mut listening).await?;
        let mut pace = Pace::new(capacity * LOAD)?;
        let mut waits = Vec::new();
        let mut offered = 0;
        for exchanging in [false, true, false] {
            users.reset()?;
            let swapping = async {
                match exchanging {
                    false => tokio::time::sleep(Duration::try_from_secs_f64(self.seconds)?).await,
                    true => {
                        for number in 0..self.exchanges {
                            let version = numbered(&dispatch, number)?;
                            let result = operator.swap("dispatch", &version, "").await?;
                            ensure!(result.outcome == "live", "it ended as {}", result.outcome);
                        }
                    }
                }
                anyhow::Ok(())
            };
            let mut swapping = std::pin::pin!(swapping);
            loop {
                let due = tokio::select! {
                    done = &mut swapping => break done?,
                    due = pace.next() => due?.1,
                };
                let user = offered % USERS;
                offered += 1;
                lines.clear();
                users.job(&mut lines, user, WORK_MS, due);
                if producer.post(&lines).await? == 0 {
                    users.refused(user);
                }
            }
            waits.push(users.waits()?);
        }
        users.served().await;
        run_for(SETTLE, &mut listening).await?;
        let totals = looking.settled().await?;
        let [mut without, during, after] = <[Latencies; 3]>::try_from(waits)
            .map_err(|waits| anyhow::anyhow!("{} turns", waits.len()))?;
        without.add(&after)?;
        let (duplicated, disordered) = users.faults();
        let figures = vec![
            ("exchanges", self.exchanges as f64),
            ("capacity, jobs a second", capacity),
            ("jobs accepted", totals.accepted as f64),
            ("jobs done", totals.done as f64),
            ("jobs out of their user's order", disordered as f64),
            ("p50 without, ms", without.at(0.5) / 1e3),
            ("p50 during, ms", during.at(0.5) / 1e3),
            ("p99 without, ms", without.at(0.99) / 1e3),
            ("p99 during, ms", during.at(0.99) / 1e3),
            ("p99 during / without", during.at(0.99) / without.at(0.99)),
        ];
        let lost = users.waiting().max(totals.accepted - totals.done);
        Ok(Outcome { figures, lost: lost + disordered, duplicated })
    }
}

/// The jobs per second that the workers can do.
async fn capacity(producer: &mut Producer, looking: &mut jobs::Operator) -> Result<f64> {
    let mut lines = String::new();
    for seq in 1..=TRIAL {
        append(&mut lines, &format!("trial{}", seq % TRIAL_USERS), seq, WORK_MS);
    }
    let start = Instant::now();
    let accepted = producer.post(&lines).await?;
    looking.settled().await?;
    Ok(accepted as f64 / start.elapsed().as_secs_f64())
}
