"""A channel on `room:*`: `ping` replies the payload, `shout` broadcasts it, `print` prints,
`boom` raises."""

import json

from wit_world import exports
from wit_world.exports.channel import Joined
from wit_world.imports.types import (
    Broadcast,
    Effect_Broadcast,
    Effect_Reply,
    Outcome,
    Payload_Json,
    Reply,
)


def outcome(*effects):
    return Outcome(list(effects), None)


def reply(status, payload):
    return outcome(Effect_Reply(Reply(status, payload)))


class Channel(exports.Channel):
    def topics(self):
        return ["room:*"]

    def join(self, socket, assigns, params):
        return Joined(None, outcome())

    def handle_in(self, socket, assigns, message):
        match message.event:
            case "ping":
                return reply("ok", message.payload)
            case "shout":
                return outcome(Effect_Broadcast(Broadcast(None, "shout", message.payload)))
            case "print":
                print("printed by Python")
                return reply("ok", message.payload)
            case "boom":
                raise ValueError("boom")
            case event:
                reason = {"reason": f"unknown event {event}"}
                return reply("error", Payload_Json(json.dumps(reason).encode()))

    def handle_info(self, socket, assigns, info):
        return outcome()

    def terminate(self, socket, assigns, reason):
        return outcome()
