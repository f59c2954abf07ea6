//! Sockets: the only folder that touches the network for clients. Operators have
//! the admin interface.
//!
//! ```text
//! threads ─▶ listener ─▶ acceptor ─▶ http ─┬─▶ static files
//!                                          └─▶ handshake ─▶ connection ⇄ websocket, longpoll
//!                                                            └─▶ channels ─▶ round ─▶ plugins
//!                                                                       └──▶ pubsub
//! ```
//!
//! One connection is one task, on one thread. It reads frames, carries out what its
//! [`Session`](millrace_session::Session) says, and writes what is in its outbox; its
//! messages are handled together with those of the thread's other connections.

mod batcher;
mod channels;
mod coding;
mod conditions;
mod connect;
mod connection;
mod echo;
mod files;
mod forbidden;
mod frames;
mod handshake;
mod io_counters;
mod link;
mod listener;
mod longpoll;
mod pace;
mod pipelines;
mod protocols;
mod read_ahead;
mod requests;
mod round;
mod round_results;
mod sched_slice;
mod threads;
mod throttle;
mod timers;
mod upgrade;
mod vec_pool;
mod websocket;

pub use echo::echo;
use listener::accept;
pub(crate) use threads::Threads;
