// A plain `ws` server that speaks just enough of version 2 of the Phoenix
// protocol to be measured with the same load as the floor: joins, heartbeats and
// leaves are answered `ok`, `ping` is echoed, `shout` goes to everybody on the
// topic. Written as the package's own examples are: JSON.parse, JSON.stringify,
// a broadcast encoded once.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

/** @type {Map<string, Set<import("ws").WebSocket>>} */
const topics = new Map();

const http = createServer();
const sockets = new WebSocketServer({ noServer: true, clientTracking: false });

http.on("upgrade", (request, stream, head) => {
  if (!request.url.startsWith("/socket/websocket")) return stream.destroy();
  sockets.handleUpgrade(request, stream, head, (socket) => serve(socket));
});

function serve(socket) {
  const joined = new Set();
  socket.on("error", () => {});
  socket.on("close", () => joined.forEach((topic) => leave(socket, joined, topic)));
  socket.on("message", (data) => {
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    let response = {};
    switch (event) {
      case "ping":
        response = payload;
        break;
      case "phx_join":
        join(socket, joined, topic);
        break;
      case "phx_leave":
        leave(socket, joined, topic);
        break;
      case "shout":
        broadcast(topic, event, payload);
        break;
    }
    const reply = { status: "ok", response };
    socket.send(JSON.stringify([joinRef, ref, topic, "phx_reply", reply]));
    if (event === "phx_leave") {
      socket.send(JSON.stringify([joinRef, joinRef, topic, "phx_close", {}]));
    }
  });
}

function join(socket, joined, topic) {
  joined.add(topic);
  const members = topics.get(topic);
  if (members) members.add(socket);
  else topics.set(topic, new Set([socket]));
}

function leave(socket, joined, topic) {
  joined.delete(topic);
  const members = topics.get(topic);
  members?.delete(socket);
  if (members?.size === 0) topics.delete(topic);
}

function broadcast(topic, event, payload) {
  const frame = Buffer.from(JSON.stringify([null, null, topic, event, payload]));
  for (const member of topics.get(topic) ?? []) member.send(frame, { binary: false });
}

http.listen(0, "127.0.0.1", 1024, () => {
  console.log(`ws is listening on http://127.0.0.1:${http.address().port}`);
});
