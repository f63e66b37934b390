"""Recorded answers, replayed to a dialect without a network."""

from collections.abc import Callable, Iterator
from typing import Any

from proxy.core.estimate import input_bound
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Address, Dialect, RequestFacts, Scanner, Watch
from proxy.store.vocabulary import Vocabulary
from tests.gateway.dialects.chunks import compact, cut_every, pretokens, relayed

Exchange = dict[str, Any]
SIZES = (1, 7, 64, 100_000)


def body_of(exchange: Exchange) -> bytes:
    text = exchange.get("request_text")
    return text.encode() if text else compact(exchange["request_json"])


def asked(dialect: Dialect, exchange: Exchange) -> RequestFacts:
    """What the dialect reads of a recorded request; of one that was not kept, a bare one."""
    if exchange.get("request_json") is None:
        return RequestFacts(model="unknown", stream=exchange["stream"])
    return dialect.inspect(body_of(exchange), Address(exchange["path"].encode()))


def held_input(body: bytes, facts: RequestFacts) -> int:
    """The most tokens of input that a request is held for, before any tokenizer is asked."""
    return input_bound(len(body), has_tools=facts.has_tools) + facts.more_input


def scanner_of(
    dialect: Dialect, exchange: Exchange, vocabulary: Vocabulary | None = None, **watched: Any
) -> Scanner:
    facts = asked(dialect, exchange)
    kind = (exchange["content_type"] or "application/json").partition(";")[0]
    count = vocabulary.counter(facts.model) if vocabulary else pretokens
    watch = Watch(
        streamed=dialect.streamed(facts, kind),
        strip_usage=False,
        output_cap=None,
        count=count,
        status=exchange["status"],
        content_type=kind,
        **watched,
    )
    return dialect.scanner(facts, watch)


def replayed(dialect: Dialect, exchange: Exchange) -> Iterator[Scanner]:
    """The exchange's answer through a scanner, in pieces of each size; no byte of it changes."""
    answer = exchange["response_text"].encode()
    sizes = SIZES if len(answer) < 50_000 else SIZES[2:]
    for size in sizes:
        scanner = scanner_of(dialect, exchange)
        assert answer == relayed(scanner, cut_every(answer, size)), exchange["id"]
        yield scanner


def totals(usage: Usage | None) -> dict[str, int]:
    return {} if usage is None else usage.nonzero()


def cuts(answer: bytes, mark: bytes = b"\n\n") -> Iterator[bytes]:
    """What came of a stream that breaks after each of its events."""
    at = 0
    while (at := answer.find(mark, at) + len(mark)) >= len(mark):
        if at < len(answer):
            yield answer[:at]


def broken_off(
    answer: bytes, scanner_for: Callable[[], Scanner], *ends: bytes, mark: bytes = b"\n\n"
) -> Iterator[Scanner]:
    """A scanner after each event at which a stream may break before its end; no byte of it changes."""
    counted = 0
    for part in cuts(answer, mark):
        if any(end in part for end in ends):
            return
        scanner = scanner_for()
        assert part == relayed(scanner, [part])
        assert scanner.count_output() >= counted - 3  # a word that goes on may be fewer tokens
        counted = scanner.count_output()
        yield scanner
