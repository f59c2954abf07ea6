// The StatsD server of npm, on a port that was free, with a backend that tells
// what it flushed.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { freeTcpPort, freeUdpPort } = require("./ports.js");

// Stdout is for the backend alone.
console.log = console.error;

Promise.all([freeUdpPort(), freeTcpPort()]).then(([port, mgmtPort]) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-statsd-"));
  const config = path.join(folder, "config.js");
  const settings = {
    address: "127.0.0.1",
    port,
    mgmt_address: "127.0.0.1",
    mgmt_port: mgmtPort,
    flushInterval: 200,
    deleteIdleStats: true,
    backends: [path.join(__dirname, "backend.js")],
  };
  fs.writeFileSync(config, `(${JSON.stringify(settings)})`);
  process.on("exit", () => fs.rmSync(folder, { recursive: true }));
  process.argv[2] = config;
  require("statsd/stats.js");
});
