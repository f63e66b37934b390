"""A client on a bare socket: it can leave whenever it likes."""

import asyncio
import contextlib
import json
from typing import Any, Protocol

_CHUNKED = b"transfer-encoding: chunked"


class Behaviour(Protocol):
    """What of a kind of call a client needs to know."""

    @property
    def leaves(self) -> str:
        """When it leaves: before, within, at_once, half; "" where it stays."""

    @property
    def path(self) -> str:
        """The endpoint, after /v1."""


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RawClient:
    """Keeps a connection to each port, as long as it holds."""

    def __init__(self) -> None:
        self._kept: dict[int, Connection] = {}

    async def ask(
        self,
        port: int,
        kind: Behaviour,
        key: str,
        headers: dict[str, str],
        body: dict[str, Any],
        leave_after_s: float,
    ) -> str:
        """One call: a status, or what else became of it."""
        try:
            reader, writer = await self._connection(port)
        except OSError:
            return "no connection"
        keep = False
        try:
            request = _request(kind.path, key, headers, body)
            if kind.leaves == "half":
                request = request[: len(request) // 2]
            writer.write(request)
            if kind.leaves:
                return await self._leave(reader, kind.leaves, leave_after_s)
            saw, keep = await _read(reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return "broken"
        else:
            return saw
        finally:
            if keep:
                self._kept[port] = reader, writer
            else:
                writer.close()

    async def _connection(self, port: int) -> Connection:
        kept = self._kept.pop(port, None)
        if kept is not None and not kept[0].at_eof():
            return kept
        if kept is not None:
            kept[1].close()
        return await asyncio.open_connection("127.0.0.1", port)

    @staticmethod
    async def _leave(reader: asyncio.StreamReader, when: str, after_s: float) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                if when == "within":
                    await reader.readuntil(b"data: ")
                    await asyncio.sleep(after_s)
                elif when != "at_once":
                    await reader.read(1)
        return "left"

    def close(self) -> None:
        """Close all."""
        for _, writer in self._kept.values():
            writer.close()


def _request(path: str, key: str, headers: dict[str, str], body: dict[str, Any]) -> bytes:
    method, content = ("GET", b"") if path == "/models" else ("POST", json.dumps(body).encode())
    head = [f"{method} /v1{path} HTTP/1.1", "host: farebox", f"authorization: Bearer {key}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    if content:
        head += ["content-type: application/json", f"content-length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


async def _read(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """The answer's status, with an error's code; and whether the connection can be used again."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head[9:12].decode()
    if _CHUNKED in head:
        body = await _chunks(reader)
    else:
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    code = ""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        code = json.loads(body)["error"]["code"] or ""
    return f"{status} {code}".strip(), b"connection: close" not in head


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)
