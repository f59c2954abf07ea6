// The chat page: one socket for the whole visit, one channel for the room we are in.
//
//   join form ──join──▶ channel `room:<name>` ──events──▶ message list
//       ▲                        │
//       └── leave, refused, closed by the server
//
// Text from people reaches the page by `textContent` only.

import { LongPoll, Presence, Socket } from "/phoenix.mjs";

const TYPING_SHOWN_MS = 3000;
// Shorter than TYPING_SHOWN_MS, so that the line does not flicker while someone keeps typing.
const TYPING_SENT_EVERY_MS = 2000;
const GROUP_WITHIN_MS = 5 * 60 * 1000;
const MAX_LINES = 500;
const AT_END_PX = 60;
const NAME_KEY = "millrace-chat-name";

const $ = (id) => document.getElementById(id);
const messages = $("messages");

// Where WebSockets do not get through, the page polls; with `?transport=longpoll` it does so anyway.
const polls = new URLSearchParams(location.search).get("transport") === "longpoll";
const socket = new Socket("/socket", polls ? { transport: LongPoll } : { longPollFallbackMs: 2500 });
/** What the socket told us last: "connecting" until the first open or failure. */
let link = "connecting";
/**
 * The room we are in or joining, null on the form: `{ channel, title, name, joined, welcomed }`.
 * `joined` falls with the connection; `welcomed` stays once the chat has been shown.
 */
let current = null;

// === Status ===

const STATUS_TEXT = {
  connected: "Connected",
  connecting: "Connecting…",
  disconnected: "Disconnected",
};

function showStatus() {
  // An open socket whose room is not (re)joined yet cannot send: that is still "connecting".
  const waiting = link === "connected" && current && !current.joined;
  const state = waiting ? "connecting" : link;
  $("status").dataset.state = state;
  const text = $("status").firstElementChild;
  if (text.textContent !== STATUS_TEXT[state]) text.textContent = STATUS_TEXT[state];
  $("join").disabled = current !== null;
  $("join").textContent = current && !current.welcomed ? "Joining…" : "Join";
}

function setLink(state) {
  link = state;
  if (current && state === "disconnected") current.joined = false;
  showStatus();
}

socket.onOpen(() => setLink("connected"));
socket.onClose(() => setLink("disconnected"));
socket.onError(() => setLink("disconnected"));

// === Joining and leaving ===

function join(name, title) {
  const channel = socket.channel(`room:${title}`, { name });
  const room = { channel, title, name, joined: false, welcomed: false };
  current = room;
  // A channel we left may still deliver for a moment; only the current one may touch the page.
  const whileHere = (handle) => (payload) => current === room && handle(payload);

  channel.on("new_msg", whileHere(onMessage));
  channel.on("typing", whileHere(({ name }) => showTyping(name)));
  follow(new Presence(channel), whileHere);
  channel.onError(whileHere((error) => {
    room.joined = false;
    // A heartbeat that goes unanswered ends the connection without a close event.
    if (error?.source === "transport") link = "disconnected";
    showStatus();
  }));
  channel.onClose(whileHere(() => backToForm("The server closed the room.")));

  // These run again each time phoenix.js rejoins after a lost connection.
  channel.join()
    .receive("ok", whileHere((reply) => onJoined(room, reply)))
    .receive("error", whileHere(({ reason }) => {
      backToForm(reason || "The server refused to let you in.");
      channel.leave(); // otherwise phoenix.js would keep asking
    }));
  $("join-error").hidden = true;
  showStatus();
}

/** Shows who is in the room, and tells who comes and goes while we are there. */
function follow(presence, whileHere) {
  let known = false; // whether the first list has come
  presence.onJoin((name, before) => whileHere(() => {
    if (known && !before) addNotice(`${name} joined`);
  })());
  presence.onLeave((name, after) => whileHere(() => {
    if (after.metas.length > 0) return; // another page of theirs is still open
    hideTyping(name);
    addNotice(`${name} left`);
  })());
  presence.onSync(whileHere(() => {
    known = true;
    showPeople(presence.list((name) => name));
  }));
}

function showPeople(names) {
  const shown = names.sort((a, b) => a.localeCompare(b)).map((name) => {
    const person = element("li", "", name);
    person.dir = "auto";
    person.style.setProperty("--hue", hue(name));
    return person;
  });
  $("people").replaceChildren(...shown);
}

function onJoined(room, reply) {
  room.joined = true;
  room.name = reply.name ?? room.name;
  if (room.welcomed) {
    addNotice("Reconnected. Messages sent in between are not shown.");
  } else {
    room.welcomed = true;
    sessionStorage.setItem(NAME_KEY, room.name);
    history.replaceState(null, "", `#${encodeURIComponent(room.title)}`);
    openChat(room);
  }
  showStatus();
}

function openChat(room) {
  messages.replaceChildren(welcome(room));
  showView("chat");
  document.querySelector(".room-name bdi").textContent = room.title;
  pinned = true;
  unread = 0;
  showTitle();
  $("body").focus();
}

function leave() {
  const { channel } = current;
  backToForm("");
  channel.leave();
}

function backToForm(error) {
  current = null;
  typing.forEach((_, name) => hideTyping(name));
  showView("join");
  showError("join-error", error);
  showTitle();
  showStatus();
  $("name").focus();
}

function showView(view) {
  const chatting = view === "chat";
  document.body.dataset.view = view;
  $("join-view").hidden = chatting;
  $("chat-view").hidden = !chatting;
  $("leave").hidden = !chatting;
  document.querySelector(".room-name").hidden = !chatting;
  showError("send-error", "");
  $("body").value = "";
}

