// A socket.io server that does the same work in its own protocol: `join` and
// `leave` of a room and `ping` are acknowledged, `shout` goes to everybody in
// the room. WebSocket only, as the load comes over WebSockets from the start.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, {
  serveClient: false,
  transports: ["websocket"],
  // The load generator sends no heartbeats, to none of the servers.
  pingInterval: 300_000,
});

io.on("connection", (socket) => {
  socket.on("join", (room, _params, acknowledge) => {
    socket.join(room);
    acknowledge({});
  });
  socket.on("leave", (room, _params, acknowledge) => {
    socket.leave(room);
    acknowledge({});
  });
  socket.on("ping", (_room, payload, acknowledge) => acknowledge(payload));
  socket.on("shout", (room, payload, acknowledge) => {
    io.to(room).emit("shout", payload);
    acknowledge({});
  });
});

http.listen(0, "127.0.0.1", 1024, () => {
  console.log(`socket.io is listening on http://127.0.0.1:${http.address().port}`);
});
