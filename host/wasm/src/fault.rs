//! The faults of calls: what can go wrong in a call of a plugin.

use std::fmt;
use std::time::Duration;

use millrace_session::channel::Failure;
use tracing::field::{DisplayValue, display};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::limits::TooMuch;

/// The fault of a call. The text is for the log and the plugin's author, never for a client.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The cause.
    pub kind: FaultKind,
    /// The fault in words: the panic message, or what was found and what is allowed.
    pub message: String,
    /// The Wasm functions on the stack, innermost first, demangled. Empty when
    /// there was no trap.
    pub backtrace: String,
}

/// The causes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The plugin panicked, or trapped in another way.
    Trap,
    /// The call used up its fuel.
    OutOfFuel,
    /// The instance asked for more memory than it may have, and trapped because of that.
    OutOfMemory,
    /// The plugin returned what the interface does not allow.
    BadReturn,
    /// The plugin trapped while an instance of it was made.
    Instantiation,
    /// The call took longer than it may.
    Deadline,
    /// The server panicked during the call.
    Server,
    /// The assigns of another version could not be migrated.
    Migration,
    /// The call was not made: another version took this one's place meanwhile.
    Superseded,
    /// The call was not made: the server has no memory or no slot for an instance.
    NoRoom {
        /// The milliseconds after which it is worth trying again.
        retry_after_ms: u64,
    },
    /// The call waited for an instance or for memory until its time was up.
    Overloaded {
        /// The milliseconds after which it is worth trying again.
        retry_after_ms: u64,
    },
    /// The call was not made: the plugin is held back after other faults.
    Held {
        /// The milliseconds after which it is worth trying again.
        retry_after_ms: u64,
    },
}

impl FaultKind {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "fuel",
            Self::OutOfMemory => "memory",
            Self::BadReturn => "bad_return",
            Self::Instantiation => "instantiation",
            Self::Deadline => "deadline",
            Self::Server => "server",
            Self::Migration => "migration",
            Self::Superseded => "superseded",
            Self::NoRoom { .. } => "no_room",
            Self::Overloaded { .. } => "overloaded",
            Self::Held { .. } => "held",
        }
    }
}

impl Fault {
    /// A fault: the plugin returned a value that the interface does not allow.
    pub(super) fn bad_return(message: String) -> Self {
        Self { kind: FaultKind::BadReturn, message, backtrace: String::new() }
    }

    /// A fault: the call took longer than `limit`, the value of the key `limits.{key}`.
    pub fn deadline(limit: Duration, key: &str) -> Self {
        let message = format!("took longer than {} ms (limits.{key})", limit.as_millis());
        Self { kind: FaultKind::Deadline, message, backtrace: String::new() }
    }

    /// A fault: the call waited for an instance or memory until its time was up.
    pub(super) fn overloaded(limit: Duration, key: &str) -> Self {
        let waited = limit.as_millis();
        Self {
            kind: FaultKind::Overloaded { retry_after_ms: RETRY_AFTER_MS },
            message: format!("waited {waited} ms (limits.{key}) for an instance or for memory"),
            backtrace: String::new(),
        }
    }

    /// A fault: the server lost track of the call, as it panicked.
    pub fn lost() -> Self {
        Self {
            kind: FaultKind::Server,
            message: "the server panicked during the call; its log says where".to_owned(),
            backtrace: String::new(),
        }
    }

    /// A fault: the server panicked in the call, with the panic message.
    pub(super) fn panicked(said: &str) -> Self {
        let message = format!("the server panicked in the call: {said}");
        Self { kind: FaultKind::Server, message, backtrace: String::new() }
    }

    /// A fault: the call was not made, and another version has to make it.
    pub(super) fn superseded() -> Self {
        Self {
            kind: FaultKind::Superseded,
            message: "not called: another version took this one's place".to_owned(),
            backtrace: String::new(),
        }
    }

