//! Snapshots of the server, made of what was recorded since the last one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_pipeline::Pipeline;
use millrace_telemetry::{Distribution, Metrics, Reading, SeriesKey, TopicRate, Window};
use serde::Serialize;

use super::pipelines::PipelineRow;
use super::unusual::{Unusual, Watches};
use crate::plugin::RecentFault;

/// A snapshot of the server. Rates are per second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    /// The figures that the charts show.
    pub(crate) sample: Sample,
    /// The figures of the sample that have left their last quarter of an hour.
    unusual: Vec<Unusual>,
    /// The versions of plugins, by name and version.
    plugins: Vec<PluginRow>,
    /// Joined channels by topic pattern.
    channels: BTreeMap<String, f64>,
    /// The pipelines, by name.
    pipelines: Vec<PipelineRow>,
    /// The topics with the most messages, the largest first.
    topics: Vec<TopicRate>,
    /// The topics with the most members, the largest first.
    presences: Vec<PresenceRow>,
    /// The clients for which the most bytes wait, the largest first.
    slow_clients: Vec<SlowClient>,
    /// The last faults, newest first.
    faults: Vec<RecentFault>,
}

/// The figures of one second. Rates are per second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// The time, in seconds since the Unix epoch.
    pub(super) at: f64,
    pub(super) connections: f64,
    pub(super) channels: f64,
    /// Handshakes of clients that were answered.
    pub(super) connects: f64,
    /// Connections that were turned away.
    pub(super) refused: f64,
    pub(super) joins: f64,
    pub(super) frames_in: f64,
    pub(super) frames_out: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) broadcasts: f64,
    /// Messages that wait in mailboxes of channels.
    pub(super) waiting: f64,
    /// Messages that were answered with `overloaded`.
    pub(super) overloaded: f64,
    /// Messages that did not fit into outboxes.
    pub(super) dropped: f64,
    pub(super) faults: f64,
    /// The duration of `handle-in`, in milliseconds.
    pub(super) handled_ms: Quantiles,
    /// The time from a broadcast to its writing to the socket, in milliseconds.
    pub(super) delivered_ms: Quantiles,
    /// The time by which timers run late, in milliseconds.
    pub(super) lag_ms: Quantiles,
    pub(super) outbox_bytes: f64,
    pub(super) cpu_percent: f64,
    pub(super) memory_bytes: f64,
    /// The fuel that was used per second, by plugin.
    pub(super) fuel: BTreeMap<String, f64>,
}

/// The median and the 99th percentile of a distribution; `None` if nothing was measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// The row of one version of a plugin. Rates are per second.
#[derive(Clone, Debug, Default, Serialize)]
struct PluginRow {
    plugin: String,
    version: String,
    calls: f64,
    time_ms: Quantiles,
    /// The fuel of one call.
    fuel: Quantiles,
    memory_bytes: Quantiles,
    /// The live instances of all versions of the plugin.
    instances: f64,
    /// The faults of all versions of the plugin, per second.
    faults: f64,
}

/// The members of one topic.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PresenceRow {
    pub(crate) topic: String,
    pub(crate) members: usize,
}

/// A client for which bytes wait in its outbox.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SlowClient {
    pub(crate) connection: u64,
    pub(crate) user: Option<String>,
    pub(crate) bytes: usize,
}

/// The data that a snapshot is made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) metrics: &'a Metrics,
    /// The clients for which bytes wait.
    pub(crate) waiting: Vec<SlowClient>,
    /// The topics with the most members, the largest first.
    pub(crate) presences: Vec<PresenceRow>,
    /// The last faults, newest first.
    pub(crate) faults: Vec<RecentFault>,
    pub(crate) pipelines: Vec<Arc<Pipeline>>,
    /// The live version of each plugin, by its name.
    pub(crate) versions: Vec<(String, String)>,
    /// The time since the last snapshot.
    pub(crate) passed: Duration,
}

/// Makes snapshots, from time to time.
#[derive(Debug, Default)]
pub(crate) struct SnapshotBuilder {
    window: Window,
    watches: Watches,
}

/// The number of rows of a table; the largest are shown.
pub(crate) const MAX_ROWS: usize = 10;

