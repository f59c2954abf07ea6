//! A server among clients of all kinds for a long time, and its resources before and after.
//!
//! ```text
//! honest     pings and broadcasts that are all counted, clients that come and go, jobs
//! attackers  clients that do what they can to hurt
//! raw        attackers that do not speak the protocol
//! books      the resources of the server: memory, descriptors, threads, its own gauges
//! ```

mod attackers;
mod books;
mod honest;
mod raw;

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use self::attackers::Attack;
use self::books::{Books, Reader};
use self::honest::{Jobs, VisitingClients};
use super::exchanges::{Exchanges, Of, Operator, Seen, numbered};
use super::{Outcome, run_for};
use crate::server::Target;

/// Clients that behave beside attackers of every kind, while versions of their plugin are
/// exchanged. What the server has is compared before and after, when those who attack
/// have gone: descriptors, threads and gauges have to be what they were, memory within
/// a margin; no message of those who behave may be lost, doubled or refused.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Soak {
    /// How long the attackers stay.
    #[arg(long, default_value_t = 1800)]
    pub seconds: u64,
    /// Clients that ping.
    #[arg(long, default_value_t = 200)]
    pub clients: usize,
    /// The number of attackers of each kind.
    #[arg(long, default_value_t = 2)]
    pub attackers: usize,
    /// Seconds between two exchanges of the honest clients' plugin.
    #[arg(long, default_value_t = 15)]
    pub exchange_every: u64,
    /// By how much memory may have grown.
    #[arg(long, default_value_t = 64)]
    pub margin_mb: u64,
}

/// The time in which pools and caches are filled, among attackers too.
const WARM_UP: Duration = Duration::from_secs(15);
/// The exchanges before the measurement. The version before the live one is kept, and memory of
/// earlier ones stays mapped until its place is needed: after some thirty exchanges all places are
/// in use.
const WARM_EXCHANGES: usize = 40;
/// The time within which the resources have to be what they were.
const SETTLE: Duration = Duration::from_secs(90);
const PINGS_PER_SECOND: f64 = 1000.0;
const BROADCASTS_PER_SECOND: f64 = 10.0;
const TOPICS: usize = 20;
/// The first number of the attackers' addresses; see [`Client`](crate::client::Client).
const ATTACKERS_FROM: usize = 20_000;

impl Soak {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let operator = Operator::of(server).await?;
        let next = operator.built("apps/probe", "probe").await?;
        let mut honest = JoinSet::new();
        let seen = Seen::start(server, self.load(), false, &mut honest).await?;
        let comings = VisitingClients::start(server, &mut honest);
        let jobs = Jobs::start(server, &mut honest).await?;
        let reader = Reader::new(server, self.clients).await?;

        let (started, exchanges) = (Instant::now(), Cell::new(0));
        for _ in 0..WARM_EXCHANGES {
            exchange(&operator, &next, &exchanges).await?;
        }
        self.attack(server, &mut honest, WARM_UP).await?;
        comings.pause(true);
        let before = reader.settled(SETTLE, &mut honest, None).await?;
        comings.pause(false);
        let time = Duration::from_secs(self.seconds);
        let attacks = tokio::select! {
            failed = self.exchange(&operator, &next, &exchanges) => return Err(failed),
            attacks = self.attack(server, &mut honest, time) => attacks?,
        };
        comings.pause(true);
        let margin = self.margin_mb * 1_000_000;
        let after = reader.settled(SETTLE, &mut honest, Some((&before, margin))).await?;
        comings.stop();
        jobs.stop();
        let lost = seen.stop(&mut honest).await?;
        let mut problems = after.problems(&before, margin);
        problems.extend(jobs.problems(&reader).await?);
        let tally = seen.lock();
        let mut figures = vec![
            ("seconds", started.elapsed().as_secs_f64()),
            ("pings answered", tally.answered as f64),
            ("copies of broadcasts delivered", tally.copies as f64),
            ("clients that came and went", comings.count() as f64),
            ("jobs accepted and done", jobs.accepted() as f64),
            ("exchanges", exchanges.get() as f64),
            ("attacks", attacks as f64),
            ("ping p99, ms", tally.latencies.at(0.99) / 1e3),
            ("ping longest, ms", tally.latencies.at(1.0) / 1e3),
        ];
        figures.extend(Books::figures(&before, &after));
        if !problems.is_empty() {
            for (name, value) in &figures {
                eprintln!("{name:40} {value:.1}");
            }
            bail!("the server is not what it was: {}", problems.join("; "));
        }
        Ok(Outcome { figures, lost, duplicated: tally.duplicated })
    }

    fn load(self) -> Exchanges {
        Exchanges {
            of: Of::Handler,
            clients: self.clients,
            topics: TOPICS,
            pings_per_second: PINGS_PER_SECOND,
            broadcasts_per_second: BROADCASTS_PER_SECOND,
            exchanges: 0,
            seconds: 0.0,
        }
    }

    /// Runs the attackers for some time, and returns the number of attacks.
    async fn attack(
        self,
        server: &Target,
        honest: &mut JoinSet<Result<()>>,
        time: Duration,
    ) -> Result<u64> {
        let attempts = attackers::Attempts::default();
        let mut attacking = JoinSet::new();
        for (kind, attack) in Attack::ALL.iter().enumerate() {
            for number in 0..self.attackers {
                let place = ATTACKERS_FROM + kind * self.attackers + number;
                attacking.spawn(attack.go_on(server.endpoint, place, attempts.clone()));
            }
        }
        run_for(time, honest).await?;
        // Attacks that are under way are broken off.
        attacking.shutdown().await;
        Ok(attempts.total())
    }

    /// Exchanges the plugin of the honest clients again and again. Returns only with the error of
    /// an exchange that failed.
    async fn exchange(self, operator: &Operator, next: &[u8], done: &Cell<usize>) -> anyhow::Error {
        loop {
            tokio::time::sleep(Duration::from_secs(self.exchange_every)).await;
            if let Err(error) = exchange(operator, next, done).await {
                return error;
            }
        }
    }
}

/// Exchanges the plugin for a version that differs only in its hash.
async fn exchange(operator: &Operator, next: &[u8], done: &Cell<usize>) -> Result<()> {
    let version = numbered(next, done.get())?;
    let result = operator.swap("probe", &version, "").await.context("an exchange failed")?;
    ensure!(result.outcome == "live", "an exchange ended as {}", result.outcome);
    done.set(done.get() + 1);
    Ok(())
}
