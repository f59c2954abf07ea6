// Scenarios of phoenix.js over long-polling: `node scenario.mjs NAME VERSION URL` plays one and
// tells what the client sees, one JSON term on each line.

import { createRequire } from "node:module";

import WebSocket from "ws";

const [name, version, url] = process.argv.slice(2);

/** XMLHttpRequest, as far as phoenix.js uses it: Node.js has none. */
class Request {
  readyState = 0;
  responseText = "";
  headers = {};
  controller = new AbortController();

  open(method, address) {
    Object.assign(this, { method, address });
  }

  setRequestHeader(header, value) {
    this.headers[header] = value;
  }

  abort() {
    this.controller.abort();
  }

  async send(body) {
    const { method, headers } = this;
    const timer = this.timeout && setTimeout(() => this.abort(), this.timeout);
    try {
      const { signal } = this.controller;
      const asked = { method, headers, body: body ?? undefined, signal };
      const answer = await fetch(this.address, asked);
      this.status = answer.status;
      this.responseText = await answer.text();
    } catch {
      // As in browsers: an empty answer.
      if (this.controller.signal.aborted) return;
      this.status = 0;
    } finally {
      clearTimeout(timer);
    }
    this.readyState = 4;
    this.onreadystatechange?.();
  }
}

globalThis.XMLHttpRequest = Request;
// Versions before 1.6 look for it here.
globalThis.window ??= globalThis;
globalThis.addEventListener ??= () => {};
globalThis.location ??= { protocol: "http:", host: "localhost" };
globalThis.WebSocket ??= WebSocket;

// What phoenix.js logs of answers that are no JSON is not what the test reads.
console.log = (...seen) => console.error(...seen);
const tell = (seen) => process.stdout.write(`${JSON.stringify(seen)}\n`);

const { Socket, LongPoll } = createRequire(import.meta.url)(`phoenix-${version}`);

function connect(params = {}) {
  const socket = new Socket(url, { transport: LongPoll, ...params });
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
const next = (channel, event) => new Promise((resolve) => channel.on(event, resolve));

/** Joins; gives a function that waits for the next time the channel is joined, and counts. */
function joinsOf(channel, params) {
  let joined = 0;
  let told = 0;
  let wake = () => {};
  channel.join(params).receive("ok", () => {
    joined += 1;
    wake();
  });
  return async () => {
    told += 1;
    while (joined < told) await new Promise((resolve) => (wake = resolve));
    return told;
  };
}

/** A closed socket may still have a request under way. */
function end(...sockets) {
  sockets.forEach((socket) => socket.disconnect());
  process.exit(0);
}

const scenarios = {
  /** Two clients in a room. */
  async together() {
    const sockets = [connect(), connect()];
    const topic = `room:js-longpoll-${version}`;
    const [a, b] = sockets.map((socket) => socket.channel(topic, {}));
    tell({ join: await Promise.all([answer(a.join()), answer(b.join())]) });
    tell({ ping: await answer(a.push("ping", { text: "Grüße, 世界 \u{1f30d}" })) });
    // Before 1.8.6, all pushes of a moment are one request, whatever their number.
    const count = Number(version) < 1.8 ? 90 : 250;
    const many = Array.from({ length: count }, (_, n) => answer(a.push("ping", { n })));
    const answered = await Promise.all(many);
    tell({ many: answered.filter(({ ok }, n) => ok?.n === n).length });
    const heard = [next(a, "shout"), next(b, "shout")];
    a.push("shout", { from: "alice" });
    tell({ shout: await Promise.all(heard) });
    tell({ leave: await answer(a.leave()) });
    end(...sockets);
  },

  /** The server goes away and comes back; the rest is up to phoenix.js. */
  async restart() {
    const socket = connect();
    const channel = socket.channel("room:js-restart", {});
    const joins = joinsOf(channel);
    tell({ joined: await joins() });
    tell({ joined: await joins() });
    tell({ ping: await answer(channel.push("ping", { still: "here" })) });
    end(socket);
  },

  /** The client asks to be disconnected, as a user. */
  async disconnected() {
    const socket = connect({ params: { user: "ada" } });
    const channel = socket.channel("slow:js", {});
    const joins = joinsOf(channel);
    tell({ joined: await joins() });
    channel.push("disconnect", { user: "ada" });
    tell({ joined: await joins() });
    end(socket);
  },

  /** A WebSocket that fails, and long-polling instead. */
  async fallback() {
    const options = { transport: WebSocket, longPollFallbackMs: 100 };
    const socket = new Socket(url, options);
    const failed = new Promise((resolve) => socket.onError(resolve));
    socket.connect();
    await failed;
    tell({ error: "first" });
    const channel = socket.channel("room:js-fallback", {});
    const joins = joinsOf(channel);
    const transport = () => (socket.transport === LongPoll ? "LongPoll" : "WebSocket");
    tell({ joined: await joins(), transport: transport() });
    tell({ joined: await joins(), transport: transport() });
    tell({ ping: await answer(channel.push("ping", { still: "here" })) });
    end(socket);
  },
};

await scenarios[name]();