impl SnapshotBuilder {
    /// Makes the snapshot of the time since the last one.
    pub(crate) fn build(&mut self, sources: Sources<'_>) -> Snapshot {
        let seconds = sources.passed.as_secs_f64().max(1e-3);
        let mut view = View { seconds, ..View::default() };
        for (key, reading) in self.window.next(sources.metrics.registry()) {
            view.take(&key, reading);
        }
        let mut snapshot = view.finish(sources.versions.into_iter());
        for pipeline in &sources.pipelines {
            let rows = &mut snapshot.pipelines;
            if let Some(row) = rows.iter_mut().find(|row| row.pipeline() == pipeline.name()) {
                row.look(pipeline);
            }
        }
        snapshot.topics = sources.metrics.topics().take(MAX_ROWS, seconds);
        snapshot.presences = sources.presences;
        snapshot.slow_clients = slowest(sources.waiting);
        snapshot.faults = sources.faults;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        snapshot.sample.at = now.as_secs_f64();
        snapshot.unusual = self.watches.look(&snapshot.sample, seconds);
        snapshot
    }
}

/// The clients for which the most bytes wait.
fn slowest(mut waiting: Vec<SlowClient>) -> Vec<SlowClient> {
    waiting.sort_by_key(|client| std::cmp::Reverse(client.bytes));
    waiting.truncate(MAX_ROWS);
    waiting
}

/// A snapshot that is being made.
#[derive(Debug, Default)]
struct View {
    seconds: f64,
    snapshot: Snapshot,
    handled: Distribution,
    plugins: BTreeMap<(String, String), PluginRow>,
    pipelines: BTreeMap<String, PipelineRow>,
    instances: BTreeMap<String, f64>,
    faults: BTreeMap<String, f64>,
}

impl View {
    fn take(&mut self, key: &SeriesKey, reading: Reading) {
        match reading {
            Reading::Added(added) => self.added(key, added),
            Reading::Level(level) => self.level(key, level),
            Reading::Timing(all) => self.distribution(key, &all, 1000.0),
            Reading::Distribution(all) => self.distribution(key, &all, 1.0),
            Reading::Histogram(_) => {}
        }
    }

    fn added(&mut self, key: &SeriesKey, added: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let rate = added as f64 / self.seconds;
        let sample = &mut self.snapshot.sample;
        match key.name.as_str() {
            "socket.frames_in" => sample.frames_in = rate,
            "socket.frames_out" => sample.frames_out = rate,
            "socket.bytes_in" => sample.bytes_in = rate,
            "socket.bytes_out" => sample.bytes_out = rate,
            "broadcast.sent" => sample.broadcasts = rate,
            "channel.overloaded" => sample.overloaded = rate,
            "socket.refused" => sample.refused += rate,
            "outbox.dropped" => sample.dropped += rate,
            "wasm.fault" => {
                sample.faults += rate;
                *self.faults.entry(label(key, "plugin")).or_default() += rate;
            }
            name if name.starts_with("pipeline.") => self.pipeline(key).added(name, rate),
            _ => {}
        }
    }

    fn level(&mut self, key: &SeriesKey, level: f64) {
        let sample = &mut self.snapshot.sample;
        match key.name.as_str() {
            "socket.open" => sample.connections = level,
            "channel.open" => {
                sample.channels += level;
                self.snapshot.channels.insert(label(key, "channel"), level);
            }
            "channel.waiting" => sample.waiting = level,
            "outbox.bytes" => sample.outbox_bytes = level,
            "process.cpu" => sample.cpu_percent = level,
            "process.memory" => sample.memory_bytes = level,
            "wasm.instances" => {
                self.instances.insert(label(key, "plugin"), level);
            }
            name if name.starts_with("pipeline.") => self.pipeline(key).level(name, level),
            _ => {}
        }
    }

