//! Measures servers that speak the Phoenix protocol, side by side.
//!
//! `millrace-bench` starts each server it is given, puts the same load on each
//! in turn, and prints what that cost the server. `floor` is the server to
//! compare with: what the same transport costs with nothing behind it.
//!
//! The robust figure on a noisy machine is the server's CPU time for each
//! message, from `/proc`.

pub mod client;
pub mod procfs;
pub mod report;
pub mod scan;
pub mod server;
pub mod workload;
