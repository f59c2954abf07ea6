//! Millrace: a real-time server for Phoenix Channels clients whose channels are
//! sandboxed Wasm components.
//!
//! ```text
//! client ──frame──▶ transport ─▶ session ─▶ channel ─▶ wasm (join, handle-in, …)
//!                                                        │ returns effects
//!        ◀──frame── outbox ◀── reply · push ◀────────────┤
//!        ◀──frame── outbox ◀── pubsub ◀── broadcast ◀────┘
//! ```
//!
//! The protocol is in [`millrace_wire`] and [`millrace_session`], events in
//! [`millrace_pipeline`], plugins in [`millrace_wasm`]; here is what serves them: sockets, what
//! connections share, configuration, operators, commands. Each folder uses those before it in
//! ARCHITECTURE.md's code map alone. To the outside there is [`testing`]; the rest is the program.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

mod admin;
mod auth;
#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod cli;
mod config;
mod dashboard;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod loader;
mod longpoll;
mod net;
mod node;
mod outbox;
mod plugin;
mod presence;
mod pubsub;
mod secret;
mod server;
mod small_file;
mod swap;
mod tasks;
pub mod testing;
mod token;
mod transport;
