//! The entry points for fuzzing: one function for each decoder of bytes from clients, operators and
//! plugins. Each takes any bytes, and panics when an invariant is broken.
//!
//! `tests/fuzz` has libFuzzer look for such bytes. The unit tests of each crate try its seeds and
//! some random bytes, so that a fault that was found once stays fixed.

pub use crate::config::fuzz::config;
pub use millrace_pipeline::fuzz::{dispatcher, ingest};
pub use millrace_session::fuzz::{session, wire};
pub use millrace_wasm::fuzz::guest;
