//! Log lines about limits that were reached lately: operators without StatsD see them, too.

use tracing::warn;

use super::registry::{Registry, SeriesKey};
use super::window::{Reading, Window};

/// A limit, and the counter that rises when it is reached.
#[derive(Debug)]
struct Limit {
    /// The counter's name, and the value of one of its labels if only that one counts.
    counter: &'static str,
    label: Option<&'static str>,
    /// The limit's keys in `millrace.toml`.
    keys: &'static str,
    /// What happens at the limit.
    what: &'static str,
}

const LIMITS: &[Limit] = &[
    limit("socket.refused", "full", "socket.max_connections", "new connections get 503"),
    limit(
        "socket.refused",
        "address_full",
        "socket.max_connections_per_address",
        "new connections of the address get 503",
    ),
    limit("socket.refused", "rate", "socket.max_connects_per_second", "handshakes get 503"),
    limit(
        "socket.refused",
        "address_rate",
        "socket.max_connects_per_second_per_address",
        "handshakes of the address get 503",
    ),
    limit("socket.close", "too_big", "socket.max_frame_bytes", "connections were closed, 1009"),
    limit(
        "socket.close",
        "unfinished",
        "socket.message_timeout_ms",
        "connections whose message did not come whole were closed, 1002",
    ),
    limit(
        "socket.close",
        "overloaded",
        "socket.outbox_bytes, socket.stall_timeout_ms",
        "connections of clients that do not read were closed, 1013",
    ),
    any("outbox.dropped", "socket.outbox_bytes", "messages for slow clients were left out"),
    any("socket.paused", "socket.max_pending_bytes", "connections are not read for a while"),
    any(
        "socket.throttled",
        "socket.max_messages_per_second, socket.max_bytes_per_second",
        "connections are not read for a while",
    ),
    any("subscription.refused", "socket.max_subscriptions", "subscriptions were left out"),
    any("join.refused", "socket.max_joins_per_second", "joins are refused"),
    any("channel.refused", "socket.max_channels", "joins are refused"),
    any("channel.overloaded", "socket.max_pending", "messages are answered `overloaded`"),
    any("task.refused", "socket.max_tasks, limits.max_tasks", "messages are answered `overloaded`"),
    limit(
        "wasm.fault",
        "overloaded",
        "limits.max_instances, limits.max_total_memory_bytes",
        "calls wait, and are answered `overloaded`",
    ),
    limit(
        "wasm.fault",
        "held",
        "socket.max_faults, limits.on_faults",
        "calls of clients or plugins that faulted are answered `unavailable`",
    ),
    any("metrics.dropped", "limits.max_metrics", "measurements of plugins were left out"),
    any(
        "pipeline.rejected",
        "buffer.size, buffer.max_bytes, buffer.max_per_key",
        "events are refused",
    ),
    limit("request.cut_off", "body", "http.timeout_ms", "requests whose body did not come get 408"),
    any("admin.refused", "admin.max_connections", "requests of operators are refused"),
];

const fn limit(
    counter: &'static str,
    label: &'static str,
    keys: &'static str,
    what: &'static str,
) -> Limit {
    Limit { counter, label: Some(label), keys, what }
}

const fn any(counter: &'static str, keys: &'static str, what: &'static str) -> Limit {
    Limit { counter, label: None, keys, what }
}

impl Limit {
    fn counts(&self, key: &SeriesKey) -> bool {
        let has = |wanted: &str| key.labels.iter().any(|(_, value)| value == wanted);
        key.name == self.counter && self.label.is_none_or(has)
    }
}

/// Checks now and then which limits were reached, and logs each of them in one line.
#[derive(Debug, Default)]
pub struct LimitLog {
    window: Window,
    /// The number of calls since the last check.
    skipped: u32,
}

/// One of this many calls of [`LimitLog::log`] checks.
const CHECK_EVERY: u32 = 10;

