//! A contract for tests of who handles presence.
//!
//! On `door:*`, a join with `{"name": n}` tracks `n`. `later` tracks the name of its payload from a
//! task, and `who` with `{"topic": t}` is answered with the names that are on another topic.
//!
//! Each change is broadcast as `changed`, with the names that came and that went, on the topic of
//! the change. One of the name `bomb` makes the handler panic.

use millrace_plugin::prelude::*;

struct Door;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Person {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    topic: String,
}

impl Channel for Door {
    const TOPICS: &'static [&'static str] = &["door:*"];
    type Assigns = ();

    fn join(socket: &mut Socket<()>, params: Payload) -> Result<Reply> {
        if let Person { name: Some(name) } = params.json()? {
            socket.track(&name, json!({}))?;
        }
        Ok(Reply::None)
    }

    fn handle_in(socket: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
        match event {
            "later" => {
                socket.start_task("track", payload)?;
                Ok(Reply::None)
            }
            "who" => {
                let Asked { topic } = payload.json()?;
                let there = presence::list::<serde_json::Value>(&topic)?;
                Reply::ok(json!({ "names": there.keys().collect::<Vec<_>>() }))
            }
            _ => Err(unknown_event(event)),
        }
    }
}

impl Tasks for Door {
    fn run(socket: &mut Socket<()>, _: &str, payload: Payload) -> Result<Reply> {
        let Person { name } = payload.json()?;
        socket.track(&name.unwrap_or_default(), json!({ "from": "a task" }))?;
        Ok(Reply::done())
    }
}

impl PresenceHandler for Door {
    type Meta = serde_json::Value;

    fn handle_presence(
        effects: &mut Effects,
        topic: &str,
        diff: presence::Diff<Self::Meta>,
    ) -> Result<()> {
        assert!(!diff.joins.contains_key("bomb"), "the handler was told to panic");
        let names = |presences: &std::collections::BTreeMap<String, _>| {
            presences.keys().cloned().collect::<Vec<_>>()
        };
        let changed = json!({ "came": names(&diff.joins), "went": names(&diff.leaves) });
        effects.broadcast(topic, "changed", changed)
    }
}

millrace_plugin::export!(Door);
millrace_plugin::export_tasks!(Door);
millrace_plugin::export_presence!(Door);
