//! The test kit: everything a test needs to drive the real `millrace` program
//! from outside, as its users do.
//!
//! ```text
//! binary ──▶ cli                            run the program to its end
//!    │
//!    └────▶ app ──▶ server                  put an app together, serve it
//!                     ├──▶ client ──▶ socket   speak Phoenix Channels to it
//!                     ├──▶ raw                 break the WebSocket protocol on it
//!                     ├──▶ http                see how it answers a handshake
//!                     └──▶ script              let a real JavaScript client talk to it
//! gate                                      hold calls of plugins up until the test lets go
//! repository                                the files of this repository, for tests of them
//! ```
//!
//! The client has its own encoder on purpose: a mistake in the server's encoder
//! must not be repeated on this side. Nothing here sleeps to wait for
//! something; a test that shows that *nothing* arrives asks for something that
//! would arrive behind it.

mod app;
mod apps;
mod binary;
mod browser;
mod cli;
mod client;
mod gate;
mod http;
mod patience;
mod port;
mod raw;
pub mod repository;
mod script;
mod server;
mod socket;
mod toml;

pub use app::App;
pub use binary::binary;
pub use browser::{assert_picture, chromium, screenshots};
pub use cli::{Run, run, run_in};
pub use client::TestClient;
pub use gate::Gate;
pub use http::{HttpRequest, HttpResponse};
pub use patience::{BUILD_PATIENCE, PATIENCE, eventually};
pub use port::free_port;
pub use raw::{RawSocket, opcode};
pub use script::{Script, install_once};
pub use server::{Reader, TestServer};
pub use socket::{SocketReader, SocketWriter, TestSocket, Wire};
