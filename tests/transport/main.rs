//! Below the protocol: the handshake, WebSocket frames, timeouts, and the end of
//! connections and of the server.

mod closing;
mod frames;
mod handshake;
mod health;
mod limits;
mod malformed;
mod origin;
mod pages;
mod requests;
mod silence;
