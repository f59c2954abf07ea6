//! A contract for tests of pipelines: jobs come in over HTTP, and the worker broadcasts to the
//! user's channel.
//!
//! An event is one JSON object, for example
//! `{"user": "u1", "seq": 7, "work_ms": 2}`:
//!
//! | key | what the worker does |
//! | --- | --- |
//! | `work_ms` | waits so many milliseconds first |
//! | `poison: true` | panics, each time |
//! | `flaky: n` | fails the first n attempts |
//!
//! and then broadcasts `job_done` with `{"user", "seq"}` on `user:<user>`, which
//! anybody may join.

use std::time::Duration;

use millrace_plugin::prelude::*;

struct User;

impl Channel for User {
    const TOPICS: &'static [&'static str] = &["user:*"];
    type Assigns = ();
}

#[derive(Deserialize)]
struct Job {
    user: String,
    seq: u64,
    #[serde(default)]
    work_ms: u64,
    #[serde(default)]
    poison: bool,
    #[serde(default)]
    flaky: u32,
}

struct Jobs;

impl Worker for Jobs {
    fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict> {
        let Job { user, seq, work_ms, poison, flaky } = event.json()?;
        clock::sleep(Duration::from_millis(work_ms));
        assert!(!poison, "job {seq} of {user} is poison");
        if event.attempt <= flaky {
            return Err(Error::msg(format!("attempt {} of a flaky job", event.attempt)));
        }
        let done = json!({ "user": user, "seq": seq });
        effects.broadcast(&format!("user:{user}"), "job_done", done)?;
        Ok(Verdict::Done)
    }
}

millrace_plugin::export!(User);
millrace_plugin::export_worker!(Jobs);
