// Ports that were free a moment ago.

const dgram = require("node:dgram");
const net = require("node:net");

/** For UDP, on 127.0.0.1. */
exports.freeUdpPort = () =>
  new Promise((resolve) => {
    const probe = dgram.createSocket("udp4");
    probe.bind(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

/** For TCP, on 127.0.0.1. */
exports.freeTcpPort = () =>
  new Promise((resolve) => {
    const probe = net.createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
