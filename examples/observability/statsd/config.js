// StatsD between Millrace and Graphite. The names that come out are those that
// ../grafana asks for: stats.counters.millrace.…, stats.gauges.…, stats.timers.….
({
  address: process.env.STATSD_ADDRESS || "127.0.0.1",
  port: Number(process.env.STATSD_PORT || 8125),
  mgmt_address: "127.0.0.1",
  mgmt_port: Number(process.env.STATSD_MGMT_PORT || 8126),
  graphiteHost: process.env.GRAPHITE_HOST || "127.0.0.1",
  graphitePort: Number(process.env.GRAPHITE_PORT || 2003),
  backends: ["./backends/graphite"],
  graphite: { legacyNamespace: false },
  // As long as the finest step that Graphite keeps (storage-schemas.conf).
  flushInterval: Number(process.env.STATSD_FLUSH_MS || 10_000),
  percentThreshold: [50, 99],
  // What is not measured any more is gone, and not at zero for ever.
  deleteIdleStats: true,
})