    /// A fault: the call was not made, as the plugin is held back for this time.
    pub fn held(retry_after: Duration) -> Self {
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            kind: FaultKind::Held { retry_after_ms },
            message: "not called: held back after too many faults".to_owned(),
            backtrace: String::new(),
        }
    }

    /// Classifies an error of wasmtime in making an instance. One that comes from no code of the
    /// plugin comes from the machine: memory, address space, memory maps.
    pub(super) fn of_instantiation(
        error: &wasmtime::Error,
        output: &str,
        refused: Option<TooMuch>,
    ) -> Self {
        let of_plugin = refused.is_some() || error.is::<Trap>() || error.is::<WasmBacktrace>();
        match of_plugin {
            true => {
                Self { kind: FaultKind::Instantiation, ..Self::of_call(error, output, refused) }
            }
            false => Self::no_room(error),
        }
    }

    fn no_room(error: &wasmtime::Error) -> Self {
        Self {
            kind: FaultKind::NoRoom { retry_after_ms: RETRY_AFTER_MS },
            message: format!("no room for an instance: {error:#}"),
            backtrace: String::new(),
        }
    }

    /// Whether the plugin's code is to blame, and its instance is lost.
    #[must_use]
    pub fn is_plugins(&self) -> bool {
        !matches!(
            self.kind,
            FaultKind::Deadline
                | FaultKind::Server
                | FaultKind::Migration
                | FaultKind::Superseded
                | FaultKind::NoRoom { .. }
                | FaultKind::Overloaded { .. }
                | FaultKind::Held { .. }
        )
    }

    /// The backtrace for the log; `None` if there is none.
    pub fn details(&self) -> Option<DisplayValue<&str>> {
        (!self.backtrace.is_empty()).then(|| display(self.backtrace.trim_end()))
    }

    /// The failure that it is to a channel, and so to its client.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self.kind {
            FaultKind::Deadline => Failure::TimedOut,
            FaultKind::Superseded => Failure::Unavailable { retry_after_ms: RETRY_AFTER_MS },
            FaultKind::Held { retry_after_ms } | FaultKind::NoRoom { retry_after_ms } => {
                Failure::Unavailable { retry_after_ms }
            }
            FaultKind::Overloaded { retry_after_ms } => Failure::Overloaded { retry_after_ms },
            FaultKind::Trap
            | FaultKind::OutOfFuel
            | FaultKind::OutOfMemory
            | FaultKind::BadReturn
            | FaultKind::Instantiation
            | FaultKind::Server
            | FaultKind::Migration => Failure::Crashed,
        }
    }

    /// This fault of a dispatcher that has used up its fuel, which is a limit of its own.
    pub(super) fn for_dispatcher(self) -> Self {
        Self { message: "the call used up its fuel (limits.dispatcher_fuel)".to_owned(), ..self }
    }

    /// Classifies an error of wasmtime in a call. `output` is what the plugin printed since the
    /// call began, `refused` the memory that it asked for and may not have.
    pub(super) fn of_call(error: &wasmtime::Error, output: &str, refused: Option<TooMuch>) -> Self {
        // The host itself found something wrong during the call.
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::no_room(error);
        }
        let trap = error.downcast_ref::<Trap>();
        let (kind, message) = match (trap, refused) {
            (Some(Trap::OutOfFuel), _) => {
                (FaultKind::OutOfFuel, "the call used up its fuel (limits.fuel)".to_owned())
            }
            (Some(Trap::StackOverflow), _) => (
                FaultKind::Trap,
                "the call used up its stack (limits.max_stack_bytes): deep recursion".to_owned(),
            ),
            (Some(Trap::Interrupt), _) => (FaultKind::Deadline, interrupted()),
            (_, Some(refused)) => (FaultKind::OutOfMemory, format!("the plugin {refused}")),
            (trap, None) => (FaultKind::Trap, trap_message(output, trap, error)),
        };
        let backtrace = error.downcast_ref::<WasmBacktrace>().map_or_else(String::new, functions);
        Self { kind, message, backtrace }
    }
}

/// The message for an interrupted call. Only dispatchers are interrupted; other calls yield.
fn interrupted() -> String {
    let limit = super::dispatch::MAX_CALL_TIME.as_millis();
    format!("the call computed for more than {limit} ms, while its pipeline stood still")
}

/// The milliseconds after which an instance or memory may be free.
const RETRY_AFTER_MS: u64 = 1000;

/// The number of frames of a backtrace that are shown; those of the panic handler come first.
const MAX_FRAMES: usize = 24;

/// The functions of a backtrace, one on each line.
fn functions(backtrace: &WasmBacktrace) -> String {
    let mut lines = String::new();
    for frame in backtrace.frames().iter().take(MAX_FRAMES) {
        let name = frame.func_name().map(|name| format!("{:#}", rustc_demangle::demangle(name)));
        let name = name.unwrap_or_else(|| format!("function {}", frame.func_index()));
        lines.push_str("  at ");
        lines.push_str(&name);
        lines.push('\n');
    }
    lines
}

/// The message of a trap: what the plugin printed before it, or else what wasmtime says.
fn trap_message(output: &str, trap: Option<&Trap>, error: &wasmtime::Error) -> String {
    // This advice of Rust's panic handler means nothing here.
    let advice = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
    let output = output.trim().trim_end_matches(advice).trim_end();
    match (output.is_empty(), trap) {
        (false, _) => output.to_owned(),
        (true, Some(trap)) => trap.to_string(),
        (true, None) => format!("{error:#}"),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.backtrace.is_empty() {
            write!(f, "\n{}", self.backtrace.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