impl LimitLog {
    /// Checks and logs every tenth time. To be called about once a second.
    pub fn log(&mut self, registry: &Registry) {
        self.skipped += 1;
        if self.skipped < CHECK_EVERY {
            return;
        }
        self.skipped = 0;
        for (limit, times) in self.check(registry) {
            let Limit { keys, what, counter, .. } = limit;
            warn!(limit = keys, times, counter, "a limit was reached: {what}");
        }
    }

    /// The limits that were reached since the last check, and how often.
    fn check(&mut self, registry: &Registry) -> Vec<(&'static Limit, i64)> {
        let mut times = vec![0; LIMITS.len()];
        for (key, reading) in self.window.next(registry) {
            let Reading::Added(added) = reading else { continue };
            for (times, _) in times.iter_mut().zip(LIMITS).filter(|(_, limit)| limit.counts(&key)) {
                *times += added;
            }
        }
        LIMITS.iter().zip(times).filter(|(_, times)| *times > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventNames, Metric, Metrics, MetricsOptions};

    #[test]
    fn every_limit_has_a_counter_that_there_is() {
        for limit in LIMITS {
            let mut specs = Metric::ALL.iter().map(|metric| metric.spec());
            let spec = specs.find(|spec| spec.name == limit.counter).unwrap();
            assert!(limit.label.is_none() || !spec.labels.is_empty(), "{}", limit.counter);
            if let Some(label) = limit.label.filter(|_| limit.counter == "socket.refused") {
                assert!(spec.when.contains(&format!("`{label}`")), "{label}: {}", spec.when);
            }
        }
    }

    /// Each log line is described in the operators' pages, and its keys and counters exist.
    #[test]
    fn every_limit_is_in_the_pages_for_operators() {
        let pages = concat!(
            include_str!("../../docs/configuration.md"),
            include_str!("../../docs/operating.md"),
            include_str!("../../docs/protocol.md"),
        );
        let words: Vec<&str> = pages.split_whitespace().collect();
        let words = words.join(" ");
        let Limit { keys, what, .. } = &LIMITS[0];
        let line = format!("a limit was reached: {what} limit=\"{keys}\" times=");
        assert!(words.contains(&line), "host/docs does not have: {line}");
        let is_there = |wanted: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            pages.split(|c| !letter(c)).any(|word| word == wanted)
        };
        for Limit { counter, label, keys, .. } in LIMITS {
            for key in keys.split(", ") {
                let name = key.rsplit('.').next().unwrap();
                assert!(is_there(name), "host/docs does not have {key}");
            }
            let label = label.unwrap_or_default();
            assert!(pages.contains(counter), "host/docs does not have {counter} ({label})");
            assert!(
                label.is_empty() || is_there(label),
                "host/docs does not have {counter}.{label}"
            );
        }
    }

    #[test]
    fn a_limit_is_told_once_for_all_the_times_it_was_reached() {
        let options =
            MetricsOptions { statsd: None, in_process: true, events: EventNames::default() };
        let metrics = Metrics::new(options).unwrap();
        let mut reached = LimitLog::default();
        assert!(reached.check(metrics.registry()).is_empty());
        metrics.count_of(Metric::SocketRefused, &["full"], 2);
        metrics.count_of(Metric::SocketRefused, &["origin"], 5);
        metrics.count_of(Metric::WasmFault, &["room", "held"], 1);
        metrics.count_of(Metric::WasmFault, &["chat", "held"], 3);
        metrics.count_of(Metric::WasmFault, &["chat", "trap"], 3);
        let told = reached.check(metrics.registry());
        let told: Vec<_> = told.into_iter().map(|(limit, times)| (limit.keys, times)).collect();
        let expected = [("socket.max_connections", 2), ("socket.max_faults, limits.on_faults", 4)];
        assert_eq!(told, expected);
        assert!(reached.check(metrics.registry()).is_empty());
    }
}
