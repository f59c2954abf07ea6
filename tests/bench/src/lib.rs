//! Measures servers that speak the Phoenix protocol, side by side.
//!
//! ```text
//! main ─▶ suite       every workload on every server
//!      └▶ server      starts the servers in turn, finds their addresses
//!      └▶ workload    echo, fanout, churn, idle, pipeline, …
//!           ├▶ client ─▶ protocol, websocket   joins, pushes, receives
//!           ├▶ http                            events for pipelines
//!           ├▶ pace                            the times to send, at a rate
//!           ├▶ in_flight                       the refs that wait for a reply
//!           ├▶ latency                         latencies and their quantiles
//!           └▶ meter ─▶ procfs                 CPU time and memory
//!      └▶ report      the table, the ratios
//! ```
//!
//! The program `floor` is the server to compare with: the cost of the transport with nothing behind
//! it. The figures of a shared machine drift. Those of two servers that take turns drift together,
//! so their ratio is what counts.
//!
//! The load comes from one thread, so that it leaves the other cores to the server, and it does its
//! own WebSocket framing: a client costs much less than a server.

pub mod client;
pub mod http;
pub mod in_flight;
pub mod latency;
pub mod meter;
pub mod pace;
mod phoenix;
pub mod procfs;
pub mod protocol;
pub mod report;
pub mod scan;
pub mod server;
mod socket_io;
pub mod suite;
pub mod websocket;
pub mod workload;
