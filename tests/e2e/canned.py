"""Upstreams that give one recorded answer to whatever is asked."""

import json
from collections.abc import Iterable
from typing import Any


def whole(document: Any, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """One JSON document."""
    body = json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def streamed(
    pieces: Iterable[bytes], content_type: str, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """A body that comes in pieces."""
    lines = ["HTTP/1.1 200 OK", f"content-type: {content_type}", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join([*lines, "", ""]).encode() + chunks + b"0\r\n\r\n"
