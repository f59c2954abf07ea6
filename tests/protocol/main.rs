//! The Phoenix Channels protocol, as a client sees it on the wire.
//!
//! The oracle is the protocol of Phoenix 1.8; where a test names a rule, it is
//! one of `Phoenix.Socket` or `Phoenix.Channel.Server`.

mod binary;
mod broadcasts;
mod events;
mod faults;
mod heartbeats;
mod joining;
mod leaving;
mod mixed;
mod order;
mod overload;
mod payloads;
mod refs;
mod together;
mod v1;
