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
//! Effects happen only after a handler has returned: `socket.broadcast` records one, and the server
//! applies all of them after the call. A handler that panics has no effects.
//!
//! # Testing
//!
//! A worker is tested as a component, in a pipeline with the app's own configuration, by the kit in
//! the server's crate (`millrace::testing`). Time is virtual, so retries, rates and sleeps take
//! none, and the effects of the worker are recorded, not carried out:
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
//! `ask` pushes an event and returns the reply, `wait` lets time pass, and `switch_dispatcher` does
//! what an operator can do. Build the plugins with `millrace build` first. A [`dispatcher`] can also
//! be tested natively, in a [`testing::Stage`].

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
pub mod presence;
pub mod testing;

pub use assigns::Assigns;
pub use channel::{Channel, Info, Outgoing, Reply};
pub use connect::{Connect, Connected, Identity, Refused, Request};
pub use error::{Error, Result, unknown_event};
pub use grants::Denied;
pub use payload::{IntoPayload, Payload};
pub use presence::PresenceHandler;
pub use socket::{Socket, SocketRef};
pub use tasks::Tasks;
pub use worker::{Batch, Effects, Event, InvalidEvent, NewEvent, Verdict, Verdicts, Worker};

#[doc(hidden)]
pub use wit_bindgen;

/// The names that most plugins use.
pub mod prelude {
    pub use crate::host::{clock, config, log, metrics, random};
    pub use crate::presence;
    pub use crate::{
        Batch, Channel, Connect, Connected, Effects, Error, Event, Info, NewEvent, Outgoing,
        Payload, PresenceHandler, Refused, Reply, Request, Result, Socket, SocketRef, Tasks,
        Verdict, Verdicts, Worker, unknown_event,
    };
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::json;
}
