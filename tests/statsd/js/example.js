// The StatsD server of npm as examples/observability configures it:
// `node example.js CARBON_PORT` tells where it listens once it does.

const path = require("node:path");
const util = require("node:util");
const { freeTcpPort, freeUdpPort } = require("./ports.js");

Promise.all([freeUdpPort(), freeTcpPort()]).then(([port, mgmtPort]) => {
  Object.assign(process.env, {
    STATSD_PORT: port,
    STATSD_MGMT_PORT: mgmtPort,
    STATSD_FLUSH_MS: 300,
    GRAPHITE_PORT: process.argv[2],
  });
  console.log = (...line) => {
    const up = util.format(...line).includes("server is up");
    if (up) process.stdout.write(`${JSON.stringify({ port })}\n`);
  };
  process.argv[2] = path.join(__dirname, "../../../examples/observability/statsd/config.js");
  require("statsd/stats.js");
});
