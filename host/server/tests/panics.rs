//! The server panics while a plugin calls it: that costs the call, and nobody else
//! anything.

#[expect(dead_code, reason = "the rest is for the benches")]
#[path = "../benches/guest/mod.rs"]
mod guest;

use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;

use guest::Guest;
use millrace_session::channel::{Callback, Caller, Completion, Effect, Progress};
use millrace_wasm::FaultKind;
use millrace_wire::Payload;

/// Effects that are flushed go to a server that has a fault.
#[derive(Debug)]
struct Panics;

impl Progress for Panics {
    fn flush(
        self: Arc<Self>,
        _: Caller,
        _: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        panic!("while effects are flushed")
    }

    fn server(&self) -> u64 {
        1
    }
}

fn message(event: &str, payload: &'static str) -> Callback {
    let payload = Payload::Json(payload.into());
    Callback::HandleIn { event: event.into(), payload, wants_reply: true }
}

#[tokio::test]
async fn a_panic_of_the_server_in_an_import_costs_the_call_alone() {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/apps/hostile");
    let millrace = env!("CARGO_BIN_EXE_millrace");
    assert!(Command::new(millrace).arg("build").arg(&app).status().unwrap().success());
    let hostile = Guest::of(&app, "hostile:a", "null", false).await;
    for turn in 0..3 {
        let flush = message("flush", r#"{"n":2}"#);
        let fault = hostile.call(Arc::new(Panics), &flush).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Server, "{turn}: {fault}");
        assert!(fault.message.contains("while effects are flushed"), "{turn}: {fault}");
        let ping = message("ping", r#"{"n":1}"#);
        match hostile.call(Arc::new(Panics), &ping).await {
            Ok(Completion::Handled(outcome)) => assert_eq!(outcome.effects.len(), 1, "{turn}"),
            other => panic!("{turn}: {other:?}"),
        }
    }
}
