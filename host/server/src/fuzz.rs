//! What holds whatever comes in: one function for each door that bytes of others come
//! through, each given any bytes. They panic when something does not hold.
//!
//! `tests/fuzz` has libFuzzer look for such bytes. The tests of each crate try its seeds
//! and some bytes at random, so that what was found once stays mended.

pub use crate::config::fuzz::config;
pub use millrace_pipeline::fuzz::{dispatcher, ingest};
pub use millrace_session::fuzz::{session, wire};
pub use millrace_wasm::fuzz::guest;
