"""The request that an exchange is replayed with: as recorded, else a small one that asks for such an answer."""

import json
from typing import Any, NamedTuple

from tests.e2e.replay.place import Exchange, Place

_HELLO = [{"role": "user", "content": "Hello"}]
_BOUNDARY = "replayed"


class Body(NamedTuple):
    """A body and its content-type, where the recording's headers give none."""

    content: bytes
    content_type: str


def request_body(exchange: Exchange, where: Place) -> Body:
    """The body that the client sent. Some recorders kept answers only."""
    if (text := exchange.get("request_text")) and not text.endswith(" omitted]"):
        return Body(text.encode(), "application/octet-stream")
    if exchange.get("request_json") is not None:
        return Body(json.dumps(exchange["request_json"]).encode(), "application/json")
    if exchange["method"] != "POST":
        return Body(b"", "")
    if "/audio/" in where.path:
        return Body(_form(), f"multipart/form-data; boundary={_BOUNDARY}")
    return Body(json.dumps(_plain(exchange, where)).encode(), "application/json")


def _plain(exchange: Exchange, where: Place) -> dict[str, Any]:
    document: dict[str, Any] = {"model": "replayed"}
    if exchange["stream"]:
        document["stream"] = True
    if where.dialect == "anthropic":
        return document | {"max_tokens": 65_536, "messages": _HELLO}
    if any(name in where.path for name in ("interactions", "responses", "embeddings")):
        return document | {"input": "Hello"}
    if where.dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    if "images" in where.path or (where.path.endswith("/completions") and "chat" not in where.path):
        return document | {"prompt": "Hello"}
    if "rerank" in where.path:
        return document | {"query": "Hello", "documents": ["Hello"]}
    return document | {"messages": _HELLO}


def _form() -> bytes:
    field = f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    file = (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n'
        "content-type: audio/wav\r\n\r\nRIFF\r\n"
    )
    return f"{field}{file}--{_BOUNDARY}--\r\n".encode()
