//! The frames of `millrace top`: a snapshot as lines of text.

use serde_json::Value;

use super::table::{Table, printable};
use super::value::{decimal, list, number, text};

/// The data of one frame.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// The server's URL.
    pub(super) url: &'a str,
    /// The response to `GET /health`.
    pub(super) health: &'a Value,
    /// The response to `GET /snapshot`.
    pub(super) snapshot: &'a Value,
    /// The time in seconds since the Unix epoch.
    pub(super) now: f64,
}

/// The most faults that are shown.
const MAX_FAULTS: usize = 8;

impl View<'_> {
    /// The whole frame, line by line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.summary();
        // What is unusual is marked by its first column, and not by a colour.
        let unusual = list(self.snapshot, &["unusual"]).iter();
        lines.extend(unusual.map(|unusual| format!("! {}", text(unusual, &["text"]))));
        for table in [self.plugins(), self.pipelines(), self.faults()] {
            if !table.is_empty() {
                lines.push(String::new());
                lines.extend(table.lines());
            }
        }
        lines
    }

    fn summary(&self) -> Vec<String> {
        let whole = |name: &str| grouped(self.sample(name));
        let (p50, p99) = self.quantiles("handled_ms");
        let (delivered, delivered_p99) = self.quantiles("delivered_ms");
        let of = |name| text(self.health, &[name]);
        vec![
            format!("millrace {} at {}: {}", of("version"), self.url, of("stage")),
            format!(
                "{} connections, {} channels, cpu {:.0} %, memory {}",
                whole("connections"),
                whole("channels"),
                self.sample("cpu_percent"),
                bytes(self.sample("memory_bytes"))
            ),
            format!(
                "messages/s {} in, {} out; joins/s {}, broadcasts/s {}, faults/s {}",
                whole("frames_in"),
                whole("frames_out"),
                whole("joins"),
                whole("broadcasts"),
                whole("faults")
            ),
            format!(
                "handled p50 {p50} p99 {p99}; delivered p50 {delivered} p99 {delivered_p99}; \
                 waiting {}, in outboxes {}",
                whole("waiting"),
                bytes(self.sample("outbox_bytes"))
            ),
        ]
    }

    fn plugins(&self) -> Table {
        let columns = ["PLUGIN", "VERSION", ">CALLS/S", ">P50", ">P99", ">INSTANCES", ">FAULTS/S"];
        let mut table = Table::new(&columns);
        let mut plugins: Vec<_> = list(self.snapshot, &["plugins"]).iter().collect();
        plugins.sort_by_key(|plugin| text(plugin, &["plugin"]));
        for plugin in plugins {
            let rate = |name| grouped(decimal(plugin, &[name]).unwrap_or_default());
            let (p50, p99) = quantiles(plugin, &["time_ms"]);
            let [name, version] = ["plugin", "version"].map(|name| text(plugin, &[name]));
            table.row([name, version, rate("calls"), p50, p99, rate("instances"), rate("faults")]);
        }
        table
    }

    fn pipelines(&self) -> Table {
        let numbers = ["accepted", "done", "failed", "dropped", "buffered", "in_flight"];
        let mut table = Table::new(&[
            "PIPELINE",
            "DISPATCHER",
            ">IN/S",
            ">DONE/S",
            ">FAILED/S",
            ">DROPPED/S",
            ">BUFFERED",
            ">IN FLIGHT",
            ">WAIT P99",
            ">DEAD LETTERS",
        ]);
        for pipeline in list(self.snapshot, &["pipelines"]) {
            let of = |name| grouped(decimal(pipeline, &[name]).unwrap_or_default());
            let names = ["pipeline", "dispatcher"].map(|name| text(pipeline, &[name]));
            let (_, wait) = quantiles(pipeline, &["wait_ms"]);
            let cells = names.into_iter().chain(numbers.map(of));
            table.row(cells.chain([wait, of("dead_letters")]));
        }
        table
    }

    fn faults(&self) -> Table {
        let mut table = Table::new(&["FAULT", "CAUSE", "AT", ">AGO", ">TIMES", "MESSAGE"]);
        for fault in list(self.snapshot, &["faults"]).iter().take(MAX_FAULTS) {
            let ago = self.now - decimal(fault, &["at"]).unwrap_or_default();
            let [plugin, cause, topic] = ["plugin", "cause", "topic"].map(|n| text(fault, &[n]));
            let times = number(fault, &["count"]).to_string();
            let message = reason(&text(fault, &["message"]));
            table.row([plugin, cause, topic, age(ago), times, message]);
        }
        table
    }

    fn sample(&self, name: &str) -> f64 {
        decimal(self.snapshot, &["sample", name]).unwrap_or_default()
    }

    fn quantiles(&self, name: &str) -> (String, String) {
        quantiles(self.snapshot, &["sample", name])
    }
}

