"""How good an estimate is where the usage never came: ``python -m bench.estimates``.

Every recorded stream is cut after every one of its events, as where a provider or a client breaks it
off: what is then known of it is either reported or counted. The estimate after the last event without
usage, when all text is there, is compared with what the provider billed, hidden reasoning left out.
"""

import base64
import gzip
import json
import re
import statistics
import struct
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.fuzz import RECORDED
from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.base import Address, Watch
from proxy.gateway.dialects.json_array import Elements
from proxy.gateway.paths import find_way
from proxy.store.vocabulary import Vocabulary

_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
# Reasoning that the answer shows is in the estimate, too.
_SHOWN = re.compile(rb'"(?:reasoning_content|reasoning|thinking)": ?"[^"]')
_LONG = 400_000  # bytes of a stream that would take long


@dataclass(slots=True)
class Estimates:
    """Of one provider."""

    streams: int = 0
    cuts: int = 0
    counted: int = 0  # of the cuts: the others had usage by then
    estimated: int = 0  # tokens, all compared streams together
    billed: int = 0
    errors: list[float] = field(default_factory=list)  # estimate ÷ billed - 1, one a stream

    def median(self) -> float:
        """The median of the errors' sizes."""
        return statistics.median(map(abs, self.errors)) if self.errors else 0.0

    def together(self) -> float:
        """The error of all tokens: what is too much here and too little there evens out."""
        return self.estimated / self.billed - 1 if self.billed else 0.0


def events_of(body: bytes, content_type: str) -> list[bytes]:
    """The events of a recorded stream."""
    if content_type == "application/vnd.amazon.eventstream":
        return list(_messages(body))
    if content_type == "application/json":
        elements = [frame.raw for frame in Elements().feed(body)]
        return [*elements, body[sum(map(len, elements)) :]]
    if content_type == "text/event-stream":
        return [event for event in _EVENT_END.split(body) if event]
    return body.splitlines(keepends=True)


def _messages(body: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(body):
        (size,) = struct.unpack_from(">I", body, at)
        yield body[at : at + size]
        at += max(size, 16)


def estimates() -> dict[str, Estimates]:
    """What became of every recorded stream, by provider."""
    found: dict[str, Estimates] = defaultdict(Estimates)
    with tempfile.TemporaryDirectory() as folder, gzip.open(RECORDED) as lines:
        vocabulary = Vocabulary(Path(folder))
        for exchange in map(json.loads, lines):
            if exchange["stream"] and exchange["status"] == 200:  # noqa: PLR2004 - a good answer
                _cut_everywhere(exchange, vocabulary, found[exchange["provider"]])
        vocabulary.close()
    return {name: made for name, made in sorted(found.items()) if made.streams}


def _cut_everywhere(exchange: dict[str, Any], vocabulary: Vocabulary, into: Estimates) -> None:
    way = find_way(exchange["method"], exchange["path"].encode(), {})
    body = (exchange.get("response_text") or "").encode()
    if exchange.get("response_b64"):
        body = base64.b64decode(exchange["response_b64"])
    kind = (exchange["content_type"] or "").partition(";")[0].strip().lower()
    if way is None or not way.metered or not body or len(body) > _LONG:
        return
    asked = json.dumps(exchange.get("request_json") or {"model": "unknown"}).encode()
    query = (exchange["query"] or "").encode()
    address = Address(exchange["path"].encode(), query, "application/json", way.model, way.action)
    try:
        facts = way.dialect.inspect(asked, address)
    except InvalidRequest:  # its body was not recorded
        return
    if not way.dialect.streamed(facts, kind):
        return
    watch = Watch(
        streamed=True,
        strip_usage=False,
        output_cap=None,
        count=vocabulary.counter(facts.model),
        content_type=kind,
    )
    scanner = way.dialect.scanner(facts, watch)
    estimate = 0
    *events, last = events_of(body, kind)
    for event in events:
        scanner.feed(event)
        into.cuts += 1
        scan = scanner.scan
        if scan.usage is None or scan.lacks_output:
            into.counted += 1
            estimate = scanner.count_output()
    scanner.feed(last)
    scanner.finish()
    into.streams += 1
    usage = scanner.scan.usage
    if usage is not None and not scanner.scan.lacks_output and estimate:
        billed = usage.output_tokens - (0 if _SHOWN.search(body) else usage.reasoning)
        if billed > 0:
            into.errors.append(estimate / billed - 1)
            into.estimated += estimate
            into.billed += billed


def main() -> int:
    """Print a line a provider."""
    if not RECORDED.exists():
        print(f"no recordings at {RECORDED}")
        return 1
    print(
        "provider        streams   cuts  counted   median error   nine in ten within   all together   compared"
    )
    for name, made in estimates().items():
        sizes = sorted(map(abs, made.errors)) or [0.0]
        most = sizes[int(len(sizes) * 0.9) - (len(sizes) > 1)]
        print(
            f"{name:15} {made.streams:7} {made.cuts:6} {made.counted:8} {made.median():13.1%}"
            f" {most:19.1%} {made.together():14.1%} {len(made.errors):10}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
