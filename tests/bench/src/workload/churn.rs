//! Clients that come and go.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::{CONNECTING, LOSS_TIMEOUT, Outcome};
use crate::client::Client;
use crate::meter::{Meter, Spent, micros_each, per_second};
use crate::server::Target;

/// Clients that connect, join, leave and go, in groups: all of a group do one
/// step before the next, so that each step's cost is told apart.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Churn {
    /// Clients of a group.
    #[arg(long, default_value_t = 500)]
    pub connections: usize,
    /// For how long groups come and go.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// The cost of a step so far.
#[derive(Debug, Default)]
struct Step {
    time: Duration,
    server: Duration,
    client: Duration,
}

/// The time within which the server notices that a group has gone.
const GOING: Duration = Duration::from_millis(50);
/// The number of clients after which source addresses are used again: a closed connection blocks
/// its port for a minute.
const NUMBERS: usize = 200_000;

impl Churn {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let wanted = Duration::try_from_secs_f64(self.seconds)?;
        // One group comes first, so that what all clients share is there already.
        self.group(server, 0, &mut <[Step; 4]>::default()).await?;
        let (mut steps, mut groups) = (<[Step; 4]>::default(), 0);
        while steps.iter().map(|step| step.time).sum::<Duration>() < wanted {
            groups += 1;
            self.group(server, groups, &mut steps).await?;
        }
        let [connect, join, leave, close] = &steps;
        let count = (groups * self.connections) as u64;
        let server: Duration = steps.iter().map(|step| step.server).sum();
        let client: Duration = steps.iter().map(|step| step.client).sum();
        // The time of leaving the server is left out, as most of it is the wait above.
        let time = connect.time + join.time + leave.time;
        let figures = vec![
            ("server CPU, µs a connect", micros_each(connect.server, count)),
            ("server CPU, µs a join", micros_each(join.server, count)),
            ("server CPU, µs a leave", micros_each(leave.server, count)),
            ("server CPU, µs a close", micros_each(close.server, count)),
            ("server CPU, µs in all", micros_each(server, count)),
            ("client CPU, µs in all", micros_each(client, count)),
            ("connects, joins and leaves a second", per_second(count, time)),
        ];
        Ok(Outcome { figures, ..Outcome::default() })
    }

    async fn group(self, server: &Target, group: usize, steps: &mut [Step; 4]) -> Result<()> {
        let [connect, join, leave, close] = steps;
        let meter = Meter::start(server.pid)?;
        let numbers = (0..self.connections).map(|n| group * self.connections + n);
        let connecting = numbers.map(|n| async move {
            let client = Client::connect(server.endpoint, n % NUMBERS, format!("room:{n}"));
            timeout(LOSS_TIMEOUT, client).await.context("a connect was never answered")?
        });
        let clients = all(connecting).await?;
        connect.add(meter.stop()?);
        let meter = Meter::start(server.pid)?;
        let joining = clients.into_iter().map(|mut client| async move {
            let joined = timeout(LOSS_TIMEOUT, client.join_topic()).await;
            joined.context("a join was never answered")?.map(|()| client)
        });
        let clients = all(joining).await?;
        join.add(meter.stop()?);
        let meter = Meter::start(server.pid)?;
        let leaving = clients.into_iter().map(|mut client| async move {
            let left = timeout(LOSS_TIMEOUT, client.leave_topic()).await;
            left.context("a leave was never answered")?.map(|()| client)
        });
        let clients = all(leaving).await?;
        leave.add(meter.stop()?);
        let meter = Meter::start(server.pid)?;
        drop(clients);
        tokio::time::sleep(GOING).await;
        close.add(meter.stop()?);
        Ok(())
    }
}

/// Runs the steps of all clients, some at a time.
async fn all(
    steps: impl Iterator<Item = impl Future<Output = Result<Client>>>,
) -> Result<Vec<Client>> {
    stream::iter(steps).buffer_unordered(CONNECTING).try_collect().await
}

impl Step {
    fn add(&mut self, spent: Spent) {
        self.time += spent.time;
        self.server += spent.server;
        self.client += spent.client;
    }
}
