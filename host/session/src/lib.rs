//! One socket's state machine: which topics it has joined, and what each of its
//! messages means.
//!
//! Pure: a [`Session`] gets messages, results of calls and notices, and answers
//! with [`Action`]s for the connection's task to carry out. It reads no clock,
//! touches no socket and calls no plugin, so the whole protocol is tested as a
//! function.
//!
//! The rules and their order are those of `lib/phoenix/socket.ex` and
//! `lib/phoenix/channel/server.ex` of the Phoenix project. Two differ on
//! purpose: a join never holds up the rest of the socket, and messages that
//! find their channel full are answered with an error instead of piling up.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

pub mod channel;

mod action;
mod end;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod inbound;
mod joining;
mod outcomes;
mod realm;
mod routes;
#[cfg(test)]
mod tests;

pub use action::{Action, Call, CallPurpose, Calls, ChannelAction, Count, Ticket};
pub use inbound::Order;
pub use realm::Realm;
pub use routes::{Route, Routes, Routing};

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use millrace_wire::Serializer;

use crate::channel::{Assigns, Channel, MessageId, State, TerminateReason, WaitingCount};

/// The state of one socket.
#[derive(Debug)]
pub struct Session<P> {
    identity: Identity,
    limits: Limits,
    channels: Channels<P>,
    channel_ids: Arc<AtomicU64>,
    /// Letters that wait in all channels of the server.
    waiting: Arc<dyn WaitingCount>,
    /// What waits in its channels and is handled by them, in bytes.
    pending_bytes: usize,
    /// What its channels subscribe to besides their own topics, all together.
    subscriptions: usize,
    /// Messages of the client so far.
    messages: u32,
    /// Why the connection is over, once it is: no channel is joined any more.
    over: Option<TerminateReason>,
}

/// By topic. Looked into several times for each message, and as small as a
/// client may make its own, so a fast hash is enough.
type Channels<P> = HashMap<Arc<str>, Box<Channel<P>>, foldhash::fast::RandomState>;

/// What stays the same for as long as a connection lives.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The server's number, for socket refs.
    pub server: u64,
    /// Unique among the connections of the server since it started.
    pub connection: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The client's protocol version.
    pub serializer: Serializer,
    /// Who connected, as far as a plugin said.
    pub user_id: Option<Arc<str>>,
    /// What every channel starts with.
    pub assigns: Assigns,
    /// Whose client it is.
    pub realm: Realm,
}

/// The bounds of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Joined topics (`socket.max_channels`).
    pub max_channels: usize,
    /// Letters waiting in one channel (`socket.max_pending`).
    pub max_pending: usize,
    /// What may wait in all channels together, in bytes
    /// (`socket.max_pending_bytes`). Who reads the socket stops there; here only
    /// what others send is left out.
    pub max_pending_bytes: usize,
    /// Topics that its channels may subscribe to besides their own, together
    /// (`socket.max_subscriptions`).
    pub max_subscriptions: usize,
    /// What a client is told that finds its channel full
    /// (`socket.retry_after_ms`).
    pub retry_after_ms: u64,
}

impl<P: Clone> Session<P> {
    /// A session that has joined nothing. `channel_ids` gives each join of the
    /// server its number; `waiting` counts the items of all of them.
    pub fn new(
        identity: Identity,
        limits: Limits,
        channel_ids: Arc<AtomicU64>,
        waiting: Arc<dyn WaitingCount>,
    ) -> Self {
        let channels = Channels::default();
        Self {
            identity,
            limits,
            channels,
            channel_ids,
            waiting,
            pending_bytes: 0,
            subscriptions: 0,
            messages: 0,
            over: None,
        }
    }

    /// What waits in its channels and is handled by them, in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn next_message(&mut self) -> u32 {
        self.messages = self.coming_message().number;
        self.messages
    }

    /// What log lines about the next message that is taken carry.
    #[must_use]
    pub fn coming_message(&self) -> MessageId {
        let number = self.messages.wrapping_add(1).max(1);
        MessageId { connection: self.identity.connection, number }
    }

    /// Who serves each of the joined topics.
    pub fn handlers(&self) -> impl Iterator<Item = &P> {
        let joined = |channel: &&Channel<P>| matches!(channel.state, State::Joined);
        let channels = self.channels.values().map(AsRef::as_ref);
        channels.filter(joined).map(|channel| channel.plugin.as_ref())
    }

    /// How many topics are joined or being joined.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// What every log line of this connection carries.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}
