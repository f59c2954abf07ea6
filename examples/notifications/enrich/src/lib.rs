//! A transform that adds a text for people to each notification, so that senders need not know it.

use millrace_plugin::prelude::*;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Notification {
    kind: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

struct Enrich;

impl Worker for Enrich {
    fn handle(event: &Event<'_>, _: &mut Effects) -> Result<Verdict> {
        let Ok(Notification { kind, mut rest }) = event.json() else {
            return Ok(Verdict::Drop("a notification has a kind".to_owned()));
        };
        let text = match kind.as_str() {
            "order" => "Your order is on its way.",
            "mention" => "Somebody mentioned you.",
            _ => "Something happened.",
        };
        rest.insert("text".to_owned(), text.into());
        Payload::new(&rest).map(Verdict::Forward)
    }
}

millrace_plugin::export_worker!(Enrich);
