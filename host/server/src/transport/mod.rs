//! Sockets: the only folder that touches the network for clients. Operators have
//! the admin interface.
//!
//! ```text
//! threads ─▶ listener ─▶ door ─▶ http ─┬─▶ static files
//!                                      └─▶ handshake ─▶ connection ⇄ websocket
//!                                                        └─▶ channels ─▶ round ─▶ plugins
//!                                                                   └──▶ pubsub
//! ```
//!
//! One connection is one task, on one thread. It reads frames, carries out what its
//! [`Session`](millrace_session::Session) says, and writes what is in its outbox; its
//! messages are handled together with those of the thread's other connections.

mod called;
mod channels;
mod coding;
mod conditions;
mod connection;
mod door;
mod echo;
mod files;
mod first;
mod forbidden;
mod frames;
mod gathered;
mod handshake;
mod held;
mod host;
mod http;
mod listener;
mod listeners;
mod pace;
mod paced;
mod peer;
mod pending;
mod pipelines;
mod places;
mod proxy_header;
mod read_ahead;
mod returns;
mod round;
mod slice;
mod spare;
mod stream;
mod threads;
mod throttle;
mod timers;
mod tls;
mod traffic;
mod upgrade;
mod websocket;

pub(crate) use door::Door;
pub use echo::echo;
pub(crate) use first::FirstRequest;
pub(crate) use host::host;
pub(crate) use http::{Body, close_unread, options, seal, text};
use listener::accept;
pub(crate) use listener::{MAX_HEADER_BYTES, next, turn_away, unserved_places};
pub(crate) use listeners::{Inherited, Listener, Listeners};
pub(crate) use paced::Paced;
pub(crate) use peer::Proxies;
pub(crate) use places::{Place, Places};
pub(crate) use stream::Stream;
pub(crate) use threads::Threads;
pub(crate) use tls::Tls;
