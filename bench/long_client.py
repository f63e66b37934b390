"""The clients of a long run, in a process of their own: calls over and over, streams left at random."""

import asyncio
import json
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

_PATIENCE_S = 60.0
_END_OF_STREAM = b"\r\n0\r\n\r\n"
_JSON, _STREAM = "json", "stream"


@dataclass(slots=True)
class Tally:
    """What is to be done, and what was seen."""

    left_to_do: dict[str, int]
    random: random.Random
    leave: float
    said: dict[str, int] = field(
        default_factory=lambda: {"calls": 0, "streams": 0, "left": 0, "wrong": 0}
    )

    def next(self) -> str:
        """A call or a stream, mixed as there are of them; "" where all is done."""
        calls, streams = self.left_to_do[_JSON], self.left_to_do[_STREAM]
        if not calls + streams:
            return ""
        kind = _STREAM if self.random.randrange(calls + streams) < streams else _JSON
        self.left_to_do[kind] -= 1
        return kind


class _Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self) -> None:
        self.answer = b""
        self.wanted = 0  # bytes after which the client leaves; 0: it stays
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.wanted:
            whole = len(self.answer) >= self.wanted or self.answer.endswith(_END_OF_STREAM)
        elif self.answer.find(b"transfer-encoding: chunked", 0, 2000) > 0:
            whole = self.answer.endswith(_END_OF_STREAM)
        else:
            head, found, body = self.answer.partition(b"\r\n\r\n")
            at = head.find(b"content-length: ") + len(b"content-length: ")
            whole = bool(found) and len(body) >= int(head[at:].partition(b"\r\n")[0])
        if whole:
            self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._wake()

    def _wake(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


async def _client(port: int, requests: dict[str, bytes], tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    connection: _Connection | None = None
    while kind := tally.next():
        if connection is None or connection.transport.is_closing():
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        leaves = kind == _STREAM and tally.random.random() < tally.leave
        connection.answer = b""
        connection.wanted = tally.random.randrange(1, 8000) if leaves else 0
        connection.done = loop.create_future()
        connection.transport.write(requests[kind])
        async with asyncio.timeout(_PATIENCE_S):
            await connection.done
        tally.said["calls" if kind == _JSON else "streams"] += 1
        good = connection.answer.startswith(b"HTTP/1.1 200 ")
        if kind == _STREAM and not leaves:
            good = good and b"data: [DONE]" in connection.answer
        tally.said["wrong"] += not good
        if leaves:
            tally.said["left"] += 1
            connection.transport.abort()
    if connection is not None:
        connection.transport.close()


async def _main(folder: Path, port: int, key: str, rest: list[str]) -> None:
    calls, streams, clients, leave, seed = rest
    requests = {}
    for kind in (_JSON, _STREAM):
        body = (folder / f"{kind}.body").read_bytes()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        requests[kind] = head.encode() + body
    tally = Tally(
        {_JSON: int(calls), _STREAM: int(streams)}, random.Random(int(seed)), float(leave)
    )
    await asyncio.gather(*(_client(port, requests, tally) for _ in range(int(clients))))
    print(json.dumps(tally.said))


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
