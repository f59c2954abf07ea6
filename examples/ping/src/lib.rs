//! The StatsChannel of "Real-Time Phoenix", chapter "Avoiding Performance Pitfalls": fast and slow
//! replies, to measure and to compare.

use std::time::Duration;

use millrace_plugin::prelude::*;

struct Stats;

#[derive(Deserialize)]
#[serde(default)]
struct Slow {
    ms: u64,
}

impl Default for Slow {
    /// The time that the book has.
    fn default() -> Self {
        Self { ms: 3_000 }
    }
}

impl Channel for Stats {
    const TOPICS: &'static [&'static str] = &["room:*"];
    type Assigns = ();

    fn handle_in(socket: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
        match event {
            "ping" => Reply::ok(json!({ "ping": "pong" })),
            // Waits in the handler: this channel's next message waits too, but other channels and
            // the heartbeat do not.
            "slow_ping" => slow_ping(&payload),
            // Waits beside the channel: the next message is handled at once, and this one is
            // answered when the task ends.
            "parallel_slow_ping" => {
                socket.start_task("slow_ping", payload)?;
                Ok(Reply::None)
            }
            "shout" => {
                metrics::count("shout", 1);
                socket.broadcast("shout", payload)?;
                Ok(Reply::None)
            }
            _ => Err(unknown_event(event)),
        }
    }
}

impl Tasks for Stats {
    fn run(_: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply> {
        match name {
            "slow_ping" => slow_ping(&payload),
            _ => Err(Error::msg(format!("unknown task {name:?}"))),
        }
    }
}

fn slow_ping(payload: &Payload) -> Result<Reply> {
    let Slow { ms } = payload.json()?;
    metrics::measure("slow_ping", || clock::sleep(Duration::from_millis(ms)));
    Reply::ok(json!({ "ping": "pong" }))
}

millrace_plugin::export!(Stats);
millrace_plugin::export_tasks!(Stats);