function showError(id, text) {
  $(id).textContent = text;
  $(id).hidden = text === "";
}

// === Messages ===

let pinned = true;
let unread = 0;

function onMessage({ name, body, at_ms }) {
  hideTyping(name);
  const own = name === current.name;
  const last = messages.lastElementChild;
  const follows =
    last?.dataset.author === name && at_ms - Number(last.dataset.at) < GROUP_WITHIN_MS;

  const author = element("span", "author", name);
  author.dir = "auto";
  const text = element("p", "body", body);
  text.dir = "auto";
  const bubble = element("div", "bubble");
  bubble.append(text, time(at_ms));

  const message = element("article", "message");
  message.classList.toggle("own", own);
  message.classList.toggle("follows", follows);
  message.dataset.author = name;
  message.dataset.at = at_ms;
  message.style.setProperty("--hue", hue(name));
  message.append(avatar(name), author, bubble);
  addLine(message, own);

  if (document.hidden && !own) {
    unread += 1;
    showTitle();
  }
}

function addNotice(text) {
  addLine(element("p", "notice", text), false);
}

function addLine(line, scroll) {
  messages.append(line);
  while (messages.childElementCount > MAX_LINES) messages.firstElementChild.remove();
  messages.firstElementChild.classList.remove("follows");
  if (pinned || scroll) scrollToEnd();
  else if (line.matches(".message")) $("jump").hidden = false;
}

function welcome({ title, name }) {
  const box = element("div", "welcome");
  const heading = element("h2", "", "This is ");
  heading.append(element("bdi", "", `#${title}`));
  const hint = "Share the address of this page to bring others in.";
  box.append(heading, element("p", "", `You are here as ${name}. ${hint}`));
  return box;
}

function avatar(name) {
  const words = name.trim().split(/\s+/);
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words;
  const initials = ends.map((word) => [...word][0] ?? "?").join("").toUpperCase();
  const circle = element("span", "avatar", initials);
  circle.ariaHidden = "true";
  return circle;
}

/** A colour angle that is the same for a name on every page. */
function hue(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  // The golden angle spreads neighbouring hashes round the whole circle.
  return Math.round((hash * 137.508) % 360);
}

function time(at_ms) {
  const at = new Date(at_ms);
  const clock = at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  const node = element("time", "", clock);
  node.dateTime = at.toISOString();
  node.title = at.toLocaleString();
  return node;
}

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function scrollToEnd() {
  messages.scrollTop = messages.scrollHeight;
  pinned = true;
  $("jump").hidden = true;
}

function showTitle() {
  const room = current?.welcomed ? `#${current.title} · ` : "";
  document.title = `${unread ? `(${unread}) ` : ""}${room}Millrace chat`;
}

// === Typing ===

/** Who is typing, each with the timer that forgets them. */
const typing = new Map();
let typingSentAt = 0;

function showTyping(name) {
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(() => hideTyping(name), TYPING_SHOWN_MS));
  drawTyping();
}

function hideTyping(name) {
  clearTimeout(typing.get(name));
  typing.delete(name);
  drawTyping();
}

function drawTyping() {
  const names = [...typing.keys()];
  const text = [
    "",
    `${names[0]} is typing…`,
    `${names[0]} and ${names[1]} are typing…`,
    "Several people are typing…",
  ][Math.min(names.length, 3)];
  $("typing").textContent = text;
  $("typing").hidden = text === "";
}

function tellTyping() {
  // Told only while joined: phoenix.js would keep the event and send it when it is long untrue.
  const due = Date.now() - typingSentAt > TYPING_SENT_EVERY_MS;
  if (!due || !current?.joined || $("body").value.trim() === "") return;
  typingSentAt = Date.now();
  current.channel.push("typing", {});
}

// === Sending ===

function send() {
  const body = $("body").value;
  if (body.trim() === "") return;
  const room = current;
  $("body").value = "";
  typingSentAt = 0;
  showError("send-error", "");
  const giveBack = (why) => {
    if (current !== room) return;
    showError("send-error", why);
    if ($("body").value === "") $("body").value = body;
  };
  room.channel.push("new_msg", { body })
    .receive("error", ({ reason }) => giveBack(`Not sent: ${reason}`))
    .receive("timeout", () => giveBack("No answer from the server: it may not have arrived."));
}

// === The page ===

function roomFromHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return ""; // a stray % in a hand-written address
  }
}

/** Calls `handle` instead of letting the browser submit the form. */
function onSubmit(id, handle) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle();
  });
}

onSubmit("join-form", () => {
  if (!current) join($("name").value.trim(), $("room").value.trim() || "lobby");
});
onSubmit("composer", () => {
  send();
  $("body").focus();
});
$("leave").addEventListener("click", leave);
$("body").addEventListener("input", tellTyping);
$("jump").addEventListener("click", () => {
  scrollToEnd();
  $("body").focus();
});

messages.addEventListener("scroll", () => {
  pinned = messages.scrollHeight - messages.clientHeight - messages.scrollTop < AT_END_PX;
  if (pinned) $("jump").hidden = true;
});
// The list shrinks when a phone opens its keyboard.
new ResizeObserver(() => pinned && scrollToEnd()).observe(messages);

document.addEventListener("visibilitychange", () => {
  unread = 0;
  showTitle();
});
window.addEventListener("hashchange", () => {
  const title = roomFromHash();
  $("room").value = title || "lobby";
  if (!current?.welcomed || !title || title === current.title) return;
  const { name } = current;
  leave();
  join(name, title);
});

$("name").value = sessionStorage.getItem(NAME_KEY) ?? "";
$("room").value = roomFromHash() || $("room").value;
socket.connect();
