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
use super::dev_session::DevSession;
use super::serve::{HangupAction, Signals};

/// The default of `RUST_LOG` for `millrace dev`: also the lines that plugins print.
pub(super) const LOG: &str = "info,millrace::prints=debug";

/// Serves until the process is told to stop, and follows the changes of the sources.
pub(super) async fn run(args: &DevArgs) -> anyhow::Result<()> {
    // Before the address is printed: whoever reads it may stop the server at once.
    let mut signals = Signals::new(HangupAction::Stop)?;
    let mut session = tokio::select! {
        session = DevSession::new(args) => session?,
        () = signals.next() => return Ok(()),
    };
    loop {
        let server = tokio::select! {
            server = session.start() => server?,
            () = signals.next() => return Ok(()),
        };
        let (swapper, stop) = (server.swapper(), Notify::new());
        let mut running = pin!(server.run(stop.notified()));
        let goes_on = tokio::select! {
            () = &mut running => false,
            () = session.follow_changes(&swapper) => true,
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

/// Waits until the server has stopped. A second signal is an error, and ends it at once.
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
