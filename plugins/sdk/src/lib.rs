//! Channels for Millrace, in Rust.
//!
//! A plugin is a library crate that implements [`Channel`] for a type and
//! exports it:
//!
//! ```
//! use millrace_plugin::prelude::*;
//!
//! struct Room;
//!
//! impl Channel for Room {
//!     const TOPICS: &'static [&'static str] = &["room:*"];
//!     type Assigns = ();
//!
//!     fn handle_in(socket: &mut Socket<()>, event: &str, payload: Payload) -> Result<Reply> {
//!         match event {
//!             "ping" => Reply::ok(payload),
//!             "shout" => {
//!                 socket.broadcast("shout", payload)?;
//!                 Ok(Reply::None)
//!             }
//!             _ => Err(unknown_event(event)),
//!         }
//!     }
//! }
//!
//! millrace_plugin::export!(Room);
//! # fn main() {}
//! ```
//!
//! Its `Cargo.toml` has `crate-type = ["cdylib"]` and this crate as a dependency;
//! `millrace dev DIR` builds and serves it, and `cargo build --release --target
//! wasm32-wasip2` builds it alone.
//!
//! Nothing a handler asks for happens before it returns: `socket.broadcast`
//! notes an effect, and the server applies all of them after the call. A handler
//! that panics has done nothing at all.
//!
//! # Testing
//!
//! A worker is tested where it runs: as a component, in a pipeline with the app's own
//! configuration, by the kit in the server's crate (`millrace::testing`). Time is
//! virtual, so that retries, rates and sleeps take none, and what the worker asks for
//! is noted instead of carried out:
//!
//! ```text
//! #[tokio::test(start_paused = true)] // tokio's feature `test-util`
//! async fn an_order_reaches_its_user() {
//!     let app = TestApp::load("examples/notifications".as_ref()).await.unwrap();
//!     let pipeline = app.pipeline("notifications").unwrap();
//!     pipeline.push([json!({ "user": "ada", "kind": "order" })]);
//!     pipeline.settle().await;                        // until all is done or given up
//!     assert_eq!(pipeline.totals().done, 1);          // also: dead_letters(), faults()
//!     assert_eq!(pipeline.broadcasts()[0].topic, "user:ada"); // also: enqueued(), effects()
//! }
//! ```
//!
//! `ask` hands over an event and gives the answer, `wait` lets time pass,
//! `switch_dispatcher` does what an operator may. `millrace build` has to have built
//! the plugins. A [`dispatcher`] is tested natively besides, in a [`testing::Stage`].

mod assigns;
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod bindings;
mod channel;
mod connect;
mod error;
mod export;
mod grants;
mod payload;
#[doc(hidden)]
pub mod runtime;
mod socket;
mod tasks;
mod worker;

pub mod dispatcher;
pub mod host;
pub mod http;
pub mod testing;

pub use assigns::Assigns;
pub use channel::{Channel, Info, Outgoing, Reply};
pub use connect::{Connect, Connected, Refused, Request};
pub use error::{Error, Result, unknown_event};
pub use grants::Denied;
pub use payload::{IntoPayload, Payload};
pub use socket::{Socket, SocketRef};
pub use tasks::Tasks;
pub use worker::{Batch, Effects, Event, InvalidEvent, NewEvent, Verdict, Verdicts, Worker};

#[doc(hidden)]
pub use wit_bindgen;

/// What most plugins use.
pub mod prelude {
    pub use crate::host::{clock, config, log, metrics, random};
    pub use crate::{
        Batch, Channel, Connect, Connected, Effects, Error, Event, Info, NewEvent, Outgoing,
        Payload, Refused, Reply, Request, Result, Socket, SocketRef, Tasks, Verdict, Verdicts,
        Worker, unknown_event,
    };
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::json;
}
