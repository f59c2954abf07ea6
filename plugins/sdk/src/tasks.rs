//! Work beside the channels.

use crate::{Payload, Reply, Result, Socket};

/// Work that [`Socket::start_task`] starts, on an instance of its own.
///
/// The channel that started it goes on meanwhile: its next messages are handled,
/// and it may be left before the task ends.
pub trait Tasks {
    /// Runs a task to its end. What it returns answers the message that started
    /// it, an error with its text; nothing happens if nobody waits.
    ///
    /// `socket` pushes to the channel that started the task and broadcasts on its
    /// topic. It has no assigns: what a task has to know goes into `payload`. To
    /// subscribe, start timers or stop is for channels alone and ends the task.
    fn run(socket: &mut Socket<()>, name: &str, payload: Payload) -> Result<Reply>;
}
