"""What the rest of an API is stood in for by: an echo of any request, and downloads of any size."""

import asyncio
from hashlib import sha256
from random import Random
from typing import Final

import orjson

from proxy.simulator.exchange import Exchange, Headers

_HEAD_BYTES: Final = 65_536  # of an echoed body, in which controls are looked for
# A prime, so that blocks and buffers do not fall together.
_BLOCK: Final = Random(0).randbytes(65_521)


class Receipt:
    """What came in: how much, its hash, and its beginning."""

    def __init__(self) -> None:
        self.head = b""
        self._size = 0
        self._hash = sha256()

    async def take(self, exchange: Exchange) -> None:
        """Read the body without keeping it."""
        async for chunk in exchange.chunks():
            self._size += len(chunk)
            self._hash.update(chunk)
            if len(self.head) < _HEAD_BYTES:
                self.head += chunk[: _HEAD_BYTES - len(self.head)]

    def describe(self, exchange: Exchange) -> bytes:
        """The request, as JSON that is the same for the same request."""
        return orjson.dumps(
            {
                "object": "simulated.echo",
                "method": exchange.method,
                "path": exchange.path,
                "raw_path": exchange.raw_path.decode("latin-1"),
                "query_string": exchange.query.decode("latin-1"),
                "headers": [
                    [name.decode("latin-1"), value.decode("latin-1")]
                    for name, value in exchange.headers
                ],
                "body": {"size": self._size, "sha256": self._hash.hexdigest()},
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


def file_bytes(start: int, end: int) -> bytes:
    """What a download has from ``start`` to before ``end``."""
    offset = start % len(_BLOCK)
    rounds = (offset + end - start) // len(_BLOCK) + 1
    return (_BLOCK * rounds)[offset : offset + end - start]


async def download(exchange: Exchange, size: int, headers: Headers) -> None:
    """Send ``size`` bytes, no faster than they are read, without holding them."""
    content = [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b'attachment; filename="simulated.bin"'),
        (b"content-length", b"%d" % size),
    ]
    await exchange.start(200, [*content, *headers])
    left = size
    while left > 0:
        await exchange.write(_BLOCK if left >= len(_BLOCK) else _BLOCK[:left])
        left -= len(_BLOCK)
        await asyncio.sleep(0)
    await exchange.finish()
