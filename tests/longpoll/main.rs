//! Long-polling: its requests one by one, what a session does, and phoenix.js of many versions.

mod client;
mod ending;
mod limits;
mod phoenix_js;
mod polls;
mod requests;
