//! Those who do what they can. Each does it again and again, whatever the server answers,
//! until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::raw;
use crate::client::Client;
use crate::server::Endpoint;

/// Attacks so far.
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
    /// Shouts to somebody who does not read.
    Stall,
    /// Messages that are never finished.
    Unfinished,
    /// Pings of the WebSocket, as fast as they go.
    Pings,
    /// Large messages, some too large.
    Large,
    /// What is no message.
    Malformed,
    /// Handshakes that are refused.
    Refused,
    /// Requests that are never finished.
    HalfOpen,
    /// Tasks that wait, and nobody to hear their answers.
    Tasks,
    /// Computing until the fuel is used up.
    Burn,
    /// Memory, held for a while.
    Hoard,
    /// Faults, each on a new connection.
    Crash,
    /// Joins of many topics, and rejoins.
    Joins,
    /// Timers and subscriptions, left behind.
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
    /// Between two attacks: there are to be many, and they leave the others a core.
    const PAUSE: Duration = Duration::from_millis(50);
    /// An attack takes no longer.
    const LONGEST: Duration = Duration::from_secs(5);

    pub(super) async fn go_on(self, server: Endpoint, place: usize, attempts: Attempts) {
        loop {
            attempts.0.fetch_add(1, Ordering::Relaxed);
            // That the server closes the connection, or refuses it, is as well.
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

/// Joins a topic of its own, says the same so often, hears one answer, and
/// goes without a word.
async fn say(server: Endpoint, place: usize, event: &str, payload: &str, times: u64) -> Result<()> {
    let mut client = Client::connect(server, place, format!("hostile:{place}")).await?;
    client.rejoin();
    (0..times).for_each(|number| client.push(10 + number, event, payload));
    client.flush().await?;
    // The join's, and one more.
    for _ in 0..2 {
        client.read().await?;
        client.discard();
    }
    Ok(())
}

/// One shouts, the other is on the topic and does not read.
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

/// More topics than a connection may have, each joined twice.
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
