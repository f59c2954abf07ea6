//! The entries of an outbox, and the bytes that each counts for.

use std::sync::Arc;

use smol_str::SmolStr;

use millrace_session::channel::Notice;
use millrace_telemetry::Published;
use millrace_wire::Frame;

use super::Request;

/// An entry of an outbox.
#[derive(Debug)]
pub enum Outgoing {
    /// A frame that has to be written.
    Frame(Queued),
    /// A frame that is written if it is not dropped to make room.
    Droppable(Queued),
    /// A frame that is written if no newer one of its key replaces it.
    Conflated(Box<Conflated>),
    /// A change of who is present on a topic. If it is dropped to make room, the connection's task
    /// is asked to send everything anew ([`Request::Presences`]).
    Presence(Box<Conflated>),
    /// A broadcast for a channel that intercepts it.
    Notice(Notice),
    /// A request to the connection's task, for a channel.
    Request(Box<Request>),
}

/// A frame, and the time when it was broadcast.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The frame.
    pub frame: Frame,
    /// The time of the broadcast, if the frame is one and delays are measured.
    pub(crate) published: Option<Published>,
}

/// A frame with its topic and event.
#[derive(Debug)]
pub struct Conflated {
    pub(super) key: Key,
    /// The frame.
    pub queued: Queued,
}

/// A topic and an event.
pub(super) type Key = (Arc<str>, SmolStr);

/// The bytes that one entry costs besides those of its frame, which broadcasts share.
pub(super) const ENTRY_BYTES: usize = size_of::<Outgoing>();

impl Outgoing {
    /// The bytes that the entry counts for.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Frame(queued) | Self::Droppable(queued) => queued.frame.len(),
                Self::Conflated(conflated) | Self::Presence(conflated) => {
                    size_of::<Conflated>() + conflated.queued.frame.len()
                }
                Self::Notice(notice) => notice.broadcast.payload.len(),
                Self::Request(request) => request.bytes(),
            }
    }
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self { frame, published: None }
    }
}
