//! Tasks: work beside the channels.

use crate::{Payload, Reply, Result, Socket};

/// Work that [`Socket::start_task`] starts, on another instance.
///
/// The channel that started a task goes on meanwhile: its next messages are handled, and the client
/// may leave it before the task ends.
pub trait Tasks {
    /// Runs a task to its end. The returned reply answers the message that started the task; an
    /// error answers it with the error's text. Nothing is sent if the client does not wait for a
    /// reply.
    ///
    /// `socket` can push to the channel that started the task, and broadcast on its topic. It has
    /// no assigns: pass what the task has to know in `payload`. Subscriptions, timers and `stop`
    /// are only for channels; a task that uses them fails.
    fn run(socket: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply>;
}
