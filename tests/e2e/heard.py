"""The simulator, with an ear at its door: what Farebox really sent."""

from typing import Any

import orjson

from proxy.simulator import Simulator
from proxy.simulator.exchange import Receive, Scope, Send

_CHAT = "/v1/chat/completions"


class Heard:
    """Serves a simulator. ``raw`` are the bodies of chat completions, ``requests`` counts all it was asked."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.requests = 0
        self.raw: list[bytes] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The same, read."""
        return [orjson.loads(body) for body in self.raw]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; it counts once its body is there, or at once where that is not kept."""
        if scope["path"] != _CHAT:
            self.requests += scope["path"].startswith("/v1/")
            await self.simulator(scope, receive, send)
            return
        parts: list[bytes] = []

        async def hear() -> dict[str, Any]:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    self.raw.append(b"".join(parts))
                    self.requests += 1
            return message

        await self.simulator(scope, hear, send)

    def close(self) -> None:
        """Give back what the simulator holds."""
        self.simulator.close()
