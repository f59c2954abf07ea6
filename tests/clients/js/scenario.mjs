// Scenarios of phoenix.js, the reference client: `node scenario.mjs NAME URL` plays one and tells
// what the client sees, one JSON term on each line.

import { Socket } from "phoenix";
import WebSocket from "ws";

const [name, url] = process.argv.slice(2);

const tell = (seen) => console.log(JSON.stringify(seen));

/** Node.js has no WebSocket of its own before version 22. */
function connect(params = {}) {
  const socket = new Socket(url, { transport: WebSocket, ...params });
  socket.connect();
  return socket;
}

/** What `push` or `join` is answered with: `{ ok: … }`, `{ error: … }` or `{ timeout: null }`. */
function answer(push) {
  return new Promise((resolve) => {
    for (const status of ["ok", "error"]) {
      push.receive(status, (response) => resolve({ [status]: response }));
    }
    push.receive("timeout", () => resolve({ timeout: null }));
  });
}

/** The next `event` on `channel`. */
function next(channel, event) {
  return new Promise((resolve) => {
    const ref = channel.on(event, (payload) => {
      channel.off(event, ref);
      resolve(payload);
    });
  });
}

const bytesOf = (buffer) => [...new Uint8Array(buffer)];

const scenarios = {
  /** One client: join, answers, a push, leave. */
  async alone() {
    const socket = connect();
    const channel = socket.channel("room:js-alone", {});
    tell({ join: await answer(channel.join()) });
    tell({ ping: await answer(channel.push("ping", { text: "Grüße, 世界 \u{1f30d}" })) });
    tell({ fail: await answer(channel.push("fail", { why: "told to" })) });
    tell({ unknown: await answer(channel.push("xyz", {})) });
    const pushed = next(channel, "pushed");
    await answer(channel.push("push_me", { n: 1 }));
    tell({ pushed: await pushed });
    const closed = new Promise((resolve) => channel.onClose(() => resolve(true)));
    tell({ leave: await answer(channel.leave()), closed: await closed });
    socket.disconnect();
  },

  /** Joins that fail. */
  async refused() {
    const socket = connect();
    for (const [topic, params] of [
      ["room:js-refused", { deny: true }],
      ["room:js-refused", { crash: true }],
      ["nowhere:1", {}],
    ]) {
      const channel = socket.channel(topic, params);
      tell(await answer(channel.join()));
      channel.leave();
    }
    socket.disconnect();
  },

  /** Two clients in a room. */
  async together() {
    const [alice, bob] = [connect(), connect()];
    const [a, b] = [alice, bob].map((socket) => socket.channel("room:js-together", {}));
    await Promise.all([answer(a.join()), answer(b.join())]);
    const heard = [next(a, "shout"), next(b, "shout")];
    a.push("shout", { from: "alice" });
    tell({ shout: await Promise.all(heard) });
    let aliceHeard = 0;
    a.on("shout_others", () => (aliceHeard += 1));
    const others = next(b, "shout_others");
    await answer(a.push("shout_others", { from: "alice" }));
    tell({ others: await others });
    await answer(a.push("ping", {}));
    tell({ aliceHeard });
    alice.disconnect();
    bob.disconnect();
  },

  /** Payloads of bytes: answered, pushed and broadcast. */
  async binary() {
    const [alice, bob] = [connect(), connect()];
    const [a, b] = [alice, bob].map((socket) => socket.channel("room:js-binary", {}));
    await Promise.all([answer(a.join()), answer(b.join())]);
    const payload = () => new Uint8Array([0, 1, 127, 128, 255]).buffer;
    const { ok } = await answer(a.push("ping", payload()));
    tell({ ping: bytesOf(ok) });
    const pushed = next(a, "pushed");
    a.push("push_me", payload());
    tell({ pushed: bytesOf(await pushed) });
    const shout = next(b, "shout");
    a.push("shout", payload());
    tell({ shout: bytesOf(await shout) });
    alice.disconnect();
    bob.disconnect();
  },

  /** The server goes away and comes back; the rest is up to phoenix.js. */
  async restart() {
    const socket = connect();
    const channel = socket.channel("room:js-restart", {});
    const joins = joinsOf(channel);
    tell({ joined: await joins() });
    // Attempts to connect again that fail close, too.
    const closed = new Promise((resolve) => socket.onClose(({ code }) => resolve(code)));
    tell({ closed: await closed });
    tell({ joined: await joins() });
    tell({ ping: await answer(channel.push("ping", { still: "here" })) });
    socket.disconnect();
  },

  /** The channel crashes; the rest is up to phoenix.js. */
  async crash() {
    const socket = connect();
    const channel = socket.channel("room:js-crash", {});
    const joins = joinsOf(channel);
    tell({ joined: await joins() });
    await answer(channel.push("count", {}));
    const error = new Promise((resolve) => channel.onError(resolve));
    // Nobody answers, and Node.js ends once that is not waited for any more.
    channel.push("crash", {}, 100);
    tell({ error: await error });
    tell({ joined: await joins() });
    tell({ count: await answer(channel.push("count", {})) });
    socket.disconnect();
  },

  /** A token in the subprotocol. */
  async token() {
    const socket = connect({ authToken: "1234" });
    const channel = socket.channel("room:js-token", {});
    tell({ join: await answer(channel.join()) });
    socket.disconnect();
  },

  /** A token that ends: the client comes back with the next one. */
  async expiring() {
    const tokens = process.argv.slice(4);
    const socket = connect({ authToken: () => tokens.shift() });
    socket.onClose(({ code }) => tell({ closed: code }));
    const next = joinsOf(socket.channel("room:js-expiring", {}));
    tell({ joined: await next() });
    tell({ joined: await next() });
    process.exit(0);
  },
};

/** Joins; gives a function that waits for the next time the channel is joined, and counts. */
function joinsOf(channel) {
  let joined = 0;
  let told = 0;
  let wake = () => {};
  channel.join().receive("ok", () => {
    joined += 1;
    wake();
  });
  return async () => {
    told += 1;
    while (joined < told) await new Promise((resolve) => (wake = resolve));
    return told;
  };
}

await scenarios[name]();
