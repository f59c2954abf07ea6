//! Every metric of the server: its name, type, unit and labels, and when it
//! is recorded. `host/METRICS.md` is made of this table.

use std::fmt::Write;

use super::registry::Kind;

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Behind the prefix.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    /// Which labels it has, in the order in which they are folded into names.
    pub labels: &'static [&'static str],
    /// When it is recorded, or what it says.
    pub when: &'static str,
}

/// Makes the enum, and the table of it.
macro_rules! catalog {
    ($($(#[doc = $when:literal])+ $variant:ident: $kind:ident $name:literal $unit:literal
        [$($label:literal),*];)+) => {
        /// A metric of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $when])+ $variant,)+
        }

        impl Metric {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its row of the table.
            pub fn spec(self) -> Spec {
                match self {
                    $(Self::$variant => Spec {
                        name: $name,
                        kind: Kind::$kind,
                        unit: $unit,
                        labels: &[$($label),*],
                        when: concat!($($when),+).trim_ascii(),
                    },)+
                }
            }
        }
    };
}

catalog! {
    /// Clients' connections that are open; who looks at `/dashboard` is not counted.
    SocketOpen: Level "socket.open" "connections" [];
    /// From a handshake's request to its answer; the result is `ok`, `refused` or `error`.
    SocketConnect: Timing "socket.connect" "ms" ["result", "transport", "vsn"];
    /// A connection was turned away, as `full`, `address_full`, `rate`, `address_rate` or
    /// `memory`: `max_connections`, `max_connections_per_address`, `max_connects_per_second`,
    /// `max_connects_per_second_per_address`, `memory.max_bytes`; or as its page may
    /// not connect (`origin`), or its protocol version is another (`vsn`). As `host`, a request was
    /// refused on loopback as its host is not known (`socket.hosts`). As `repeated`, a connection
    /// was closed after ten handshakes that were refused. As `proxy_header`, one was closed that
    /// did not begin as its listener's `proxy_protocol` asks for; as `tls`, one whose TLS handshake
    /// failed or took too long; as `tls_busy`, one above `tls.max_handshakes`; as `tls_rate`, one above
    /// `tls.max_handshakes_per_second`.
    SocketRefused: Counter "socket.refused" "connections" ["reason"];
    /// A certificate or a secret in a file was found to have changed: `ok`, or `failed` if what is
    /// there is not in order, and the server goes on with what it had.
    Reread: Counter "reread" "files" ["result"];
    /// A connection ended; the code is of the close frame, 1006 without one.
    SocketClose: Counter "socket.close" "connections" ["code", "reason"];
    /// A plugin or an operator closed a connection by its user id.
    SocketDisconnected: Counter "socket.disconnected" "connections" [];
    /// A request over HTTP was given up: the `head` of a connection's first did not come within
    /// `handshake_timeout_ms` (an operator's: `admin.timeout_ms`), its `body` not within
    /// `http.timeout_ms`, or its client took next to nothing of the `response` for so long as the
    /// head may take, or more came behind the response than is discarded (`unread`).
    RequestCutOff: Counter "request.cut_off" "requests" ["part"];
    /// A client sent more than `max_messages_per_second` or `max_bytes_per_second`, and was not
    /// read for a while.
    SocketThrottled: Counter "socket.throttled" "times" [];
    /// What waits in a connection reached `max_pending_bytes`, and it was not read for a while.
    SocketPaused: Counter "socket.paused" "times" [];
    /// What waits in all connections: messages that came and are not handled.
    SocketPending: Gauge "socket.pending" "bytes" [];
    /// Messages came from clients.
    SocketFramesIn: Counter "socket.frames_in" "frames" [];
    /// Their payloads.
    SocketBytesIn: Counter "socket.bytes_in" "bytes" [];
    /// Messages were handed to sockets.
    SocketFramesOut: Counter "socket.frames_out" "frames" [];
    /// Their payloads.
    SocketBytesOut: Counter "socket.bytes_out" "bytes" [];

    /// A message had a payload that many JSON parsers refuse (half of a surrogate pair, or a
    /// number beyond 64-bit floats), and was answered so.
    MessageRefused: Counter "message.refused" "messages" [];
    /// Channels that are joined, by the pattern of their topics.
    ChannelOpen: Level "channel.open" "channels" ["channel"];
    /// From a join's call to its answer; the result is `ok`, `refused`, `crashed`, `timeout`,
    /// `overloaded` or `unavailable`.
    ChannelJoin: Timing "channel.join" "ms" ["channel", "result"];
    /// From the start of a `handle-in`, with its wait for an instance, to its end.
    ChannelIn: Timing "channel.in" "ms" ["channel", "event"];
    /// Messages that wait for their turn in their channels.
    ChannelWaiting: Level "channel.waiting" "messages" [];
    /// A join came above `max_joins_per_second`, or its connection's share of it.
    JoinRefused: Counter "join.refused" "joins" [];
    /// A join found `max_channels` joined, or its topic is too long.
    ChannelRefused: Counter "channel.refused" "joins" [];
    /// A message found `max_pending` waiting in its channel, and was answered so.
    ChannelOverloaded: Counter "channel.overloaded" "messages" [];
    /// A broadcast or timer for a handler did, and was left out.
    ChannelNoticesDropped: Counter "channel.notices_dropped" "messages" [];
    /// A channel wanted to subscribe to more than `max_subscriptions` topics.
    SubscriptionRefused: Counter "subscription.refused" "subscriptions" [];
    /// An answer or push came after its channel had left.
    LateGone: Counter "late.gone" "messages" [];
    /// A call was given up as its client had joined again.
    CallCutOff: Counter "call.cut_off" "calls" [];
    /// A task was started.
    TaskStarted: Counter "task.started" "tasks" [];
    /// A task found no room (`max_tasks`).
    TaskRefused: Counter "task.refused" "tasks" [];
    /// A task came to nothing.
    TaskFailed: Counter "task.failed" "tasks" [];

    /// From the start of a call or task in its instance to its end, with what it waited for.
    WasmTime: Timing "wasm.time" "ms" ["plugin", "version"];
    /// What a call or task used.
    WasmFuel: Distribution "wasm.fuel" "fuel" ["plugin", "version"];
    /// What its instance has after a call or task.
    WasmMemory: Distribution "wasm.memory" "bytes" ["plugin", "version"];
    /// A call or task came to nothing. The cause is `trap` (a panic, too), `fuel`, `memory`,
    /// `bad_return`, `instantiation` or `deadline`; `server` when the server panicked in it;
    /// `no_room` when the machine had no room for an instance; `overloaded` when others left it
    /// no instance or memory until its time was up; `held` when it was not made after too many
    /// faults.
    WasmFault: Counter "wasm.fault" "calls" ["plugin", "cause"];
    /// Instances that live.
    WasmInstances: Level "wasm.instances" "instances" ["plugin"];
    /// Their memory together, of which there may be `max_total_memory_bytes`.
    WasmMemoryTotal: Level "wasm.memory_total" "bytes" ["plugin"];
    /// How long a call waited as there were `max_instances`, or its connection had its share.
    WasmWait: Timing "wasm.wait" "ms" ["plugin"];
    /// An instance was made.
    WasmInstantiate: Timing "wasm.instantiate" "ms" ["plugin"];
    /// A component was read, compiled or found in the cache, and checked; the result is `ok` or
    /// `failed`.
    WasmLoad: Timing "wasm.load" "ms" ["plugin", "result"];
    /// A version was to take another's place: it is `live`, a `canary`, was `refused`,
    /// `rolled_back`, or `superseded` by still another.
    PluginExchanged: Counter "plugin.exchanged" "times" ["plugin", "outcome"];
    /// Another version became the live one: how long that took, all steps before it done.
    WasmSwap: Timing "wasm.swap" "ms" ["plugin"];

    /// What waits for all clients.
    OutboxBytes: Gauge "outbox.bytes" "bytes" [];
    /// What waits for the client for which most waits.
    OutboxBytesMax: Gauge "outbox.bytes_max" "bytes" [];
    /// At `outbox_bytes`, by policy: a message gave way (`drop_oldest`), a message replaced an
    /// older one (`conflate`), or the connection was closed (`close`).
    OutboxDropped: Counter "outbox.dropped" "messages" ["policy"];

    /// A message was broadcast.
    BroadcastSent: Counter "broadcast.sent" "messages" [];
    /// How many subscribers a broadcast reached.
    BroadcastFanout: Distribution "broadcast.fanout" "subscribers" [];
    /// From a broadcast's start to the end of its writing to one client's socket.
    BroadcastDelivery: Timing "broadcast.delivery" "ms" [];

    /// A plugin wanted to `publish`, `enqueue`, `subscribe` or `disconnect` where it may
    /// not (`grants`), or to `reply` by what is no socket ref it was given.
    PluginDenied: Counter "plugin.denied" "effects" ["plugin", "grant"];

    /// A plugin sent a request.
    HttpRequests: Counter "http.requests" "requests" ["plugin"];
    /// It came to nothing: `denied`, `invalid`, `unreachable`, `timeout`, `too_large` or
    /// `overloaded`.
    HttpFailed: Counter "http.failed" "requests" ["plugin", "reason"];

    /// Events were taken from producers.
    PipelineAccepted: Counter "pipeline.accepted" "events" ["pipeline"];
    /// Events found the buffer full (`buffer.size`, `max_bytes`, `max_per_key`), and their
    /// producers were told; of a request over HTTP, all of them.
    PipelineRejected: Counter "pipeline.rejected" "events" ["pipeline"];
    /// Events passed all stages.
    PipelineDone: Counter "pipeline.done" "events" ["pipeline"];
    /// Events were given up after a failure.
    PipelineFailed: Counter "pipeline.failed" "events" ["pipeline"];
    /// Events were dropped: `newest` or `oldest` of a full buffer, `expired` (`deadline_ms`),
    /// `unselected` by all workers of a broadcast, by the `worker`, or at `shutdown`.
    PipelineDropped: Counter "pipeline.dropped" "events" ["pipeline", "reason"];
    /// Attempts came to nothing and are made again.
    PipelineRetried: Counter "pipeline.retried" "events" ["pipeline"];
    /// Events wait for a worker, before all stages together. At any instant accepted = done +
    /// failed + dropped + in flight + buffered.
    PipelineBuffered: Gauge "pipeline.buffered" "events" ["pipeline"];
    /// Events are with workers.
    PipelineInFlight: Gauge "pipeline.in_flight" "events" ["pipeline"];
    /// Those buffered that wait to be tried again.
    PipelineDelayed: Gauge "pipeline.delayed" "events" ["pipeline"];
    /// The payloads of events in hand.
    PipelineBytes: Gauge "pipeline.bytes" "bytes" ["pipeline"];
    /// Consumers of the first stage ask for so many more.
    PipelineDemand: Gauge "pipeline.demand" "events" ["pipeline"];
    /// Keys that have events in hand.
    PipelineKeys: Gauge "pipeline.keys" "keys" ["pipeline"];
    /// Dead letters that are kept.
    PipelineDeadLetters: Gauge "pipeline.dead_letters" "events" ["pipeline"];
    /// From an event's enqueueing to the start of a worker on it.
    PipelineWait: Timing "pipeline.wait" "ms" ["pipeline"];
    /// A worker's call.
    PipelineRun: Timing "pipeline.run" "ms" ["pipeline"];
    /// From an event's enqueueing, by the clock of the server that took it, to the end of the
    /// writing of what a worker broadcast for it to one client's socket, by this server's clock.
    /// Of a batch, the oldest event counts.
    PipelineDelivery: Timing "pipeline.delivery" "ms" ["pipeline"];
    /// A dispatcher broke its contract and another took its place.
    PipelineReplaced: Counter "pipeline.dispatcher_replaced" "times" ["pipeline"];

    /// What the server may have of memory (`memory.max_bytes`).
    ProcessMemoryMax: Gauge "process.memory_max" "bytes" [];
    /// The server's memory (RSS).
    ProcessMemory: Gauge "process.memory" "bytes" [];
    /// The processor time it used, of one core.
    ProcessCpu: Gauge "process.cpu" "%" [];
    /// How late a timer ran: how long what is ready waits for a thread.
    ProcessLag: Timing "process.lag" "ms" [];

    /// An operator's request was answered; the route is its `operationId` in the admin interface's
    /// description, or `none`, the status `2xx`, `4xx` or `5xx`.
    AdminRequests: Counter "admin.requests" "requests" ["route", "status"];
    /// A connection to the admin interface found `admin.max_connections`, or as many strangers as
    /// there may be, and was turned away.
    AdminRefused: Counter "admin.refused" "connections" [];
    /// A request to the admin interface had no token, or another.
    AdminUnauthorized: Counter "admin.unauthorized" "requests" [];

    /// A plugin's measurement was left out: past `max_metrics` of its call, of another type than
    /// before, or its name is one too many.
    MetricsDropped: Counter "metrics.dropped" "measurements" ["plugin"];
    /// A line of the log found as much waiting as is kept for a slow reader of stderr.
    LogDropped: Counter "log.dropped" "lines" [];
    /// A datagram could not be sent: nobody listens, or the server has no address yet.
    StatsdLost: Counter "statsd.lost" "datagrams" [];
}

