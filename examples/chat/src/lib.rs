//! A chat: rooms in which people with names talk, and see who is there and who is typing.

use millrace_plugin::prelude::*;

struct Room;

#[derive(Default, Serialize, Deserialize)]
struct Person {
    name: String,
}

#[derive(Deserialize)]
struct Message {
    body: String,
}

impl Channel for Room {
    const TOPICS: &'static [&'static str] = &["room:*"];
    type Assigns = Person;

    fn join(socket: &mut Socket<Person>, params: Payload) -> Result<Reply> {
        let Person { name } = params.json()?;
        if name.trim().is_empty() || name.chars().count() > 40 {
            return Err(Error::msg("a name has 1 to 40 characters"));
        }
        socket.assigns.name = name.trim().to_owned();
        let name = socket.assigns.name.clone();
        socket.track(&name, json!({ "since_ms": clock::now_ms() }))?;
        Reply::ok(json!({ "name": socket.assigns.name }))
    }

    fn handle_in(socket: &mut Socket<Person>, event: &str, payload: Payload) -> Result<Reply> {
        let name = socket.assigns.name.clone();
        match event {
            "new_msg" => {
                let Message { body } = payload.json()?;
                let at_ms = clock::now_ms();
                socket
                    .broadcast("new_msg", json!({ "name": name, "body": body, "at_ms": at_ms }))?;
            }
            "typing" => socket.broadcast_from("typing", json!({ "name": name }))?,
            _ => return Err(unknown_event(event)),
        }
        Ok(Reply::done())
    }
}

millrace_plugin::export!(Room);
