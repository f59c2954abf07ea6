//! Exchanges of a channel's plugin.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::Exchanges;
use super::operator::{Operator, numbered};
use super::pinging::Seen;
use crate::server::Target;
use crate::workload::{Outcome, WARM_UP, run_for};

impl Exchanges {
    pub(super) async fn handler(self, server: &Target) -> Result<Outcome> {
        let operator = Operator::of(server).await?;
        let next = operator.built("apps/probe-v2", "probe").await?;
        let mut pinging = JoinSet::new();
        let seen = Seen::start(server, self, true, &mut pinging).await?;
        run_for(WARM_UP, &mut pinging).await?;
        let while_quiet = || async {
            tokio::time::sleep(Duration::try_from_secs_f64(self.seconds)?).await;
            Ok(())
        };
        let (_, mut without) = seen.during(&mut pinging, while_quiet()).await?;
        let exchanging = async {
            let mut pause_ms = 0.0_f64;
            for number in 0..self.exchanges {
                let version = numbered(&next, number)?;
                let result = operator.swap("probe", &version, "").await?;
                ensure!(result.outcome == "live", "an exchange ended as {}", result.outcome);
                pause_ms = pause_ms.max(result.pause_ms);
            }
            Ok(pause_ms)
        };
        let (pause_ms, during) = seen.during(&mut pinging, exchanging).await?;
        let (_, after) = seen.during(&mut pinging, while_quiet()).await?;
        without.add(&after)?;
        let lost = seen.stop(&mut pinging).await?;
        let tally = seen.lock();
        let figures = vec![
            ("exchanges", self.exchanges as f64),
            ("messages answered", tally.answered as f64),
            ("copies of broadcasts delivered", tally.copies as f64),
            ("longest pause, ms", pause_ms),
            ("p50 without, µs", without.at(0.5)),
            ("p50 during, µs", during.at(0.5)),
            ("p99 without, µs", without.at(0.99)),
            ("p99 during, µs", during.at(0.99)),
            ("p99 during / without", during.at(0.99) / without.at(0.99)),
        ];
        Ok(Outcome { figures, lost, duplicated: tally.duplicated })
    }
}
