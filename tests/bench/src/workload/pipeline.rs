//! Events for a pipeline, over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::jobs::{Operator, Producer, Users, append};
use super::{Outcome, SETTLE, run_for, warm_up};
use crate::latency::Latencies;
use crate::meter::{Meter, micros_each, per_second};
use crate::pace::Pace;
use crate::server::Target;

/// Events over HTTP, in lines of JSON, to a worker that does next to nothing or
/// broadcasts each: one after the other on each connection, or at a rate.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Pipeline {
    /// Who works on the events.
    #[arg(long, value_enum, default_value = "trivial")]
    pub worker: Worker,
    /// Connections that post.
    #[arg(long, default_value_t = 4)]
    pub producers: usize,
    /// Events of each post.
    #[arg(long, default_value_t = 100)]
    pub batch: u64,
    /// Events a second; without it as many as the server takes.
    #[arg(long)]
    pub rate: Option<f64>,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// A pipeline of the app `tests/bench/pipeline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Worker {
    /// Looks at the first byte. Batches of 500.
    Trivial,
    /// Reads the event and broadcasts it to its user. Batches of 50.
    Jobs,
}

/// The number of users that the events of `jobs` have.
const USERS: usize = 10;

impl Pipeline {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let time = Duration::try_from_secs_f64(self.seconds)?;
        let (mut listening, mut running) = (JoinSet::new(), JoinSet::new());
        let count = if self.worker == Worker::Jobs { USERS } else { 0 };
        let users = Users::listen(server, count, &mut listening).await?;
        let due = Arc::new(Mutex::new(self.schedule(&mut running)?));
        for _ in 0..self.producers {
            let producer = Producer::connect(server, self.pipeline()).await?;
            running.spawn(self.produce(producer, Arc::clone(&due), Arc::clone(&users)));
        }
        let mut operator = Operator::connect(server, self.pipeline()).await?;
        run_for(warm_up(time), &mut running).await?;
        let (meter, before) = (Meter::start(server.pid)?, operator.totals().await?);
        run_for(time, &mut running).await?;
        let (spent, after) = (meter.stop()?, operator.totals().await?);
        // The producers end after the post that they have begun.
        due.lock().await.close();
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        let totals = operator.settled().await?;
        users.served().await;
        run_for(SETTLE, &mut listening).await?;
        let done = after.done - before.done;
        let mut figures = vec![
            ("server CPU, µs an event", micros_each(spent.server, done)),
            ("client CPU, µs an event", micros_each(spent.client, done)),
            ("events a second", per_second(done, spent.time)),
        ];
        let (mut waits, mut duplicated) = (Latencies::new()?, 0);
        for user in users.lock().iter() {
            waits.add(&user.waits)?;
            duplicated += user.duplicated;
        }
        if waits.count() > 0 {
            figures.extend(waits.figures());
        }
        let lost = (totals.accepted - totals.done).max(users.waiting());
        Ok(Outcome { figures, lost, duplicated })
    }

    fn pipeline(self) -> &'static str {
        match self.worker {
            Worker::Trivial => "trivial",
            Worker::Jobs => "jobs",
        }
    }

    /// The times of posts: at a rate, or as soon as a producer is free.
    fn schedule(self, running: &mut JoinSet<Result<()>>) -> Result<mpsc::Receiver<Instant>> {
        let (sender, due) = mpsc::channel(1);
        let mut pace = self.rate.map(|rate| Pace::new(rate / self.batch as f64)).transpose()?;
        running.spawn(async move {
            loop {
                let due = match &mut pace {
                    Some(pace) => pace.next().await?.1,
                    // The producer that takes it sets the time.
                    None => Instant::now(),
                };
                if sender.send(due).await.is_err() {
                    return Ok(());
                }
            }
        });
        Ok(due)
    }

    async fn produce(
        self,
        mut producer: Producer,
        schedule: Arc<Mutex<mpsc::Receiver<Instant>>>,
        users: Arc<Users>,
    ) -> Result<()> {
        let (mut lines, mut seq) = (String::new(), 0usize);
        loop {
            let due = schedule.lock().await.recv().await;
            let Some(due) = due else { return Ok(()) };
            let due = if self.rate.is_some() { due } else { Instant::now() };
            lines.clear();
            for _ in 0..self.batch {
                seq += 1;
                match self.worker {
                    Worker::Trivial => append(&mut lines, "nobody", seq as u64, 0),
                    Worker::Jobs => users.job(&mut lines, seq % USERS, 0, due),
                }
            }
            let accepted = producer.post(&lines).await?;
            anyhow::ensure!(accepted == self.batch, "the server refused events");
        }
    }
}
