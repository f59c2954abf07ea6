// Two clients of one phoenix.js see each other by its `Presence` class:
// `node presence.mjs VERSION URL TOPIC` tells what each sees, one JSON term on each line.

import { createRequire } from "node:module";
import WebSocket from "ws";

const [version, url, topic] = process.argv.slice(2);
// The oldest are for browsers, and look for a `window`.
globalThis.window ??= globalThis;
const { Presence, Socket } = createRequire(import.meta.url)(`phoenix-${version}`);

const tell = (seen) => console.log(JSON.stringify(seen));

/** A client that joins and tracks `key`; `sees(expected)` waits until its list is that. */
function client(key) {
  const socket = new Socket(url, { transport: WebSocket });
  socket.connect();
  const channel = socket.channel(topic, { track: key, meta: { is: "here" } });
  const presence = new Presence(channel);
  const [joined, left] = [[], []];
  presence.onJoin((who) => joined.push(who));
  presence.onLeave((who) => left.push(who));
  const list = () => {
    const entries = presence.list((who, { metas }) => [who, metas.map((meta) => meta.is).sort()]);
    return Object.fromEntries(entries.sort());
  };
  let changed = () => {};
  presence.onSync(() => changed());
  channel.join();
  const sees = (expected) => new Promise((resolve) => {
    changed = () => JSON.stringify(list()) === JSON.stringify(expected) && resolve(list());
    changed();
  });
  return { socket, channel, sees, joined, left };
}

const push = (channel, event, payload) => new Promise((resolve, reject) => {
  channel.push(event, payload).receive("ok", resolve).receive("error", reject);
});

const ada = client("ada");
tell({ ada: await ada.sees({ ada: ["here"] }) });
const bob = client("bob");
tell({ ada: await ada.sees({ ada: ["here"], bob: ["here"] }) });
tell({ bob: await bob.sees({ ada: ["here"], bob: ["here"] }) });
await push(bob.channel, "update", { key: "bob", meta: { is: "away" } });
tell({ ada: await ada.sees({ ada: ["here"], bob: ["away"] }) });
const tab = client("bob");
await tab.sees({ ada: ["here"], bob: ["away", "here"] });
await push(tab.channel, "update", { key: "bob", meta: { is: "tab" } });
tell({ ada: await ada.sees({ ada: ["here"], bob: ["away", "tab"] }) });
bob.socket.disconnect();
await ada.sees({ ada: ["here"], bob: ["tab"] });
tab.socket.disconnect();
tell({ ada: await ada.sees({ ada: ["here"] }) });
tell({ joined: ada.joined, left: ada.left });
ada.socket.disconnect();
// The oldest leave timers behind.
process.exit(0);
