//! `millrace dev`: build, serve, and keep up with every change.
//!
//! ```text
//!        ┌──────────── broken: wait for a change
//!        ▼
//! read millrace.toml ──▶ build ──▶ serve ──sources──▶ build ──▶ exchange versions
//!        ▲                           │
//!        └────── millrace.toml ──────┘
//! ```

use std::pin::{Pin, pin};

use tokio::sync::Notify;
use tracing::info;

use super::args::DevArgs;
use super::bench::Bench;
use super::serve::{AtHangup, Signals};

/// What is logged unless `RUST_LOG` says otherwise: also what plugins print.
pub(super) const LOG: &str = "info,millrace::prints=debug";

/// Serves until the process is told to stop, and keeps up with the sources.
pub(super) async fn run(args: &DevArgs) -> anyhow::Result<()> {
    // Before the address is printed: whoever reads it may stop the server at once.
    let mut signals = Signals::new(AtHangup::Stop)?;
    let mut bench = tokio::select! {
        bench = Bench::new(args) => bench?,
        () = signals.next() => return Ok(()),
    };
    loop {
        let server = tokio::select! {
            server = bench.start() => server?,
            () = signals.next() => return Ok(()),
        };
        let (swapper, stop) = (server.swapper(), Notify::new());
        let mut running = pin!(server.run(stop.notified()));
        let goes_on = tokio::select! {
            () = &mut running => false,
            () = bench.keep_up(&swapper) => true,
            () = signals.next() => {
                info!("stopping; a second Ctrl-C or SIGTERM ends it at once");
                false
            }
        };
        stop.notify_one();
        end(running, &mut signals).await?;
        if !goes_on {
            return Ok(());
        }
    }
}

/// Lets a server stop in good order, until the next signal.
async fn end(
    running: Pin<&mut impl Future<Output = ()>>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    tokio::select! {
        () = running => Ok(()),
        () = signals.next() => {
            anyhow::bail!("ended at the second signal, before everything was done")
        }
    }
}
