//! A plugin that does what it can to hurt its neighbours, as a client tells it to: each arm of
//! `handle_in` is one attack.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use millrace_plugin::http::{self, HttpRequest};
use millrace_plugin::prelude::*;

struct Hostile;

thread_local! {
    /// Data that is left for the next call of the same instance.
    static LEFT: RefCell<Left> = RefCell::default();
}

#[derive(Default)]
struct Left {
    text: String,
    request: Option<HttpRequest>,
}

/// The parameters of an attack.
#[derive(Deserialize)]
#[serde(default)]
struct Order {
    /// The number of repetitions.
    n: usize,
    bytes: usize,
    ms: u64,
    text: String,
    topic: String,
    event: String,
    user: String,
    reference: Option<SocketRef>,
    value: Payloaded,
}

/// The payload of a broadcast or push.
type Payloaded = std::collections::BTreeMap<String, u64>;

impl Default for Order {
    fn default() -> Self {
        let (text, topic, event, user) = Default::default();
        let value = Payloaded::new();
        Self { n: 1, bytes: 0, ms: 0, text, topic, event, user, reference: None, value }
    }
}

impl Connect for Hostile {
    type Assigns = ();

    fn connect(request: &Request) -> Result<std::result::Result<Connected<()>, Refused>> {
        let user_id = request.param("user").map(str::to_owned);
        Ok(Ok(Connected { user_id, assigns: () }))
    }
}

impl Channel for Hostile {
    const TOPICS: &'static [&'static str] = &["hostile:*"];
    type Assigns = ();

    fn handle_in(socket: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
        let order: Order = payload.json()?;
        let Order { n, bytes, .. } = order;
        match event {
            "ping" => return Reply::ok(payload),
            "crash" => panic!("the plugin was told to crash"),
            "sleep" => clock::sleep(Duration::from_millis(order.ms)),
            // Host calls with much data.
            "log" => {
                let text = "x".repeat(bytes);
                (0..n).for_each(|_| log::info(&text));
            }
            "log_text" => log::info(&order.text),
            "count" => {
                let name = "x".repeat(bytes);
                (0..n).for_each(|_| metrics::count(&name, 1));
            }
            "set" => {
                let value = "x".repeat(bytes);
                (0..n).for_each(|_| metrics::set("users", &value));
            }
            "config" => {
                let key = "x".repeat(bytes);
                (0..n).for_each(|_| drop(black_box(config::get(&key))));
            }
            "clock" => (0..n).for_each(|_| _ = black_box(clock::now_ms())),
            "random" => {
                let length = u32::try_from(bytes)?;
                (0..n).for_each(|_| drop(black_box(random::bytes(length))));
            }
            // Output through WASI.
            "stdout" => {
                let text = "x".repeat(bytes);
                (0..n).for_each(|_| print!("{text}"));
            }
            // Copies within the plugin, which cost fuel by the call.
            "fill" => {
                let mut memory = vec![0u8; bytes];
                (0..n).for_each(|turn| black_box(&mut memory).fill(turn as u8));
            }
            // Computes for `n` turns.
            "burn" => burn(n),
            "flush" => {
                for _ in 0..n {
                    socket.push("flushed", json!({}))?;
                    socket.flush();
                }
            }
            "headers" => return Ok(outcome_of(request_with_headers(&order.text, n))),
            // The attack takes two calls, so that the second only sends.
            "prepare_headers" => {
                let request = request_with_headers(&order.text, n);
                LEFT.with_borrow_mut(|left| left.request = Some(request));
            }
            "send_prepared" => {
                let request = LEFT.with_borrow_mut(|left| left.request.take());
                return Ok(request.map_or(Reply::None, outcome_of));
            }
            // Holds memory while it sleeps.
            "hold" => {
                let memory = vec![1u8; bytes];
                clock::sleep(Duration::from_millis(order.ms));
                drop(black_box(memory));
            }
            _ => return say(socket, event, order, payload),
        }
        Ok(Reply::done())
    }

    fn handle_info(socket: &mut Socket<()>, info: Info) -> Result<()> {
        match info {
            Info::Broadcast { topic, event, .. } => {
                socket.push("heard", json!({ "topic": topic, "event": event }))
            }
            Info::Timer(name) => socket.push("timer", json!({ "name": name })),
        }
    }
}

/// Attacks by messages that the plugin sends, or has others send.
fn say(socket: &mut Socket<()>, event: &str, order: Order, payload: Payload) -> Result<Reply> {
    let Order { n, bytes, .. } = order;
    match event {
        "reply_bytes" => return Reply::ok(json!({ "text": "x".repeat(bytes) })),
        "push_bytes" => {
            for number in 0..n {
                socket.push("pushed", json!({ "number": number, "text": "x".repeat(bytes) }))?;
            }
        }
        "shout" => {
            for number in 0..n {
                let text = "x".repeat(bytes);
                socket.broadcast("shout", json!({ "number": number, "text": text }))?;
            }
        }
        // Effects that need no grant, or should need one.
        "subscribe" => {
            for number in 0..n {
                let number = if n == 1 { String::new() } else { number.to_string() };
                socket.subscribe(&format!("{}{number}", order.topic));
            }
        }
        "broadcast_to" => socket.broadcast_to(&order.topic, &order.event, order.value)?,
        "disconnect" => socket.disconnect(&order.user),
        "timers" => {
            for _ in 0..n {
                socket.send_after(Duration::from_millis(order.ms), "timer");
            }
        }
        "my_ref" => return Reply::ok(json!({ "reference": socket.socket_ref() })),
        "answer_ref" => {
            let reference = order.reference.ok_or_else(|| Error::msg("no reference"))?;
            socket.reply_to(&reference, Reply::ok(json!({ "from": "hostile" }))?);
        }
        "push_ref" => {
            let reference = order.reference.ok_or_else(|| Error::msg("no reference"))?;
            socket.push_to(&reference, &order.event, json!({ "from": "hostile" }))?;
        }
        "task" => {
            socket.start_task(&order.text, payload)?;
            return Ok(Reply::None);
        }
        // Leaves data that another user of the same instance can read.
        "leave" => LEFT.with_borrow_mut(|left| left.text = order.text),
        "find" => {
            let found = LEFT.with_borrow(|left| left.text.clone());
            return Reply::ok(json!({ "found": found }));
        }
        _ => return Err(unknown_event(event)),
    }
    Ok(Reply::done())
}

impl Tasks for Hostile {
    fn run(_: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply> {
        let order: Order = payload.json()?;
        match name {
            "sleep" => clock::sleep(Duration::from_millis(order.ms)),
            "burn" => burn(order.n),
            _ => panic!("there is no task {name:?}"),
        }
        Ok(Reply::done())
    }
}

fn burn(turns: usize) {
    (0..turns).for_each(|turn| _ = black_box(turn));
}

fn request_with_headers(url: &str, headers: usize) -> HttpRequest {
    (0..headers).fold(http::get(url), |request, n| request.header(format!("x-{n}"), ""))
}

fn outcome_of(request: HttpRequest) -> Reply {
    let outcome = match request.send() {
        Ok(response) => response.status.to_string(),
        Err(error) => error.to_string(),
    };
    Reply::ok(json!({ "outcome": outcome })).unwrap_or(Reply::None)
}

millrace_plugin::export!(Hostile);
millrace_plugin::export_connect!(Hostile);
millrace_plugin::export_tasks!(Hostile);
