// The StatsD server of npm, on a port that was free, with a backend that tells
// what it flushed.

const dgram = require("node:dgram");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

// Stdout is for the backend alone.
console.log = console.error;

const probe = dgram.createSocket("udp4");
probe.bind(0, "127.0.0.1", () => {
  const { port } = probe.address();
  probe.close(() => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-statsd-"));
    const config = path.join(folder, "config.js");
    const settings = {
      address: "127.0.0.1",
      port,
      mgmt_port: 0,
      flushInterval: 200,
      deleteIdleStats: true,
      backends: [path.join(__dirname, "backend.js")],
    };
    fs.writeFileSync(config, `(${JSON.stringify(settings)})`);
    process.on("exit", () => fs.rmSync(folder, { recursive: true }));
    process.argv[2] = config;
    require("statsd/stats.js");
  });
});
