//! Clients that behave, besides those that stay and ping: clients that come and go, and jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::books::Reader;
use crate::client::Client;
use crate::http::Http;
use crate::protocol::Incoming;
use crate::server::{Endpoint, Target};

/// The progress of one kind of client.
#[derive(Debug, Default)]
struct Done {
    count: AtomicU64,
    paused: AtomicBool,
    stopped: AtomicBool,
}

/// Clients that connect, join, ping, leave and close. Each step has to be answered.
#[derive(Clone, Debug)]
pub(super) struct VisitingClients(Arc<Done>);

impl VisitingClients {
    pub(super) const AT_ONCE: usize = 4;
    const PAUSE: Duration = Duration::from_millis(20);
    /// The first number of their addresses, apart from those of the clients that stay.
    const FROM: usize = 10_000;

    pub(super) fn start(server: &Target, honest: &mut JoinSet<Result<()>>) -> Self {
        let comings = Self(Arc::default());
        for number in 0..Self::AT_ONCE {
            let coming = comings.clone().come_and_go(server.endpoint, number);
            honest.spawn(async { coming.await.context("a client that comes and goes") });
        }
        comings
    }

    async fn come_and_go(self, server: Endpoint, number: usize) -> Result<()> {
        while !self.0.stopped.load(Ordering::Relaxed) {
            if self.0.paused.load(Ordering::Relaxed) {
                tokio::time::sleep(Self::PAUSE).await;
                continue;
            }
            let turn = self.0.count.fetch_add(1, Ordering::Relaxed);
            let topic = format!("room:come{number}");
            let place = Self::FROM + usize::try_from(turn % 5_000)?;
            let mut client = Client::join(server, place, topic).await?;
            client.push(7, "ping", "{}");
            client.flush().await?;
            loop {
                client.read().await?;
                if let Some(incoming) = client.next()? {
                    ensure!(incoming == Incoming::Reply(7), "a reply was expected: {incoming:?}");
                    break;
                }
            }
            client.leave_topic().await?;
            drop(client);
            tokio::time::sleep(Self::PAUSE).await;
        }
        std::future::pending().await
    }

    /// Stops new clients for a while, so that the others can be counted.
    pub(super) fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// Jobs over HTTP, ten at once.
#[derive(Clone, Debug)]
pub(super) struct Jobs(Arc<Done>);

impl Jobs {
    const PAUSE: Duration = Duration::from_millis(50);
    /// The time within which an accepted job is done.
    const TIMEOUT: Duration = Duration::from_secs(30);

    pub(super) async fn start(server: &Target, honest: &mut JoinSet<Result<()>>) -> Result<Self> {
        let jobs = Self(Arc::default());
        let http = Http::connect(server.endpoint.address).await?;
        let posting = jobs.clone().post(http);
        honest.spawn(async { posting.await.context("jobs over HTTP") });
        Ok(jobs)
    }

    async fn post(self, mut http: Http) -> Result<()> {
        for seq in 0_u64.. {
            if self.0.stopped.load(Ordering::Relaxed) {
                break;
            }
            let job = |n: u64| format!("{{\"user\":\"u{n}\",\"seq\":{seq}}}\n");
            let lines: String = (0..10).map(job).collect();
            let answer = http.post_lines("/pipelines/jobs/events", &lines).await?;
            ensure!(answer.status == 202, "jobs were refused: {answer:?}");
            let result: Value = serde_json::from_str(&answer.body)?;
            let accepted = result["accepted"].as_u64().unwrap_or_default();
            self.0.count.fetch_add(accepted, Ordering::Relaxed);
            tokio::time::sleep(Self::PAUSE).await;
        }
        std::future::pending().await
    }

    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// The problem, unless the pipeline has done all jobs that it has accepted.
    pub(super) async fn problems(&self, reader: &Reader) -> Result<Option<String>> {
        let start = Instant::now();
        loop {
            let (accepted, books) = (self.accepted(), reader.read().await?);
            if (books.accepted, books.done) == (accepted, accepted) {
                return Ok(None);
            }
            if start.elapsed() > Self::TIMEOUT {
                return Ok(Some(format!(
                    "{accepted} jobs were accepted, the pipeline says {} and {} done",
                    books.accepted, books.done
                )));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
