//! A worker that sends notifications to their users. Each takes as long as a slow service would.

use std::time::Duration;

use millrace_plugin::prelude::*;

const TAKES: Duration = Duration::from_millis(20);

/// The channel of a user's notifications, for example `user:ada`.
struct User;

impl Channel for User {
    const TOPICS: &'static [&'static str] = &["user:*"];
    type Assigns = ();
}

struct Notify;

impl Worker for Notify {
    fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict> {
        clock::sleep(TAKES);
        let waited_ms = clock::now_ms().saturating_sub(event.enqueued_ms);
        let text = String::from_utf8_lossy(event.payload);
        let notification = json!({ "event": text, "waited_ms": waited_ms });
        effects.broadcast(&format!("user:{}", event.key), "notification", notification)?;
        Ok(Verdict::Done)
    }
}

millrace_plugin::export!(User);
millrace_plugin::export_worker!(Notify);
