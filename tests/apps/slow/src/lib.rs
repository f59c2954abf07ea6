//! Every kind of slow work. The tests of `tests/slow` choose it, with one arm of `handle_in` or
//! `run` for each kind.

use std::time::{Duration, Instant};

use millrace_plugin::prelude::*;

struct Slow;

#[derive(Default, Serialize, Deserialize)]
struct Assigns {
    value: String,
    /// The message that `answer` answers.
    asked: Option<SocketRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Order {
    ms: u64,
    value: String,
    steps: u32,
    user: String,
    reference: Option<SocketRef>,
}

impl Order {
    fn wait(&self) {
        clock::sleep(Duration::from_millis(self.ms));
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Connect for Slow {
    type Assigns = Assigns;

    fn connect(request: &Request) -> Result<std::result::Result<Connected<Assigns>, Refused>> {
        let user_id = request.param("user").map(str::to_owned);
        // Or the `name` that its token claims.
        let named = request.identity.as_ref().filter(|_| request.param("by_name").is_some());
        let user_id = match named {
            Some(identity) => Some(identity.claims::<Named>()?.name),
            None => user_id,
        };
        Ok(Ok(Connected { user_id, assigns: Assigns::default() }))
    }
}

impl Channel for Slow {
    const TOPICS: &'static [&'static str] = &["slow:*"];
    type Assigns = Assigns;

    fn join(_: &mut Socket<Assigns>, params: Payload) -> Result<Reply> {
        params.json::<Order>()?.wait();
        Ok(Reply::None)
    }

    fn handle_in(socket: &mut Socket<Assigns>, event: &str, payload: Payload) -> Result<Reply> {
        let order: Order = payload.json()?;
        match event {
            "ping" => return Ok(Reply::done()),
            "wait" => order.wait(),
            "crash" => panic!("the handler was told to crash"),
            "spin" => spin(),
            // Assigns what it has found and its own, after a while.
            "append" => {
                let found = socket.assigns.value.clone();
                order.wait();
                socket.assigns.value = found + &order.value;
            }
            "value" => return Reply::ok(json!({ "value": socket.assigns.value })),
            "ask" => {
                socket.assigns.asked = socket.socket_ref();
                return Ok(Reply::None);
            }
            "answer" => {
                let asked =
                    socket.assigns.asked.clone().ok_or_else(|| Error::msg("nothing asked"))?;
                socket.reply_to(&asked, Reply::ok(json!({ "value": order.value }))?);
            }
            // The socket ref, which another connection answers.
            "my_ref" => return Reply::ok(json!({ "reference": socket.socket_ref() })),
            "answer_ref" => {
                let asked = order.reference.ok_or_else(|| Error::msg("no reference"))?;
                socket.reply_to(&asked, Reply::ok(json!({ "from": "elsewhere" }))?);
            }
            "task" => {
                socket.start_task(&order.value, payload)?;
                return Ok(Reply::None);
            }
            "progress" | "progress_then_crash" => {
                for step in 0..order.steps {
                    socket.push("step", json!({ "step": step }))?;
                    socket.flush();
                    order.wait();
                }
                assert!(event == "progress", "the handler was told to crash after its steps");
            }
            "flush_stop" => {
                socket.stop();
                socket.flush();
            }
            "config" => return Reply::ok(json!({ "value": config::get(&order.value) })),
            "log" => log::info(&order.value),
            // The time since `value` was read on the monotonic clock, and whether the clock of std
            // has been running for as long.
            "clocks" => {
                let ns = clock::monotonic_ns();
                let before = order.value.parse().unwrap_or(ns);
                let between = ns.checked_sub(before).ok_or_else(|| Error::msg("it went back"))?;
                let std = Instant::now().checked_sub(Duration::from_nanos(between)).is_some();
                let between_ms = between / 1_000_000;
                let told = json!({ "ns": ns.to_string(), "between_ms": between_ms, "std": std });
                return Reply::ok(told);
            }
            "print" => {
                println!("{}", order.value);
                eprintln!("and an error");
                assert!(order.user != "crash", "the handler was told to crash");
            }
            "disconnect" => socket.disconnect(&order.user),
            "measure" => {
                metrics::count("orders", 2);
                metrics::gauge("level", -3.0);
                metrics::timing("work", 1.5);
                metrics::histogram("size", 7.0);
                metrics::set("users", &order.user);
                // A metric with any name that a user can send.
                metrics::count(&order.value, 1);
            }
            _ => return Err(unknown_event(event)),
        }
        Ok(Reply::done())
    }
}

impl Tasks for Slow {
    fn run(socket: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply> {
        let order: Order = payload.json()?;
        match name {
            "wait" => order.wait(),
            "crash" => panic!("the task was told to crash"),
            "fail" => return Err(Error::msg("the task was told to fail")),
            "push" => {
                order.wait();
                socket.push("done", json!({}))?;
            }
            "shout" => socket.broadcast("shout", json!({}))?,
            "progress" => {
                for step in 0..order.steps {
                    socket.push("step", json!({ "step": step }))?;
                    socket.flush();
                }
            }
            // Hands the message on to another task, which answers it.
            "chain" => {
                socket.start_task("wait", payload)?;
                return Ok(Reply::None);
            }
            "stop" => socket.stop(),
            _ => panic!("there is no task {name:?}"),
        }
        Ok(Reply::done())
    }
}

fn spin() {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

millrace_plugin::export!(Slow);
millrace_plugin::export_connect!(Slow);
millrace_plugin::export_tasks!(Slow);
