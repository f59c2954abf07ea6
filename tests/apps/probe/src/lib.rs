//! The channel that the conformance tests talk to. Its join params and events are a contract, with
//! one line of `handle_in` for each.
//!
//! With the feature `v2` it is the next version, `tests/apps/probe-v2`: it counts in other assigns,
//! and takes over the counts of the first version. With `bad`, it is a bad version: it panics on
//! every fifth message.

use std::time::Duration;

use millrace_plugin::prelude::*;

struct Probe;

#[cfg(not(feature = "v2"))]
const VERSION: &str = "1";
#[cfg(feature = "v2")]
const VERSION: &str = "2";

#[cfg(not(feature = "v2"))]
#[derive(Default, Serialize, Deserialize)]
struct Assigns {
    count: u64,
}

/// The count in halves, so that neither version can read the assigns of the other.
#[cfg(feature = "v2")]
#[derive(Default, Serialize, Deserialize)]
struct Assigns {
    even: u64,
    odd: u64,
}

impl Assigns {
    #[cfg(not(feature = "v2"))]
    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    #[cfg(feature = "v2")]
    fn count(&mut self) -> u64 {
        if self.even < self.odd {
            self.even += 1;
        } else {
            self.odd += 1;
        }
        self.even + self.odd
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    deny: bool,
    crash: bool,
    slow_ms: u64,
    track: Option<String>,
    meta: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Tracked {
    key: String,
    #[serde(default = "nothing")]
    meta: serde_json::Value,
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

impl Channel for Probe {
    const TOPICS: &'static [&'static str] = &["room:*"];
    type Assigns = Assigns;
    const SCHEMA: u32 = cfg!(feature = "v2") as u32;

    #[cfg(feature = "v2")]
    fn migrate(_: u32, assigns: &[u8]) -> Result<Assigns> {
        #[derive(Deserialize)]
        struct First {
            count: u64,
        }
        let First { count } = serde_json::from_slice(assigns)?;
        Ok(Assigns { even: count / 2, odd: count - count / 2 })
    }

    fn join(socket: &mut Socket<Assigns>, params: Payload) -> Result<Reply> {
        // Clients may join with any JSON, null included.
        let params: Params = params.json().unwrap_or_default();
        assert!(!params.crash, "the join was told to crash");
        clock::sleep(Duration::from_millis(params.slow_ms));
        if params.deny {
            return Reply::error(json!({ "reason": "denied" }));
        }
        if let Some(key) = params.track {
            socket.track(&key, params.meta.unwrap_or_else(|| json!({})))?;
        }
        Ok(Reply::None)
    }

    fn handle_in(socket: &mut Socket<Assigns>, event: &str, payload: Payload) -> Result<Reply> {
        #[cfg(feature = "bad")]
        fail_at_times();
        match event {
            "ping" => return Reply::ok(payload),
            "shout" => socket.broadcast("shout", payload)?,
            "shout_others" => socket.broadcast_from("shout_others", payload)?,
            "push_me" => socket.push("pushed", payload)?,
            "count" => {
                let count = socket.assigns.count();
                return Reply::ok(json!({ "count": count }));
            }
            "fail" => return Reply::error(payload),
            "who" => {
                let claims: Option<serde_json::Value> = socket.claims()?;
                return Reply::ok(json!({ "user": socket.user_id(), "claims": claims }));
            }
            "stop" => socket.stop(),
            "crash" => panic!("the probe was told to crash"),
            "version" => return Reply::ok(json!({ "version": VERSION })),
            "track" => {
                let Tracked { key, meta } = payload.json()?;
                socket.track(&key, meta)?;
            }
            "update" => {
                let Tracked { key, meta } = payload.json()?;
                socket.update(&key, meta)?;
            }
            "untrack" => socket.untrack(&payload.json::<Tracked>()?.key),
            "presence_list" => return presences(socket),
            "whoami" => {
                let claims = socket.claims::<serde_json::Value>()?;
                return Reply::ok(json!({ "user_id": socket.user_id(), "claims": claims }));
            }
            "spin" => spin(),
            "hog" => hog(),
            "shout_then_crash" => {
                socket.broadcast("shout", payload)?;
                panic!("the probe was told to crash after its shout");
            }
            "parallel_slow_ping" => {
                socket.start_task("slow_ping", payload)?;
                return Ok(Reply::None);
            }
            "slow_ping" => {
                clock::sleep(Duration::from_millis(payload.json::<Slow>()?.ms));
                return Reply::ok(payload);
            }
            _ => return Err(unknown_event(event)),
        }
        Ok(Reply::done())
    }
}

impl Tasks for Probe {
    fn run(socket: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply> {
        match name {
            "slow_ping" => {
                clock::sleep(Duration::from_millis(payload.json::<Slow>()?.ms));
                Reply::ok(payload)
            }
            _ => panic!("the probe has no task {name:?} for {}", socket.topic()),
        }
    }
}

fn presences(socket: &Socket<Assigns>) -> Result<Reply> {
    let presences: serde_json::Value =
        serde_json::from_slice(&presence::list_json(socket.topic())?)?;
    Reply::ok(json!({ "presences": presences }))
}

fn nothing() -> serde_json::Value {
    json!({})
}

/// Whether this message panics. It is not counted in the instance, as that is lost with each panic.
#[cfg(feature = "bad")]
fn fail_at_times() {
    let [chance, ..] = random::bytes(1)[..] else { return };
    assert!(chance >= 51, "a bad version fails one message in five");
}

fn spin() {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn hog() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

millrace_plugin::export!(Probe);
millrace_plugin::export_tasks!(Probe);
