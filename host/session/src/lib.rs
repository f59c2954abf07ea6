//! One socket's state machine: which topics it has joined, and what each of its
//! messages means.
//!
//! Pure: a [`Session`] gets messages, results of calls and notices, and answers with
//! [`Action`]s, which the connection's task carries out in order. It reads no clock,
//! touches no socket and calls no plugin, so the whole protocol is tested as a function.
//!
//! ```text
//! receive · complete · notice · timer · deferred · close ──▶ Session ──▶ Action, Action, …
//! ```
//!
//! The rules and their order are those of `lib/phoenix/socket.ex` (`handle_in`) and
//! `lib/phoenix/channel/server.ex` of the Phoenix project. Two rules differ on purpose: a
//! join never holds up the other topics of its socket, and a message that finds the mailbox
//! of its channel full is answered with the error `overloaded`.

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
mod token;

pub use action::{Action, Call, CallPurpose, Calls, ChannelAction, Count, Ticket};
pub use inbound::Order;
pub use realm::Realm;
pub use routes::{Route, Routes, Routing};
pub use token::Token;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use millrace_wire::Serializer;

use crate::channel::{Assigns, Channel, MessageId, State, TerminateReason, WaitingCount};

/// The state of one socket: its identity, its limits and its channels. `P` is what the
/// server knows a plugin by.
///
/// Each method that takes an input gets a `&mut Vec<Action<P>>` and adds to it what the
/// connection's task has to do; an [`Action::Call`] comes back by [`Session::complete`].
///
/// ```text
/// receive(phx_join) ─▶ Call(join)      complete(Ok) ─▶ Send(reply), Channel(Join)
/// receive(message)  ─▶ Call(handle-in) complete(Ok) ─▶ what its effects ask for
/// close(reason)     ─▶ Call(terminate) for each channel, after the messages it has
/// ```
#[derive(Debug)]
pub struct Session<P> {
    identity: Identity,
    limits: Limits,
    channels: Channels<P>,
    /// The number of the server's next join; all sessions share it.
    channel_ids: Arc<AtomicU64>,
    /// The number of items that wait in the mailboxes of all channels of the server.
    waiting: Arc<dyn WaitingCount>,
    /// The bytes of the messages that wait in the socket's channels or are being handled.
    pending_bytes: usize,
    /// The number of subscriptions of all channels, without those to their own topics.
    subscriptions: usize,
    /// The number of the client's last message; it starts again at 1 after `u32::MAX`.
    messages: u32,
    /// The reason of the connection's end, once [`Session::close`] was called. A join that
    /// succeeds after that is ended at once.
    end_reason: Option<TerminateReason>,
}

/// Channels by topic. Each message is looked up here several times. A fast hash is safe: the
/// map has `socket.max_channels` entries at most, and a client that makes its topics collide
/// delays only its own messages.
type Channels<P> = HashMap<Arc<str>, Box<Channel<P>>, foldhash::fast::RandomState>;

/// The facts about a connection that stay the same for as long as it lives.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The server's number, drawn at its start ([`RefKey::server`](channel::RefKey::server)).
    pub server: u64,
    /// The connection's number, unique since the server started.
    pub connection: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The client's protocol version.
    pub serializer: Serializer,
    /// The user's id, if a plugin's `connect` gave one, or else that of the token.
    pub user_id: Option<Arc<str>>,
    /// The assigns that every channel of the connection starts with.
    pub assigns: Assigns,
    /// The realm whose topics the client may join.
    pub realm: Realm,
    /// The client's token, if the server has verified one.
    pub token: Option<Arc<Token>>,
}

/// The bounds of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of topics that may be joined (`socket.max_channels`). One more join is
    /// answered with `too many channels joined`.
    pub max_channels: usize,
    /// The number of items that may wait in the mailbox of one channel
    /// (`socket.max_pending`). One more message is answered with `overloaded`; one more
    /// broadcast or timer is dropped and counted.
    pub max_pending: usize,
    /// The bytes that may wait in all channels together (`socket.max_pending_bytes`). Above
    /// it the session drops broadcasts and timers; it is the connection's task that stops
    /// reading from the client.
    pub max_pending_bytes: usize,
    /// The number of topics, besides their own, that all channels of the socket together may
    /// subscribe to (`socket.max_subscriptions`). One more is not subscribed to, and counted.
    pub max_subscriptions: usize,
    /// The `retry_after_ms` of an `overloaded` reply (`socket.retry_after_ms`), in
    /// milliseconds.
    pub retry_after_ms: u64,
}

impl<P: Clone> Session<P> {
    /// A session without channels. `channel_ids` has the number of the server's next join;
    /// `waiting` counts the items in the mailboxes of all channels of the server.
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
            end_reason: None,
        }
    }

    /// The bytes of the messages that wait in the channels or are being handled, each with
    /// [`channel::entry_bytes`].
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Counts a message of the client; its number.
    fn count_message(&mut self) -> u32 {
        self.messages = self.next_message_id().number;
        self.messages
    }

    /// The id, for log lines, of the next message that [`Session::receive`] takes.
    #[must_use]
    pub fn next_message_id(&self) -> MessageId {
        let number = self.messages.wrapping_add(1).max(1);
        MessageId { connection: self.identity.connection, number }
    }

    /// The plugin of each joined topic, once for each topic.
    pub fn handlers(&self) -> impl Iterator<Item = &P> {
        let joined = |channel: &&Channel<P>| matches!(channel.state, State::Joined);
        let channels = self.channels.values().map(AsRef::as_ref);
        channels.filter(joined).map(|channel| channel.plugin.as_ref())
    }

    /// The number of topics that are joined or being joined.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The facts about the connection that do not change.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}