/// All metrics as a table in Markdown.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("| name | type | unit | labels | when |\n|---|---|---|---|---|\n");
    for metric in Metric::ALL {
        let Spec { name, kind, unit, labels, when } = metric.spec();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, kind) = (labels.join(", "), kind.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {when} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn metrics_have_the_number_of_their_place_and_names_of_their_own() {
        let mut names = HashSet::new();
        for (number, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, number);
            assert!(names.insert(metric.spec().name), "{metric:?}");
        }
    }

    #[test]
    fn the_docs_have_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../METRICS.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let (before, rest) = docs.split_once("<!-- table -->\n").unwrap();
        let (found, after) = rest.split_once("<!-- end -->").unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let docs = format!("{before}<!-- table -->\n{}<!-- end -->{after}", table());
            return std::fs::write(path, docs).unwrap();
        }
        assert!(found == table(), "run this test with UPDATE_DOCS=1, which writes the table");
    }

    /// The series that a file of `examples/observability` asks Graphite for, as
    /// their type there and the parts of their names after the prefix.
    fn asked_for(text: &str) -> Vec<(&str, Vec<&str>)> {
        let names = text.split("stats.").skip(1).filter_map(|rest| {
            let name = rest.split([')', ',', '"', ' ', '\\']).next()?;
            let mut parts = name.split('.');
            let (kind, _prefix) = (parts.next()?, parts.next()?);
            Some((kind, parts.collect()))
        });
        names.collect()
    }

    /// As the etsy dialect and StatsD's Graphite backend make it.
    fn is_series_of(spec: &Spec, kind: &str, parts: &[&str]) -> bool {
        let (expected, ends) = match spec.kind {
            Kind::Counter => ("counters", 1),
            Kind::Level | Kind::Gauge => ("gauges", 0),
            Kind::Timing | Kind::Distribution | Kind::Histogram => ("timers", 1),
            Kind::Set => ("sets", 1),
        };
        let name: Vec<_> = spec.name.split('.').collect();
        kind == expected
            && parts.len() == name.len() + spec.labels.len() + ends
            && parts.starts_with(&name)
    }

    #[test]
    fn grafana_asks_for_what_there_is() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/observability/grafana/");
        for (file, most) in [("dashboard.json", 45), ("alerts.yaml", 36)] {
            let text = std::fs::read_to_string(format!("{folder}{file}")).unwrap();
            let asked = asked_for(&text);
            assert!(asked.len() >= most, "{file} asks for {}", asked.len());
            for (kind, parts) in asked {
                let known = Metric::ALL.iter().any(|m| is_series_of(&m.spec(), kind, &parts));
                assert!(known, "{file} asks for {kind} {parts:?}");
            }
        }
    }
}
