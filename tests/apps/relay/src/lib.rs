//! A contract for tests of the ways between channels and pipelines.
//!
//! On `relay:*`, `enqueue` with `{"pipeline": p, "event": e}`, and perhaps `key`, `priority` and
//! `silent: true`, hands `e` to the pipeline `p`. Unless it is silent, the sender is answered with
//! what the worker replies.
//!
//!
//! The worker does as the event says, in this order:
//!
//! | key | what the worker does |
//! | --- | --- |
//! | `wait_ms` | waits so many milliseconds |
//! | `flaky: n` | fails the first n attempts |
//! | `crash: true` | panics, each time |
//! | `fail`, `drop` | fails for good, or drops it, with this reason |
//! | `push`, `late` | pushes what it was handed to this socket ref, or answers it |
//! | `tell` | broadcasts `told` on this topic, with what it was handed |
//! | `on` | hands `{"pipeline", "event"}` of this to another pipeline |
//! | `reply` | replies with this; `{"error": e}` with an error |
//!
//! It needs to hand events to `orders`.
//!
//! An event with `transform` is for a transform: it drops it with the reason `drop`,
//! or passes it on with the fields of `set` in place of `transform`, and a text of
//! `fill` bytes.

use std::time::Duration;

use millrace_plugin::prelude::*;
use serde_json::{Map, Value};

struct Relay;

#[derive(Deserialize)]
struct Order {
    pipeline: String,
    event: Value,
    key: Option<String>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    silent: bool,
}

impl Channel for Relay {
    const TOPICS: &'static [&'static str] = &["relay:*"];
    type Assigns = ();

    fn handle_in(socket: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
        match event {
            "ping" => Reply::ok(payload),
            // The socket ref of this message.
            "ref" => Reply::ok(json!({ "ref": socket.socket_ref() })),
            "enqueue" => {
                let Order { pipeline, event, key, priority, silent } = payload.json()?;
                let mut event = NewEvent::new(&pipeline, event)?.priority(priority);
                if let Some(key) = key {
                    event = event.key(&key);
                }
                if let Some(socket_ref) = socket.socket_ref().filter(|_| !silent) {
                    event = event.answers(&socket_ref);
                }
                socket.enqueue(event);
                Ok(Reply::None)
            }
            _ => Err(unknown_event(event)),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Job {
    wait_ms: u64,
    flaky: u32,
    crash: bool,
    fail: Option<String>,
    drop: Option<String>,
    push: Option<SocketRef>,
    late: Option<SocketRef>,
    tell: Option<String>,
    on: Option<Next>,
    reply: Option<Value>,
    transform: Option<Transform>,
}

#[derive(Deserialize)]
struct Next {
    pipeline: String,
    event: Value,
}

#[derive(Deserialize)]
struct Transform {
    drop: Option<String>,
    set: Option<Map<String, Value>>,
    fill: Option<usize>,
}

struct Work;

impl Worker for Work {
    fn handle(event: &Event<'_>, effects: &mut Effects) -> Result<Verdict> {
        let job: Job = event.json()?;
        if let Some(transform) = job.transform {
            return transformed(event, transform);
        }
        clock::sleep(Duration::from_millis(job.wait_ms));
        if event.attempt <= job.flaky {
            return Err(Error::msg(format!("attempt {} of a flaky event", event.attempt)));
        }
        assert!(!job.crash, "this event crashes its worker");
        let handed: Value = event.json()?;
        if let Some(to) = &job.push {
            effects.push_to(to, "pushed", &handed)?;
        }
        if let Some(to) = &job.late {
            effects.reply_to(to, Reply::ok(&handed)?);
        }
        if let Some(topic) = &job.tell {
            effects.broadcast(topic, "told", &handed)?;
        }
        if let Some(Next { pipeline, event: next }) = job.on {
            effects.enqueue(NewEvent::new(&pipeline, next)?.key(event.key));
        }
        if let Some(reason) = job.fail {
            return Ok(Verdict::Fail(reason));
        }
        if let Some(reason) = job.drop {
            return Ok(Verdict::Drop(reason));
        }
        match job.reply {
            Some(reply) if reply.get("error").is_some() => Reply::error(reply).map(Verdict::Reply),
            Some(reply) => Reply::ok(reply).map(Verdict::Reply),
            None => Ok(Verdict::Done),
        }
    }
}

fn transformed(event: &Event<'_>, transform: Transform) -> Result<Verdict> {
    if let Some(reason) = transform.drop {
        return Ok(Verdict::Drop(reason));
    }
    let mut fields: Map<String, Value> = event.json()?;
    fields.remove("transform");
    fields.extend(transform.set.unwrap_or_default());
    if let Some(bytes) = transform.fill {
        fields.insert("fill".to_owned(), "x".repeat(bytes).into());
    }
    Payload::new(&fields).map(Verdict::Forward)
}

millrace_plugin::export!(Relay);
millrace_plugin::export_worker!(Work);
millrace_plugin::export_needs!(enqueue "orders");
