// The page of operators: joins `millrace:dashboard` and shows what comes.

import { Socket } from "./phoenix.mjs";
import { Charts } from "./charts.mjs";
import { bytes, milliseconds, short, showTables } from "./tables.mjs";

/** Five minutes, as the server keeps them. */
const MAX_SAMPLES = 300;

/** Name, value, unit, and the path by which the server calls a figure that it watches. */
const TILES = [
  ["Connections", (s) => short(s.connections), "", "connections"],
  ["Channels", (s) => short(s.channels)],
  ["Connects", (s) => short(s.connects), "/s", "connects"],
  ["Turned away", (s) => short(s.refused), "/s", "refused"],
  ["Joins", (s) => short(s.joins), "/s", "joins"],
  ["Messages in", (s) => short(s.frames_in), "/s", "frames_in"],
  ["Messages out", (s) => short(s.frames_out), "/s"],
  ["Broadcasts", (s) => short(s.broadcasts), "/s"],
  ["Handled, p99", (s) => milliseconds(s.handled_ms.p99), "", "handled_ms.p99"],
  ["Delivered, p99", (s) => milliseconds(s.delivered_ms.p99), "", "delivered_ms.p99"],
  ["Timers late, p99", (s) => milliseconds(s.lag_ms.p99), "", "lag_ms.p99"],
  ["Messages waiting", (s) => short(s.waiting), "", "waiting"],
  ["Outboxes", (s) => bytes(s.outbox_bytes)],
  ["Dropped", (s) => short(s.dropped), "/s"],
  ["Refused as too many", (s) => short(s.overloaded), "/s"],
  ["Faults", (s) => short(s.faults), "/s", "faults"],
  ["Processor", (s) => short(s.cpu_percent), "%"],
  ["Memory", (s) => bytes(s.memory_bytes)],
];

const CHARTS = [
  { title: "Connected", unit: short, lines: [
    ["connections", (s) => s.connections], ["channels", (s) => s.channels] ] },
  { title: "Messages a second", unit: short, lines: [
    ["in", (s) => s.frames_in], ["out", (s) => s.frames_out] ] },
  { title: "Time to handle a message", unit: milliseconds, lines: [
    ["p50", (s) => s.handled_ms.p50], ["p99", (s) => s.handled_ms.p99] ] },
  { title: "Time to deliver a broadcast", unit: milliseconds, lines: [
    ["p50", (s) => s.delivered_ms.p50], ["p99", (s) => s.delivered_ms.p99] ] },
  { title: "Fuel a second, by plugin", unit: short, byName: (s) => s.fuel },
  { title: "Processor, % of one core", unit: short, lines: [["processor", (s) => s.cpu_percent]] },
];

const status = document.querySelector("#status");
const tiles = document.querySelector("#tiles");
const line = document.querySelector("#unusual");
const charts = new Charts(document.querySelector("#charts"), CHARTS);
let samples = [];

function setStatus(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

function showTiles(sample, unusual) {
  tiles.replaceChildren(...TILES.map(([name, value, unit, path]) => {
    const tile = document.createElement("div");
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = value(sample);
    if (unit) {
      const small = document.createElement("small");
      small.textContent = unit;
      dd.append(small);
    }
    tile.append(dt, dd);
    const mark = unusual.find(({ figure }) => figure === path);
    if (mark) {
      const words = document.createElement("em");
      words.textContent = `${mark.now > mark.usual ? "▲" : "▼"} ${mark.brief}`;
      dd.append(words);
      tile.className = "unusual";
      tile.title = mark.text;
    }
    return tile;
  }));
}

/** One line with all that has left its last quarter of an hour. */
function showUnusual(unusual) {
  const text = unusual.map((mark) => mark.text).join(" · ");
  // What is read aloud is read again whenever it is written.
  if (text !== line.textContent) line.textContent = text;
  line.hidden = text === "";
}

function show(snapshot) {
  showTiles(snapshot.sample, snapshot.unusual);
  showUnusual(snapshot.unusual);
  showTables(snapshot);
  charts.show(samples);
}

// Who may look has a cookie: the server has made one of the token and taken it out of the address.
const socket = new Socket(new URL("socket", document.baseURI).pathname);
let opened = false;
socket.onOpen(() => { opened = true; });
socket.onError(() => {
  // A refused handshake looks like a server that is not there: ask which it is.
  fetch("data.json").then(({ status: code }) => {
    if (code === 403) setStatus("refused", "open /dashboard?token=… with dashboard.token");
  }).catch(() => {});
});
socket.onClose(() => setStatus("connecting", opened ? "connection lost, trying again" : "connecting"));
socket.connect();

const channel = socket.channel("millrace:dashboard");
channel.on("snapshot", (snapshot) => {
  samples = [...samples, snapshot.sample].slice(-MAX_SAMPLES);
  show(snapshot);
});
channel.join().receive("ok", (history) => {
  samples = history.samples;
  setStatus("live", "live");
  if (history.now) show(history.now);
}).receive("error", ({ reason }) => setStatus("refused", reason));
