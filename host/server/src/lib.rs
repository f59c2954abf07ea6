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
//! The folders are the architecture, here in reading order. `wire`, `session`
//! and `channel` are pure; only `wasm` names wasmtime, only `transport` touches
//! the network for clients, only `admin` for operators, and only `egress` for
//! plugins.

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
#[doc(hidden)]
pub mod bench;

pub mod cli;
pub mod config;
mod dashboard;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod loader;
mod net;
pub mod node;
pub mod server;
pub mod swap;
pub mod transport;

pub mod outbox;

pub mod plugin;
pub mod pubsub;
mod secret;
mod small_file;
mod tasks;

pub mod testing;
mod token;

pub use config::App;
pub use server::Server;