    fn distribution(&mut self, key: &SeriesKey, all: &Distribution, unit: f64) {
        #[expect(clippy::cast_precision_loss, reason = "counts need no 53 bits")]
        let count = all.count() as f64;
        let quantiles = Quantiles::of(all, unit);
        let sample = &mut self.snapshot.sample;
        match key.name.as_str() {
            "channel.in" => self.handled.add(all),
            "socket.connect" => sample.connects += count / self.seconds,
            "channel.join" => sample.joins += count / self.seconds,
            "broadcast.delivery" => sample.delivered_ms = quantiles,
            "process.lag" => sample.lag_ms = quantiles,
            "wasm.time" => {
                let calls = count / self.seconds;
                let row = self.plugin(key);
                (row.calls, row.time_ms) = (calls, quantiles);
            }
            "wasm.fuel" => {
                #[expect(clippy::cast_precision_loss, reason = "as above")]
                let used = all.sum() as f64 / self.seconds;
                *sample.fuel.entry(label(key, "plugin")).or_default() += used;
                self.plugin(key).fuel = quantiles;
            }
            "wasm.memory" => self.plugin(key).memory_bytes = quantiles,
            name if name.starts_with("pipeline.") => self.pipeline(key).timing(name, quantiles),
            _ => {}
        }
    }

    fn pipeline(&mut self, key: &SeriesKey) -> &mut PipelineRow {
        let pipeline = label(key, "pipeline");
        let row = self.pipelines.entry(pipeline.clone());
        row.or_insert_with(|| PipelineRow::new(pipeline))
    }

    fn plugin(&mut self, key: &SeriesKey) -> &mut PluginRow {
        let (plugin, version) = (label(key, "plugin"), label(key, "version"));
        let new = || PluginRow {
            plugin: plugin.clone(),
            version: version.clone(),
            ..PluginRow::default()
        };
        self.plugins.entry((plugin.clone(), version.clone())).or_insert_with(new)
    }

    /// The whole snapshot; `live` has the plugins and their live versions.
    fn finish(self, live: impl Iterator<Item = (String, String)>) -> Snapshot {
        let Self { mut snapshot, handled, plugins, pipelines, instances, faults, .. } = self;
        snapshot.pipelines = pipelines.into_values().collect();
        snapshot.sample.handled_ms = Quantiles::of(&handled, 1000.0);
        let of = |map: &BTreeMap<String, f64>, plugin: &str| map.get(plugin).copied();
        let rows = plugins.into_values().map(|row| PluginRow {
            instances: of(&instances, &row.plugin).unwrap_or_default(),
            faults: of(&faults, &row.plugin).unwrap_or_default(),
            ..row
        });
        snapshot.plugins = rows.collect();
        // Plugins that nobody calls have a row, too.
        for (plugin, version) in live {
            if !snapshot.plugins.iter().any(|row| row.plugin == plugin) {
                let [instances, faults] =
                    [&instances, &faults].map(|map| of(map, &plugin).unwrap_or_default());
                let row = PluginRow { instances, faults, ..PluginRow::default() };
                snapshot.plugins.push(PluginRow { plugin, version, ..row });
            }
        }
        snapshot
    }
}

impl Quantiles {
    fn of(all: &Distribution, unit: f64) -> Self {
        if all.count() == 0 {
            return Self::default();
        }
        #[expect(clippy::cast_precision_loss, reason = "values have 36 bits")]
        let at = |share| Some(all.quantile(share) as f64 / unit);
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

fn label(key: &SeriesKey, label: &str) -> String {
    let found = key.labels.iter().find(|(name, _)| *name == label);
    found.map_or_else(String::new, |(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use millrace_telemetry::Metric;

    #[test]
    fn a_snapshot_has_what_is_unusual_in_it() {
        let metrics = Metrics::in_process();
        let mut snapshots = SnapshotBuilder::default();
        let mut look = |faults_a_second| -> Value {
            metrics.count_of(Metric::WasmFault, &["room", "trap"], faults_a_second);
            let snapshot = snapshots.build(Sources {
                metrics: &metrics,
                waiting: Vec::new(),
                presences: Vec::new(),
                faults: Vec::new(),
                pipelines: Vec::new(),
                versions: Vec::new(),
                passed: Duration::from_secs(1),
            });
            json!(snapshot)
        };
        for _ in 0..900 {
            assert_eq!(look(0)["unusual"], json!([]));
        }
        let marked = (0..30).map(|_| look(12)).last().unwrap();
        let unusual = &marked["unusual"][0];
        assert_eq!(unusual["figure"], "faults");
        assert_eq!(
            unusual["text"],
            "faults are new: 12 a second, none in the last quarter of an hour"
        );
        assert_eq!((&unusual["now"], &unusual["usual"]), (&json!(12.0), &json!(0.0)));
        assert_eq!(unusual["since"], marked["sample"]["at"]);
    }
}
