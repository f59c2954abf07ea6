//! Every counter of the server: its name, and when it counts.

/// Makes the enum, and the table of it.
macro_rules! counters {
    ($($(#[doc = $when:literal])+ $variant:ident => $name:literal,)+) => {
        /// A counter of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[doc = $when])+ $variant,)+
        }

        impl Count {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// What it is called behind the prefix.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// Counts when an answer or push came after its channel had left.
    LateGone => "late.gone",
    /// Counts when a plugin closed a connection by its user id.
    SocketDisconnected => "socket.disconnected",
    /// Counts when a client sent more than `max_messages_per_second` or `max_bytes_per_second`.
    SocketThrottled => "socket.throttled",
    /// Counts when a connection found `max_connections` open.
    SocketRefusedFull => "socket.refused_full",
    /// Counts when a connection found `max_connections_per_address` open.
    SocketRefusedAddressFull => "socket.refused_address_full",
    /// Counts when a connection came above `max_connects_per_second`.
    SocketRefusedRate => "socket.refused_rate",
    /// Counts when a join came above `max_joins_per_second`.
    JoinRefused => "join.refused",
    /// Counts when a join found `max_channels` joined, or its topic is too long.
    ChannelRefused => "channel.refused",
    /// Counts when a message found `max_pending` waiting in its channel.
    ChannelOverloaded => "channel.overloaded",
    /// Counts when a broadcast or timer for a handler did.
    ChannelNoticesDropped => "channel.notices_dropped",
    /// Counts when a call was given up as its client had joined again.
    CallCutOff => "call.cut_off",
    /// Counts when a task was started.
    TaskStarted => "task.started",
    /// Counts when a task found no room (`max_tasks`).
    TaskRefused => "task.refused",
    /// Counts when a task came to nothing.
    TaskFailed => "task.failed",
    /// Counts when a call panicked or trapped.
    FaultTrap => "fault.trap",
    /// Counts when a call used up its fuel.
    FaultFuel => "fault.fuel",
    /// Counts when a call wanted more than `max_memory_bytes`.
    FaultMemory => "fault.memory",
    /// Counts when a call returned what is not allowed.
    FaultBadReturn => "fault.bad_return",
    /// Counts when a plugin trapped while an instance was made.
    FaultInstantiation => "fault.instantiation",
    /// Counts when a call or task took too long.
    FaultDeadline => "fault.deadline",
    /// Counts when the machine had no room for an instance.
    FaultNoRoom => "fault.no_room",
    /// Counts when a call was not made after too many faults.
    FaultHeld => "fault.held",
    /// Counts when a connection was closed at `outbox_bytes`.
    OutboxOverloaded => "outbox.overloaded",
    /// Counts when a message gave way at `outbox_bytes` (`drop_oldest`).
    OutboxDropped => "outbox.dropped",
    /// Counts when a message replaced an older one (`conflate`).
    OutboxConflated => "outbox.conflated",
    /// Counts when a plugin sent a request.
    HttpRequests => "http.requests",
    /// Counts when a request was not allowed.
    HttpDenied => "http.denied",
    /// Counts when a request was none.
    HttpInvalid => "http.invalid",
    /// Counts when a request found nobody, or was broken off.
    HttpUnreachable => "http.unreachable",
    /// Counts when a request was not answered in time.
    HttpTimeout => "http.timeout",
    /// Counts when a response was larger than `max_response_bytes`.
    HttpTooLarge => "http.too_large",
    /// Counts when a request found `max_concurrent` under way.
    HttpOverloaded => "http.overloaded",
    /// Counts when a plugin's measurement found no room for another name.
    MetricsRefused => "metrics.refused",
}
