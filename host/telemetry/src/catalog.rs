//! Every metric of the server: its name, type, unit and labels, and when it
//! is recorded. `host/METRICS.md` is made of this table.

use std::fmt::Write;

use super::registry::Kind;

/// The row of a metric in the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name without the prefix.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    /// The names of the labels, in the order in which they are folded into names.
    pub labels: &'static [&'static str],
    /// The event at which it is recorded, or what its value is.
    pub when: &'static str,
}

/// Makes the enum, and the table of its metrics.
macro_rules! catalog {
    ($($(#[doc = $when:literal])+ $variant:ident: $kind:ident $name:literal $unit:literal
        [$($label:literal),*];)+) => {
        /// A metric of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $when])+ $variant,)+
        }

        impl Metric {
            /// All metrics, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The metric's row in the table.
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
    /// Connections of clients that are open, without those of the dashboard.
    SocketOpen: Level "socket.open" "connections" [];
    /// The time from a handshake's request to its answer; the result is `ok`, `refused` or `error`.
    SocketConnect: Timing "socket.connect" "ms" ["result", "transport", "vsn"];
    /// A connection was refused. The reason is the limit that was reached: `full`
    /// (`max_connections`), `address_full` (`max_connections_per_address`), `rate`
    /// (`max_connects_per_second`), `address_rate` (`max_connects_per_second_per_address`),
    /// `memory` (`memory.max_bytes`), `tls_busy` (`tls.max_handshakes`) or `tls_rate`
    /// (`tls.max_handshakes_per_second`). Or it is `origin`: its page may not connect; `vsn`: its
    /// protocol version is not known; `host`: on loopback, the host of the request is not known
    /// (`socket.hosts`); `repeated`: it was closed after ten handshakes that were refused;
    /// `proxy_header`: it did not begin as its listener's `proxy_protocol` asks for; `tls`: its TLS
    /// handshake failed or took too long.
    SocketRefused: Counter "socket.refused" "connections" ["reason"];
    /// A client of an app with `[auth]` was refused with 403, before its plugin was asked. The
    /// reason is `missing`, as it has no token; `expired`, `not_yet_valid`, `bad_signature`,
    /// `unknown_key`, `ambiguous_key`, `wrong_algorithm`, `critical_header`, `wrong_issuer`,
    /// `wrong_audience`, `missing_claim`, `bad_claim`, `bad_user_id`, `unsupported_data`,
    /// `malformed`, `too_large` or `kind_not_accepted`, which are of its token; or
    /// `keys_unavailable`, as the keys were not fetched yet.
    AuthRefused: Counter "auth.refused" "connections" ["reason"];
    /// The keys of `[auth.jwt.jwks]` were fetched; the result is `ok`, `unreachable`, `timeout`,
    /// `status` (other than 200), `too_large` or `invalid`.
    AuthKeysFetched: Counter "auth.keys_fetched" "fetches" ["result"];
    /// A certificate or a secret in a file has changed and was read again: `ok`, or `failed` if the
    /// new one is not valid, and the server goes on with the old one.
    Reread: Counter "reread" "files" ["result"];
    /// A connection ended; the code is that of the close frame, or 1006 without one.
    SocketClose: Counter "socket.close" "connections" ["code", "reason"];
    /// A plugin or an operator closed a connection by its user id.
    SocketDisconnected: Counter "socket.disconnected" "connections" [];
    /// A request over HTTP was given up. The part is `head` if the head of a connection's first
    /// request did not come within `handshake_timeout_ms` (of the admin interface:
    /// `admin.timeout_ms`), `body` if its body did not come within `http.timeout_ms`, `response` if
    /// its client read next to nothing of the response for as long as the head may take, and
    /// `unread` if more data came behind the response than is discarded.
    RequestCutOff: Counter "request.cut_off" "requests" ["part"];
    /// A client sent more than `max_messages_per_second` or `max_bytes_per_second`, and its socket
    /// was not read for a while.
    SocketThrottled: Counter "socket.throttled" "times" [];
    /// A connection reached `max_pending_bytes`, and its socket was not read for a while.
    SocketPaused: Counter "socket.paused" "times" [];
    /// Memory of messages that were received and are not handled yet, of all connections.
    SocketPending: Gauge "socket.pending" "bytes" [];
    /// Messages were received from clients.
    SocketFramesIn: Counter "socket.frames_in" "frames" [];
    /// Bytes of the payloads of messages from clients.
    SocketBytesIn: Counter "socket.bytes_in" "bytes" [];
    /// Messages were handed to sockets.
    SocketFramesOut: Counter "socket.frames_out" "frames" [];
    /// Bytes of the payloads of messages to sockets.
    SocketBytesOut: Counter "socket.bytes_out" "bytes" [];

    /// Long-poll sessions that are open; `socket.open` counts them, too.
    LongPollOpen: Level "longpoll.open" "sessions" [];
    /// A poll ended: `messages` (it was answered with some), `empty` (there were none within
    /// `longpoll.window_ms`), `superseded` (its client began another), `gone` (its session has
    /// ended) or `given_up` (its client did).
    LongPollPolls: Counter "longpoll.polls" "polls" ["result"];
    /// A request with messages of a long-poll client ended: `ok`, `gone` (its session has ended),
    /// `timeout` (its session did not read them within `longpoll.window_ms`) or `refused` (its body
    /// is too large or malformed).
    LongPollPosts: Counter "longpoll.posts" "requests" ["result"];
    /// The answer to a poll was not written, and its messages wait for the next poll.
    LongPollReturned: Counter "longpoll.returned" "answers" [];
    /// A binary message to a long-poll client was dropped, as long-polling has no form for it.
    LongPollBinaryDropped: Counter "longpoll.binary_dropped" "messages" [];

    /// A message was answered with an error because its payload is JSON that many parsers refuse
    /// (half of a surrogate pair, or a number beyond 64-bit floats).
    MessageRefused: Counter "message.refused" "messages" [];
    /// Channels that are joined, by the pattern of their topics.
    ChannelOpen: Level "channel.open" "channels" ["channel"];
    /// The time from a join's call to its answer; the result is `ok`, `refused`, `crashed`,
    /// `timeout`, `overloaded` or `unavailable`.
    ChannelJoin: Timing "channel.join" "ms" ["channel", "result"];
    /// The time from the start of a `handle-in`, with its wait for an instance, to its end.
    ChannelIn: Timing "channel.in" "ms" ["channel", "event"];
    /// Messages that wait for their turn in their channels.
    ChannelWaiting: Level "channel.waiting" "messages" [];
    /// A join was refused because of `max_joins_per_second`, or of its connection's share of it.
    JoinRefused: Counter "join.refused" "joins" [];
    /// A join was refused because `max_channels` are joined, or its topic is too long.
    ChannelRefused: Counter "channel.refused" "joins" [];
    /// A message was answered with `overloaded` because `max_pending` messages wait in its channel.
    ChannelOverloaded: Counter "channel.overloaded" "messages" [];
    /// A broadcast or timer for a handler was dropped because `max_pending` messages wait in its
    /// channel.
    ChannelNoticesDropped: Counter "channel.notices_dropped" "messages" [];
    /// A subscription was refused because of `max_subscriptions`.
    SubscriptionRefused: Counter "subscription.refused" "subscriptions" [];
    /// Members of all topics: those who are present, each topic's for itself.
    PresenceMembers: Gauge "presence.members" "members" [];
    /// A change of presence was left out: `tracked`, `not_tracked`, `key`, `meta`, `max_metas`
    /// or `max_keys`.
    PresenceRefused: Counter "presence.refused" "changes" ["reason"];
    /// A `presence_state`, `presence_diff` or `presence_count` was sent to the clients of a topic.
    PresenceSent: Counter "presence.sent" "messages" ["event"];
    /// A `presence_state` was sent again to a client whose outbox had dropped a change.
    PresenceResent: Counter "presence.resent" "messages" [];
    /// A change was left out of a plugin's `handle-presence`, as `presence.max_waiting` waited.
    PresenceUnhandled: Counter "presence.unhandled" "changes" [];
    /// An answer, a push or a change of presence was dropped because its channel had been left.
    LateGone: Counter "late.gone" "messages" [];
    /// A call was given up because its client had joined again.
    CallCutOff: Counter "call.cut_off" "calls" [];
    /// A task was started.
    TaskStarted: Counter "task.started" "tasks" [];
    /// A task was refused because of `max_tasks`.
    TaskRefused: Counter "task.refused" "tasks" [];
    /// A task failed.
    TaskFailed: Counter "task.failed" "tasks" [];

    /// The time from the start of a call or task in its instance to its end, with the time it
    /// waited.
    WasmTime: Timing "wasm.time" "ms" ["plugin", "version"];
    /// The fuel that a call or task used.
    WasmFuel: Distribution "wasm.fuel" "fuel" ["plugin", "version"];
    /// The memory of an instance after a call or task.
    WasmMemory: Distribution "wasm.memory" "bytes" ["plugin", "version"];
    /// A call or task failed. The cause is `trap` (also a panic), `fuel`, `memory`, `bad_return`,
    /// `instantiation` or `deadline`; `server` when the server panicked in it; `no_room` when the
    /// machine had no room for an instance; `overloaded` when others left it no instance or memory
    /// until its time was up; `held` when it was not made because too many calls before it had
    /// failed.
    WasmFault: Counter "wasm.fault" "calls" ["plugin", "cause"];
    /// Instances that exist.
    WasmInstances: Level "wasm.instances" "instances" ["plugin"];
    /// The memory of all instances together, which `max_total_memory_bytes` limits.
    WasmMemoryTotal: Level "wasm.memory_total" "bytes" ["plugin"];
    /// The time a call waited because there were `max_instances`, or because its connection had its
    /// share of them.
    WasmWait: Timing "wasm.wait" "ms" ["plugin"];
    /// The time it took to make an instance.
    WasmInstantiate: Timing "wasm.instantiate" "ms" ["plugin"];
    /// The time it took to read a component, to compile it or find it in the cache, and to check
    /// it; the result is `ok` or `failed`.
    WasmLoad: Timing "wasm.load" "ms" ["plugin", "result"];
    /// A version was to replace another one: it is `live` or a `canary`, or it was `refused`,
    /// `rolled_back`, or `superseded` by a later version.
    PluginExchanged: Counter "plugin.exchanged" "times" ["plugin", "outcome"];
    /// The time it took to make another version the live one, after all steps before that were
    /// done.
    WasmSwap: Timing "wasm.swap" "ms" ["plugin"];

    /// Bytes that wait in the outboxes of all connections.
    OutboxBytes: Gauge "outbox.bytes" "bytes" [];
    /// Bytes that wait in the fullest outbox.
    OutboxBytesMax: Gauge "outbox.bytes_max" "bytes" [];
    /// A message did not fit into `outbox_bytes`. By policy, the oldest message was dropped
    /// (`drop_oldest`), it replaced an older one (`conflate`), or the connection was closed
    /// (`close`).
    OutboxDropped: Counter "outbox.dropped" "messages" ["policy"];

    /// A message was broadcast.
    BroadcastSent: Counter "broadcast.sent" "messages" [];
    /// The number of subscribers that a broadcast reached.
    BroadcastFanout: Distribution "broadcast.fanout" "subscribers" [];
    /// The time from a broadcast's start to the end of its writing to one client's socket.
    BroadcastDelivery: Timing "broadcast.delivery" "ms" [];

    /// A plugin wanted to `publish`, `enqueue`, `subscribe` or `disconnect` where `grants` does not
    /// allow it, or to `reply` with a socket ref that it was not given.
    PluginDenied: Counter "plugin.denied" "effects" ["plugin", "grant"];

    /// A plugin sent a request to another server.
    HttpRequests: Counter "http.requests" "requests" ["plugin"];
    /// A plugin's request failed: `denied`, `invalid`, `unreachable`, `timeout`, `too_large` or
    /// `overloaded`.
    HttpFailed: Counter "http.failed" "requests" ["plugin", "reason"];

    /// Events were accepted from producers.
    PipelineAccepted: Counter "pipeline.accepted" "events" ["pipeline"];
    /// Events were refused because the buffer was full (`buffer.size`, `max_bytes`, `max_per_key`),
    /// and their producers were told; of a request over HTTP, all of its events.
    PipelineRejected: Counter "pipeline.rejected" "events" ["pipeline"];
    /// Events passed all stages.
    PipelineDone: Counter "pipeline.done" "events" ["pipeline"];
    /// Events failed and were given up.
    PipelineFailed: Counter "pipeline.failed" "events" ["pipeline"];
    /// Events were dropped: `newest` or `oldest` of a full buffer, `expired` (`deadline_ms`),
    /// `unselected` by all workers of a broadcast, by the `worker`, or at `shutdown`.
    PipelineDropped: Counter "pipeline.dropped" "events" ["pipeline", "reason"];
    /// Attempts failed and will be repeated.
    PipelineRetried: Counter "pipeline.retried" "events" ["pipeline"];
    /// Events that wait for a worker, before all stages together. At any instant accepted = done +
    /// failed + dropped + in flight + buffered.
    PipelineBuffered: Gauge "pipeline.buffered" "events" ["pipeline"];
    /// Events that workers handle now.
    PipelineInFlight: Gauge "pipeline.in_flight" "events" ["pipeline"];
    /// Events among the buffered ones that wait for their next attempt.
    PipelineDelayed: Gauge "pipeline.delayed" "events" ["pipeline"];
    /// Bytes of the payloads of all events that are buffered or in flight.
    PipelineBytes: Gauge "pipeline.bytes" "bytes" ["pipeline"];
    /// Events that the consumers of the first stage ask for in addition.
    PipelineDemand: Gauge "pipeline.demand" "events" ["pipeline"];
    /// Keys that have events in the pipeline.
    PipelineKeys: Gauge "pipeline.keys" "keys" ["pipeline"];
    /// Dead letters that are stored.
    PipelineDeadLetters: Gauge "pipeline.dead_letters" "events" ["pipeline"];
    /// The time from an event's enqueueing to the start of a worker on it.
    PipelineWait: Timing "pipeline.wait" "ms" ["pipeline"];
    /// The time that a worker's call took.
    PipelineRun: Timing "pipeline.run" "ms" ["pipeline"];
    /// The time from an event's enqueueing, by the clock of the server that took it, to the end of
    /// writing a worker's broadcast for it to one client's socket, by this server's clock. Of a
    /// batch, the oldest event counts.
    PipelineDelivery: Timing "pipeline.delivery" "ms" ["pipeline"];
    /// A dispatcher broke its contract and another took its place.
    PipelineReplaced: Counter "pipeline.dispatcher_replaced" "times" ["pipeline"];

    /// The memory that the server may use (`memory.max_bytes`).
    ProcessMemoryMax: Gauge "process.memory_max" "bytes" [];
    /// The memory that the server uses (RSS).
    ProcessMemory: Gauge "process.memory" "bytes" [];
    /// The processor time that the server used, in percent of one core.
    ProcessCpu: Gauge "process.cpu" "%" [];
    /// The delay of a timer: how long work that is ready waits for a thread.
    ProcessLag: Timing "process.lag" "ms" [];

    /// An operator's request was answered; the route is its `operationId` in the admin interface's
    /// description, or `none`; the status is `2xx`, `4xx` or `5xx`.
    AdminRequests: Counter "admin.requests" "requests" ["route", "status"];
    /// A connection to the admin interface was refused because of `admin.max_connections`, or
    /// because as many connections without a valid token are open as may be.
    AdminRefused: Counter "admin.refused" "connections" [];
    /// A request to the admin interface had no token, or a wrong one.
    AdminUnauthorized: Counter "admin.unauthorized" "requests" [];

    /// A plugin's measurement was dropped: it was beyond `max_metrics` of its call, its type
    /// differed from before, or the plugin had too many names.
    MetricsDropped: Counter "metrics.dropped" "measurements" ["plugin"];
    /// A line of the log was dropped because the reader of stderr is slow, and too many lines wait.
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

    /// The series that a file of `examples/observability` asks Graphite for: their type there, and
    /// the parts of their names after the prefix.
    fn asked_for(text: &str) -> Vec<(&str, Vec<&str>)> {
        let names = text.split("stats.").skip(1).filter_map(|rest| {
            let name = rest.split([')', ',', '"', ' ', '\\']).next()?;
            let mut parts = name.split('.');
            let (kind, _prefix) = (parts.next()?, parts.next()?);
            Some((kind, parts.collect()))
        });
        names.collect()
    }

    /// Whether the etsy dialect and StatsD's Graphite backend make such a series of the metric.
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
