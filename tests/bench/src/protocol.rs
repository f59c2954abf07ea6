//! The protocols that the load generator speaks.

use anyhow::Result;

use crate::{phoenix, socket_io};

/// The protocol over the WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2 of the Phoenix protocol.
    Phoenix,
    /// Socket.IO 5 over Engine.IO 4: the same work in another protocol.
    SocketIo,
}

/// A message of the server, as far as a load generator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A reply with the status `ok`; its ref.
    Reply(u64),
    /// The payload of a push or broadcast.
    Message(&'a str),
}

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// A message of the channel.
    Incoming(Incoming<'a>),
    /// The packet that opens the connection.
    Welcome,
    /// A packet without meaning for the measurement.
    Nothing,
}

impl Protocol {
    /// The protocol of a server that prints this line at its start.
    #[must_use]
    pub fn of(line: &str) -> Self {
        if line.starts_with("socket.io") { Self::SocketIo } else { Self::Phoenix }
    }

    /// The path of the WebSocket.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Phoenix => "/socket/websocket?vsn=2.0.0",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// The first packet of a client, before the server opens the connection.
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

    /// Parses the text of a frame.
    pub(crate) fn hear(self, text: &str) -> Result<Heard<'_>> {
        match self {
            Self::Phoenix => phoenix::incoming(text).map(Heard::Incoming),
            Self::SocketIo => socket_io::hear(text),
        }
    }
}
