//! The errors of loading a plugin.

use millrace_wire::TopicPatternError;

use super::{Fault, check};

/// The reason why a file is no plugin for this server.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is no component, or one for another world. The text says what differs.
    #[error("{0}")]
    Mismatch(String),
    /// Wasmtime cannot compile it.
    #[error("failed to compile: {}", check::explained(.0))]
    Compile(wasmtime::Error),
    /// The process that was to compile it says that it cannot be compiled.
    #[error("{0}")]
    Refused(String),
    /// An instance of it would begin with too much memory.
    #[error(
        "begins with {needed} bytes of memory, allowed are {allowed}; raise limits.max_memory_bytes"
    )]
    Memory {
        /// The bytes that an instance begins with.
        needed: u64,
        /// The bytes that an instance may have.
        allowed: usize,
    },
    /// The process that compiles could not be started.
    #[error("was not compiled: the compiler cannot be run: {0}")]
    NoProcess(std::io::Error),
    /// Compiling it took too long.
    #[error("takes longer than {timeout_ms} ms to compile (compile.timeout_ms)")]
    TooLong {
        /// The milliseconds that it may take.
        timeout_ms: u64,
    },
    /// Compiling it took too much memory.
    #[error("takes more than {max_memory_bytes} bytes to compile (compile.max_memory_bytes)")]
    TooMuchMemory {
        /// The bytes that it may take.
        max_memory_bytes: u64,
    },
    /// The process that compiled it crashed.
    #[error("was not compiled: the compiler ended with {status}: {said}")]
    Crashed {
        /// The exit status of that process.
        status: String,
        /// The last output of that process.
        said: String,
    },
    /// Wasmtime cannot link it, although its interface fits.
    #[error("failed to link: {0:#}")]
    Link(wasmtime::Error),
    /// The plugin trapped, or broke a limit, in its first call.
    #[error("failed in its first call: {0}")]
    FirstCall(Fault),
    /// A topic of the plugin is no topic pattern.
    #[error(transparent)]
    Topics(#[from] TopicPatternError),
    /// The plugin names a topic pattern twice.
    #[error("names the topic pattern {0:?} more than once in its `topics`; once is expected")]
    TopicTwice(String),
    /// The server stopped while it was being compiled.
    #[error("was not compiled: the server is stopping")]
    Stopped,
    /// The plugin does not name one schema for each topic.
    #[error(
        "exports `migration`, whose `schemas` returned {found} for {topics} topics; one for each \
         is expected"
    )]
    Schemas {
        /// The number of schemas that it named.
        found: usize,
        /// The number of topics that it serves.
        topics: usize,
    },
    /// The plugin needs something that it is not granted.
    #[error("needs what it is not granted: {0}")]
    NotGranted(String),
    /// The plugin exports `channel`, and serves no topic.
    #[error(
        "exports `channel`, but its `topics` returned none; name at least one, such as `room:*`"
    )]
    NoTopics,
}
