//! Jobs of users in a pipeline of `tests/apps/jobs`. They are posted over HTTP, and each user's
//! channel gets a broadcast when one is done.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{LOSS_TIMEOUT, join_all};
use crate::client::Client;
use crate::http::Http;
use crate::latency::Latencies;
use crate::protocol::Incoming;
use crate::server::Target;

/// A connection that posts events for a pipeline.
#[derive(Debug)]
pub(super) struct Producer {
    http: Http,
    pipeline: &'static str,
}

/// A connection that asks for the totals of a pipeline.
#[derive(Debug)]
pub(super) struct Operator {
    http: Http,
    pipeline: &'static str,
}

/// The totals of a pipeline's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) done: u64,
    pub(super) waiting: u64,
}

/// The users by number, and their jobs.
#[derive(Debug)]
pub(super) struct Users(Mutex<Vec<User>>);

#[derive(Debug)]
pub(super) struct User {
    /// The scheduled times of the jobs that are not done yet.
    waiting: HashMap<u64, Instant>,
    pub(super) offered: u64,
    pub(super) waits: Latencies,
    pub(super) wait_sum: Duration,
    pub(super) duplicated: u64,
    /// The last job that was done.
    last: u64,
    /// Jobs that were done after a later one.
    disordered: u64,
}

/// The time between two checks whether a pipeline is empty.
const LOOK: Duration = Duration::from_millis(5);

impl Producer {
    pub(super) async fn connect(server: &Target, pipeline: &'static str) -> Result<Self> {
        Ok(Self { http: Http::connect(server.endpoint.address).await?, pipeline })
    }

    /// Posts events, one in each line, and returns how many were taken.
    pub(super) async fn post(&mut self, lines: &str) -> Result<u64> {
        let path = format!("/pipelines/{}/events", self.pipeline);
        let answer = self.http.post_lines(&path, lines).await?;
        ensure!(matches!(answer.status, 202 | 429), "the server refused: {}", answer.body);
        let result: Value = serde_json::from_str(&answer.body)?;
        result["accepted"].as_u64().with_context(|| format!("no `accepted` in {result}"))
    }
}

impl Operator {
    pub(super) async fn connect(server: &Target, pipeline: &'static str) -> Result<Self> {
        Ok(Self { http: Http::connect(server.admin().await?).await?, pipeline })
    }

    pub(super) async fn totals(&mut self) -> Result<Totals> {
        let answer = self.http.get(&format!("/pipelines/{}", self.pipeline)).await?;
        ensure!(answer.status == 200, "the server refused: {}", answer.body);
        let result: Value = serde_json::from_str(&answer.body)?;
        let of = |name: &str| {
            let total = result["totals"][name].as_u64();
            total.with_context(|| format!("no total {name:?} in {result}"))
        };
        let waiting = of("buffered")? + of("in_flight")?;
        Ok(Totals { accepted: of("accepted")?, done: of("done")?, waiting })
    }

    /// Waits until no event is buffered or in flight.
    pub(super) async fn settled(&mut self) -> Result<Totals> {
        let start = Instant::now();
        loop {
            let totals = self.totals().await?;
            if totals.waiting == 0 || start.elapsed() > LOSS_TIMEOUT * 4 {
                return Ok(totals);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Users {
    /// Makes `count` users; each gets a client that listens in `listening`.
    pub(super) async fn listen(
        server: &Target,
        count: usize,
        listening: &mut JoinSet<Result<()>>,
    ) -> Result<Arc<Self>> {
        let users: Result<Vec<User>> = (0..count).map(|_| User::new()).collect();
        let users = Arc::new(Self(Mutex::new(users?)));
        for client in join_all(server, count, |n| format!("user:{n}")).await? {
            listening.spawn(listen(client, Arc::clone(&users)));
        }
        Ok(users)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a user's next job as a line; `due` is its scheduled time.
    pub(super) fn job(&self, lines: &mut String, user: usize, work_ms: u64, due: Instant) {
        let mut users = self.lock();
        let Some(of) = users.get_mut(user) else { return };
        of.offered += 1;
        of.waiting.insert(of.offered, due);
        append(lines, &user.to_string(), of.offered, work_ms);
    }

    /// Notes that the last job of a user was not taken.
    pub(super) fn refused(&self, user: usize) {
        if let Some(user) = self.lock().get_mut(user) {
            user.waiting.remove(&user.offered);
        }
    }

    /// The number of jobs that were taken and are not done.
    pub(super) fn waiting(&self) -> u64 {
        self.lock().iter().map(|user| user.waiting.len() as u64).sum()
    }

    /// Waits until all jobs are done, or [`LOSS_TIMEOUT`] is over.
    pub(super) async fn served(&self) {
        let start = Instant::now();
        while self.waiting() > 0 && start.elapsed() < LOSS_TIMEOUT {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Forgets the waits so far.
    pub(super) fn reset(&self) -> Result<()> {
        for user in self.lock().iter_mut() {
            user.waits = Latencies::new()?;
        }
        Ok(())
    }

    /// The waits of all users.
    pub(super) fn waits(&self) -> Result<Latencies> {
        let mut waits = Latencies::new()?;
        self.lock().iter().try_for_each(|user| waits.add(&user.waits))?;
        Ok(waits)
    }

    /// The number of jobs that came again, and of those that were out of their user's order.
    pub(super) fn faults(&self) -> (u64, u64) {
        let users = self.lock();
        let all = |fault: fn(&User) -> u64| users.iter().map(fault).sum();
        (all(|user| user.duplicated), all(|user| user.disordered))
    }

    fn done(&self, payload: &str, now: Instant) -> Result<()> {
        let job: Value = serde_json::from_str(payload)?;
        let number = job["user"].as_str().and_then(|user| user.parse::<usize>().ok());
        let mut users = self.lock();
        let user = number.and_then(|number| users.get_mut(number));
        let Some((user, seq)) = user.zip(job["seq"].as_u64()) else {
            bail!("a job of a user was expected, found {payload}");
        };
        let Some(due) = user.waiting.remove(&seq) else {
            user.duplicated += 1;
            return Ok(());
        };
        user.disordered += u64::from(seq < user.last);
        user.last = user.last.max(seq);
        let wait = now.saturating_duration_since(due);
        user.waits.record(wait);
        user.wait_sum += wait;
        Ok(())
    }
}

impl User {
    fn new() -> Result<Self> {
        Ok(Self {
            waiting: HashMap::new(),
            offered: 0,
            waits: Latencies::new()?,
            wait_sum: Duration::ZERO,
            duplicated: 0,
            last: 0,
            disordered: 0,
        })
    }
}

/// Appends a job as a line.
pub(super) fn append(lines: &mut String, user: &str, seq: u64, work_ms: u64) {
    // Writing to a string cannot fail.
    let _ = writeln!(lines, r#"{{"user":"{user}","seq":{seq},"work_ms":{work_ms}}}"#);
}

/// Counts the jobs that are done, until it is dropped.
async fn listen(mut client: Client, users: Arc<Users>) -> Result<()> {
    loop {
        client.read().await?;
        let now = Instant::now();
        while let Some(incoming) = client.next()? {
            let Incoming::Message(payload) = incoming else {
                bail!("a job was expected, found {incoming:?}");
            };
            users.done(payload, now)?;
        }
    }
}
