//! Presence: who is on which topic, with which metas, and what the clients of the topic are
//! told of it, as `Phoenix.Presence` and the `Presence` class of phoenix.js have it.
//!
//! Pure: [`Presences`] is the state of one shard of one node. It is told what happens and at
//! which time, and returns [`Notice`]s, which its caller broadcasts. It reads no clock, does no
//! I/O and starts nothing, so that whatever clients make of the notices is tested as a function.
//!
//! ```text
//! track · update · untrack · leave ──┐                 ┌──▶ flush_due ─▶ Notice, Notice, …
//!                                    ├──▶ Presences ───┼──▶ state (of a client that joins)
//! apply_remote · forget_node ────────┘                 ├──▶ state_for (of one that tracks in it)
//!                                                      └──▶ list · get (of a plugin)
//! ```
//!
//! # Two views
//!
//! What is true now (`list`, `get`) is ahead of what clients know (`state`): a change waits in
//! the diff of its topic until the topic's window is over. So each meta is *joining* (true, not
//! told yet), *present* (true and told) or *leaving* (told, no longer true). A client that joins
//! gets what all others know, which is the present and the leaving metas; the next diff then
//! turns that into the present and the joining ones, for everybody. A join and a leave of one
//! ref inside one window are never told.
//!
//! The client of a channel that tracks as it joins expects to find itself in its state, as the
//! state of Phoenix has it. [`state_for`](Presences::state_for) shows it what of its own is joining,
//! before others are told: that is *shown* then. If it leaves before the window is over it is
//! *passing*, as its client has to be told: the diff has it in `joins` and in `leaves`, of which
//! clients apply the joins first.
//!
//! # What clients are sent
//!
//! - `presence_state`, what all others know, with its join: with its own entry in it if the channel
//!   has tracked. A client that joins while the topic is not in use can be sent none, and phoenix.js
//!   keeps diffs waiting until one comes. So it is sent the empty one when the topic begins
//!   ([`PresenceEvent::Begin`]), and the others are not.
//! - `presence_diff` from then on, of every change, the first of a topic included.
//! - `presence_count`, the number of members, instead of both, once there are more than
//!   [`TopicSettings::max_members`]; and a `presence_state` for everybody when they are few again.
//!
//! A topic is forgotten with the notice that tells that its last meta has left, and begins anew with
//! its next use. It is forgotten without any notice if all that it had was never told to anybody;
//! nobody is told then that it had begun.
//!
//! # Order
//!
//! Notices have to reach the outboxes of clients in the order in which they were returned, and
//! before the [`state`](Presences::state) or [`state_for`](Presences::state_for) that a client is
//! sent later: both are best done under the lock of the shard.

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

mod error;
mod limits;
mod member;
mod meta;
mod nodes;
mod notice;
mod phx_ref;
mod presences;
mod render;
#[cfg(test)]
mod tests;
mod topic;

pub use error::PresenceError;
pub use limits::{ChooseSettings, Limits, MIN_COUNT_WINDOW_MS, TopicSettings};
pub use meta::Meta;
pub use nodes::{Change, LocalOps, Op};
pub use notice::{Notice, PresenceEvent};
pub use phx_ref::PhxRef;
pub use presences::Presences;

/// The number of a channel, unique on its node: the owner of the metas that it tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// The number of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u64);

/// The time at which an operation happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of any clock that never goes back: windows are measured by it.
    pub ms: u64,
    /// Nanoseconds since 1970: refs are made of it. It may go back.
    pub unix_ns: u64,
}
