//! The protocols the load generator speaks.

use anyhow::Result;

use crate::{phoenix, socket_io};

/// What is spoken over the WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2 of the Phoenix protocol.
    Phoenix,
    /// Socket.IO 5 over Engine.IO 4: the same work in another protocol.
    SocketIo,
}

/// What the server sent, as far as a load generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A reply with status `ok`, and its ref.
    Reply(u64),
    /// The payload of a push or broadcast.
    Message(&'a str),
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// Something of a channel's.
    Incoming(Incoming<'a>),
    /// The connection is open.
    Welcome,
    /// Nothing that counts.
    Nothing,
}

impl Protocol {
    /// What a server speaks that announces itself with this line.
    #[must_use]
    pub fn of(line: &str) -> Self {
        if line.starts_with("socket.io") { Self::SocketIo } else { Self::Phoenix }
    }

    /// Where its WebSocket is.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Phoenix => "/socket/websocket?vsn=2.0.0",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// What a client says first, before the server welcomes it.
    pub(crate) fn hello(self) -> Option<&'static str> {
        match self {
            Self::Phoenix => None,
            Self::SocketIo => Some(socket_io::CONNECT),
        }
    }

    /// The event that joins a topic.
    pub(crate) fn join(self) -> &'static str {
        match self {
            Self::Phoenix => "phx_join",
            Self::SocketIo => "join",
        }
    }

    /// The event that leaves a topic.
    pub(crate) fn leave(self) -> &'static str {
        match self {
            Self::Phoenix => "phx_leave",
            Self::SocketIo => "leave",
        }
    }

    /// Appends a message that wants a reply.
    pub(crate) fn push(self, to: &mut String, number: u64, topic: &str, event: &str, data: &str) {
        match self {
            Self::Phoenix => phoenix::push(to, number, topic, event, data),
            Self::SocketIo => socket_io::push(to, number, topic, event, data),
        }
    }

    /// Takes the text of a frame apart.
    pub(crate) fn hear(self, text: &str) -> Result<Heard<'_>> {
        match self {
            Self::Phoenix => phoenix::incoming(text).map(Heard::Incoming),
            Self::SocketIo => socket_io::hear(text),
        }
    }
}
