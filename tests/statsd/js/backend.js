// Tells each flush on a line: first where the server listens, then what it has
// got of Millrace.

// Lines on stdout; what the server logs goes to stderr.
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

exports.init = (startup, config, events) => {
  let told = false;
  events.on("flush", (time, metrics) => {
    if (!told) {
      told = true;
      tell({ port: config.port });
    }
    const own = (values) =>
      Object.fromEntries(Object.entries(values).filter(([name]) => !name.startsWith("statsd.")));
    const { counters, gauges, timer_data: timers } = metrics;
    const sets = Object.fromEntries(
      Object.entries(metrics.sets).map(([name, set]) => [name, set.values()]),
    );
    const flush = {
      counters: own(counters),
      gauges: own(gauges),
      timers: own(timers),
      sets: own(sets),
    };
    if (Object.values(flush).some((values) => Object.keys(values).length > 0)) {
      tell(flush);
    }
  });
  return true;
};
