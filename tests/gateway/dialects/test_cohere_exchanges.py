"""Recorded answers of Cohere's own API. Skipped where the recordings are absent."""

import statistics
from functools import partial
from pathlib import Path

import orjson
import pytest

from proxy.gateway.dialects.base import NOWHERE, Dialect, Patch
from proxy.gateway.paths import find_way
from proxy.store.vocabulary import Vocabulary
from tests.gateway.dialects.recorded import (
    Exchange,
    body_of,
    broken_off,
    held_input,
    replayed,
    scanner_of,
    totals,
)
from tests.recorded import exchanges


def dialect_of(exchange: Exchange) -> Dialect:
    path = exchange["path"] if exchange["path"] != "/chat" else "/v2/chat"
    way = find_way("POST", path.encode(), {})
    assert way is not None
    assert (way.metered, way.dialect.family, way.holds) == (True, "cohere", 0)
    return way.dialect


@pytest.fixture(scope="module", name="recorded")
def _recorded() -> list[Exchange]:
    return [e for e in exchanges() if e["provider"] == "cohere" and e.get("response_text")]


def expected(exchange: Exchange) -> dict[str, int]:
    """What is billed, by the rules: ``billed_units`` of the last object that has them."""
    found = [u["billed_units"] for _, u in exchange["usage"] if "billed_units" in u]
    if not found:
        return {}
    names = {"input_tokens": "input", "output_tokens": "output", "search_units": "searches"}
    return {names[k]: n for k, n in found[-1].items() if k in names and n}


def test_every_recorded_billing_is_found(recorded: list[Exchange]) -> None:
    """However the answer comes in pieces, and no byte of it changes."""
    billed = 0
    for exchange in recorded:
        for scanner in replayed(dialect_of(exchange), exchange):
            found = (exchange["id"], totals(scanner.scan.usage))
            assert (exchange["id"], expected(exchange)) == found
            assert scanner.scan.finished
            assert scanner.scan.upstream_call_id or not exchange["usage"], exchange["id"]
        billed += bool(expected(exchange))
    assert billed > 70


def test_no_recorded_request_cost_more_than_is_held_for(recorded: list[Exchange]) -> None:
    """Or it is known as unbounded, with the reason."""
    bounded = 0
    for exchange in recorded:
        if exchange["request_json"] is None:
            continue
        body = body_of(exchange)
        facts = dialect_of(exchange).inspect(body, NOWHERE)
        billed = expected(exchange)
        if facts.unbounded:
            continue
        bound = held_input(body, facts)
        assert billed.get("input", 0) <= bound, exchange["id"]
        assert billed.get("searches", 0) <= facts.beside.searches, exchange["id"]
        bounded += 1
    assert bounded > 70


def test_every_recorded_request_can_be_patched(recorded: list[Exchange]) -> None:
    kept = [exchange for exchange in recorded if exchange["request_json"] is not None]
    assert len(kept) > 70
    for exchange in kept:
        body = body_of(exchange)
        after = orjson.loads(dialect_of(exchange).patch(body, Patch(model="other", output_cap=2)))
        assert after.pop("model") == "other"
        if exchange["path"].endswith(("chat", "generate")):
            assert after.pop("max_tokens") == 2
        before = {k: v for k, v in orjson.loads(body).items() if k not in {"model", "max_tokens"}}
        assert after == before


def test_a_stream_that_breaks_is_estimated(recorded: list[Exchange], tmp_path: Path) -> None:
    vocabulary = Vocabulary(tmp_path)
    ratios = []
    for exchange in recorded:
        if not exchange["stream"] or exchange["status"] != 200:
            continue
        answer = exchange["response_text"].encode()
        mark = b"\n" if "stream+json" in exchange["content_type"] else b"\n\n"
        counted = 0
        made = partial(scanner_of, dialect_of(exchange), exchange, vocabulary)
        for scanner in broken_off(answer, made, b"message-end", b"stream-end", mark=mark):
            assert (scanner.scan.usage, scanner.scan.finished) == (None, False)
            counted = scanner.count_output()
        if counted:
            ratios.append(expected(exchange)["output"] / counted)
    vocabulary.close()
    ratios.sort()
    print(  # noqa: T201 - the figure of the estimates
        f"\ncohere: billed/estimated over {len(ratios)} streams: from {ratios[0]:.2f}"
        f" p50 {statistics.median(ratios):.2f} to {ratios[-1]:.2f}"
    )
    assert 0.8 < statistics.median(ratios) < 1.2
