"""Many streams at once that trickle: how much later each event arrives than it was sent.

The mock writes the time of sending into each event; the clock is the machine's, so the difference
is the way through mock, gateway and this client. What the gateway adds is the difference to no
gateway. It runs as a process of its own, on the load's processor: ``python -m bench.slow``.
"""

import asyncio
import gc
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench.answers import STAMP_ROUND
from bench.gateways import Gateway
from bench.modes import SlowStreams
from bench.processor import memory_bytes
from bench.programs import LOAD_CPU, pinned

_STAMP = re.compile(rb'"content":"(\d{9})"')
_LIMIT_S = 60.0
_RAMP_S = 0.5  # all streams are open after it


@dataclass(frozen=True, slots=True)
class Delays:
    """What was seen of the streams."""

    events: int
    missing: int
    p50_ms: float
    p99_ms: float
    bytes_each: float | None  # memory that an open stream takes in the gateway


class _Stream(asyncio.Protocol):
    """One stream; notes each event's delay in microseconds."""

    def __init__(self, request: bytes, delays: list[int]) -> None:
        self._request = request
        self._delays = delays
        self._tail = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns() // 1000
        data = self._tail + data
        end = 0
        for match in _STAMP.finditer(data):
            self._delays.append((now - int(match[1])) % STAMP_ROUND)
            end = match.end()
        self._tail = data[max(end, len(data) - 64) :]
        if data.endswith(b"\r\n0\r\n\r\n") and self._transport is not None:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def _open_all(port: int, request: bytes, streams: int) -> list[int]:
    loop = asyncio.get_running_loop()
    delays: list[int] = []
    opened: list[_Stream] = []
    for _ in range(streams):
        _, stream = await loop.create_connection(
            lambda: _Stream(request, delays), "127.0.0.1", port
        )
        opened.append(stream)
        await asyncio.sleep(_RAMP_S / streams)  # spread over the interval, as real callers are
    async with asyncio.timeout(_LIMIT_S):
        await asyncio.gather(*(stream.ended for stream in opened))
    return delays


def measure(gateway: Gateway, load: SlowStreams, folder: Path) -> Delays:
    """Open the streams, look at the gateway's memory while they are, and wait for their end."""
    request = folder / "slow.request"
    request.write_bytes(_request(gateway, load))
    before = memory_bytes(gateway.pid) if gateway.pid else 0
    arguments = [str(gateway.port), str(request), str(load.streams)]
    command = pinned([sys.executable, "-m", "bench.slow", *arguments], LOAD_CPU)
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as client:
        length_s = load.events * load.interval_ms / 1000
        time.sleep(_RAMP_S + length_s / 2)
        during = memory_bytes(gateway.pid) if gateway.pid else 0
        said, _ = client.communicate(timeout=_LIMIT_S + length_s)
    if client.returncode:
        raise RuntimeError(f"the slow streams failed with {client.returncode}")
    found = json.loads(said)
    return Delays(
        events=found["events"],
        missing=load.streams * load.events - found["events"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        bytes_each=(during - before) / load.streams if gateway.pid else None,
    )


def _request(gateway: Gateway, load: SlowStreams) -> bytes:
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\n"
        f"authorization: Bearer {gateway.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(load.body)}\r\n\r\n"
    )
    return head.encode() + load.body


def main(port: str, request: str, streams: str) -> None:
    """Print the delays as JSON."""
    gc.disable()  # a collection would be taken for a delay of the gateway
    delays = sorted(uvloop.run(_open_all(int(port), Path(request).read_bytes(), int(streams))))

    def share(part: float) -> float:
        return delays[min(len(delays) - 1, int(len(delays) * part))] / 1e3 if delays else 0.0

    print(json.dumps({"events": len(delays), "p50_ms": share(0.5), "p99_ms": share(0.99)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
