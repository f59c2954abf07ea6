// Tells each flush on a line: first where the server listens, then what it has
// got of Millrace.

exports.init = (startup, config, events) => {
  let told = false;
  events.on("flush", (time, metrics) => {
    if (!told) {
      told = true;
      console.log(JSON.stringify({ port: config.port }));
    }
    const own = (values) =>
      Object.fromEntries(Object.entries(values).filter(([name]) => !name.startsWith("statsd.")));
    const { counters, gauges, timer_data: timers } = metrics;
    const flush = { counters: own(counters), gauges: own(gauges), timers: own(timers) };
    if (Object.values(flush).some((values) => Object.keys(values).length > 0)) {
      console.log(JSON.stringify(flush));
    }
  });
  return true;
};
