"""The mock provider where there is no compiler: what mock.c does, on uvloop. ``python -m bench.mock PORT FOLDER``."""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import cast

import uvloop

from bench.answers import PACED_STAMP, STAMP_ROUND

_MARKER = re.compile(rb"bench:(?:paced,(\d+),(\d+)|([a-z0-9]{1,31}));")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """One client, its requests answered in turn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in = b""
        self._transport: asyncio.Transport | None = None
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def connection_lost(self, _: Exception | None) -> None:
        if self._pacing is not None:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        self._in += data
        while self._pacing is None and (body := self._next_body()) is not None:
            self._answer(body)

    def _next_body(self) -> bytes | None:
        head, found, rest = self._in.partition(b"\r\n\r\n")
        if not found:
            return None
        if length := _LENGTH.search(head):
            end = int(length[1])
        elif _CHUNKED.search(head):
            end = rest.find(b"0\r\n\r\n") + 5
        else:
            end = 0
        if len(rest) < end or (end == 4 and not length):  # noqa: PLR2004 - not found: -1 + 5
            return None
        self._in = rest[end:]
        return rest[:end]

    def _answer(self, body: bytes) -> None:
        marker = _MARKER.search(body)
        if marker and marker[1]:
            _served["paced"] += 1
            self._pacing = asyncio.ensure_future(self._pace(int(marker[1]), int(marker[2]) / 1000))
            return
        name = marker[3].decode() if marker else "json"
        if name == "invoice":
            said = json.dumps(_served).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(said)}\r\n\r\n"
            self._write(head.encode() + said)
            return
        _served[name] += 1
        self._write(_file(self._folder, f"{name}.http"))

    async def _pace(self, events: int, interval_s: float) -> None:
        event = _file(self._folder, "paced.event")
        before, _, after = event.partition(PACED_STAMP.encode())
        self._write(_file(self._folder, "paced.head"))
        due = time.monotonic()
        for _ in range(events):
            due += interval_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._write(before + b"%09d" % (time.monotonic_ns() // 1000 % STAMP_ROUND) + after)
        self._write(_file(self._folder, "paced.tail"))
        self._pacing = None
        self.data_received(b"")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


_files: dict[str, bytes] = {}
_served: Counter[str] = Counter(paced=0)  # how often each answer was given


def _file(folder: Path, name: str) -> bytes:
    if name not in _files:
        _files[name] = (folder / name).read_bytes()
    return _files[name]


async def _serve(port: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(folder), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
