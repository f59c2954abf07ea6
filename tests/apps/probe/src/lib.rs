//! The channel the conformance tests talk to. Its join params and events are a
//! contract; one line of `handle_in` is one of them.

use std::time::Duration;

use millrace_plugin::prelude::*;

struct Probe;

#[derive(Default, Serialize, Deserialize)]
struct Assigns {
    count: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    deny: bool,
    crash: bool,
    slow_ms: u64,
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

impl Channel for Probe {
    const TOPICS: &'static [&'static str] = &["room:*"];
    type Assigns = Assigns;

    fn join(_: &mut Socket<Assigns>, params: Payload) -> Result<Reply> {
        // Clients may join with anything, null included.
        let params: Params = params.json().unwrap_or_default();
        assert!(!params.crash, "the join was told to crash");
        clock::sleep(Duration::from_millis(params.slow_ms));
        if params.deny { Reply::error(json!({ "reason": "denied" })) } else { Ok(Reply::None) }
    }

    fn handle_in(socket: &mut Socket<Assigns>, event: &str, payload: Payload) -> Result<Reply> {
        match event {
            "ping" => return Reply::ok(payload),
            "shout" => socket.broadcast("shout", payload)?,
            "shout_others" => socket.broadcast_from("shout_others", payload)?,
            "push_me" => socket.push("pushed", payload)?,
            "count" => {
                socket.assigns.count += 1;
                return Reply::ok(json!({ "count": socket.assigns.count }));
            }
            "fail" => return Reply::error(payload),
            "stop" => socket.stop(),
            "crash" => panic!("the probe was told to crash"),
            "version" => return Reply::ok(json!({ "version": "1" })),
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
