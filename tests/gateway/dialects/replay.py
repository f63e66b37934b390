"""Recorded exchanges, and what it takes to put one through its dialect."""

import base64
import gzip
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from proxy.gateway.dialects.base import Address, RequestFacts, Scanner, Watch
from proxy.gateway.paths import Way, find_way

_BESIDE = Path(__file__).parents[4] / "shared" / "exchanges"
FILE = Path(os.environ.get("FAREBOX_EXCHANGES", str(_BESIDE))) / "replay.jsonl.gz"
MISSING = not FILE.exists()

Exchange = dict[str, Any]


@lru_cache(maxsize=1)
def exchanges() -> tuple[Exchange, ...]:
    """All of them, in the file's order."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def at_dialect(*names: str) -> Iterator[tuple[Exchange, Way]]:
    """The exchanges whose path leads to one of these dialects."""
    for exchange in exchanges():
        way = find_way(exchange["method"], exchange["path"].encode(), {})
        if way is not None and way.metered and way.dialect.name in names:
            yield exchange, way


def answer_of(exchange: Exchange) -> bytes:
    """The recorded bytes of the answer."""
    if exchange.get("response_b64"):
        return base64.b64decode(exchange["response_b64"])
    return (exchange.get("response_text") or "").encode()


def request_of(exchange: Exchange, separators: tuple[str, str] = (",", ":")) -> bytes:
    """The request's body, as JSON of this density; of one that was not recorded, what is always in it."""
    document = exchange["request_json"] or {"model": "unknown", "contents": []}
    return json.dumps(document, separators=separators).encode()


def address_of(exchange: Exchange, way: Way) -> Address:
    """Where it went."""
    return Address(
        exchange["path"].encode(),
        (exchange["query"] or "").encode(),
        "application/json",
        way.model,
        way.action,
    )


def facts_of(exchange: Exchange, way: Way) -> RequestFacts:
    """What was read of its request."""
    return way.dialect.inspect(request_of(exchange), address_of(exchange, way))


def scanner_of(exchange: Exchange, way: Way, facts: RequestFacts) -> Scanner:
    """The scanner of its answer."""
    content_type = (exchange["content_type"] or "").partition(";")[0].strip().lower()
    headers = exchange["response_headers"] or {}
    watch = Watch(
        streamed=way.dialect.streamed(facts, content_type),
        strip_usage=False,
        output_cap=None,
        count=len,
        status=exchange["status"],
        content_type=content_type,
        headers=[(name.lower().encode(), _first(v).encode()) for name, v in headers.items()],
    )
    return way.dialect.scanner(facts, watch)


def _first(value: object) -> str:
    return str(value[0] if isinstance(value, list) and value else value)
