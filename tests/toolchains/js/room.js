// A channel on `room:*` for QuickJS and SpiderMonkey: `ping` replies the payload, `shout`
// broadcasts it, `print` prints, `boom` throws, and `fetch` calls what no server offers.

/** QuickJS has no TextEncoder. */
const utf8 = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
const json = (value) => ({ tag: "json", val: utf8(JSON.stringify(value)) });
const outcome = (...effects) => ({ effects, assigns: null });
const reply = (status, payload) => outcome({ tag: "reply", val: { status, payload } });

export const channel = {
  topics: () => ["room:*"],
  join: () => ({ response: null, outcome: outcome() }),
  handleIn(socket, assigns, { event, payload }) {
    switch (event) {
      case "ping":
        return reply("ok", payload);
      case "shout":
        return outcome({ tag: "broadcast", val: { topic: null, event, payload } });
      case "print":
        // QuickJS has none.
        globalThis.console?.log("printed by JavaScript");
        return reply("ok", payload);
      case "fetch":
        fetch("http://127.0.0.1:9/");
        return reply("ok", payload);
      case "boom":
        throw new Error("boom");
      default:
        return reply("error", json({ reason: `unknown event ${event}` }));
    }
  },
  handleInfo: () => outcome(),
  terminate: () => outcome(),
};
