//! The admin interface: what operators ask of a server, as HTTP and JSON on a
//! listener of its own.
//!
//! ```text
//! listener ─▶ standing ─▶ access (Host, Origin, token) ─▶ routes ─▶ plugins · pipelines · sockets · …
//!                                                └────▶ openapi
//! ```
//!
//! Each resource has a file with a table of its [`Route`]s; `GET /openapi.json`
//! is made of those tables, so that what is served is described. What goes wrong
//! is a [`Problem`].

mod access;
mod health;
mod listener;
mod openapi;
mod pipelines;
mod plugins;
mod problem;
mod request;
mod routes;
mod schema;
mod snapshot;
mod sockets;
mod standing;
mod swaps;

pub(crate) use listener::{accept, bind};

use problem::Problem;
use request::{AdminRequest, Content};
use routes::{Answer, Query, Route, answer, ready};
