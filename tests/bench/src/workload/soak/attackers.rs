//! Attackers. Each repeats its attack until it is dropped, whatever the server answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::raw;
use crate::client::Client;
use crate::server::Endpoint;

/// The number of attacks so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts(Arc<AtomicU64>);

impl Attempts {
    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One kind of attack.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attack {
    /// Sends to a client that does not read.
    Stall,
    /// Begins messages and never finishes them.
    Unfinished,
    /// Sends WebSocket pings as fast as possible.
    Pings,
    /// Sends large messages, some of them too large.
    Large,
    /// Sends messages that are not valid.
    Malformed,
    /// Sends handshakes that are refused.
    Refused,
    /// Begins requests and never finishes them.
    HalfOpen,
    /// Starts tasks that wait, and does not read their answers.
    Tasks,
    /// Computes until the fuel is used up.
    Burn,
    /// Holds memory for a while.
    Hoard,
    /// Causes faults, each on a new connection.
    Crash,
    /// Joins many topics, and joins them again.
    Joins,
    /// Leaves timers and subscriptions behind.
    Timers,
}

impl Attack {
    pub(super) const ALL: [Self; 13] = [
        Self::Stall,
        Self::Unfinished,
        Self::Pings,
        Self::Large,
        Self::Malformed,
        Self::Refused,
        Self::HalfOpen,
        Self::Tasks,
        Self::Burn,
        Self::Hoard,
        Self::Crash,
        Self::Joins,
        Self::Timers,
    ];
    /// The time between two attacks: there have to be many, but the others need a core.
    const PAUSE: Duration = Duration::from_millis(50);
    /// The most time of one attack.
    const LONGEST: Duration = Duration::from_secs(5);

    pub(super) async fn go_on(self, server: Endpoint, place: usize, attempts: Attempts) {
        loop {
            attempts.0.fetch_add(1, Ordering::Relaxed);
            // The server may close or refuse the connection.
            let _ = tokio::time::timeout(Self::LONGEST, self.attack(server, place)).await;
            tokio::time::sleep(Self::PAUSE).await;
        }
    }

    async fn attack(self, server: Endpoint, place: usize) -> Result<()> {
        match self {
            Self::Stall => stall(server, place).await,
            Self::Unfinished => raw::unfinished(server, place).await,
            Self::Pings => raw::pings(server, place).await,
            Self::Large => raw::large(server, place).await,
            Self::Malformed => raw::malformed(server, place).await,
            Self::Refused => raw::refused(server).await,
            Self::HalfOpen => raw::half_open(server).await,
            Self::Tasks => say(server, place, "task", r#"{"text":"sleep","ms":2000}"#, 100).await,
            Self::Burn => say(server, place, "burn", r#"{"n":100000000}"#, 4).await,
            Self::Hoard => say(server, place, "hold", r#"{"bytes":8000000,"ms":500}"#, 4).await,
            Self::Crash => say(server, place, "crash", "{}", 2).await,
            Self::Joins => joins(server, place).await,
            Self::Timers => {
                let timers = r#"{"n":100,"ms":1000,"topic":"hostile:all"}"#;
                say(server, place, "timers", timers, 4).await?;
                say(server, place, "subscribe", timers, 4).await
            }
        }
    }
}

/// Joins its own topic, sends the same event `times` times, reads one reply, and disconnects.
async fn say(server: Endpoint, place: usize, event: &str, payload: &str, times: u64) -> Result<()> {
    let mut client = Client::connect(server, place, format!("hostile:{place}")).await?;
    client.rejoin();
    (0..times).for_each(|number| client.push(10 + number, event, payload));
    client.flush().await?;
    // The reply of the join, and one more.
    for _ in 0..2 {
        client.read().await?;
        client.discard();
    }
    Ok(())
}

/// Sends to a topic on which another client does not read.
async fn stall(server: Endpoint, place: usize) -> Result<()> {
    let topic = format!("hostile:stall{place}");
    let mut deaf = Client::connect(server, place, topic.clone()).await?;
    deaf.rejoin();
    deaf.flush().await?;
    let mut loud = Client::connect(server, place, topic).await?;
    loud.rejoin();
    for number in 0..40 {
        loud.push(10 + number, "shout", r#"{"n":20,"bytes":4000}"#);
        loud.flush().await?;
        loud.read().await?;
        loud.discard();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(deaf);
    Ok(())
}

/// Joins more topics than a connection may have, each of them twice.
async fn joins(server: Endpoint, place: usize) -> Result<()> {
    for number in 0..30 {
        let mut client =
            Client::connect(server, place, format!("hostile:{place}:{number}")).await?;
        for _ in 0..20 {
            client.rejoin();
        }
        client.flush().await?;
        client.read().await?;
    }
    Ok(())
}
