//! A small plugin, written by hand against the interfaces that were released.

use millrace_tests::App;
use serde_json::json;

use super::{RELEASED, component, frozen, world};

const TOPIC: &str = "golden:a";

#[tokio::test]
async fn a_plugin_of_every_released_interface_serves_clients() {
    for (version, _) in RELEASED {
        let (resolve, world) = world(&frozen(version), "channel-plugin");
        let module = wat::parse_str(include_str!("golden.wat")).unwrap();
        let app = App::written("[plugins.golden]\ncomponent = \"golden.wasm\"\n");
        std::fs::write(app.path().join("golden.wasm"), component(module, &resolve, world)).unwrap();
        let server = app.serve();
        let mut client = server.client().await;
        client.join(TOPIC).await;
        for number in 0..3 {
            let payload = json!({ "number": number });
            client.expect_answer(TOPIC, "ping", payload.clone(), "ok", payload).await;
        }
    }
}
