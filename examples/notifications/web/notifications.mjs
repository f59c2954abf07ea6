// The notifications page: sends events for two users over HTTP, hears what arrives on their
// channels, and shows how long each waited.
//
//   every 100 ms ──POST──▶ /pipelines/notifications/events
//   controls ──▶ the admin interface: at port 4001, or at ?admin=HOST:PORT
//   channel `user:<name>` ──notification──▶ a bar for each half second

import { Socket } from "/phoenix.mjs";

const SEND_EVERY_MS = 100;
const SHOW_EVERY_MS = 500;
const BARS = 40;
/** A bar of full height. */
const TALLEST_MS = 5000;
/** Somebody would notice. */
const LATE_MS = 500;
const BOBS_RATE = 5;

const admin = new URLSearchParams(location.search).get("admin") ?? `${location.hostname}:4001`;
const ADMIN = `http://${admin}/pipelines/notifications`;

const $ = (selector) => document.querySelector(selector);
const socket = new Socket("/socket");
socket.connect();

// === Users ===

/** A user's part of the page. */
function user(name) {
  const section = $(`section[data-user="${name}"]`);
  section.append($("#user").content.cloneNode(true));
  section.querySelector("h2").textContent = name[0].toUpperCase() + name.slice(1);
  const bars = section.querySelector(".bars");
  bars.append(...Array.from({ length: BARS }, () => document.createElement("i")));
  const channel = socket.channel(`user:${name}`);
  const heard = [];
  channel.on("notification", ({ waited_ms }) => heard.push(waited_ms));
  channel.join();

  return function show() {
    const waits = heard.splice(0).sort((a, b) => a - b);
    const median = waits[Math.floor(waits.length / 2)];
    const perSecond = Math.round((waits.length * 1000) / SHOW_EVERY_MS);
    section.querySelector(".arrived").textContent = `${perSecond}/s`;
    section.querySelector(".waited").textContent =
      median === undefined ? "–" : median < 1000 ? `${median} ms` : `${(median / 1000).toFixed(1)} s`;
    section.dataset.waited = median ?? "";
    const bar = bars.firstElementChild;
    bar.style.height = `${Math.min(100, ((median ?? 0) / TALLEST_MS) * 100)}%`;
    bar.className = median > LATE_MS ? "late" : "";
    bars.append(bar);
  };
}

const users = ["ada", "bob"].map(user);
setInterval(() => users.forEach((show) => show()), SHOW_EVERY_MS);

// === Events ===

const owed = { ada: 0, bob: 0 };

function take(name, rate) {
  owed[name] += (rate * SEND_EVERY_MS) / 1000;
  const now = Math.floor(owed[name]);
  owed[name] -= now;
  return Array.from({ length: now }, () => ({ user: name, kind: name === "ada" ? "mention" : "order" }));
}

setInterval(() => {
  const events = [...take("ada", Number($("#rate").value)), ...take("bob", BOBS_RATE)];
  if (events.length > 0) post("/pipelines/notifications/events", events);
}, SEND_EVERY_MS);

async function post(url, body) {
  const headers = { "content-type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(url, request);
  return response.ok ? response.json() : Promise.reject(new Error(await response.text()));
}

// === Controls ===

$("#rate").addEventListener("input", () => {
  $("#rate-shown").textContent = $("#rate").value;
});

$("#dispatchers").addEventListener("change", async (event) => {
  const view = await post(`${ADMIN}/dispatcher`, { dispatcher: event.target.value });
  document.body.dataset.dispatcher = view.dispatchers.at(-1);
});

setInterval(async () => {
  const response = await fetch(ADMIN).catch(() => undefined);
  if (!response?.ok) {
    $("#pipeline").textContent = `no answer from the admin interface at ${admin}: open ?admin=HOST:PORT`;
    return;
  }
  const { totals } = await response.json();
  const dropped = Object.values(totals.dropped).reduce((sum, count) => sum + count, 0);
  $("#pipeline").textContent =
    `${totals.accepted} accepted = ${totals.done} done + ${totals.failed} failed + ${dropped} dropped` +
    ` + ${totals.in_flight} in flight + ${totals.buffered} buffered`;
}, SHOW_EVERY_MS);