/// The median and the 99th percentile.
fn quantiles(value: &Value, path: &[&str]) -> (String, String) {
    let of = |name| {
        let found = decimal(value, &[path, &[name]].concat());
        found.map_or_else(|| "-".to_owned(), milliseconds)
    };
    (of("p50"), of("p99"))
}

/// A time in milliseconds as text. It is measured in whole microseconds.
fn milliseconds(ms: f64) -> String {
    match ms {
        seconds if seconds >= 1000.0 => format!("{:.1} s", seconds / 1000.0),
        // 999.6 µs would be rounded to 1000 µs.
        ms if ms >= 0.9995 => format!("{ms:.1} ms"),
        ms if ms >= 0.0005 => format!("{:.0} µs", ms * 1000.0),
        _ => "<1 µs".to_owned(),
    }
}

/// A whole number, its digits in groups of three.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn bytes(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes {
        mib if mib >= KIB * KIB => format!("{:.1} MiB", mib / KIB / KIB),
        kib if kib >= KIB => format!("{:.1} KiB", kib / KIB),
        bytes => format!("{bytes:.0} B"),
    }
}

/// A time span as text, in its largest unit.
fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        hours if hours >= 3600.0 => format!("{:.0} h", hours / 3600.0),
        minutes if minutes >= 60.0 => format!("{:.0} min", minutes / 60.0),
        seconds => format!("{seconds:.0} s"),
    }
}

/// The message of a fault in one line. For a panic it is what the panic says, not its place.
fn reason(message: &str) -> String {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or_default();
    let said = lines.next().filter(|_| first.contains(" panicked at "));
    said.unwrap_or(first).to_owned()
}

/// The part of the lines that fits into a terminal.
pub(super) fn fit(lines: Vec<String>, columns: usize, rows: usize) -> Vec<String> {
    let fit = |line: String| printable(&line).chars().take(columns).collect();
    lines.into_iter().take(rows).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0.0, 999.4, 1234.0, 1e6].map(grouped), ["0", "999", "1,234", "1,000,000"]);
        assert_eq!([5.0, 2048.0, 1.5 * 1048576.0].map(bytes), ["5 B", "2.0 KiB", "1.5 MiB"]);
        let times = [0.0, 0.0004, 0.041, 0.9996, 12.34, 2100.0].map(milliseconds);
        assert_eq!(times, ["<1 µs", "<1 µs", "41 µs", "1.0 ms", "12.3 ms", "2.1 s"]);
        assert_eq!([3.2, 65.0, 7300.0].map(age), ["3 s", "1 min", "2 h"]);
    }

    #[test]
    fn what_there_is_is_shown_and_nothing_else() {
        let health = json!({ "stage": "ready", "version": "1.2.3" });
        let quantiles = json!({ "p50": 0.41, "p99": null });
        let plugin = json!({ "plugin": "room", "version": "ab", "calls": 12.0,
            "time_ms": quantiles, "instances": 2.0, "faults": 0.0 });
        let fault = json!({ "at": 90.0, "plugin": "room", "cause": "trap", "topic": "room:1",
            "message": "thread 'x' panicked at a.rs:1:\nfirst\nsecond", "count": 3 });
        let unusual = json!({ "text": "delivery p99 is 6 times its usual: 61 ms, usually 10 ms" });
        let snapshot = json!({ "sample": { "connections": 1200.0, "handled_ms": quantiles },
            "unusual": [unusual],
            "plugins": [plugin], "pipelines": [], "faults": [fault] });
        let view = View { url: "http://x", health: &health, snapshot: &snapshot, now: 100.0 };
        let lines = view.lines();
        let text = lines.join("\n");
        for part in [
            "millrace 1.2.3 at http://x: ready",
            "1,200 connections",
            "handled p50 410 µs p99 -;",
            "\n! delivery p99 is 6 times its usual: 61 ms, usually 10 ms\n",
            "room    ab            12  410 µs    -          2         0",
            "room   trap   room:1  10 s      3  first",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("PIPELINE") && !text.contains("second"), "{text}");
        assert_eq!(fit(lines, 8, 2), ["millrace", "1,200 co"]);
    }
}
