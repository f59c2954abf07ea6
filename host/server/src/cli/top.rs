//! `millrace top`: the state of a server, once a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::admin::AdminArgs;
use super::frame::{View, fit};
use super::say;
use super::serve::{HangupAction, Signals};
use super::terminal::Terminal;

const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The number of attempts for the first snapshot, which a server has a second after its start.
const FIRST_TRIES: usize = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Shows the state until `q` or Ctrl-C; only one frame with `once`.
pub(super) async fn run(server: &AdminArgs, once: bool) -> anyhow::Result<()> {
    let first = first(server).await?;
    if server.json {
        say(&first.snapshot.to_string());
        return Ok(());
    }
    if once {
        first.lines(server).iter().for_each(|line| say(line));
        return Ok(());
    }
    let mut signals = Signals::new(HangupAction::Stop)?;
    let Some(mut terminal) = Terminal::take()? else {
        bail!("top needs a terminal; --once prints one frame");
    };
    let mut ticks = interval(REFRESH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lines = first.lines(server);
    loop {
        let (columns, rows) = Terminal::size();
        terminal.show(&fit(lines.clone(), columns, rows))?;
        tokio::select! {
            _ = ticks.tick() => {}
            () = terminal.quit() => return Ok(()),
            () = signals.next() => return Ok(()),
        }
        lines = tokio::select! {
            status = Status::fetch(server) => match status {
                Ok(status) => status.lines(server),
                // The server may come back.
                Err(error) => with_error(lines, &error),
            },
            () = terminal.quit() => return Ok(()),
            () = signals.next() => return Ok(()),
        };
    }
}

/// The responses of a server.
struct Status {
    health: Value,
    snapshot: Value,
}

impl Status {
    async fn fetch(server: &AdminArgs) -> anyhow::Result<Self> {
        let snapshot = server.get("/snapshot").await?;
        Ok(Self { health: server.get("/health").await?, snapshot })
    }

    fn lines(&self, server: &AdminArgs) -> Vec<String> {
        let Self { health, snapshot } = self;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (url, now) = (&server.url(), now.as_secs_f64());
        View { url, health, snapshot, now }.lines()
    }
}

/// The first responses of a server, which may just have started.
async fn first(server: &AdminArgs) -> anyhow::Result<Status> {
    // An error that another attempt would not mend ends the command at once.
    server.get("/health").await?;
    for _ in 1..FIRST_TRIES {
        if let Ok(status) = Status::fetch(server).await {
            return Ok(status);
        }
        sleep(FIRST_PAUSE).await;
    }
    Status::fetch(server).await
}

/// The last lines, with the error in place of the first one.
fn with_error(mut lines: Vec<String>, error: &anyhow::Error) -> Vec<String> {
    if let Some(first) = lines.first_mut() {
        *first = format!("{error:#}");
    }
    lines
}
